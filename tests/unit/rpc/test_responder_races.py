"""CALLs where two threads meet: the handler and its deadline, the reader and a close, an answer and its connection."""

from __future__ import annotations

import gc
import json
import logging
from typing import Any

import pytest
from contexts import make_context, share_of
from support import BOOT

from ocppsync import CallError, Limits, Timeouts
from ocppsync.events import Connected, HandlerFailed, Observer
from ocppsync.rpc.answer_memory import AnswerMemory
from ocppsync.rpc.connection import Connection
from ocppsync.rpc.context import ConnectionOptions
from ocppsync.rpc.incoming import IncomingCall
from ocppsync.rpc.incoming_calls import IncomingCalls
from ocppsync.rpc.message_sets import MessageSets
from ocppsync.rpc.registration import MessagePolicy
from ocppsync.rpc.responder import Responder
from ocppsync.rpc.router import Router
from ocppsync.testing.inline import Clock, InlineExecutor
from ocppsync.testing.memory import memory_pair
from ocppsync.threads.stuck_handlers import StuckHandlerDetector

HEARTBEAT = {"currentTime": "2026-01-01T00:00:00Z"}
START = {"connectorId": 1, "idTag": "x", "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}
STARTED = {"transactionId": 1, "idTagInfo": {"status": "Accepted"}}
STREAM = {"id": 1, "pending": 0, "basetime": "2026-01-01T00:00:00Z", "data": [{"t": 0.5, "v": "1"}]}


class Station:
    """What the connections of one charge point share, and the handlers; everything runs when the test says so.

    Args:
        beside: another charge point of the same central system.
        limits: as for a central system.
    """

    def __init__(self, beside: Station | None = None, **limits: int) -> None:
        self.clock = Clock() if beside is None else beside.clock
        self.executor = InlineExecutor(self.clock) if beside is None else beside.executor
        self.detector = StuckHandlerDetector(self.executor, self.clock) if beside is None else beside.detector
        self.clock.after_step = None  # handlers run in `run` alone
        self.limits = Limits(**limits)
        self.answers = AnswerMemory(self.clock.now)
        self.take_over()
        self.message_sets = MessageSets("central_system")
        self.router = Router(self.message_sets)
        self.handled: list[str] = []
        for action, answer in (("Heartbeat", HEARTBEAT), ("StartTransaction", STARTED), ("DataTransfer", None)):
            self._serve(action, answer)
        self._serve("NotifyPeriodicEventStream", {})

    def take_over(self) -> None:
        """Begin anew with the last answers, as after a close of the central system another one does."""
        self.share = share_of(self.executor, self.limits)
        self.calls = IncomingCalls(self.executor, self.share, self.answers, self.clock)

    def _serve(self, action: str, answer: Any) -> None:
        def handle(payload: Any, metadata: Any) -> Any:
            self.handled.append(metadata.message_id)
            if answer is None:
                raise SystemExit
            return answer

        self.router.on(action)(handle)

    def run(self) -> None:
        """Run the handlers that wait."""
        self.executor.run()


class Line:
    """A connection without a reader: the test's thread is the reader."""

    def __init__(
        self,
        station: Station,
        version: str = "1.6",
        *,
        observe: Observer | None = None,
        policy: MessagePolicy | None = None,
        on_call_result_error: Any = None,
    ) -> None:
        self.ours, self.theirs = memory_pair("CP1", station.clock.now)
        context = make_context(
            version=version,
            executor=station.executor,
            timer=station.clock,
            options=ConnectionOptions(
                observe=observe,
                on_call_result_error=on_call_result_error,
                limits=station.limits,
                timeouts=Timeouts(handler=60, close=5),
            ),
            share=station.share,
            messages=station.message_sets.messages(version),
            policy=policy or MessagePolicy(),
            router=station.router,
            calls=station.calls,
            detector=station.detector,
        )
        self.connection = Connection(self.ours, context)
        self.responder = self.connection._responder
        if context.events is not None:
            context.events.open(Connected("CP1", version, "127.0.0.1"))

    def come(self, message_id: str, action: str = "Heartbeat", payload: Any = None, *, kind: int = 2) -> None:
        """Receive a CALL or SEND from the charge point."""
        self.connection._receive(json.dumps([kind, message_id, action, payload or {}]))

    def answers(self) -> list[Any]:
        """Return what the charge point has got since the last time."""
        return [json.loads(text) for text in iter(self.theirs.receive_now, None)]


@pytest.fixture
def station() -> Station:
    return Station()


def problems(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# The handler and its deadline.


def test_a_deadline_that_passes_just_before_the_handler_answers_sends_nothing_more(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    line = Line(station, observe=told.append)
    look = IncomingCalls._look

    def look_late(calls: IncomingCalls) -> None:
        # The CALL is overdue, and the handler gets ahead of the timer.
        station.run()
        look(calls)

    monkeypatch.setattr(IncomingCalls, "_look", look_late)
    line.come("1", "StartTransaction", START)
    station.clock.advance(60)
    assert line.answers() == [[3, "1", STARTED]]
    assert not [event for event in told if isinstance(event, HandlerFailed)]
    line.come("1", "StartTransaction", START)
    assert line.answers() == [[3, "1", STARTED]], "the answer that was given is the one that is kept"


def test_a_handler_that_ends_while_its_call_is_answered_at_the_deadline_sends_nothing_more(
    station: Station, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(station)
    expire = Responder.expire

    def expire_late(responder: Responder, call: IncomingCall) -> None:
        station.run()  # it finds the CALL answered, and gives up what it has of it
        expire(responder, call)

    monkeypatch.setattr(Responder, "expire", expire_late)
    line.come("1", "StartTransaction", START)
    station.clock.advance(60)
    assert [answer[:3] for answer in line.answers()] == [[4, "1", "InternalError"]]
    assert station.handled == []
    assert problems(caplog) == []


def test_a_handler_that_waits_while_its_thread_runs_another_is_answered_for(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """As with the testing kit, whose handlers share the thread of the test."""
    other = Line(Station(station))

    def wait(payload: Any, metadata: Any) -> Any:
        assert station.executor._run_one()
        assert other.answers() == [[3, "2", STARTED]]
        return HEARTBEAT

    router = station.router = Router(station.message_sets)
    router.on("Heartbeat")(wait)
    line = Line(station)
    line.come("1")
    other.come("2", "StartTransaction", START)
    station.run()
    assert line.answers() == [[3, "1", HEARTBEAT]]
    assert problems(caplog) == []


# A CALL that comes again.


def test_a_repeat_of_an_answered_call_gets_the_same_answer(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    line = Line(station)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            line.come("1", "StartTransaction", START)
            station.run()
    assert line.answers() == [[3, "1", STARTED]] * 3
    assert station.handled == ["1"]
    assert caplog.text.count("CP1: repeated StartTransaction '1'") == 2


def test_a_repeat_of_a_call_that_is_being_handled_is_swallowed(station: Station) -> None:
    line = Line(station)
    for _ in range(3):
        line.come("1", "StartTransaction", START)
    station.run()
    assert line.answers() == [[3, "1", STARTED]]


def test_a_call_that_was_answered_with_an_error_is_handled_anew(station: Station) -> None:
    line = Line(station)
    for _ in range(2):
        line.come("1", "DataTransfer", {"vendorId": "x"})
        station.run()
        assert [answer[:3] for answer in line.answers()] == [[4, "1", "InternalError"]]
    assert station.handled == ["1", "1"]


def test_a_repeat_is_sent_over_the_connection_over_which_it_came(station: Station) -> None:
    earlier, later = Line(station), Line(station)
    earlier.come("1", "StartTransaction", START)
    station.run()
    later.come("1", "StartTransaction", START)
    assert later.answers() == earlier.answers() == [[3, "1", STARTED]]


def test_an_answer_that_is_made_while_its_call_is_repeated_is_sent_once(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = IncomingCalls.receive

    def receive_and_finish(calls: IncomingCalls, call: IncomingCall) -> Any:
        found = receive(calls, call)
        station.run()  # before the reader looks at what was found
        return found

    line = Line(station)
    line.come("1", "StartTransaction", START)
    monkeypatch.setattr(IncomingCalls, "receive", receive_and_finish)
    line.come("1", "StartTransaction", START)
    assert line.answers() == [[3, "1", STARTED]]


@pytest.mark.parametrize("other", [("Heartbeat", {}), ("DataTransfer", {"vendorId": "y"})], ids=["action", "payload"])
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(("version", "code"), [("1.6", "GenericError"), ("2.0.1", "RpcFrameworkError")])
def test_an_id_used_for_another_call_is_refused(
    station: Station, caplog: pytest.LogCaptureFixture, other: Any, answered: bool, version: str, code: str
) -> None:
    text = "the message id was used for another CALL"
    station.router.on("DataTransfer", version)(lambda payload, metadata: {"status": "Accepted"})
    line = Line(station, version)
    line.come("1", "DataTransfer", {"vendorId": "x"})
    if answered:
        station.run()
        assert line.answers() == [[3, "1", {"status": "Accepted"}]]
    line.come("1", *other)
    assert line.answers() == [[4, "1", code, text, {}]]
    assert f"CP1: its CALL '1' is refused: {code} {text}" in caplog.text
    station.run()
    assert line.answers() == ([] if answered else [[3, "1", {"status": "Accepted"}]]), "the first is not affected"


# What waits is counted.


def in_use(station: Station) -> int:
    """The bytes of the messages that wait."""
    return station.share._used


@pytest.mark.parametrize("kind", ["CALL", "SEND", "hook", "rejection"])
def test_a_message_counts_while_it_waits(station: Station, kind: str) -> None:
    seen: list[int] = []

    def look(*_: object) -> None:
        seen.append(in_use(station))

    line = Line(station, "2.1", on_call_result_error=look)
    if kind == "SEND":
        line.come("1", "NotifyPeriodicEventStream", STREAM, kind=6)
    else:
        if kind == "hook":
            station.router.after("Heartbeat")(look)
        line.come("1")
    if kind == "rejection":
        station.run()
        assert in_use(station) == 0
        line.connection._receive('[5,"1","GenericError","",{}]')
    assert in_use(station) > 0
    station.run()
    assert in_use(station) == 0
    assert seen == ([0] if kind in ("hook", "rejection") else []), "not any more when what it waited for begins"


def test_a_hook_counts_from_the_answer_on(station: Station) -> None:
    line = Line(station)
    submitted: list[int] = []
    station.router.after("Heartbeat")(lambda payload, metadata: None)
    line.come("1")
    submit = station.share.others.submit
    station.share.others.submit = lambda *task: submitted.append(in_use(station)) or submit(*task)  # type: ignore[method-assign]
    station.run()
    (size,) = submitted
    assert size > 0


@pytest.mark.parametrize("kind", ["CALL", "SEND", "rejection"])
def test_what_is_refused_for_want_of_room_does_not_count(kind: str) -> None:
    station = Station(queued_calls=1)
    line = Line(station, "2.1", on_call_result_error=lambda received: None)
    if kind == "rejection":
        line.come("1")
        station.run()
    sizes = []
    for number in range(3):
        if kind == "rejection":
            line.connection._receive('[5,"1","GenericError","",{}]')
        elif kind == "SEND":
            line.come(str(number), "NotifyPeriodicEventStream", STREAM, kind=6)
        else:
            line.come(str(number))
        sizes.append(in_use(station))
    assert sizes == [sizes[0]] * 3


@pytest.mark.parametrize("kind", ["CALL", "SEND", "hook", "rejection"])
def test_what_finds_no_thread_does_not_count(station: Station, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The share outlives the connection, whose charge point would be refused for good one day.
    def refuse(*_: object) -> bool:
        raise RuntimeError("can't start new thread")

    station.router.after("StartTransaction")(lambda payload, metadata: None)
    line = Line(station, "1.6" if kind == "hook" else "2.1", on_call_result_error=lambda received: None)
    if kind == "hook":
        line.come("1", "StartTransaction", START)
        monkeypatch.setattr(station.share.others, "submit", refuse)
        station.run()
    else:
        line.come("1")
        station.run()
        monkeypatch.setattr(station.executor, "submit", refuse)
        with pytest.raises(RuntimeError):
            if kind == "rejection":
                line.connection._receive('[5,"1","GenericError","",{}]')
            elif kind == "SEND":
                line.come("2", "NotifyPeriodicEventStream", STREAM, kind=6)
            else:
                line.come("2")
    assert in_use(station) == 0


def test_a_send_that_waits_keeps_no_text_which_its_size_does_not_count(station: Station) -> None:
    line = Line(station, "2.1")
    line.come("1", "NotifyPeriodicEventStream", STREAM, kind=6)
    (send,) = station.calls._queue
    assert (send.text, send.payload) == ("", STREAM)


@pytest.mark.parametrize("kind", [2, 6])
def test_what_is_too_large_is_not_kept(kind: int) -> None:
    station = Station(call_bytes=10)
    line = Line(station, "2.1")
    if kind == 6:
        line.come("1", "NotifyPeriodicEventStream", STREAM, kind=6)
    else:
        line.come("1")
        assert [answer[:4] for answer in line.answers()] == [[4, "1", "GenericError", "the CALL is too large"]]
    assert (in_use(station), station.calls.busy) == (0, False)
    station.run()
    assert station.handled == []


def test_what_a_close_drops_does_not_count(station: Station) -> None:
    line = Line(station, "2.1")
    line.come("1")
    line.come("2", "NotifyPeriodicEventStream", STREAM, kind=6)
    station.calls.close()
    assert in_use(station) == 0
    line.come("3")
    assert (in_use(station), line.answers()) == (0, [])


# What is not handled.


def test_a_call_that_was_refused_for_want_of_room_is_handled_when_it_comes_again() -> None:
    station = Station(queued_calls=1)
    line = Line(station)
    for message_id in ("1", "2"):
        line.come(message_id)
    assert [answer[:3] for answer in line.answers()] == [[4, "2", "GenericError"]]
    station.run()
    line.come("2")
    station.run()
    assert [answer[:2] for answer in line.answers()] == [[3, "1"], [3, "2"]]
    assert station.handled == ["1", "2"]


def test_sends_that_find_no_room_are_dropped() -> None:
    station = Station(queued_calls=1)
    line = Line(station, "2.1")
    for number in range(5):
        line.come(str(number), "NotifyPeriodicEventStream", STREAM, kind=6)
    station.run()
    assert station.handled == ["0"]
    assert line.answers() == []
    line.come("5", "NotifyPeriodicEventStream", STREAM, kind=6)
    station.run()
    assert station.handled == ["0", "5"]


def test_what_comes_during_a_close_is_neither_handled_nor_answered(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    line = Line(station, "2.1")
    line.come("0")
    station.run()
    station.calls.close()
    line.come("1")
    line.come("2", "NotifyPeriodicEventStream", STREAM, kind=6)
    station.run()
    assert station.handled == ["0"]
    assert line.answers() == [[3, "0", HEARTBEAT]]
    assert caplog.text == "", "it is no repeat either"


@pytest.mark.parametrize("order", ["before the close", "during the close"])
def test_a_call_that_a_close_leaves_unanswered_is_handled_over_another_connection(station: Station, order: str) -> None:
    closing = Line(station)
    if order == "during the close":
        station.calls.close()
    closing.come("1", "StartTransaction", START)
    station.calls.close()
    station.run()
    assert station.handled == []
    station.take_over()
    later = Line(station)
    later.come("1", "StartTransaction", START)
    station.run()
    assert later.answers() == [[3, "1", STARTED]]
    assert closing.answers() == []
    assert station.handled == ["1"]


@pytest.mark.parametrize(
    ("action", "payload", "kind"),
    [("StartTransaction", START, 2), ("NotifyPeriodicEventStream", STREAM, 6)],
    ids=["CALL", "SEND"],
)
def test_a_close_that_begins_while_a_message_is_taken_leaves_it_unhandled(
    station: Station, monkeypatch: pytest.MonkeyPatch, action: str, payload: Any, kind: int
) -> None:
    line = Line(station, "2.1" if kind == 6 else "1.6")
    receive = IncomingCalls.receive

    def receive_late(calls: IncomingCalls, call: IncomingCall) -> Any:
        # The close begins just before the message is handed over.
        calls.close()
        return receive(calls, call)

    monkeypatch.setattr(IncomingCalls, "receive", receive_late)
    line.come("1", action, payload, kind=kind)
    station.run()
    assert station.handled == []
    assert line.answers() == []
    station.clock.advance(60)
    assert line.answers() == [], "what is not handled has no deadline either"


def test_a_call_without_room_has_no_deadline() -> None:
    station = Station(call_bytes=10)
    line = Line(station)
    line.come("1", "StartTransaction", START)
    station.clock.advance(60)
    assert [answer[1:3] for answer in line.answers()] == [["1", "GenericError"]]


def test_a_flood_is_told_once_and_again_after_all_was_handled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    station = Station(queued_calls=2)
    line = Line(station)

    def told() -> int:
        return caplog.text.count("sends CALLs faster than they are handled")

    def flood(first: int) -> None:
        for number in range(first, first + 5):
            line.come(str(number))

    flood(0)
    assert told() == 1
    station.executor._run_one()  # room for one: the flood is not over
    flood(10)
    assert told() == 1
    station.run()
    flood(20)
    assert told() == 2
    station.calls.close()
    station.run()
    flood(30)
    assert told() == 2, "nothing is handed out any more, and so nothing is too fast"


# The end of the connection.


def test_no_appointment_is_left_of_a_connection_that_ended(station: Station) -> None:
    line = Line(station)
    line.come("1")
    station.run()
    line.theirs.close()
    line.connection.run()
    assert not station.clock.jump()


def test_a_handler_that_outlives_its_connection_keeps_its_deadline_and_no_more(station: Station) -> None:
    line = Line(station)
    line.come("1")
    line.theirs.close()
    line.connection.run()
    station.run()
    assert station.handled == ["1"]
    assert not station.clock.jump()


def test_nothing_runs_after_an_answer_that_could_not_be_sent(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []
    station.router.after("Heartbeat")(lambda payload, metadata: ran.append(metadata.message_id))
    line = Line(station)
    line.come("1")
    station.run()
    assert ran == ["1"]
    line.come("2")
    line.ours.abort()
    station.run()
    assert station.handled == ["1", "2"]
    assert ran == ["1"]
    assert problems(caplog) == []


@pytest.mark.parametrize("end", ["the handler ends", "the deadline passes"])
def test_an_answer_goes_to_the_connection_that_asked_last(station: Station, end: str) -> None:
    earlier, later = Line(station), Line(station)
    for line in (earlier, later):
        line.come("1", "StartTransaction", START)
    if end == "the handler ends":
        station.run()
    else:
        station.clock.advance(60)
    assert earlier.answers() == []
    assert [answer[1] for answer in later.answers()] == ["1"]


@pytest.mark.parametrize("end", ["the handler ends", "the deadline passes"])
def test_an_answer_whose_last_connection_has_gone_is_dropped(
    station: Station, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    earlier = Line(station)
    earlier.come("1", "StartTransaction", START)
    later = Line(station)
    later.come("1", "StartTransaction", START)
    del later
    gc.collect()
    if end == "the handler ends":
        station.run()
    else:
        station.clock.advance(60)
    assert earlier.answers() == [], "the charge point has asked again over the later connection"
    assert problems(caplog) == []


def test_a_refusal_that_cannot_be_sent_harms_nothing(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    line = Line(station)
    line.ours.abort()
    line.come("1", "Nothing")
    assert problems(caplog) == []


def test_a_handler_that_exits_is_answered_for(station: Station) -> None:
    line = Line(station)
    line.come("1", "DataTransfer", {"vendorId": "x"})
    line.come("2")
    station.run()
    assert [answer[:3] for answer in line.answers()] == [[4, "1", "InternalError"], [3, "2", HEARTBEAT]]
    assert station.detector.running == {}


class _Bare(CallError):
    """A class of the application which has forgotten what it derives from."""

    def __init__(self) -> None:
        pass


def test_a_call_error_that_cannot_be_sent_is_answered_for(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    def fail(payload: Any, metadata: Any) -> Any:
        raise errors.pop()

    errors = [_Bare(), CallError("GenericError", details={"when": object()})]
    station.router.on("DataTransfer", "1.6")(fail)
    line = Line(station)
    for message_id in ("1", "2"):
        line.come(message_id, "DataTransfer", {"vendorId": "x"})
    station.run()
    assert [answer[1:4] for answer in line.answers()] == [[n, "InternalError", "internal error"] for n in ("1", "2")]
    assert caplog.text.count("the CallError of DataTransfer failed") == 2


def test_a_handler_of_a_send_that_exits_is_told_of(station: Station) -> None:
    told: list[object] = []
    line = Line(station, "2.1", observe=told.append)

    def leave(payload: Any, metadata: Any) -> Any:
        raise SystemExit

    station.router.on("NotifyPeriodicEventStream", "2.1")(leave)
    line.come("1", "NotifyPeriodicEventStream", STREAM, kind=6)
    station.run()
    assert [event.action for event in told if isinstance(event, HandlerFailed)] == ["NotifyPeriodicEventStream"]


def test_what_fails_after_an_answer_is_named(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    def fail(payload: Any, metadata: Any) -> None:
        raise RuntimeError("the hook broke")

    station.router.after("Heartbeat")(fail)
    Line(station).come("1")
    station.run()
    name = f"{__name__}.test_what_fails_after_an_answer_is_named.<locals>.fail"
    assert problems(caplog) == [f"CP1: what runs after Heartbeat failed: {name}"]


class _Attentive(MessagePolicy):
    """Keeps what it is told of answers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def before_answer(self, action: str, payload: Any, answer: Any) -> None:
        self.told.append((action, answer))


def test_an_error_is_no_answer_to_the_policy_and_nothing_runs_after_it(station: Station) -> None:
    policy = _Attentive()
    line = Line(station, policy=policy)
    accepted = {"status": "Accepted", "currentTime": HEARTBEAT["currentTime"], "interval": 60}
    answers, ran = [accepted], list[Any]()

    def boot(payload: Any, metadata: Any) -> Any:
        if metadata.message_id == "1":
            raise SystemExit
        return answers.pop()

    station.router.on("BootNotification")(boot)
    for action in ("BootNotification", "DataTransfer", "Heartbeat"):
        station.router.after(action)(lambda payload, metadata: ran.append(payload))
    line.come("1", "BootNotification", BOOT)
    line.come("2", "DataTransfer", {"vendorId": "x"})
    line.come("3", "BootNotification", BOOT)
    line.come("4")
    station.run()
    assert [answer[0] for answer in line.answers()] == [4, 4, 3, 3]
    assert policy.told == [("BootNotification", accepted)], "no other answer matters to it"
    assert ran == [BOOT, {}]

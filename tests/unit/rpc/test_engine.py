"""The RPC core of one connection (J16 §4): both directions, without a connection."""

from __future__ import annotations

import json
import logging
import math
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

import pytest
from contexts import Appointments, make_engine
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule
from received import call as call_of
from received import received
from received import send as send_of

from ocppsync.errors import ProtocolError
from ocppsync.rpc import frames
from ocppsync.rpc.engine import (
    AnswerRejected,
    ConnectionState,
    Counters,
    Engine,
    Late,
    Overdue,
    Rejection,
    Reply,
    Settle,
)
from ocppsync.rpc.frame_codec import FrameCodec
from ocppsync.rpc.incoming import IncomingCall
from ocppsync.rpc.outgoing import CallState, CallTimes, OutgoingCall
from ocppsync.rpc.route import OwnAction, never_sure

SERVED = {"Heartbeat", "StartTransaction", "Beat"}
START = '[2,"1","StartTransaction",{"connectorId":1}]'


OWN = OwnAction(gives=never_sure, takes=never_sure)


def serving(version: str = "1.6", call_at: Any = None) -> Engine:
    refusal = lambda action, send: None if action in SERVED else "NotSupported"  # noqa: E731
    return make_engine(FrameCodec(version), refusal, call_at=call_at)


def feed(engine: Engine, text: str) -> Any:
    """Do with a text what a connection does."""
    try:
        frame = frames.parse(text)
    except ProtocolError as error:
        return engine.receive_malformed(error)
    return engine.receive(frame)


TIMES = CallTimes(message=30, queue=60)


def outgoing(
    message_id: str = "our-1", action: str = "Reset", times: CallTimes = TIMES, asked_at: float = 0.0
) -> OutgoingCall:
    return OutgoingCall(message_id, action, OWN, frames.call(message_id, action, {}), {}, Future(), times, asked_at)


def written(engine: Engine, call: OutgoingCall) -> OutgoingCall:
    """Let a CALL be outstanding, and write it at the time 0."""
    assert engine.submit(call) is call
    assert engine.begin_writing(call) is call
    assert engine.note_writing(call, 0.0)
    return call


def counted(engine: Engine) -> dict[str, int]:
    return {name: count for name, count in asdict(engine.counters).items() if count}


def error_of(event: Any) -> tuple[str, str]:
    assert isinstance(event, Reply)
    kind, message_id, code, _, details = json.loads(event.text)
    assert (kind, details) == (4, {})
    return message_id, code


# What comes in, row by row of the table on top of engine.py.


def test_a_call_of_an_action_with_a_handler_is_to_be_handled() -> None:
    engine = serving()
    event = feed(engine, START)
    assert received(event) == call_of("1", "StartTransaction", {"connectorId": 1})
    assert event.route.call_refusal is None
    assert not counted(engine)


@pytest.mark.parametrize(("length", "answered"), [(37, True), (255, True), (256, False), (100_000, False)])
def test_an_id_that_is_too_long(length: int, answered: bool) -> None:
    event = feed(serving(), frames.call("i" * length, "Heartbeat", {}))
    assert error_of(event) == ("i" * length, "GenericError") if answered else event is None


@pytest.mark.parametrize("message_id", ["", "i" * 36, "\U0001f50c" * 36, "-1", "our-1"])
def test_an_id_of_36_characters_at_most_is_taken(message_id: str) -> None:
    assert isinstance(feed(serving(), frames.call(message_id, "Heartbeat", {})), IncomingCall)


@pytest.mark.parametrize(
    ("code", "description"),
    [("NotImplemented", "unknown action 'Reset'"), ("NotSupported", "'Reset' is not supported here")],
)
def test_a_refused_action_is_answered(code: str, description: str) -> None:
    engine = make_engine(FrameCodec("1.6"), lambda action, send: code if action == "Reset" else None)
    refused = Reply(frames.call_error("1", code, description), frames.CALLERROR, "1", "Reset")
    assert feed(engine, '[2,"1","Reset",{}]') == refused
    assert isinstance(feed(engine, '[2,"1","Heartbeat",{}]'), IncomingCall)


def test_a_long_name_of_an_action_is_cut_in_the_answer() -> None:
    event = feed(serving(), json.dumps([2, "1", "x" * 51, {}]))
    assert json.loads(event.text)[3] == f"'{'x' * 50}' is not supported here"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[2,"1","Heartbeat"]', "RpcFrameworkError"),
        ('[2,"1",5,{}]', "RpcFrameworkError"),
        (f'[2,"1","Heartbeat",{"[" * 200}{"]" * 200}]', "FormatViolation"),
    ],
)
@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_a_malformed_call_with_a_readable_id_is_answered(text: str, version: str, code: str) -> None:
    code = "FormationViolation" if version == "1.6" else code
    engine = serving(version)
    assert error_of(feed(engine, text)) == ("1", code)
    assert counted(engine) == {"malformed_messages": 1}


def test_no_error_echoes_an_id_of_more_than_255_characters() -> None:
    assert error_of(feed(serving(), json.dumps([2, "i" * 255, "Heartbeat"])))[0] == "i" * 255
    assert feed(serving(), json.dumps([2, "i" * 256, "Heartbeat"])) is None


@pytest.mark.parametrize(
    "answer", ['[3,"our-1",{"status":"Accepted"}]', '[3,"our-1",null]', '[4,"our-1","GenericError","",{}]']
)
def test_an_answer_settles_the_outstanding_call_and_lets_the_next_go(answer: str) -> None:
    engine = serving()
    first, second = outgoing("our-1"), outgoing("our-2")
    assert engine.submit(first) is first
    assert engine.submit(second) is None
    event = feed(engine, answer)
    assert event == Settle(first, frames.parse(answer), second)  # type: ignore[arg-type]
    assert feed(engine, '[3,"our-2",{}]') == Settle(second, frames.CallResultFrame("our-2", {}), None)
    assert not counted(engine)


@pytest.mark.parametrize("answer", ['[3,"our-1"]', '[4,"our-1","GenericError"]', '[4,"our-1","X","","details"]'])
def test_a_malformed_answer_settles_its_call_with_the_fault(answer: str) -> None:
    engine = serving()
    call = outgoing()
    engine.submit(call)
    event = feed(engine, answer)
    assert isinstance(event, Settle)
    assert event.call is call
    assert isinstance(event.answer, ProtocolError)
    assert counted(engine) == {"malformed_messages": 1}


@pytest.mark.parametrize("answer", ['[3,"our-1",{}]', '[4,"our-1","GenericError","",{}]', '[3,"our-1"]'])
def test_a_late_answer_is_counted_once_and_never_answered(answer: str) -> None:
    engine = serving()
    call = written(engine, outgoing())
    assert engine.look(30.0) == [Overdue(call, waited=30)]
    assert feed(engine, answer) == Late(call)
    assert (engine.counters.late_answers, engine.counters.stray_answers) == (1, 0)
    assert feed(engine, answer) is None
    assert (engine.counters.late_answers, engine.counters.stray_answers) == (1, 1)


@pytest.mark.parametrize("answer", ['[3,"-1",{}]', '[4,"-1","RpcFrameworkError","",{}]', '[3,"1",{}]', '[3,"",{}]'])
def test_a_stray_answer_is_counted_logged_and_never_answered(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    engine = serving()
    call = outgoing()
    engine.submit(call)
    feed(engine, START)  # its id, 1, is the peer's and none of ours
    assert feed(engine, answer) is None
    assert counted(engine) == {"stray_answers": 1}
    # The id "-1" says that the peer could not read something (4/201 §4.2.3).
    said = "could not read a message of ours" if answer.startswith('[4,"-1"') else "no CALL of ours has that id"
    assert said in caplog.text
    assert isinstance(feed(engine, '[3,"our-1",{}]'), Settle), "the outstanding call still waits"


def test_an_answer_to_a_queued_call_is_stray() -> None:
    engine = serving()
    engine.submit(outgoing("our-1"))
    engine.submit(outgoing("our-2"))
    assert feed(engine, '[3,"our-2",{}]') is None
    assert counted(engine) == {"stray_answers": 1}


@pytest.mark.parametrize("kind", [-1, 0, 1, 5, 6, 7, 10**30])
def test_unknown_message_types_are_ignored(kind: int, caplog: pytest.LogCaptureFixture) -> None:
    engine = serving()
    engine.submit(outgoing())
    with caplog.at_level(logging.INFO):
        for message_id in ("our-1", "1", 5):
            assert feed(engine, json.dumps([kind, message_id, "Heartbeat", {}])) is None
    assert counted(engine) == {"unknown_types": 3}
    assert caplog.text.count(f"unknown message type {kind}") == 2, "each of the first two, and then ever fewer"
    assert "outstanding=Reset" in repr(engine)


@pytest.mark.parametrize("text", ["hello", "[]", '[2,5,"Heartbeat",{}]', '[2.0,"1","Heartbeat",{}]', "[3,5,{}]"])
def test_what_has_no_readable_id_is_counted_logged_and_never_answered(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = serving()
    assert feed(engine, text) is None
    assert counted(engine) == {"malformed_messages": 1}
    assert len(caplog.records) == 1


def test_a_peer_cannot_forge_the_log(caplog: pytest.LogCaptureFixture) -> None:
    engine = serving()
    with caplog.at_level(logging.INFO):
        for text in (
            '[2,"1\\nforged","Heartbeat",{}]',
            '[2,"1\\nforged","Reset\\nforged",{}]',
            '[3,"1\\nforged",{}]',
        ):
            feed(engine, text)
    assert len(caplog.records) == 2
    assert not any("\n" in record.getMessage() for record in caplog.records)


# Our calls.


def test_calls_go_out_one_at_a_time_in_order() -> None:
    engine = serving()
    calls = [outgoing(f"our-{number}") for number in range(4)]
    assert [engine.submit(call) for call in calls] == [calls[0], None, None, None]
    following = [feed(engine, frames.call_result(call.message_id, {})).next for call in calls]
    assert following == [*calls[1:], None]
    assert engine.submit(last := outgoing("our-9")) is last, "an idle connection writes at once"


def test_the_peers_calls_and_ours_do_not_wait_for_each_other() -> None:
    engine = serving()
    engine.submit(outgoing("1"))
    assert isinstance(feed(engine, '[2,"1","Heartbeat",{}]'), IncomingCall)
    assert isinstance(feed(engine, '[2,"2","Heartbeat",{}]'), IncomingCall)
    assert isinstance(feed(engine, '[3,"1",{}]'), Settle)


def test_a_caller_who_has_given_up_is_told_once() -> None:
    appointments = Appointments()
    engine = serving(call_at=appointments.call_at)
    call = written(engine, outgoing(times=CallTimes(message=30, queue=60, whole=10)))
    assert appointments.open == [10]
    for now, overdue, look_again in (
        (9.0, [], [10]),
        (10.0, [Overdue(call, look_again=30, waited=10)], [30]),
        (11.0, [], [30]),
        (30.0, [Overdue(call, waited=30)], []),
        (31.0, [], []),
    ):
        appointments.keep()
        assert engine.look(now) == overdue
        assert appointments.open == look_again


def test_calls_are_looked_at_when_the_first_time_of_any_may_be_over() -> None:
    appointments = Appointments()
    engine = serving(call_at=appointments.call_at)
    for number, (queue, whole, due) in enumerate([(60, None, 30), (20, None, 20), (40, None, 20), (60, 5, 5)]):
        engine.submit(outgoing(f"our-{number}", times=CallTimes(message=30, queue=queue, whole=whole)))
        assert appointments.open == [due]
    feed(engine, '[3,"our-0",{}]')
    assert appointments.open == [5], "an answer moves no appointment: most come long before"
    engine.end(ConnectionState.CLOSED)
    assert appointments.open == []


def test_an_appointment_that_is_kept_as_another_one_is_made_leaves_one() -> None:
    appointments = Appointments()
    engine = serving(call_at=appointments.call_at)
    engine.submit(outgoing("our-1"))
    appointments.keep()  # on the timer, which has not come to the engine yet
    engine.submit(outgoing("our-2", times=CallTimes(message=20)))
    assert appointments.open == [20]
    assert engine.look(10.0) == []
    assert appointments.open == [30], "the one of the second would not be cancelled at the end"
    engine.end(ConnectionState.CLOSED)
    assert appointments.open == []


def test_what_is_asked_after_the_last_one_timed_out_is_looked_at() -> None:
    appointments = Appointments()
    engine = serving(call_at=appointments.call_at)
    call = written(engine, outgoing("our-1"))
    appointments.keep()
    assert engine.look(30.0) == [Overdue(call, waited=30)]
    assert appointments.open == []
    engine.submit(outgoing("our-2", asked_at=30.0))
    assert appointments.open == [60]


def test_calls_that_end_at_one_time_end_one_after_the_other() -> None:
    engine = serving()
    calls = [outgoing(f"our-{number}", times=CallTimes(message=30, queue=30)) for number in range(2)]
    third = outgoing("our-2")
    written(engine, calls[0])
    for call in (calls[1], third):
        engine.submit(call)
    assert engine.look(30.0) == [Overdue(calls[0], waited=30, next=calls[1]), Overdue(calls[1], waited=30, next=third)]
    assert engine.begin_writing(calls[1]) is None, "it has ended"
    assert engine.begin_writing(third) is third


def test_a_call_whose_times_cannot_be_watched_is_not_taken() -> None:
    appointments = Appointments()

    def refuse(due: float) -> Any:
        if due < 30:
            raise RuntimeError("no thread")
        return appointments.call_at(due)

    engine = serving(call_at=refuse)
    call, refused = outgoing("our-1"), outgoing("our-2", times=CallTimes(message=10))
    engine.submit(call)
    with pytest.raises(RuntimeError, match="no thread"):
        engine.submit(refused)
    assert (refused.state, appointments.open) == (CallState.NEW, [30]), "the one before is still looked at"
    assert engine.end(ConnectionState.CLOSED) == [call]


def test_a_call_that_is_written_at_once_is_noted_with_its_turn() -> None:
    engine = serving()
    call = outgoing()
    engine.submit(call)
    assert (call.delivery, call.sent_at) == ("not_sent", None)
    assert engine.begin_writing(call, 5.0) is call
    assert (call.delivery, call.sent_at) == ("unknown", 5.0)


def test_a_call_that_is_written_after_observers_were_told_is_noted_then() -> None:
    engine = serving()
    call = outgoing()
    engine.submit(call)
    assert engine.begin_writing(call) is call
    assert (call.delivery, call.sent_at) == ("not_sent", None), "observers may take their time"
    assert engine.note_writing(call, 5.0)
    assert (call.delivery, call.sent_at) == ("unknown", 5.0)


@pytest.mark.parametrize("observed", [False, True])
def test_a_call_changes_under_the_lock(observed: bool) -> None:
    class GuardedCall(OutgoingCall):
        __slots__ = ()

        def __setattr__(self, name: str, value: Any) -> None:
            assert engine._lock.locked(), f"{name} is changed without the lock"
            super().__setattr__(name, value)

    engine = serving()
    answered, late, withdrawn = calls = [outgoing(f"our-{number}") for number in range(3)]
    for call in calls:
        call.__class__ = GuardedCall
        engine.submit(call)
    engine.withdraw(withdrawn)
    for call in (answered, late):
        assert engine.begin_writing(call, None if observed else 0.0) is call
        assert not observed or engine.note_writing(call, 0.0)
        feed(engine, '[3,"our-0",{}]')
    assert [overdue.call for overdue in engine.look(30.0)] == [late]
    assert [call.state for call in calls] == [CallState.SETTLED] * 3


def test_a_withdrawn_call_makes_room() -> None:
    engine = serving()
    first, second, third = (outgoing(f"our-{number}") for number in range(3))
    for call in (first, second, third):
        engine.submit(call)
    assert engine.withdraw(second) is None, "it was not its turn"
    assert engine.withdraw(first) is third, "which has its turn now"
    for call in (first, second):
        assert engine.withdraw(call) is None, "only once"
    for number in range(2):
        assert feed(engine, f'[3,"our-{number}",{{}}]') is None
    assert counted(engine) == {"stray_answers": 2}, "they were never written, so no answer can be late"


def test_a_late_answer_satisfies_a_retry_with_the_same_id() -> None:
    engine = serving()
    retry = outgoing()
    written(engine, outgoing())
    engine.look(30.0)
    engine.submit(retry)
    event = feed(engine, '[3,"our-1",{}]')
    assert isinstance(event, Settle)
    assert event.call is retry


def test_timeouts_are_not_remembered_without_bound() -> None:
    engine = serving()
    for number in range(65):
        written(engine, outgoing(f"our-{number}"))
        engine.look(30.0)
    assert feed(engine, '[3,"our-0",{}]') is None
    assert isinstance(feed(engine, '[3,"our-1",{}]'), Late)
    assert counted(engine) == {"stray_answers": 1, "late_answers": 1}


def test_the_end_gives_up_all_in_order() -> None:
    assert serving().end(ConnectionState.CLOSED) == []
    engine = serving()
    calls = [outgoing(f"our-{number}") for number in range(3)]
    for call in calls:
        engine.submit(call)
    assert engine.end(ConnectionState.CLOSED) == calls
    assert engine.end(ConnectionState.CLOSED) == []
    assert [engine.withdraw(call) for call in calls] == [None] * 3
    assert engine.look(99.0) == []
    assert feed(engine, '[3,"our-0",{}]') is None
    assert engine.submit(outgoing()) is Rejection.CLOSED
    assert engine.state is ConnectionState.CLOSED


def test_a_state_only_moves_forward() -> None:
    engine = serving()
    engine.open()
    assert engine.state is ConnectionState.OPEN
    engine.end(ConnectionState.CLOSING)
    engine.end(ConnectionState.OPEN)
    engine.open()
    assert engine.state is ConnectionState.CLOSING


def test_a_call_behind_a_full_queue_is_not_taken() -> None:
    engine = make_engine(FrameCodec("1.6"), max_queued=1)
    for number in range(2):
        engine.submit(outgoing(f"our-{number}"))
    assert engine.submit(outgoing("our-2")) is Rejection.FULL


@pytest.mark.parametrize("rejection", [Rejection.CLOSED, Rejection.FULL])
def test_a_call_that_is_rejected_has_no_other_end(rejection: Rejection) -> None:
    appointments = Appointments()
    engine = make_engine(FrameCodec("1.6"), max_queued=1, call_at=appointments.call_at)
    waiting = [outgoing(f"our-{number}") for number in range(2)]
    for call in waiting:
        engine.submit(call)
    if rejection is Rejection.CLOSED:
        engine.end(ConnectionState.CLOSED)
    rejected = outgoing("our-9", times=CallTimes(message=1))
    assert engine.submit(rejected) is rejection
    assert appointments.open == ([] if rejection is Rejection.CLOSED else [30])
    assert rejected not in [overdue.call for overdue in engine.look(60.0)], "its caller has its error already"
    assert engine.withdraw(rejected) is None


def test_repr_shows_what_waits() -> None:
    engine = serving()
    assert repr(engine) == f"<Engine CONNECTING outstanding=None queued=0 {Counters()}>"
    engine.submit(outgoing("our-1", "Reset"))
    engine.submit(outgoing("our-2", "ClearCache"))
    feed(engine, '[3,"x",{}]')
    assert repr(engine) == f"<Engine CONNECTING outstanding=Reset queued=1 {Counters(stray_answers=1)}>"


class Calls(RuleBasedStateMachine):
    """Random lives of our calls against a model: a list of what waits, in order."""

    submitted = Bundle("submitted")

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.now = 0.0
        self.settled: dict[OutgoingCall, int] = {}
        self.written_at: dict[OutgoingCall, float] = {}
        self.abandoned: set[OutgoingCall] = set()
        self.late: list[str] = []
        self.expected = Counters()

    @initialize()
    def connect(self) -> None:
        self.appointments = Appointments()
        self.engine = serving(call_at=self.appointments.call_at)
        self.waiting: list[OutgoingCall] = []
        self.written: list[OutgoingCall] = []
        self.late.clear()
        self.expected = Counters()

    def write(self, call: OutgoingCall | None) -> None:
        if call is not None:
            assert call is self.waiting[0], "the calls go out in order"
            assert self.engine.begin_writing(call) is call
            assert self.engine.note_writing(call, self.now)
            self.written_at[call] = self.now
            self.written.append(call)

    def settle(self, call: OutgoingCall) -> None:
        self.waiting.remove(call)
        self.settled[call] += 1

    @rule(target=submitted, queue=st.sampled_from([20, 60]), whole=st.sampled_from([None, 10, 40, 100]))
    def submit(self, queue: int, whole: int | None) -> OutgoingCall:
        self.number += 1
        call = outgoing(f"our-{self.number}", times=CallTimes(30, queue, whole), asked_at=self.now)
        self.settled[call] = 0
        self.waiting.append(call)
        self.write(self.engine.submit(call))
        return call

    @precondition(lambda self: self.waiting)
    @rule(template=st.sampled_from(['[3,"%s",{}]', '[4,"%s","GenericError","",{}]', '[3,"%s"]', '[4,"%s",null]']))
    def answer(self, template: str) -> None:
        call = self.waiting[0]
        event = feed(self.engine, template % call.message_id)
        assert isinstance(event, Settle)
        assert event.call is call
        assert isinstance(event.answer, ProtocolError) == (template in ('[3,"%s"]', '[4,"%s",null]'))
        self.expected.malformed_messages += isinstance(event.answer, ProtocolError)
        self.expected.late_answers += call.abandoned
        self.settle(call)
        self.write(event.next)

    @rule(call=submitted)
    def cancel(self, call: OutgoingCall) -> None:
        if call not in self.waiting:
            return
        cancelled = call.future.cancel()
        assert cancelled == (call not in self.written), "it was not written"
        if cancelled:
            assert self.engine.withdraw(call) is None
            self.settle(call)

    @rule(seconds=st.sampled_from([1, 10, 30, 60]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    def ends_at(self, call: OutgoingCall) -> tuple[float, float]:
        """Return when a call ends, and when its caller gives up."""
        whole = call.times.whole
        given_up = math.inf if whole is None else call.asked_at + whole
        if call in self.written:
            return max(self.written_at[call] + 30, 0 if whole is None else given_up), given_up
        return min(call.asked_at + (call.times.queue or 0), given_up), given_up

    @rule()
    def look(self) -> None:
        self.appointments.keep()
        found = self.engine.look(self.now)
        by_call, again = {overdue.call: overdue for overdue in found}, []
        assert list(by_call) == [call for call in self.waiting if call in by_call], "in order"
        for call in list(self.waiting):
            overdue, (due, given_up) = by_call.get(call), self.ends_at(call)
            is_written, ended = call in self.written, self.now >= due
            abandoned = is_written and not ended and self.now >= given_up
            assert (overdue is not None) == (ended or (abandoned and call not in self.abandoned))
            if ended:
                assert overdue is not None
                assert overdue.look_again is None
                self.settle(call)
                self.late += [call.message_id] * is_written
            elif not is_written:
                again.append(min(due, self.now + 30))  # what is written now has its time from now on
            else:
                again.append(due if self.now >= given_up else min(due, given_up))
            self.abandoned |= {call} if abandoned else set()
            assert call.abandoned == (call in self.abandoned)
        assert self.appointments.open == ([min(again)] if again else [])
        for overdue in found:
            if overdue.next in self.waiting:
                self.write(overdue.next)
            else:
                assert self.engine.begin_writing(overdue.next) is None

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def answer_late(self, data: Any) -> None:
        message_id = data.draw(st.sampled_from(self.late))
        self.late.remove(message_id)
        self.expected.late_answers += 1
        assert isinstance(feed(self.engine, f'[3,"{message_id}",{{}}]'), Late)

    @rule(call=consumes(submitted))
    def answer_out_of_turn(self, call: OutgoingCall) -> None:
        """Answer a call that still queues, or that is over."""
        if call in self.waiting[:1] or call.message_id in self.late:
            return
        self.expected.stray_answers += 1
        assert feed(self.engine, f'[3,"{call.message_id}",{{}}]') is None

    @rule(message_id=st.sampled_from(["", "-1", "other"]), kind=st.sampled_from([3, 4]))
    def answer_to_nothing(self, message_id: str, kind: int) -> None:
        self.expected.stray_answers += 1
        assert feed(self.engine, json.dumps([kind, message_id, *([{}] if kind == 3 else ["X", "", {}])])) is None

    @rule(number=st.integers(1, 5))
    def call_by_the_peer(self, number: int) -> None:
        """The peer's ids are its own, and may be ours by chance."""
        event = feed(self.engine, f'[2,"our-{number}","Heartbeat",{{}}]')
        assert received(event) == call_of(f"our-{number}", "Heartbeat", {})

    @rule()
    def noise(self) -> None:
        assert feed(self.engine, '[6,"our-1","Heartbeat",{}]') is None
        assert feed(self.engine, "hello") is None
        self.expected.unknown_types += 1
        self.expected.malformed_messages += 1

    @rule()
    def end(self) -> None:
        assert self.engine.end(ConnectionState.CLOSED) == self.waiting
        for call in list(self.waiting):
            self.settle(call)
        self.check()
        self.connect()

    @invariant()
    def check(self) -> None:
        if not hasattr(self, "engine"):
            return
        assert all(count == (call not in self.waiting) for call, count in self.settled.items()), "settled exactly once"
        outstanding = [call for call in self.written if call in self.waiting]
        assert outstanding == self.waiting[:1], "one is outstanding where any waits, and never more"
        assert f"queued={max(0, len(self.waiting) - 1)} " in repr(self.engine)
        assert self.engine.counters == self.expected
        assert len(self.appointments.open) <= 1
        for call in self.waiting:
            ends, given_up = self.ends_at(call)
            due = ends if call in self.abandoned else min(ends, given_up)
            assert self.appointments.open[0] <= due, "it is looked at in time"


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# What 2.0.1 and 2.1 do otherwise (4/201 §4, 4/21 §4).


def make_2x(version: str, answered: Any = lambda message_id: None) -> tuple[Engine, Any]:
    """Return a core, and what a connection of that version does with a text."""
    codec = FrameCodec(version)

    def refusal(action: str, send: bool) -> str | None:
        return None if action in SERVED and send is (action == "Beat") else "NotSupported"

    engine = make_engine(codec, refusal, answered=answered)

    def feed_2x(text: str) -> Any:
        try:
            frame = codec.parse(text)
        except ProtocolError as error:
            return engine.receive_malformed(error)
        return engine.receive(frame)

    return engine, feed_2x


BOTH_2X = pytest.mark.parametrize("version", ["2.0.1", "2.1"])


@BOTH_2X
@pytest.mark.parametrize(
    "text", ["hello", "", "[]", "[2]", '{"a":1}', '[2,5,"Heartbeat",{}]', '[2.0,"1","Heartbeat",{}]', '["2","1"]']
)
def test_what_has_no_readable_id_is_reported_with_the_id_that_stands_for_none(version: str, text: str) -> None:
    engine, feed_2x = make_2x(version)
    event = feed_2x(text)
    assert event == Reply('[4,"-1","RpcFrameworkError","the message could not be read",{}]', frames.CALLERROR, "-1")
    assert counted(engine) == {"malformed_messages": 1}


@BOTH_2X
@pytest.mark.parametrize("text", ["[3,5,{}]", '[4,5,"X","",{}]', '[4,"1","X"]', '[3,"1"]', '[4,"-1","X",5,{}]'])
def test_a_malformed_answer_is_never_answered(version: str, text: str) -> None:
    _, feed_2x = make_2x(version)
    assert feed_2x(text) is None


@BOTH_2X
def test_an_id_of_more_than_255_characters_is_not_echoed(version: str) -> None:
    _, feed_2x = make_2x(version)
    for length, echo in ((37, "i" * 37), (255, "i" * 255), (256, "-1")):
        assert error_of(feed_2x(frames.call("i" * length, "Heartbeat", {}))) == (echo, "RpcFrameworkError")
        assert error_of(feed_2x(json.dumps([2, "i" * length, "Heartbeat"]))) == (echo, "RpcFrameworkError")


@pytest.mark.parametrize(
    ("version", "kinds", "answered"),
    [("2.0.1", [0, 1, 5, 6, 7, -1], True), ("2.1", [0, 1, 7, -1], False)],
)
def test_an_unknown_message_type_is_answered_in_2_0_1_alone(version: str, kinds: list[int], answered: bool) -> None:
    engine, feed_2x = make_2x(version)
    for kind in kinds:
        for message_id, echo in (("7", "7"), (7, "-1")):
            event = feed_2x(json.dumps([kind, message_id, "Beat", {}]))
            assert (error_of(event) if event else None) == ((echo, "MessageTypeNotSupported") if answered else None)
    assert counted(engine) == {"unknown_types": 2 * len(kinds)}


@BOTH_2X
def test_a_call_of_ours_cannot_have_the_id_that_stands_for_none(version: str, caplog: pytest.LogCaptureFixture) -> None:
    engine, feed_2x = make_2x(version)
    engine.submit(outgoing())
    assert feed_2x('[4,"-1","RpcFrameworkError","line\\nbreak",{}]') is None
    assert counted(engine) == {"stray_answers": 1}
    assert r"CP1: could not read a message of ours: 'RpcFrameworkError line\nbreak'" in caplog.text
    assert "outstanding=Reset" in repr(engine)


# SENDs.


def test_a_send_of_an_action_with_a_handler_is_to_be_handled() -> None:
    engine, feed_2x = make_2x("2.1")
    for _ in range(2):
        event = feed_2x('[6,"1","Beat",{"n":1}]')
        assert received(event) == send_of("1", "Beat", {"n": 1})
        assert event.route.send_refusal is None
    assert isinstance(feed_2x(START), IncomingCall), "its id is not that of a CALL"
    assert not counted(engine)


@pytest.mark.parametrize(
    ("text", "counter"),
    [
        ('[6,"1","Heartbeat",{}]', "dropped_sends"),
        ('[6,"1","Bogus\\nforged",{}]', "dropped_sends"),
        (f'[6,"{"i" * 37}","Beat",{{}}]', "dropped_sends"),
        ('[6,"1","Beat"]', "malformed_messages"),
        ('[6,"1",5,{}]', "malformed_messages"),
        ('[6,1,"Beat",{}]', "malformed_messages"),
    ],
)
def test_a_send_with_anything_wrong_is_dropped_and_logged(
    text: str, counter: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine, feed_2x = make_2x("2.1")
    assert feed_2x(text) is None
    assert counted(engine) == {counter: 1}
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()


# CALLRESULTERRORs.


def test_a_refused_answer_is_reported_once_it_was_given() -> None:
    answers: dict[Any, str] = {}
    engine, feed_2x = make_2x("2.1", answers.get)
    refusal = '[5,"1","FormatViolation","why",{"a":1}]'
    assert feed_2x(refusal) is None
    feed_2x(START)
    assert feed_2x(refusal) is None, "it was not answered yet"
    answers["1"] = "StartTransaction"
    error = frames.CallResultErrorFrame("1", "FormatViolation", "why", {"a": 1})
    assert feed_2x(refusal) == AnswerRejected("StartTransaction", error)
    assert counted(engine) == {"stray_answers": 2}


@pytest.mark.parametrize("text", ['[5,"1","X",""]', '[5,"1",null,"",{}]', '[5,1,"X","",{}]', '[5,"1","X","","d"]'])
def test_a_malformed_refusal_is_never_answered_and_settles_nothing(text: str) -> None:
    engine, feed_2x = make_2x("2.1")
    engine.submit(outgoing("1"))
    assert feed_2x(text) is None
    assert counted(engine) == {"malformed_messages": 1}
    assert "outstanding=Reset" in repr(engine)

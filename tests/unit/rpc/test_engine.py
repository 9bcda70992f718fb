"""The RPC core of one connection (J16 §4): both directions, without a connection."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from ocppsync.errors import ProtocolError
from ocppsync.rpc import frames
from ocppsync.rpc.answer_memory import AnswerMemory
from ocppsync.rpc.engine import AnswerRejected, Counters, Dispatch, OutgoingCall, Reply, Rpc, Settle
from ocppsync.rpc.frame_codec import FrameCodec

SERVED = {"Heartbeat", "StartTransaction", "Beat"}
START = '[2,"1","StartTransaction",{"connectorId":1}]'


def make_rpc(version: str = "1.6") -> Rpc:
    def refusal(action: str, send: bool) -> str | None:
        return None if action in SERVED else "NotSupported"

    return Rpc(FrameCodec(version), refusal=refusal, answers=AnswerMemory(), reply_to=object(), peer="CP1")


def feed(rpc: Rpc, text: str) -> Any:
    """Do with a text what a connection does."""
    try:
        frame = frames.parse(text)
    except ProtocolError as error:
        return rpc.receive_malformed(error)
    return rpc.receive(frame, text)


def outgoing(message_id: str = "our-1", action: str = "Reset") -> OutgoingCall:
    return OutgoingCall(message_id, action, frames.call(message_id, action, {}))


def counted(rpc: Rpc) -> dict[str, int]:
    return {name: count for name, count in asdict(rpc.counters).items() if count}


def error_of(event: Any) -> tuple[str, str]:
    assert isinstance(event, Reply)
    kind, message_id, code, _, details = json.loads(event.text)
    assert (kind, details) == (4, {})
    return message_id, code


# What comes in, row by row of the table on top of rpc.py.


def test_a_new_call_is_dispatched() -> None:
    rpc = make_rpc()
    event = feed(rpc, START)
    assert isinstance(event, Dispatch)
    assert event.call == frames.CallFrame("1", "StartTransaction", {"connectorId": 1})
    assert event.admission is not None
    assert (event.admission.message_id, event.admission.action) == ("1", "StartTransaction")
    assert not counted(rpc)


def test_a_repeat_of_an_answered_call_gets_the_same_answer() -> None:
    answers = AnswerMemory()
    rpc = Rpc(FrameCodec("1.6"), refusal=lambda action, send: None, answers=answers, reply_to="reply_to")
    event = feed(rpc, START)
    answers.finish(event.admission, '[3,"1",{"n":1}]')
    for _ in range(2):
        assert feed(rpc, START) == Reply('[3,"1",{"n":1}]')
    assert counted(rpc) == {"repeated_calls": 2}


def test_a_repeat_of_a_call_that_is_being_handled_is_swallowed() -> None:
    rpc = make_rpc()
    feed(rpc, START)
    assert feed(rpc, START) is None
    assert counted(rpc) == {"repeated_calls": 1}


@pytest.mark.parametrize("other", ['[2,"1","Heartbeat",{}]', '[2,"1","StartTransaction",{"connectorId":2}]'])
@pytest.mark.parametrize("answered", [False, True])
def test_an_id_used_for_another_call_is_refused(other: str, answered: bool) -> None:
    answers = AnswerMemory()
    rpc = Rpc(FrameCodec("1.6"), refusal=lambda action, send: None, answers=answers, reply_to="reply_to")
    event = feed(rpc, START)
    if answered:
        answers.finish(event.admission, "[]")
    assert error_of(feed(rpc, other)) == ("1", "GenericError")


@pytest.mark.parametrize(("length", "answered"), [(37, True), (255, True), (256, False), (100_000, False)])
def test_an_id_that_is_too_long(length: int, answered: bool) -> None:
    event = feed(make_rpc(), frames.call("i" * length, "Heartbeat", {}))
    assert error_of(event) == ("i" * length, "GenericError") if answered else event is None


@pytest.mark.parametrize("message_id", ["", "i" * 36, "\U0001f50c" * 36, "-1", "our-1"])
def test_an_id_of_36_characters_at_most_is_taken(message_id: str) -> None:
    assert isinstance(feed(make_rpc(), frames.call(message_id, "Heartbeat", {})), Dispatch)


@pytest.mark.parametrize(
    ("code", "description"),
    [("NotImplemented", "unknown action 'Reset'"), ("NotSupported", "'Reset' is not supported here")],
)
def test_a_refused_action_is_answered_and_not_remembered(code: str, description: str) -> None:
    answers = AnswerMemory()
    rpc = Rpc(
        FrameCodec("1.6"),
        refusal=lambda action, send: code if action == "Reset" else None,
        answers=answers,
        reply_to="reply_to",
    )
    assert feed(rpc, '[2,"1","Reset",{}]') == Reply(frames.call_error("1", code, description))
    assert isinstance(feed(rpc, '[2,"1","Heartbeat",{}]'), Dispatch)


def test_a_long_name_of_an_action_is_cut_in_the_answer() -> None:
    event = feed(make_rpc(), json.dumps([2, "1", "x" * 51, {}]))
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
    rpc = make_rpc(version)
    assert error_of(feed(rpc, text)) == ("1", code)
    assert counted(rpc) == {"malformed_messages": 1}


def test_no_error_echoes_an_id_of_more_than_255_characters() -> None:
    assert error_of(feed(make_rpc(), json.dumps([2, "i" * 255, "Heartbeat"])))[0] == "i" * 255
    assert feed(make_rpc(), json.dumps([2, "i" * 256, "Heartbeat"])) is None


@pytest.mark.parametrize(
    "answer", ['[3,"our-1",{"status":"Accepted"}]', '[3,"our-1",null]', '[4,"our-1","GenericError","",{}]']
)
def test_an_answer_settles_the_outstanding_call_and_lets_the_next_go(answer: str) -> None:
    rpc = make_rpc()
    first, second = outgoing("our-1"), outgoing("our-2")
    assert rpc.submit(first) is first
    assert rpc.submit(second) is None
    event = feed(rpc, answer)
    assert event == Settle(first, frames.parse(answer), second)  # type: ignore[arg-type]
    assert feed(rpc, '[3,"our-2",{}]') == Settle(second, frames.CallResultFrame("our-2", {}), None)
    assert not counted(rpc)


@pytest.mark.parametrize("answer", ['[3,"our-1"]', '[4,"our-1","GenericError"]', '[4,"our-1","X","","details"]'])
def test_a_malformed_answer_settles_its_call_with_the_fault(answer: str) -> None:
    rpc = make_rpc()
    call = outgoing()
    rpc.submit(call)
    event = feed(rpc, answer)
    assert isinstance(event, Settle)
    assert event.call is call
    assert isinstance(event.answer, ProtocolError)
    assert counted(rpc) == {"malformed_messages": 1}


@pytest.mark.parametrize("answer", ['[3,"our-1",{}]', '[4,"our-1","GenericError","",{}]', '[3,"our-1"]'])
def test_a_late_answer_is_counted_once_logged_and_never_answered(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    rpc = make_rpc()
    call = outgoing()
    rpc.submit(call)
    assert rpc.withdraw(call).was == "outstanding"
    assert feed(rpc, answer) is None
    assert (rpc.counters.late_answers, rpc.counters.stray_answers) == (1, 0)
    assert "CP1: the answer to our-1 came after its timeout and is dropped" in caplog.text
    assert feed(rpc, answer) is None
    assert (rpc.counters.late_answers, rpc.counters.stray_answers) == (1, 1)


@pytest.mark.parametrize("answer", ['[3,"-1",{}]', '[4,"-1","RpcFrameworkError","",{}]', '[3,"1",{}]', '[3,"",{}]'])
def test_a_stray_answer_is_counted_logged_and_never_answered(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    rpc = make_rpc()
    call = outgoing()
    rpc.submit(call)
    feed(rpc, START)  # its id, 1, is the peer's and none of ours
    assert feed(rpc, answer) is None
    assert counted(rpc) == {"stray_answers": 1}
    # The id "-1" says that the peer could not read something (4/201 §4.2.3).
    said = "could not read a message of ours" if answer.startswith('[4,"-1"') else "which is no call of ours"
    assert said in caplog.text
    assert isinstance(feed(rpc, '[3,"our-1",{}]'), Settle), "the outstanding call still waits"


def test_an_answer_to_a_queued_call_is_stray() -> None:
    rpc = make_rpc()
    rpc.submit(outgoing("our-1"))
    rpc.submit(outgoing("our-2"))
    assert feed(rpc, '[3,"our-2",{}]') is None
    assert counted(rpc) == {"stray_answers": 1}


@pytest.mark.parametrize("kind", [-1, 0, 1, 5, 6, 7, 10**30])
def test_unknown_message_types_are_ignored(kind: int, caplog: pytest.LogCaptureFixture) -> None:
    rpc = make_rpc()
    rpc.submit(outgoing())
    with caplog.at_level(logging.INFO):
        for message_id in ("our-1", "1", 5):
            assert feed(rpc, json.dumps([kind, message_id, "Heartbeat", {}])) is None
    assert counted(rpc) == {"unknown_types": 3}
    assert caplog.text.count(f"unknown message type {kind}") == 2, "each of the first two, and then ever fewer"
    assert "outstanding=Reset" in repr(rpc)


@pytest.mark.parametrize("text", ["hello", "[]", '[2,5,"Heartbeat",{}]', '[2.0,"1","Heartbeat",{}]', "[3,5,{}]"])
def test_what_has_no_readable_id_is_counted_logged_and_never_answered(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    rpc = make_rpc()
    assert feed(rpc, text) is None
    assert counted(rpc) == {"malformed_messages": 1}
    assert len(caplog.records) == 1


def test_a_peer_cannot_forge_the_log(caplog: pytest.LogCaptureFixture) -> None:
    rpc = make_rpc()
    with caplog.at_level(logging.INFO):
        for text in (
            '[2,"1\\nforged","Heartbeat",{}]',
            '[2,"1\\nforged","Heartbeat",{}]',
            '[2,"1\\nforged","Reset\\nforged",{}]',
            '[3,"1\\nforged",{}]',
        ):
            feed(rpc, text)
    assert len(caplog.records) == 3
    assert not any("\n" in record.getMessage() for record in caplog.records)


# Our calls.


def test_calls_go_out_one_at_a_time_in_order() -> None:
    rpc = make_rpc()
    calls = [outgoing(f"our-{number}") for number in range(4)]
    assert [rpc.submit(call) for call in calls] == [calls[0], None, None, None]
    following = [feed(rpc, frames.call_result(call.message_id, {})).next for call in calls]
    assert following == [*calls[1:], None]
    assert rpc.submit(calls[0]) is calls[0], "an idle connection writes at once"


def test_the_peers_calls_and_ours_do_not_wait_for_each_other() -> None:
    rpc = make_rpc()
    rpc.submit(outgoing("1"))
    assert isinstance(feed(rpc, '[2,"1","Heartbeat",{}]'), Dispatch)
    assert isinstance(feed(rpc, '[2,"2","Heartbeat",{}]'), Dispatch)
    assert isinstance(feed(rpc, '[3,"1",{}]'), Settle)


def test_a_withdrawn_call_makes_room() -> None:
    rpc = make_rpc()
    first, second, third = (outgoing(f"our-{number}") for number in range(3))
    for call in (first, second, third):
        rpc.submit(call)
    queued = rpc.withdraw(second)
    assert (queued.was, queued.next) == ("queued", None)
    outstanding = rpc.withdraw(first)
    assert (outstanding.was, outstanding.next) == ("outstanding", third)
    for call in (first, second):
        again = rpc.withdraw(call)
        assert (again.was, again.next) == ("settled", None)
    assert feed(rpc, '[3,"our-1",{}]') is None
    assert counted(rpc) == {"stray_answers": 1}, "the second was never written, so no answer can be late"


def test_a_late_answer_satisfies_a_retry_with_the_same_id() -> None:
    rpc = make_rpc()
    first, retry = outgoing(), outgoing()
    rpc.submit(first)
    rpc.withdraw(first)
    rpc.submit(retry)
    event = feed(rpc, '[3,"our-1",{}]')
    assert isinstance(event, Settle)
    assert event.call is retry


def test_timeouts_are_not_remembered_without_bound() -> None:
    rpc = make_rpc()
    for number in range(65):
        rpc.submit(call := outgoing(f"our-{number}"))
        rpc.withdraw(call)
    assert feed(rpc, '[3,"our-0",{}]') is None
    assert feed(rpc, '[3,"our-1",{}]') is None
    assert counted(rpc) == {"stray_answers": 1, "late_answers": 1}


def test_the_end_gives_up_all_in_order() -> None:
    rpc = make_rpc()
    assert rpc.end() == []
    calls = [outgoing(f"our-{number}") for number in range(3)]
    for call in calls:
        rpc.submit(call)
    assert rpc.end() == calls
    assert rpc.end() == []
    assert [rpc.withdraw(call).was for call in calls] == ["settled"] * 3
    assert feed(rpc, '[3,"our-0",{}]') is None


def test_repr_shows_what_waits() -> None:
    rpc = make_rpc()
    assert repr(rpc) == f"<Rpc outstanding=None queued=0 {Counters()}>"
    rpc.submit(outgoing("our-1", "Reset"))
    rpc.submit(outgoing("our-2", "ClearCache"))
    feed(rpc, '[3,"x",{}]')
    assert repr(rpc) == f"<Rpc outstanding=Reset queued=1 {Counters(stray_answers=1)}>"


class Calls(RuleBasedStateMachine):
    """Random lives of our calls against a model: a list of what waits, in order."""

    submitted = Bundle("submitted")

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.settled: dict[OutgoingCall, int] = {}
        self.late: list[str] = []
        self.expected = Counters()

    @initialize()
    def connect(self) -> None:
        self.rpc = make_rpc()
        self.waiting: list[OutgoingCall] = []
        self.written: list[OutgoingCall] = []
        self.late.clear()
        self.expected = Counters()

    def write(self, call: OutgoingCall | None) -> None:
        if call is not None:
            assert call is self.waiting[0], "the calls go out in order"
            self.written.append(call)

    def settle(self, call: OutgoingCall) -> None:
        self.waiting.remove(call)
        self.settled[call] += 1

    @rule(target=submitted)
    def submit(self) -> OutgoingCall:
        self.number += 1
        call = outgoing(f"our-{self.number}")
        self.settled[call] = 0
        self.waiting.append(call)
        self.write(self.rpc.submit(call))
        return call

    @precondition(lambda self: self.waiting)
    @rule(template=st.sampled_from(['[3,"%s",{}]', '[4,"%s","GenericError","",{}]', '[3,"%s"]', '[4,"%s",null]']))
    def answer(self, template: str) -> None:
        call = self.waiting[0]
        event = feed(self.rpc, template % call.message_id)
        assert isinstance(event, Settle)
        assert event.call is call
        assert isinstance(event.answer, ProtocolError) == (template in ('[3,"%s"]', '[4,"%s",null]'))
        self.expected.malformed_messages += isinstance(event.answer, ProtocolError)
        self.settle(call)
        self.write(event.next)

    @rule(call=submitted)
    def withdraw(self, call: OutgoingCall) -> None:
        place = self.waiting.index(call) if call in self.waiting else None
        withdrawn = self.rpc.withdraw(call)
        assert withdrawn.was == ("settled" if place is None else "outstanding" if place == 0 else "queued")
        if place is not None:
            self.settle(call)
        if place == 0:
            self.late.append(call.message_id)
        self.write(withdrawn.next)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def answer_late(self, data: Any) -> None:
        message_id = data.draw(st.sampled_from(self.late))
        self.late.remove(message_id)
        self.expected.late_answers += 1
        assert feed(self.rpc, f'[3,"{message_id}",{{}}]') is None

    @rule(call=consumes(submitted))
    def answer_out_of_turn(self, call: OutgoingCall) -> None:
        """Answer a call that still queues, or that is over."""
        if call in self.waiting[:1] or call.message_id in self.late:
            return
        self.expected.stray_answers += 1
        assert feed(self.rpc, f'[3,"{call.message_id}",{{}}]') is None

    @rule(message_id=st.sampled_from(["", "-1", "other"]), kind=st.sampled_from([3, 4]))
    def answer_to_nothing(self, message_id: str, kind: int) -> None:
        self.expected.stray_answers += 1
        assert feed(self.rpc, json.dumps([kind, message_id, *([{}] if kind == 3 else ["X", "", {}])])) is None

    @rule(number=st.integers(1, 5))
    def call_by_the_peer(self, number: int) -> None:
        """The peer's ids are its own, and may be ours by chance."""
        event = feed(self.rpc, f'[2,"our-{number}","Heartbeat",{{}}]')
        assert not isinstance(event, Settle)
        self.expected.repeated_calls += event is None

    @rule()
    def noise(self) -> None:
        assert feed(self.rpc, '[6,"our-1","Heartbeat",{}]') is None
        assert feed(self.rpc, "hello") is None
        self.expected.unknown_types += 1
        self.expected.malformed_messages += 1

    @rule()
    def end(self) -> None:
        assert self.rpc.end() == self.waiting
        for call in list(self.waiting):
            self.settle(call)
        self.check()
        self.connect()

    @invariant()
    def check(self) -> None:
        if not hasattr(self, "rpc"):
            return
        assert all(count == (call not in self.waiting) for call, count in self.settled.items()), "settled exactly once"
        outstanding = [call for call in self.written if call in self.waiting]
        assert outstanding == self.waiting[:1], "one is outstanding where any waits, and never more"
        assert f"queued={max(0, len(self.waiting) - 1)} " in repr(self.rpc)
        assert self.rpc.counters == self.expected


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# What 2.0.1 and 2.1 do otherwise (4/201 §4, 4/21 §4).


def make_2x(version: str, answers: AnswerMemory | None = None) -> tuple[Rpc, Any]:
    """Return a core, and what a connection of that version does with a text."""
    codec = FrameCodec(version)

    def refusal(action: str, send: bool) -> str | None:
        return None if action in SERVED and send is (action == "Beat") else "NotSupported"

    rpc = Rpc(codec, refusal=refusal, answers=answers or AnswerMemory(), reply_to="reply_to", peer="CP1")

    def feed_2x(text: str) -> Any:
        try:
            frame = codec.parse(text)
        except ProtocolError as error:
            return rpc.receive_malformed(error)
        return rpc.receive(frame, text)

    return rpc, feed_2x


BOTH_2X = pytest.mark.parametrize("version", ["2.0.1", "2.1"])


@BOTH_2X
@pytest.mark.parametrize(
    "text", ["hello", "", "[]", "[2]", '{"a":1}', '[2,5,"Heartbeat",{}]', '[2.0,"1","Heartbeat",{}]', '["2","1"]']
)
def test_what_has_no_readable_id_is_reported_with_the_id_that_stands_for_none(version: str, text: str) -> None:
    rpc, feed_2x = make_2x(version)
    event = feed_2x(text)
    assert event == Reply('[4,"-1","RpcFrameworkError","the message could not be read",{}]')
    assert counted(rpc) == {"malformed_messages": 1}


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


@BOTH_2X
def test_an_id_used_for_another_call_has_the_code_of_2_x(version: str) -> None:
    _, feed_2x = make_2x(version)
    feed_2x(START)
    assert error_of(feed_2x('[2,"1","Heartbeat",{}]')) == ("1", "RpcFrameworkError")


@pytest.mark.parametrize(
    ("version", "kinds", "answered"),
    [("2.0.1", [0, 1, 5, 6, 7, -1], True), ("2.1", [0, 1, 7, -1], False)],
)
def test_an_unknown_message_type_is_answered_in_2_0_1_alone(version: str, kinds: list[int], answered: bool) -> None:
    rpc, feed_2x = make_2x(version)
    for kind in kinds:
        for message_id, echo in (("7", "7"), (7, "-1")):
            event = feed_2x(json.dumps([kind, message_id, "Beat", {}]))
            assert (error_of(event) if event else None) == ((echo, "MessageTypeNotSupported") if answered else None)
    assert counted(rpc) == {"unknown_types": 2 * len(kinds)}


@BOTH_2X
def test_a_call_of_ours_cannot_have_the_id_that_stands_for_none(version: str, caplog: pytest.LogCaptureFixture) -> None:
    rpc, feed_2x = make_2x(version)
    rpc.submit(outgoing())
    assert feed_2x('[4,"-1","RpcFrameworkError","line\\nbreak",{}]') is None
    assert counted(rpc) == {"stray_answers": 1}
    assert r"CP1: could not read a message of ours: 'RpcFrameworkError line\nbreak'" in caplog.text
    assert "outstanding=Reset" in repr(rpc)


# SENDs.


def test_a_send_is_dispatched_without_an_admission() -> None:
    rpc, feed_2x = make_2x("2.1")
    for _ in range(2):
        assert feed_2x('[6,"1","Beat",{"n":1}]') == Dispatch(frames.SendFrame("1", "Beat", {"n": 1}), None)
    assert isinstance(feed_2x(START), Dispatch), "its id is not that of a CALL"
    assert not counted(rpc)


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
    rpc, feed_2x = make_2x("2.1")
    assert feed_2x(text) is None
    assert counted(rpc) == {counter: 1}
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()


# CALLRESULTERRORs.


def test_a_refused_answer_is_reported_once_it_was_given() -> None:
    answers = AnswerMemory()
    rpc, feed_2x = make_2x("2.1", answers)
    refusal = '[5,"1","FormatViolation","why",{"a":1}]'
    assert feed_2x(refusal) is None
    event = feed_2x(START)
    assert feed_2x(refusal) is None, "it was not answered yet"
    answers.finish(event.admission, '[3,"1",{}]')
    error = frames.CallResultErrorFrame("1", "FormatViolation", "why", {"a": 1})
    assert feed_2x(refusal) == AnswerRejected("StartTransaction", error)
    assert counted(rpc) == {"stray_answers": 2}


@pytest.mark.parametrize("text", ['[5,"1","X",""]', '[5,"1",null,"",{}]', '[5,1,"X","",{}]', '[5,"1","X","","d"]'])
def test_a_malformed_refusal_is_never_answered_and_settles_nothing(text: str) -> None:
    rpc, feed_2x = make_2x("2.1")
    rpc.submit(outgoing("1"))
    assert feed_2x(text) is None
    assert counted(rpc) == {"malformed_messages": 1}
    assert "outstanding=Reset" in repr(rpc)

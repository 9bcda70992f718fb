"""The CALLs of one peer: handled one at a time, answered once and in time, over all its connections."""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import pytest
from contexts import share_of
from incoming import incoming
from interleaved import once, with_lock
from intruder import Intruder

from ocppsync import Limits
from ocppsync.rpc.answer_memory import AnswerMemory, CallKind
from ocppsync.rpc.incoming import IncomingCall
from ocppsync.rpc.incoming_calls import IncomingCalls
from ocppsync.testing.inline import Clock, InlineExecutor
from ocppsync.threads.timer import TimerHandle

NEW, REPEATED, IN_PROGRESS = CallKind.NEW, CallKind.REPEATED, CallKind.IN_PROGRESS
CONFLICT, EXCESS, DROPPED = CallKind.CONFLICT, CallKind.EXCESS, CallKind.DROPPED
SECONDS = 10.0


class Peer:
    """The CALLs of a peer, and its connection; everything runs when the test says so.

    Attributes:
        handled, expired: the ids of the CALLs that were, and when.
        on_handle: called with each CALL that is handled.
        on_expire: called with each CALL that expires.
    """

    def __init__(self, clock: Clock | None = None, **limits: int) -> None:
        self.clock = clock or Clock()
        self.executor = InlineExecutor(self.clock)
        self.clock.after_step = None  # handlers run in `run` alone
        self.share = share_of(self.executor, Limits(**limits))
        self.memory = AnswerMemory(self.clock.now)
        self.calls = IncomingCalls(self.executor, self.share, self.memory, self.clock)
        self.handled: list[Any] = []
        self.expired: list[tuple[float, Any]] = []
        self.on_handle: Callable[[IncomingCall], object] = self.answer
        self.on_expire: Callable[[IncomingCall], object] = lambda call: None

    def come(
        self, message_id: str, action: str = "StartTransaction", payload: str = "{}", *, kind: int = 2, size: int = 1
    ) -> CallKind:
        """Receive a CALL or SEND; return what it is."""
        return self.receive(message_id, action, payload, kind=kind, size=size)[0]

    def receive(
        self,
        message_id: str,
        action: str = "StartTransaction",
        payload: str = "{}",
        *,
        reply_to: object = "reply_to",
        kind: int = 2,
        size: int = 1,
    ) -> tuple[CallKind, IncomingCall]:
        now = self.clock.now()
        text = f'[{kind},"{message_id}","{action}",{payload}]'
        due = None if kind == 6 else now + SECONDS
        return self.calls.receive(incoming(text, reply_to, asked_at=now, due=due, received_by=self, size=size))

    def handle(self, call: IncomingCall) -> None:
        if not call.claimed:
            self.handled.append(call.message_id)
            self.on_handle(call)

    def expire(self, call: IncomingCall) -> None:
        self.expired.append((self.clock.now(), call.message_id))
        self.on_expire(call)

    def answer(self, call: IncomingCall) -> Any:
        return self.calls.finish(call, f'[3,"{call.message_id}",{{}}]')

    def run(self) -> None:
        """Run the handlers that wait."""
        self.executor.run()

    @property
    def used(self) -> int:
        """The bytes that count."""
        return self.share._used


@pytest.fixture
def peer() -> Peer:
    return Peer()


def appointments(clock: Clock) -> int:
    return int(repr(clock).partition("appointments=")[2].rstrip(">"))


# One at a time, in order.


def test_calls_and_sends_are_handled_in_the_order_they_came_over_whichever_connection(peer: Peer) -> None:
    for number in range(4):
        assert peer.receive(str(number), reply_to=f"connection {number}", kind=6 if number % 2 else 2)[0] is NEW
    assert (peer.handled, peer.calls.busy) == ([], True)
    peer.run()
    assert (peer.handled, peer.calls.busy) == (["0", "1", "2", "3"], False)


def test_one_call_is_handled_at_a_time(peer: Peer) -> None:
    def look(call: IncomingCall) -> None:
        peer.executor._run_one()  # another thread of the pool looks for work
        assert peer.handled[-1] == call.message_id
        assert peer.calls.busy

    peer.on_handle = look
    for number in range(3):
        peer.come(str(number))
    peer.run()
    assert peer.handled == ["0", "1", "2"]


def test_a_peer_with_all_its_answers_is_not_busy_even_if_the_thread_of_the_last_handler_has_not_gone_on(
    peer: Peer,
) -> None:
    busy: list[bool] = []

    def answer(call: IncomingCall) -> None:
        busy.append(peer.calls.busy)
        peer.answer(call)
        busy.append(peer.calls.busy)

    peer.on_handle = answer
    peer.come("1")
    peer.come("2")
    peer.run()
    assert busy == [True, True, True, False]


def test_a_peer_is_busy_while_a_send_is_handled_before_a_call_that_has_expired(peer: Peer) -> None:
    busy: list[bool] = []

    def expire(send: IncomingCall) -> None:
        peer.clock.advance(SECONDS)
        busy.append(peer.calls.busy)

    peer.on_handle = expire
    peer.come("1", kind=6)
    peer.come("2")
    peer.run()
    assert (peer.expired, busy) == ([(SECONDS, "2")], [True])
    assert not peer.calls.busy


def test_whether_a_peer_is_busy_can_be_asked_while_its_last_call_is_answered(peer: Peer) -> None:
    lock = peer.share.lock = with_lock(peer.calls)  # type: ignore[assignment]
    answer = once(lambda: lock.let_in(peer.run))

    class Queue(deque[IncomingCall]):
        def __getitem__(self, index: Any) -> Any:
            answer()
            return super().__getitem__(index)

    peer.calls._queue = Queue()
    peer.come("1")
    assert peer.calls.busy


def test_other_tasks_of_the_pool_have_their_turn_between_two_calls(peer: Peer) -> None:
    peer.come("1")
    peer.come("2")
    peer.executor.submit(lambda: peer.handled.append("another peer's"))
    peer.run()
    assert peer.handled == ["1", "another peer's", "2"]


def test_a_call_that_comes_while_another_is_handled_is_handled_after_it(peer: Peer) -> None:
    peer.on_handle = lambda call: peer.come("2") if call.message_id == "1" else None
    peer.come("1")
    peer.run()
    assert peer.handled == ["1", "2"]
    peer.come("3")
    peer.run()
    assert peer.handled == ["1", "2", "3"]


def test_a_call_that_fails_to_be_handled_does_not_hold_up_the_others(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(call: IncomingCall) -> None:
        raise SystemExit

    peer.on_handle = fail
    peer.come("1")
    peer.come("2")
    peer.run()
    assert peer.handled == ["1", "2"]
    assert "Peer.handle failed on thread" in caplog.text
    assert (peer.used, appointments(peer.clock)) == (0, 1)
    assert peer.come("1") is NEW, "nothing is remembered of it"


class Torn(deque[IncomingCall]):
    """A queue that lets something happen just after a look at it."""

    happen: Callable[[], object] = staticmethod(lambda: None)

    def __getitem__(self, index: Any) -> Any:
        value = super().__getitem__(index)
        self.happen()
        return value

    def __iter__(self) -> Any:
        iterator = super().__iter__()
        self.happen()
        return iterator


def torn(peer: Peer, function: Callable[[], object]) -> None:
    """Have something happen when the handler's thread looks for the first CALL."""
    queue = Torn(peer.calls._queue)
    left = [function]

    def happen() -> None:
        if left and not peer.calls._lock.locked():
            left.pop()()

    queue.happen = happen
    peer.calls._queue = queue


def test_a_call_that_comes_as_a_thread_looks_for_the_first_one_is_handled(peer: Peer) -> None:
    peer.come("1")
    torn(peer, lambda: peer.come("2"))
    peer.run()
    assert peer.handled == ["1", "2"]


# What is known of a CALL that comes again.


def test_a_repeat_is_answered_from_memory_and_not_handled(peer: Peer) -> None:
    kind, call = peer.receive("1")
    assert kind is NEW
    assert peer.receive("1") == (IN_PROGRESS, call)
    peer.run()
    for _ in range(2):
        kind, known = peer.receive("1")
        assert (kind, known.answer) == (REPEATED, '[3,"1",{}]')
    assert peer.come("1", payload='{"a":1}') is CONFLICT
    peer.run()
    assert peer.handled == ["1"]
    assert (peer.used, peer.calls.busy) == (0, False)


def test_after_an_error_a_repeat_is_new(peer: Peer) -> None:
    peer.on_handle = lambda call: peer.calls.finish(call, None)
    for _ in range(2):
        assert peer.come("1") is NEW
        peer.run()
    assert peer.handled == ["1", "1"]


def test_a_send_is_not_remembered(peer: Peer) -> None:
    for _ in range(2):
        assert peer.come("1", kind=6) is NEW
    peer.come("1")
    peer.run()
    assert peer.handled == ["1", "1", "1"]


def test_the_answer_goes_to_the_connection_that_asked_last(peer: Peer) -> None:
    answered: list[Any] = []
    peer.on_handle = lambda call: answered.append(peer.answer(call))
    peer.calls.prefer("newest")
    for reply_to in ("first", "newest", "first"):
        peer.receive("1", reply_to=reply_to)
    peer.run()
    assert answered == ["newest"]


def test_the_action_of_an_answer_that_was_given_lately(peer: Peer) -> None:
    peer.come("1")
    assert peer.calls.answered("1") is None
    peer.run()
    assert peer.calls.answered("1") == "StartTransaction"
    peer.calls.clear()
    assert peer.calls.answered("1") is None


def test_a_remembered_call_keeps_neither_its_connection_nor_its_payload(peer: Peer) -> None:
    class Line:
        def handle(self, call: IncomingCall) -> None:
            peer.calls.finish(call, "[]")

        expire = handle

    line = Line()
    gone = weakref.ref(line)
    call = incoming('[2,"1","StartTransaction",{"a":1}]', received_by=line)
    del line
    assert peer.calls.receive(call)[0] is NEW
    gc.collect()
    assert gone() is not None, "it is to handle the CALL"
    peer.run()
    gc.collect()
    assert (gone(), call.payload) == (None, None)
    assert peer.calls.answered("1") == "StartTransaction"


# What there is no room for.


def test_no_more_wait_than_the_limit_and_the_one_that_is_handled_is_not_one_of_them() -> None:
    peer = Peer(queued_calls=2)
    kinds: list[CallKind] = []
    peer.on_handle = lambda call: kinds.extend(peer.come(f"{call.message_id}{n}") for n in range(3))
    assert [peer.come(str(number)) for number in range(3)] == [NEW, NEW, EXCESS]
    peer.executor._run_one()
    assert kinds == [NEW, EXCESS, EXCESS]
    assert peer.used == 2


def test_a_call_for_which_there_is_no_room_is_new_when_it_comes_again() -> None:
    peer = Peer(queued_calls=1)
    assert [peer.come(str(number)) for number in range(3)] == [NEW, EXCESS, EXCESS]
    peer.run()
    assert peer.come("1") is NEW
    peer.run()
    assert peer.handled == ["0", "1"]


@pytest.mark.parametrize("kind", [2, 6])
def test_bytes_count_until_a_message_was_handled(kind: int) -> None:
    peer = Peer(call_bytes=100)
    seen: list[Any] = []
    peer.on_handle = lambda call: seen.append((peer.used, peer.come(f"{call.message_id}'", size=41)))
    assert peer.come("1", kind=kind, size=60) is NEW
    assert peer.come("2", kind=kind, size=41) is EXCESS
    assert peer.used == 60
    peer.executor._run_one()
    assert seen == [(60, EXCESS)]
    assert peer.used == 0
    assert peer.come("3", size=100) is NEW


# What finds no thread.


def refuse(*_: object) -> Any:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("of", ["the pool", "the timer"])
def test_what_finds_no_thread_leaves_nothing(peer: Peer, monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(*((peer.executor, "submit") if of == "the pool" else (peer.clock, "call_at")), refuse)
        with pytest.raises(RuntimeError):
            peer.come("1")
    assert (peer.used, peer.calls.busy) == (0, False)
    peer.calls.settle()
    assert not peer.clock.jump(), "no appointment stays either"
    assert peer.come("1") is NEW, "nothing is remembered of it"
    peer.run()
    assert peer.handled == ["1"]


def test_what_comes_to_a_closed_pool_leaves_nothing(peer: Peer) -> None:
    peer.executor.close(0)
    assert [peer.come("1"), peer.come("1"), peer.come("2", kind=6)] == [DROPPED] * 3
    assert (peer.used, peer.calls.busy, peer.expired) == (0, False, [])
    peer.calls.settle()
    assert not peer.clock.jump()


def test_calls_that_were_accepted_are_handled_though_the_pool_is_closed_meanwhile(peer: Peer) -> None:
    for number in range(3):
        peer.come(str(number))
    peer.executor.close(0)
    assert peer.handled == ["0", "1", "2"]
    assert peer.used == 0


# In time.


def test_each_call_has_its_own_time_whether_it_waits_or_is_handled(peer: Peer) -> None:
    for number in range(3):
        peer.come(str(number))
        peer.clock.advance(3)
    peer.on_handle = lambda call: peer.clock.advance(100)
    peer.run()
    assert peer.expired == [(10, "0"), (13, "1"), (16, "2")]
    assert peer.handled == ["0"], "the others were answered while they waited"
    assert peer.used == 0


def test_a_call_that_expired_gets_no_second_answer_and_is_new_when_it_comes_again(peer: Peer) -> None:
    answered: list[Any] = []

    def hang(call: IncomingCall) -> None:
        peer.clock.advance(SECONDS)
        assert peer.come("1") is NEW
        answered.append(peer.answer(call))

    peer.on_handle = hang
    peer.come("1")
    peer.executor._run_one()
    assert (answered, peer.expired) == ([None], [(10, "1")])
    peer.on_handle = lambda call: answered.append(peer.answer(call))
    peer.run()
    assert answered == [None, "reply_to"]


def test_what_was_answered_in_time_does_not_expire(peer: Peer) -> None:
    peer.come("1")
    peer.come("2")
    peer.executor._run_one()
    peer.clock.advance(100)
    assert peer.expired == [(10, "2")]


def test_one_that_fails_to_expire_does_not_save_the_others(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(call: IncomingCall) -> None:
        raise ValueError("broken")

    peer.on_expire = fail
    peer.come("1")
    peer.come("2")
    peer.clock.advance(100)
    assert peer.expired == [(10, "1"), (10, "2")]
    assert "ValueError: broken" in caplog.text


def test_a_handler_that_ends_as_its_deadline_passes_does_not_save_the_others(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    # All three are overdue; while the first one is answered, the handler's thread goes through the others.
    peer.on_expire = lambda call: peer.run()
    for number in range(3):
        peer.come(str(number))
    peer.clock.advance(10)
    assert peer.expired == [(10, "0"), (10, "1"), (10, "2")]
    assert peer.handled == []
    assert caplog.text == ""


def test_calls_that_come_later_are_watched_as_well(peer: Peer) -> None:
    for number in range(3):
        peer.come(str(number))
        peer.clock.advance(25)
        assert peer.expired.pop()[1] == str(number)
        peer.run()
    assert appointments(peer.clock) == 0


def test_a_call_that_expires_may_cause_another(peer: Peer) -> None:
    peer.on_expire = lambda call: peer.come("2") if call.message_id == "1" else None
    peer.come("1")
    peer.clock.advance(10)
    assert appointments(peer.clock) == 1
    peer.clock.advance(10)
    assert peer.expired == [(10, "1"), (20, "2")]


def test_many_calls_make_one_appointment(peer: Peer) -> None:
    for number in range(1000):
        peer.come(str(number))
        peer.run()
        peer.clock.advance(0.001)
    assert appointments(peer.clock) == 1


def test_sends_and_calls_without_a_time_make_none(peer: Peer) -> None:
    peer.come("1", kind=6)
    peer.calls.receive(incoming('[2,"2","Heartbeat",{}]', received_by=peer))
    assert appointments(peer.clock) == 0
    peer.come("3")
    peer.clock.advance(100)
    assert peer.expired == [(10, "3")]


def test_a_call_that_a_slow_reader_brings_late_expires_no_later_than_if_it_had_come_then(peer: Peer) -> None:
    late = incoming('[2,"late","Heartbeat",{}]', due=SECONDS, received_by=peer)
    peer.clock.advance(8)
    peer.come("before it")
    peer.clock.advance(1)
    assert peer.calls.receive(late)[0] is NEW
    peer.clock.advance(100)
    assert peer.expired == [(18, "before it"), (18, "late")]


# Appointments after the end.


@pytest.mark.parametrize("order", ["the CALL ends first", "the connection ends first"])
def test_no_appointment_is_left_of_a_connection_that_ended(peer: Peer, order: str) -> None:
    peer.come("1")
    if order == "the CALL ends first":
        peer.run()
        assert appointments(peer.clock) == 1
        peer.calls.settle()
    else:
        peer.calls.settle()
        assert appointments(peer.clock) == 1
        peer.run()
    assert not peer.clock.jump()
    peer.come("2")
    peer.clock.advance(10)
    assert peer.expired == [(10, "2")], "the next connection has its deadlines"


def test_a_call_that_outlives_its_connection_expires_all_the_same(peer: Peer) -> None:
    peer.come("1")
    peer.calls.settle()
    peer.clock.advance(10)
    assert peer.expired == [(10, "1")]
    assert appointments(peer.clock) == 0


def test_appointments_are_kept_from_call_to_call_after_a_connection_has_ended_without_any(peer: Peer) -> None:
    peer.calls.settle()
    peer.calls.settle()
    assert not peer.clock.jump()
    for number in range(3):
        peer.come(str(number))
        peer.run()
    assert appointments(peer.clock) == 1


def test_an_appointment_that_is_cancelled_too_late_does_not_become_two(peer: Peer) -> None:
    lock = peer.share.lock = with_lock(peer.calls)  # type: ignore[assignment]

    def come_first() -> None:
        # The timer has begun; before it has the lock, the connection ends, and the next one brings a CALL.
        lock.before_acquire = None
        peer.run()
        peer.calls.settle()
        peer.come("2")

    peer.come("1")
    lock.before_acquire = lambda: come_first() if peer.clock.now() == 10 else None
    peer.clock.advance(10)
    assert peer.expired == []
    assert sum(entry[2].task is not None for entry in peer.clock._heap) == 1


# The end.


def test_a_close_drops_what_waits_and_lets_the_one_that_is_handled_be_answered(peer: Peer) -> None:
    answered: list[Any] = []

    def close(call: IncomingCall) -> None:
        peer.calls.close()
        assert appointments(peer.clock) == 1, "it still has its deadline"
        answered.append(peer.answer(call))

    peer.on_handle = close
    for number in range(3):
        peer.come(str(number), size=5)
    peer.run()
    assert (peer.handled, answered, peer.used) == (["0"], ["reply_to"], 0)
    assert not peer.clock.jump()
    assert peer.expired == []
    assert [peer.come("0"), peer.come("1"), peer.come("2", kind=6)] == [REPEATED, DROPPED, DROPPED]
    assert (peer.used, peer.calls.busy, peer.calls.closed) == (0, False, True)


def test_a_close_drops_all_if_none_is_handled(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        peer.come(str(number))
    peer.calls.close()
    assert (peer.used, peer.calls.busy) == (0, False)
    assert not peer.clock.jump()
    peer.run()
    assert (peer.handled, caplog.text) == ([], "")


@pytest.mark.parametrize("count", [1, 2])
def test_a_call_that_a_thread_takes_as_a_close_begins_is_dropped_once(
    peer: Peer, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    for number in range(count):
        peer.come(str(number))
    torn(peer, peer.calls.close)
    peer.run()
    assert (peer.handled, peer.used, peer.calls.busy, caplog.text) == ([], 0, False, "")
    assert repr(peer.memory).startswith("<AnswerMemory open=0 ")


def test_a_call_that_a_thread_has_begun_as_a_close_begins_is_dropped_once(peer: Peer) -> None:
    # The thread has marked it as begun, and the close leaves it to the thread.
    class Begun(IncomingCall):
        __slots__ = ()

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "thread" and value is not None:
                peer.calls.close()

    peer.come("1", size=5)
    (call,) = peer.calls._queue
    call.__class__ = Begun
    peer.run()
    assert (peer.handled, peer.used, peer.calls.busy) == ([], 0, False)
    assert repr(peer.memory).startswith("<AnswerMemory open=0 ")
    assert not peer.clock.jump()


def test_the_answers_are_forgotten_and_the_calls_that_wait_are_not(peer: Peer) -> None:
    peer.come("1")
    peer.run()
    peer.come("2")
    peer.calls.clear()
    assert [peer.come("1"), peer.come("2")] == [NEW, IN_PROGRESS]


def test_a_repr_needs_no_lock(peer: Peer) -> None:
    peer.come("1")
    with peer.share.lock:
        assert repr(peer.calls).startswith("<IncomingCalls open queued=1 <AnswerMemory open=1 ")
    peer.calls.close()
    assert repr(peer.calls).startswith("<IncomingCalls closed queued=0 ")


# Two threads at once.


def let_in(peer: Peer, function: Callable[[], Any]) -> Intruder:
    """Return what has another thread do something, for which it needs the lock of the peer's CALLs."""
    intruder = Intruder(function)
    peer.calls._lock = peer.share.lock = intruder.lock
    return intruder


class Entries(OrderedDict[Any, IncomingCall]):
    """Entries of the memory which let another thread in after each look, or after they were cleared."""

    come: Callable[[], object] = staticmethod(lambda: None)

    def get(self, key: Any, default: Any = None) -> Any:
        entry = super().get(key, default)
        self.come()
        return entry

    def clear(self) -> None:
        super().clear()
        self.come()


def test_a_call_that_comes_over_two_connections_at_once_is_handled_once(peer: Peer) -> None:
    intruder = let_in(peer, lambda: peer.receive("1", reply_to="later"))
    entries = peer.memory._open = Entries()
    entries.come = intruder.come
    kind, call = peer.receive("1", reply_to="earlier")
    assert (kind, intruder.result()) == (NEW, (IN_PROGRESS, call))
    peer.run()
    assert (peer.handled, call.reply_to) == (["1"], "later")


class Interrupted(Clock):
    """A clock that has another thread come before it makes an appointment."""

    on_call_at: Callable[[], object] = staticmethod(lambda: None)

    def call_at(self, when: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        self.on_call_at()
        return super().call_at(when, function, *args)


def test_two_calls_that_come_at_once_make_one_appointment() -> None:
    clock = Interrupted()
    peer = Peer(clock)
    intruder = let_in(peer, lambda: peer.come("2"))
    clock.on_call_at = intruder.come
    peer.come("1")
    assert intruder.result() is NEW
    peer.run()
    assert sorted(peer.handled) == ["1", "2"]
    assert appointments(clock) == 1


class Read(IncomingCall):
    """Has another thread come between the look at its mark and the change of it."""

    __slots__ = ()

    @property
    def claimed(self) -> bool:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        claimed: bool = IncomingCall.claimed.__get__(self)  # type: ignore[attr-defined]
        self.received_by.on_look()
        return claimed

    @claimed.setter
    def claimed(self, value: bool) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        IncomingCall.claimed.__set__(self, value)  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", ["the handler", "the deadline"])
def test_a_call_whose_deadline_passes_as_its_handler_answers_is_answered_once(peer: Peer, first: str) -> None:
    call = peer.receive("1")[1]
    call.__class__ = Read
    acts: list[Callable[[], Any]] = [lambda: peer.answer(call), lambda: peer.clock.advance(10)]
    if first == "the deadline":
        acts.reverse()
    intruder = let_in(peer, acts[1])
    vars(peer)["on_look"] = intruder.come
    outcome = acts[0]()
    answered = {outcome, intruder.result()} - {None}
    assert len(answered) + len(peer.expired) == 1


def test_an_answer_that_is_kept_just_as_the_others_are_forgotten_is_counted(peer: Peer) -> None:
    peer.come("1")
    peer.run()
    call = peer.receive("2")[1]
    intruder = let_in(peer, lambda: peer.answer(call))
    entries = peer.memory._answered = Entries(peer.memory._answered)
    entries.come = intruder.come
    peer.calls.clear()
    intruder.result()
    assert peer.come("2") is REPEATED
    assert peer.memory._used == call.kept_size > 0

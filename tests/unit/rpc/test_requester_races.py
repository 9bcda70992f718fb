"""Our own CALLs where something comes between two steps of theirs: a deadline, a cancel, the end."""

from __future__ import annotations

import concurrent.futures
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from lone import Lone
from support import DEADLINE, Recorder

from ocppsync import (
    ConnectionLostError,
    Limits,
    NotConnectedError,
    OCPPRequestError,
    QueueFullError,
    RequestTimeoutError,
)
from ocppsync.events import MessageSent
from ocppsync.rpc.engine import ConnectionState, Engine
from ocppsync.rpc.registration import MessagePolicy, OutcomeListener

ACCEPTED = {"status": "Accepted"}


def failure(future: Future[Any], kind: type[OCPPRequestError]) -> str:
    """Return the delivery of a future that has failed already."""
    assert future.done(), "it waits"
    error = future.exception(0)
    assert isinstance(error, kind)
    return error.delivery


class GuardedEngine(Engine):
    """Fails where a field that the lock guards is used without it."""

    GUARDED = frozenset({"_outstanding", "_queue", "_timed_out", "_watch", "_watch_due"})

    def __getattribute__(self, name: str) -> Any:
        if name in GuardedEngine.GUARDED:
            assert object.__getattribute__(self, "_lock").locked(), f"{name} is read without the lock"
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in GuardedEngine.GUARDED or name == "_state":
            assert self._lock.locked(), f"{name} is changed without the lock"
        object.__setattr__(self, name, value)


# After the end.


def test_a_request_after_the_end_fails_at_once() -> None:
    with Lone() as lone:
        lone.drop()
        assert failure(lone.ask(), NotConnectedError) == "not_sent"
        assert not lone.clock.jump(), "nothing is left to wait for"


def test_a_request_after_a_takeover_fails_at_once_and_is_not_sent() -> None:
    with Lone() as lone:
        lone.connection.supersede()
        assert failure(lone.ask(), NotConnectedError) == "not_sent"
        assert lone.actions() == []


def test_what_is_half_cancelled_at_the_end_stays_cancelled() -> None:
    with Lone() as lone:
        lone.ask()
        future = lone.ask()
        assert Future.cancel(future), "the first half of its cancel"
        lone.connection.supersede()
        assert future.cancel(), "both halves"
        assert future.cancelled()


# Between the turn of a CALL and its writing.


def test_what_times_out_just_before_it_is_written_is_not_sent() -> None:
    with Lone() as lone:
        first, second = lone.ask("Reset", {"type": "Soft"}), lone.ask()
        reset = lone.came()[0]
        lone.lock.after_release = lambda: lone.clock.advance(60)
        lone.say([3, reset[1], ACCEPTED])
        assert first.done()
        assert failure(second, RequestTimeoutError) == "not_sent"
        assert lone.actions() == []


def test_what_a_takeover_ends_just_before_it_is_written_is_not_sent() -> None:
    with Lone() as lone:
        first, second = lone.ask("Reset", {"type": "Soft"}), lone.ask()
        reset = lone.came()[0]
        lone.lock.after_release = lone.connection.supersede
        lone.say([3, reset[1], ACCEPTED])
        assert first.done()
        assert failure(second, ConnectionLostError) == "not_sent"
        assert lone.actions() == []


def test_what_is_written_at_once_counts_as_written_from_the_moment_of_its_turn() -> None:
    # Its caller gets the future only after it was written; whoever ends it before cannot know whether it was.
    with Lone() as lone:
        lone.lock.after_release = lone.connection.supersede
        future = lone.ask()
        assert failure(future, ConnectionLostError) == "unknown"


def test_what_is_written_at_once_cannot_be_cancelled() -> None:
    with Lone() as lone:
        future = lone.ask()
        assert not future.cancel()
        lone.accept()
        assert future.result(0) == ACCEPTED


def test_what_is_cancelled_just_before_it_is_written_is_not_sent_and_the_next_once() -> None:
    with Lone() as lone:
        first, second, third = lone.ask("Reset", {"type": "Soft"}), lone.ask(), lone.ask("GetLocalListVersion")
        reset = lone.came()[0]
        # On the reader, which has the answer to the first, and is about to write the second.
        lone.lock.after_release = second.cancel
        lone.say([3, reset[1], ACCEPTED])
        assert first.done()
        assert second.cancelled()
        (call,) = lone.came()
        assert call[2] == "GetLocalListVersion"
        lone.say([3, call[1], {"listVersion": 1}])
        assert third.done()


def test_what_is_cancelled_while_its_turn_comes_lets_the_next_go() -> None:
    with Lone() as lone:
        lone.ask("Reset", {"type": "Soft"})
        second, third, fourth = lone.ask(), lone.ask("GetLocalListVersion"), lone.ask("GetConfiguration")
        assert Future.cancel(second), "the first half of its cancel"
        assert lone.accept() == "Reset"
        (call,) = lone.came()
        assert call[2] == "GetLocalListVersion"
        assert second.cancel(), "both halves"
        assert lone.actions() == [], "the third has the turn"
        lone.say([3, call[1], {"listVersion": 1}])
        assert third.result(0) == {"listVersion": 1}
        assert not fourth.done()


def test_the_next_goes_out_before_the_answer_is_given_out() -> None:
    # Checking a long answer takes time, in which the peer can work on the next already.
    seen: list[bool] = []

    def observe(event: object) -> None:
        if isinstance(event, MessageSent) and event.action == "ClearCache":
            seen.append(first.done())

    with Lone(observe=observe) as lone:
        first = lone.ask("Reset", {"type": "Soft"})
        lone.ask()
        lone.accept()
        assert first.done()
        assert seen == [False]


def test_a_deadline_that_passes_while_the_answer_is_given_out_changes_nothing() -> None:
    def observe(event: object) -> None:
        # On the reader, which has the answer to the first, and writes the second before it gives it out.
        if isinstance(event, MessageSent) and event.action == "ClearCache":
            lone.clock.advance(30)

    with Lone(observe=observe) as lone:
        first = lone.ask("Reset", {"type": "Soft"})
        lone.ask(timeout=1000)
        lone.accept()
        assert first.result(0) == ACCEPTED
        assert not lone.transport.released


# Locks.


def test_the_engine_uses_its_fields_under_its_lock_alone() -> None:
    lone = Lone(limits=Limits(queued_requests=5))
    lone.engine.__class__ = GuardedEngine
    with lone:
        assert lone.connection.state is ConnectionState.OPEN
        answered, half, cancelled, late, queued, ended = [
            lone.ask(timeout=number) for number in (9, 50, 20, 10, 20, 90)
        ]
        assert Future.cancel(half), "the first half of its cancel"
        assert cancelled.cancel()
        lone.accept()
        lone.say([3])
        lone.clock.advance(40)
        assert failure(queued, RequestTimeoutError) == "not_sent"
        lone.drop()
        assert answered.result(0) == ACCEPTED
        assert failure(late, RequestTimeoutError) == "unknown"
        assert failure(ended, ConnectionLostError) == "unknown"


def test_a_future_is_claimed_under_the_lock() -> None:
    # Or the end of the connection and a cancel would claim it both, of which the second fails.
    held: list[tuple[str, bool]] = []

    def watch(name: str, future: Any) -> Any:
        claim = future.set_running_or_notify_cancel
        future.set_running_or_notify_cancel = lambda: held.append((name, lone.lock.locked())) or claim()
        return future

    with Lone() as lone:
        lone.ask()
        watch("written", lone.ask())
        cancelled = watch("cancelled", lone.ask())
        watch("ended", lone.ask())
        lone.accept()
        cancelled.cancel()
        lone.drop()
        assert held == [("written", True), ("cancelled", True), ("ended", True)]


# What is left.


@pytest.mark.parametrize("end", ["answered", "cancelled", "ended"])
def test_no_appointment_is_made_for_a_request_that_has_ended(end: str) -> None:
    with Lone() as lone:
        lone.ask(timeout=10)
        if end == "cancelled":
            assert lone.ask(timeout=20).cancel()
        if end == "ended":
            lone.ask(timeout=20)
            lone.connection.supersede()
            assert not lone.clock.jump()
        else:
            lone.accept()
        lone.check_rest()


# A transport that writes no more.


def test_a_line_that_breaks_in_a_write_ends_the_connection() -> None:
    with Lone() as lone:
        lone.peer._aborted = True  # it has gone, and the news has not come yet
        future = lone.ask()
        lone.settle()
        assert lone.transport.released
        lone.join()
        assert failure(future, ConnectionLostError) == "unknown"


def test_what_is_asked_while_we_close_is_not_sent_and_does_not_cut_the_close_off() -> None:
    with Lone() as lone:
        lone.connection.close(4000, "enough")
        assert failure(lone.ask(), ConnectionLostError) == "not_sent"
        assert failure(lone.ask(), NotConnectedError) == "not_sent"
        lone.settle()
        assert not lone.transport.released, "the peer has not answered the Close"
        assert lone.came() == []
        assert (lone.peer.close_code, lone.peer.close_reason) == (4000, "enough")
        lone.join()


def test_what_waits_while_we_close_fails_as_soon_as_its_turn_comes() -> None:
    with Lone() as lone:
        first, second, third = lone.ask(), lone.ask(), lone.ask()
        (call,) = [lone.peer.receive_now()]
        assert call is not None
        lone.connection.close(4000)
        lone.say([3, call.split('"')[1], ACCEPTED])
        assert first.result(0) == ACCEPTED
        assert [failure(future, ConnectionLostError) for future in (second, third)] == ["not_sent"] * 2
        assert not lone.transport.released


# A request that is cancelled.


def test_what_is_cancelled_counts_as_done() -> None:
    with Lone() as lone:
        lone.ask()
        future = lone.ask()
        assert future.cancel()
        assert concurrent.futures.wait([future], 0).done == {future}
        assert list(concurrent.futures.as_completed([future], 0)) == [future]


def test_what_is_cancelled_makes_room_in_the_queue() -> None:
    with Lone(limits=Limits(queued_requests=1)) as lone:
        lone.ask()
        assert lone.ask().cancel()
        waiting = lone.ask("GetLocalListVersion")
        assert not waiting.done()
        assert failure(lone.ask(), QueueFullError) == "not_sent"


class RememberingChecks:
    """Keeps what it is told of the outcome of requests."""

    def __init__(self) -> None:
        self.outcomes: list[Any] = []

    def fatal_violation(self, action: str, payload: Any) -> str | None:
        return None

    def before_request(self, action: str, payload: Any) -> OutcomeListener | None:
        return self.outcomes.append


@pytest.mark.parametrize("half", [False, True])
def test_the_security_checks_learn_of_a_cancel_once(half: bool) -> None:
    checks = RememberingChecks()
    with Lone(security=checks) as lone:
        lone.ask()
        future = lone.ask()
        if half:
            Future.cancel(future)
            lone.accept()
            checks.outcomes.clear()
        assert future.cancel()
        assert future.cancel()
        (error,) = checks.outcomes
        assert isinstance(error, OCPPRequestError)
        assert error.delivery == "not_sent"


# Callbacks.


class ClosedExecutor:
    """Takes nothing any more."""

    def submit(self, function: Any, *args: Any) -> bool:
        return False

    def before_wait(self, future: Future[Any]) -> None:
        pass


def test_callbacks_run_even_where_the_pool_is_closed() -> None:
    told: list[Any] = []
    with Lone(executor=ClosedExecutor()) as lone:
        future = lone.ask()
        future.add_done_callback(told.append)
        lone.accept()
        assert told == [future]


@pytest.mark.parametrize("kind", ["outcome", "callback"])
def test_what_the_application_does_at_a_timeout_does_not_hold_the_timer_up(kind: str) -> None:
    told = Recorder()

    class Checks(RememberingChecks):
        def before_request(self, action: str, payload: Any) -> OutcomeListener | None:
            return lambda outcome: told(threading.current_thread().name)

    with Lone(security=Checks() if kind == "outcome" else None, executor=ClosedExecutor()) as lone:
        future = lone.ask()
        if kind == "callback":
            future.add_done_callback(lambda future: told(threading.current_thread().name))
        lone.clock.thread_id = threading.get_ident()
        lone.clock.advance(30)
        lone.clock.thread_id = None
        assert told.wait() == ["ocppsync-clock-aside"]
        assert isinstance(future.exception(DEADLINE), RequestTimeoutError)


def test_an_answer_of_any_kind_ends_the_wait() -> None:
    class FailingPolicy(MessagePolicy):
        def on_answer(self, action: str, payload: Any, answer: Any) -> None:
            raise ZeroDivisionError

    with Lone(policy=FailingPolicy()) as lone:
        future = lone.ask("TriggerMessage", {"requestedMessage": "Heartbeat"})
        lone.accept()
        assert isinstance(future.exception(0), ZeroDivisionError)
        assert not lone.transport.released

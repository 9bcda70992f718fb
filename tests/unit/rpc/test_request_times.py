"""The times of our CALLs: in the queue, from the write to the answer, and of the caller (J16 §4.1.1, 4/201 §4.1.1)."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from lone import Lone
from support import DEADLINE

from ocppsync import CallErrorReceived, ConnectionLostError, OCPPRequestError, RequestTimeoutError, Timeouts
from ocppsync.events import MessageReceived, MessageSent, TimedOut
from ocppsync.rpc.registration import ChargePointPolicy, OutcomeListener, Registration

ACCEPTED = {"status": "Accepted"}


def timed_out(future: Future[Any]) -> tuple[str, str]:
    """Return the delivery and the end of the text of a request that has timed out already."""
    assert future.done(), "it waits"
    error = future.exception(0)
    assert isinstance(error, RequestTimeoutError)
    return error.delivery, str(error).split(": ")[1]


class Checks:
    """Keeps what it is told of the outcome of requests."""

    def __init__(self) -> None:
        self.outcomes: list[Any] = []

    def fatal_violation(self, action: str, payload: Any) -> str | None:
        return None

    def before_request(self, action: str, payload: Any) -> OutcomeListener | None:
        return self.outcomes.append


# The message timeout.


def test_it_runs_from_the_write_and_keeps_the_line_closed() -> None:
    with Lone(timeouts=Timeouts(queue=1000)) as lone:
        silent, *others = [lone.ask() for _ in range(4)]
        lone.clock.advance(29.9)
        assert len(lone.came()) == 1, "one is outstanding"
        assert not silent.done()
        lone.clock.advance(0.1)
        assert timed_out(silent) == ("unknown", "no answer within 30 s")
        for future in others:
            lone.clock.advance(29.9)
            assert not future.done(), "its time began when it was written"
            lone.accept()
            assert future.result(0) == ACCEPTED


def test_each_of_many_silent_ones_has_its_whole_time() -> None:
    with Lone(timeouts=Timeouts(queue=1000)) as lone:
        futures = [lone.ask() for _ in range(5)]
        for number, future in enumerate(futures):
            assert len(lone.came()) == 1
            lone.clock.advance(29.9)
            assert [other.done() for other in futures] == [True] * number + [False] * (5 - number)
            lone.clock.advance(0.1)
            assert timed_out(future) == ("unknown", "no answer within 30 s")


def test_an_answer_after_it_is_late() -> None:
    with Lone() as lone:
        lone.ask()
        (call,) = lone.came()
        lone.clock.advance(30)
        lone.say([3, call[1], ACCEPTED])
        assert lone.engine.counters.late_answers == 1


@pytest.mark.parametrize("seconds", [29, 30, 59])
def test_observers_who_take_their_time_do_not_shorten_it(seconds: int) -> None:
    """They are told of a message before it is written, on the thread that writes it."""

    def observe(event: object) -> None:
        if isinstance(event, MessageSent) and event.action == "ClearCache":
            lone.clock.advance(seconds)

    with Lone(observe=observe) as lone:
        first = lone.ask()
        following = lone.ask("GetLocalListVersion")
        lone.clock.advance(29.9)
        assert lone.actions() == ["ClearCache"]
        assert not first.done(), "its time began when it was written"
        lone.clock.advance(0.1)
        assert timed_out(first) == ("unknown", "no answer within 30 s")
        assert lone.actions() == ["GetLocalListVersion"]
        assert not following.done()


def test_what_is_answered_while_observers_are_told_is_not_written() -> None:
    """They know its id, and so may the peer."""

    def observe(event: object) -> None:
        if isinstance(event, MessageSent) and event.action == "ClearCache":
            following.append(lone.ask("GetLocalListVersion"))
            lone.say([3, event.message_id, ACCEPTED])

    following: list[Future[Any]] = []
    with Lone(observe=observe) as lone:
        assert lone.ask().result(0) == ACCEPTED
        assert lone.actions() == ["GetLocalListVersion"], "it is outstanding"
        assert not following[0].done()


@pytest.mark.parametrize("end", ["time", "takeover"])
def test_what_ends_while_observers_are_told_is_not_written(end: str) -> None:
    """Others may have the line by then."""

    def observe(event: object) -> None:
        if isinstance(event, MessageSent) and event.action == "ClearCache":
            following.append(lone.ask("GetLocalListVersion"))
            if end == "time":
                lone.clock.advance(5)
            else:
                lone.connection.supersede()

    following: list[Future[Any]] = []
    with Lone(observe=observe) as lone:
        first = lone.ask(timeout=5)
        error = first.exception(0)
        assert isinstance(error, RequestTimeoutError if end == "time" else ConnectionLostError)
        assert error.delivery == "not_sent"
        assert lone.actions() == (["GetLocalListVersion"] if end == "time" else [])
        assert following[0].done() == (end == "takeover")


# The wait in the queue.


@pytest.mark.parametrize(
    ("default", "given", "bound"), [(60, None, 60), (20, None, 20), (60, 5, 5), (5, 200, 200), (None, 7, 7)]
)
def test_its_end_is_not_sent(default: float | None, given: float | None, bound: float) -> None:
    with Lone(timeouts=Timeouts(queue=default), request_timeout=1000) as lone:
        lone.ask()
        lone.came()
        waiting = lone.ask("GetLocalListVersion", queue_timeout=given)
        lone.clock.advance(bound - 0.1)
        assert not waiting.done()
        lone.clock.advance(0.1)
        assert timed_out(waiting) == ("not_sent", f"{bound} s passed before its turn")
        assert lone.came() == []


def test_its_end_comes_in_time_after_a_look_that_came_before() -> None:
    with Lone(request_timeout=30) as lone:
        lone.ask(timeout=100)
        waiting = lone.ask(queue_timeout=40)
        lone.clock.advance(39.9)
        assert not waiting.done()
        lone.clock.advance(0.1)
        assert timed_out(waiting) == ("not_sent", "40 s passed before its turn")


def test_it_holds_beside_the_time_of_the_caller() -> None:
    with Lone(timeouts=Timeouts(queue=20), request_timeout=1000) as lone:
        lone.ask()
        waiting = lone.ask(timeout=100)
        lone.clock.advance(19.9)
        assert not waiting.done()
        lone.clock.advance(0.1)
        assert timed_out(waiting) == ("not_sent", "20 s passed before its turn")


def test_without_a_bound_it_waits_for_its_turn() -> None:
    with Lone(timeouts=Timeouts(queue=None), request_timeout=30) as lone:
        silent = [lone.ask() for _ in range(20)]
        last = lone.ask()
        lone.clock.advance(600)
        assert [timed_out(future)[0] for future in silent] == ["unknown"] * 20
        assert not last.done()
        lone.came()
        lone.clock.advance(30)
        assert timed_out(last) == ("unknown", "no answer within 30 s")


def test_a_request_that_was_written_has_no_queue_timeout() -> None:
    with Lone(timeouts=Timeouts(queue=5)) as lone:
        first = lone.ask()
        lone.clock.advance(29.9)
        assert not first.done()
        lone.accept()
        assert first.result(0) == ACCEPTED


def test_what_gets_its_turn_late_in_its_queue_time_has_its_whole_time_then() -> None:
    with Lone() as lone:
        lone.ask()
        second = lone.ask("GetLocalListVersion", queue_timeout=40)
        lone.clock.advance(30)
        assert lone.actions() == ["ClearCache", "GetLocalListVersion"]
        lone.clock.advance(29.9)
        assert not second.done()
        lone.clock.advance(0.1)
        assert timed_out(second) == ("unknown", "no answer within 30 s")


# The time of the caller.


def test_a_caller_who_gives_up_leaves_the_call_outstanding_for_its_own_time() -> None:
    with Lone() as lone:
        impatient = lone.ask(timeout=2)
        following = lone.ask("GetLocalListVersion")
        lone.clock.advance(2)
        assert timed_out(impatient) == ("unknown", "no answer within 2 s")
        lone.clock.advance(27.9)
        assert lone.actions() == ["ClearCache"], "the line is closed"
        lone.clock.advance(0.1)
        assert lone.actions() == ["GetLocalListVersion"]
        assert not following.done()


def test_a_caller_who_gives_up_in_the_queue_sends_nothing() -> None:
    with Lone() as lone:
        lone.ask()
        impatient = lone.ask("GetLocalListVersion", timeout=2)
        lone.clock.advance(2)
        assert timed_out(impatient) == ("not_sent", "2 s passed before its turn")
        lone.accept()
        assert lone.actions() == []


def test_a_caller_waits_no_longer_in_all_than_it_said() -> None:
    with Lone() as lone:
        lone.ask()
        future = lone.ask("GetLocalListVersion", timeout=45)
        lone.clock.advance(30)
        assert lone.actions() == ["ClearCache", "GetLocalListVersion"]
        lone.clock.advance(14.9)
        assert not future.done()
        lone.clock.advance(0.1)
        assert timed_out(future) == ("unknown", "no answer within 45 s")
        lone.ask("GetConfiguration")
        lone.clock.advance(14.9)
        assert lone.actions() == [], "its own time runs from the write"
        lone.clock.advance(0.1)
        assert lone.actions() == ["GetConfiguration"]


def test_the_time_that_a_new_password_takes_to_be_stored_counts() -> None:
    class Slow(Checks):
        def before_request(self, action: str, payload: Any) -> OutcomeListener | None:
            lone.clock.advance(3)
            return None

    with Lone(security=Slow()) as lone:
        lone.ask()
        waiting = lone.ask(timeout=5)
        lone.clock.advance(1.9)
        assert not waiting.done()
        lone.clock.advance(0.1)
        assert timed_out(waiting) == ("not_sent", "5 s passed before its turn")


def test_a_patient_caller_has_the_line_as_long_as_it_waits() -> None:
    with Lone() as lone:
        patient = lone.ask(timeout=100)
        lone.clock.advance(99.9)
        assert not patient.done()
        lone.accept()
        assert patient.result(0) == ACCEPTED


def test_a_patient_caller_learns_how_long_it_has_waited_in_all() -> None:
    with Lone() as lone:
        lone.ask()
        patient = lone.ask(timeout=100)
        lone.clock.advance(99.9)
        assert not patient.done()
        lone.clock.advance(0.1)
        assert timed_out(patient) == ("unknown", "no answer within 100 s")


def test_the_answer_to_one_that_was_given_up_opens_the_line(caplog: pytest.LogCaptureFixture) -> None:
    with Lone() as lone, caplog.at_level(logging.WARNING, "ocppsync"):
        impatient = lone.ask(timeout=2)
        following = lone.ask("Reset", {"type": "Soft"})
        lone.clock.advance(2)
        assert lone.accept() == "ClearCache"
        assert lone.accept() == "Reset"
        assert following.result(0) == ACCEPTED
        assert timed_out(impatient)[0] == "unknown"
        assert lone.engine.counters.late_answers == 1
        assert "CP1 answered ClearCache after its caller had given up" in caplog.text
        assert "answered Reset" not in caplog.text, "in time"
        lone.check_rest()


@pytest.mark.parametrize("answer", ["result", "error", "invalid", "none", "end"])
def test_the_security_checks_learn_what_became_of_one_that_was_given_up(answer: str) -> None:
    checks = Checks()
    with Lone(security=checks) as lone:
        impatient = lone.ask(timeout=2)
        (call,) = lone.came()
        lone.clock.advance(2)
        assert timed_out(impatient)[0] == "unknown"
        assert checks.outcomes == [], "the peer may still do it"
        if answer == "none":
            lone.clock.advance(28)
        elif answer == "end":
            lone.drop()
        else:
            tail = {"result": [ACCEPTED], "error": ["InternalError", "", {}], "invalid": [7]}[answer]
            lone.say([4 if answer == "error" else 3, call[1], *tail])
        (outcome,) = checks.outcomes
        expected = {"none": RequestTimeoutError, "end": ConnectionLostError, "error": CallErrorReceived}
        if answer == "result":
            assert outcome == ACCEPTED
        else:
            assert isinstance(outcome, expected.get(answer, OCPPRequestError))
        if answer == "none":
            assert str(outcome).endswith("no answer within 30 s")
        assert timed_out(impatient)[0] == "unknown", "its caller learned it once"


def test_the_answer_to_a_boot_that_was_given_up_counts() -> None:
    registration = Registration()
    with Lone(role="charge_point", policy=ChargePointPolicy(registration, "1.6")) as lone:
        boot = lone.ask("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}, timeout=2)
        (call,) = lone.came()
        lone.clock.advance(2)
        assert timed_out(boot)[0] == "unknown"
        answer = {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 1}
        lone.say([3, call[1], answer])
        assert registration.status == "accepted"


def test_observers_are_told_once_and_when_the_caller_is() -> None:
    events: list[object] = []
    with Lone(observe=events.append) as lone:
        lone.ask(timeout=2)
        lone.ask(timeout=5)
        lone.ask(queue_timeout=6)
        lone.clock.advance(1)
        assert not [event for event in events if isinstance(event, TimedOut)]
        lone.clock.advance(200)
        told = [(event.seconds, event.delivery) for event in events if isinstance(event, TimedOut)]
        assert told == [(2, "unknown"), (5, "not_sent"), (6, "not_sent")]


def test_observers_are_not_told_that_a_cancelled_request_timed_out() -> None:
    events: list[object] = []
    with Lone(observe=events.append) as lone:
        lone.ask(timeout=100)
        cancelled = lone.ask()
        assert Future.cancel(cancelled), "the first half of its cancel"
        lone.clock.advance(60)
        assert cancelled.cancel(), "both halves"
        assert not [event for event in events if isinstance(event, TimedOut)]


def test_observers_see_how_long_the_answer_took() -> None:
    events: list[object] = []
    with Lone(observe=events.append) as lone:
        lone.ask(timeout=2)
        lone.clock.advance(20)
        lone.accept()
        (received,) = [event for event in events if isinstance(event, MessageReceived)]
        assert (received.action, received.seconds) == ("ClearCache", 20)


# Appointments.


@pytest.mark.parametrize("end", ["answered", "cancelled", "ended"])
def test_none_is_made_for_requests_that_have_ended(end: str) -> None:
    with Lone() as lone:
        future = lone.ask() if end == "answered" else lone.ask() and lone.ask()
        lone.clock.advance(29)
        lone.clock.advance(0.5)
        if end == "answered":
            lone.accept()
        elif end == "cancelled":
            assert future.cancel()
            lone.accept()
        else:
            lone.drop()
            assert not lone.clock.jump()
        lone.check_rest()


def test_a_connection_has_one_however_many_requests_it_has() -> None:
    with Lone(timeouts=Timeouts(queue=1000)) as lone:
        before = len(lone.clock._heap)
        for number in range(1000):
            lone.ask(timeout=100 + number)
            lone.accept()
        assert len(lone.clock._heap) == before + 1
        lone.check_rest()


def test_an_answer_right_after_a_look_leaves_no_other() -> None:
    with Lone() as lone:
        future = lone.ask(timeout=100)
        (call,) = lone.came()

        def answer() -> None:
            lone.say([3, call[1], ACCEPTED])

        # The first look is at 30; the answer comes as the engine has said when to look again.
        lone.lock.after_release = answer
        lone.clock.advance(30)
        assert future.result(0) == ACCEPTED
        lone.check_rest()


def test_a_cancel_during_a_look_leaves_no_other() -> None:
    with Lone() as lone:
        lone.ask(timeout=100)
        waiting = lone.ask()
        look, withdraw = lone.engine.look, lone.engine.withdraw
        half_way, go_on = threading.Event(), threading.Event()
        cancelling = threading.Thread(target=waiting.cancel, daemon=True)

        def withdraw_later(call: Any) -> Any:
            half_way.set()
            assert go_on.wait(DEADLINE)
            return withdraw(call)

        def look_in_between(now: float) -> Any:
            if not half_way.is_set():
                cancelling.start()
                assert half_way.wait(DEADLINE)
            return look(now)

        lone.engine.look, lone.engine.withdraw = look_in_between, withdraw_later
        lone.clock.advance(30)
        go_on.set()
        cancelling.join(DEADLINE)
        assert waiting.cancelled()
        lone.accept()
        lone.check_rest()

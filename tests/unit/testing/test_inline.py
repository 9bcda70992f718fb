"""Handlers without threads, and a clock that stands still."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

import pytest

from ocppsync.testing.inline import Clock, InlineExecutor
from ocppsync.threads.bounded import BoundedExecutor


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def executor(clock: Clock) -> InlineExecutor:
    return InlineExecutor(clock)


# The clock.


def test_time_stands_still_until_it_is_moved(clock: Clock) -> None:
    done: list[float] = []
    clock.call_later(5, lambda: done.append(clock.now()))
    clock.call_at(3, lambda: done.append(clock.now()))
    clock.advance(2)
    assert (clock.now(), done) == (2, [])
    clock.advance(4)
    assert (clock.now(), done) == (6, [3, 5])


def test_calls_scheduled_during_an_advance_run_in_it(clock: Clock) -> None:
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(clock.now())
        clock.call_later(10, tick)

    tick()
    clock.advance(35)
    assert ticks == [0, 10, 20, 30]


def test_cancelled_calls_do_not_run(clock: Clock) -> None:
    clock.call_later(1, pytest.fail).cancel()
    clock.advance(2)
    assert not clock.jump()


def test_calls_that_are_due_run_in_an_advance_of_0_seconds(clock: Clock) -> None:
    done: list[str] = []
    clock.call_later(0, done.append, "now")
    clock.advance(0)
    assert done == ["now"]


def test_time_does_not_go_back(clock: Clock) -> None:
    with pytest.raises(ValueError, match="cannot advance the clock by -1 s"):
        clock.advance(-1)


def test_a_jump_goes_to_the_next_scheduled_call(clock: Clock) -> None:
    done: list[str] = []
    clock.call_later(100, done.append, "later")
    clock.call_later(10, done.append, "first")
    assert clock.jump()
    assert (clock.now(), done) == (10, ["first"])


def test_a_scheduled_call_that_fails_does_not_stop_the_clock(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    clock.call_later(1, lambda: 1 / 0)
    clock.advance(2)
    assert clock.now() == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_the_clock_has_no_thread(clock: Clock) -> None:
    before = threading.active_count()
    clock.call_later(1, lambda: None)
    assert threading.active_count() == before
    clock.close()
    clock.call_later(1, pytest.fail)
    clock.advance(5)


def test_repr_of_the_clock(clock: Clock) -> None:
    clock.call_later(1, lambda: None)
    assert repr(clock) == "<Clock 0 s appointments=1>"


# The executor.


def test_tasks_run_on_the_calling_thread_in_their_order(executor: InlineExecutor) -> None:
    done: list[object] = []
    for number in range(3):
        assert executor.submit(lambda number=number: done.append((number, threading.get_ident())))
    assert done == []
    executor.run()
    assert done == [(number, threading.get_ident()) for number in range(3)]


def test_nothing_runs_within_a_task(executor: InlineExecutor) -> None:
    done: list[str] = []

    def outer() -> None:
        executor.submit(done.append, "inner")
        executor.run()
        assert executor.owns_this_thread
        done.append("outer")

    executor.submit(outer)
    executor.run()
    assert done == ["outer", "inner"]
    assert not executor.owns_this_thread


def test_a_task_that_waits_has_the_others_run(executor: InlineExecutor) -> None:
    future: Future[str] = Future()
    done: list[str] = []

    def wait() -> None:
        executor.before_wait(future)
        done.append(future.result(0))

    executor.submit(wait)
    executor.submit(future.set_result, "answer")
    executor.submit(done.append, "last")
    executor.run()
    assert done == ["answer", "last"]


def test_waiting_advances_the_clock_to_the_answer_and_no_further(executor: InlineExecutor, clock: Clock) -> None:
    future: Future[str] = Future()
    clock.call_later(20, executor.submit, future.set_result, "answer")
    clock.call_later(30, pytest.fail)
    executor.before_wait(future)
    assert future.result(0) == "answer"
    assert clock.now() == 20


def test_waiting_for_a_future_that_is_never_done_returns(executor: InlineExecutor) -> None:
    executor.before_wait(Future())


def test_only_the_thread_that_created_the_executor_advances_the_clock(executor: InlineExecutor, clock: Clock) -> None:
    clock.call_later(1, pytest.fail)
    other = threading.Thread(target=executor.before_wait, args=(Future(),))
    other.start()
    other.join()
    assert clock.now() == 0


def test_tasks_of_an_advance_run_each_at_its_time(executor: InlineExecutor, clock: Clock) -> None:
    done: list[float] = []
    for seconds in (1, 2):
        clock.call_later(seconds, executor.submit, lambda: done.append(clock.now()))
    clock.advance(5)
    assert done == [1, 2]


def test_a_serial_executor_keeps_the_order(executor: InlineExecutor) -> None:
    serial, done = BoundedExecutor(executor), []
    for number in range(5):
        serial.submit(done.append, number)
    executor.run()
    assert done == [0, 1, 2, 3, 4]


def test_a_task_that_fails_is_logged(executor: InlineExecutor, caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    executor.submit(lambda: 1 / 0)
    executor.submit(done.append, "next")
    executor.run()
    assert done == ["next"]
    assert "ZeroDivisionError" in caplog.text


def test_after_close_nothing_is_taken(executor: InlineExecutor) -> None:
    done: list[str] = []
    executor.submit(done.append, "taken")
    assert executor.stuck_since is None
    assert executor.close(0)
    assert not executor.submit(done.append, "refused")
    executor.run()
    assert done == ["taken"]
    assert repr(executor) == "<InlineExecutor closed waiting=0 running=0>"

"""Executors over a pool: order, how many tasks run at once, what waits, and the end."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from interleaved import Made, MeetingLock, watch_field
from pools import Gate
from support import DEADLINE, Recorder

from ocppsync.testing.inline import Clock, InlineExecutor
from ocppsync.threads.bounded import BoundedExecutor

# One at a time.


def test_a_serial_executor_runs_one_task_at_a_time_in_order(make_pool: Any) -> None:
    pool, done, running = make_pool(4), Recorder(), threading.Lock()

    def task(number: int) -> None:
        assert running.acquire(blocking=False), "two tasks of a serial run at once"
        done((number, threading.get_ident()))
        running.release()

    serial = BoundedExecutor(pool)
    for number in range(500):
        serial.submit(task, number)
    assert [number for number, _ in done.wait(500)] == list(range(500))


def test_serial_executors_run_beside_each_other(make_pool: Any) -> None:
    pool, barrier, met = make_pool(3), threading.Barrier(3), Recorder()
    for _ in range(3):
        BoundedExecutor(pool).submit(lambda: met(barrier.wait(DEADLINE)))
    met.wait(3)


def test_a_busy_serial_leaves_room_for_others(make_pool: Any) -> None:
    pool, gate, done = make_pool(1), Gate(), Recorder()
    pool.submit(gate)
    gate.begun.wait()
    busy, other = BoundedExecutor(pool), BoundedExecutor(pool)
    for number in range(3):
        busy.submit(done, f"busy {number}")
    for number in range(2):
        other.submit(done, f"other {number}")
    gate.open()
    assert done.wait(5) == ["busy 0", "other 0", "busy 1", "other 1", "busy 2"]


def test_a_serial_executor_goes_on_after_a_task_that_fails(make_pool: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(error: BaseException) -> None:
        raise error

    serial, done = BoundedExecutor(make_pool(2)), Recorder()
    serial.submit(fail, ValueError("one"))
    serial.submit(fail, SystemExit("two"))
    serial.submit(done, "three")
    assert done.wait() == ["three"]
    assert len(caplog.records) == 2


def test_a_task_may_add_to_its_own_serial(make_pool: Any) -> None:
    serial, done = BoundedExecutor(make_pool(2)), Recorder()
    serial.submit(lambda: (serial.submit(done, "second"), done("first")))
    assert done.wait(2) == ["first", "second"]


def test_a_closed_executor_returns_what_waits_and_accepts_nothing(make_pool: Any) -> None:
    pool, gate, done = make_pool(2), Gate(), Recorder()
    serial = BoundedExecutor(pool)
    assert len(serial) == 0
    serial.submit(gate)
    gate.begun.wait()
    assert len(serial) == 0, "what runs does not wait"
    for number in range(3):
        serial.submit(done, number)
    assert len(serial) == 3
    assert serial.close() == [(done, (number,)) for number in range(3)]
    assert len(serial) == 0
    assert not serial.submit(done, "after")
    gate.open()
    assert pool.wait_idle(DEADLINE)
    assert done.items == []
    assert serial.close() == []


def test_a_task_that_was_not_begun_is_dropped_by_a_close(make_pool: Any, caplog: pytest.LogCaptureFixture) -> None:
    pool, gate, done = make_pool(1), Gate(), Recorder()
    pool.submit(gate)
    gate.begun.wait()
    serial = BoundedExecutor(pool)
    serial.submit(done, "dropped")
    assert serial.busy
    assert serial.close() == [(done, ("dropped",))]
    gate.open()
    assert pool.wait_idle(DEADLINE)
    assert not serial.busy
    assert done.items == []
    assert not caplog.records


def test_the_last_task_can_be_dropped_while_it_waits(make_pool: Any) -> None:
    gate, done = Gate(), Recorder()
    serial = BoundedExecutor(make_pool(1))
    serial.submit(gate)
    gate.begun.wait()
    assert not serial.drop_last(), "what runs is not dropped"
    for number in range(3):
        serial.submit(done, number)
    assert serial.drop_last()
    gate.open()
    assert done.wait(2) == [0, 1]
    serial.submit(done, "next")
    assert done.wait(3) == [0, 1, "next"]


def test_a_serial_executor_over_a_closed_pool_drops_its_tasks(make_pool: Any) -> None:
    pool, done = make_pool(1), Recorder()
    pool.close(DEADLINE)
    serial = BoundedExecutor(pool)
    assert not serial.submit(done, "late")
    assert not serial.busy
    assert len(serial) == 0
    assert pool.wait_idle(0)
    assert done.items == []


class NoThreads(InlineExecutor):
    """An executor that cannot start its thread at first."""

    broken = True

    def submit(self, function: Any, *args: Any) -> bool:
        if self.broken:
            raise RuntimeError("can't start new thread")
        return super().submit(function, *args)


def test_a_task_for_which_no_thread_starts_is_dropped_and_the_next_one_runs() -> None:
    executor, done = NoThreads(Clock()), Recorder()
    serial = BoundedExecutor(executor)
    with pytest.raises(RuntimeError):
        serial.submit(done, "dropped")
    assert len(serial) == 0
    assert not serial.busy
    executor.broken = False
    assert serial.submit(done, "next")
    executor.run()
    assert done.items == ["next"]


def test_a_serial_executor_finishes_what_it_took_before_the_pool_was_closed(make_pool: Any) -> None:
    pool, gate, done = make_pool(2), Gate(), Recorder()
    serial = BoundedExecutor(pool)
    serial.submit(gate)
    gate.begun.wait()
    for number in range(2):
        serial.submit(done, number)
    pool.close(0)
    gate.open()
    assert done.wait(2) == [0, 1]
    assert pool.close(DEADLINE)


def test_a_serial_executor_takes_no_more_tasks_than_its_limit(make_pool: Any) -> None:
    gate, done = Gate(), Recorder()
    serial = BoundedExecutor(make_pool(1), limit=2)
    assert serial.submit(gate)
    gate.begun.wait()
    assert [serial.submit(done, number) for number in range(4)] == [True, True, False, False], "the running one is free"
    gate.open()
    assert done.wait(2) == [0, 1]
    assert serial.submit(done, 4)
    assert done.wait(3) == [0, 1, 4]


# A few at a time.


def test_no_more_tasks_run_at_once_than_its_width(make_pool: Any) -> None:
    pool, gate, done = make_pool(8), Gate(), Recorder()
    bounded = BoundedExecutor(pool, 3)
    for _ in range(5):
        assert bounded.submit(gate)
    gate.begun.wait(3)
    assert len(bounded) == 2
    assert repr(bounded) == "<BoundedExecutor open running=3/3 waiting=2>"
    pool.submit(done, "other")
    assert done.wait() == ["other"], "the other threads are free"
    assert len(gate.begun.items) == 3
    gate.open()
    assert len(gate.begun.wait(4)) == 4, "the next one begins when one ends"
    gate.open(4)
    assert pool.wait_idle(DEADLINE)
    assert len(gate.begun.items) == 5
    assert not bounded.busy


def test_bounded_executors_may_share_one(make_pool: Any) -> None:
    pool, gate, done = make_pool(4), Gate(), Recorder()
    shared = BoundedExecutor(pool, 2)
    first, second = BoundedExecutor(shared, 2), BoundedExecutor(shared, 2)
    for _ in range(2):
        first.submit(gate)
    gate.begun.wait(2)
    second.submit(done, "second")
    pool.submit(done, "pool")
    assert done.wait() == ["pool"], "both of what they share are taken, and the pool has two more"
    gate.open(2)
    assert done.wait(2) == ["pool", "second"]


def test_accepted_tasks_run_though_the_pool_and_what_they_share_are_closed(make_pool: Any) -> None:
    pool, gate, done = make_pool(1), Gate(), Recorder()
    shared = BoundedExecutor(pool, 1)
    first, second = BoundedExecutor(shared), BoundedExecutor(shared)
    first.submit(gate)
    gate.begun.wait()
    for number in range(2):
        first.submit(done, f"first {number}")
        second.submit(done, f"second {number}")
    pool.close(0)
    gate.open()
    assert sorted(done.wait(4)) == ["first 0", "first 1", "second 0", "second 1"]


# Two threads at once.


def with_lock(width: int = 1) -> tuple[InlineExecutor, BoundedExecutor, MeetingLock]:
    executor, lock = InlineExecutor(Clock()), MeetingLock()
    bounded = BoundedExecutor(executor, width)
    bounded._lock = lock  # type: ignore[assignment]
    return executor, bounded, lock


def test_two_tasks_at_once_have_one_turn() -> None:
    executor, serial, lock = with_lock()
    done, made = Recorder(), Made()
    watch_field(serial, "_running", after_get=made.let_in(lock, serial.submit, done, "second"))
    serial.submit(done, "first")
    assert made.result()
    assert repr(executor) == "<InlineExecutor open waiting=1 running=0>"
    executor.run()
    assert done.items == ["first", "second"]


def test_a_close_while_a_turn_begins_leaves_each_task_run_or_returned() -> None:
    executor, serial, lock = with_lock()
    done, made = Recorder(), Made()
    for number in range(2):
        serial.submit(done, number)
    watch_field(serial, "_waiting", after_get=made.let_in(lock, serial.close))
    executor.run()
    dropped = [args[0] for _, args in made.result()]
    assert done.items + dropped == [0, 1]
    assert not serial.busy


def test_a_task_that_comes_while_the_last_turn_ends_has_another() -> None:
    executor, serial, lock = with_lock()
    done, made = Recorder(), Made()
    serial.submit(done, "first")
    watch_field(serial, "_running", before_set=made.let_in(lock, serial.submit, done, "second"))
    executor.run()
    made.result()
    executor.run()
    assert done.items == ["first", "second"]


def test_a_close_that_begins_while_a_task_is_accepted_returns_it() -> None:
    executor, serial, lock = with_lock()
    done, made = Recorder(), Made()
    watch_field(serial, "closed", after_get=made.let_in(lock, serial.close))
    assert serial.submit(done, "task")
    assert len(made.result()) == 1
    executor.run()
    assert done.items == []
    assert not serial.busy


def test_one_task_is_dropped_by_one_of_two_threads() -> None:
    executor, serial, lock = with_lock()
    done, made = Recorder(), Made()
    for number in range(2):
        serial.submit(done, number)
    watch_field(serial, "_waiting", after_get=made.let_in(lock, executor.run))
    assert serial.drop_last()
    made.result()
    executor.run()
    assert done.items == [0]

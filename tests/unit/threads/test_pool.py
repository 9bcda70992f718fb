"""The handler threads."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
from pools import Gate
from support import DEADLINE, Recorder

from ocppsync.threads.pool import run_logged


def pool_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("test-pool")]


# The pool.


def test_one_thread_runs_its_tasks_in_order(make_pool: Any) -> None:
    pool, done = make_pool(1), Recorder()
    for number in range(100):
        assert pool.submit(done, number)
    assert done.wait(100) == list(range(100))


def test_arguments_are_passed_on(make_pool: Any) -> None:
    done = Recorder()
    make_pool(1).submit(done, 1, "two", None)
    assert done.wait() == [(1, "two", None)]


def test_as_many_tasks_run_at_once_as_there_are_threads(make_pool: Any) -> None:
    pool, gate = make_pool(3), Gate()
    for number in range(5):
        pool.submit(gate, number)
    assert sorted(gate.begun.wait(3)) == [0, 1, 2]
    assert sorted(thread.name for thread in pool_threads()) == [f"test-pool-{n}" for n in (1, 2, 3)]
    assert all(thread.daemon for thread in pool_threads())
    assert len(gate.begun.items) == 3
    gate.open()
    assert gate.begun.wait(4)[3] == 3
    assert len(gate.begun.items) == 4
    gate.open(4)
    assert gate.begun.wait(5)[4] == 4
    assert pool.wait_idle(DEADLINE)


def test_threads_start_only_when_none_is_free(make_pool: Any) -> None:
    pool, gate = make_pool(3), Gate()
    assert pool_threads() == []
    for _ in range(5):
        pool.submit(lambda: None)
        assert pool.wait_idle(DEADLINE)
    assert len(pool_threads()) == 1
    for number in range(2):
        pool.submit(gate, number)
    gate.begun.wait(2)
    assert len(pool_threads()) == 2
    gate.open(2)
    assert pool.wait_idle(DEADLINE)
    for number in range(3):
        pool.submit(gate, number)
    gate.begun.wait(5)
    assert len(pool_threads()) == 3
    gate.open(3)


def test_no_thread_waits_while_tasks_do(make_pool: Any) -> None:
    pool, met = make_pool(4), Recorder()
    for _ in range(50):
        barrier = threading.Barrier(4)
        for _ in range(4):
            pool.submit(lambda barrier=barrier: met(barrier.wait(DEADLINE)))
    met.wait(200)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_thread_survives_what_its_tasks_raise(
    make_pool: Any, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error("the reason")

    pool, threads = make_pool(1), Recorder()
    pool.submit(lambda: threads(threading.get_ident()))
    pool.submit(fail)
    pool.submit(lambda: threads(threading.get_ident()))
    first, second = threads.wait(2)
    assert first == second
    assert pool.wait_idle(DEADLINE), "the task that failed is over"
    assert [record.name for record in caplog.records] == ["ocppsync.threads.pool"]
    assert "fail" in caplog.text
    assert "failed on thread test-pool-1" in caplog.text
    assert f"{error.__name__}: the reason" in caplog.text


def test_a_pool_knows_its_threads(make_pool: Any) -> None:
    pool, other, seen = make_pool(2), make_pool(2), Recorder()
    assert not pool.owns_this_thread
    pool.submit(lambda: seen((pool.owns_this_thread, other.owns_this_thread)))
    assert seen.wait() == [(True, False)]


def test_a_task_is_let_go_when_it_is_done(make_pool: Any) -> None:
    class Thing:
        def method(self) -> None: ...

    pool, thing = make_pool(1), Thing()
    gone = weakref.ref(thing)
    pool.submit(thing.method)
    pool.submit(run_logged, thing.method)
    del thing
    assert pool.wait_idle(DEADLINE)
    gc.collect()
    assert gone() is None


# Idleness.


def test_a_pool_is_idle_when_nothing_runs_or_waits(make_pool: Any) -> None:
    pool, gate = make_pool(1), Gate()
    assert pool.wait_idle(0)
    for number in range(5):
        pool.submit(gate, number)
    for number in range(1, 5):
        gate.begun.wait(number)
        assert not pool.wait_idle(0)
        gate.open()
    gate.begun.wait(5)
    assert not pool.wait_idle(0.01)
    seen = Recorder()
    waiting = threading.Thread(target=lambda: seen(pool.wait_idle(3 * DEADLINE)))
    waiting.start()
    gate.open()
    assert seen.wait() == [True]
    waiting.join()


def test_a_task_may_wait_for_the_others(make_pool: Any) -> None:
    pool, gate, seen = make_pool(2), Gate(), Recorder()
    pool.submit(gate)
    gate.begun.wait()
    pool.submit(lambda: (seen(pool.wait_idle(0.01)), seen(pool.wait_idle(DEADLINE))))
    assert seen.wait(1) == [False]
    gate.open()
    assert seen.wait(2) == [False, True]


# The end.


def test_close_finishes_what_was_taken_and_takes_no_more(make_pool: Any) -> None:
    pool, gate, done = make_pool(2), Gate(), Recorder()
    for number in range(2):
        pool.submit(gate, number)
    gate.begun.wait(2)
    for number in range(10):
        pool.submit(done, number)
    gate.open(2)
    assert pool.close(DEADLINE)
    assert sorted(done.items) == list(range(10))
    assert pool_threads() == []
    assert not pool.submit(done, "late")
    assert pool.close(0), "closing twice does no harm"
    assert "late" not in done.items
    assert pool_threads() == []


def test_an_unused_pool_can_be_closed(make_pool: Any) -> None:
    pool = make_pool(2)
    assert pool.close(0)
    assert not pool.submit(lambda: None)


def test_close_does_not_wait_for_ever(make_pool: Any) -> None:
    pool, gate = make_pool(2), Gate()
    pool.submit(gate)
    gate.begun.wait()
    assert not pool.close(0.01)
    gate.open()
    assert pool.close(DEADLINE)


def test_close_from_one_of_its_own_tasks(make_pool: Any) -> None:
    pool, gate, seen = make_pool(2), Gate(), Recorder()
    pool.submit(gate)
    gate.begun.wait()
    pool.submit(lambda: (seen(pool.close(0.01)), gate.open(), seen(pool.close(DEADLINE))))
    assert seen.wait(2) == [False, True], "it waits for the others, and not for itself"
    assert pool.close(DEADLINE)


def test_repr_shows_the_state(make_pool: Any) -> None:
    pool, gate = make_pool(2), Gate()
    assert repr(pool) == "<HandlerPool test-pool open threads=0/2 free=0>"
    pool.submit(gate)
    gate.begun.wait()
    assert repr(pool) == "<HandlerPool test-pool open threads=1/2 free=0>"
    gate.open()
    assert pool.wait_idle(DEADLINE)
    assert repr(pool) == "<HandlerPool test-pool open threads=1/2 free=1>"
    pool.close(DEADLINE)
    assert repr(pool).startswith("<HandlerPool test-pool closed ")


# No system lacks threads when a test wants it to.


def no_more_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_where_no_more_threads_start_those_that_run_will_do(make_pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, gate, done = make_pool(4), Gate(), Recorder()
    pool.submit(gate)
    gate.begun.wait()
    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    for number in range(3):
        assert pool.submit(done, number)
    gate.open()
    assert done.wait(3) == [0, 1, 2]
    assert pool.wait_idle(DEADLINE)
    assert repr(pool) == "<HandlerPool test-pool open threads=1/4 free=1>"


def test_where_no_thread_starts_at_all_the_caller_learns_it(make_pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, done = make_pool(4), Recorder()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="new thread"):
        patch.setattr(threading.Thread, "start", no_more_threads)
        pool.submit(done, "lost")
    assert pool.wait_idle(0)
    pool.submit(done, "found")
    assert done.wait() == ["found"]

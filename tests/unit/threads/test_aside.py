"""Threads for what must not run on the timer's thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from interleaved import with_lock
from intruder import LingeringThread
from support import DEADLINE, Recorder

from ocppsync.threads import aside
from ocppsync.threads import timer as timer_module
from ocppsync.threads.joining import living
from ocppsync.threads.timer import Timer


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer("test-timer")
    yield timer
    timer.close()


def test_what_the_timer_hands_over_runs_on_another_thread_and_does_not_hold_it_up(timer: Timer) -> None:
    threads, later, release = Recorder(), Recorder(), threading.Event()

    def block() -> None:
        threads(threading.current_thread().name)
        assert release.wait(DEADLINE)

    timer.call_later(0, timer.call_aside, block)
    timer.call_later(0, lambda: later(threading.get_ident() == timer.thread_id))
    assert threads.wait() == ["test-timer-aside"]
    assert later.wait() == [True]
    release.set()


def test_on_any_other_thread_it_runs_at_once(timer: Timer) -> None:
    ran: list[int] = []
    timer.call_aside(lambda: ran.append(threading.get_ident()))
    assert ran == [threading.get_ident()]


def test_the_thread_of_the_timer_is_known_only_while_it_runs(timer: Timer) -> None:
    assert timer.thread_id is None
    ran = Recorder()
    timer.call_later(0, lambda: ran(threading.get_ident()))
    assert ran.wait() == [timer.thread_id]
    timer.close()
    assert timer.thread_id is None


def test_a_close_waits_for_it_but_not_for_ever(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release, done = threading.Event(), threading.Event(), Recorder()

    def work() -> None:
        begun.set()
        assert release.wait(DEADLINE)
        done("worked")

    timer.aside.start(work)
    assert begun.wait(DEADLINE)
    monkeypatch.setattr(timer_module, "_ASIDE_ENDS", 0.0)
    timer.close()
    assert done.items == []
    threading.Timer(0.05, release.set).start()
    monkeypatch.setattr(timer_module, "_ASIDE_ENDS", DEADLINE)
    timer.close()
    assert done.items == ["worked"]


def test_it_may_close_the_timer(timer: Timer) -> None:
    closed = Recorder()
    timer.aside.start(lambda: closed(timer.close()))
    assert closed.wait() == [None]


def test_an_exception_ends_in_the_log(timer: Timer, caplog: pytest.LogCaptureFixture) -> None:
    timer.aside.start(lambda: 1 / 0)
    timer.close()
    assert "ZeroDivisionError" in caplog.text


def test_without_a_free_thread_it_is_tried_again(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "RETRY", 0.0)
    ran = Recorder()
    timer.call_later(0, lambda: None)  # its thread runs already
    real, failures = threading.Thread.start, iter([True, True])

    def start(thread: threading.Thread) -> None:
        if thread.name == "test-timer-aside" and next(failures, False):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    timer.aside.start(ran, "ran")
    assert ran.wait() == ["ran"]
    assert next(failures, None) is None
    timer.aside.join(DEADLINE)
    assert living(timer.aside._threads) == []


def test_a_close_waits_for_one_at_its_last_line(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Thread", LingeringThread)
    timer.aside.start(lambda: None)
    (thread,) = timer.aside._threads
    assert isinstance(thread, LingeringThread)
    assert thread.lingers.wait(DEADLINE)
    timer.close()
    assert not thread.is_alive()


def test_threads_that_have_ended_are_not_kept(timer: Timer) -> None:
    for _ in range(3):
        timer.aside.start(lambda: None)
        timer.aside.join(DEADLINE)
    assert len(timer.aside._threads) <= 1


def test_a_close_that_comes_as_one_starts_waits_for_it(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, closed, waited_for, go_on = with_lock(timer.aside), [], Recorder(), threading.Event()
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "test-timer-aside":
            closed.append(lock.let_in(timer.aside.join, DEADLINE))
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(aside, "join_all", lambda threads, timeout: waited_for([thread.name for thread in threads]))
    timer.aside.start(go_on.wait, DEADLINE)
    closed[0].result(DEADLINE)
    go_on.set()
    assert waited_for.items == [["test-timer-aside"]]

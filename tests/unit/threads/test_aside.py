"""Threads for what must not run on the timer's thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from support import DEADLINE, Recorder

from ocppsync.threads import aside
from ocppsync.threads import timer as timer_module
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
    assert timer.aside._threads == set()

"""The timer: appointments in their order, on one thread."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support import DEADLINE, Recorder

from ocppsync.threads.timer import Timer

HOUR = 3600.0


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer("test-timer")
    yield timer
    timer.close()
    assert timer_threads() == [], "the thread is left"


def timer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "test-timer"]


def appointments(timer: Timer) -> int:
    return int(repr(timer).partition("appointments=")[2].rstrip(">"))


def fence(timer: Timer) -> None:
    """Wait until all that is due has run."""
    passed = Recorder()
    timer.call_at(time.monotonic(), passed)
    passed.wait()


@contextmanager
def held(timer: Timer) -> Iterator[float]:
    """Keep the timer's thread busy, so that what becomes due meanwhile waits for the end of the block.

    Yields a time that has then come, however slow the machine.
    """
    begun, go_on = Recorder(), threading.Event()
    timer.call_later(0, lambda: (begun(), go_on.wait(DEADLINE)))
    begun.wait()
    yield time.monotonic()
    go_on.set()


def test_the_thread_starts_with_the_first_appointment(timer: Timer) -> None:
    assert timer_threads() == []
    timer.call_later(HOUR, lambda: None)
    timer.call_later(HOUR, lambda: None)
    assert [thread.daemon for thread in timer_threads()] == [True]


def test_functions_run_on_that_thread_with_their_arguments(timer: Timer) -> None:
    done = Recorder()
    timer.call_later(0, lambda *args: done((threading.current_thread().name, args)), 1, "two")
    assert done.wait() == [("test-timer", (1, "two"))]


def test_nothing_runs_before_its_time(timer: Timer) -> None:
    done = Recorder()
    for seconds in (0.02, 0.01, 0.03):
        when = time.monotonic() + seconds
        timer.call_at(when, lambda when=when: done(time.monotonic() - when))
        asked = time.monotonic()
        timer.call_later(seconds, lambda due=asked + seconds: done(time.monotonic() - due))
    assert min(done.wait(6)) >= 0


def test_appointments_run_in_the_order_of_their_time(timer: Timer) -> None:
    done = Recorder()
    with held(timer) as start:
        for number in (3, 0, 2, 4, 1):
            timer.call_at(start + number * 0.001, done, number)
    assert done.wait(5) == [0, 1, 2, 3, 4]


def test_appointments_of_one_time_run_in_the_order_they_were_made(timer: Timer) -> None:
    done = Recorder()
    with held(timer) as start:
        for number in range(50):
            timer.call_at(start, done, number)
    assert done.wait(50) == list(range(50))


def test_what_is_overdue_runs_at_once(timer: Timer) -> None:
    done = Recorder()
    timer.call_at(time.monotonic() - HOUR, done, "past")
    timer.call_later(-1, done, "also past")
    assert done.wait(2) == ["past", "also past"]


def test_an_earlier_appointment_comes_first(timer: Timer) -> None:
    done = Recorder()
    timer.call_later(HOUR, done, "later")
    fence(timer)  # now the thread waits for the hour to pass
    timer.call_later(0.01, done, "sooner")
    assert done.wait() == ["sooner"]


def test_a_function_may_make_appointments(timer: Timer) -> None:
    done = Recorder()
    timer.call_later(0, lambda: (timer.call_later(0, done, "second"), done("first")))
    assert done.wait(2) == ["first", "second"]


def test_one_that_was_cancelled_never_runs(timer: Timer) -> None:
    done = Recorder()
    with held(timer) as start:
        cancelled = [timer.call_at(start, done, "cancelled") for _ in range(3)]
        timer.call_at(start + 0.001, done, "kept")
        for handle in cancelled:
            handle.cancel()
            handle.cancel()
    assert done.wait() == ["kept"]


def test_one_may_cancel_another_and_itself(timer: Timer) -> None:
    done = Recorder()
    handles: list[Any] = []
    with held(timer) as start:
        handles.append(timer.call_at(start, lambda: [handle.cancel() for handle in handles]))
        handles.append(timer.call_at(start, done, "cancelled"))
        timer.call_at(start, done, "kept")
    assert done.wait() == ["kept"]
    handles[0].cancel()


def test_cancelling_what_has_run_does_nothing(timer: Timer) -> None:
    done = Recorder()
    handle = timer.call_later(0, done, "ran")
    done.wait()
    fence(timer)
    handle.cancel()
    fence(timer)
    assert done.items == ["ran"]


class Thing:
    def method(self) -> None: ...


def test_what_was_cancelled_is_let_go_at_once(timer: Timer) -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    handle = timer.call_later(HOUR, thing.method)
    del thing
    handle.cancel()
    gc.collect()
    assert gone() is None


def test_what_has_run_is_let_go_at_once(timer: Timer) -> None:
    thing = Thing()
    gone, done = weakref.ref(thing), Recorder()
    handle = timer.call_later(0.01, thing.method)
    timer.call_later(0.01, done)
    del thing
    done.wait()
    gc.collect()
    assert gone() is None
    handle.cancel()


def test_cancelled_appointments_do_not_pile_up(timer: Timer) -> None:
    done = Recorder()
    shuffled = [number * 37 % 100 for number in range(100)]
    with held(timer) as start:
        made = {number: timer.call_at(start + number * 0.0001, done, number) for number in shuffled}
        for number in range(0, 100, 3):
            made.pop(number).cancel()
        for _ in range(5000):
            timer.call_later(HOUR, done, "cancelled").cancel()
        assert appointments(timer) < 1000
        made.pop(50).cancel()
    assert done.wait(len(made)) == sorted(made)
    fence(timer)
    assert len(done.items) == len(made)


def test_a_function_that_fails_harms_no_other(timer: Timer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(error: BaseException) -> None:
        raise error

    done = Recorder()
    for error in (ValueError("one"), SystemExit("two"), KeyboardInterrupt("three")):
        timer.call_later(0, fail, error)
    timer.call_later(0, done, threading.current_thread())
    done.wait()
    assert [record.name for record in caplog.records] == ["ocppsync.threads.timer"] * 3
    assert all(text in caplog.text for text in ("fail", "ValueError: one", "SystemExit: two"))


@pytest.mark.parametrize("seconds", [1e10, 1e300])
def test_what_is_centuries_away_stops_nothing(timer: Timer, seconds: float) -> None:
    done = Recorder()
    timer.call_later(seconds, done, "never")
    fence(timer)
    fence(timer)
    timer.call_later(0.01, done, "now")
    assert done.wait() == ["now"]
    assert appointments(timer) == 1


# The end.


def test_close_drops_all_and_ends_the_thread(timer: Timer) -> None:
    done = Recorder()
    timer.call_later(HOUR, done, "dropped")
    fence(timer)
    timer.close()
    assert timer_threads() == []
    assert appointments(timer) == 0
    timer.call_later(0, done, "late").cancel()
    timer.call_at(0, done, "later")
    timer.close()
    assert timer_threads() == []
    assert done.items == []


def test_an_unused_timer_can_be_closed(timer: Timer) -> None:
    timer.close()
    timer.call_later(0, pytest.fail)
    assert timer_threads() == []


def test_close_waits_for_the_function_that_runs(timer: Timer) -> None:
    begun, go_on, closing, done = Recorder(), threading.Event(), threading.Event(), Recorder()

    def slow() -> None:
        begun()
        assert go_on.wait(DEADLINE)
        done("ran")

    timer.call_later(0, slow)
    begun.wait()
    closer = threading.Thread(target=lambda: (closing.set(), timer.close(), done("closed")))
    closer.start()
    assert closing.wait(DEADLINE)
    go_on.set()
    assert done.wait(2) == ["ran", "closed"]
    closer.join()


def test_close_from_one_of_its_own_functions(timer: Timer) -> None:
    done = Recorder()
    with held(timer) as start:
        timer.call_at(start, lambda: (timer.close(), done("closed")))
        timer.call_at(start, done, "dropped")
    assert done.wait() == ["closed"]
    for thread in timer_threads():
        thread.join(DEADLINE)
    assert done.items == ["closed"]


def test_repr_shows_the_state(timer: Timer) -> None:
    assert repr(timer) == "<Timer test-timer open appointments=0>"
    timer.call_later(HOUR, lambda: None)
    assert repr(timer) == "<Timer test-timer open appointments=1>"
    timer.close()
    assert repr(timer) == "<Timer test-timer closed appointments=0>"


def test_where_no_thread_starts_the_caller_learns_it(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    # No system lacks threads when a test wants it to.
    def no_more_threads(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done = Recorder()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="new thread"):
        patch.setattr(threading.Thread, "start", no_more_threads)
        timer.call_later(0, done, "lost")
    timer.call_later(0, done, "found")
    assert done.wait() == ["found"]
    fence(timer)
    assert done.items == ["found"]

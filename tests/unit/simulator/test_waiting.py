"""The waits of a simulated charge point, and what ends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from support import DEADLINE

from ocppsync.simulator.jobs import Job
from ocppsync.simulator.waiting import Waiting


def ends(wait: Callable[[], object], act: Callable[[], object]) -> float:
    """Wait on another thread, act, and return the seconds until the wait has ended."""
    thread = threading.Thread(target=wait, name="test-wait")
    thread.start()
    thread.join(0.02)
    assert thread.is_alive()
    began = time.monotonic()
    act()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    return time.monotonic() - began


def notify(waiting: Waiting) -> None:
    with waiting.changed:
        waiting.changed.notify_all()


def test_waits_follow_the_pace() -> None:
    waiting = Waiting(1000)
    began = time.monotonic()
    waiting.pause(20)
    assert waiting.for_news(20, waiting.news) == 20
    assert 0.04 <= time.monotonic() - began < 5


def pause(waiting: Waiting, seconds: float) -> None:
    waiting.pause(seconds)


def for_news(waiting: Waiting, seconds: float) -> None:
    waiting.for_news(seconds, waiting.news)


every_wait = pytest.mark.parametrize("wait", [pause, for_news])


@every_wait
def test_stop_ends_a_wait(wait: Callable[[Waiting, float], None]) -> None:
    waiting = Waiting(1)
    ends(lambda: wait(waiting, 1000), waiting.stop)


@every_wait
def test_a_wait_may_be_longer_than_a_condition_takes(wait: Callable[[Waiting, float], None]) -> None:
    waiting = Waiting(0.5)
    ends(lambda: wait(waiting, 10.0 * threading.TIMEOUT_MAX), waiting.stop)


def test_a_pause_ends_with_its_condition() -> None:
    waiting, done = Waiting(1), threading.Event()

    def act() -> None:
        done.set()
        notify(waiting)

    ends(lambda: waiting.pause(1000, until=done.is_set), act)


@pytest.mark.parametrize("change", ["news", "interruption"])
def test_news_end_a_wait_and_it_says_how_long_it_was(change: str) -> None:
    waiting, waited = Waiting(10), []

    def act() -> None:
        with waiting.changed:
            if change == "news":
                waiting.news += 1
            else:
                waiting.interruption = "Remote"
            waiting.changed.notify_all()

    ends(lambda: waited.append(waiting.for_news(1000, 0)), act)
    assert 0.1 < waited[0] < 1000


def test_news_that_came_before_the_wait_end_it() -> None:
    waiting = Waiting(1)
    waiting.news += 1
    assert waiting.for_news(1000, 0) < 1000


def test_a_job_waits_for_the_state_or_its_end() -> None:
    waiting, done = Waiting(1), threading.Event()
    results: list[bool] = []

    def act() -> None:
        done.set()
        notify(waiting)

    job = Job("test-job", lambda job: None)
    ends(lambda: results.append(waiting.until(job, done.is_set)), act)
    done.clear()
    ends(lambda: results.append(waiting.until(job, done.is_set)), job.cancel)
    assert results == [True, False]
    waiting.stop()
    assert waiting.until(Job("test-job", lambda job: None), lambda: True) is False

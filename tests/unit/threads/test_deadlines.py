"""The deadlines of a connection's CALLs: each is kept, with one appointment for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from intruder import Intruder

from ocppsync.testing.inline import Clock
from ocppsync.threads.deadlines import Deadlines
from ocppsync.threads.timer import TimerHandle


class Job:
    """Something that takes time."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


def appointments(clock: Clock) -> int:
    return int(repr(clock).partition("appointments=")[2].rstrip(">"))


def test_each_job_has_its_own_time(clock: Clock) -> None:
    expired: list[tuple[float, Job]] = []
    began = clock.now()
    deadlines = Deadlines[Job](clock, 10, lambda job: expired.append((clock.now() - began, job)))
    jobs = [Job() for _ in range(3)]
    for job in jobs:
        deadlines.begin(job)
        clock.advance(3)
    clock.advance(100)
    assert expired == [(pytest.approx(10), jobs[0]), (pytest.approx(13), jobs[1]), (pytest.approx(16), jobs[2])]


def test_one_that_fails_to_expire_does_not_save_the_others(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    expired: list[Job] = []

    def expire(job: Job) -> None:
        expired.append(job)
        if job is first:
            raise ValueError("broken")

    deadlines = Deadlines[Job](clock, 10, expire)
    first, second = Job(), Job()
    for job in (first, second):
        deadlines.begin(job)
        clock.advance(1)
    clock.advance(100)
    assert expired == [first, second]
    assert "ValueError: broken" in caplog.text


def test_what_ended_in_time_does_not_expire(clock: Clock) -> None:
    expired: list[Job] = []
    deadlines = Deadlines[Job](clock, 10, expired.append)
    first, second, third = Job(), Job(), Job()
    for job in (first, second, third):
        deadlines.begin(job)
    deadlines.end(first)
    deadlines.end(third)
    clock.advance(11)
    assert expired == [second]
    deadlines.end(second)  # its handler came back after all


def test_jobs_that_come_later_are_watched_as_well(clock: Clock) -> None:
    expired: list[Job] = []
    deadlines = Deadlines[Job](clock, 10, expired.append)
    for _ in range(3):
        job = Job()
        deadlines.begin(job)
        clock.advance(25)
        assert expired.pop() is job
    assert appointments(clock) == 0


def test_a_job_that_expires_may_begin_another(clock: Clock) -> None:
    expired: list[Job] = []
    again = Job()

    def expire(job: Job) -> None:
        expired.append(job)
        if job is not again:
            deadlines.begin(again)

    deadlines = Deadlines[Job](clock, 10, expire)
    first = Job()
    deadlines.begin(first)
    clock.advance(10)
    assert expired == [first]
    assert appointments(clock) == 1
    clock.advance(10)
    assert expired == [first, again]


def test_many_jobs_make_one_appointment(clock: Clock) -> None:
    deadlines = Deadlines[Job](clock, 10, lambda job: None)
    for _ in range(1000):
        job = Job()
        deadlines.begin(job)
        deadlines.end(job)
        clock.advance(0.001)
    assert appointments(clock) == 1


@pytest.mark.parametrize("order", ["the job ends first", "the connection ends first"])
def test_nothing_is_left_of_a_connection_that_ended(clock: Clock, order: str) -> None:
    deadlines = Deadlines[Job](clock, 10, lambda job: None)
    job = Job()
    deadlines.begin(job)
    if order == "the job ends first":
        deadlines.end(job)
        assert appointments(clock) == 1
        deadlines.close()
    else:
        deadlines.close()
        assert appointments(clock) == 1
        deadlines.end(job)
    clock.advance(0)
    assert clock.jump() is False


def test_a_job_that_outlives_its_connection_expires_all_the_same(clock: Clock) -> None:
    expired: list[Job] = []
    deadlines = Deadlines[Job](clock, 10, expired.append)
    job = Job()
    deadlines.begin(job)
    deadlines.close()
    clock.advance(10)
    assert expired == [job]
    assert appointments(clock) == 0


def test_a_connection_without_jobs_ends(clock: Clock) -> None:
    deadlines = Deadlines[Job](clock, 10, lambda job: None)
    deadlines.close()
    deadlines.close()
    assert not clock.jump()


def test_a_job_that_begins_after_the_end_is_watched(clock: Clock) -> None:
    expired: list[Job] = []
    deadlines = Deadlines[Job](clock, 10, expired.append)
    first, second = Job(), Job()
    deadlines.begin(first)
    deadlines.end(first)
    deadlines.close()
    deadlines.begin(second)
    clock.advance(10)
    assert expired == [second]


def test_a_connection_that_ends_while_a_job_expires_makes_no_second_appointment(clock: Clock) -> None:
    late = Job()

    def expire(job: Job) -> None:
        if job is not late:
            deadlines.close()
            deadlines.begin(late)

    deadlines = Deadlines[Job](clock, 10, expire)
    deadlines.begin(Job())
    clock.advance(10)
    assert appointments(clock) == 1


class _Interrupted(Clock):
    """A clock that has another thread come where it is asked for something."""

    def __init__(self) -> None:
        super().__init__()
        self.on_now: Callable[[], object] | None = None
        self.on_call_at: Callable[[], object] | None = None

    def now(self) -> float:
        if self.on_now is not None:
            self.on_now()
        return super().now()

    def call_at(self, when: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        if self.on_call_at is not None:
            self.on_call_at()
        return super().call_at(when, function, *args)


def test_two_jobs_that_begin_at_once_make_one_appointment() -> None:
    clock = _Interrupted()
    deadlines = Deadlines[Job](clock, 10, lambda job: None)
    intruder = Intruder(lambda: deadlines.begin(Job()))
    deadlines._lock = intruder.lock
    clock.on_call_at = intruder.come
    deadlines.begin(Job())
    intruder.result()
    assert appointments(clock) == 1


def test_a_job_that_ends_as_it_is_found_overdue_leaves_the_others_watched() -> None:
    clock = _Interrupted()
    expired: list[Job] = []
    deadlines = Deadlines[Job](clock, 10, expired.append)
    first, second = Job(), Job()
    for job in (first, second):
        deadlines.begin(job)
    intruder = Intruder(lambda: deadlines.end(first))
    deadlines._lock = intruder.lock
    clock.on_now = intruder.come
    clock.advance(10)
    intruder.result()
    assert expired == [first, second], "it had not ended when it was found"

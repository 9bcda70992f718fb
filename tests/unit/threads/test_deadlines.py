"""The deadlines of a connection's CALLs: each is kept, with one appointment for all."""

from __future__ import annotations

import pytest

from ocppsync.testing.inline import Clock
from ocppsync.threads.deadlines import Deadlines


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

"""When periodic messages are due."""

from __future__ import annotations

import math
import time

from ocppsync.simulator.timetable import Job, Timetable, seconds_of_the_day


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.intervals = [2, 3, 0]
        self.ran: list[tuple[float, int]] = []

    def job(self, index: int) -> Job:
        return Job(lambda: self.intervals[index], lambda: self.ran.append((self.now, self.intervals[index])))

    def timetable(self) -> Timetable:
        return Timetable([self.job(index) for index in range(len(self.intervals))], lambda: self.now)


def run(clock: Clock, timetable: Timetable, until: float) -> None:
    while (wait := timetable.seconds_left()) + clock.now <= until:
        clock.now += wait
        for job in timetable.due():
            job.run()


def test_jobs_are_due_at_the_multiples_of_their_intervals() -> None:
    clock = Clock()
    timetable = clock.timetable()
    assert timetable.due() == []
    run(clock, timetable, 6)
    assert clock.ran == [(2, 2), (3, 3), (4, 2), (6, 2), (6, 3)]


def test_what_was_missed_is_made_up_once() -> None:
    clock = Clock()
    timetable = clock.timetable()
    clock.now = 7.5
    assert len(timetable.due()) == 2
    assert timetable.due() == []
    assert timetable.seconds_left() == 0.5


def test_intervals_may_change() -> None:
    clock = Clock()
    clock.intervals = [0]
    timetable = clock.timetable()
    assert timetable.seconds_left() == math.inf
    clock.now = 5
    clock.intervals = [4]
    assert timetable.due() == [], "an interval that is new is not due at once"
    assert timetable.seconds_left() == 3
    run(clock, timetable, 8)
    clock.intervals = [0]
    clock.now = 50
    assert timetable.due() == []
    assert clock.ran == [(8, 4)]


def test_a_clock_that_starts_again_is_a_new_period() -> None:
    clock = Clock()
    clock.now = 86_399
    timetable = clock.timetable()
    assert timetable.seconds_left() == 1
    clock.now = 0
    assert len(timetable.due()) == 2


def test_rounding_neither_loses_nor_repeats_a_period() -> None:
    clock = Clock()
    clock.intervals = [7]
    timetable = clock.timetable()
    for _ in range(1000):
        clock.now += timetable.seconds_left() / 3
        clock.now += timetable.seconds_left()
        assert len(timetable.due()) == 1
        assert timetable.due() == []


def test_the_day_begins_at_midnight_utc() -> None:
    now = time.gmtime()
    expected = now.tm_hour * 3600 + now.tm_min * 60 + now.tm_sec
    assert (seconds_of_the_day() - expected) % 86_400 < 5

"""When the periodic messages of a simulated charge point are due."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Job", "Timetable", "seconds_of_the_day"]

_DAY = 86_400
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Job:
    """Something to do periodically."""

    interval: Callable[[], int]
    """Returns the seconds at pace 1 between two times; 0: never."""
    run: Callable[[], object]


class Timetable:
    """When jobs are due: at the multiples of their intervals on a clock. Not thread-safe.

    After an interval has changed, its next multiple is the first one.

    Args:
        jobs: the jobs.
        now: the clock in seconds at pace 1.
    """

    def __init__(self, jobs: Sequence[Job], now: Callable[[], float]) -> None:
        self._now = now
        self._jobs = jobs
        self._seen = [self._at(job.interval()) for job in jobs]

    def due(self) -> list[Job]:
        """Return the jobs that have become due since the last time."""
        due = []
        for index, job in enumerate(self._jobs):
            before, (interval, period) = self._seen[index], self._at(job.interval())
            self._seen[index] = (interval, period)
            if interval == before[0] and period != before[1]:
                due.append(job)
        return due

    def seconds_left(self) -> float:
        """Return the seconds at pace 1 until the next job is due; infinity if none is."""
        now = self._now()
        left = [interval * (period + 1) - now for interval, period in map(self._at, self._intervals()) if interval]
        return max(0.0, min(left, default=math.inf))

    def _intervals(self) -> list[int]:
        return [job.interval() for job in self._jobs]

    def _at(self, interval: int) -> tuple[int, int]:
        """Return an interval, and the number of the period that the clock is in."""
        return interval, math.floor(self._now() / interval + _ROUNDING) if interval else 0


def seconds_of_the_day() -> float:
    """Return the seconds since midnight UTC; clock-aligned data is counted from there (C16 §9.1.5)."""
    return time.time() % _DAY

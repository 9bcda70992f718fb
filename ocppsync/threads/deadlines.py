"""The deadlines of all CALLs of a connection, with one appointment of the timer: the oldest CALL is due first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .pool import run_logged
from .timer import Timer, TimerHandle

_Job = TypeVar("_Job")


class Deadlines(Generic[_Job]):
    """Gives each job the same time, and reports the jobs that did not end in time.

    An appointment per CALL would be made and cancelled each time, although hardly any CALL reaches its deadline.

    Args:
        timer: calls ``expire``.
        seconds: how long a job may take.
        expire: called with each job that takes longer, on the timer's thread.
    """

    def __init__(self, timer: Timer, seconds: float, expire: Callable[[_Job], object]) -> None:
        self._timer = timer
        self._seconds = seconds
        self._expire = expire
        self._lock = threading.Lock()  # guards everything below; never held during ``expire``
        self._jobs: dict[_Job, float] = {}  # when each is due, the oldest first
        self._appointment: TimerHandle | None = None
        self._watched = False  # whether there is one, or the timer looks at the jobs now
        self._closed = False

    def begin(self, job: _Job) -> None:
        """Start the time of a job."""
        due = self._timer.now() + self._seconds
        with self._lock:
            self._jobs[job] = due
            if not self._watched:
                self._appointment = self._timer.call_at(due, self._check)
                self._watched = True

    def end(self, job: _Job) -> None:
        """Note that a job has ended."""
        with self._lock:
            self._jobs.pop(job, None)
            if self._closed:
                self._leave()

    def close(self) -> None:
        """Cancel the appointment once all jobs have ended: no more begin."""
        with self._lock:
            self._closed = True
            self._leave()

    def _leave(self) -> None:
        assert self._lock.locked()
        if not self._jobs and self._appointment is not None:
            self._appointment.cancel()
            self._appointment, self._watched = None, False

    def _check(self) -> None:
        # On the timer.
        while (job := self._overdue()) is not None:
            # If it fails, the jobs that follow must still expire.
            run_logged(self._expire, job)

    def _overdue(self) -> _Job | None:
        with self._lock:
            self._appointment = None
            if not self._jobs:
                self._watched = False
                return None
            job = next(iter(self._jobs))
            due = self._jobs[job]
            if due > self._timer.now():
                self._appointment = self._timer.call_at(due, self._check)
                return None
            del self._jobs[job]
            return job

"""One appointment with the timer for all CALLs of a connection that wait for their answers: the oldest is due first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .pool import run_logged
from .timer import Timer, TimerHandle

_Job = TypeVar("_Job")


class Deadlines(Generic[_Job]):
    """Gives each job so many seconds from its beginning, and reports what was not ended by then.

    An appointment for each would be made and cancelled with every CALL, though hardly any comes to its end so.

    Args:
        timer: calls.
        seconds: how long a job may take.
        expire: is called with each job that took longer, on the timer.
    """

    def __init__(self, timer: Timer, seconds: float, expire: Callable[[_Job], object]) -> None:
        self._timer = timer
        self._seconds = seconds
        self._expire = expire
        self._lock = threading.Lock()  # guards all below; never held while a job expires
        self._jobs: dict[_Job, float] = {}  # when each is due, the oldest first
        self._appointment: TimerHandle | None = None
        self._watched = False  # whether there is one, or the timer is looking at the jobs just now
        self._closed = False

    def begin(self, job: _Job) -> None:
        """Let the time of a job run."""
        due = self._timer.now() + self._seconds
        with self._lock:
            self._jobs[job] = due
            if not self._watched:
                self._appointment = self._timer.call_at(due, self._check)
                self._watched = True

    def end(self, job: _Job) -> None:
        """Note that a job has ended, unless it has expired."""
        with self._lock:
            self._jobs.pop(job, None)
            if self._closed:
                self._leave()

    def close(self) -> None:
        """Keep no appointment once the jobs have ended: no more come."""
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
            # Where it fails, nobody would look at the jobs that follow.
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

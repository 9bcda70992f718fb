"""What the threads of a simulated charge point wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .jobs import Job

if TYPE_CHECKING:
    from .. import v16, v201

__all__ = ["Waiting"]


class Waiting:
    """Waits that end at once when the charge point stops, or when they are told to look again.

    Args:
        pace: the speed.

    Attributes:
        changed: guards the state of the charge point that threads wait for; notified when they have to check it.
        stopping: whether the charge point was stopped.
        interruption: why the running session has to end; None: it goes on.
        news: how often something was signalled.
    """

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self.changed = threading.Condition()
        self.stopping = False
        self.interruption: v16.Reason | v201.ReasonEnumType | None = None
        self.news = 0

    def stop(self) -> None:
        """End all waits."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    def pause(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Wait for some seconds at pace 1, or until a function of the state returns True."""
        with self.changed:
            self.changed.wait_for(lambda: self.stopping or until(), self._real(seconds))

    def for_news(self, seconds: float, news: int) -> float:
        """Wait for some seconds at pace 1, or a signal since ``news`` was read; return how many have passed."""
        began = time.monotonic()
        with self.changed:
            woken = self.changed.wait_for(
                lambda: self.stopping or self.interruption is not None or self.news != news,
                self._real(seconds),
            )
        return min(seconds, (time.monotonic() - began) * self._pace) if woken else seconds

    def until(self, job: Job, predicate: Callable[[], bool]) -> bool:
        """Wait until a function of the state returns True; return whether it did before the job was cancelled."""
        with job.on_cancel(self._look_again), self.changed:
            self.changed.wait_for(lambda: self.stopping or job.cancelled or predicate())
            return not (self.stopping or job.cancelled)

    def _real(self, seconds: float) -> float:
        # A Condition takes no more: what the central system sets may be longer, and is multiplied by the attempts.
        return min(seconds / self._pace, threading.TIMEOUT_MAX)

    def _look_again(self) -> None:
        with self.changed:
            self.changed.notify_all()

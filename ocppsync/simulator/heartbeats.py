"""When the Heartbeats of a simulated charge point are due."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

__all__ = ["Heartbeats"]


class Heartbeats:
    """Counts the time between Heartbeats, in real seconds at every pace. Not thread-safe.

    Args:
        interval: returns the seconds between two; 0: none are sent.
    """

    def __init__(self, interval: Callable[[], int]) -> None:
        self._interval = interval
        self._last = 0.0

    def restart(self) -> None:
        """Count from now on."""
        self._last = time.monotonic()

    def are_due(self) -> bool:
        """Return whether one is due; then the next one is counted from now on."""
        due = time.monotonic() >= self.next_at
        if due:
            self.restart()
        return due

    @property
    def next_at(self) -> float:
        """When the next one is due, by `time.monotonic`; infinity: never."""
        interval = self._interval()
        return self._last + min(interval, threading.TIMEOUT_MAX) if interval else math.inf

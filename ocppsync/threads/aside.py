"""Threads for what must not run on the timer's thread, because it may block: functions of the application."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .joining import join_all, living
from .pool import run_logged

__all__ = ["Aside"]

RETRY = 1.0
"""Seconds after which a thread that could not be started is tried again."""


class Aside:
    """Starts a daemon thread for each function, mostly none: few things happen on the timer.

    The handler pool would not do: while all of its threads wait for deadlines, it has none for what they cause.

    Args:
        name: the name of the threads.
        call_later: that of the timer.
    """

    def __init__(self, name: str, call_later: Callable[..., object]) -> None:
        self._name = name
        self._call_later = call_later
        self._lock = threading.Lock()  # guards the threads
        self._threads: list[threading.Thread] = []

    def start(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function(*args)`` on a thread of its own; log any exception.

        If no thread can be started it is tried again every second, until the timer is closed.
        """
        # Ends with the function, which is the application's.
        thread = threading.Thread(target=run_logged, args=(function, *args), name=self._name, daemon=True)
        try:
            with self._lock:
                thread.start()  # under the lock: another thread must not join it before it has started
                self._threads = living([*self._threads, thread])
        except RuntimeError:
            self._call_later(RETRY, self.start, function, *args)

    def join(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for the threads, except the calling one; the rest are left behind."""
        with self._lock:
            threads = self._threads  # replaced, never changed
        join_all(threads, timeout)

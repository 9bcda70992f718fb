"""Threads for what must not run on the timer's thread, because it may block: functions of the application."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

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
        self._threads: set[threading.Thread] = set()

    def start(self, function: Callable[..., object], *args: Any) -> None:
        """Call ``function(*args)`` on a thread of its own; log any exception.

        If no thread can be started it is tried again every second, until the timer is closed.
        """
        thread = threading.Thread(target=self._run, args=(function, args), name=self._name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._remove(thread)
            self._call_later(RETRY, self.start, function, *args)

    def _run(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        # Ends with the function, which is the application's.
        try:
            run_logged(function, *args)
        finally:
            self._remove(threading.current_thread())

    def _remove(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.discard(thread)

    def join(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for the threads, except the calling one; the rest are left behind."""
        with self._lock:
            threads = self._threads - {threading.current_thread()}
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

"""Waits for the ends of threads, at a close."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

__all__ = ["join_all", "living"]


def living(threads: Iterable[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that have started and not ended.

    Whoever waits for threads keeps them as long as that: a thread that removes itself from a list still has a last
    line to run, and a close that looks at that moment would not wait for it.
    """
    return [thread for thread in threads if thread.is_alive()]


def join_all(threads: Iterable[threading.Thread], timeout: float) -> bool:
    """Wait for threads that have started to end; return whether all have within ``timeout`` seconds.

    The calling thread does not count, if it is one of them.
    """
    deadline = time.monotonic() + timeout
    others = [thread for thread in threads if thread is not threading.current_thread()]
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not living(others)

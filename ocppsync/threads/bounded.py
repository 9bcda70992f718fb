"""Executors that run their tasks on a shared pool, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .pool import Executor, log_failure

__all__ = ["BoundedExecutor"]

_Task = tuple[Callable[..., object], tuple[Any, ...]]


class BoundedExecutor:
    """Runs at most ``width`` tasks at a time, begun in the order of their submission, on an executor that others share.

    After each task it goes to the end of the shared executor's queue, so that many tasks here do not delay the others.
    Tasks that it has accepted run even if the shared executor is closed meanwhile.

    Args:
        executor: runs the tasks.
        width: how many tasks may run at once; with 1 they run one after the other.
        limit: how many tasks may wait; None: any number.

    Attributes:
        before_wait: that of the shared executor.
        closed: whether `close` was called.
    """

    def __init__(self, executor: Executor, width: int = 1, limit: int | None = None) -> None:
        self._executor = executor
        self.before_wait = executor.before_wait
        self._width = width
        self._limit = limit
        self._lock = threading.Lock()  # guards all below; never held while a task runs
        # A list, since a deque needs more memory, and few tasks wait.
        self._waiting: list[_Task] = []
        self._running = 0  # tasks that run, or for which the shared executor was asked
        self.closed = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<BoundedExecutor {state} running={self._running}/{self._width} waiting={len(self._waiting)}>"

    def __len__(self) -> int:
        """How many tasks wait; running ones do not count."""
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether a task runs or waits."""
        return self._running > 0

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        """Run ``function(*args)`` after the tasks before it have begun.

        Return False, and drop it, if ``limit`` tasks wait, or if this or the shared executor is closed.

        Raises:
            RuntimeError: the shared executor cannot start a thread; the task is dropped.
        """
        with self._lock:
            if self.closed or (self._limit is not None and len(self._waiting) >= self._limit):
                return False
            # Under the lock, so that a task that was accepted before `close` is known to the shared executor after it.
            if self._running < self._width:
                if not self._executor.submit(self._run):
                    return False
                self._running += 1
            self._waiting.append((function, args))
            return True

    def drop_last(self) -> bool:
        """Drop the task that was submitted last, if it still waits; return whether it did."""
        with self._lock:
            if self._waiting:
                self._waiting.pop()
                return True
            return False

    def close(self) -> list[_Task]:
        """Accept no more tasks; drop those that wait, and return them."""
        with self._lock:
            self.closed = True
            dropped, self._waiting = self._waiting, []
            return dropped

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                function, args = self._waiting.pop(0)
            try:
                function(*args)
            except BaseException as error:
                log_failure(function, error)
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
            if self._executor.submit(self._run):
                return

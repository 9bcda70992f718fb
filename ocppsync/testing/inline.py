"""Handlers on the thread that tests, and a clock that moves when it is told to: a central system without threads."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..threads.pool import run_logged
from ..threads.timer import Timer, TimerHandle

__all__ = ["Clock", "InlineExecutor"]


class Clock(Timer):
    """A clock that begins at 0 and moves only in `advance`.

    Pings, timeouts and everything else that the library does at a time of its own is done on the thread that moves it.
    The time of day, as `utc_now` tells it, goes on as ever.

    Attributes:
        after_step: called after each appointment, and at the end.
    """

    def __init__(self) -> None:
        super().__init__("ocppsync-clock")
        self._now = 0.0
        self.after_step: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<Clock {self._now:g} s appointments={len(self._heap)}>"

    def now(self) -> float:
        """Return the seconds that have passed on this clock."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass, and do what falls due meanwhile, in order, each thing at its time.

        Args:
            seconds: 0 does what is due already.

        Raises:
            ValueError: time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot be moved by {seconds:g} s")
        end = self._now + seconds
        while (handle := self._pop(end)) is not None:
            self._do(handle)
        self._now = max(self._now, end)
        self._step()

    def jump(self) -> bool:
        """Move to the next appointment, whenever it is, and keep it; return False when there is none."""
        handle = self._pop(float("inf"))
        if handle is not None:
            self._do(handle)
        return handle is not None

    def _do(self, handle: TimerHandle) -> None:
        handle.run()
        self._step()

    def _step(self) -> None:
        if self.after_step is not None:
            self.after_step()

    def _pop(self, end: float) -> TimerHandle | None:
        with self._changed:
            while self._heap and self._heap[0][0] <= end:
                when, _, handle = heapq.heappop(self._heap)
                if handle.task is not None:
                    self._now = max(self._now, when)
                    return handle
        return None

    def _start_thread(self) -> None:
        # Whoever moves the clock does its work.
        pass


class InlineExecutor:
    """Runs tasks on the thread of whoever calls `run`, in the order they came; see `Workers`.

    Threads other than the one that made it may call everything: each runs what it finds.

    Args:
        clock: moved where the thread that made this executor would otherwise wait for ever.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._home = threading.get_ident()
        self._lock = threading.Lock()  # guards all below; never held while a task runs
        self._tasks: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._running: list[int] = []  # the threads that run a task, each as often as its tasks are nested
        self._closed = False
        clock.after_step = self.run

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<InlineExecutor {state} waiting={len(self._tasks)} running={len(self._running)}>"

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        """Keep a task for the next `run`; after `close`, drop it and return False."""
        with self._lock:
            if self._closed:
                return False
            self._tasks.append((function, args))
        return True

    def run(self) -> None:
        """Run what waits, and what comes of it, on the calling thread.

        Nothing happens within a task: who called the outer `run` goes on when that task is done, as the next handler
        would if there were one handler thread.
        """
        if not self.owns_this_thread:
            while self._run_one():
                pass

    def _run_one(self) -> bool:
        this = threading.get_ident()
        with self._lock:
            if not self._tasks:
                return False
            function, args = self._tasks.popleft()
            self._running.append(this)
        try:
            run_logged(function, *args)
        finally:
            with self._lock:
                self._running.remove(this)
        return True

    def before_wait(self, future: Future[Any]) -> None:
        """Bring the future about: run what waits, and then let time pass up to its timeout.

        Only the thread that made this executor lets time pass: on it, nobody else is there who could do so.
        """
        while not future.done():
            if self._run_one():
                continue
            if threading.get_ident() != self._home or not self._clock.jump():
                return

    @property
    def stuck_since(self) -> float | None:
        """None: there is no thread to be stuck."""
        return None

    @property
    def owns_this_thread(self) -> bool:
        """Whether a task runs on the calling thread."""
        return threading.get_ident() in self._running

    def wait_idle(self, timeout: float) -> bool:
        """Run what waits; return True."""
        while self._run_one():
            pass
        return True

    def close(self, timeout: float) -> bool:
        """Take no more tasks and run those that were taken; return True."""
        with self._lock:
            self._closed = True
        return self.wait_idle(timeout)

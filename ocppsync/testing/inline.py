"""A central system without threads: handlers run on the calling thread, and a clock that the test advances."""

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
    """A clock that starts at 0 and stands still until `advance` is called.

    Pings, timeouts and other timed work run on the thread that advances the clock. The time of day (`utc_now`) is not
    affected.

    Attributes:
        after_step: called after each scheduled call and at the end of `advance`.
    """

    def __init__(self) -> None:
        super().__init__("ocppsync-clock")
        self._now = 0.0
        self.after_step: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<Clock {self._now:g} s appointments={len(self._heap)}>"

    def now(self) -> float:
        """Return the time of this clock in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance the clock, and run each scheduled call at its time, in order.

        Args:
            seconds: 0 runs the calls that are due now.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"cannot advance the clock by {seconds:g} s: expected 0 or more")
        end = self._now + seconds
        while (handle := self._pop(end)) is not None:
            self._run_call(handle)
        self._now = max(self._now, end)
        self._step()

    def jump(self) -> bool:
        """Advance to the next scheduled call and run it; return False if there is none."""
        handle = self._pop(float("inf"))
        if handle is not None:
            self._run_call(handle)
        return handle is not None

    def _run_call(self, handle: TimerHandle) -> None:
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
        # The thread that advances the clock runs the scheduled calls.
        pass


class InlineExecutor:
    """Runs tasks in order on the thread that calls `run`, instead of on `Workers`.

    Thread-safe: each thread that calls `run` runs the waiting tasks.

    Args:
        clock: advanced when the thread that created this executor would otherwise wait forever.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._home = threading.get_ident()
        self._lock = threading.Lock()  # guards the state below; never held while a task runs
        self._tasks: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._running: list[int] = []  # the thread of each running task; a thread may run nested tasks
        self._closed = False
        clock.after_step = self.run

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<InlineExecutor {state} waiting={len(self._tasks)} running={len(self._running)}>"

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        """Queue a task for the next `run`; after `close`, drop the task and return False."""
        with self._lock:
            if self._closed:
                return False
            self._tasks.append((function, args))
        return True

    def run(self) -> None:
        """Run the queued tasks, and those that they submit, on the calling thread.

        Inside a task it does nothing: the outer `run` continues after that task, as a single handler thread would.
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
        """Run queued tasks until the future is done, then advance the clock from call to call until it is done.

        Only the thread that created this executor advances the clock: while it waits, no other thread would.
        """
        while not future.done():
            if self._run_one():
                continue
            if threading.get_ident() != self._home or not self._clock.jump():
                return

    @property
    def stuck_since(self) -> float | None:
        """None: there are no worker threads."""
        return None

    @property
    def owns_this_thread(self) -> bool:
        """Whether the calling thread runs a task."""
        return threading.get_ident() in self._running

    def wait_idle(self, timeout: float) -> bool:
        """Run the queued tasks; return True."""
        while self._run_one():
            pass
        return True

    def close(self, timeout: float) -> bool:
        """Accept no more tasks, run the queued ones, and return True."""
        with self._lock:
            self._closed = True
        return self.wait_idle(timeout)

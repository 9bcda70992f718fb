"""One thread that calls functions at a given time: for pings, and deadlines of CALLs, handshakes and closes."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ..faults.log_lines import log_line
from .aside import Aside
from .callables import name_of

_logger = logging.getLogger(__name__)
_COMPACT_ABOVE = 256
_ASIDE_ENDS = 1.0
"""Seconds that `Timer.close` waits for functions of the application."""
_Task = tuple[Callable[..., object], tuple[Any, ...]]


class TimerHandle:
    """One appointment. Any thread may call `cancel`, at any time, more than once."""

    __slots__ = ("_timer", "task")

    def __init__(self, timer: Timer, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._timer: Timer | None = timer
        self.task: _Task | None = (function, args)

    def cancel(self) -> None:
        """Cancel the appointment, unless it has begun."""
        timer, self._timer = self._timer, None
        if timer is not None:
            # Release the task now: the heap keeps the empty handle until its time or a compaction.
            self.task = None
            with timer._changed:
                timer._cancelled += 1
                # CALLs are answered long before their deadline. Without this the heap would hold all of the last half
                # minute.
                if timer._cancelled > _COMPACT_ABOVE and timer._cancelled * 2 > len(timer._heap):
                    timer._compact()

    def run(self) -> None:
        """Call the function, unless it was cancelled; for the timer's thread."""
        task, self.task, self._timer = self.task, None, None
        if task is None:
            return
        function, args = task
        try:
            function(*args)
        except BaseException as error:
            # SystemExit too: all other appointments depend on this thread.
            log_line(_logger, logging.ERROR, "%s failed in the timer", name_of(function), error=error)


class Timer:
    """Calls functions at a time of its clock, on one thread, which starts with the first appointment.

    The functions must not block: one that does delays all others. So they call nothing of the application, but hand it
    to `call_aside`.

    Attributes:
        now: returns the time of its clock, which is `time.monotonic`, in seconds.
        aside: threads for functions of the application.
        thread_id: the identifier of its thread while that runs, else None.
    """

    now: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, name: str) -> None:
        self._name = name
        # Guards the heap, the counters and the thread's start; never held while an appointment runs.
        self._changed = threading.Condition(threading.Lock())
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._thread: threading.Thread | None = None
        self._closed = False
        self.aside = Aside(f"{name}-aside", self.call_later)
        self.thread_id: int | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Timer {self._name} {state} appointments={len(self._heap)}>"

    def call_at(self, when: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Call ``function(*args)`` at the time ``when``; after `close`, do nothing.

        Raises:
            RuntimeError: the thread cannot be started.
        """
        handle = TimerHandle(self, function, args)
        with self._changed:
            if self._closed:
                return handle
            if self._thread is None:
                self._start_thread()
            heapq.heappush(self._heap, (when, next(self._order), handle))
            if self._heap[0][2] is handle:
                self._changed.notify()
        return handle

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        thread.start()
        self._thread = thread

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Call ``function(*args)`` after this many seconds."""
        return self.call_at(self.now() + seconds, function, *args)

    def call_aside(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function of the application: at once, or, on the timer's thread, on a thread of its own."""
        if threading.get_ident() == self.thread_id:
            self.aside.start(function, *args)
        else:
            function(*args)

    def close(self) -> None:
        """Drop all appointments and end the thread; return once it has ended, unless it is the calling thread.

        Functions of the application that it caused have a second to end.
        """
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.aside.join(_ASIDE_ENDS)

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].task is not None]
        heapq.heapify(self._heap)
        self._cancelled = 0

    def _run(self) -> None:
        # Ends: it blocks only in the wait in _next, which close() wakes.
        self.thread_id = threading.get_ident()
        while (handle := self._next()) is not None:
            handle.run()
        self.thread_id = None  # the system may give the number to another thread

    def _next(self) -> TimerHandle | None:
        with self._changed:
            while not self._closed:
                now = self.now()
                if self._heap and self._heap[0][0] <= now:
                    return heapq.heappop(self._heap)[2]
                # A wait of centuries would overflow.
                self._changed.wait(min(self._heap[0][0] - now, threading.TIMEOUT_MAX) if self._heap else None)
            return None

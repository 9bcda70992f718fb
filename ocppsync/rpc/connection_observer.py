"""Tells the observers of one connection what happens, in order, and never on the timer's thread."""

from __future__ import annotations

import threading

from ..events import Event, Observer
from ..threads.pool import run_logged
from ..threads.timer import Timer

__all__ = ["ConnectionObserver"]

_ROOM = 1024 * 1024
_PER_EVENT = 1024


class ConnectionObserver:
    """Calls an observer on the thread on which an event happens, except for the timer's events.

    All connections share the timer, and an observer may block. So another thread tells what happens on the timer:
    messages at a deadline, `TimedOut`, `HandlerFailed`. It ends once it has told everything. What happens meanwhile
    waits behind those events, so that the order is kept: up to 1 MiB, then the threads of this connection wait.

    Args:
        observe: the observer.
        timer: the timer of the connection.
    """

    __slots__ = ("_lock", "_observe", "_room", "_size", "_teller", "_timer", "_waiting")

    def __init__(self, observe: Observer, timer: Timer) -> None:
        self._observe = observe
        self._timer = timer
        self._lock = threading.Lock()  # guards all below; never held while the observer runs
        # A list, since a deque needs more memory, and few events wait. The first one is being told.
        self._waiting: list[Event] = []
        self._size = 0  # about how many bytes they take
        self._teller: int | None = None  # the thread that tells them
        # Notified when an event was told. Made when a thread first waits for that, since it needs memory, too.
        self._room: threading.Condition | None = None

    def __call__(self, event: Event) -> None:
        """Tell the observer of an event, or have it told."""
        # Without the lock: another thread that queues an event just now does so while this one happens.
        if not self._waiting and threading.get_ident() != self._timer.thread_id:
            self._observe(event)
        else:
            self._queue(event)

    def _queue(self, event: Event) -> None:
        this = threading.get_ident()
        with self._lock:
            # Neither the timer nor the thread that makes room may wait for room.
            while self._size > _ROOM and this not in (self._timer.thread_id, self._teller):
                if self._room is None:
                    self._room = threading.Condition(self._lock)
                self._room.wait()
            first = not self._waiting
            self._waiting.append(event)
            self._size += _size(event)
        if first:
            self._timer.aside.start(self._tell)

    def _tell(self) -> None:
        self._teller = threading.get_ident()
        # Ends: it blocks only in the observer.
        while True:
            event = self._waiting[0]
            run_logged(self._observe, event)
            with self._lock:
                del self._waiting[0]
                self._size -= _size(event)
                if self._room is not None:
                    self._room.notify_all()
                if not self._waiting:
                    self._teller = None
                    return


def _size(event: Event) -> int:
    return _PER_EVENT + len(getattr(event, "text", ""))

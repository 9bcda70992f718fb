"""Tells the observers of one connection its events: `Connected` first and `Closed` last, from any thread."""

from __future__ import annotations

import threading

from ..events import Closed, Connected, Event, MessageSent, Observer

__all__ = ["ConnectionEvents"]


class ConnectionEvents:
    """Tells one observer, which stands for all, the events of one connection.

    Other threads may send over the connection before its reader tells that it was opened, and a handler may want to
    answer after its end. No thread waits here for another one.

    Args:
        observe: the observer; called without the lock, by several threads at once.
    """

    def __init__(self, observe: Observer) -> None:
        self._observe = observe
        self._lock = threading.Lock()  # guards everything below
        self._early: list[Event] | None = []  # what happened before `open` was through; None: it is
        self._telling = 0  # how many calls of `tell` are in the observer
        self._ended = False
        self._closed: Closed | None = None  # to be told by the last of those calls

    def __repr__(self) -> str:
        early = 0 if self._early is None else len(self._early)
        return f"<ConnectionEvents early={early} telling={self._telling} ended={self._ended}>"

    def open(self, connected: Connected) -> None:
        """Tell that the connection was opened, and then what has happened meanwhile; on the reader."""
        self._observe(connected)
        while events := self._take_early():
            for event in events:
                self._observe(event)

    def _take_early(self) -> list[Event] | None:
        with self._lock:
            # Only once there is nothing more, later events are told at once: they may not overtake these.
            events, self._early = self._early, [] if self._early else None
            return events

    def tell(self, event: Event) -> None:
        """Tell an event, at once or after `open`; a message that would be sent after the end is not told."""
        with self._lock:
            if self._early is not None:
                self._early.append(event)
                return
            if self._ended and isinstance(event, MessageSent):
                return
            self._telling += 1
        try:
            self._observe(event)
        finally:
            closed = self._take_closed()
            if closed is not None:
                self._observe(closed)

    def _take_closed(self) -> Closed | None:
        with self._lock:
            self._telling -= 1
            if self._telling:
                return None
            closed, self._closed = self._closed, None
            return closed

    def close(self, closed: Closed) -> None:
        """Tell that the connection has ended, after the events that other threads are telling; on the reader."""
        with self._lock:
            self._ended, self._early = True, None  # an observer that exits may have ended `open`
            if self._telling:
                self._closed = closed
                return
        self._observe(closed)

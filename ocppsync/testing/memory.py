"""A connection inside this process: two transports without a socket, each the peer of the other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..wire.http import RefusalError
from ..wire.transport import CloseCode, TransportClosedError

__all__ = ["MemoryTransport", "memory_pair"]


@dataclass(frozen=True)
class _Close:
    code: int
    reason: str


@dataclass(frozen=True)
class _Ping:
    pass


@dataclass(frozen=True)
class _Pong:
    pass


# None: the stream ended without a Close.
_Item = str | bytes | _Close | _Ping | _Pong | None


class MemoryTransport:
    """One end of a connection in memory; `memory_pair` makes both. See `Transport` for the methods.

    It handles messages, pings, Closes and broken connections like a WebSocket. It has no byte level: no TLS, no
    compression, no limit on the message size, and no peer that stops reading.

    Args:
        name: the peer's name, for the log.
        now: the clock.

    Attributes:
        on_arrival: called after something arrives, on the sending thread and without a lock; None if the receiver
            waits in `receive`.
        answers_pings: whether pings are answered; False simulates a dead peer.
    """

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._now = now
        self._peer: MemoryTransport | None = None
        # Guards the state below, except what only the receiving thread uses; notified of each arrival and of the end.
        self._changed = threading.Condition()
        self._inbox: deque[_Item] = deque()
        self._idle = False
        self._closing = False
        self._aborted = False
        self._released = False
        self._ended = False
        self._discarding = False
        self.on_arrival: Callable[[], object] | None = None
        self.answers_pings = True
        self.close_code: int | None = None
        self.close_reason = ""
        self.last_heard = now()
        self.on_closing: Callable[[], object] | None = None

    def __repr__(self) -> str:
        state = "released" if self._released else "aborted" if self._aborted else "closing" if self._closing else "open"
        return f"<MemoryTransport {self._name} {state} unread={len(self._inbox)}>"

    @property
    def peer_has_left(self) -> bool:
        """Whether one of the ends has aborted the connection."""
        return self._aborted or (self._peer is not None and self._peer._aborted)

    def open(self) -> None:
        """Do nothing: there is no handshake response to flush."""

    def refuse(self, refusal: RefusalError, code: int) -> bool:
        """Close, since there is no handshake to answer, and mark the receiver as finished."""
        self.on_closing = None
        self.close(code)
        self.release()
        return False

    # Receiving: one thread at a time.

    def receive(self) -> str | None:
        """Wait for the next message and return it; None once the connection has ended."""
        while not self._ended:
            message = self._process(self._wait_for_item())
            if message is not None:
                return message
        return None

    def receive_now(self) -> str | None:
        """Return the next message without waiting; None if there is none or the connection has ended."""
        while not self._ended:
            with self._changed:
                if not self._inbox and not self._aborted:
                    return None
                item = self._inbox.popleft() if self._inbox and not self._aborted else None
            message = self._process(item)
            if message is not None:
                return message
        return None

    @property
    def released(self) -> bool:
        """Whether the receiver has called `release`."""
        return self._released

    @property
    def ended(self) -> bool:
        """Whether the receiver has reached the end of the connection."""
        return self._ended

    def wait_idle(self, timeout: float) -> bool:
        """Wait until the inbox is empty and the receiver waits in `receive`, or until the receiver has finished.

        Returns False after ``timeout`` seconds. The sending thread uses it to wait until its message is processed.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._drained or self._released, timeout)

    @property
    def _drained(self) -> bool:
        return self._idle and not self._inbox and not self._aborted

    def _wait_for_item(self) -> _Item:
        with self._changed:
            self._idle = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._inbox or self._aborted)
            self._idle = False
            return None if self._aborted else self._inbox.popleft()

    def _process(self, item: _Item) -> str | None:
        if item is None:
            self._ended = True
            if self.close_code is None:
                self.close_code = CloseCode.ABNORMAL
            return None
        self.last_heard = self._now()
        if isinstance(item, _Close):
            self._process_close(item)
        elif self._discarding:
            return None
        elif isinstance(item, _Ping) and self.answers_pings:
            self._send_to_peer(_Pong())
        elif isinstance(item, bytes):
            self.fail(CloseCode.UNSUPPORTED_DATA, "OCPP messages are text")
        return item if isinstance(item, str) else None

    def _process_close(self, close: _Close) -> None:
        with self._changed:
            answer = not self._closing
            self._closing = True
        if answer:
            self.close_code, self.close_reason = close.code, close.reason
            self._send_to_peer(close)
        self._ended = True

    def fail(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake and discard further messages; for the receiving thread."""
        self.close(code, reason)
        self._discarding = True

    # Sending: any thread.

    def send_nowait(self, text: str) -> None:
        """Send a message; does not wait until the peer reads it."""
        self._send(text)

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message, which OCPP does not allow (J16 §4.1)."""
        self._send(data)

    def ping(self) -> bool:
        """Send a ping; return False if the connection has ended."""
        try:
            self._send(_Ping())
        except TransportClosedError:
            return False
        return True

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake; does not wait."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            if not self._aborted:
                self.close_code, self.close_reason = code, reason
        # Before sending, because the peer may answer at once.
        if self.on_closing is not None:
            self.on_closing()
        self._send_to_peer(_Close(code, reason))

    def abort(self) -> None:
        """End the connection at both ends at once."""
        with self._changed:
            first, self._aborted = not self._aborted, True
            self._changed.notify_all()
        if first:
            self._send_to_peer(None)

    def release(self) -> None:
        """Mark the receiver as finished."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    def _send(self, item: str | bytes | _Ping) -> None:
        peer = self._peer
        if self._closing or self._aborted or peer is None:
            raise TransportClosedError("the connection is closed", written=False)
        if peer._aborted:
            raise TransportClosedError("the connection broke: the peer aborted it", written=True)
        peer._enqueue(item)

    def _send_to_peer(self, item: _Item) -> None:
        if self._peer is not None:
            self._peer._enqueue(item)

    def _enqueue(self, item: _Item) -> None:
        with self._changed:
            self._inbox.append(item)
            self._changed.notify_all()
        if self.on_arrival is not None:
            self.on_arrival()


def memory_pair(name: str, now: Callable[[], float] = time.monotonic) -> tuple[MemoryTransport, MemoryTransport]:
    """Return the central system's end and the charge point's end of a new connection.

    Args:
        name: the charge point's identity, for the log.
        now: the clock of `last_heard` at both ends.
    """
    central_system, charge_point = MemoryTransport(name, now), MemoryTransport("the central system", now)
    central_system._peer, charge_point._peer = charge_point, central_system
    return central_system, charge_point

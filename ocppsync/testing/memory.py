"""A connection that never leaves this process: two transports, each the peer of the other, without a socket."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

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


# None is the end of the stream, which comes without a Close.
_Item = str | bytes | _Close | _Ping | _Pong | None


class MemoryTransport:
    """One end of a connection in memory; `memory_pair` makes both. `Transport` tells what its methods do.

    It does what a WebSocket does with messages, pings, Closes and broken connections. What belongs to bytes is not
    here: TLS, compression, the longest message, and a peer that does not read.

    Args:
        name: whose messages come in here, for the log.
        now: the clock.

    Attributes:
        on_arrival: called when something has come, on the thread that sent it and without a lock; None: whoever waits
            in `receive` sees it anyway.
        answers_pings: whether a ping gets its pong; False for a peer that seems dead.
    """

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._now = now
        self._peer: MemoryTransport | None = None
        # Guards all below but what the receiving thread alone touches; notified when something comes, or its end.
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

    def open(self) -> None:
        """Do nothing: there is no answer to a handshake."""

    # Receiving: one thread at a time.

    def receive(self) -> str | None:
        """Wait for the next message; None once the connection has ended."""
        while not self._ended:
            message = self._take(self._wait_for_item())
            if message is not None:
                return message
        return None

    def receive_now(self) -> str | None:
        """Return the next message if it is there; None when nothing more has come, or the connection has ended."""
        while not self._ended:
            with self._changed:
                if not self._inbox and not self._aborted:
                    return None
                item = self._inbox.popleft() if self._inbox and not self._aborted else None
            message = self._take(item)
            if message is not None:
                return message
        return None

    @property
    def released(self) -> bool:
        """Whether whoever received has gone."""
        return self._released

    @property
    def ended(self) -> bool:
        """Whether `receive` has come to the end."""
        return self._ended

    def wait_idle(self, timeout: float) -> bool:
        """Wait until everything that came was received, and whoever receives it waits for more or is through.

        Returns whether that came true in time. It is how the thread that sent something learns that it was dealt with.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._waits or self._released, timeout)

    @property
    def _waits(self) -> bool:
        return self._idle and not self._inbox and not self._aborted

    def _wait_for_item(self) -> _Item:
        with self._changed:
            self._idle = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._inbox or self._aborted)
            self._idle = False
            return None if self._aborted else self._inbox.popleft()

    def _take(self, item: _Item) -> str | None:
        if item is None:
            self._ended = True
            if self.close_code is None:
                self.close_code = CloseCode.ABNORMAL
            return None
        self.last_heard = self._now()
        if isinstance(item, _Close):
            self._take_close(item)
        elif self._discarding:
            return None
        elif isinstance(item, _Ping) and self.answers_pings:
            self._pass_on(_Pong())
        elif isinstance(item, bytes):
            self.fail(CloseCode.UNSUPPORTED_DATA, "OCPP messages are text")
        return item if isinstance(item, str) else None

    def _take_close(self, close: _Close) -> None:
        with self._changed:
            answer = not self._closing
            self._closing = True
        if answer:
            self.close_code, self.close_reason = close.code, close.reason
            self._pass_on(close)
        self._ended = True

    def fail(self, code: int, reason: str = "") -> None:
        """Close, and drop whatever still comes; for the receiving thread."""
        self.close(code, reason)
        self._discarding = True

    # Sending: any thread.

    def send_nowait(self, text: str) -> None:
        """Hand the peer a message; never waits for it to be read."""
        self._send(text)

    def send_bytes(self, data: bytes) -> None:
        """Hand the peer a binary message, which OCPP has not (J16 §4.1)."""
        self._send(data)

    def ping(self) -> bool:
        """Hand the peer a ping; return False when the connection has ended."""
        try:
            self._send(_Ping())
        except TransportClosedError:
            return False
        return True

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake; never waits."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            if not self._aborted:
                self.close_code, self.close_reason = code, reason
        # Before the peer answers, which it may do at once.
        if self.on_closing is not None:
            self.on_closing()
        self._pass_on(_Close(code, reason))

    def abort(self) -> None:
        """End the connection at once, at both ends."""
        with self._changed:
            first, self._aborted = not self._aborted, True
            self._changed.notify_all()
        if first:
            self._pass_on(None)

    def release(self) -> None:
        """Say that nothing is received here any more."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    def _send(self, item: str | bytes | _Ping) -> None:
        peer = self._peer
        if self._closing or self._aborted or peer is None:
            raise TransportClosedError("the connection is closed", written=False)
        if peer._aborted:
            raise TransportClosedError("the connection broke: the peer has gone", written=True)
        peer._put(item)

    def _pass_on(self, item: _Item) -> None:
        if self._peer is not None:
            self._peer._put(item)

    def _put(self, item: _Item) -> None:
        with self._changed:
            self._inbox.append(item)
            self._changed.notify_all()
        if self.on_arrival is not None:
            self.on_arrival()


def memory_pair(name: str, now: Callable[[], float] = time.monotonic) -> tuple[MemoryTransport, MemoryTransport]:
    """Return the central system's end and the charge point's end of a new connection.

    Args:
        name: the charge point's identity, for the log.
        now: the clock that both keep `last_heard` by.
    """
    central_system, charge_point = MemoryTransport(name, now), MemoryTransport("the central system", now)
    central_system._peer, charge_point._peer = charge_point, central_system
    return central_system, charge_point

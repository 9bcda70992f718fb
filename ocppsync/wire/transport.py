"""The interface under a connection that carries its messages, and the WebSocket close codes (RFC 6455 §7.4)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from ..errors import OCPPError
from .http import RefusalError


class CloseCode(IntEnum):
    """The WebSocket close codes that ocppsync uses (RFC 6455 §7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    ABNORMAL = 1006
    """Never sent; the code of a connection that ended without a Close."""
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013

    __str__ = int.__repr__  # the number, as in Python 3.11 and later


_DEFINED = frozenset({*range(1000, 1004), *range(1007, 1015)})


def is_close_code(code: int) -> bool:
    """Return whether a Close may hold this code, in either direction (RFC 6455 §7.4).

    1000 to 1003 and 1007 to 1014 are defined, 3000 to 4999 are for libraries and applications. 1004 has no meaning, and
    1005, 1006 and 1015 stand for ends without such a Close; they are never on the wire.
    """
    return code in _DEFINED or 3000 <= code <= 4999


def check_close_code(code: int) -> None:
    """Raise ValueError if a Close must not hold this code."""
    if not isinstance(code, int) or not is_close_code(code):
        raise ValueError(f"{code!r} is not a valid close code: expected 1000 to 1003, 1007 to 1014, or 3000 to 4999")


class TransportClosedError(OCPPError):
    """The connection is closed or broken, so nothing can be sent.

    Attributes:
        written: whether part of this message may have been written.
    """

    def __init__(self, message: str, *, written: bool) -> None:
        super().__init__(message)
        self.written = written


class Transport(Protocol):
    """Carries the messages of one connection: a WebSocket, or a queue in memory in tests."""

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code once the connection has ended: the one received, or the one sent."""

    @property
    def close_reason(self) -> str:
        """The reason that goes with the close code."""
        raise NotImplementedError

    @property
    def last_heard(self) -> float:
        """When data last arrived from the peer, on the clock of the timer."""
        raise NotImplementedError

    @property
    def on_closing(self) -> Callable[[], object] | None:
        """Called once, after a Close was sent; it must arrange for an `abort` after the close timeout."""

    @on_closing.setter
    def on_closing(self, function: Callable[[], object] | None) -> None: ...

    @property
    def peer_has_left(self) -> bool:
        """Whether the peer has ended the connection already; for the receiving thread, before it receives."""
        raise NotImplementedError

    def open(self) -> None:
        """Send the answer to the handshake, before any message."""

    def refuse(self, refusal: RefusalError, code: int) -> bool:
        """End the connection, and release it: with the refusal if `open` was not called yet, else with a Close.

        Return whether it was the refusal. For the receiving thread, which waits for the peer to read it, for a second
        at most.

        Args:
            refusal: the answer to the handshake; its reason is not sent.
            code: the close code if the handshake is answered, or has no answer.
        """
        raise NotImplementedError

    def receive(self) -> str | None:
        """Wait for the next message; None once the connection has ended."""

    def send_nowait(self, text: str, /) -> None:
        """Write a message; never waits: a thread of its own writes what the socket does not take at once.

        Raises:
            TransportClosedError: the connection is closed or broken.
        """

    def ping(self) -> bool:
        """Write a ping; never waits. Return False if the connection has ended."""
        raise NotImplementedError

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake; never waits. `receive` ends when the peer answers."""

    def fail(self, code: int, reason: str = "") -> None:
        """Close, and drop everything that arrives from now on; for the receiving thread."""

    def abort(self) -> None:
        """End the connection at once."""

    def release(self) -> None:
        """Release the socket; for the receiving thread, after `receive` returned None."""

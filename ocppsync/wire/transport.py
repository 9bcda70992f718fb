"""What a connection needs of the thing that carries its messages, and the WebSocket close codes (RFC 6455 §7.4)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from ..errors import OCPPError


class CloseCode(IntEnum):
    """The WebSocket close codes that are used here (RFC 6455 §7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    ABNORMAL = 1006
    """Never sent: stands for a connection that ended without a Close."""
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009

    __str__ = int.__repr__  # in logs and texts the number, as Python 3.11 and later have it


class TransportClosedError(OCPPError):
    """Nothing can be sent any more.

    Attributes:
        written: whether some of this message may have gone out.
    """

    def __init__(self, message: str, *, written: bool) -> None:
        super().__init__(message)
        self.written = written


class Transport(Protocol):
    """What a connection needs of the thing that carries its messages."""

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code once the connection has ended: the peer's, or the one sent to it."""

    @property
    def close_reason(self) -> str:
        """The text that came or went with it."""
        raise NotImplementedError

    @property
    def last_heard(self) -> float:
        """When something last came from the peer, on the clock of the connection's timer."""
        raise NotImplementedError

    @property
    def on_closing(self) -> Callable[[], object] | None:
        """Called once, when a Close was sent: whoever sets it sees to an `abort` in good time."""

    @on_closing.setter
    def on_closing(self, function: Callable[[], object] | None) -> None: ...

    def open(self) -> None:
        """Let go of the answer to the peer's handshake, which goes before all else."""

    def receive(self) -> str | None:
        """Wait for the next message; None once the connection has ended."""

    def send_nowait(self, text: str) -> None:
        """Write a message without ever waiting: what cannot go at once follows; raises `TransportClosedError`."""

    def ping(self) -> bool:
        """Write a ping without ever waiting, as `send_nowait` does; return False when the connection has ended."""
        raise NotImplementedError

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake; never waits. `receive` ends when the peer answers."""

    def fail(self, code: int, reason: str = "") -> None:
        """Close as `close` does, and drop whatever still comes; for the receiving thread."""

    def abort(self) -> None:
        """End the connection at once."""

    def release(self) -> None:
        """Give everything back; for the receiving thread, after `receive` returned None."""

"""Sends all messages of a connection, and tells observers of them."""

from __future__ import annotations

from ..events import MessageSent
from ..wire.transport import Transport
from . import frames
from .context import ConnectionContext
from .observing import KINDS

__all__ = ["Outbox"]


class Outbox:
    """Sends messages over a transport. Safe from any thread; never waits."""

    __slots__ = ("_metadata", "_observe", "_timer", "transport")

    def __init__(self, transport: Transport, context: ConnectionContext) -> None:
        self.transport = transport
        self._observe = context.observe
        self._metadata = context.metadata
        self._timer = context.timer

    def send(
        self, text: str, kind: int, message_id: frames.MessageId, action: str, asked_at: float | None = None
    ) -> None:
        """Send a message.

        Args:
            text: the message.
            kind: its message type, such as `frames.CALL`.
            message_id: its id.
            action: its action, or that of the CALL that it answers; empty if unknown.
            asked_at: for an answer: when its CALL was received.

        Raises:
            TransportClosedError: the connection has ended.
        """
        if self._observe is not None:
            # Before it is sent: its answer may be received and reported before this thread continues.
            seconds = None if asked_at is None else self._timer.now() - asked_at
            known = self._metadata
            self._observe(
                MessageSent(
                    known.charge_point_id, known.ocpp_version, KINDS[kind], str(message_id), action, text, seconds
                )
            )
        self.transport.send_nowait(text)

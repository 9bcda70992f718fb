"""Sends all messages of a connection, and tells observers of them."""

from __future__ import annotations

from ..events import MessageSent
from ..wire.transport import Transport
from .context import ConnectionContext
from .incoming import MessageId
from .observing import KINDS

__all__ = ["Outbox"]


class Outbox:
    """Sends messages over a transport. Safe from any thread; waits for nothing but observers."""

    __slots__ = ("_context", "_events", "transport")

    def __init__(self, transport: Transport, context: ConnectionContext) -> None:
        self.transport = transport
        self._context = context
        self._events = context.events

    def send(self, text: str, kind: int, message_id: MessageId, action: str, asked_at: float | None = None) -> None:
        """Tell the observers of a message, and send it.

        Args:
            text: the message.
            kind: its message type, such as `frames.CALL`.
            message_id: its id.
            action: its action, or that of the CALL that it answers; empty if unknown.
            asked_at: for an answer: when its CALL was received.

        Raises:
            TransportClosedError: the connection has ended.
        """
        # Saves a call for each message: most ends have no observers.
        if self._events is not None:
            self.tell(text, kind, message_id, action, asked_at)
        self.transport.send_nowait(text)

    def tell(self, text: str, kind: int, message_id: MessageId, action: str, asked_at: float | None = None) -> None:
        """Tell the observers of a message that is about to be sent; they may take their time. See `send`."""
        if self._events is not None:
            # Before it is sent: its answer may be received and reported before this thread continues.
            seconds = None if asked_at is None else self._context.timer.now() - asked_at
            known, number = self._context.metadata, self._context.number
            identity, version = known.charge_point_id, known.ocpp_version
            self._events.tell(
                MessageSent(identity, version, KINDS[kind], str(message_id), action, text, seconds, number)
            )

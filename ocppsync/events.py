"""What happens at a central system or charge point, for those who watch: one frozen object for each event.

An observer is a function that takes an event. It is called on the thread on which the event happened, a reader or a
handler's, and must not block. What it raises is logged and harms nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import Delivery, ValidationError

__all__ = [
    "Closed",
    "Connected",
    "Event",
    "HandlerFailed",
    "LoggingObserver",
    "MessageReceived",
    "MessageSent",
    "Observer",
    "Refused",
    "TimedOut",
    "ValidationFailed",
    "observed_by",
]

_logger = logging.getLogger(__name__)

MessageKind = Literal["CALL", "CALLRESULT", "CALLERROR", "CALLRESULTERROR", "SEND", "malformed"]


@dataclass(frozen=True)
class Connected:
    """A connection was opened."""

    charge_point_id: str
    version: str
    remote_address: str


@dataclass(frozen=True)
class Closed:
    """A connection has ended."""

    charge_point_id: str
    version: str
    code: int | None
    """The WebSocket close code; 1006 when there was no closing handshake."""
    seconds: float
    """How long it was open."""


@dataclass(frozen=True)
class Refused:
    """Somebody was turned away at the door."""

    remote_address: str
    path: str
    """The path of the HTTP request; empty when it did not get that far."""
    status: int
    reason: str
    """For people here; the peer gets the bare status."""


@dataclass(frozen=True)
class _Message:
    charge_point_id: str
    version: str
    kind: MessageKind
    message_id: str
    """Empty where it could not be read."""
    action: str
    """That of the CALL for its answers; empty where it is not known."""
    text: str
    """The message itself. It may hold secrets."""
    seconds: float | None
    """For an answer: since its CALL was sent or came; else None."""


@dataclass(frozen=True)
class MessageReceived(_Message):
    """A message came from the peer."""


@dataclass(frozen=True)
class MessageSent(_Message):
    """A message is on its way to the peer; if the connection ends before it is there, `Closed` follows."""


@dataclass(frozen=True)
class ValidationFailed:
    """A payload breaks its schema, and was refused."""

    charge_point_id: str
    action: str
    direction: Literal["inbound", "outbound"]
    error: ValidationError


@dataclass(frozen=True)
class TimedOut:
    """A request brought no answer in time."""

    charge_point_id: str
    action: str
    seconds: float
    delivery: Delivery


@dataclass(frozen=True)
class HandlerFailed:
    """A handler raised something else than a CallError, returned an answer that breaks its schema, or took too long."""

    charge_point_id: str
    action: str
    error: BaseException
    """A TimeoutError where it took too long."""


Event = Connected | Closed | Refused | MessageReceived | MessageSent | ValidationFailed | TimedOut | HandlerFailed
Observer = Callable[[Event], object]


class LoggingObserver:
    """An observer that writes each event to a log.

    Args:
        logger: where to.
        level: at which level.
    """

    def __init__(self, logger: logging.Logger, level: int = logging.INFO) -> None:
        self._logger = logger
        self._level = level

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if not self._logger.isEnabledFor(self._level):
            return
        if isinstance(event, _Message):
            # Without its text, which may hold secrets.
            arrow = "->" if isinstance(event, MessageReceived) else "<-"
            took = "" if event.seconds is None else f" after {event.seconds:.3f} s"
            self._logger.log(self._level, "%s %s %s %s%s", event.charge_point_id, arrow, event.kind, event.action, took)
        else:
            self._logger.log(self._level, "%s", event)


def observed_by(observers: Sequence[Observer]) -> Observer | None:
    """Return one observer for all of them, which never raises; None for none, so that nothing need be told."""
    if not observers:
        return None
    watching = tuple(observers)

    def tell(event: Event) -> None:
        for observer in watching:
            try:
                observer(event)
            except Exception:
                _logger.exception("an observer failed on %s", type(event).__name__)

    return tell

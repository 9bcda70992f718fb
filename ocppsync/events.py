"""The events of a central system or charge point, as frozen objects, for observers.

Of the events of one connection, `Connected` is the first. `Closed` is the last, except that a handler or a request may
still fail after it; no message follows.

An observer is a function that takes an event. It runs on the thread that causes the event, such as a reader or handler
thread, and must not block. Only what happens on the timer is told on a thread of its own. Its exceptions are logged and
have no other effect.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .errors import Delivery, ValidationError
from .faults.interrupts import raise_interrupt
from .faults.printable import shown
from .throttled_log import LogThrottle

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
    """A connection opened."""

    charge_point_id: str
    version: str
    remote_address: str
    connection: int = 0
    """The number of the connection, counted from 1 by its `CentralSystem` or `ChargePoint`; the same as in the log."""


@dataclass(frozen=True)
class Closed:
    """A connection closed."""

    charge_point_id: str
    version: str
    code: int | None
    """The WebSocket close code; 1006 if there was no closing handshake."""
    seconds: float
    """The duration of the connection in seconds."""
    connection: int = 0
    """The number of the connection; see `Connected`."""


@dataclass(frozen=True)
class Refused:
    """A connection was refused before the WebSocket upgrade."""

    remote_address: str
    path: str
    """The path of the HTTP request, cut to 200 characters; empty if none was read."""
    status: int
    reason: str
    """The reason, for the log; the peer gets only the status."""


@dataclass(frozen=True)
class _Message:
    charge_point_id: str
    version: str
    kind: MessageKind
    message_id: str
    """The message id; empty if it could not be read."""
    action: str
    """The action; for an answer, that of its CALL. Empty if unknown."""
    text: str = field(repr=False)
    """The message as on the wire; it may contain secrets."""
    seconds: float | None
    """For an answer, the seconds since its CALL was sent or received; else None."""
    connection: int = 0
    """The number of the connection; see `Connected`."""


@dataclass(frozen=True)
class MessageReceived(_Message):
    """A message was received from the peer."""


@dataclass(frozen=True)
class MessageSent(_Message):
    """A message is sent to the peer, as soon as the observers return. `Closed` follows if the connection ends before it
    arrives, and `TimedOut` with the delivery ``"not_sent"`` if a request runs out of time while they are told.
    """


@dataclass(frozen=True)
class ValidationFailed:
    """An invalid payload was refused."""

    charge_point_id: str
    action: str
    direction: Literal["inbound", "outbound"]
    error: ValidationError
    connection: int = 0
    """The number of the connection; see `Connected`."""


@dataclass(frozen=True)
class TimedOut:
    """A request got no answer in time."""

    charge_point_id: str
    action: str
    seconds: float
    delivery: Delivery
    connection: int = 0
    """The number of the connection; see `Connected`."""


@dataclass(frozen=True)
class HandlerFailed:
    """A handler raised an exception other than CallError, returned an invalid answer, or took too long."""

    charge_point_id: str
    action: str
    error: BaseException
    """The exception; a TimeoutError if the handler took too long."""
    connection: int = 0
    """The number of the connection; see `Connected`."""


Event = Connected | Closed | Refused | MessageReceived | MessageSent | ValidationFailed | TimedOut | HandlerFailed
Observer = Callable[[Event], object]


class LoggingObserver:
    """An observer that writes each event to a log.

    Args:
        logger: the logger.
        level: the log level.
    """

    def __init__(self, logger: logging.Logger, level: int = logging.INFO) -> None:
        self._logger = logger
        self._level = level

    def __call__(self, event: Event) -> None:
        """Log an event; the text of a message is left out."""
        if not self._logger.isEnabledFor(self._level):
            return
        if isinstance(event, _Message):
            # Without the text, which may contain secrets.
            arrow = "->" if isinstance(event, MessageReceived) else "<-"
            duration = "" if event.seconds is None else f" after {event.seconds:.3f} s"
            self._logger.log(
                self._level, "%s %s %s %s%s", event.charge_point_id, arrow, event.kind, shown(event.action), duration
            )
        else:
            self._logger.log(self._level, "%s", shown(str(event), 1000))


def observed_by(observers: Sequence[Observer]) -> Observer | None:
    """Return one observer that calls all of them; None if there are none.

    It raises nothing but what ends the program, on the main thread (`raise_interrupt`).
    """
    if not observers:
        return None
    snapshot, throttle = tuple(observers), LogThrottle()

    def notify(event: Event) -> None:
        for observer in snapshot:
            try:
                observer(event)
            except BaseException as error:
                raise_interrupt(error)
                name, text = type(event).__name__, "observer failed on %s"
                throttle.log(_logger, "", name, text, name, level=logging.ERROR, error=error)

    return notify

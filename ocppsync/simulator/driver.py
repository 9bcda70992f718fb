"""The steps of a simulated charge point's life that each version of OCPP has messages of its own for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from .meter import Meter

if TYPE_CHECKING:
    from ..v16 import Reason
    from ..v201 import ReasonEnumType

__all__ = ["Controls", "EVDriver", "Effects", "Phase", "Session", "VersionDriver"]

Phase = Literal["Available", "Unavailable", "Preparing", "Charging", "Finishing"]
"""What the connector is doing, in the words of 1.6."""
Effects = Mapping[str, Callable[[Any], object]]
"""What follows an answer that agreed, by action; it is given the request's payload."""


@dataclass(frozen=True)
class Session:
    """A transaction that has ended; the meter's readings are in Wh."""

    transaction_id: int | str
    """A number in 1.6, a UUID in 2.x."""
    id_tag: str
    meter_start: int
    meter_stop: int
    reason: Reason | ReasonEnumType
    """In the words of the version that was spoken."""


@dataclass(frozen=True)
class EVDriver:
    """Who wants to charge."""

    id_tag: str
    kind: str = "ISO14443"
    """What sort of idToken it is (2.x)."""
    remote_start_id: int | None = None
    """That of the RequestStartTransaction that it came with (2.x)."""


@dataclass(frozen=True)
class Controls:
    """What a request of the central system may bring about; each may be called from any thread."""

    signal: Callable[..., object]
    """Has the scenario end the session (``interruption``, the reason), begin one (``driver``) or boot (``resetting``);
    with nothing, has it look at its settings."""
    change_availability: Callable[[bool], object]
    """Takes the connector out of service or back."""
    boot: Callable[[], object]
    """Sends BootNotification, and what follows it."""


class VersionDriver(ABC):
    """What a charge point says at each step; one object lives as long as its charge point.

    Args:
        charge_point_id: its identity.
        send: sends a request and returns the answer.
        meter: the meter of its connector.
        random: decides over what is arbitrary.

    Attributes:
        connectors: the ids that a report of its status covers.
        phase: what the connector is doing.
    """

    connectors: tuple[int, ...]

    def __init__(self, charge_point_id: str, send: Callable[[Any, Any], Any], meter: Meter, random: Random) -> None:
        self.phase: Phase = "Available"
        self._charge_point_id = charge_point_id
        self._send = send
        self._meter = meter
        self._random = random

    @property
    @abstractmethod
    def heartbeat_interval(self) -> int:
        """Seconds between Heartbeats, as it is set; 0: none."""

    @heartbeat_interval.setter
    @abstractmethod
    def heartbeat_interval(self, seconds: int) -> None: ...

    @property
    @abstractmethod
    def authorizes_remote_starts(self) -> bool:
        """Whether Authorize comes before a session that was started from afar."""

    @abstractmethod
    def effects(self, controls: Controls) -> Effects:
        """Return what it does after having agreed to a request."""

    @abstractmethod
    def boot(self) -> Any:
        """Send BootNotification; return the answer."""

    @abstractmethod
    def enter(self, phase: Phase) -> None:
        """Go over to a phase, and tell it."""

    @abstractmethod
    def report_status(self, connector_id: int) -> None:
        """Send the status of a connector."""

    @abstractmethod
    def authorize(self, driver: EVDriver) -> bool:
        """Send Authorize; return whether the driver is accepted."""

    @abstractmethod
    def begin(self, driver: EVDriver) -> bool:
        """Start a transaction, and let the answers know its id; return whether the driver is accepted."""

    @abstractmethod
    def report_meter(self) -> None:
        """Send what the meter shows, during a transaction."""

    @abstractmethod
    def end(self, session: Session) -> None:
        """Stop a transaction."""

"""The steps of a simulated charge point for which each version of OCPP has its own messages."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from ..answers.station_state import StationState
from .delivery import Delivery
from .meter import Meter
from .timetable import Job
from .transaction_data import TransactionData

if TYPE_CHECKING:
    from ..v16 import Reason
    from ..v201 import ReasonEnumType

__all__ = ["Controls", "EVDriver", "Effects", "Phase", "Session", "VersionDriver"]

Phase = Literal["Available", "Unavailable", "Preparing", "Charging", "SuspendedEVSE", "Finishing", "Reserved"]
"""The state of the connector, as named in 1.6."""
Effects = Mapping[str, Callable[[Any], object]]
"""The functions that carry out accepted requests, by action; each gets the request's payload."""


@dataclass(frozen=True)
class Session:
    """A finished transaction; the meter readings are in Wh."""

    transaction_id: int | str
    """A number in 1.6, a UUID in 2.x."""
    id_tag: str = field(repr=False)
    meter_start: int
    meter_stop: int
    reason: Reason | ReasonEnumType
    """As named in the version of the charge point."""


@dataclass(frozen=True)
class EVDriver:
    """The driver of a vehicle to charge."""

    id_tag: str = field(repr=False)
    kind: str = "ISO14443"
    """The type of the idToken (2.x)."""
    remote_start_id: int | None = None
    """The remoteStartId of the RequestStartTransaction (2.x)."""
    charging_profile: Mapping[str, Any] | None = field(default=None, repr=False)
    """The chargingProfile of the remote start."""
    group: str | None = field(default=None, repr=False)
    """The groupIdToken of the remote start (2.x)."""
    reservation_id: int | None = None
    """The id of the reservation that the session uses up."""


@dataclass(frozen=True)
class Controls:
    """The actions that a request of the central system can cause; thread-safe."""

    signal: Callable[..., object]
    """Tells the scenario to end the session (``interruption``, the reason), begin one (``driver``) or reboot
    (``resetting``); without arguments, to read its settings again."""
    report_availability: Callable[[], object]
    """Reports which parts have gone out of service or back, unless a vehicle charges."""
    boot: Callable[[], object]
    """Sends BootNotification, and the status once accepted."""
    status_notification: Callable[[str], Mapping[str, Any]]
    """Returns the payload of a status notification of an update or an upload, by its action."""


class VersionDriver(ABC):
    """Sends the messages of each step in one version of OCPP; one object per charge point.

    Args:
        charge_point_id: the charge point's identity.
        send: sends a request and returns the answer.
        delivery: sends the messages about transactions.
        meter: the meter of the connector.
        random: the source of random values.
        state: the state and the settings of the charge point.

    Attributes:
        connectors: the connector ids of a status report.
        phase: the state of the connector.
        firmware_version: the version that BootNotification reports.
        group: the parentIdTag or the groupIdToken of the driver that `authorize` has asked about last.
    """

    connectors: tuple[int, ...]

    def __init__(
        self,
        charge_point_id: str,
        send: Callable[[Any, Any], Any],
        delivery: Delivery,
        meter: Meter,
        random: Random,
        state: StationState,
    ) -> None:
        self.phase: Phase = "Available"
        self.firmware_version = "1.0"
        self.group: str | None = None
        self._charge_point_id = charge_point_id
        self._send = send
        self._delivery = delivery
        self._meter = meter
        self._random = random
        self._state = state
        self._data = TransactionData(self._meter_value)
        # Held while a status is read and sent: the last StatusNotification has the last status.
        self._reporting = threading.Lock()

    @property
    def back_off(self) -> tuple[float, int, float]:
        """The shortest wait before a new attempt to connect, how often it doubles, and the random part (4/201 §5.3)."""
        return 1.0, 5, 1.0

    @property
    def resting_phase(self) -> Phase:
        """The state of the connector while no vehicle charges."""
        if not self._state.operative:
            return "Unavailable"
        return "Reserved" if self._state.reserved else "Available"

    @property
    def is_resting(self) -> bool:
        """Whether the reported state is that of a charge point at which no vehicle charges."""
        return self.phase == self.resting_phase

    def rest(self) -> None:
        """Change to the resting phase, and report it."""
        self.enter(self.resting_phase)

    def rest_if_due(self) -> None:
        """Change to the resting phase, and report it, unless that is reported already."""
        if not self.is_resting:
            self.rest()

    @property
    def authorizes_remote_starts(self) -> bool:
        """Whether the charge point sends Authorize before a session that was started remotely."""
        return self._state.flag("AuthorizeRemoteTxRequests")

    @abstractmethod
    def keep_heartbeat_interval(self, seconds: int) -> None:
        """Store the seconds between Heartbeats from the answer to BootNotification."""

    @abstractmethod
    def samples(self) -> Sequence[Job]:
        """Return what to do periodically from the start of a transaction."""

    @abstractmethod
    def aligned(self) -> Sequence[Job]:
        """Return what to do periodically from midnight."""

    @abstractmethod
    def effects(self, controls: Controls) -> Effects:
        """Return the functions that carry out accepted requests."""

    def send_triggered(self) -> None:  # noqa: B027 (1.6 sends them at once)
        """Send the messages about the transaction that were triggered, on the thread that charges."""

    def install_firmware(self, version: str) -> None:
        """Report another firmware version from the next boot on."""
        self.firmware_version = version

    def resume(self) -> None:
        """Report that energy flows."""
        self.enter("Charging")

    def suspend(self) -> None:
        """Report that no energy flows: the limit is 0, or the driver is not accepted."""
        self.enter("SuspendedEVSE")

    def change_rate(self, before: float, now: float) -> None:  # noqa: B027 (1.6 has no message for that)
        """Report that the limit has changed the current, in A."""

    @abstractmethod
    def boot(self) -> Any:
        """Send BootNotification; return the answer."""

    @abstractmethod
    def enter(self, phase: Phase) -> None:
        """Change to a phase, and report it."""

    def report_all(self, pause: Callable[[], object] = lambda: None) -> None:
        """Send the status of each connector, after a pause before each."""
        for connector_id in self.connectors:
            pause()
            self.report_status(connector_id)

    @abstractmethod
    def report_status(self, connector_id: int) -> None:
        """Send the status of a connector."""

    @abstractmethod
    def authorize(self, driver: EVDriver, *, ask: bool = False) -> bool:
        """Return whether the driver is accepted.

        Send Authorize unless the local list or the cache says so; with ``ask`` in any case, to find out the group.
        """

    def group_of(self, driver: EVDriver) -> str | None:
        """Ask the central system for the group of a driver; None if it has none, or is not accepted."""
        return self.group if self.authorize(driver, ask=True) else None

    @abstractmethod
    def begin(self, driver: EVDriver) -> bool:
        """Start a transaction, and store its id in the answers; return whether the driver is accepted."""

    @abstractmethod
    def end(self, session: Session) -> None:
        """Stop a transaction."""

    @abstractmethod
    def _meter_value(self, measurands: Sequence[str], context: Any) -> Mapping[str, Any] | None:
        """Return the meterValue of some measurands; None without measurands."""

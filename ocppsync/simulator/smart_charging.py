"""Smart charging of a simulated charge point: its answers, and the limit in force (C16 §3.13; 2/201 K)."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

from ..answers.station_state import StationState
from ..answers.table import Answer, Table, status
from ..clock import as_text, now_ms
from ..errors import CallError
from ..throttled_log import ThrottledLog
from .charging_profiles import Profile, ProfileError, Profiles, read_profile
from .composite_schedule import Layer, Unit, composite_periods, limit_at, next_change
from .driver import Effects

__all__ = ["SmartCharging", "SmartCharging2x", "SmartCharging16"]

_logger = logging.getLogger(__name__)

_CONNECTORS = (0, 1)
_MAX_COMPOSITE = 31 * 86_400
_START_DEADLINE = 2.0
_PROFILES_PER_REPORT = 5


class SmartCharging:
    """The charging profiles, and the limit that they put on the connector; its two subclasses answer the requests.

    Args:
        state: the state of the charge point.
        log: the log of what the central system causes.
        on_change: called when the limit may have changed.
    """

    is_16: bool

    def __init__(self, state: StationState, log: ThrottledLog, on_change: Callable[[], object]) -> None:
        self._state = state
        self._log = log
        self._profiles = Profiles(on_change, is_16=self.is_16)
        self._transaction_start: int | None = None
        # Notified when a transaction has got its id; guards _starting.
        self._started = threading.Condition()
        self._starting = False

    # The limit.

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The installed profiles, in the order of their installation."""
        return self._profiles.installed

    def in_force(self) -> tuple[float, float]:
        """Return the limit in A, at most what the connector can deliver, and the seconds until it may change."""
        layers, now = self._layers(), now_ms()
        return limit_at(layers, now, "A"), (next_change(layers, now) - now) / 1000

    def _layers(self) -> list[Layer]:
        start = now_ms() // 1000 * 1000 if self._transaction_start is None else self._transaction_start
        return [profile.layer(start) for profile in self._profiles.installed]

    # The transaction.

    @contextlib.contextmanager
    def transaction(self, profile: Mapping[str, Any] | None) -> Iterator[None]:
        """Start a transaction in the body, which stores its id; install the profile of its remote start.

        In 1.6 a TxProfile may arrive before the thread that started the transaction has read its id, which the central
        system chooses; its request waits.
        """
        with self._started:
            self._starting = True
        try:
            yield
            self._transaction_start = now_ms()
            if profile is not None:
                try:
                    self._install(profile, 1)
                except ProfileError as error:  # another one has its place, or too many are installed
                    self._refused(error)
        finally:
            with self._started:
                self._starting = False
                self._started.notify_all()

    def end_transaction(self) -> None:
        """Remove the profiles of the transaction that has ended (C16 §3.13.1; 2/201 K02.FR.05)."""
        self._transaction_start = None
        self._profiles.remove(lambda profile: profile.purpose == "TxProfile")

    # Requests.

    def table(self) -> Table:
        """Return the answers to the messages of smart charging."""
        return {
            "ClearChargingProfile": self._clear,
            "GetCompositeSchedule": self._composite,
            "SetChargingProfile": self._set,
        }

    def effects(self, send: Callable[[Any, Any], Any]) -> Effects:
        """Return the functions that carry out accepted requests."""
        return {}

    def refusal_of_remote_start(self, payload: Any) -> Answer | None:
        """Return the answer to a remote start with a profile that cannot be used; None if it can."""
        profile = payload.get("chargingProfile")
        if profile is None:
            return None
        try:
            if profile["chargingProfilePurpose"] != "TxProfile":
                raise ProfileError("InvalidProfile", "the profile of a remote start must be a TxProfile")
            if "transactionId" in profile:  # C16 §5.16.2; 2/201 F01.FR.11
                raise ProfileError("InvalidProfile", "the profile of a remote start has no transactionId")
            read_profile(profile, 1, now_ms(), is_16=self.is_16)
        except ProfileError as error:
            return self._refused(error)
        return None

    def _set(self, payload: Any) -> Answer:
        raise NotImplementedError

    def _clear(self, payload: Any) -> Answer:
        raise NotImplementedError

    def _composite(self, payload: Any) -> Answer:
        raise NotImplementedError

    def _install_for_request(self, payload: Mapping[str, Any], connector_id: int) -> Answer:
        try:
            if payload["chargingProfilePurpose"] == "TxProfile":
                self._check_transaction(payload.get("transactionId"))
            self._install(payload, connector_id)
        except ProfileError as error:
            return self._refused(error)
        return status("Accepted")

    def _install(self, payload: Mapping[str, Any], connector_id: int) -> None:
        self._profiles.install(read_profile(payload, connector_id, now_ms(), is_16=self.is_16))

    def _check_transaction(self, transaction_id: int | str | None) -> None:
        with self._started:
            if self.is_16:
                self._started.wait_for(lambda: not self._starting, _START_DEADLINE)
        if self._state.transaction_id is None:
            raise ProfileError("TxNotFound", "a TxProfile needs a running transaction")
        if transaction_id is None and not self.is_16:  # 2/201 K01.FR.03
            raise ProfileError("MissingParam", "a TxProfile needs a transactionId")
        if transaction_id is not None and transaction_id != self._state.transaction_id:  # 2/201 K01.FR.33
            raise ProfileError("TxNotFound", "the transactionId is not that of the running transaction")

    def _refused(self, error: ProfileError) -> Answer:
        self._log.log(_logger, "profile", "refuses a charging profile: %s", error.text)
        return {"status": "Rejected", **self._status_info(error)}

    def _status_info(self, error: ProfileError) -> dict[str, Any]:
        return {}

    def _composite_of(self, connector_id: int, duration: int, unit: Unit | None) -> dict[str, Any] | None:
        """Return the composite schedule; None if it cannot be reported.

        Without a transaction it is that of one that starts now (2/201 K08.FR.06). The whole charge point draws what its
        one connector does.
        """
        if connector_id not in _CONNECTORS or not 0 < duration <= _MAX_COMPOSITE:
            return None
        layers, start = self._layers(), now_ms() // 1000 * 1000
        units: set[Unit] = {layer.schedule.unit for layer in layers}
        chosen: Unit = unit or (units.pop() if len(units) == 1 else "W")
        periods = [
            {"startPeriod": second, "limit": limit, "numberPhases": 1}
            for second, limit in composite_periods(layers, start, duration, chosen)
        ]
        return {
            "scheduleStart": as_text(start),
            "duration": duration,
            "chargingRateUnit": chosen,
            "chargingSchedulePeriod": periods,
        }


class SmartCharging16(SmartCharging):
    """Smart charging of 1.6 (C16 §5.5, §5.7, §5.16)."""

    is_16 = True

    def _set(self, payload: Any) -> Answer:
        if payload["connectorId"] not in _CONNECTORS:
            raise CallError("PropertyConstraintViolation", "unknown connectorId")  # CE16 3.39
        return self._install_for_request(payload["csChargingProfiles"], payload["connectorId"])

    def _clear(self, payload: Any) -> Answer:
        # CE16 3.25, 3.26: with an id the other fields are ignored, and all that are given have to match.
        wanted = _given(payload, id="id")
        wanted = wanted or _given(
            payload, connectorId="connector_id", chargingProfilePurpose="purpose", stackLevel="stack_level"
        )
        return _cleared(self._profiles, wanted)

    def _composite(self, payload: Any) -> Answer:
        connector_id, duration = payload["connectorId"], payload["duration"]
        composite = self._composite_of(connector_id, duration, payload.get("chargingRateUnit"))
        if composite is None:
            return status("Rejected")
        start = composite.pop("scheduleStart")
        return {
            **status("Accepted"),
            "connectorId": connector_id,
            "scheduleStart": start,
            "chargingSchedule": composite,
        }


class SmartCharging2x(SmartCharging):
    """Smart charging of 2.0.1 and 2.1 (2/201 K01, K02, K08, K09, K10)."""

    is_16 = False

    def table(self) -> Table:
        """Return the answers to the messages of smart charging."""
        return {**super().table(), "GetChargingProfiles": self._get}

    def effects(self, send: Callable[[Any, Any], Any]) -> Effects:
        """Return the functions that carry out accepted requests."""

        def report(payload: Any) -> None:
            for part in self.reports(payload):
                send("ReportChargingProfiles", part)

        return {"GetChargingProfiles": report}

    def reports(self, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the ReportChargingProfiles messages that answer a GetChargingProfiles (2/201 K09)."""
        found = sorted(self._requested(payload), key=lambda profile: profile.connector_id)
        parts: list[dict[str, Any]] = []
        for evse, profiles in groupby(found, key=lambda profile: profile.connector_id):
            payloads = [profile.payload for profile in profiles]
            for first in range(0, len(payloads), _PROFILES_PER_REPORT):
                parts.append({"evseId": evse, "chargingProfile": payloads[first : first + _PROFILES_PER_REPORT]})
        last = len(parts) - 1
        return [
            {"requestId": payload["requestId"], "chargingLimitSource": "CSO", "tbc": number < last, **part}
            for number, part in enumerate(parts)
        ]

    def _set(self, payload: Any) -> Answer:
        evse = payload["evseId"]
        if evse not in _CONNECTORS:  # 2/201 K01.FR.28
            return self._refused(ProfileError("UnknownEvse", f"EVSE {evse} does not exist"))
        return self._install_for_request(payload["chargingProfile"], evse)

    def _clear(self, payload: Any) -> Answer:
        wanted = _given(payload, chargingProfileId="id") or _given(
            payload.get("chargingProfileCriteria", {}),
            **{"evseId": "connector_id", "chargingProfilePurpose": "purpose", "stackLevel": "stack_level"},
        )
        return _cleared(self._profiles, wanted)

    def _composite(self, payload: Any) -> Answer:
        evse = payload["evseId"]
        composite = self._composite_of(evse, payload["duration"], payload.get("chargingRateUnit"))
        return (
            status("Rejected")
            if composite is None
            else {**status("Accepted"), "schedule": {"evseId": evse, **composite}}
        )

    def _get(self, payload: Any) -> Answer:
        return status("Accepted" if any(True for _ in self._requested(payload)) else "NoProfiles")

    def _requested(self, payload: Mapping[str, Any]) -> Iterator[Profile]:
        criteria = payload["chargingProfile"]
        ids = criteria.get("chargingProfileId")
        wanted = _given(payload, evseId="connector_id")
        if ids is None:
            wanted |= _given(criteria, chargingProfilePurpose="purpose", stackLevel="stack_level")
        if "CSO" not in criteria.get("chargingLimitSource", ["CSO"]):
            return
        for profile in self._profiles.installed:
            if (ids is None or profile.id in ids) and _matches(profile, wanted):
                yield profile

    def _status_info(self, error: ProfileError) -> dict[str, Any]:
        return {"statusInfo": {"reasonCode": error.reason_code, "additionalInfo": error.text}}


def _given(payload: Mapping[str, Any], **attributes: str) -> dict[str, Any]:
    """Return the values of the fields that a message has, by the attributes of `Profile` that they name."""
    return {attribute: payload[name] for name, attribute in attributes.items() if name in payload}


def _matches(profile: Profile, wanted: Mapping[str, Any]) -> bool:
    return all(getattr(profile, attribute) == value for attribute, value in wanted.items())


def _cleared(profiles: Profiles, wanted: Mapping[str, Any]) -> Answer:
    return status("Accepted" if profiles.remove(lambda profile: _matches(profile, wanted)) else "Unknown")

"""The charging profiles of a simulated charge point: which are accepted, and which replace others."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..clock import milliseconds
from .composite_schedule import Layer, Schedule

__all__ = ["MAX_INSTALLED", "MAX_PERIODS", "MAX_STACK_LEVEL", "Profile", "ProfileError", "Profiles", "read_profile"]

MAX_STACK_LEVEL = 10
MAX_PERIODS = 48
MAX_INSTALLED = 20

_PHASES = (1, 2, 3)
_NO_LIMIT = 1e9  # above what any connector delivers, and a number that a float can hold
_NEVER = 10**11  # seconds, about 3000 years: JSON has integers that no float can hold
_RECURRENCES: Mapping[str, int] = {"Daily": 86_400, "Weekly": 7 * 86_400}
_STATION_PURPOSES = ("ChargePointMaxProfile", "ChargingStationMaxProfile")
_PURPOSES = (*_STATION_PURPOSES, "TxDefaultProfile", "TxProfile")
# Fields of a schedule and of a period in 2.1 for functions that this station does not have (2/21 K01.FR.120-126).
_UNSUPPORTED_IN_SCHEDULE = ("limitAtSoC", "randomizedDelay", "useLocalTime")
_UNSUPPORTED_IN_PERIOD = ("dischargeLimit", "evseSleep", "limit_L2", "limit_L3", "preconditioningRequest", "setpoint")


class ProfileError(Exception):
    """A charging profile is refused.

    Attributes:
        reason_code: the reasonCode for a statusInfo (2.x).
        text: what is wrong with it.
    """

    def __init__(self, reason_code: str, text: str) -> None:
        super().__init__(reason_code, text)
        self.reason_code = reason_code
        self.text = text


@dataclass(frozen=True)
class Profile:
    """An installed charging profile.

    Args:
        id: the id of the profile.
        purpose: the chargingProfilePurpose.
        stack_level: the stackLevel.
        connector_id: the connector or EVSE; 0: the whole charge point.
        schedule: the schedule; its start is the moment of installation if ``relative``.
        relative: whether the schedule starts with the transaction.
        transaction_id: the transaction that it is for; None: any.
        payload: the profile as it was received.
    """

    id: int
    purpose: str
    stack_level: int
    connector_id: int
    schedule: Schedule
    relative: bool
    transaction_id: int | str | None
    payload: Mapping[str, Any] = field(repr=False)

    def layer(self, transaction_start: int) -> Layer:
        """Return it as a layer of the limit, for a transaction that has started at that moment."""
        follows = self.relative and self.purpose not in _STATION_PURPOSES
        schedule = replace(self.schedule, start=transaction_start) if follows else self.schedule
        # C16 §3.13.1: a default for one connector replaces that for all of them.
        return Layer(self.purpose, (self.stack_level, self.connector_id), schedule)

    def collides(self, other: Profile) -> bool:
        """Return whether both have the same place: purpose, stack level, connector (C16 §3.13.2; 2/201 K01.FR.06)."""
        return self._place == other._place and self.id != other.id

    def overlaps(self, other: Profile) -> bool:
        """Return whether there is a moment at which both are valid."""
        mine, others = self.schedule, other.schedule
        return mine.valid_from < others.valid_to and others.valid_from < mine.valid_to

    @property
    def _place(self) -> tuple[object, ...]:
        return self.purpose, self.stack_level, self.connector_id


def read_profile(payload: Mapping[str, Any], connector_id: int, now: int, *, is_16: bool) -> Profile:
    """Return the profile in a message, which fits the schema of its version.

    Args:
        payload: the chargingProfile.
        connector_id: the connector or EVSE: 0 or 1.
        now: the current moment in milliseconds.
        is_16: whether it is of 1.6; else of 2.x.

    Raises:
        ProfileError: it breaks a rule, or needs a function that this charge point does not have.
    """
    purpose, kind, level = payload["chargingProfilePurpose"], payload["chargingProfileKind"], payload["stackLevel"]
    _check_purpose(purpose, kind, connector_id, is_16)
    if not 0 <= level <= MAX_STACK_LEVEL:
        raise ProfileError("InvalidStackLevel", f"stackLevel is {level}: expected 0 to {MAX_STACK_LEVEL}")
    _check_transaction(payload, purpose, is_16)
    if kind == "Dynamic":
        raise ProfileError("UnsupportedKind", "profiles of the kind Dynamic are not supported")
    if "dynUpdateInterval" in payload or "dynUpdateTime" in payload:
        raise ProfileError("InvalidProfile", "dynUpdateInterval and dynUpdateTime need the kind Dynamic")
    schedules = [payload["chargingSchedule"]] if is_16 else payload["chargingSchedule"]
    if len(schedules) != 1:
        # 2/201 K01.FR.34: several are for charging by ISO 15118.
        raise ProfileError("InvalidSchedule", f"{len(schedules)} schedules: expected one")
    valid_from = milliseconds(payload["validFrom"]) if "validFrom" in payload else -math.inf
    valid_to = milliseconds(payload["validTo"]) if "validTo" in payload else math.inf
    if valid_to <= valid_from:
        raise ProfileError("InvalidProfile", "validTo is not after validFrom, so the profile is never valid")
    recurrence = _recurrence(payload, kind, is_16)
    start = _start(schedules[0], kind, is_16)
    schedule = Schedule(
        unit=schedules[0]["chargingRateUnit"],
        periods=_periods(schedules[0]),
        start=now if start is None else start,
        duration=_duration(schedules[0]),
        recurrence=recurrence,
        valid_from=valid_from,
        valid_to=valid_to,
    )
    number, transaction_id = payload["chargingProfileId" if is_16 else "id"], payload.get("transactionId")
    return Profile(number, purpose, level, connector_id, schedule, start is None, transaction_id, payload)


def _check_purpose(purpose: str, kind: str, connector_id: int, is_16: bool) -> None:
    if purpose not in _PURPOSES:
        # 2/201 K01.FR.22: ChargingStationExternalConstraints are not set by a CSMS. The others: 2/21 K01.FR.120.
        raise ProfileError("UnsupportedPurpose", f"profiles of the purpose {purpose} are not supported")
    if purpose in _STATION_PURPOSES and connector_id != 0:
        raise ProfileError("InvalidProfile", f"{purpose} is for the whole charge point: expected the id 0")
    if purpose in _STATION_PURPOSES and kind == "Relative" and not is_16:
        raise ProfileError("InvalidProfile", f"{purpose} cannot be Relative")  # 2/201 K01.FR.38
    if purpose == "TxProfile" and connector_id == 0:
        raise ProfileError("InvalidProfile", "a TxProfile is for the transaction of one connector: expected the id 1")


def _check_transaction(payload: Mapping[str, Any], purpose: str, is_16: bool) -> None:
    # C16 §7.8: transactionId is only valid for a TxProfile.
    if is_16 and purpose != "TxProfile" and "transactionId" in payload:
        raise ProfileError("InvalidProfile", f"transactionId belongs to a TxProfile, not to a {purpose}")


def _recurrence(payload: Mapping[str, Any], kind: str, is_16: bool) -> int | None:
    recurrence = payload.get("recurrencyKind")
    if kind == "Recurring" and recurrence is None:
        raise ProfileError("InvalidProfile", "a profile of the kind Recurring needs a recurrencyKind")
    if kind != "Recurring" and recurrence is not None and is_16:
        raise ProfileError("InvalidProfile", "recurrencyKind is only for the kind Recurring")  # CE16 3.56
    return _RECURRENCES[recurrence] if recurrence is not None and kind == "Recurring" else None


def _start(schedule: Mapping[str, Any], kind: str, is_16: bool) -> int | None:
    """Return the moment at which a schedule starts; None: with the transaction."""
    given = "startSchedule" in schedule
    if not is_16 and kind == "Relative" and given:
        raise ProfileError("InvalidSchedule", "the kind Relative has no startSchedule")  # 2/201 K01.FR.41
    if not is_16 and kind != "Relative" and not given:
        raise ProfileError("InvalidSchedule", f"the kind {kind} needs a startSchedule")  # 2/201 K01.FR.40
    # C16 §7.13: without startSchedule, the schedule is relative to the start of charging.
    return milliseconds(schedule["startSchedule"]) if given and kind != "Relative" else None


def _duration(schedule: Mapping[str, Any]) -> int | None:
    duration: int | None = schedule.get("duration")
    if duration is not None and duration < 0:
        raise ProfileError("InvalidSchedule", f"duration is {duration}: expected 0 or more seconds")
    return None if duration is None else min(duration, _NEVER)


def _periods(schedule: Mapping[str, Any]) -> list[tuple[int, float]]:
    for name in _UNSUPPORTED_IN_SCHEDULE:
        if schedule.get(name):
            raise ProfileError("InvalidSchedule", f"{name} is not supported")
    if schedule.get("minChargingRate", 0) < 0:
        raise ProfileError("InvalidSchedule", "minChargingRate is below 0")
    periods = schedule.get("chargingSchedulePeriod", [])
    if not 0 < len(periods) <= MAX_PERIODS:
        raise ProfileError("InvalidSchedule", f"{len(periods)} periods: expected 1 to {MAX_PERIODS}")
    if periods[0]["startPeriod"] != 0:
        raise ProfileError("InvalidSchedule", f"the first startPeriod is {periods[0]['startPeriod']}: expected 0")
    for number, period in enumerate(periods, 1):
        if number > 1 and period["startPeriod"] <= periods[number - 2]["startPeriod"]:
            raise ProfileError("InvalidSchedule", f"startPeriod of period {number} is not above that of the one before")
        _check_period(number, period)
    return [(min(period["startPeriod"], _NEVER), float(min(period["limit"], _NO_LIMIT))) for period in periods]


def _check_period(number: int, period: Mapping[str, Any]) -> None:
    for name in _UNSUPPORTED_IN_PERIOD:
        if period.get(name):
            raise ProfileError("InvalidSchedule", f"{name} in period {number} is not supported")
    if period.get("operationMode", "ChargingOnly") != "ChargingOnly":
        raise ProfileError("InvalidSchedule", f"operationMode of period {number} is not ChargingOnly")
    if "limit" not in period or period["limit"] < 0:
        raise ProfileError("InvalidSchedule", f"period {number} needs a limit of 0 or more")
    # More phases than the one that the connector has are accepted, with the same limit (CE16 3.34; 2/201 K01.FR.45).
    phases = period.get("numberPhases", 3)
    if phases not in _PHASES:
        raise ProfileError("InvalidSchedule", f"numberPhases of period {number} is {phases}: expected 1 to 3")
    if "phaseToUse" in period and (phases, period["phaseToUse"]) != (1, 1):
        # 2/201 K01.FR.19, .48
        raise ProfileError("InvalidSchedule", f"phaseToUse of period {number} must be 1, with one phase")


class Profiles:
    """The installed profiles. Thread-safe.

    Args:
        on_change: called after a change.
        is_16: whether the rules of 1.6 apply; else those of 2.x.
    """

    def __init__(self, on_change: Callable[[], object], *, is_16: bool) -> None:
        self._on_change = on_change
        self._is_16 = is_16
        self._lock = threading.Lock()  # guards _profiles
        self._profiles: tuple[Profile, ...] = ()

    @property
    def installed(self) -> tuple[Profile, ...]:
        """The installed profiles, in the order of their installation."""
        return self._profiles

    def install(self, profile: Profile) -> None:
        """Install a profile; it replaces those with its id and, in 1.6, those with its place.

        Raises:
            ProfileError: too many are installed, or in 2.x another one has its place.
        """
        with self._lock:
            if not self._is_16:
                self._check_place(profile)
            # C16 §5.16.4; 2/201 K01.FR.05. In 1.6 the same stack level and purpose replace as well (C16 §3.13.2).
            kept = tuple(
                one for one in self._profiles if one.id != profile.id and not (self._is_16 and one.collides(profile))
            )
            if len(kept) >= MAX_INSTALLED:
                raise ProfileError("TooManyElements", f"{MAX_INSTALLED} profiles are installed, and no more fit")
            self._profiles = (*kept, profile)
        self._on_change()

    def remove(self, matches: Callable[[Profile], bool]) -> int:
        """Remove the profiles for which ``matches`` returns True; return how many there were."""
        with self._lock:
            before = self._profiles
            self._profiles = tuple(profile for profile in before if not matches(profile))
            count = len(before) - len(self._profiles)
        if count:
            self._on_change()
        return count

    def _check_place(self, profile: Profile) -> None:
        for other in self._profiles:
            # 2/201 K01.FR.06, .39, .52, .53: EVSE 0 stands for every EVSE.
            same = replace(other, connector_id=profile.connector_id).collides(profile)
            elsewhere = other.connector_id != profile.connector_id
            if same and (elsewhere or other.overlaps(profile)):
                text = f"profile {other.id} has the same purpose and stackLevel"
                raise ProfileError("DuplicateProfile", text)

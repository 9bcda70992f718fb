"""Which charging profiles are accepted, and which replace others."""

from __future__ import annotations

from typing import Any

import pytest
from support import DEADLINE, WatchedLock

from ocppsync.simulator.charging_profiles import (
    MAX_INSTALLED,
    MAX_PERIODS,
    MAX_STACK_LEVEL,
    Profile,
    ProfileError,
    Profiles,
    read_profile,
)

NOW = 1_800_000_000_000
START = "2026-06-01T12:00:00Z"
MAX = {True: "ChargePointMaxProfile", False: "ChargingStationMaxProfile"}


def payload(*, is_16: bool, schedule: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a default for transactions of 16 A, in the shape of the version."""
    one = {
        "chargingRateUnit": "A",
        "startSchedule": START,
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}],
        **({} if is_16 else {"id": 1}),
        **(schedule or {}),
    }
    one = {name: value for name, value in one.items() if value is not None}
    common = {
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": one if is_16 else [one],
        "chargingProfileId" if is_16 else "id": 1,
    }
    return {**common, **fields}


def read(connector_id: int = 1, *, is_16: bool = True, **fields: Any) -> Profile:
    return read_profile(payload(is_16=is_16, **fields), connector_id, NOW, is_16=is_16)


both = pytest.mark.parametrize("is_16", [True, False])


@both
def test_a_profile_is_read(is_16: bool) -> None:
    profile = read(is_16=is_16, validFrom=START, schedule={"duration": 60, "minChargingRate": 6})
    assert (profile.id, profile.stack_level, profile.connector_id, profile.relative) == (1, 0, 1, False)
    schedule = profile.schedule
    assert (schedule.unit, schedule.periods, schedule.duration, schedule.recurrence) == ("A", [(0, 16.0)], 60, None)
    assert schedule.start == schedule.valid_from == 1_780_315_200_000


@both
def test_seconds_that_no_float_can_hold_are_far_away(is_16: bool) -> None:
    far = {"startPeriod": 10**400, "limit": 10**400}
    profile = read(is_16=is_16, schedule={"chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6}, far]})
    assert profile.schedule.limit_at(NOW) == 6
    assert NOW + 10**13 < profile.schedule.next_change(NOW) < float("inf")
    endless = read(is_16=is_16, schedule={"duration": 10**400})
    assert endless.schedule.limit_at(NOW) == 16
    assert (endless.schedule.next_change(NOW) - NOW) / 1000 > 10**10


@both
def test_a_relative_profile_starts_with_the_transaction(is_16: bool) -> None:
    profile = read(is_16=is_16, chargingProfileKind="Relative", schedule={"startSchedule": None})
    assert profile.layer(NOW + 7).schedule.start == NOW + 7


def test_in_16_a_schedule_without_a_start_is_relative() -> None:
    assert read(schedule={"startSchedule": None}).layer(NOW + 7).schedule.start == NOW + 7
    # The charge point itself has no transaction: its schedule starts when it is installed.
    whole = read(0, chargingProfilePurpose=MAX[True], schedule={"startSchedule": None})
    assert whole.layer(NOW + 7).schedule.start == NOW


@both
@pytest.mark.parametrize(("kind", "seconds"), [("Daily", 86_400), ("Weekly", 604_800)])
def test_a_profile_recurs(is_16: bool, kind: str, seconds: int) -> None:
    assert read(is_16=is_16, chargingProfileKind="Recurring", recurrencyKind=kind).schedule.recurrence == seconds


@both
def test_a_profile_for_more_phases_keeps_its_limit(is_16: bool) -> None:
    period = {"startPeriod": 0, "limit": 11_000, "numberPhases": 3}
    schedule = {"chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
    assert read(is_16=is_16, schedule=schedule).schedule.periods == [(0, 11_000.0)]


def periods(*starts: int, **fields: Any) -> dict[str, Any]:
    return {"chargingSchedulePeriod": [{"startPeriod": start, "limit": 16, **fields} for start in starts]}


@both
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"stackLevel": MAX_STACK_LEVEL + 1}, "InvalidStackLevel"),
        ({"stackLevel": -1}, "InvalidStackLevel"),
        ({"connector_id": 0, "chargingProfilePurpose": "TxProfile"}, "InvalidProfile"),
        ({"chargingProfileKind": "Recurring"}, "InvalidProfile"),
        ({"validFrom": START, "validTo": START}, "InvalidProfile"),
        ({"schedule": periods(1)}, "InvalidSchedule"),
        ({"schedule": periods(0, 5, 5)}, "InvalidSchedule"),
        ({"schedule": periods(0, 5, 4)}, "InvalidSchedule"),
        ({"schedule": periods(*range(MAX_PERIODS + 1))}, "InvalidSchedule"),
        ({"schedule": periods(0, limit=-1)}, "InvalidSchedule"),
        ({"schedule": periods(0, numberPhases=0)}, "InvalidSchedule"),
        ({"schedule": periods(0, numberPhases=4)}, "InvalidSchedule"),
        ({"schedule": {"duration": -1}}, "InvalidSchedule"),
        ({"schedule": {"minChargingRate": -1}}, "InvalidSchedule"),
    ],
)
def test_what_both_versions_refuse(is_16: bool, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read(is_16=is_16, **fields)
    assert caught.value.reason_code == reason


@both
def test_the_limit_of_the_station_is_for_the_id_0(is_16: bool) -> None:
    assert read(0, is_16=is_16, chargingProfilePurpose=MAX[is_16]).purpose == MAX[is_16]
    with pytest.raises(ProfileError, match="expected the id 0"):
        read(1, is_16=is_16, chargingProfilePurpose=MAX[is_16])


@pytest.mark.parametrize(
    "fields",
    [
        {"transactionId": 5},
        {"recurrencyKind": "Daily"},
        {"schedule": {"chargingSchedulePeriod": []}},
        {"schedule": {"chargingSchedulePeriod": None}},
    ],
)
def test_what_16_refuses(fields: dict[str, Any]) -> None:
    with pytest.raises(ProfileError):
        read(**fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chargingProfilePurpose": "ChargingStationExternalConstraints"}, "UnsupportedPurpose"),
        ({"chargingProfilePurpose": "PriorityCharging"}, "UnsupportedPurpose"),
        ({"chargingProfilePurpose": "LocalGeneration"}, "UnsupportedPurpose"),
        ({"chargingProfileKind": "Dynamic"}, "UnsupportedKind"),
        ({"dynUpdateInterval": 60}, "InvalidProfile"),
        ({"chargingProfileKind": "Relative"}, "InvalidSchedule"),
        ({"schedule": {"startSchedule": None}}, "InvalidSchedule"),
        ({"chargingSchedule": [{}, {}]}, "InvalidSchedule"),
        ({"schedule": {"randomizedDelay": 5}}, "InvalidSchedule"),
        ({"schedule": {"useLocalTime": True}}, "InvalidSchedule"),
        ({"schedule": {"limitAtSoC": {"soc": 80, "limit": 6}}}, "InvalidSchedule"),
        ({"schedule": periods(0, evseSleep=True)}, "InvalidSchedule"),
        ({"schedule": periods(0, operationMode="CentralSetpoint")}, "InvalidSchedule"),
        ({"schedule": {"chargingSchedulePeriod": [{"startPeriod": 0}]}}, "InvalidSchedule"),
        ({"schedule": periods(0, numberPhases=3, phaseToUse=1)}, "InvalidSchedule"),
        ({"schedule": periods(0, numberPhases=1, phaseToUse=2)}, "InvalidSchedule"),
        (
            {
                **{"connector_id": 0, "chargingProfilePurpose": MAX[False], "chargingProfileKind": "Relative"},
                "schedule": {"startSchedule": None},
            },
            "InvalidProfile",
        ),
    ],
)
def test_what_2x_refuses(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read(is_16=False, **fields)
    assert caught.value.reason_code == reason


def test_2x_accepts_the_phase_that_is_there() -> None:
    assert read(is_16=False, schedule=periods(0, numberPhases=1, phaseToUse=1)).schedule.periods == [(0, 16.0)]


# Installed profiles.


def installed(is_16: bool, *profiles: Profile) -> Profiles:
    found = Profiles(lambda: None, is_16=is_16)
    for profile in profiles:
        found.install(profile)
    return found


def numbered(number: int, connector_id: int = 1, *, is_16: bool = True, **fields: Any) -> Profile:
    return read(connector_id, is_16=is_16, **{"chargingProfileId" if is_16 else "id": number}, **fields)


@both
def test_the_same_id_replaces(is_16: bool) -> None:
    newer = numbered(1, is_16=is_16, stackLevel=3)
    assert installed(is_16, numbered(1, is_16=is_16), newer).installed == (newer,)


def test_in_16_the_same_place_replaces() -> None:
    newer, elsewhere, other = numbered(2), numbered(3, 0), numbered(4, chargingProfilePurpose="TxProfile")
    assert installed(True, numbered(1), newer, elsewhere, other).installed == (newer, elsewhere, other)


def test_in_2x_the_same_place_is_refused_while_both_are_valid() -> None:
    profiles = installed(False, numbered(1, is_16=False, validTo=START))
    for number, connector_id, fields in ((2, 1, {}), (3, 0, {"validFrom": START})):
        with pytest.raises(ProfileError, match="profile 1 has the same purpose and stackLevel"):
            profiles.install(numbered(number, connector_id, is_16=False, **fields))
    profiles.install(numbered(4, is_16=False, validFrom=START))
    profiles.install(numbered(5, 0, is_16=False, stackLevel=1))
    assert [profile.id for profile in profiles.installed] == [1, 4, 5]


def test_the_number_of_profiles_is_limited() -> None:
    profiles = Profiles(lambda: None, is_16=True)
    levels = range(MAX_STACK_LEVEL)
    for number in range(MAX_INSTALLED):
        profiles.install(numbered(number, number // len(levels), stackLevel=levels[number % len(levels)]))
    with pytest.raises(ProfileError) as caught:
        profiles.install(numbered(99, stackLevel=MAX_STACK_LEVEL))
    assert caught.value.reason_code == "TooManyElements"
    profiles.install(numbered(0, 0, stackLevel=0))
    assert len(profiles.installed) == MAX_INSTALLED


def test_changes_are_told() -> None:
    changes: list[None] = []
    profiles = Profiles(lambda: changes.append(None), is_16=True)
    profiles.install(numbered(1))
    assert profiles.remove(lambda profile: profile.id == 7) == 0
    assert len(changes) == 1
    assert profiles.remove(lambda profile: profile.id == 1) == 1
    assert (len(changes), profiles.installed) == (2, ())


def test_two_threads_install_one_after_the_other() -> None:
    profiles = Profiles(lambda: None, is_16=True)
    lock: Any = WatchedLock()
    profiles._lock = lock
    with lock:
        installing = lock.meanwhile(lambda: profiles.install(numbered(1)))
        assert not installing.done()
        profiles._profiles = (numbered(2, 0),)
    installing.result(DEADLINE)
    assert [profile.id for profile in profiles.installed] == [2, 1]

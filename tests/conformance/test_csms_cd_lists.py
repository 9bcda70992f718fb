"""The cases of blocks C and D for a CSMS that need no card readers, OCPP 2.0.1 Part 6 §3.4 and §3.5: cache and list."""

from __future__ import annotations

from typing import Any

import pytest
from certification import ACCEPTED, VALID, Station


def token(name: str, *, accepted: bool = True) -> dict[str, Any]:
    """Return an entry of a local list; without an idTokenInfo it removes the idToken."""
    entry: dict[str, Any] = {"idToken": {"idToken": name, "type": "ISO14443"}}
    return {**entry, "idTokenInfo": {"status": "Accepted"}} if accepted else entry


def current_version(station: Station, version: int = 1) -> int:
    """Ask for the version of the station's list; return it."""
    station.asked("GetLocalListVersion", {}, {"versionNumber": version})
    return version


# C: the authorization cache.


def test_tc_c_37_csms_clear_cache_accepted(station: Station) -> None:
    station.asked("ClearCache", {}, ACCEPTED)


def test_tc_c_38_csms_clear_cache_rejected(station: Station) -> None:
    station.asked("ClearCache", {}, {"status": "Rejected"})


# D: the local authorization list.


def test_tc_d_01_csms_full_list(station: Station) -> None:
    """Each entry has an idTokenInfo."""
    full = [token(VALID["idToken"]), token("OTHER")]
    payload = {"updateType": "Full", "versionNumber": current_version(station) + 1, "localAuthorizationList": full}
    station.asked("SendLocalList", payload, ACCEPTED)


def test_tc_d_02_csms_differential_update(station: Station) -> None:
    version = current_version(station) + 1
    payload = {"updateType": "Differential", "versionNumber": version, "localAuthorizationList": [token("MORE")]}
    station.asked("SendLocalList", payload, ACCEPTED)


def test_tc_d_03_csms_differential_removal(station: Station) -> None:
    """An entry without an idTokenInfo is removed."""
    removed = [token("MORE", accepted=False)]
    payload = {"updateType": "Differential", "versionNumber": 3, "localAuthorizationList": removed}
    station.asked("SendLocalList", payload, ACCEPTED)


def test_tc_d_04_csms_full_list_without_entries(station: Station) -> None:
    """An empty list is left out: [] would break the schema."""
    station.asked("SendLocalList", {"updateType": "Full", "versionNumber": 4}, ACCEPTED)


@pytest.mark.parametrize("version", [1, 2147483647])
def test_tc_d_08_csms_version_of_the_list(station: Station, version: int) -> None:
    current_version(station, version)


def test_tc_d_09_csms_there_is_no_list(station: Station) -> None:
    current_version(station, 0)

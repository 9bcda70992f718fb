"""Smart charging of the simulator, over real connections: its answers, the meter under a limit, and its reports."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from simulated import RecordingCentralSystem, simulated
from support import DEADLINE, wait_until

from ocppsync import CallErrorReceived, OCPPError
from ocppsync.answers import ChargePointAnswers
from ocppsync.clock import as_text, milliseconds, now_ms
from ocppsync.simulator import SimulatedChargePoint
from ocppsync.simulator.charging_profiles import MAX_INSTALLED
from ocppsync.simulator.smart_charging import SmartCharging16
from ocppsync.throttled_log import ThrottledLog

pytestmark = pytest.mark.slow

MINUTE = 60_000


class CSMS:
    """Smart charging as a central system does it, in the shape of each version."""

    def __init__(self, central_system: RecordingCentralSystem, version: Any) -> None:
        self._central_system = central_system
        self._is_16 = version == "1.6"

    def ask(self, action: Any, payload: Any) -> Any:
        return self._central_system.cs.send_request("SIM-1", action, payload)

    def profile(self, number: int = 1, *periods: tuple[int, float], unit: str = "A", **fields: Any) -> Any:
        """Return an Absolute default that started a minute ago: of 10 A, or with periods of (startPeriod, limit)."""
        kind = fields.get("chargingProfileKind", "Absolute")
        schedule = {
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": [
                {"startPeriod": start, "limit": limit} for start, limit in periods or ((0, 10.0),)
            ],
            **({} if kind == "Relative" else {"startSchedule": fields.pop("start", as_text(now_ms() - MINUTE))}),
            **({} if self._is_16 else {"id": 1}),
        }
        purpose = fields.pop("purpose", "TxDefaultProfile")
        if not self._is_16:
            purpose = purpose.replace("ChargePoint", "ChargingStation")
        return {
            "chargingProfileId" if self._is_16 else "id": number,
            "stackLevel": 0,
            "chargingProfilePurpose": purpose,
            "chargingProfileKind": kind,
            "chargingSchedule": schedule if self._is_16 else [schedule],
            **fields,
        }

    def set(self, profile: Any, connector_id: int = 1) -> Any:
        names = ("connectorId", "csChargingProfiles") if self._is_16 else ("evseId", "chargingProfile")
        return self.ask("SetChargingProfile", dict(zip(names, (connector_id, profile), strict=True)))

    def clear(self, number: int | None = None, **criteria: Any) -> str:
        if self._is_16:
            names = {"connector_id": "connectorId", "purpose": "chargingProfilePurpose", "level": "stackLevel"}
            payload = {} if number is None else {"id": number}
            payload |= {names[name]: value for name, value in criteria.items()}
        else:
            names = {"connector_id": "evseId", "purpose": "chargingProfilePurpose", "level": "stackLevel"}
            payload = {} if number is None else {"chargingProfileId": number}
            if criteria:
                payload["chargingProfileCriteria"] = {names[name]: value for name, value in criteria.items()}
        return str(self.ask("ClearChargingProfile", payload)["status"])

    def composite(self, connector_id: int = 1, duration: int = 120, unit: str | None = None) -> Any:
        """Return the status and, if accepted, the answer's schedule with its scheduleStart."""
        payload = {"connectorId" if self._is_16 else "evseId": connector_id, "duration": duration}
        answer = self.ask("GetCompositeSchedule", payload | ({} if unit is None else {"chargingRateUnit": unit}))
        if answer["status"] != "Accepted":
            return answer["status"]
        if not self._is_16:
            return answer["schedule"]
        return {"scheduleStart": answer["scheduleStart"], **answer["chargingSchedule"]}

    def limits(self, **options: Any) -> list[tuple[int, float]]:
        periods = self.composite(**options)["chargingSchedulePeriod"]
        return [(period["startPeriod"], period["limit"]) for period in periods]

    def start_remotely(self, profile: Any = None) -> str:
        extra = {} if profile is None else {"chargingProfile": profile}
        if self._is_16:
            return str(self.ask("RemoteStartTransaction", {"idTag": "APP", "connectorId": 1, **extra})["status"])
        token = {"idToken": "APP", "type": "Central"}
        payload = {"idToken": token, "remoteStartId": 1, "evseId": 1, **extra}
        return str(self.ask("RequestStartTransaction", payload)["status"])

    def stop_remotely(self, transaction_id: Any) -> None:
        action = "RemoteStopTransaction" if self._is_16 else "RequestStopTransaction"
        assert self.ask(action, {"transactionId": transaction_id}) == {"status": "Accepted"}

    def samples(self) -> list[dict[str, float]]:
        """Return the meter readings of each periodic report."""
        found = []
        for action, payload in self._central_system.calls.items:
            if action in ("MeterValues", "TransactionEvent") and "meterValue" in payload:
                samples = payload["meterValue"][0]["sampledValue"]
                if samples[0].get("context") == "Sample.Periodic":
                    found.append({sample["measurand"]: float(sample["value"]) for sample in samples})
        return found

    def states(self) -> list[str]:
        """Return the states of the charging that were reported."""
        if self._is_16:
            found = [payload["status"] for payload in self._central_system.payloads("StatusNotification")]
        else:
            events = self._central_system.payloads("TransactionEvent")
            found = [event["transactionInfo"].get("chargingState") for event in events]
        return [state for state in found if state in ("Charging", "SuspendedEVSE")]

    def wait_for_state(self, *states: str) -> None:
        wait_until(lambda: self.states() == list(states))


@pytest.fixture
def csms(central_system: RecordingCentralSystem, version: Any) -> CSMS:
    return CSMS(central_system, version)


def status(answer: Any) -> str:
    return str(answer["status"])


# Profiles.


def test_profiles_are_set_stacked_and_cleared(station: SimulatedChargePoint, csms: CSMS) -> None:
    assert csms.limits() == [(0, 7360.0)]
    assert status(csms.set(csms.profile(1, (0, 16), (90, 8)))) == "Accepted"
    first, (second, limit) = csms.limits()
    assert (first, limit) == ((0, 16.0), 8.0)
    assert 15 < second <= 31  # 30 s after the request, less what it has taken
    assert status(csms.set(csms.profile(2, (0, 20), stackLevel=1))) == "Accepted"
    assert csms.limits() == [(0, 20.0)]
    assert status(csms.set(csms.profile(3, (0, 2300), unit="W", purpose="ChargePointMaxProfile"), 0)) == "Accepted"
    assert csms.limits(unit="A") == [(0, 10.0)]
    assert csms.limits(unit="W", connector_id=0) == [(0, 2300.0)]
    assert csms.clear(3) == "Accepted"
    assert csms.clear(3) == "Unknown"
    assert csms.clear(level=1, purpose="TxDefaultProfile", connector_id=1) == "Accepted"
    assert csms.clear(connector_id=0) == "Unknown"
    assert csms.limits()[0] == (0, 16.0)
    assert csms.clear() == "Accepted"
    assert csms.limits(unit="A") == [(0, 32.0)]


def test_a_composite_schedule_begins_now(station: SimulatedChargePoint, csms: CSMS) -> None:
    composite = csms.composite(duration=77)
    assert abs(milliseconds(composite["scheduleStart"]) - now_ms()) < 10_000
    assert (composite["duration"], composite["chargingRateUnit"]) == (77, "W")
    assert "startSchedule" not in composite


def test_without_a_transaction_the_schedule_is_that_of_a_new_one(station: SimulatedChargePoint, csms: CSMS) -> None:
    csms.set(csms.profile(1, (0, 6), (60, 12), chargingProfileKind="Relative"))
    assert csms.limits() == [(0, 6.0), (60, 12.0)]


@pytest.mark.parametrize(("connector_id", "duration"), [(2, 60), (1, 0), (1, 10**9)])
def test_an_impossible_composite_is_rejected(
    station: SimulatedChargePoint, csms: CSMS, connector_id: int, duration: int
) -> None:
    assert csms.composite(connector_id, duration) == "Rejected"


def test_a_bad_profile_is_rejected_with_a_reason(
    station: SimulatedChargePoint, csms: CSMS, version: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = csms.set(csms.profile(1, (5, 16)))
    text = "the first startPeriod is 5: expected 0"
    assert answer["status"] == "Rejected"
    assert answer.get("statusInfo") == (
        None if version == "1.6" else {"reasonCode": "InvalidSchedule", "additionalInfo": text}
    )
    assert f"SIM-1: refuses a charging profile: {text}" in caplog.messages


def test_an_unknown_connector_is_refused(station: SimulatedChargePoint, csms: CSMS, version: Any) -> None:
    if version != "1.6":
        assert csms.set(csms.profile(), 2)["statusInfo"]["reasonCode"] == "UnknownEvse"
        return
    with pytest.raises(CallErrorReceived) as caught:
        csms.set(csms.profile(), 2)
    assert caught.value.code == "PropertyConstraintViolation"


def test_profiles_survive_a_boot(station: SimulatedChargePoint, csms: CSMS) -> None:
    csms.set(csms.profile())
    station.boot()
    assert csms.limits() == [(0, 10.0)]


# The meter.


def test_a_limit_caps_power_and_energy(station: SimulatedChargePoint, csms: CSMS) -> None:
    free = station.charge(energy_wh=4000, samples=4)
    unlimited = csms.samples()
    csms.set(csms.profile(1, (0, 8.0)))
    capped = station.charge(energy_wh=4000, samples=4)
    limited = csms.samples()[len(unlimited) :]
    assert free is not None
    assert capped is not None
    # The vehicle gets its energy all the same, later.
    assert capped.meter_stop - capped.meter_start == free.meter_stop - free.meter_start == 4000
    assert len(limited) > len(unlimited) == 4
    assert max(sample["Current.Import"] for sample in unlimited) > 16
    assert all(0 < sample["Current.Import"] <= 8 for sample in limited)
    assert all(sample["Power.Active.Import"] <= 8 * 230 for sample in limited)
    registers = [capped.meter_start, *(sample["Energy.Active.Import.Register"] for sample in limited)]
    steps = [after - before for before, after in itertools.pairwise(registers)]
    # A sample at full power: the curve of four samples is about 3.3 of them.
    assert max(steps) <= 8 / 32 * 4000 / 2.9


def test_a_limit_in_watts_caps_the_power(station: SimulatedChargePoint, csms: CSMS) -> None:
    csms.set(csms.profile(1, (0, 2000.5), unit="W", purpose="ChargePointMaxProfile"), 0)
    station.charge(energy_wh=1000, samples=3)
    assert all(0 < sample["Power.Active.Import"] <= 2000 for sample in csms.samples())


def test_a_limit_of_0_suspends_until_it_rises(station: SimulatedChargePoint, csms: CSMS) -> None:
    csms.set(csms.profile(1, (0, 0.0)))
    charging = threading.Thread(target=station.charge, kwargs={"samples": 2}, name="test-charge")
    charging.start()
    csms.wait_for_state("SuspendedEVSE")
    wait_until(lambda: len(csms.samples()) > 4)
    assert {sample["Power.Active.Import"] for sample in csms.samples()} == {0.0}
    assert len({sample["Energy.Active.Import.Register"] for sample in csms.samples()}) == 1
    assert csms.clear(1) == "Accepted"
    charging.join(DEADLINE)
    assert not charging.is_alive()
    assert csms.states() == ["SuspendedEVSE", "Charging"]
    assert csms.samples()[-1]["Power.Active.Import"] > 0


def test_the_schedule_changes_the_limit_in_real_seconds(
    central_system: RecordingCentralSystem, version: Any, csms: CSMS
) -> None:
    with simulated(central_system, version=version, pace=30) as station:
        station.boot()
        csms.set(csms.profile(1, (0, 16), (2, 0.0), (3, 16), chargingProfileKind="Relative"))
        charging = charge_aside(station, samples=1000)
        csms.wait_for_state("Charging", "SuspendedEVSE", "Charging")
    charging.join(DEADLINE)
    assert not charging.is_alive()


def charge_aside(station: SimulatedChargePoint, samples: int = 8) -> threading.Thread:
    """Charge on another thread, until the charge point is stopped."""

    def charge() -> None:
        with contextlib.suppress(OCPPError, RuntimeError):
            station.charge(authorize=False, samples=samples)

    thread = threading.Thread(target=charge, name="test-charge")
    thread.start()
    return thread


def test_stop_ends_a_suspended_session(central_system: RecordingCentralSystem, version: Any, csms: CSMS) -> None:
    with simulated(central_system, version=version, pace=3) as station:
        station.boot()
        csms.set(csms.profile(1, (0, 0.0)))
        charging = charge_aside(station)
        csms.wait_for_state("SuspendedEVSE")
        began = time.monotonic()
        station.stop()
        charging.join(DEADLINE)
        assert time.monotonic() - began < 5
    assert not charging.is_alive()


# Profiles of a transaction.


@pytest.fixture
def slow(central_system: RecordingCentralSystem, version: Any, csms: CSMS) -> Iterator[Any]:
    """The id of a transaction that runs for some seconds."""
    with simulated(central_system, version=version, sessions=0, pace=3) as station:
        station.start()
        central_system.wait("StatusNotification", 2 if version == "1.6" else 1)
        assert csms.start_remotely() == "Accepted"
        wait_until(lambda: csms.samples() and csms.states())
        yield station.answers.transaction_id


def test_a_transaction_profile_ends_with_its_transaction(csms: CSMS, slow: Any, version: Any) -> None:
    csms.set(csms.profile(1, (0, 16)))
    assert status(csms.set(csms.profile(2, (0, 20), purpose="TxProfile", transactionId=slow))) == "Accepted"
    assert csms.limits() == [(0, 20.0)]
    other = 99 if version == "1.6" else "another"
    assert status(csms.set(csms.profile(3, purpose="TxProfile", transactionId=other))) == "Rejected"
    csms.stop_remotely(slow)
    wait_until(lambda: csms.limits() == [(0, 16.0)])
    assert csms.clear(2) == "Unknown"
    assert status(csms.set(csms.profile(4, purpose="TxProfile", transactionId=slow))) == "Rejected"


def test_a_transaction_profile_needs_its_id_in_2x_only(csms: CSMS, slow: Any, version: Any) -> None:
    answer = csms.set(csms.profile(2, purpose="TxProfile"))
    assert answer["status"] == ("Accepted" if version == "1.6" else "Rejected")


def test_2x_reports_a_change_of_the_rate(
    central_system: RecordingCentralSystem, csms: CSMS, slow: Any, version: Any
) -> None:
    csms.set(csms.profile(2, (0, 6.0), purpose="TxProfile", transactionId=slow))
    wait_until(lambda: csms.samples()[-1]["Current.Import"] <= 6)
    triggers = [payload["triggerReason"] for payload in central_system.payloads("TransactionEvent")]
    assert triggers.count("ChargingRateChanged") == (0 if version == "1.6" else 1)
    # Less than LimitChangeSignificance.
    csms.set(csms.profile(2, (0, 5.99 if version != "1.6" else 5.9), purpose="TxProfile", transactionId=slow))
    count = len(csms.samples())
    wait_until(lambda: len(csms.samples()) > count + 1)
    triggers = [payload["triggerReason"] for payload in central_system.payloads("TransactionEvent")]
    assert triggers.count("ChargingRateChanged") == (0 if version == "1.6" else 1)


def test_a_remote_start_brings_its_profile(central_system: RecordingCentralSystem, version: Any, csms: CSMS) -> None:
    with simulated(central_system, version=version, sessions=0, pace=20) as station:
        station.start()
        central_system.wait("StatusNotification", 2 if version == "1.6" else 1)
        profile = csms.profile(7, (0, 6), purpose="TxProfile", chargingProfileKind="Relative")
        assert csms.start_remotely({**profile, "transactionId": 5 if version == "1.6" else "5"}) == "Rejected"
        assert csms.start_remotely({**profile, "chargingProfilePurpose": "TxDefaultProfile"}) == "Rejected"
        assert csms.start_remotely(profile) == "Accepted"
        wait_until(csms.samples)
        assert csms.samples()[0]["Current.Import"] <= 6
        assert csms.clear(7) == "Accepted"


def test_a_profile_may_follow_the_start_at_once(
    central_system: RecordingCentralSystem, version: Any, csms: CSMS
) -> None:
    answers: list[Any] = []
    action: Any = "StartTransaction" if version == "1.6" else "TransactionEvent"

    def after(payload: Any, metadata: Any) -> None:
        if payload.get("eventType", "Started") == "Started":
            number = 1 if version == "1.6" else payload["transactionInfo"]["transactionId"]
            answers.append(csms.set(csms.profile(1, (0, 6), purpose="TxProfile", transactionId=number)))

    central_system.cs.after(action)(after)
    with simulated(central_system, version=version) as station:
        station.boot()
        for _ in range(20):
            station.charge(samples=1)
        wait_until(lambda: len(answers) == 20)
    if version == "1.6":
        # The ids count up, so that only the first transaction has the id 1.
        answers = answers[:1]
    assert [answer["status"] for answer in answers] == ["Accepted"] * len(answers)


def test_a_request_waits_until_the_transaction_has_its_id() -> None:
    state = ChargePointAnswers()
    charging = SmartCharging16(state, ThrottledLog("SIM-1"), lambda: None)
    csms = CSMS(cast("Any", None), "1.6")
    request = {"connectorId": 1, "csChargingProfiles": csms.profile(1, purpose="TxProfile", transactionId=5)}
    set_profile: Any = charging.table()["SetChargingProfile"]
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(set_profile(request)), name="test-asking")
    with charging.transaction(None):
        asking.start()
        asking.join(0.05)
        state.transaction_id = 5
    asking.join(DEADLINE)
    assert answers == [{"status": "Accepted"}]


# Reports of 2.x.


def report(csms: CSMS, central_system: RecordingCentralSystem, **payload: Any) -> list[Any]:
    """Return the evseId and the ids of the profiles of each report."""
    central_system.calls.items.clear()
    assert csms.ask("GetChargingProfiles", {"requestId": 9, **payload}) == {"status": "Accepted"}
    central_system.wait("ReportChargingProfiles", tbc=False)
    reports = central_system.payloads("ReportChargingProfiles")
    assert {(one["requestId"], one["chargingLimitSource"]) for one in reports} == {(9, "CSO")}
    assert [one["tbc"] for one in reports] == [True] * (len(reports) - 1) + [False]
    return [(one["evseId"], [profile["id"] for profile in one["chargingProfile"]]) for one in reports]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
def test_profiles_are_reported(
    station: SimulatedChargePoint, csms: CSMS, central_system: RecordingCentralSystem
) -> None:
    profiles = [csms.profile(number, stackLevel=number) for number in range(7)]
    for profile in profiles:
        assert status(csms.set(profile)) == "Accepted"
    assert status(csms.set(csms.profile(20, purpose="ChargePointMaxProfile"), 0)) == "Accepted"
    assert report(csms, central_system, chargingProfile={}) == [(0, [20]), (1, [0, 1, 2, 3, 4]), (1, [5, 6])]
    assert central_system.payloads("ReportChargingProfiles")[1]["chargingProfile"][0] == profiles[0]
    assert report(csms, central_system, chargingProfile={"chargingProfileId": [3, 20]}) == [(0, [20]), (1, [3])]
    assert report(csms, central_system, evseId=0, chargingProfile={"chargingLimitSource": ["CSO"]}) == [(0, [20])]
    assert report(csms, central_system, chargingProfile={"stackLevel": 6}) == [(1, [6])]
    for criteria in ({"stackLevel": 9}, {"chargingLimitSource": ["EMS"]}, {"chargingProfilePurpose": "TxProfile"}):
        payload = {"requestId": 9, "chargingProfile": criteria}
        assert csms.ask("GetChargingProfiles", payload) == {"status": "NoProfiles"}


def test_a_suspended_session_can_be_stopped(central_system: RecordingCentralSystem, version: Any, csms: CSMS) -> None:
    with simulated(central_system, version=version, sessions=0, pace=20) as station:
        station.start()
        central_system.wait("StatusNotification", 2 if version == "1.6" else 1)
        csms.set(csms.profile(1, (0, 0.0)))
        assert csms.start_remotely() == "Accepted"
        csms.wait_for_state("SuspendedEVSE")
        csms.stop_remotely(station.answers.transaction_id)
        if version == "1.6":
            stop = central_system.wait("StopTransaction", reason="Remote")
            assert stop["meterStop"] == central_system.payloads("StartTransaction")[0]["meterStart"]
        else:
            central_system.wait("TransactionEvent", eventType="Ended", triggerReason="RemoteStop")


@pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
def test_in_2x_a_profile_may_come_before_the_answer_to_the_first_event(
    central_system: RecordingCentralSystem, station: SimulatedChargePoint, csms: CSMS
) -> None:
    answers: list[Any] = []

    def answer(payload: Any) -> Any:
        if payload["eventType"] == "Started":
            number = payload["transactionInfo"]["transactionId"]
            began = time.monotonic()
            answers.append(csms.set(csms.profile(1, (0, 6), purpose="TxProfile", transactionId=number)))
            assert time.monotonic() - began < 1.5  # it does not wait for this answer
        return {}

    central_system.answers["TransactionEvent"] = answer
    station.charge(samples=2)
    assert [status(one) for one in answers] == ["Accepted"]
    assert csms.samples()[0]["Current.Import"] <= 6


def test_the_profile_of_a_remote_start_that_does_not_fit_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    state = ChargePointAnswers()
    charging = SmartCharging16(state, ThrottledLog("SIM-1"), lambda: None)
    csms = CSMS(cast("Any", None), "1.6")
    set_profile: Any = charging.table()["SetChargingProfile"]
    for number in range(MAX_INSTALLED):
        profile = csms.profile(number, stackLevel=number // 2)
        assert status(set_profile({"connectorId": number % 2, "csChargingProfiles": profile})) == "Accepted"
    with charging.transaction(csms.profile(99, purpose="TxProfile")):
        state.transaction_id = 5
    assert [profile.id for profile in charging.profiles] == list(range(MAX_INSTALLED))
    assert any("profiles are installed, and no more fit" in line for line in caplog.messages)

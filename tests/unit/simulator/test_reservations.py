"""The reservation of the simulator's connector."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from simulated import RecordingCentralSystem, refuse, simulated
from support import DEADLINE, WatchedLock, wait_until

from ocppsync import CallErrorReceived
from ocppsync.clock import as_text, now_ms
from ocppsync.simulator import SimulatedChargePoint
from ocppsync.simulator.jobs import Job
from ocppsync.simulator.reservations import Reservation

pytestmark = pytest.mark.slow

HOUR = 3_600_000


class CSMS:
    """Reserves as a central system does it, in the shape of each version."""

    def __init__(self, central_system: RecordingCentralSystem, version: Any) -> None:
        self.central_system = central_system
        self.is_16 = version == "1.6"

    def ask(self, action: Any, payload: Any) -> Any:
        return self.central_system.cs.send_request("SIM-1", action, payload)

    def reserve(
        self, number: int = 1, id_tag: str = "ANNA", *, group: str | None = None, connector_id: int = 1, ms: int = HOUR
    ) -> str:
        expiry = as_text(now_ms() + ms)
        if self.is_16:
            payload = {"reservationId": number, "connectorId": connector_id, "expiryDate": expiry, "idTag": id_tag}
            payload |= {} if group is None else {"parentIdTag": group}
        else:
            payload = {"id": number, "expiryDateTime": expiry, "idToken": {"idToken": id_tag, "type": "ISO14443"}}
            payload |= {"evseId": connector_id} if connector_id else {}
            payload |= {} if group is None else {"groupIdToken": {"idToken": group, "type": "Central"}}
        return str(self.ask("ReserveNow", payload)["status"])

    def cancel(self, number: int = 1) -> str:
        return str(self.ask("CancelReservation", {"reservationId": number})["status"])

    def start_remotely(self, id_tag: str, group: str | None = None) -> str:
        if self.is_16:
            return str(self.ask("RemoteStartTransaction", {"idTag": id_tag})["status"])
        token = {"idToken": id_tag, "type": "ISO14443"}
        payload: Any = {"idToken": token, "remoteStartId": 1}
        payload |= {} if group is None else {"groupIdToken": {"idToken": group, "type": "Central"}}
        return str(self.ask("RequestStartTransaction", payload)["status"])

    def change_availability(self, *, operative: bool) -> None:
        kind = "Operative" if operative else "Inoperative"
        payload = {"connectorId": 1, "type": kind} if self.is_16 else {"operationalStatus": kind}
        assert self.ask("ChangeAvailability", payload) == {"status": "Accepted"}

    def group_is(self, group: str) -> None:
        """Let Authorize say that every token belongs to a group."""
        info: Any = {"status": "Accepted"}
        if self.is_16:
            answer: Any = {"idTagInfo": {**info, "parentIdTag": group}}
        else:
            answer = {"idTokenInfo": {**info, "groupIdToken": {"idToken": group, "type": "Central"}}}
        self.central_system.answers["Authorize"] = lambda payload: answer

    def states(self) -> list[str]:
        """Return the states of the connector that were reported, without repetitions."""
        found: list[str] = []
        for payload in self.central_system.payloads("StatusNotification"):
            state = payload.get("status") or payload["connectorStatus"]
            if payload["connectorId"] == 1 and found[-1:] != [state]:
                found.append(state)
        return found

    def wait_for_state(self, state: str) -> None:
        wait_until(lambda: self.states()[-1] == state)

    def calls(self) -> list[tuple[str, Any]]:
        return list(self.central_system.calls.items)

    def used(self) -> list[Any]:
        """Return the id of the reservation of each transaction that has begun."""
        if self.is_16:
            found = self.central_system.payloads("StartTransaction")
        else:
            events = self.central_system.payloads("TransactionEvent")
            found = [event for event in events if event["eventType"] == "Started"]
            assert not any("reservationId" in event for event in events if event["eventType"] != "Started")
        return [payload.get("reservationId") for payload in found]

    def updates(self) -> list[tuple[int, str]]:
        payloads = self.central_system.payloads("ReservationStatusUpdate")
        return [(payload["reservationId"], payload["reservationUpdateStatus"]) for payload in payloads]


@pytest.fixture
def csms(central_system: RecordingCentralSystem, version: Any) -> CSMS:
    return CSMS(central_system, version)


def test_a_reserved_connector_is_kept_for_its_driver(csms: CSMS, station: SimulatedChargePoint) -> None:
    assert csms.reserve(7, "ANNA") == "Accepted"
    csms.wait_for_state("Reserved")
    assert station.charge(id_tag="BOB", samples=1) is None
    assert "Authorize" not in csms.central_system.actions()
    assert csms.states()[-1] == "Reserved"
    assert station.charge(id_tag="anna", samples=1) is not None
    assert csms.used() == [7]
    assert csms.states()[-1] == "Available"
    assert station.charge(id_tag="BOB", samples=1) is not None
    assert csms.used() == [7, None]
    assert csms.updates() == []


def test_a_reservation_is_cancelled(csms: CSMS, station: SimulatedChargePoint) -> None:
    assert csms.cancel(1) == "Rejected"
    csms.reserve(1)
    csms.wait_for_state("Reserved")
    assert csms.cancel(2) == "Rejected"
    assert csms.cancel(1) == "Accepted"
    csms.wait_for_state("Available")
    assert station.charge(id_tag="BOB", samples=1) is not None
    assert csms.updates() == []  # 2/201 H02


def test_the_same_id_replaces_and_another_one_is_refused(csms: CSMS, station: SimulatedChargePoint) -> None:
    assert csms.reserve(1, "ANNA") == "Accepted"
    assert csms.reserve(2, "ANNA") == "Occupied"
    assert csms.reserve(1, "BOB") == "Accepted"
    assert station.charge(id_tag="ANNA", samples=1) is None
    assert station.charge(id_tag="BOB", samples=1) is not None


def test_a_reservation_expires(csms: CSMS, station: SimulatedChargePoint) -> None:
    before = now_ms()
    csms.reserve(3, ms=1200)
    wait_until(lambda: csms.states() == ["Available", "Reserved", "Available"])
    assert now_ms() >= before + 1200
    wait_until(lambda: csms.updates() == ([] if csms.is_16 else [(3, "Expired")]))
    assert station.charge(id_tag="BOB", samples=1) is not None
    assert csms.used() == [None]


def test_an_expired_reservation_is_rejected(csms: CSMS, station: SimulatedChargePoint) -> None:
    assert csms.reserve(1, ms=-1000) == "Rejected"
    assert csms.states() == ["Available"]


def test_a_replaced_reservation_expires_once(csms: CSMS, station: SimulatedChargePoint) -> None:
    csms.reserve(1, ms=HOUR)
    csms.reserve(1, ms=1200)
    wait_until(lambda: csms.states() == ["Available", "Reserved", "Available"])
    wait_until(lambda: csms.is_16 or csms.updates() == [(1, "Expired")])
    assert station._features.reservations.current is None


def test_any_connector_can_be_reserved_if_supported(csms: CSMS, station: SimulatedChargePoint) -> None:
    assert csms.reserve(1, connector_id=0) == "Accepted"
    csms.wait_for_state("Reserved")
    assert station.charge(id_tag="BOB", samples=1) is None
    csms.cancel(1)
    answers: Any = station.answers
    if csms.is_16:
        answers.configuration["reserveconnectorzerosupported"].value = "false"
    else:
        answers.device_model["ReservationCtrlr", "NonEvseSpecific"].value = "false"
    assert csms.reserve(1, connector_id=0) == "Rejected"
    assert csms.reserve(1, connector_id=2) == "Rejected"


@pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
def test_2x_checks_the_type_of_the_connector(csms: CSMS, station: SimulatedChargePoint) -> None:
    expiry = as_text(now_ms() + HOUR)
    payload = {"id": 1, "expiryDateTime": expiry, "idToken": {"idToken": "ANNA", "type": "ISO14443"}}
    assert csms.ask("ReserveNow", {**payload, "connectorType": "cCCS2"}) == {"status": "Rejected"}
    assert csms.ask("ReserveNow", {**payload, "connectorType": "cType2"}) == {"status": "Accepted"}


@pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
def test_2x_can_be_told_not_to_accept_reservations(csms: CSMS, station: SimulatedChargePoint) -> None:
    setting = {"component": {"name": "ReservationCtrlr"}, "variable": {"name": "Enabled"}, "attributeValue": "False"}
    (result,) = csms.ask("SetVariables", {"setVariableData": [setting]})["setVariableResult"]
    assert result["attributeStatus"] == "Accepted"
    assert csms.reserve(1) == "Rejected"


def test_an_unavailable_connector_cannot_be_reserved(csms: CSMS, station: SimulatedChargePoint) -> None:
    csms.reserve(1)
    csms.wait_for_state("Reserved")
    csms.change_availability(operative=False)
    csms.wait_for_state("Unavailable")
    wait_until(lambda: csms.updates() == ([] if csms.is_16 else [(1, "Removed")]))
    assert csms.reserve(2) == "Unavailable"
    csms.change_availability(operative=True)
    csms.wait_for_state("Available")
    assert csms.cancel(1) == "Rejected"


def test_a_connector_in_use_cannot_be_reserved(
    csms: CSMS, station: SimulatedChargePoint, central_system: RecordingCentralSystem
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def authorize(payload: Any) -> Any:
        began.set()
        assert go_on.wait(DEADLINE)
        return {"idTagInfo" if csms.is_16 else "idTokenInfo": {"status": "Accepted"}}

    central_system.answers["Authorize"] = authorize
    charging = threading.Thread(target=station.charge, kwargs={"samples": 1}, name="test-charge")
    charging.start()
    assert began.wait(DEADLINE)
    assert csms.reserve(1) == "Occupied"
    go_on.set()
    charging.join(DEADLINE)
    assert csms.reserve(1) == "Accepted"


# Groups.


def test_a_driver_of_the_group_may_charge(csms: CSMS, station: SimulatedChargePoint) -> None:
    csms.reserve(4, "ANNA", group="FLEET")
    csms.group_is("OTHERS")
    assert station.charge(id_tag="BOB", samples=1, authorize=False) is None
    csms.group_is("fleet")
    session = station.charge(id_tag="BOB", samples=1, authorize=False)
    assert session is not None
    assert csms.used() == [4]
    # Once for each driver, to find out the group (C16 §5.13; 2/201 H03.FR.08).
    assert csms.central_system.actions().count("Authorize") == 2


def test_the_driver_of_the_reservation_need_not_be_in_the_group(csms: CSMS, station: SimulatedChargePoint) -> None:
    csms.reserve(4, "ANNA", group="FLEET")
    assert station.charge(id_tag="ANNA", samples=1, authorize=False) is not None
    assert "Authorize" not in csms.central_system.actions()


def test_a_refused_driver_leaves_the_reservation(
    csms: CSMS, station: SimulatedChargePoint, central_system: RecordingCentralSystem
) -> None:
    csms.reserve(5)
    csms.wait_for_state("Reserved")
    field = "idTagInfo" if csms.is_16 else "idTokenInfo"
    central_system.answers["Authorize"] = lambda payload: {field: {"status": "Blocked"}}
    assert station.charge(id_tag="ANNA") is None
    assert csms.states()[-1] == "Reserved"
    assert csms.cancel(5) == "Accepted"


def test_a_failure_before_the_transaction_leaves_the_reservation(
    csms: CSMS, station: SimulatedChargePoint, central_system: RecordingCentralSystem
) -> None:
    csms.reserve(5)
    central_system.answers["Authorize"] = refuse("InternalError")
    with pytest.raises(CallErrorReceived):
        station.charge(id_tag="ANNA")
    csms.wait_for_state("Reserved")
    assert station.charge(id_tag="ANNA", samples=1, authorize=False) is not None
    assert csms.used() == [5]


def test_a_reservation_that_expires_while_its_driver_is_asked_about_ends(
    csms: CSMS, station: SimulatedChargePoint, central_system: RecordingCentralSystem
) -> None:
    csms.reserve(5, ms=700)

    def authorize(payload: Any) -> Any:
        wait_until(lambda: now_ms() > expiry)
        return {"idTagInfo" if csms.is_16 else "idTokenInfo": {"status": "Blocked"}}

    current = station._features.reservations.current
    assert current is not None
    expiry = current.expires_at
    central_system.answers["Authorize"] = authorize
    assert station.charge(id_tag="ANNA") is None
    csms.wait_for_state("Available")
    wait_until(lambda: csms.updates() == ([] if csms.is_16 else [(5, "Expired")]))


# The scenario.


def test_a_remote_start_needs_the_reservation(csms: CSMS, central_system: RecordingCentralSystem, version: Any) -> None:
    with simulated(central_system, version=version, sessions=0) as station:
        station.start()
        central_system.wait("StatusNotification", 2 if csms.is_16 else 1)
        csms.reserve(6)
        assert csms.start_remotely("BOB") == "Rejected"
        assert csms.start_remotely("ANNA") == "Accepted"
        wait_until(lambda: csms.used() == [6])


@pytest.mark.parametrize("version", ["2.0.1", "2.1"], indirect=True)
def test_a_remote_start_may_name_the_group(csms: CSMS, central_system: RecordingCentralSystem, version: Any) -> None:
    with simulated(central_system, version=version, sessions=0) as station:
        station.start()
        central_system.wait("StatusNotification")
        csms.reserve(6, group="FLEET")
        assert csms.start_remotely("BOB", "FLEET") == "Accepted"
        wait_until(lambda: csms.used() == [6])
        assert "Authorize" not in central_system.actions()


def test_the_scenario_leaves_a_reserved_connector_alone(
    csms: CSMS, central_system: RecordingCentralSystem, version: Any
) -> None:
    with simulated(central_system, version=version) as station:
        station.boot()
        csms.reserve(1, ms=1200)
        csms.wait_for_state("Reserved")
        station.start()
        wait_until(csms.used)
    calls = [(action, payload.get("status", payload.get("connectorStatus"))) for action, payload in csms.calls()]
    last = max(number for number, call in enumerate(calls) if call == ("StatusNotification", "Reserved"))
    free = calls.index(("StatusNotification", "Available"), last)
    first = next(number for number, call in enumerate(calls) if call[0] in ("StartTransaction", "TransactionEvent"))
    assert free < first


def test_stop_ends_the_wait_for_the_expiry(csms: CSMS, station: SimulatedChargePoint) -> None:
    csms.reserve(1)
    job = station._features.reservations._expiry
    assert job is not None
    station.stop()
    assert not job.alive


def test_a_reservation_does_not_show_its_token() -> None:
    reservation = Reservation(1, 1, 0, "ANNA", "FLEET")
    assert "ANNA" not in repr(reservation)
    assert "FLEET" not in repr(reservation)
    assert not Reservation(1, 1, 0, "ANNA").fits("BOB", None)


# Threads that meet.


def test_a_session_that_begins_during_a_request_sees_the_reservation(csms: CSMS, station: SimulatedChargePoint) -> None:
    reservations = station._features.reservations
    lock: Any = WatchedLock()
    reservations._lock = lock
    seen: list[Any] = []

    def is_busy() -> bool:
        # The session begins after the request has looked, and asks for the reservation.
        seen.append(lock.meanwhile(lambda: reservations.current))
        return False

    reservations._link = dataclasses.replace(reservations._link, is_busy=is_busy)
    assert csms.reserve(8) == "Accepted"
    assert seen[0].result(DEADLINE).id == 8


def test_an_expiry_that_comes_late_leaves_the_next_reservation(csms: CSMS, station: SimulatedChargePoint) -> None:
    reservations = station._features.reservations
    csms.reserve(1)
    old = reservations.current
    assert old is not None
    csms.reserve(1, ms=HOUR)
    reservations._expire(Job("test-job", lambda job: None), dataclasses.replace(old, expires_at=0))
    assert reservations.current is not None
    assert station.answers.reserved
    assert csms.updates() == []

"""The simulated charging station of OCPP 2.0.1 and 2.1 over real connections: its messages, and how it obeys.

What its scenario has in common with that of 1.6 is in test_simulator.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from simulated import DemoCentralSystem, refuse, serving_desk, simulated
from support import connected

from ocppsync import CallErrorReceived
from ocppsync.answers import ChargingStationAnswers
from ocppsync.simulator import Session, SimulatedChargePoint

pytestmark = pytest.mark.slow

REFUSED = {"idTokenInfo": {"status": "Blocked"}}
APP = {"idToken": "APP-7", "type": "Central"}


@pytest.fixture(params=["2.0.1", "2.1"])
def version(request: Any) -> Any:
    return request.param


@pytest.fixture
def desk() -> Iterator[DemoCentralSystem]:
    with serving_desk() as desk:
        yield desk


def events(desk: DemoCentralSystem) -> list[tuple[str, str]]:
    """What each TransactionEvent is, and why it was sent."""
    return [(event["eventType"], event["triggerReason"]) for event in desk.payloads("TransactionEvent")]


def registers(payloads: list[Any]) -> list[int]:
    return [payload["meterValue"][0]["sampledValue"][0]["value"] for payload in payloads if "meterValue" in payload]


# Driven by hand.


def test_boot_connects_registers_and_reports(desk: DemoCentralSystem, version: Any) -> None:
    with simulated(desk, version=version) as station:
        assert station.boot()["status"] == "Accepted"
        assert desk.cs.ocpp_version("SIM-1") == station.version == version
    boot, status = desk.payloads("BootNotification")[0], desk.payloads("StatusNotification")[0]
    assert desk.actions() == ["BootNotification", "StatusNotification"]
    assert (boot["reason"], boot["chargingStation"]["serialNumber"]) == ("PowerUp", "SIM-1")
    assert (status["evseId"], status["connectorId"], status["connectorStatus"]) == (1, 1, "Available")


def test_a_session_has_every_message_and_its_energy(desk: DemoCentralSystem, version: Any) -> None:
    with simulated(desk, version=version) as station:
        station.boot()
        desk.calls.items.clear()
        session = station.charge(energy_wh=1000, samples=4, id_tag="TAG")
    assert desk.actions() == ["StatusNotification", "Authorize", *["TransactionEvent"] * 7, "StatusNotification"]
    assert events(desk) == [
        ("Started", "Authorized"),
        ("Updated", "ChargingStateChanged"),
        *[("Updated", "MeterValuePeriodic")] * 4,
        ("Ended", "StopAuthorized"),
    ]
    sent = desk.payloads("TransactionEvent")
    started, ended = sent[0], sent[-1]
    transaction_id = started["transactionInfo"]["transactionId"]
    assert uuid.UUID(transaction_id).version == 4
    assert {event["transactionInfo"]["transactionId"] for event in sent} == {transaction_id}
    assert [event["seqNo"] for event in sent] == list(range(7))
    assert not any(event["offline"] for event in sent)
    assert (started["evse"], started["idToken"]) == (
        {"id": 1, "connectorId": 1},
        {"idToken": "TAG", "type": "ISO14443"},
    )
    assert desk.payloads("Authorize") == [{"idToken": started["idToken"]}]
    states = [event["transactionInfo"].get("chargingState") for event in sent]
    assert [state for state in states if state] == ["EVConnected", "Charging", "EVConnected"]
    assert ended["transactionInfo"]["stoppedReason"] == "Local"
    assert ended["idToken"] == started["idToken"]
    readings = registers(sent)
    assert readings == sorted(readings)
    assert session == Session(transaction_id, "TAG", readings[0], readings[-1], "Local")
    assert readings[-1] == readings[0] + 1000
    assert [payload["connectorStatus"] for payload in desk.payloads("StatusNotification")] == ["Occupied", "Available"]


def test_each_session_counts_its_events_and_has_an_id_of_its_own(desk: DemoCentralSystem, version: Any) -> None:
    with simulated(desk, version=version) as station:
        station.boot()
        first, second = station.charge(samples=1), station.charge(samples=1)
    assert first is not None
    assert second is not None
    assert first.transaction_id != second.transaction_id
    assert [event["seqNo"] for event in desk.payloads("TransactionEvent")] == [*range(4), *range(4)]


def test_an_id_token_that_is_not_accepted_does_not_charge(desk: DemoCentralSystem, version: Any) -> None:
    desk.answers["Authorize"] = lambda payload: REFUSED
    with simulated(desk, version=version) as station:
        station.boot()
        assert station.charge(id_tag="STOLEN") is None
    assert events(desk) == []
    assert desk.payloads("StatusNotification")[-1]["connectorStatus"] == "Available"


def test_a_transaction_whose_id_token_is_not_accepted_is_ended(desk: DemoCentralSystem, version: Any) -> None:
    desk.answers["TransactionEvent"] = lambda payload: REFUSED if payload["eventType"] == "Started" else {}
    with simulated(desk, version=version) as station:
        station.boot()
        session = station.charge(authorize=False)
    assert session is not None
    assert (session.reason, session.meter_stop) == ("DeAuthorized", session.meter_start)
    assert events(desk) == [("Started", "Authorized"), ("Ended", "Deauthorized")]
    assert "Authorize" not in desk.actions()


def test_the_same_seed_makes_the_same_station(desk: DemoCentralSystem, version: Any) -> None:
    def charge() -> Session | None:
        with simulated(desk, version=version, random=Random(7)) as station:
            station.boot()
            return station.charge()

    assert charge() == charge()


def test_a_transaction_that_broke_off_is_ended_by_the_next_boot(desk: DemoCentralSystem, version: Any) -> None:
    def answer(payload: Any) -> Any:
        return refuse("InternalError")(payload) if payload["triggerReason"] == "MeterValuePeriodic" else {}

    desk.answers["TransactionEvent"] = answer
    with simulated(desk, version=version) as station:
        station.boot()
        with pytest.raises(CallErrorReceived):
            station.charge(samples=3)
        station.boot()
    ended = desk.payloads("TransactionEvent")[-1]
    assert (ended["eventType"], ended["triggerReason"], ended["seqNo"]) == ("Ended", "AbnormalCondition", 3)
    assert ended["transactionInfo"]["stoppedReason"] == "Other"
    assert registers(desk.payloads("TransactionEvent"))[-2:] == [ended["meterValue"][0]["sampledValue"][0]["value"]] * 2


def test_nobody_resets_one_that_is_driven_by_hand(desk: DemoCentralSystem, version: Any) -> None:
    with simulated(desk, version=version) as station:
        station.boot()
        assert desk.cs.send_request("SIM-1", "Reset", {"type": "Immediate"}) == {"status": "Rejected"}


# What the central system asks for.


@pytest.fixture
def waiting(desk: DemoCentralSystem, version: Any) -> Iterator[SimulatedChargePoint]:
    """A station that charges only when it is told to."""
    with simulated(desk, version=version, sessions=0) as station:
        station.start()
        desk.wait("StatusNotification")
        yield station


def ask(desk: DemoCentralSystem, action: Any, payload: Any) -> Any:
    return desk.cs.send_request("SIM-1", action, payload)


def start_remotely(desk: DemoCentralSystem) -> str:
    request = {"idToken": APP, "remoteStartId": 42, "evseId": 1}
    assert ask(desk, "RequestStartTransaction", request) == {"status": "Accepted"}
    event = desk.wait("TransactionEvent", triggerReason="ChargingStateChanged")
    return str(event["transactionInfo"]["transactionId"])


@pytest.fixture
def slow(desk: DemoCentralSystem, version: Any) -> Iterator[str]:
    """The id of a transaction that would run for some seconds."""
    with simulated(desk, version=version, sessions=0, pace=3) as station:
        station.start()
        desk.wait("StatusNotification")
        yield start_remotely(desk)


def test_a_remote_start_charges_without_authorize(desk: DemoCentralSystem, waiting: SimulatedChargePoint) -> None:
    start_remotely(desk)
    started = desk.payloads("TransactionEvent")[0]
    assert (started["triggerReason"], started["idToken"]) == ("RemoteStart", APP)
    assert started["transactionInfo"]["remoteStartId"] == 42
    assert "Authorize" not in desk.actions()
    desk.wait("TransactionEvent", triggerReason="StopAuthorized")


def set_variable(desk: DemoCentralSystem, component: str, variable: str, value: str) -> None:
    setting = {"component": {"name": component}, "variable": {"name": variable}, "attributeValue": value}
    (result,) = ask(desk, "SetVariables", {"setVariableData": [setting]})["setVariableResult"]
    assert result["attributeStatus"] == "Accepted"


def test_a_remote_start_asks_first_where_it_is_set_to(desk: DemoCentralSystem, waiting: SimulatedChargePoint) -> None:
    set_variable(desk, "AuthCtrlr", "AuthorizeRemoteStart", "true")
    start_remotely(desk)
    assert desk.payloads("Authorize") == [{"idToken": APP}]


def test_heartbeats_follow_the_interval_that_is_set(desk: DemoCentralSystem, waiting: SimulatedChargePoint) -> None:
    set_variable(desk, "OCPPCommCtrlr", "HeartbeatInterval", "1")
    desk.wait("Heartbeat")


def test_a_remote_stop_ends_the_transaction(desk: DemoCentralSystem, slow: str) -> None:
    assert ask(desk, "RequestStopTransaction", {"transactionId": slow}) == {"status": "Accepted"}
    ended = desk.wait("TransactionEvent", eventType="Ended")
    assert (ended["triggerReason"], ended["transactionInfo"]["stoppedReason"]) == ("RemoteStop", "Remote")
    assert "idToken" not in ended


def test_a_reset_ends_the_transaction_and_boots(desk: DemoCentralSystem, slow: str) -> None:
    changes = connected(desk.cs)
    assert ask(desk, "Reset", {"type": "Immediate"}) == {"status": "Accepted"}
    ended = desk.wait("TransactionEvent", eventType="Ended")
    assert (ended["triggerReason"], ended["transactionInfo"]["stoppedReason"]) == ("ResetCommand", "ImmediateReset")
    assert desk.wait("BootNotification", 2)["reason"] == "RemoteReset"
    assert changes.wait(2)[:2] == [("SIM-1", "disconnected"), ("SIM-1", "connected")]


def test_a_reset_on_idle_waits_for_the_transaction(desk: DemoCentralSystem, slow: str) -> None:
    assert ask(desk, "Reset", {"type": "OnIdle"}) == {"status": "Scheduled"}
    assert ask(desk, "RequestStopTransaction", {"transactionId": slow}) == {"status": "Accepted"}
    assert desk.wait("BootNotification", 2)["reason"] == "ScheduledReset"
    assert events(desk)[-1] == ("Ended", "RemoteStop")


def test_a_reset_on_idle_is_at_once_where_nothing_runs(desk: DemoCentralSystem, waiting: SimulatedChargePoint) -> None:
    assert ask(desk, "Reset", {"type": "OnIdle"}) == {"status": "Accepted"}
    assert desk.wait("BootNotification", 2)["reason"] == "RemoteReset"


def test_a_connector_in_use_stays_locked(desk: DemoCentralSystem, slow: str) -> None:
    answer = ask(desk, "UnlockConnector", {"evseId": 1, "connectorId": 1})
    assert answer == {"status": "OngoingAuthorizedTransaction"}


def test_availability_changes_at_once_where_nothing_runs(
    desk: DemoCentralSystem, waiting: SimulatedChargePoint
) -> None:
    assert ask(desk, "ChangeAvailability", {"operationalStatus": "Inoperative"}) == {"status": "Accepted"}
    desk.wait("StatusNotification", connectorStatus="Unavailable")
    assert ask(desk, "RequestStartTransaction", {"idToken": APP, "remoteStartId": 1}) == {"status": "Rejected"}
    assert ask(desk, "ChangeAvailability", {"operationalStatus": "Operative"}) == {"status": "Accepted"}
    desk.wait("StatusNotification", 2, connectorStatus="Available")


def test_availability_changes_after_the_transaction_that_runs(desk: DemoCentralSystem, slow: str) -> None:
    down = {"operationalStatus": "Inoperative", "evse": {"id": 1}}
    assert ask(desk, "ChangeAvailability", down) == {"status": "Scheduled"}
    ask(desk, "RequestStopTransaction", {"transactionId": slow})
    desk.wait("StatusNotification", connectorStatus="Unavailable")
    statuses = [payload["connectorStatus"] for payload in desk.payloads("StatusNotification")]
    assert statuses == ["Available", "Occupied", "Unavailable"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("Heartbeat", {}),
        ("FirmwareStatusNotification", {"status": "Idle"}),
        ("LogStatusNotification", {"status": "Idle"}),
        ("MeterValues", {"evseId": 1}),
        ("StatusNotification", {"evseId": 1, "connectorId": 1, "connectorStatus": "Available"}),
    ],
)
def test_what_is_triggered_is_sent(
    desk: DemoCentralSystem, waiting: SimulatedChargePoint, wanted: Any, expected: Any
) -> None:
    desk.calls.items.clear()
    assert ask(desk, "TriggerMessage", {"requestedMessage": wanted}) == {"status": "Accepted"}
    desk.wait(wanted, **expected)


def test_a_transaction_event_is_triggered_where_a_transaction_runs(desk: DemoCentralSystem, slow: str) -> None:
    assert ask(desk, "TriggerMessage", {"requestedMessage": "TransactionEvent"}) == {"status": "Accepted"}
    event = desk.wait("TransactionEvent", triggerReason="Trigger")
    assert (event["eventType"], event["transactionInfo"]["transactionId"]) == ("Updated", slow)
    contexts = {sample["context"] for sample in event["meterValue"][0]["sampledValue"]}
    assert contexts == {"Trigger"}


def test_a_pending_station_boots_when_it_is_triggered(desk: DemoCentralSystem, version: Any) -> None:
    def boot(payload: Any) -> Any:
        del desk.answers["BootNotification"]
        return {"status": "Pending", "currentTime": "2026-01-01T00:00:00Z", "interval": 3600}

    desk.answers["BootNotification"] = boot
    with simulated(desk, version=version) as station:
        station.boot()
        payload = {"requestedMessage": "BootNotification"}
        assert ask(desk, "TriggerMessage", payload) == {"status": "Accepted"}
        desk.wait("StatusNotification")
        assert desk.payloads("BootNotification")[-1]["reason"] == "Triggered"
        assert ask(desk, "TriggerMessage", payload) == {"status": "Rejected"}


def test_a_report_follows_its_answer_part_by_part(desk: DemoCentralSystem, waiting: SimulatedChargePoint) -> None:
    assert isinstance(waiting.answers, ChargingStationAnswers)
    answer = ask(desk, "GetBaseReport", {"requestId": 5, "reportBase": "FullInventory"})
    assert answer == {"status": "Accepted"}
    desk.wait("NotifyReport", tbc=False)
    parts = desk.payloads("NotifyReport")
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    assert {part["requestId"] for part in parts} == {5}
    assert sum(len(part["reportData"]) for part in parts) == len(list(waiting.answers.device_model))


def test_a_firmware_update_ends_in_a_failure_that_is_reported(
    desk: DemoCentralSystem, waiting: SimulatedChargePoint
) -> None:
    firmware = {"location": "https://example.com/fw.bin", "retrieveDateTime": "2026-01-01T00:00:00Z"}
    assert ask(desk, "UpdateFirmware", {"requestId": 9, "firmware": firmware}) == {"status": "Accepted"}
    assert desk.wait("FirmwareStatusNotification") == {"status": "DownloadFailed", "requestId": 9}

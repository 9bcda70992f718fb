"""The simulated charging station of OCPP 2.0.1 and 2.1 over real connections: its messages, and requests to it.

test_simulator_16.py tests the scenario that all versions share.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from simulated import RecordingCentralSystem, simulated
from support import connected, wait_until

from ocppsync import OCPPRequestError
from ocppsync.answers import ChargingStationAnswers
from ocppsync.simulator import Session, SimulatedChargePoint

pytestmark = pytest.mark.slow

REFUSED = {"idTokenInfo": {"status": "Blocked"}}
APP = {"idToken": "APP-7", "type": "Central"}


@pytest.fixture(params=["2.0.1", "2.1"])
def version(request: Any) -> Any:
    return request.param


def events(central_system: RecordingCentralSystem) -> list[tuple[str, str]]:
    """Return the eventType and triggerReason of each TransactionEvent."""
    return [(event["eventType"], event["triggerReason"]) for event in central_system.payloads("TransactionEvent")]


def registers(payloads: list[Any]) -> list[int]:
    return [payload["meterValue"][-1]["sampledValue"][0]["value"] for payload in payloads if "meterValue" in payload]


# Step by step.


def test_boot_connects_registers_and_reports(central_system: RecordingCentralSystem, version: Any) -> None:
    with simulated(central_system, version=version) as station:
        assert station.boot()["status"] == "Accepted"
        assert central_system.cs.ocpp_version("SIM-1") == station.version == version
    boot, status = central_system.payloads("BootNotification")[0], central_system.payloads("StatusNotification")[0]
    assert central_system.actions() == ["BootNotification", "StatusNotification"]
    assert (boot["reason"], boot["chargingStation"]["serialNumber"]) == ("PowerUp", "SIM-1")
    assert (status["evseId"], status["connectorId"], status["connectorStatus"]) == (1, 1, "Available")


def test_a_session_has_all_messages_and_the_requested_energy(
    central_system: RecordingCentralSystem, version: Any
) -> None:
    with simulated(central_system, version=version) as station:
        station.boot()
        central_system.calls.items.clear()
        session = station.charge(energy_wh=1000, samples=4, id_tag="TAG")
    assert central_system.actions() == [
        "StatusNotification",
        "Authorize",
        *["TransactionEvent"] * 7,
        "StatusNotification",
    ]
    assert events(central_system) == [
        ("Started", "Authorized"),
        ("Updated", "ChargingStateChanged"),
        *[("Updated", "MeterValuePeriodic")] * 4,
        ("Ended", "StopAuthorized"),
    ]
    sent = central_system.payloads("TransactionEvent")
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
    assert central_system.payloads("Authorize") == [{"idToken": started["idToken"]}]
    states = [event["transactionInfo"].get("chargingState") for event in sent]
    assert [state for state in states if state] == ["EVConnected", "Charging", "EVConnected"]
    assert ended["transactionInfo"]["stoppedReason"] == "Local"
    assert ended["idToken"] == started["idToken"]
    readings = registers(sent)
    assert readings == sorted(readings)
    assert session == Session(transaction_id, "TAG", readings[0], readings[-1], "Local")
    assert readings[-1] == readings[0] + 1000
    assert [payload["connectorStatus"] for payload in central_system.payloads("StatusNotification")] == [
        "Occupied",
        "Available",
    ]


def test_each_session_numbers_its_events_and_has_its_own_id(
    central_system: RecordingCentralSystem, version: Any
) -> None:
    with simulated(central_system, version=version) as station:
        station.boot()
        first, second = station.charge(samples=1), station.charge(samples=1)
    assert first is not None
    assert second is not None
    assert first.transaction_id != second.transaction_id
    assert [event["seqNo"] for event in central_system.payloads("TransactionEvent")] == [*range(4), *range(4)]


def test_an_id_token_that_is_not_accepted_does_not_charge(central_system: RecordingCentralSystem, version: Any) -> None:
    central_system.answers["Authorize"] = lambda payload: REFUSED
    with simulated(central_system, version=version) as station:
        station.boot()
        assert station.charge(id_tag="STOLEN") is None
    assert events(central_system) == []
    assert central_system.payloads("StatusNotification")[-1]["connectorStatus"] == "Available"


def test_a_transaction_whose_id_token_is_not_accepted_is_ended(
    central_system: RecordingCentralSystem, version: Any
) -> None:
    central_system.answers["TransactionEvent"] = lambda payload: REFUSED if payload["eventType"] == "Started" else {}
    with simulated(central_system, version=version) as station:
        station.boot()
        session = station.charge(authorize=False)
    assert session is not None
    assert (session.reason, session.meter_stop) == ("DeAuthorized", session.meter_start)
    assert events(central_system) == [("Started", "Authorized"), ("Ended", "Deauthorized")]
    assert "Authorize" not in central_system.actions()


def test_the_same_seed_gives_the_same_charge_point(central_system: RecordingCentralSystem, version: Any) -> None:
    def charge() -> Session | None:
        with simulated(central_system, version=version, random=Random(7)) as station:
            station.boot()
            return station.charge()

    assert charge() == charge()


def test_the_next_boot_ends_an_interrupted_transaction(central_system: RecordingCentralSystem, version: Any) -> None:
    def answer(payload: Any) -> Any:
        if payload["triggerReason"] == "MeterValuePeriodic":
            central_system.cs.close_connection("SIM-1")
        return {}

    central_system.answers["TransactionEvent"] = answer
    with simulated(central_system, version=version) as station:
        station.boot()
        with pytest.raises(OCPPRequestError):
            station.charge(samples=3)
        wait_until(lambda: not station._charge_point.connected)
        station.boot()
    ended = central_system.payloads("TransactionEvent")[-1]
    assert (ended["eventType"], ended["triggerReason"], ended["seqNo"]) == ("Ended", "AbnormalCondition", 3)
    assert ended["transactionInfo"]["stoppedReason"] == "Other"
    begin, end = ended["meterValue"]
    assert begin["sampledValue"][0]["context"] == "Transaction.Begin"
    assert registers(central_system.payloads("TransactionEvent"))[-2:] == [end["sampledValue"][0]["value"]] * 2


def test_without_the_scenario_a_reset_is_rejected(central_system: RecordingCentralSystem, version: Any) -> None:
    with simulated(central_system, version=version) as station:
        station.boot()
        assert central_system.cs.send_request("SIM-1", "Reset", {"type": "Immediate"}) == {"status": "Rejected"}


# Requests of the central system.


@pytest.fixture
def waiting(central_system: RecordingCentralSystem, version: Any) -> Iterator[SimulatedChargePoint]:
    """A charging station that charges only on request."""
    with simulated(central_system, version=version, sessions=0) as station:
        station.start()
        central_system.wait("StatusNotification")
        yield station


def ask(central_system: RecordingCentralSystem, action: Any, payload: Any) -> Any:
    return central_system.cs.send_request("SIM-1", action, payload)


def start_remotely(central_system: RecordingCentralSystem) -> str:
    request = {"idToken": APP, "remoteStartId": 42, "evseId": 1}
    assert ask(central_system, "RequestStartTransaction", request) == {"status": "Accepted"}
    event = central_system.wait("TransactionEvent", triggerReason="ChargingStateChanged")
    return str(event["transactionInfo"]["transactionId"])


@pytest.fixture
def slow(central_system: RecordingCentralSystem, version: Any) -> Iterator[str]:
    """The id of a transaction that runs for some seconds."""
    with simulated(central_system, version=version, sessions=0, pace=3) as station:
        station.start()
        central_system.wait("StatusNotification")
        yield start_remotely(central_system)


def test_a_remote_start_charges_without_authorize(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    start_remotely(central_system)
    started = central_system.payloads("TransactionEvent")[0]
    assert (started["triggerReason"], started["idToken"]) == ("RemoteStart", APP)
    assert started["transactionInfo"]["remoteStartId"] == 42
    assert "Authorize" not in central_system.actions()
    central_system.wait("TransactionEvent", triggerReason="StopAuthorized")


def set_variable(central_system: RecordingCentralSystem, component: str, variable: str, value: str) -> None:
    setting = {"component": {"name": component}, "variable": {"name": variable}, "attributeValue": value}
    (result,) = ask(central_system, "SetVariables", {"setVariableData": [setting]})["setVariableResult"]
    assert result["attributeStatus"] == "Accepted"


def test_a_remote_start_authorizes_first_if_configured(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    set_variable(central_system, "AuthCtrlr", "AuthorizeRemoteStart", "true")
    start_remotely(central_system)
    assert central_system.payloads("Authorize") == [{"idToken": APP}]


def test_heartbeats_follow_the_configured_interval(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    set_variable(central_system, "OCPPCommCtrlr", "HeartbeatInterval", "1")
    central_system.wait("Heartbeat")


def test_a_remote_stop_ends_the_transaction(central_system: RecordingCentralSystem, slow: str) -> None:
    assert ask(central_system, "RequestStopTransaction", {"transactionId": slow}) == {"status": "Accepted"}
    ended = central_system.wait("TransactionEvent", eventType="Ended")
    assert (ended["triggerReason"], ended["transactionInfo"]["stoppedReason"]) == ("RemoteStop", "Remote")
    assert "idToken" not in ended


def test_a_reset_ends_the_transaction_and_boots(central_system: RecordingCentralSystem, slow: str) -> None:
    changes = connected(central_system.cs)
    assert ask(central_system, "Reset", {"type": "Immediate"}) == {"status": "Accepted"}
    ended = central_system.wait("TransactionEvent", eventType="Ended")
    assert (ended["triggerReason"], ended["transactionInfo"]["stoppedReason"]) == ("ResetCommand", "ImmediateReset")
    assert central_system.wait("BootNotification", 2)["reason"] == "RemoteReset"
    assert changes.wait(2)[:2] == [("SIM-1", "disconnected"), ("SIM-1", "connected")]


def test_a_reset_on_idle_waits_for_the_transaction(central_system: RecordingCentralSystem, slow: str) -> None:
    assert ask(central_system, "Reset", {"type": "OnIdle"}) == {"status": "Scheduled"}
    assert ask(central_system, "RequestStopTransaction", {"transactionId": slow}) == {"status": "Accepted"}
    assert central_system.wait("BootNotification", 2)["reason"] == "ScheduledReset"
    assert events(central_system)[-1] == ("Ended", "RemoteStop")


def test_a_reset_on_idle_is_immediate_without_a_transaction(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    assert ask(central_system, "Reset", {"type": "OnIdle"}) == {"status": "Accepted"}
    assert central_system.wait("BootNotification", 2)["reason"] == "RemoteReset"


def test_a_connector_in_use_stays_locked(central_system: RecordingCentralSystem, slow: str) -> None:
    answer = ask(central_system, "UnlockConnector", {"evseId": 1, "connectorId": 1})
    assert answer == {"status": "OngoingAuthorizedTransaction"}


def test_availability_changes_at_once_without_a_transaction(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    assert ask(central_system, "ChangeAvailability", {"operationalStatus": "Inoperative"}) == {"status": "Accepted"}
    central_system.wait("StatusNotification", connectorStatus="Unavailable")
    assert ask(central_system, "RequestStartTransaction", {"idToken": APP, "remoteStartId": 1}) == {
        "status": "Rejected"
    }
    assert ask(central_system, "ChangeAvailability", {"operationalStatus": "Operative"}) == {"status": "Accepted"}
    central_system.wait("StatusNotification", 2, connectorStatus="Available")


def test_availability_changes_after_the_running_transaction(central_system: RecordingCentralSystem, slow: str) -> None:
    down = {"operationalStatus": "Inoperative", "evse": {"id": 1}}
    assert ask(central_system, "ChangeAvailability", down) == {"status": "Scheduled"}
    ask(central_system, "RequestStopTransaction", {"transactionId": slow})
    central_system.wait("StatusNotification", connectorStatus="Unavailable")
    statuses = [payload["connectorStatus"] for payload in central_system.payloads("StatusNotification")]
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
def test_a_triggered_message_is_sent(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint, wanted: Any, expected: Any
) -> None:
    central_system.calls.items.clear()
    assert ask(central_system, "TriggerMessage", {"requestedMessage": wanted}) == {"status": "Accepted"}
    central_system.wait(wanted, **expected)


def test_a_transaction_event_is_triggered_during_a_transaction(
    central_system: RecordingCentralSystem, slow: str
) -> None:
    assert ask(central_system, "TriggerMessage", {"requestedMessage": "TransactionEvent"}) == {"status": "Accepted"}
    event = central_system.wait("TransactionEvent", triggerReason="Trigger")
    assert (event["eventType"], event["transactionInfo"]["transactionId"]) == ("Updated", slow)
    contexts = {sample["context"] for sample in event["meterValue"][0]["sampledValue"]}
    assert contexts == {"Trigger"}


def test_a_pending_charge_point_boots_when_triggered(central_system: RecordingCentralSystem, version: Any) -> None:
    def boot(payload: Any) -> Any:
        del central_system.answers["BootNotification"]
        return {"status": "Pending", "currentTime": "2026-01-01T00:00:00Z", "interval": 3600}

    central_system.answers["BootNotification"] = boot
    with simulated(central_system, version=version) as station:
        station.boot()
        payload = {"requestedMessage": "BootNotification"}
        assert ask(central_system, "TriggerMessage", payload) == {"status": "Accepted"}
        central_system.wait("StatusNotification")
        assert central_system.payloads("BootNotification")[-1]["reason"] == "Triggered"
        assert ask(central_system, "TriggerMessage", payload) == {"status": "Rejected"}


def test_a_report_follows_its_answer_in_parts(
    central_system: RecordingCentralSystem, waiting: SimulatedChargePoint
) -> None:
    assert isinstance(waiting.answers, ChargingStationAnswers)
    answer = ask(central_system, "GetBaseReport", {"requestId": 5, "reportBase": "FullInventory"})
    assert answer == {"status": "Accepted"}
    central_system.wait("NotifyReport", tbc=False)
    parts = central_system.payloads("NotifyReport")
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    assert {part["requestId"] for part in parts} == {5}
    assert sum(len(part["reportData"]) for part in parts) == len(list(waiting.answers.device_model))

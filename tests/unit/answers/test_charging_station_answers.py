"""The answers of a charging station of OCPP 2.x: device model, transaction, and what it declines."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync import Headers, HttpRequest, Request, RequestMetadata
from ocppsync.answers import ChargingStationAnswers
from ocppsync.validation.validators import validator

METADATA = RequestMetadata("CP1", "2.0.1", HttpRequest("GET", "/CP1", "", Headers(), ("127.0.0.1", 1)), "1")
TOKEN = {"idToken": "X", "type": "Central"}


def ask(answers: ChargingStationAnswers, action: str, payload: Any, version: str = "2.0.1") -> Any:
    assert validator(version).check(action, "request", payload) is None
    answer = answers(Request(action, payload, version), METADATA)
    assert validator(version).check(action, "response", answer) is None
    return answer


@pytest.fixture
def answers() -> ChargingStationAnswers:
    answers = ChargingStationAnswers()
    answers.attended = True
    return answers


# The device model.


def named(component: str, variable: str, **more: Any) -> dict[str, Any]:
    return {"component": {"name": component}, "variable": {"name": variable}, **more}


@pytest.mark.parametrize(
    ("requested", "status", "value"),
    [
        (named("TxCtrlr", "TxStartPoint"), "Accepted", "Authorized"),
        (named("txctrlr", "TXSTARTPOINT", attributeType="Actual"), "Accepted", "Authorized"),
        (named("TxCtrlr", "TxStartPoint", attributeType="Target"), "NotSupportedAttributeType", None),
        (named("TxCtrlr", "Nonsense"), "UnknownVariable", None),
        (named("Nonsense", "TxStartPoint"), "UnknownComponent", None),
        (named("OCPPCommCtrlr", "MessageTimeout"), "UnknownVariable", None),
        (
            {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "AvailabilityState"}},
            "Accepted",
            "Available",
        ),
        (
            {"component": {"name": "EVSE", "evse": {"id": 2}}, "variable": {"name": "AvailabilityState"}},
            "UnknownComponent",
            None,
        ),
        (
            {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "MessageTimeout", "instance": "Default"}},
            "Accepted",
            "30",
        ),
    ],
)
def test_a_variable_is_read(answers: ChargingStationAnswers, requested: Any, status: str, value: str | None) -> None:
    (result,) = ask(answers, "GetVariables", {"getVariableData": [requested]})["getVariableResult"]
    assert (result["attributeStatus"], result.get("attributeValue")) == (status, value)
    assert requested.items() <= result.items()


@pytest.mark.parametrize(
    ("component", "variable", "value", "status"),
    [
        ("OCPPCommCtrlr", "HeartbeatInterval", "60", "Accepted"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "-60", "Rejected"),
        ("AuthCtrlr", "AuthorizeRemoteStart", "TRUE", "Accepted"),
        ("AuthCtrlr", "AuthorizeRemoteStart", "1", "Rejected"),
        ("TxCtrlr", "TxStartPoint", "EVConnected", "Rejected"),
        ("TxCtrlr", "Nonsense", "1", "UnknownVariable"),
    ],
)
def test_a_variable_accepts_values_of_its_type(
    answers: ChargingStationAnswers, component: str, variable: str, value: str, status: str
) -> None:
    before = {id(one): one.value for one in answers.device_model}
    setting = named(component, variable, attributeValue=value)
    (result,) = ask(answers, "SetVariables", {"setVariableData": [setting]})["setVariableResult"]
    assert result == {"attributeStatus": status, **named(component, variable)}
    changed = [one.value for one in answers.device_model if one.value != before[id(one)]]
    assert changed == ([value] if status == "Accepted" else [])


def report(answers: ChargingStationAnswers, action: str, payload: Any) -> list[str]:
    """Return the names of the variables in a report."""
    request = {"requestId": 7, **payload}
    answer = ask(answers, action, request)
    parts = answers.reports(request)
    for number, part in enumerate(parts):
        assert validator("2.0.1").check("NotifyReport", "request", part) is None
        assert (part["requestId"], part["seqNo"], part["tbc"]) == (7, number, number < len(parts) - 1)
    assert answer == {"status": "Accepted" if parts else "EmptyResultSet"}
    return [entry["variable"]["name"] for part in parts for entry in part["reportData"]]


def test_a_base_report_has_the_variables_of_its_base(answers: ChargingStationAnswers) -> None:
    everything = [variable.name for variable in answers.device_model]
    assert report(answers, "GetBaseReport", {"reportBase": "FullInventory"}) == everything
    writable = [variable.name for variable in answers.device_model if variable.writable]
    assert report(answers, "GetBaseReport", {"reportBase": "ConfigurationInventory"}) == writable
    assert report(answers, "GetBaseReport", {"reportBase": "SummaryInventory"}) == ["AvailabilityState"] * 3
    assert len(answers.reports({"requestId": 7, "reportBase": "FullInventory"})) > 1


@pytest.mark.parametrize(
    ("requested", "found"),
    [
        ({"componentVariable": [{"component": {"name": "txctrlr"}, "variable": {"name": "TxStopPoint"}}]}, 1),
        ({"componentVariable": [{"component": {"name": "TxCtrlr"}}]}, 4),
        ({"componentVariable": [{"component": {"name": "Nonsense"}}]}, 0),
        ({"componentVariable": [{"component": {"name": "TxCtrlr"}}], "componentCriteria": ["Enabled"]}, 4),
        ({"componentCriteria": ["Problem"]}, 0),
    ],
)
def test_a_report_has_the_requested_variables(answers: ChargingStationAnswers, requested: Any, found: int) -> None:
    assert len(report(answers, "GetReport", requested)) == found


def test_the_device_model_shows_the_state_of_the_connector(answers: ChargingStationAnswers) -> None:
    def states() -> list[str]:
        return [one.value for one in answers.device_model if one.name == "AvailabilityState"]

    answers.show("Occupied")
    assert states() == ["Available", "Occupied", "Occupied"]  # the station, its connector, its EVSE
    answers.show("Unavailable")
    assert states() == ["Unavailable"] * 3


def test_variables_are_not_monitored(answers: ChargingStationAnswers) -> None:
    requested = [
        named(component, "TxStartPoint", value=1, type="Delta", severity=5) for component in ("TxCtrlr", "Nonsense")
    ]
    results = ask(answers, "SetVariableMonitoring", {"setMonitoringData": requested})["setMonitoringResult"]
    assert [result["status"] for result in results] == ["Rejected", "UnknownComponent"]
    cleared = ask(answers, "ClearVariableMonitoring", {"id": [3, 4]})["clearMonitoringResult"]
    assert cleared == [{"id": 3, "status": "NotFound"}, {"id": 4, "status": "NotFound"}]


# The transaction.


@pytest.mark.parametrize(
    ("state", "payload", "status"),
    [
        ({}, {}, "Accepted"),
        ({}, {"evseId": 1}, "Accepted"),
        ({}, {"evseId": 2}, "Rejected"),
        ({"transaction_id": "T"}, {}, "Rejected"),
        ({"operative": False}, {}, "Rejected"),
        ({"attended": False}, {}, "Rejected"),
    ],
)
def test_a_remote_start_requires_a_free_evse(
    answers: ChargingStationAnswers, state: dict[str, Any], payload: Any, status: str
) -> None:
    vars(answers).update(state)
    request = {"idToken": TOKEN, "remoteStartId": 1, **payload}
    assert ask(answers, "RequestStartTransaction", request) == {"status": status}


def test_a_remote_stop_requires_the_running_transaction(answers: ChargingStationAnswers) -> None:
    assert ask(answers, "RequestStopTransaction", {"transactionId": "T"}) == {"status": "Rejected"}
    answers.transaction_id = "T"
    assert ask(answers, "RequestStopTransaction", {"transactionId": "U"}) == {"status": "Rejected"}
    assert ask(answers, "RequestStopTransaction", {"transactionId": "T"}) == {"status": "Accepted"}


def test_the_status_of_a_transaction_is_returned_by_its_id(answers: ChargingStationAnswers) -> None:
    answers.transaction_id = "T"
    assert ask(answers, "GetTransactionStatus", {}) == {"messagesInQueue": False}
    for name, ongoing in (("T", True), ("U", False)):
        answer = ask(answers, "GetTransactionStatus", {"transactionId": name})
        assert answer == {"ongoingIndicator": ongoing, "messagesInQueue": False}


@pytest.mark.parametrize(
    ("state", "payload", "status"),
    [
        ({}, {"type": "Immediate"}, "Accepted"),
        ({}, {"type": "OnIdle"}, "Accepted"),
        ({"transaction_id": "T"}, {"type": "Immediate"}, "Accepted"),
        ({"transaction_id": "T"}, {"type": "OnIdle"}, "Scheduled"),
        ({}, {"type": "Immediate", "evseId": 1}, "Rejected"),
        ({}, {"type": "ImmediateAndResume"}, "Rejected"),
        ({"attended": False}, {"type": "Immediate"}, "Rejected"),
    ],
)
def test_only_the_whole_station_is_reset(
    answers: ChargingStationAnswers, state: dict[str, Any], payload: Any, status: str
) -> None:
    vars(answers).update(state)
    assert ask(answers, "Reset", payload, "2.1") == {"status": status}


def test_a_change_of_availability_waits_for_the_transaction(answers: ChargingStationAnswers) -> None:
    down, up = {"operationalStatus": "Inoperative"}, {"operationalStatus": "Operative"}
    assert ask(answers, "ChangeAvailability", down) == {"status": "Accepted"}
    answers.transaction_id = "T"
    assert ask(answers, "ChangeAvailability", down) == {"status": "Scheduled"}
    assert ask(answers, "ChangeAvailability", {**up, "evse": {"id": 1, "connectorId": 1}}) == {"status": "Accepted"}
    assert ask(answers, "ChangeAvailability", {**up, "evse": {"id": 2}}) == {"status": "Rejected"}


def test_a_connector_in_use_stays_locked(answers: ChargingStationAnswers) -> None:
    def unlock(connector_id: int) -> Any:
        return ask(answers, "UnlockConnector", {"evseId": 1, "connectorId": connector_id})["status"]

    assert (unlock(1), unlock(2)) == ("Unlocked", "UnknownConnector")
    answers.transaction_id = "T"
    assert unlock(1) == "OngoingAuthorizedTransaction"


# Other messages.


def test_the_version_of_the_local_list_is_stored(answers: ChargingStationAnswers) -> None:
    def send(version: int, kind: str) -> Any:
        return ask(answers, "SendLocalList", {"versionNumber": version, "updateType": kind})["status"]

    assert (send(5, "Full"), send(5, "Differential"), send(6, "Differential")) == (
        *("Accepted", "VersionMismatch", "Accepted"),
    )
    assert ask(answers, "GetLocalListVersion", {}) == {"versionNumber": 6}


@pytest.mark.parametrize(
    ("state", "payload", "status"),
    [
        ({}, {"requestedMessage": "MeterValues", "evse": {"id": 1}}, "Accepted"),
        ({}, {"requestedMessage": "MeterValues", "evse": {"id": 2}}, "Rejected"),
        ({}, {"requestedMessage": "BootNotification"}, "Accepted"),
        ({"registered": True}, {"requestedMessage": "BootNotification"}, "Rejected"),
        ({}, {"requestedMessage": "TransactionEvent"}, "Rejected"),
        ({"transaction_id": "T"}, {"requestedMessage": "TransactionEvent"}, "Accepted"),
        ({}, {"requestedMessage": "SignChargingStationCertificate"}, "NotImplemented"),
    ],
)
def test_a_message_that_it_never_sends_cannot_be_triggered(
    answers: ChargingStationAnswers, state: dict[str, Any], payload: Any, status: str
) -> None:
    vars(answers).update(state)
    assert ask(answers, "TriggerMessage", payload) == {"status": status}


def test_tariffs_are_cleared_one_by_one(answers: ChargingStationAnswers) -> None:
    assert ask(answers, "ClearTariffs", {}, "2.1") == {"clearTariffsResult": [{"status": "NoTariff"}]}
    answer = ask(answers, "ClearTariffs", {"tariffIds": ["A", "B"]}, "2.1")
    assert [result["tariffId"] for result in answer["clearTariffsResult"]] == ["A", "B"]


def test_overrides_replace_answers() -> None:
    answers = ChargingStationAnswers({"ClearCache": {"status": "Rejected"}})
    assert ask(answers, "ClearCache", {}) == {"status": "Rejected"}
    assert ask(answers, "GetLocalListVersion", {}) == {"versionNumber": 0}

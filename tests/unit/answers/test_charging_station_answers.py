"""The answers of a charging station of OCPP 2.x: device model, transaction, and what it declines."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync import Headers, HttpRequest, Request, RequestMetadata
from ocppsync.answers import ChargingStationAnswers
from ocppsync.answers.availability import CONNECTOR, EVSE
from ocppsync.validation.validators import validator

METADATA = RequestMetadata("CP1", "2.0.1", HttpRequest("GET", "/CP1", "", Headers(), ("127.0.0.1", 1)), "1")
TOKEN = {"idToken": "X", "type": "Central"}


def ask(answers: ChargingStationAnswers, action: str, payload: Any, version: str = "2.0.1") -> Any:
    assert validator(version).check(action, "request", payload) is None
    answer = answers(Request(action, payload, version), METADATA)
    assert validator(version).check(action, "response", answer) is None
    return answer


def put(answers: ChargingStationAnswers, state: dict[str, Any]) -> None:
    for name, value in state.items():
        setattr(answers, name, value)


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
    assert {"attributeType": "Actual", **requested}.items() <= result.items(), "B06.FR.11"


@pytest.mark.parametrize(
    ("component", "variable", "value", "status"),
    [
        ("OCPPCommCtrlr", "HeartbeatInterval", "60", "Accepted"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "-60", "Rejected"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "0", "Rejected"),
        ("OCPPCommCtrlr", "OfflineThreshold", "0", "Accepted"),
        ("OCPPCommCtrlr", "OfflineThreshold", "2147483648", "Rejected"),
        ("OCPPCommCtrlr", "NetworkConfigurationPriority", "1,2", "Rejected"),
        ("OCPPCommCtrlr", "NetworkConfigurationPriority", "", "Rejected"),
        ("ClockCtrlr", "TimeSource", "NTP", "Rejected"),
        ("ClockCtrlr", "DateTime", "2026-01-01T00:00:00Z", "Rejected"),
        ("SecurityCtrlr", "OrganizationName", "x" * 65, "Rejected"),
        ("SampledDataCtrlr", "TxUpdatedMeasurands", "Voltage,SoC", "Accepted"),
        ("SampledDataCtrlr", "TxUpdatedMeasurands", "", "Accepted"),
        ("SampledDataCtrlr", "TxUpdatedMeasurands", "Voltage,Frequency", "Rejected"),
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
    assert result == {"attributeStatus": status, **named(component, variable), "attributeType": "Actual"}, "B05.FR.12"
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
        ({"componentVariable": [{"component": {"name": "TxCtrlr"}}]}, 5),
        ({"componentVariable": [{"component": {"name": "Nonsense"}}]}, 0),
        ({"componentVariable": [{"component": {"name": "TxCtrlr"}}], "componentCriteria": ["Enabled"]}, 5),
        ({"componentCriteria": ["Problem"]}, 0),
        # B08.FR.21: every instance.
        ({"componentVariable": [named("DeviceDataCtrlr", "ItemsPerMessage")]}, 3),
        (
            {
                "componentVariable": [
                    {**named("DeviceDataCtrlr", ""), "variable": {"name": "ItemsPerMessage", "instance": "GetReport"}}
                ]
            },
            1,
        ),
        # B08.FR.22: every connector of the EVSE, and B08.FR.23: every EVSE.
        ({"componentVariable": [{"component": {"name": "Connector", "evse": {"id": 1}}}]}, 4),
        ({"componentVariable": [{"component": {"name": "Connector"}}]}, 4),
        ({"componentVariable": [named("EVSE", "AvailabilityState")]}, 1),
        ({"componentVariable": [{"component": {"name": "EVSE", "evse": {"id": 2}}}]}, 0),
        ({"componentVariable": [{"component": {"name": "EVSE", "evse": {"id": 1, "connectorId": 1}}}]}, 0),
    ],
)
def test_a_report_has_the_requested_variables(answers: ChargingStationAnswers, requested: Any, found: int) -> None:
    assert len(report(answers, "GetReport", requested)) == found


def test_a_report_leaves_out_disabled_components(answers: ChargingStationAnswers) -> None:
    request = {"componentVariable": [{"component": {"name": "AuthCacheCtrlr"}}], "componentCriteria": ["Enabled"]}
    assert report(answers, "GetReport", request) == ["Available", "Enabled"]
    answers.device_model["AuthCacheCtrlr", "Enabled"].value = "False"
    assert report(answers, "GetReport", request) == []
    request["componentCriteria"] = ["Enabled", "Active"]
    assert report(answers, "GetReport", request) == ["Available", "Enabled"], "one of the criteria is enough"


def test_the_device_model_shows_the_state_of_the_connector(answers: ChargingStationAnswers) -> None:
    def states() -> list[str]:
        return [one.value for one in answers.device_model if one.name == "AvailabilityState"]

    answers.show("Occupied")
    assert states() == ["Available", "Occupied", "Occupied"]  # the station, its connector, its EVSE
    answers.availability.change([CONNECTOR], operative=False, in_use=False)
    answers.show("Unavailable")
    assert states() == ["Available", "Unavailable", "Available"]
    answers.availability.change([EVSE], operative=False, in_use=False)
    answers.show("Unavailable")
    assert states() == ["Available", "Unavailable", "Unavailable"]
    answers.operative = False
    answers.show("Unavailable")
    assert states() == ["Unavailable"] * 3
    answers.operative = True
    answers.show("Available")
    assert states() == ["Available"] * 3


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
    put(answers, state)
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
    put(answers, state)
    assert ask(answers, "Reset", payload, "2.1") == {"status": status}


def test_a_change_of_availability_waits_for_the_transaction(answers: ChargingStationAnswers) -> None:
    down, up = {"operationalStatus": "Inoperative"}, {"operationalStatus": "Operative"}
    connector = {"evse": {"id": 1, "connectorId": 1}}
    assert answers.begin_transaction()
    assert ask(answers, "ChangeAvailability", down) == {"status": "Scheduled"}
    assert ask(answers, "ChangeAvailability", {**up, **connector}) == {"status": "Accepted"}, "it is so already"
    assert ask(answers, "ChangeAvailability", {**up, "evse": {"id": 2}}) == {"status": "Rejected"}
    assert answers.operative
    answers.end_transaction()
    assert not answers.operative
    assert not answers.begin_transaction()


def test_parts_return_to_the_state_that_they_had(answers: ChargingStationAnswers) -> None:
    def change(status: str, **evse: int) -> bool:
        where = {"evse": evse} if evse else {}
        assert ask(answers, "ChangeAvailability", {"operationalStatus": status, **where}) == {"status": "Accepted"}
        return answers.operative

    assert not change("Inoperative", id=1, connectorId=1)
    assert not change("Inoperative")
    assert not change("Operative"), "G04.FR.08: the connector is still out of service"
    assert change("Operative", id=1, connectorId=1)
    assert not change("Inoperative", id=1)
    assert not change("Operative", id=1, connectorId=1), "G03.FR.06: the EVSE is out of service"
    assert change("Operative", id=1)


def test_a_connector_in_use_stays_locked(answers: ChargingStationAnswers) -> None:
    def unlock(connector_id: int) -> Any:
        return ask(answers, "UnlockConnector", {"evseId": 1, "connectorId": connector_id})["status"]

    assert (unlock(1), unlock(2)) == ("Unlocked", "UnknownConnector")
    answers.transaction_id = "T"
    assert unlock(1) == "OngoingAuthorizedTransaction"


# Other messages.


def test_the_local_list_is_stored_with_its_version(answers: ChargingStationAnswers) -> None:
    def send(version: int, kind: str, **more: Any) -> Any:
        return ask(answers, "SendLocalList", {"versionNumber": version, "updateType": kind, **more})["status"]

    def version() -> Any:
        return ask(answers, "GetLocalListVersion", {})["versionNumber"]

    entry = {"idToken": TOKEN, "idTokenInfo": {"status": "Accepted"}}
    assert (send(0, "Full"), send(-1, "Full"), version()) == ("Failed", "Failed", 0)
    assert (send(5, "Full", localAuthorizationList=[entry]), version()) == ("Accepted", 5)
    assert answers.device_model["LocalAuthListCtrlr", "Entries"].actual == "1"
    assert (send(5, "Differential"), send(6, "Differential"), version()) == ("VersionMismatch", "Accepted", 6)
    assert (send(7, "Full"), version(), len(answers.local_list)) == ("Accepted", 7, 0), "D01.FR.04"
    answers.device_model["LocalAuthListCtrlr", "Enabled"].value = "false"
    assert (send(8, "Full"), version()) == ("Failed", 0)


def test_the_cache_is_cleared_if_there_is_one(answers: ChargingStationAnswers) -> None:
    answers.learn(("x", "central"), {"status": "Accepted"})
    assert len(answers.cache) == 1
    answers.device_model["AuthCacheCtrlr", "Enabled"].value = "false"
    assert ask(answers, "ClearCache", {}) == {"status": "Rejected"}
    answers.device_model["AuthCacheCtrlr", "Enabled"].value = "true"
    assert ask(answers, "ClearCache", {}) == {"status": "Accepted"}
    assert len(answers.cache) == 0


@pytest.mark.parametrize(
    ("state", "payload", "status"),
    [
        ({}, {"requestedMessage": "MeterValues", "evse": {"id": 1}}, "Accepted"),
        ({}, {"requestedMessage": "MeterValues", "evse": {"id": 0}}, "Accepted"),
        ({}, {"requestedMessage": "MeterValues", "evse": {"id": 2}}, "Rejected"),
        ({}, {"requestedMessage": "MeterValues", "evse": {"id": 1, "connectorId": 2}}, "Accepted"),
        ({}, {"requestedMessage": "StatusNotification", "evse": {"id": 1, "connectorId": 2}}, "Rejected"),
        ({}, {"requestedMessage": "Heartbeat", "evse": {"id": 2}}, "Accepted"),
        ({}, {"requestedMessage": "BootNotification", "evse": {"id": 2, "connectorId": 9}}, "Accepted"),
        ({"transaction_id": "T"}, {"requestedMessage": "TransactionEvent", "evse": {"id": 2}}, "Rejected"),
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
    put(answers, state)
    assert ask(answers, "TriggerMessage", payload) == {"status": status}


def test_tariffs_are_cleared_one_by_one(answers: ChargingStationAnswers) -> None:
    assert ask(answers, "ClearTariffs", {}, "2.1") == {"clearTariffsResult": [{"status": "NoTariff"}]}
    answer = ask(answers, "ClearTariffs", {"tariffIds": ["A", "B"]}, "2.1")
    assert [result["tariffId"] for result in answer["clearTariffsResult"]] == ["A", "B"]


def test_overrides_replace_answers() -> None:
    answers = ChargingStationAnswers({"ClearCache": {"status": "Rejected"}})
    assert ask(answers, "ClearCache", {}) == {"status": "Rejected"}
    assert ask(answers, "GetLocalListVersion", {}) == {"versionNumber": 0}

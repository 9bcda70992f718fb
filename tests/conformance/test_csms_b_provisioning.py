"""The cases of block B for a CSMS, OCPP 2.0.1 Part 6 §3.3: boots, variables, reports, network profiles."""

from __future__ import annotations

from typing import Any

import pytest
from certification import ACCEPTED, NOW, STATION, Application, Station, connector_event
from certification import connector_status as status_of
from support import connected, raw, serving
from websockets.exceptions import InvalidStatus

from ocppsync import split_request

# Boots.


def answer_boots(station: Station, *statuses: str) -> None:
    """Answer one BootNotification after the other with these; the last one counts for all that follow."""
    left = list(statuses)

    @station.cs.on("BootNotification", version="2.0.1")
    def boot(payload: Any, metadata: Any) -> Any:
        station.application.seen(("BootNotification", payload))
        status: Any = left.pop(0) if len(left) > 1 else left[0]
        return {"status": status, "currentTime": NOW, "interval": 60}


def test_tc_b_01_csms_accepted(new_station: Station) -> None:
    new_station.booted()


def test_tc_b_02_csms_pending(new_station: Station) -> None:
    """The session stays open meanwhile, and the CSMS reads and sets variables over it."""
    answer_boots(new_station, "Pending", "Pending", "Accepted")
    assert new_station.boot() == "Pending"
    get_variables(new_station, OFFLINE_THRESHOLD)
    set_variables(new_station, (OFFLINE_THRESHOLD, "123"))
    assert new_station.boot() == "Pending"
    new_station.booted()


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
@pytest.mark.parametrize(
    ("action", "payload"),
    [("StatusNotification", status_of("Available")), ("NotifyEvent", connector_event("Available"))],
)
def test_tc_b_30_csms_security_error(new_station: Station, status: str, action: str, payload: Any) -> None:
    """The handler never sees the message: it is not among those that were answered."""
    answer_boots(new_station, status)
    assert new_station.boot() == status
    assert new_station.refused(action, payload) == "SecurityError"


def test_tc_b_31_csms_trigger_while_pending(new_station: Station) -> None:
    """The station boots before its interval is over."""
    answer_boots(new_station, "Pending", "Accepted")
    assert new_station.boot() == "Pending"
    new_station.asked("TriggerMessage", {"requestedMessage": "BootNotification"}, ACCEPTED)
    assert new_station.boot("Triggered") == "Accepted"
    new_station.report_connector("Available")


def test_tc_b_58_csms_subprotocol() -> None:
    """No common subprotocol: no upgrade. One of several: that one is chosen."""
    with serving(Application(), refuse_unknown_protocol=True) as cs:
        with pytest.raises(InvalidStatus) as caught, raw(cs, STATION, subprotocols=["ocpp0.1"]):
            pass
        assert (caught.value.response.status_code, cs.charge_points) == (400, [])
        changes = connected(cs)
        with raw(cs, STATION, subprotocols=["ocpp0.1", "ocpp2.0.1"]) as point:
            assert changes.wait() == [(STATION, "connected")]
            assert point.websocket.response is not None
            assert point.websocket.response.headers["Sec-WebSocket-Protocol"] == "ocpp2.0.1"


# Variables.

OFFLINE_THRESHOLD = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "OfflineThreshold"}}
AUTHORIZE_REMOTE_START = {"component": {"name": "AuthCtrlr"}, "variable": {"name": "AuthorizeRemoteStart"}}


def get_variables(station: Station, *wanted: Any, value: str = "30") -> list[Any]:
    results = [{**one, "attributeStatus": "Accepted", "attributeValue": value} for one in wanted]
    answer = station.asked("GetVariables", {"getVariableData": list(wanted)}, {"getVariableResult": results})
    return list(answer["getVariableResult"])


def set_variables(station: Station, *wanted: tuple[Any, str]) -> None:
    data = [{**one, "attributeValue": value} for one, value in wanted]
    results = [{**one, "attributeStatus": "Accepted"} for one, _ in wanted]
    station.asked("SetVariables", {"setVariableData": data}, {"setVariableResult": results})


def test_tc_b_06_csms_get_one_variable(station: Station) -> None:
    get_variables(station, OFFLINE_THRESHOLD)


def test_tc_b_07_csms_get_several_variables(station: Station) -> None:
    get_variables(station, OFFLINE_THRESHOLD, AUTHORIZE_REMOTE_START)


def limit(name: str, action: str) -> dict[str, Any]:
    return {"component": {"name": "DeviceDataCtrlr"}, "variable": {"name": name, "instance": action}}


def test_tc_b_08_csms_get_no_more_variables_than_allowed(station: Station) -> None:
    """The station takes 4 variables in a message, so 5 go in two."""
    found = get_variables(station, limit("ItemsPerMessage", "GetVariables"), value="4")
    most = int(found[0]["attributeValue"])
    wanted = [
        limit(name, of) for name in ("ItemsPerMessage", "BytesPerMessage") for of in ("GetReport", "GetVariables")
    ]
    payload = {"getVariableData": [*wanted, AUTHORIZE_REMOTE_START]}
    parts = split_request("GetVariables", payload, items_per_message=most)
    assert [len(part["getVariableData"]) for part in parts] == [4, 1]
    results = [result for part in parts for result in get_variables(station, *part["getVariableData"])]
    assert [{name: one[name] for name in ("component", "variable")} for one in results] == payload["getVariableData"]


def test_tc_b_09_csms_set_one_variable(station: Station) -> None:
    set_variables(station, (OFFLINE_THRESHOLD, "123"))


def test_tc_b_10_csms_set_several_variables(station: Station) -> None:
    set_variables(station, (OFFLINE_THRESHOLD, "123"), (AUTHORIZE_REMOTE_START, "false"))


# Reports.


def send_report(station: Station, request_id: int, *items: Any) -> None:
    """Send the items of a report, each in a message of its own."""
    for number, item in enumerate(items):
        report = {"requestId": request_id, "generatedAt": NOW, "seqNo": number, "tbc": number < len(items) - 1}
        data = [{**item, "variableAttribute": [{"value": "30"}]}]
        assert station.call("NotifyReport", {**report, "reportData": data}) == {}


@pytest.mark.parametrize(
    "base",
    [
        pytest.param("ConfigurationInventory", id="TC_B_12_CSMS"),
        pytest.param("FullInventory", id="TC_B_13_CSMS"),
        pytest.param("SummaryInventory", id="TC_B_14_CSMS"),
    ],
)
def test_a_base_report(station: Station, base: str) -> None:
    station.asked("GetBaseReport", {"requestId": 0, "reportBase": base}, ACCEPTED)
    send_report(station, 0, OFFLINE_THRESHOLD, AUTHORIZE_REMOTE_START)


def test_tc_b_18_csms_report_with_criteria_and_variables(station: Station) -> None:
    """The first report is empty, which is a result like any other."""
    availability = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "AvailabilityState"}}
    wanted = {"componentVariable": [availability]}
    empty = {"status": "EmptyResultSet"}
    station.asked("GetReport", {"requestId": 1, "componentCriteria": ["Problem"], **wanted}, empty)
    station.asked("GetReport", {"requestId": 2, "componentCriteria": ["Available"], **wanted}, ACCEPTED)
    send_report(station, 2, availability)


# Network profiles.


@pytest.mark.parametrize(
    "status", [pytest.param("Accepted", id="TC_B_42_CSMS"), pytest.param("Failed", id="TC_B_44_CSMS")]
)
def test_a_network_profile_is_set(station: Station, status: str) -> None:
    data = {
        "messageTimeout": 30,
        "ocppCsmsUrl": f"wss://localhost:{station.cs.port}",
        "ocppInterface": "Wired0",
        "ocppTransport": "JSON",
        "ocppVersion": "OCPP20",
        "securityProfile": 2,
    }
    station.asked("SetNetworkProfile", {"configurationSlot": 1, "connectionData": data}, {"status": status})

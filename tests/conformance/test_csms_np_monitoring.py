"""The cases of blocks N and P for a CSMS, OCPP 2.0.1 Part 6 §3.15 and §3.17: monitoring, and data of vendors."""

from __future__ import annotations

from typing import Any

import pytest
from certification import ACCEPTED, EVSE, NOW, STATION, Station, Transaction, connector_status, event
from support import raw, serving

from ocppsync import split_request

# N: monitoring.


@pytest.mark.parametrize(
    "status", [pytest.param("Accepted", id="TC_N_16_CSMS"), pytest.param("Rejected", id="TC_N_17_CSMS")]
)
def test_the_monitoring_level_is_set(station: Station, status: str) -> None:
    station.asked("SetMonitoringLevel", {"severity": 4}, {"status": status})


def test_tc_n_18_csms_clear_no_more_monitors_than_allowed(station: Station) -> None:
    """The station takes 2 monitors in a message, so 5 go in three."""
    payload = {"id": [1, 2, 3, 4, 5]}
    parts = split_request("ClearVariableMonitoring", payload, items_per_message=2)
    assert [len(part["id"]) for part in parts] == [2, 2, 1]
    for part in parts:
        results = [{"id": monitor, "status": "NotFound"} for monitor in part["id"]]
        station.asked("ClearVariableMonitoring", part, {"clearMonitoringResult": results})


def test_tc_n_24_csms_periodic_events(station: Station) -> None:
    for number in range(3):
        temperature = event({"name": "ChargingStation"}, "Temperature", f"2{number}.5", "Periodic")
        assert station.call("NotifyEvent", temperature) == {}


@pytest.mark.parametrize(
    ("value", "trigger", "data"),
    [
        pytest.param("", "Alerting", {}, id="TC_N_48_CSMS"),
        pytest.param("20.5", "Alerting", {"cleared": True}, id="TC_N_49_CSMS"),
        pytest.param("20.5", "Periodic", {}, id="TC_N_50_CSMS"),
    ],
)
def test_an_event_of_a_monitor(station: Station, value: str, trigger: str, data: Any) -> None:
    """A value that can only be written is empty."""
    monitor = {"variableMonitoringId": 1, "eventNotificationType": "CustomMonitor"}
    payload = event({"name": "ChargingStation"}, "Temperature", value, trigger, **monitor, **data)
    assert station.call("NotifyEvent", payload) == {}


# P: data of vendors.


@pytest.mark.parametrize("others", [False, True])
def test_tc_p_02_csms_unknown_vendor(new_station: Station, others: bool) -> None:
    """No handler knows the vendor, whether or not there are handlers of others."""
    if others:
        new_station.cs.on_data_transfer("com.example")(lambda payload, metadata: ACCEPTED)
    new_station.booted()
    transfer = {"vendorId": "org.openchargealliance.costmsg", "messageId": "cost", "data": {"any": [1]}}
    assert new_station.call("DataTransfer", transfer)["status"] == "UnknownVendorId"


def test_tc_p_02_csms_without_a_handler() -> None:
    with serving() as cs, raw(cs, STATION, subprotocols=["ocpp2.0.1"]) as point:
        transfer = {"vendorId": "org.openchargealliance.costmsg", "messageId": "cost", "data": "1"}
        assert point.call("1", "DataTransfer", transfer) == [3, "1", {"status": "UnknownVendorId"}]


def test_tc_p_03_csms_custom_data(station: Station) -> None:
    """It arrives as it is, wherever the message has a place for it."""
    custom = {"vendorId": "com.example", "deeper": {"still": [{"deeper": None}]}, "number": 1.5}
    assert station.call("StatusNotification", {**connector_status("Available"), "customData": custom}) == {}
    transaction = Transaction(station)
    payload = {
        "eventType": "Started",
        "timestamp": NOW,
        "triggerReason": "CablePluggedIn",
        "seqNo": 0,
        "transactionInfo": {"transactionId": transaction.id, "customData": custom},
        "evse": {**EVSE, "customData": custom},
        "customData": custom,
    }
    assert station.call("TransactionEvent", payload) == {}

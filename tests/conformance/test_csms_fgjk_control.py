"""The cases of blocks F, G, J and K for a CSMS, OCPP 2.0.1 Part 6 §3.7 to §3.12: triggers, meter values, limits."""

from __future__ import annotations

from typing import Any

import pytest
from certification import ACCEPTED, EVSE, EVSES, NOW, Station, Transaction, connector_status, event, meter_value


def trigger(station: Station, message: str, evse: int | None = None) -> None:
    """Have the CSMS trigger a message, of one EVSE or of all."""
    of_evse = {} if evse is None else {"evse": {"id": evse}}
    station.asked("TriggerMessage", {"requestedMessage": message, **of_evse}, ACCEPTED)


# F: triggered messages.


def triggered_values(evse: int) -> dict[str, Any]:
    return {"evseId": evse, "meterValue": [meter_value("Trigger")]}


def test_tc_f_11_csms_meter_values_of_one_evse(station: Station) -> None:
    trigger(station, "MeterValues", 1)
    assert station.call("MeterValues", triggered_values(1)) == {}


def test_tc_f_12_csms_meter_values_of_all_evses(station: Station) -> None:
    trigger(station, "MeterValues")
    for evse in EVSES:
        assert station.call("MeterValues", triggered_values(evse)) == {}


def test_tc_f_13_csms_transaction_event_of_one_evse(station: Station) -> None:
    transaction = Transaction(station).energy_transfer_started()
    trigger(station, "TransactionEvent", 1)
    transaction.event("Trigger", state="Charging", evse=EVSE, meterValue=[meter_value("Trigger")])


def test_tc_f_14_csms_transaction_events_of_all_evses(station: Station) -> None:
    transactions = [Transaction(station, evse).energy_transfer_started() for evse in EVSES]
    trigger(station, "TransactionEvent")
    for transaction in transactions:
        transaction.event("Trigger", state="Charging", meterValue=[meter_value("Trigger")])


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        pytest.param("LogStatusNotification", {"status": "Idle"}, id="TC_F_15_CSMS"),
        pytest.param("FirmwareStatusNotification", {"status": "Idle"}, id="TC_F_18_CSMS"),
        pytest.param("Heartbeat", {}, id="TC_F_20_CSMS"),
    ],
)
def test_a_message_of_the_station_is_triggered(station: Station, message: str, payload: Any) -> None:
    trigger(station, message)
    answer = station.call(message, payload)
    assert set(answer) == ({"currentTime"} if message == "Heartbeat" else set())


def trigger_status(station: Station) -> None:
    """Have the CSMS trigger a StatusNotification of a connector, which is the only one of its EVSE."""
    station.asked("TriggerMessage", {"requestedMessage": "StatusNotification", "evse": EVSE}, ACCEPTED)


def test_tc_f_23_csms_status_of_an_available_connector(station: Station) -> None:
    trigger_status(station)
    station.report_connector("Available")


def test_tc_f_24_csms_status_of_an_occupied_connector(station: Station) -> None:
    station.report_connector("Occupied")
    trigger_status(station)
    station.report_connector("Occupied")


def test_tc_f_27_csms_a_trigger_is_not_implemented(station: Station) -> None:
    """The status is a result like any other, and the connection goes on."""
    station.asked("TriggerMessage", {"requestedMessage": "LogStatusNotification"}, {"status": "NotImplemented"})
    assert station.call("StatusNotification", connector_status("Available")) == {}


# G: availability.


def test_tc_g_20_csms_lock_failure(station: Station) -> None:
    lock = {"name": "ConnectorPlugRetentionLock", "evse": EVSE}
    assert station.call("NotifyEvent", event(lock, "Problem", "true")) == {}


# J: meter values.


def minute(number: int) -> str:
    """The time of a meter value that is aligned to the clock."""
    return f"2026-01-01T00:{number:02}:00Z"


def report_aligned(station: Station, number: int, evses: tuple[int, ...]) -> None:
    """Report the clock-aligned values of the station itself and of EVSEs, in both of the ways that the tool may use."""
    for evse in (0, *evses):
        values = {"evseId": evse, "meterValue": [meter_value("Sample.Clock", minute(number))]}
        assert station.call("MeterValues", values) == {}
        metering = {"name": "FiscalMetering"} | ({"evse": {"id": evse}} if evse else {})
        assert station.call("NotifyEvent", event(metering, "Value", "0.0", "Periodic", timestamp=minute(number))) == {}


def test_tc_j_01_csms_aligned_values_without_a_transaction(station: Station) -> None:
    for number in range(3):
        report_aligned(station, number, EVSES)


def test_tc_j_02_csms_aligned_values_in_a_transaction(station: Station) -> None:
    transaction = Transaction(station).energy_transfer_started()
    idle = tuple(evse for evse in EVSES if evse != EVSE["id"])
    for number in range(3):
        report_aligned(station, number, idle)
        transaction.event("MeterValueClock", meterValue=[meter_value("Sample.Clock", minute(number))])


@pytest.mark.parametrize(
    ("context", "signed"),
    [
        pytest.param("Sample.Clock", False, id="TC_J_03_CSMS"),
        pytest.param("Sample.Clock", True, id="TC_J_04_CSMS"),
        pytest.param("Sample.Periodic", False, id="TC_J_10_CSMS"),
        pytest.param("Sample.Periodic", True, id="TC_J_11_CSMS"),
    ],
)
def test_the_values_of_a_whole_transaction_come_at_its_end(station: Station, context: str, signed: bool) -> None:
    transaction = Transaction(station).energy_transfer_started()
    values = [meter_value(context, minute(number), signed=signed) for number in range(3)]
    transaction.ev_disconnected(meterValue=[*values, meter_value("Transaction.End", minute(3), signed=signed)])


def test_tc_j_07_csms_first_value_of_a_known_evse(station: Station) -> None:
    Transaction(station).ev_connected(meterValue=[meter_value("Transaction.Begin")])


def test_tc_j_08_csms_first_value_after_the_evse_is_known(station: Station) -> None:
    """The authorization starts the transaction, before there is an EVSE."""
    transaction = Transaction(station)
    transaction.authorized()
    transaction.ev_connected(meterValue=[meter_value("Transaction.Begin")])
    transaction.energy_transfer_started()


def test_tc_j_09_csms_periodic_values(station: Station) -> None:
    transaction = Transaction(station).energy_transfer_started()
    for number in range(3):
        transaction.event("MeterValuePeriodic", meterValue=[meter_value("Sample.Periodic", minute(number))])


# K: limits from outside.


def test_tc_k_48_csms_external_limit_is_set(station: Station) -> None:
    assert station.call("NotifyChargingLimit", {"chargingLimit": {"chargingLimitSource": "EMS"}}) == {}


def test_tc_k_50_csms_external_limit_is_released(station: Station) -> None:
    assert station.call("ClearedChargingLimit", {"chargingLimitSource": "EMS"}) == {}


def test_tc_k_51_csms_external_limit_is_released_in_a_transaction(station: Station) -> None:
    transaction = Transaction(station).energy_transfer_started()
    assert station.call("ClearedChargingLimit", {"chargingLimitSource": "EMS", "evseId": 1}) == {}
    transaction.event("ChargingRateChanged")


def test_tc_k_52_csms_external_limit_is_reported(station: Station) -> None:
    purpose = "ChargingStationExternalConstraints"
    request = {"requestId": 7, "chargingProfile": {"chargingProfilePurpose": purpose}}
    station.asked("GetChargingProfiles", request, ACCEPTED)
    schedule = {"id": 1, "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}]}
    profile = {
        "id": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [{**schedule, "startSchedule": NOW}],
    }
    report = {"requestId": 7, "chargingLimitSource": "EMS", "evseId": 0, "chargingProfile": [profile]}
    assert station.call("ReportChargingProfiles", report) == {}

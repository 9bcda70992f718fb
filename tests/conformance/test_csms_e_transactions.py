"""The cases of block E for a CSMS, OCPP 2.0.1 Part 6 §3.6: transactions."""

from __future__ import annotations

import pytest
from certification import EVSE, INVALID, VALID, Station, Transaction, authorize, meter_value


@pytest.fixture
def transaction(station: Station) -> Transaction:
    return Transaction(station)


# Where a transaction starts.


def occupied(station: Station) -> None:
    """Authorize, then plug in."""
    authorize(station)
    station.report_connector("Occupied")


def test_tc_e_01_csms_start_when_the_power_path_is_closed(station: Station, transaction: Transaction) -> None:
    occupied(station)
    transaction.event("ChargingStateChanged", "Started", state="SuspendedEVSE", idToken=VALID, evse=EVSE)
    transaction.event("ChargingStateChanged", state="Charging")


def test_tc_e_02_csms_start_at_the_energy_transfer(station: Station, transaction: Transaction) -> None:
    occupied(station)
    transaction.event("ChargingStateChanged", "Started", state="Charging", idToken=VALID, evse=EVSE)


def test_tc_e_03_csms_cable_first(transaction: Transaction) -> None:
    transaction.ev_connected()
    transaction.authorized()
    transaction.energy_transfer_started()


def test_tc_e_04_csms_authorization_first(transaction: Transaction) -> None:
    transaction.authorized()
    transaction.energy_transfer_started()


def test_tc_e_09_csms_start_when_the_ev_is_connected(station: Station, transaction: Transaction) -> None:
    station.report_connector("Occupied")
    transaction.event("CablePluggedIn", "Started", state="EVConnected", evse=EVSE)


def test_tc_e_10_csms_start_at_the_authorization(station: Station, transaction: Transaction) -> None:
    authorize(station)
    transaction.event("Authorized", "Started", idToken=VALID)


def test_tc_e_11_csms_start_at_signed_data(station: Station, transaction: Transaction) -> None:
    occupied(station)
    value = meter_value("Transaction.Begin", signed=True)
    transaction.event("SignedDataReceived", "Started", idToken=VALID, evse=EVSE, meterValue=[value])
    transaction.event("ChargingStateChanged", state="Charging")


def test_tc_e_12_csms_start_when_the_bay_is_occupied(transaction: Transaction) -> None:
    assert transaction.event("EVDetected", "Started") == {}


def test_tc_e_38_csms_ev_is_not_ready(transaction: Transaction) -> None:
    transaction.authorized()
    transaction.ev_connected()
    transaction.event("ChargingStateChanged", state="SuspendedEV")


# Where it ends.


def test_tc_e_07_csms_stop_when_the_power_path_opens(transaction: Transaction) -> None:
    transaction.energy_transfer_started()
    transaction.event("StopAuthorized", "Ended", stopped="Local")


def test_tc_e_08_csms_stop_at_the_end_of_the_energy_transfer(transaction: Transaction) -> None:
    transaction.stop_authorized()
    transaction.event("ChargingStateChanged", "Ended", state="EVConnected", stopped="Local")


def test_tc_e_14_csms_disconnected_at_the_station(transaction: Transaction) -> None:
    transaction.ev_connected_post_session()
    transaction.ev_disconnected()


def test_tc_e_15_csms_stop_authorized_locally(transaction: Transaction) -> None:
    transaction.energy_transfer_started()
    transaction.event("StopAuthorized", "Ended", stopped="Local")


def test_tc_e_16_csms_invalid_id_token(transaction: Transaction) -> None:
    answer = transaction.event("Authorized", "Started", idToken=INVALID)
    assert answer["idTokenInfo"]["status"] in {"Invalid", "Unknown"}
    assert transaction.event("Deauthorized", "Ended", stopped="DeAuthorized") == {}


def test_tc_e_17_csms_deauthorized_by_a_disconnect(transaction: Transaction) -> None:
    transaction.energy_transfer_suspended()
    transaction.event("EVCommunicationLost", "Ended", state="Idle", stopped="EVDisconnected")


def test_tc_e_19_csms_bay_is_left(transaction: Transaction) -> None:
    """The case ends the transaction twice; both messages are answered."""
    transaction.ev_disconnected()
    assert transaction.event("EVDeparted", "Ended", stopped="Local") == {}


def test_tc_e_20_csms_disconnected_at_the_ev(transaction: Transaction) -> None:
    transaction.energy_transfer_suspended()
    transaction.ev_disconnected()


def test_tc_e_21_csms_stop_requested_by_the_csms(station: Station, transaction: Transaction) -> None:
    transaction.energy_transfer_started()
    station.asked("RequestStopTransaction", {"transactionId": transaction.id}, {"status": "Accepted"})
    transaction.event("RemoteStop", "Ended", stopped="Remote")


def test_tc_e_22_csms_stop_when_the_ev_suspends(transaction: Transaction) -> None:
    transaction.energy_transfer_started()
    transaction.event("ChargingStateChanged", "Ended", state="SuspendedEV", stopped="StoppedByEV")


def test_tc_e_26_csms_disconnect_only_suspends(station: Station, transaction: Transaction) -> None:
    transaction.energy_transfer_suspended()
    transaction.event("EVCommunicationLost", state="Idle")
    station.report_connector("Available")
    transaction.event("CablePluggedIn", state="EVConnected")
    transaction.event("ChargingStateChanged", state="Charging")


def test_tc_e_39_csms_cable_is_not_plugged_in_in_time(transaction: Transaction) -> None:
    transaction.authorized()
    transaction.event("EVConnectTimeout", "Ended", stopped="Timeout")


# Its status.


def reconnect(station: Station) -> None:
    """Connect again without a boot, as a station does after a lost connection."""
    station.disconnect()
    station.connect()


def test_tc_e_29_csms_status_of_an_ongoing_transaction_with_messages(
    station: Station, transaction: Transaction
) -> None:
    transaction.energy_transfer_started()
    reconnect(station)
    answer = {"ongoingIndicator": True, "messagesInQueue": True}
    station.asked("GetTransactionStatus", {"transactionId": transaction.id}, answer)
    transaction.event("MeterValuePeriodic", offline=True, meterValue=[meter_value("Sample.Periodic")])


def test_tc_e_30_csms_status_of_an_ongoing_transaction_without_messages(
    station: Station, transaction: Transaction
) -> None:
    transaction.energy_transfer_started()
    answer = {"ongoingIndicator": True, "messagesInQueue": False}
    station.asked("GetTransactionStatus", {"transactionId": transaction.id}, answer)


def test_tc_e_31_csms_status_of_an_ended_transaction_with_messages(station: Station, transaction: Transaction) -> None:
    """Two messages arrive after the one that ends the transaction, although their seqNo is lower."""
    transaction.energy_transfer_started()
    reconnect(station)
    station.report_connector("Available")
    skipped = transaction.seq_no
    transaction.event("EVCommunicationLost", "Ended", state="Idle", seq_no=skipped + 2, offline=True)
    answer = {"ongoingIndicator": False, "messagesInQueue": True}
    station.asked("GetTransactionStatus", {"transactionId": transaction.id}, answer)
    transaction.event("StopAuthorized", offline=True)
    transaction.event("ChargingStateChanged", state="EVConnected", offline=True)
    assert transaction.seq_no == skipped + 2


def test_tc_e_33_csms_status_of_the_queue_with_messages(station: Station, transaction: Transaction) -> None:
    transaction.energy_transfer_started()
    reconnect(station)
    station.asked("GetTransactionStatus", {}, {"messagesInQueue": True})
    transaction.event("MeterValuePeriodic", offline=True, meterValue=[meter_value("Sample.Periodic")])


def test_tc_e_34_csms_status_of_the_queue_without_messages(station: Station) -> None:
    station.asked("GetTransactionStatus", {}, {"messagesInQueue": False})


# Its numbers.


def test_tc_e_53_csms_numbers_begin_with_0_in_each_transaction(station: Station) -> None:
    for _ in range(2):
        transaction = Transaction(station)
        transaction.energy_transfer_started()
        transaction.ev_disconnected()
    starts = [payload for action, payload in station.sent if payload.get("eventType") == "Started"]
    assert [payload["seqNo"] for payload in starts] == [0, 0]
    assert len({payload["transactionInfo"]["transactionId"] for payload in starts}) == 2

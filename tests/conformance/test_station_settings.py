"""What stations are held to: variables and configuration keys, reports, lists, the cache, and meter values.

Each row is a requirement and a version; test_station_rules.py has the others.
"""

from __future__ import annotations

import math
import time
from datetime import datetime, timezone
from typing import Any

import pytest
from station_bench import ALL, ENERGY, TAG, V2X, V16, Bench, Rule, Rules, bench, named
from support import wait_until

from ocppsync import utc_now

pytestmark = pytest.mark.slow

rule = Rules()


# Variables.

THRESHOLD = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "OfflineThreshold"}}
OFFLINE = {"component": {"name": "AuthCtrlr"}, "variable": {"name": "LocalAuthorizeOffline"}}


def read(here: Bench, *wanted: Any) -> list[Any]:
    results: list[Any] = here.ask("GetVariables", {"getVariableData": list(wanted)})["getVariableResult"]
    return results


def write(here: Bench, *wanted: Any) -> list[Any]:
    results: list[Any] = here.ask("SetVariables", {"setVariableData": list(wanted)})["setVariableResult"]
    return results


@rule(V2X, "", "B05.FR.12")
@rule(V2X, "", "TC_B_09")
@rule(V2X, "", "TC_B_10")
def results_of_set_variables_name_the_attribute(version: str) -> None:
    with bench(version) as here:
        results = write(
            here,
            {**THRESHOLD, "attributeValue": "123"},
            {**OFFLINE, "attributeValue": "true", "attributeType": "Actual"},
            {**THRESHOLD, "attributeValue": "1", "attributeType": "Target"},
            {"component": {"name": "Nonsense"}, "variable": {"name": "X"}, "attributeValue": "1"},
        )
        assert [(one["attributeStatus"], one["attributeType"]) for one in results] == [
            *(("Accepted", "Actual"), ("Accepted", "Actual")),
            *(("NotSupportedAttributeType", "Target"), ("UnknownComponent", "Actual")),
        ]


@rule(V2X, "", "B06.FR.11")
@rule(V2X, "", "TC_B_06")
@rule(V2X, "", "TC_B_07")
def results_of_get_variables_name_the_attribute(version: str) -> None:
    with bench(version) as here:
        results = read(
            here, THRESHOLD, {**OFFLINE, "attributeType": "Actual"}, {**THRESHOLD, "attributeType": "MaxSet"}
        )
        assert [(one["attributeStatus"], one["attributeType"], one.get("attributeValue")) for one in results] == [
            *(("Accepted", "Actual", "300"), ("Accepted", "Actual", "true")),
            ("NotSupportedAttributeType", "MaxSet", None),
        ]


@rule(ALL, "C16 §5.3", "B05.FR.07")
@rule(V2X, "", "B05.FR.08")
def values_are_checked(version: str) -> None:
    with bench(version) as here:
        for key, good, bad in (
            ("HeartbeatInterval", "1", ["-1", "x", "", "1.5", "2147483648"]),
            ("TransactionMessageAttempts", "0", ["-1", "many"]),
            ("LocalPreAuthorize", "true", ["1", "yes"]),
            ("MeterValueSampleInterval", "0", ["-5", "soon"]),
        ):
            assert here.set(key, good) == "Accepted"
            assert [here.set(key, value) for value in bad] == ["Rejected"] * len(bad)
            assert here.get(key) == good, "a refused value changes nothing"
        if not here.is_16:
            assert here.set("HeartbeatInterval", "0") == "Rejected", "minLimit"
            priority = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "NetworkConfigurationPriority"}}
            results = write(here, *[{**priority, "attributeValue": value} for value in ("1", "2", "")])
            assert [one["attributeStatus"] for one in results] == ["Accepted", "Rejected", "Rejected"]


REQUIRED = [
    *("AlignedDataCtrlr.Interval", "AlignedDataCtrlr.Measurands", "AlignedDataCtrlr.TxEndedInterval"),
    *("AlignedDataCtrlr.TxEndedMeasurands", "AuthCtrlr.AuthorizeRemoteStart", "AuthCtrlr.LocalAuthorizeOffline"),
    *("AuthCtrlr.LocalPreAuthorize", "ChargingStation.AvailabilityState", "ChargingStation.Available"),
    *("ChargingStation.SupplyPhases", "ClockCtrlr.DateTime", "ClockCtrlr.TimeSource"),
    *("Connector.Available", "Connector.ConnectorType", "Connector.SupplyPhases"),
    *("DeviceDataCtrlr.BytesPerMessage[GetReport]", "DeviceDataCtrlr.BytesPerMessage[GetVariables]"),
    *("DeviceDataCtrlr.BytesPerMessage[SetVariables]", "DeviceDataCtrlr.ItemsPerMessage[GetReport]"),
    *("DeviceDataCtrlr.ItemsPerMessage[GetVariables]", "DeviceDataCtrlr.ItemsPerMessage[SetVariables]"),
    *("EVSE.AvailabilityState", "EVSE.Available", "EVSE.Power", "EVSE.SupplyPhases"),
    *("LocalAuthListCtrlr.BytesPerMessage", "LocalAuthListCtrlr.Entries", "LocalAuthListCtrlr.ItemsPerMessage"),
    *("OCPPCommCtrlr.FileTransferProtocols", "OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]"),
    *("OCPPCommCtrlr.MessageAttempts[TransactionEvent]", "OCPPCommCtrlr.MessageTimeout[Default]"),
    *("OCPPCommCtrlr.NetworkConfigurationPriority", "OCPPCommCtrlr.NetworkProfileConnectionAttempts"),
    *("OCPPCommCtrlr.OfflineThreshold", "OCPPCommCtrlr.ResetRetries", "OCPPCommCtrlr.UnlockOnEVSideDisconnect"),
    *("OCPPCommCtrlr.RetryBackOffRandomRange", "OCPPCommCtrlr.RetryBackOffRepeatTimes"),
    *("OCPPCommCtrlr.RetryBackOffWaitMinimum", "OCPPCommCtrlr.WebSocketPingInterval"),
    *("SampledDataCtrlr.TxEndedInterval", "SampledDataCtrlr.TxEndedMeasurands"),
    *("SampledDataCtrlr.TxStartedMeasurands", "SampledDataCtrlr.TxUpdatedInterval"),
    *("SampledDataCtrlr.TxUpdatedMeasurands", "SecurityCtrlr.CertificateEntries", "SecurityCtrlr.OrganizationName"),
    *("SecurityCtrlr.SecurityProfile", "TxCtrlr.EVConnectionTimeOut", "TxCtrlr.StopTxOnEVSideDisconnect"),
    *("TxCtrlr.StopTxOnInvalidId", "TxCtrlr.TxStartPoint", "TxCtrlr.TxStopPoint"),
]
REQUIRED_21 = ["AuthCtrlr.SupportedIdTokenTypes", "OCPPCommCtrlr.ActiveNetworkProfile"]


def report(here: Bench, action: str, request_id: int, **request: Any) -> list[Any]:
    assert here.ask(action, {"requestId": request_id, **request}) == {"status": "Accepted"}
    here.wait("NotifyReport", requestId=request_id, tbc=False)
    parts = [part for part in here.sent("NotifyReport") if part["requestId"] == request_id]
    return [entry for part in parts for entry in part["reportData"]]


def name_of(entry: Any) -> str:
    instance = entry["variable"].get("instance")
    return f"{entry['component']['name']}.{entry['variable']['name']}" + (f"[{instance}]" if instance else "")


@rule(V2X, "", "B07.FR.08")
def the_required_variables_exist(version: str) -> None:
    with bench(version) as here:
        reported = {name_of(entry): entry for entry in report(here, "GetBaseReport", 1, reportBase="FullInventory")}
        required = REQUIRED + (REQUIRED_21 if version == "2.1" else [])
        assert [name for name in required if name not in reported] == []
        wanted = [{part: reported[name][part] for part in ("component", "variable")} for name in required]
        results = read(here, *wanted)
        assert [one["attributeStatus"] for one in results] == ["Accepted"] * len(required)
        assert "maxLimit" in reported["EVSE.Power"]["variableCharacteristics"]


@rule(V2X, "", "B07.FR.07")
def a_configuration_report_has_what_can_be_set(version: str) -> None:
    with bench(version) as here:
        entries = report(here, "GetBaseReport", 1, reportBase="ConfigurationInventory")
        assert {one["variableAttribute"][0]["mutability"] for one in entries} == {"ReadWrite"}
        for entry in entries:
            value = entry["variableAttribute"][0].get("value", "")
            named = {part: entry[part] for part in ("component", "variable")}
            (result,) = write(here, {**named, "attributeValue": value})
            assert result["attributeStatus"] == "Accepted", "each may be set to the value that it has"


@rule(V2X, "", "ClockCtrlr.DateTime")
def the_clock_shows_the_time(version: str) -> None:
    with bench(version) as here:
        clock = {"component": {"name": "ClockCtrlr"}, "variable": {"name": "DateTime"}}
        before = utc_now()
        (first,) = read(here, clock)
        assert before <= first["attributeValue"] <= utc_now()
        wait_until(lambda: read(here, clock)[0]["attributeValue"] > first["attributeValue"])


@rule(V16, "C16 §9.1")
def the_required_keys_exist(version: str) -> None:
    with bench(version) as here:
        keys = {one["key"]: one for one in here.ask("GetConfiguration", {})["configurationKey"]}
        for key in ("MeterValuesSampledData", "StopTransactionOnInvalidId"):
            assert keys[key]["readonly"] is False
        for key, one in keys.items():
            status = here.set(key, one["value"])
            assert status == ("Rejected" if one["readonly"] else "Accepted")


# Reports.


@rule(V2X, "", "B08.FR.21")
def a_variable_without_instance_means_every_instance(version: str) -> None:
    with bench(version) as here:
        wanted = {"component": {"name": "DeviceDataCtrlr"}, "variable": {"name": "ItemsPerMessage"}}
        entries = report(here, "GetReport", 1, componentVariable=[wanted])
        instances = sorted(entry["variable"]["instance"] for entry in entries)
        assert instances == ["GetReport", "GetVariables", "SetVariables"]
        wanted["variable"]["instance"] = "GetReport"
        assert len(report(here, "GetReport", 2, componentVariable=[wanted])) == 1


@rule(V2X, "", "B08.FR.22")
@rule(V2X, "", "B08.FR.23")
def a_component_without_evse_or_connector_means_all(version: str) -> None:
    with bench(version) as here:
        every: list[Any] = [{"name": "Connector"}, {"name": "Connector", "evse": {"id": 1}}]
        every.append({"name": "Connector", "evse": {"id": 1, "connectorId": 1}})
        found = [
            {
                name_of(entry)
                for entry in report(here, "GetReport", number, componentVariable=[{"component": component}])
            }
            for number, component in enumerate(every)
        ]
        assert found[0] == found[1] == found[2]
        assert "Connector.ConnectorType" in found[0]
        nowhere = [{"component": {"name": "Connector", "evse": {"id": 2}}}]
        answer = here.ask("GetReport", {"requestId": 9, "componentVariable": nowhere})
        assert answer == {"status": "EmptyResultSet"}


@rule(V2X, "", "B08.FR.09")
def a_report_on_what_is_enabled_leaves_out_the_rest(version: str) -> None:
    with bench(version) as here:
        request: Any = {
            "componentVariable": [{"component": {"name": "LocalAuthListCtrlr"}}],
            "componentCriteria": ["Enabled"],
        }
        assert len(report(here, "GetReport", 1, **request)) > 1
        assert here.set("LocalAuthListEnabled", "false") == "Accepted"
        assert here.ask("GetReport", {"requestId": 2, **request}) == {"status": "EmptyResultSet"}


# The local list and the cache.


@rule(ALL, "CE16 3.52", "D01.FR.18")
@rule(V2X, "", "D01.FR.06")
def an_invalid_list_is_refused_and_changes_nothing(version: str) -> None:
    with bench(version) as here:
        assert here.list_version() == 0
        assert here.send_list(3, "Full", "A", "B") == "Accepted"
        assert [here.send_list(number, "Full", "C") for number in (0, -1)] == ["Failed"] * 2
        assert here.send_list(4, "Full", "C", "c") == "Failed", "a token twice"
        assert here.send_list(4, "Full", *[f"T{number}" for number in range(101)]) == "Failed", "too many"
        assert here.send_list(4, "Differential", *[f"T{number}" for number in range(99)]) == "Failed", "too many"
        assert here.send_list(4, "Full", "C", status=None) == "Failed", "nothing to store"
        assert here.list_version() == 3
        assert len(here.station.answers.local_list) == 2


@rule(ALL, "C16 §7.48", "D01.FR.15")
@rule(V2X, "", "D01.FR.16")
@rule(V2X, "", "D01.FR.17")
@rule(ALL, "C16 §7.49", "D01.FR.19")
def a_list_is_replaced_or_changed(version: str) -> None:
    with bench(version) as here:
        entries = here.station.answers.local_list
        assert (here.send_list(3, "Full", "A", "B"), len(entries)) == ("Accepted", 2)
        assert (here.send_list(4, "Differential", "B", "C"), len(entries)) == ("Accepted", 3)
        assert (here.send_list(5, "Differential", "A", status=None), len(entries)) == ("Accepted", 2)
        assert (here.send_list(5, "Differential", "D"), here.send_list(4, "Differential", "D")) == (
            "VersionMismatch",
        ) * 2
        assert (here.send_list(2, "Full", "X"), len(entries), here.list_version()) == ("Accepted", 1, 2)


@rule(ALL, "C16 §5.10", "D01.FR.04")
@rule(V2X, "", "D02.FR.02")
@rule(ALL, "C16 §9.2.1", "D02.FR.03")
def the_version_says_whether_there_is_a_list(version: str) -> None:
    with bench(version) as here:
        assert here.list_version() == 0
        assert here.send_list(3, "Full", "A") == "Accepted"
        assert here.list_version() == 3
        assert here.set("LocalAuthListEnabled", "false") == "Accepted"
        assert here.list_version() == 0
        assert here.send_list(4, "Full", "B") == ("NotSupported" if here.is_16 else "Failed")
        assert here.set("LocalAuthListEnabled", "true") == "Accepted"
        assert (here.list_version(), len(here.station.answers.local_list)) == (3, 1), "the entries are still there"
        assert here.send_list(5, "Full") == "Accepted"
        assert (here.list_version(), len(here.station.answers.local_list)) == (0 if here.is_16 else 5, 0)


def authorizes(here: Bench, tag: str = TAG) -> bool:
    """Charge; return whether the central system was asked about the token before."""
    before = len(here.sent("Authorize"))
    assert here.charge(samples=1, id_tag=tag) is not None
    return len(here.sent("Authorize")) > before


@rule(ALL, "C16 §9.1.13", "C14.FR.02")
@rule(V2X, "", "C14.FR.03")
def a_listed_token_charges_without_authorize_if_allowed(version: str) -> None:
    with bench(version) as here:
        assert here.send_list(1, "Full", TAG) == "Accepted"
        assert authorizes(here), "LocalPreAuthorize is false"
        assert here.set("LocalPreAuthorize", "true") == "Accepted"
        assert not authorizes(here)
        assert not authorizes(here, TAG.lower()), "case does not matter"
        assert authorizes(here, "OTHER")
        assert here.send_list(2, "Full", TAG, status="Blocked") == "Accepted"
        assert authorizes(here), "the state may have changed"
        assert here.send_list(3, "Full", TAG) == "Accepted"
        assert here.set("LocalAuthListEnabled", "false") == "Accepted"
        here.ask("ClearCache", {})
        assert authorizes(here), "the list is disabled"


@rule(ALL, "C16 §3.5.1", "C12.FR.02")
@rule(V2X, "", "C10.FR.04")
@rule(V2X, "", "C12.FR.05")
def a_cached_token_charges_without_authorize_if_allowed(version: str) -> None:
    with bench(version) as here:
        assert here.set("LocalPreAuthorize", "true") == "Accepted"
        assert authorizes(here)
        assert not authorizes(here), "the answer is cached"
        here.answer_to_start(lambda: "Blocked")
        here.answers["StopTransaction"] = lambda payload: {}
        assert not authorizes(here)
        del here.answers["StartTransaction" if here.is_16 else "TransactionEvent"]
        assert authorizes(here), "the cache has learnt from the transaction that the token is blocked"
        assert here.status("ClearCache", {}) == "Accepted"
        assert authorizes(here)
        assert here.set("AuthorizationCacheEnabled", "false") == "Accepted"
        assert authorizes(here)


@rule(ALL, "C16 §3.5.3", "C13.FR.01")
def the_list_takes_precedence_over_the_cache(version: str) -> None:
    with bench(version) as here:
        assert here.set("LocalPreAuthorize", "true") == "Accepted"
        assert authorizes(here)
        assert here.send_list(1, "Full", TAG, status="Blocked") == "Accepted"
        assert authorizes(here), "it is cached as accepted, but listed as blocked"
        assert len(here.station.answers.cache) == 1


@rule(ALL, "C16 §3.5.4", "C14.FR.05")
def a_listed_token_expires(version: str) -> None:
    with bench(version) as here:
        assert here.set("LocalPreAuthorize", "true") == "Accepted"
        year = datetime.now(timezone.utc).year
        for number, (moment, asked) in enumerate(((f"{year - 1}", True), (f"{year + 2}", False)), start=1):
            expiry = {"expiryDate" if here.is_16 else "cacheExpiryDateTime": f"{moment}-06-01T00:00:00Z"}
            token: Any = {"idTag": TAG} if here.is_16 else {"idToken": {"idToken": TAG, "type": "ISO14443"}}
            info = {"idTagInfo" if here.is_16 else "idTokenInfo": {"status": "Accepted", **expiry}}
            request = {"listVersion" if here.is_16 else "versionNumber": number, "updateType": "Full"}
            here.ask("SendLocalList", {**request, "localAuthorizationList": [{**token, **info}]})
            assert authorizes(here) is asked


@rule(ALL, "CE16 3.23", "C11.FR.04")
@rule(V2X, "", "C11.FR.03")
def a_cache_is_cleared_if_there_is_one(version: str) -> None:
    with bench(version) as here:
        assert here.charge() is not None
        assert len(here.station.answers.cache) == 1
        assert here.set("AuthorizationCacheEnabled", "false") == "Accepted"
        assert here.status("ClearCache", {}) == "Rejected"
        assert here.set("AuthorizationCacheEnabled", "true") == "Accepted"
        assert here.status("ClearCache", {}) == "Accepted"
        assert len(here.station.answers.cache) == 0


@rule(V16, "C16 §3.5.2")
def a_conflict_with_the_list_is_reported(version: str) -> None:
    with bench(version) as here:
        assert here.send_list(1, "Full", TAG) == "Accepted"
        here.answer_to_start(lambda: "Blocked")
        assert here.charge() is not None
        conflict = here.wait("StatusNotification", errorCode="LocalListConflict")
        assert (conflict["connectorId"], conflict["status"]) == (0, "Available")
        assert here.set("LocalAuthListEnabled", "false") == "Accepted"
        assert here.charge() is not None
        conflicts = [one for one in here.sent("StatusNotification") if one["errorCode"] != "NoError"]
        assert conflicts == [conflict], "a disabled list is in conflict with nothing"


# An invalid idTag.


@rule(ALL, "C16 §9.1.24 true", "E05.FR.10")
def a_transaction_with_an_invalid_id_is_stopped(version: str) -> None:
    with bench(version) as here:
        here.answer_to_start(lambda: "Invalid")
        session = here.charge()
        assert session is not None
        assert (session.reason, session.meter_stop) == ("DeAuthorized", session.meter_start)
        assert here.periodic() == []


@rule(ALL, "C16 §9.1.24", "E05.FR.02")
def a_transaction_with_an_invalid_id_gets_no_energy(version: str) -> None:
    with bench(version) as here:
        assert here.set("StopTransactionOnInvalidId", "false") == "Accepted"
        here.answer_to_start(lambda: "Invalid")
        session = here.charge()
        assert session is not None
        assert (session.reason, session.meter_stop) == ("Local", session.meter_start)
        if here.is_16:
            assert here.statuses()[2:4] == ["SuspendedEVSE", "Finishing"]
        else:
            event = here.wait("TransactionEvent", triggerReason="ChargingStateChanged")
            assert event["transactionInfo"]["chargingState"] == "SuspendedEVSE"
            assert here.ended()[0]["transactionInfo"]["stoppedReason"] == "Local"


# Meter values.


@rule(ALL, "C16 §3.16.4", "SampledDataCtrlr.TxUpdatedMeasurands")
def an_unsupported_measurand_is_refused(version: str) -> None:
    keys = ["MeterValuesSampledData", "MeterValuesAlignedData", "StopTxnSampledData", "StopTxnAlignedData"]
    with bench(version) as here:
        for key in [*keys, *([] if here.is_16 else ["SampledTxStartedMeasurands"])]:
            before = here.get(key)
            assert here.set(key, f"{ENERGY},Frequency") == "Rejected"
            assert here.set(key, "Nonsense") == "Rejected"
            assert here.get(key) == before, "no changes are made"
            assert here.set(key, "SoC,Voltage") == "Accepted"


@rule(ALL, "C16 §9.1.17", "J02.FR.11 measurands")
def the_configured_measurands_are_sampled(version: str) -> None:
    with bench(version) as here:
        assert here.set("MeterValuesSampledData", "SoC,Voltage") == "Accepted"
        here.charge(samples=2)
        assert here.periodic() == [["SoC", "Voltage"]] * 2
        assert here.set("MeterValuesSampledData", "") == "Accepted"
        here.charge(samples=2)
        assert len(here.periodic()) == 2


@rule(ALL, "CE16 3.15", "J02.FR.11")
def the_meter_is_read_at_the_interval(version: str) -> None:
    with bench(version) as here:
        for interval, expected in (("2", 6), ("1", 12), ("5", 2), ("13", 0), ("0", 0)):
            assert here.set("MeterValueSampleInterval", interval) == "Accepted"
            before = len(here.periodic())
            here.charge(samples=6)
            assert len(here.periodic()) - before == expected
        registers = [session.meter_stop - session.meter_start for session in (here.charge(), here.charge())]
        assert registers == [1000, 1000], "the interval does not change the energy"


@rule(ALL, "CE16 3.15 at once", "J02.FR.11 at once")
def a_new_interval_counts_at_once(version: str) -> None:
    with bench(version, boot=False, pace=4) as here:
        here.start()
        assert here.set("MeterValueSampleInterval", "0") == "Accepted"
        assert here.start_remotely() == "Accepted"
        here.wait_for_transaction()
        assert here.periodic() == []
        assert here.set("MeterValueSampleInterval", "1") == "Accepted"
        wait_until(lambda: len(here.periodic()) >= 3)


@rule(ALL, "C16 §9.1.5", "J01.FR.14")
def clock_aligned_data_is_sent_while_idle(version: str) -> None:
    with bench(version, boot=False) as here:
        here.start()
        assert here.set("MeterValuesAlignedData", f"{ENERGY},Voltage") == "Accepted"
        assert here.set("ClockAlignedDataInterval", "20") == "Accepted"
        here.wait("MeterValues", 3)
        assert here.periodic("Sample.Clock")[:3] == [[ENERGY, "Voltage"]] * 3
        assert not any("transactionId" in one for one in here.sent("MeterValues"))
        assert here.set("ClockAlignedDataInterval", "0") == "Accepted"
        # What is on its way comes before the transaction.
        assert here.start_remotely() == "Accepted"
        wait_until(here.begun)
        sent = len(here.periodic("Sample.Clock"))
        wait_until(here.ended)
        assert len(here.periodic("Sample.Clock")) == sent


@rule(ALL, "CE16 3.16", "J01.FR.22")
def clock_aligned_data_is_sent_in_a_transaction(version: str) -> None:
    with bench(version) as here:
        assert here.set("ClockAlignedDataInterval", "1") == "Accepted"
        assert here.set("MeterValueSampleInterval", "0") == "Accepted"
        session = here.charge(samples=20)
        aligned = [one for one in here.sent("TransactionEvent") if one["triggerReason"] == "MeterValueClock"]
        aligned += [one for one in here.sent("MeterValues") if "transactionId" in one]
        assert len(aligned) >= 10
        assert here.periodic("Sample.Clock")[0] == [ENERGY]
        for message in aligned:
            transaction = message if here.is_16 else message["transactionInfo"]
            assert transaction["transactionId"] == session.transaction_id


def final_values(here: Bench) -> list[tuple[str, list[str]]]:
    """Return the context and the measurands of each meter value of the last message of the last transaction."""
    values = here.ended()[-1].get("transactionData" if here.is_16 else "meterValue", [])
    return [
        (one["sampledValue"][0]["context"], [sample["measurand"] for sample in one["sampledValue"]]) for one in values
    ]


@rule(ALL, "C16 §9.1.27", "E06.FR.11")
def the_last_message_has_the_configured_values(version: str) -> None:
    with bench(version) as here:
        assert here.set("StopTxnSampledData", "SoC,Voltage") == "Accepted"
        here.charge(samples=3)
        ends = [("Transaction.Begin", ["SoC", "Voltage"]), ("Transaction.End", ["SoC", "Voltage"])]
        samples = [("Sample.Periodic", ["SoC", "Voltage"])] * 3
        assert final_values(here) == ([ends[0], *samples, ends[1]] if here.is_16 else ends)
        if not here.is_16:
            assert here.set("SampledTxEndedInterval", "2") == "Accepted"
            here.charge(samples=3)
            assert final_values(here) == [ends[0], *samples, ends[1]]


@rule(ALL, "C16 §3.16.5", "SampledDataCtrlr.TxEndedMeasurands")
def without_measurands_the_last_message_has_no_values(version: str) -> None:
    with bench(version) as here:
        for key in ("StopTxnSampledData", "StopTxnAlignedData"):
            assert here.set(key, "") == "Accepted"
        here.charge(samples=3)
        assert "meterValue" not in here.ended()[0]
        assert "transactionData" not in here.ended()[0]


@rule(ALL, "C16 §9.1.25", "AlignedDataCtrlr.TxEndedMeasurands")
def the_last_message_has_the_aligned_values(version: str) -> None:
    with bench(version) as here:
        assert here.set("StopTxnSampledData", "") == "Accepted"
        assert here.set("StopTxnAlignedData", "SoC") == "Accepted"
        assert here.set("ClockAlignedDataInterval" if here.is_16 else "AlignedTxEndedInterval", "1") == "Accepted"
        here.charge(samples=20)
        values = final_values(here)
        assert len(values) >= 10
        assert set(map(repr, values)) == {repr(("Sample.Clock", ["SoC"]))}


@rule(V2X, "", "E05.FR.05")
def the_first_event_has_the_configured_values(version: str) -> None:
    with bench(version) as here:
        here.charge(samples=1)
        assert here.set("SampledTxStartedMeasurands", "Voltage,SoC") == "Accepted"
        here.charge(samples=1)
        assert here.set("SampledTxStartedMeasurands", "") == "Accepted"
        here.charge(samples=1)
        first, second, third = here.begun()
        assert [one["measurand"] for one in first["meterValue"][0]["sampledValue"]] == [ENERGY]
        assert [one["measurand"] for one in second["meterValue"][0]["sampledValue"]] == ["Voltage", "SoC"]
        assert "meterValue" not in third


@rule(ALL, "C16 §9.1.10", "G02.FR.02")
def heartbeats_follow_the_interval_in_real_seconds(version: str) -> None:
    with bench(version, boot=False) as here:
        here.start()
        before = time.monotonic()
        assert here.set("HeartbeatInterval", "1") == "Accepted"
        here.wait("Heartbeat", 2)
        assert time.monotonic() - before >= 1, "the pace of 200 does not matter"


@rule(V16, "C16 §4.6 none")
def without_an_interval_there_are_no_heartbeats(version: str) -> None:
    with bench(version, boot=False) as here:
        here.start()
        assert here.set("HeartbeatInterval", "1") == "Accepted"
        here.wait("Heartbeat")
        assert here.set("HeartbeatInterval", "0") == "Accepted"
        assert here.start_remotely() == "Accepted", "the scenario goes on without an interval to wait for"
        wait_until(here.ended)
        assert here.station._heartbeats.next_at == math.inf


@rule(V2X, "", "4/201 §5.3")
def the_back_off_follows_its_variables(version: str) -> None:
    with bench(version) as here:
        settings = {"RetryBackOffWaitMinimum": "3", "RetryBackOffRepeatTimes": "1", "RetryBackOffRandomRange": "0"}
        data = [
            {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": name}, "attributeValue": value}
            for name, value in settings.items()
        ]
        assert [one["attributeStatus"] for one in write(here, *data)] == ["Accepted"] * 3
        assert here.station._version_driver.back_off == (3, 1, 0)


@rule.parametrized
def test_rule(rule: Rule) -> None:
    rule.check(rule.version)


def test_settings_of_both_versions_are_named_alike() -> None:
    assert named("HeartbeatInterval")["variable"] == {"name": "HeartbeatInterval"}
    assert named("TransactionMessageAttempts")["variable"]["instance"] == "TransactionEvent"

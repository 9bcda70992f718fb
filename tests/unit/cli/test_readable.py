"""Payloads on one line: the most informative fields first, without control characters of a peer."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.cli.readable import compact, fit
from ocppsync.faults.printable import printable

# Text.


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Zürich 充電器 °C", "Zürich 充電器 °C"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2028\ud800\U000e0041", r"\u2028\ud800\U000e0041"),
    ],
)
def test_unprintable_characters_are_escaped(text: str, safe: str) -> None:
    assert printable(text) == safe


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("abcde", 5, "abcde"),
        ("abcdef", 5, "abcd…"),
        ("", 5, ""),
        ("充電器", 6, "充電器"),
        ("充電器", 5, "充電…"),
        ("充電器", 4, "充…"),
    ],
)
def test_a_text_is_cut_to_a_number_of_columns(text: str, width: int, cut: str) -> None:
    assert fit(text, width) == cut


# Payloads.


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        (None, "null"),
        ("x y", '"x y"'),
        (
            {"currentTime": "2026-11-24T08:15:00Z", "interval": 300, "status": "Accepted"},
            "status=Accepted interval=300 currentTime=2026-11-24T08:15:00Z",
        ),
        ({"transactionId": 7, "idTagInfo": {"status": "Accepted"}}, "transactionId=7 idTagInfo.status=Accepted"),
        ({"a": {"b": 1, "c": True}, "d": [1, "x y"]}, 'a={b=1 c=true} d=[1, "x y"]'),
        ({"csr": "x" * 100}, f"csr={'x' * 39}…"),
        ({"list": list(range(30))}, f"list=[{', '.join(map(str, range(20)))}, … 10 more]"),
    ],
)
def test_a_payload_is_shown_compactly(payload: Any, text: str) -> None:
    assert compact(payload) == text


def test_meter_values_are_shown_with_their_units() -> None:
    samples = [
        {"value": "1234"},
        {"value": "7.4", "unit": "kW", "measurand": "Power.Active.Import"},
        {"value": "230.1", "unit": "V", "measurand": "Voltage", "phase": "L1"},
        {"value": "42", "unit": "Percent", "measurand": "SoC"},
        {"value": "11", "unit": "kW", "measurand": "Power.Offered"},
    ]
    values = [{"timestamp": "2026-11-24T08:15:00Z", "sampledValue": samples}]
    assert compact({"connectorId": 1, "transactionId": 7, "meterValue": values}) == (
        "1234 Wh, 7.4 kW, 230.1 V L1, 42 %, Power.Offered 11 kW connectorId=1 transactionId=7"
    )
    assert compact({"meterValue": [{"sampledValue": [{"value": "1"}]}] * 2}) == "1 Wh | 1 Wh"


def test_configuration_keys_are_shown_with_their_values() -> None:
    keys = [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}, {"key": "Odd", "readonly": True}]
    assert compact({"configurationKey": keys}) == 'configurationKey=[HeartbeatInterval=300, Odd=""]'


def variable(component: str, name: str, instance: str | None = None, **fields: Any) -> dict[str, Any]:
    more = {} if instance is None else {"instance": instance}
    return {"component": {"name": component}, "variable": {"name": name, **more}, **fields}


def test_variables_are_shown_with_their_values() -> None:
    requested = [variable("TxCtrlr", "TxStartPoint"), variable("TxCtrlr", "Limit", attributeType="MaxSet")]
    assert compact({"getVariableData": requested}) == "TxCtrlr.TxStartPoint, TxCtrlr.Limit.MaxSet"
    results = [
        variable("TxCtrlr", "TxStartPoint", attributeStatus="Accepted", attributeValue="Authorized"),
        variable("X", "Y", "Z", attributeStatus="UnknownVariable"),
    ]
    assert compact({"getVariableResult": results}) == "TxCtrlr.TxStartPoint=Authorized, X.Y[Z]=UnknownVariable"
    settings = [variable("SecurityCtrlr", "BasicAuthPassword", attributeValue="s3cret")]
    assert compact({"setVariableData": settings}) == "SecurityCtrlr.BasicAuthPassword=***"


def test_reports_and_events_name_the_evse() -> None:
    entry = {
        "component": {"name": "Connector", "evse": {"id": 1, "connectorId": 2}},
        "variable": {"name": "AvailabilityState"},
    }
    reported = {**entry, "variableAttribute": [{"value": "Faulted"}], "variableCharacteristics": {}}
    assert compact({"requestId": 7, "seqNo": 0, "reportData": [reported]}) == (
        "requestId=7 Connector#1.2.AvailabilityState=Faulted seqNo=0"
    )
    event = {**entry, "eventId": 3, "trigger": "Delta", "actualValue": "Faulted"}
    assert compact({"eventData": [event]}) == "Connector#1.2.AvailabilityState=Faulted {eventId=3 trigger=Delta}"
    monitor = variable("TxCtrlr", "Limit", value=5, type="Delta")
    assert compact({"setMonitoringData": [monitor]}) == "setMonitoringData=[TxCtrlr.Limit {value=5 type=Delta}]"


def test_a_transaction_event_starts_with_the_most_informative_fields() -> None:
    samples = [
        {"value": 1234, "measurand": "Energy.Active.Import.Register", "unitOfMeasure": {"unit": "Wh"}},
        {"value": 7.4, "measurand": "Power.Active.Import", "unitOfMeasure": {"unit": "W", "multiplier": 3}},
        {"value": 42, "measurand": "SoC", "unitOfMeasure": {"unit": "Percent"}},
        {"value": 5},
    ]
    event = {
        "timestamp": "2026-11-24T08:15:00Z",
        "seqNo": 3,
        "offline": False,
        "transactionInfo": {"transactionId": "7f1c9a52-6f0e-4c1b-9f57-0d3a3c1e5b11", "stoppedReason": "Local"},
        "evse": {"id": 1, "connectorId": 2},
        "idToken": {"idToken": "04A1B2C3", "type": "ISO14443"},
        "triggerReason": "StopAuthorized",
        "meterValue": [{"timestamp": "2026-11-24T08:15:00Z", "sampledValue": samples}],
        "eventType": "Ended",
    }
    assert compact(event) == (
        "eventType=Ended 1234 Wh, 7.4 *10^3 W, 42 %, 5 Wh stoppedReason=Local idToken=ISO14443:04A1B2C3"
        " triggerReason=StopAuthorized transactionId=7f1c9a52… evse=1 connectorId=2 seqNo=3 offline=false"
        " timestamp=2026-11-24T08:15:00Z"
    )


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (
            {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "One"}},
            "reason=PowerUp vendorName=Acme model=One",
        ),
        (
            {"evseId": 1, "connectorId": 1, "connectorStatus": "Occupied"},
            "connectorStatus=Occupied evseId=1 connectorId=1",
        ),
        (
            {"idToken": {"idToken": "X", "type": "Central", "additionalInfo": []}, "remoteStartId": 1},
            "idToken=Central:X additionalInfo=[] remoteStartId=1",
        ),
        ({"idTokenInfo": {"status": "Accepted"}}, "idTokenInfo.status=Accepted"),
    ],
)
def test_nested_objects_of_2x_are_shown_flat(payload: Any, text: str) -> None:
    assert compact(payload) == text


def test_a_payload_nested_too_deeply_is_shown() -> None:
    payload: Any = "x"
    for _ in range(900):
        payload = [payload]
    assert "…" in compact(payload)

"""Validation errors: texts, codes, secrets; limits, threads and imports of the validation."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from payloads import Counted, Message, messages, minimal

from ocppsync.errors import ValidationError, Violation
from ocppsync.validation.catalogue import SUBPROTOCOLS, Catalogue, Kind, Version, catalogue
from ocppsync.validation.validators import Validator, validator

VERSION: Version = "1.6"
VERSIONS: tuple[Version, ...] = tuple(SUBPROTOCOLS.values())
VERSIONS_2X: tuple[Version, ...] = ("2.0.1", "2.1")
MESSAGES: list[Message] = [message for version in VERSIONS for message in messages(version)]


# -------------------------------------------------------------------------------------------------- reports


def refused(action: str, kind: Kind, payload: Any, version: Version = VERSION) -> ValidationError:
    error = validator(version).check(action, kind, payload)
    assert error is not None
    return error


def meter_values(**changes: Any) -> dict[str, Any]:
    sample = {"value": "1", "context": "Sample.Periodic", "measurand": "Voltage", "unit": "V", **changes}
    return {"connectorId": 1, "meterValue": [{"timestamp": "2025-03-14T09:26:53Z", "sampledValue": [sample]}]}


def charging(limit: Any) -> dict[str, Any]:
    period = {"startPeriod": 0, "limit": limit}
    payload = minimal(VERSION, "SetChargingProfile", "request")
    payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"] = [period]
    return payload


VALUE = "PropertyConstraintViolation"
# One row each: the message and its payload; then the expected code, keyword, path and text.
REPORTS: list[tuple[str, Any, str, str, str, str]] = [
    ("Reset", [], "FormationViolation", "type", "", "the payload is an array; expected an object"),
    ("Reset", None, "FormationViolation", "type", "", "the payload is null; expected an object"),
    ("Reset", "Soft", "FormationViolation", "type", "", "the payload is a string; expected an object"),
    ("Reset", {}, "ProtocolError", "required", "type", '"type" is missing'),
    (
        "Reset",
        {"type": "Soft", "x": 1},
        "FormationViolation",
        "additionalProperties",
        "x",
        '"x" is not a field of this object',
    ),
    (
        "MeterValues",
        meter_values(Unit="V"),
        "FormationViolation",
        "additionalProperties",
        "meterValue[0].sampledValue[0].Unit",
        '"Unit" is not a field of this object; did you mean "unit"?',
    ),
    (
        "Reset",
        {"type": "Soft", "a\nb": 1},
        "FormationViolation",
        "additionalProperties",
        '["a\\nb"]',
        '"a\\nb" is not a field of this object',
    ),
    ("Reset", {"type": None}, "TypeConstraintViolation", "type", "type", '"type" is null; expected a string'),
    (
        "UnlockConnector",
        {"connectorId": True},
        "TypeConstraintViolation",
        "type",
        "connectorId",
        '"connectorId" is true; expected an integer',
    ),
    (
        "UnlockConnector",
        {"connectorId": 1.5},
        "TypeConstraintViolation",
        "type",
        "connectorId",
        '"connectorId" is 1.5; expected an integer',
    ),
    (
        "UnlockConnector",
        {"connectorId": Decimal(1)},
        "TypeConstraintViolation",
        "type",
        "connectorId",
        '"connectorId" is a Python Decimal; expected an integer',
    ),
    (
        "MeterValues",
        {"connectorId": 1, "meterValue": {"timestamp": "x"}},
        "TypeConstraintViolation",
        "type",
        "meterValue",
        '"meterValue" is an object; expected an array',
    ),
    (
        "GetConfiguration",
        {"key": ["a", 5]},
        "TypeConstraintViolation",
        "type",
        "key[1]",
        '"key"[1] is 5; expected a string',
    ),
    (
        "MeterValues",
        meter_values(unit="Kwh"),
        VALUE,
        "enum",
        "meterValue[0].sampledValue[0].unit",
        '"unit" is "Kwh"; expected one of "Wh", "kWh", "varh", "kvarh", "W", "kW", "VA", "kVA", ...; '
        'did you mean "kWh"?',
    ),
    ("Reset", {"type": "Now"}, VALUE, "enum", "type", '"type" is "Now"; expected one of "Hard", "Soft"'),
    (
        "Authorize",
        {"idTag": "x" * 21},
        VALUE,
        "maxLength",
        "idTag",
        f'"idTag" is "{"x" * 21}" (21 characters); expected at most 20 characters',
    ),
    (
        "SetChargingProfile",
        charging(21.45),
        VALUE,
        "multipleOf",
        "csChargingProfiles.chargingSchedule.chargingSchedulePeriod[0].limit",
        '"limit" is 21.45; expected a multiple of 0.1',
    ),
    (
        "SetChargingProfile",
        charging(math.nan),
        "TypeConstraintViolation",
        "type",
        "csChargingProfiles.chargingSchedule.chargingSchedulePeriod[0].limit",
        '"limit" is NaN; expected a number',
    ),
    (
        "MeterValues",
        {"connectorId": 1, "meterValue": []},
        "OccurenceConstraintViolation",
        "minItems",
        "meterValue",
        '"meterValue" has 0 items; expected at least 1',
    ),
    (
        "SecurityEventNotification",
        {"type": "MemoryExhaustion", "timestamp": "2025-03-14"},
        VALUE,
        "format",
        "timestamp",
        '"timestamp" is "2025-03-14"; expected a date and time such as 2025-01-31T12:00:00Z',
    ),
    (
        "UpdateFirmware",
        {"location": "host/file", "retrieveDate": "2025-03-14T09:26:53Z"},
        VALUE,
        "format",
        "location",
        '"location" is a string; expected a URI such as https://example.com/file',
    ),
]


@pytest.mark.parametrize(("action", "payload", "code", "keyword", "path", "text"), REPORTS)
def test_report(action: str, payload: Any, code: str, keyword: str, path: str, text: str) -> None:
    error = refused(action, "request", payload)
    assert error.errors == (Violation(path, text, keyword),)
    assert error.error_code == code
    assert error.action == action
    assert str(error) == f"{action} request: {path}: {text}" if path else f"{action} request: {text}"


def status(**changes: Any) -> dict[str, Any]:
    good = {"evseId": 1, "connectorId": 1, "connectorStatus": "Available", "timestamp": "2025-03-14T09:26:53Z"}
    return {**good, **changes}


def charging_2x(**changes: Any) -> dict[str, Any]:
    schedule = {"id": 1, "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 21.45}]}
    purpose = {"chargingProfilePurpose": "TxDefaultProfile", "chargingProfileKind": "Absolute"}
    profile = {"id": 1, "stackLevel": 0, **purpose, "chargingSchedule": [schedule], **changes}
    return {"evseId": 1, "chargingProfile": profile}


def needs(charge: Any) -> dict[str, Any]:
    current = {"evMaxCurrent": 100, "evMaxVoltage": 400, "stateOfCharge": charge}
    return {"evseId": 1, "chargingNeeds": {"requestedEnergyTransfer": "DC", "dcChargingParameters": current}}


DATE_TIME = "a date and time with a time zone and at most 3 fraction digits, such as 2025-01-31T12:00:00.123Z"
# The same, for both 2.0.1 and 2.1.
REPORTS_2X: list[tuple[str, Any, str, str, str, str]] = [
    ("Reset", [], "FormatViolation", "type", "", "the payload is an array; expected an object"),
    (
        "BootNotification",
        {"reason": "PowerUp"},
        "OccurrenceConstraintViolation",
        "required",
        "chargingStation",
        '"chargingStation" is missing',
    ),
    (
        "Heartbeat",
        {"customData": {"extra": 1}},
        "OccurrenceConstraintViolation",
        "required",
        "customData.vendorId",
        '"vendorId" is missing',
    ),
    (
        "StatusNotification",
        status(errorCode="NoError"),
        "ProtocolError",
        "additionalProperties",
        "errorCode",
        '"errorCode" is not a field of this object',
    ),
    (
        "StatusNotification",
        status(evseId=None),
        "TypeConstraintViolation",
        "type",
        "evseId",
        '"evseId" is null; expected an integer',
    ),
    (
        "StatusNotification",
        status(connectorStatus="available"),
        VALUE,
        "enum",
        "connectorStatus",
        '"connectorStatus" is "available"; expected one of "Available", "Occupied", "Reserved", "Unavailable", '
        '"Faulted"; did you mean "Available"?',
    ),
    *(
        ("StatusNotification", status(timestamp=text), VALUE, "format", "timestamp", f'"timestamp" is "{text}"; {wish}')
        for text in ("2025-03-14T09:26:53", "2025-03-14T09:26:53.1234Z")
        for wish in [f"expected {DATE_TIME}"]
    ),
    (
        "SetChargingProfile",
        charging_2x(chargingSchedule=charging_2x()["chargingProfile"]["chargingSchedule"] * 4),
        "OccurrenceConstraintViolation",
        "maxItems",
        "chargingProfile.chargingSchedule",
        '"chargingSchedule" has 4 items; expected at most 3',
    ),
    (
        "GetVariables",
        {"getVariableData": []},
        "OccurrenceConstraintViolation",
        "minItems",
        "getVariableData",
        '"getVariableData" has 0 items; expected at least 1',
    ),
    *(
        ("NotifyEVChargingNeeds", needs(charge), VALUE, keyword, path, f'"stateOfCharge" is {charge}; {wish}')
        for charge, keyword, wish in ((-1, "minimum", "expected at least 0"), (101, "maximum", "expected at most 100"))
        for path in ["chargingNeeds.dcChargingParameters.stateOfCharge"]
    ),
]


@pytest.mark.parametrize("version", VERSIONS_2X)
@pytest.mark.parametrize(("action", "payload", "code", "keyword", "path", "text"), REPORTS_2X)
def test_report_of_2_x(
    version: Version, action: str, payload: Any, code: str, keyword: str, path: str, text: str
) -> None:
    error = refused(action, "request", payload, version)
    assert error.errors == (Violation(path, text, keyword),)
    assert error.error_code == code


@pytest.mark.parametrize("version", VERSIONS_2X)
@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("Heartbeat", {}),
        ("Heartbeat", {"customData": {"vendorId": "com.example", "extra": {"any": [1, None]}}}),
        *(("DataTransfer", {"vendorId": "com.example", "data": data}) for data in (None, 1.5, "x", [], {"a": [True]})),
        ("StatusNotification", status(timestamp="2025-03-14T09:26:53.123+01:00")),
        ("SetChargingProfile", charging_2x()),
        ("NotifyEVChargingNeeds", needs(0)),
        ("NotifyEVChargingNeeds", needs(100)),
    ],
)
def test_valid_payloads_of_2_x(version: Version, action: str, payload: Any) -> None:
    validator(version).validate(action, "request", payload)


# A message with a field for each keyword.
EVERY_KEYWORD: dict[str, Any] = {
    "type": "object",
    "required": ["there"],
    "properties": {
        "there": {"type": "boolean"},
        "choice": {"type": "string", "enum": ["Wh", "kWh"]},
        "text": {"type": "string", "minLength": 1, "maxLength": 3},
        "number": {"type": "number", "minimum": 0, "maximum": 9, "multipleOf": 0.1},
        "list": {"type": "array", "items": {}, "minItems": 1, "maxItems": 2},
        "time": {"type": "string", "format": "date-time"},
    },
    "additionalProperties": False,
}
# One row per violation: the payload, and its code in 1.6 and in 2.x.
CODES: dict[str, tuple[Any, str, str]] = {
    "payload not an object": ([], "FormationViolation", "FormatViolation"),
    "missing required": ({}, "ProtocolError", "OccurrenceConstraintViolation"),
    "extra property": ({"there": True, "x": 1}, "FormationViolation", "ProtocolError"),
    "wrong type": ({"there": 1}, "TypeConstraintViolation", "TypeConstraintViolation"),
    "null in a field": ({"there": True, "text": None}, "TypeConstraintViolation", "TypeConstraintViolation"),
    "enum": ({"there": True, "choice": "kwh"}, VALUE, VALUE),
    "minLength": ({"there": True, "text": ""}, VALUE, VALUE),
    "maxLength": ({"there": True, "text": "long"}, VALUE, VALUE),
    "minimum": ({"there": True, "number": -1}, VALUE, VALUE),
    "maximum": ({"there": True, "number": 10}, VALUE, VALUE),
    "multipleOf": ({"there": True, "number": 0.25}, VALUE, VALUE),
    "minItems": ({"there": True, "list": []}, "OccurenceConstraintViolation", "OccurrenceConstraintViolation"),
    "maxItems": ({"there": True, "list": [1] * 3}, "OccurenceConstraintViolation", "OccurrenceConstraintViolation"),
    "format date-time": ({"there": True, "time": "now"}, VALUE, VALUE),
    # The most significant one counts: shape, required, type, extra, value, occurrence.
    "required before type": ({"text": 1}, "ProtocolError", "OccurrenceConstraintViolation"),
    "type before extra": ({"there": 1, "x": 1}, "TypeConstraintViolation", "TypeConstraintViolation"),
    "extra before value": ({"there": True, "x": 1, "choice": ""}, "FormationViolation", "ProtocolError"),
    "value before occurrence": ({"there": True, "list": [], "choice": ""}, VALUE, VALUE),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CODES)
def test_code_of_a_violation(name: str, version: Version) -> None:
    payload, code_16, code_2x = CODES[name]
    bundle = {"version": version, "$defs": {}, "actions": {"Test": {"initiator": "both", "request": EVERY_KEYWORD}}}
    error = Validator(Catalogue(bundle)).check("Test", "request", payload)
    assert error is not None
    assert error.error_code == (code_16 if version == "1.6" else code_2x)


# No message of 1.6 uses minimum or maxItems; they work anyway.
@pytest.mark.parametrize(
    ("field", "value", "code", "text"),
    [
        ({"type": "integer", "minimum": 0}, -1, VALUE, '"field" is -1; expected at least 0'),
        ({"type": "integer", "maximum": 9}, 10**99, VALUE, f'"field" is 1{"0" * 39}...; expected at most 9'),
        (
            {"type": "string", "minLength": 3},
            "ab",
            VALUE,
            '"field" is "ab" (2 characters); expected at least 3 characters',
        ),
        (
            {"type": "array", "maxItems": 1},
            [1, 2],
            "OccurenceConstraintViolation",
            '"field" has 2 items; expected at most 1',
        ),
    ],
)
def test_report_of_keywords_that_1_6_does_not_use(field: dict[str, Any], value: Any, code: str, text: str) -> None:
    message = {"type": "object", "properties": {"field": field}}
    bundle = {"version": VERSION, "$defs": {}, "actions": {"Reset": {"initiator": "csms", "request": message}}}
    error = Validator(Catalogue(bundle)).check("Reset", "request", {"field": value})
    assert error is not None
    assert [violation.message for violation in error.errors] == [text]
    assert error.error_code == code


def test_the_most_significant_violation_comes_first() -> None:
    payload: dict[str, Any] = meter_values(unit="Kwh", extra=1, context=5)
    payload["meterValue"] += [{"timestamp": "now"}, {"timestamp": "2025-03-14T09:26:53Z", "sampledValue": []}]
    error = refused("MeterValues", "request", payload)
    assert [violation.keyword for violation in error.errors] == [
        "required",
        "type",
        "additionalProperties",
        "enum",
        "format",
        "minItems",
    ]
    assert error.error_code == "ProtocolError"
    assert str(error) == 'MeterValues request: meterValue[1].sampledValue: "sampledValue" is missing (+5 more)'


def test_every_missing_field_is_reported_once() -> None:
    error = refused("StartTransaction", "request", {"idTag": "A"})
    assert [violation.path for violation in error.errors] == ["connectorId", "meterStart", "timestamp"]


def test_a_wrong_type_is_reported_once_even_under_an_enum() -> None:
    assert len(refused("Reset", "request", {"type": 5}).errors) == 1


@pytest.mark.parametrize("action", ["Rest", "", "TransactionEvent"])
def test_unknown_action(action: str) -> None:
    error = refused(action, "request", {})
    assert error.error_code == "NotImplemented"
    assert error.action == action
    assert [violation.message for violation in error.errors] == [str(error)]
    with pytest.raises(ValidationError, match=r"OCPP 1\.6 has no action"):
        validator(VERSION).validate(action, "response", {})


@pytest.mark.parametrize(("version", "action"), [("2.0.1", "StartTransaction"), ("2.0.1", "AFRRSignal"), ("2.1", "x")])
def test_unknown_action_of_2_x(version: Version, action: str) -> None:
    error = refused(action, "request", {}, version)
    assert error.error_code == "NotImplemented"
    assert f"OCPP {version} has no action" in str(error)


def test_a_send_has_no_response_to_check() -> None:
    send = "NotifyPeriodicEventStream"
    validator("2.1").validate(send, "request", minimal("2.1", send, "request"))
    with pytest.raises(KeyError):
        validator("2.1").check(send, "response", {})


def test_predicate() -> None:
    ours = Validator(catalogue(VERSION))
    predicate = ours.predicate("Reset", "request")
    assert predicate({"type": "Soft"}) is True
    assert predicate({"type": "Now"}) is False
    assert ours.check("Reset", "request", {"type": "Soft"}) is None
    assert ours.predicate("Reset", "request") is predicate
    assert ours.predicate("Reset", "response")({"status": "Accepted"})


@pytest.mark.parametrize(("action", "kind"), [("Rest", "request"), ("NotifyPeriodicEventStream", "response")])
def test_no_predicate_without_a_message(action: str, kind: Kind) -> None:
    with pytest.raises(KeyError):
        validator("2.1").predicate(action, kind)


def test_validate_raises_what_check_returns() -> None:
    with pytest.raises(ValidationError) as caught:
        validator(VERSION).validate("Reset", "request", {"type": "Now"})
    assert str(caught.value) == str(refused("Reset", "request", {"type": "Now"}))
    validator(VERSION).validate("Reset", "request", {"type": "Soft"})


SECRET = "hunter2"
TIME = "2025-03-14T09:26:53Z"


@pytest.mark.parametrize(
    ("action", "kind", "payload"),
    [
        ("ChangeConfiguration", "request", {"key": "AuthorizationKey", "value": SECRET * 100}),
        ("ChangeConfiguration", "request", {"key": "AuthorizationKey", "value": [SECRET]}),
        ("ChangeConfiguration", "request", {"key": "AuthorizationKey", "value": {SECRET: 1}}),
        ("ChangeConfiguration", "request", ["AuthorizationKey", SECRET]),
        ("ChangeConfiguration", "request", SECRET),
        ("ChangeConfiguration", "request", {"key": "AuthorizationKey", "Value": SECRET}),
        ("GetConfiguration", "response", {"configurationKey": SECRET}),
        ("GetConfiguration", "response", {"configurationKey": [SECRET]}),
        ("GetConfiguration", "response", {"configurationKey": [{"key": "k", "readonly": 1, "value": SECRET * 100}]}),
        ("DataTransfer", "request", {"vendorId": "com.example", "data": {"password": SECRET}}),
        ("GetDiagnostics", "request", {"location": f"ftp://user:{SECRET}@ host"}),
        ("UpdateFirmware", "request", {"location": f"ftp://user:{SECRET}@ host", "retrieveDate": 1}),
        ("GetLog", "request", {"log": f"ftp://user:{SECRET}@host", "logType": "SecurityLog", "requestId": 1}),
        ("GetLog", "request", {"log": {"remoteLocation": SECRET * 100}, "logType": "SecurityLog", "requestId": 1}),
        ("SignedUpdateFirmware", "request", {"requestId": 1, "firmware": {"location": SECRET * 100}}),
    ],
)
def test_secrets_are_not_quoted(action: str, kind: Kind, payload: Any) -> None:
    error = refused(action, kind, payload)
    assert SECRET not in str(error) + repr(error) + str(error.errors)
    assert error.__cause__ is None
    assert error.__context__ is None


PLACE: dict[str, Any] = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
LOCATION = f"ftp://user:{SECRET}@host/" + "x" * 2000


def network(**fields: Any) -> dict[str, Any]:
    profile = {
        **{"ocppTransport": "JSON", "ocppCsmsUrl": "wss://csms.example.com", "messageTimeout": 30},
        **{"securityProfile": 2, "ocppInterface": "Wired0"},
    }
    return {"configurationSlot": 1, "connectionData": {**profile, **fields}}


def access_point(**fields: Any) -> dict[str, Any]:
    return network(apn={"apn": "internet", "apnAuthentication": "AUTO", **fields})


def tunnel(**fields: Any) -> dict[str, Any]:
    return network(vpn={"server": "x", "user": "x", "password": "x", "key": "x", "type": "PPTP", **fields})


@pytest.mark.parametrize("version", VERSIONS_2X)
@pytest.mark.parametrize(
    ("action", "kind", "payload"),
    [
        ("SetVariables", "request", {"setVariableData": [{**PLACE, "attributeValue": SECRET * 1000}]}),
        ("SetVariables", "request", {"setVariableData": [{**PLACE, "attributeValue": [SECRET]}]}),
        ("SetVariables", "request", {"setVariableData": SECRET}),
        (
            "GetVariables",
            "response",
            {"getVariableResult": [{**PLACE, "attributeStatus": "Accepted", "attributeValue": SECRET * 1000}]},
        ),
        (
            "NotifyReport",
            "request",
            {
                **{"requestId": 1, "generatedAt": TIME, "seqNo": 0},
                "reportData": [{**PLACE, "variableAttribute": [{"value": SECRET * 1000}]}],
            },
        ),
        ("NotifyEvent", "request", {"eventData": [{"actualValue": SECRET * 1000}]}),
        ("NotifyCustomerInformation", "request", {"data": SECRET * 1000}),
        ("SetNetworkProfile", "request", network(ocppCsmsUrl=f"wss://x:{SECRET}@host/" + "x" * 2000)),
        ("SetNetworkProfile", "request", access_point(apnPassword=SECRET * 1000)),
        ("SetNetworkProfile", "request", access_point(simPin=SECRET)),
        ("SetNetworkProfile", "request", tunnel(password=SECRET * 1000)),
        ("SetNetworkProfile", "request", tunnel(key=SECRET * 1000)),
        ("SetNetworkProfile", "request", network(vpn=SECRET)),
        ("DataTransfer", "request", {"data": SECRET}),
        ("GetLog", "request", {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": LOCATION}}),
        ("UpdateFirmware", "request", {"requestId": 1, "firmware": {"location": LOCATION, "retrieveDateTime": TIME}}),
        ("PublishFirmware", "request", {"location": LOCATION, "checksum": "0" * 32, "requestId": 1}),
        ("PublishFirmwareStatusNotification", "request", {"status": "Published", "location": [LOCATION]}),
    ],
)
def test_secrets_of_2_x_are_not_quoted(version: Version, action: str, kind: Kind, payload: Any) -> None:
    error = refused(action, kind, payload, version)
    assert SECRET not in str(error) + repr(error) + str(error.errors)


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("SetNetworkProfile", network(basicAuthPassword=SECRET * 1000)),
        ("NotifyPeriodicEventStream", {"data": [{"t": 0, "v": SECRET * 1000}], "id": 1, "pending": 0}),
        ("NotifySettlement", {"receiptUrl": f"https://host/?ticket={SECRET}" + "x" * 2000}),
    ],
)
def test_secrets_of_2_1_are_not_quoted(action: str, payload: Any) -> None:
    error = refused(action, "request", payload, "2.1")
    assert SECRET not in str(error) + repr(error) + str(error.errors)


PIN = "4815162342" * 30
KEY_CODE: dict[str, Any] = {"idToken": PIN, "type": "KeyCode"}


@pytest.mark.parametrize("version", VERSIONS_2X)
@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("Authorize", {"idToken": KEY_CODE}),
        ("Authorize", {"idToken": {**KEY_CODE, "idToken": int(PIN)}}),
        ("Authorize", {"idToken": {**KEY_CODE, "idToken": {"idToken": PIN}}}),
        ("Authorize", {"idToken": {"idToken": PIN, "type": "keycode"}}),
        ("Authorize", {"idToken": {"idToken": "KeyCode", "type": PIN}}),
        ("Authorize", {"idToken": {"idToken": PIN}}),
        ("Authorize", {"idToken": PIN, "type": "KeyCode"}),
        ("Authorize", {"idToken": [KEY_CODE]}),
        ("Authorize", {"IdToken": KEY_CODE}),
        ("Authorize", {"idToken": {**KEY_CODE, "additionalInfo": [{"additionalIdToken": PIN, "type": PIN}]}}),
        ("Authorize", KEY_CODE),
        ("Authorize", {"idToken": {PIN: "KeyCode"}}),
        ("Authorize", {"idToken": {PIN[:20]: True}}),
        ("Authorize", PIN),
        ("TransactionEvent", {"idToken": KEY_CODE}),
        ("ReserveNow", {"groupIdToken": KEY_CODE}),
        ("RequestStartTransaction", {"idToken": KEY_CODE, "groupIdToken": KEY_CODE}),
        (
            "SendLocalList",
            {"localAuthorizationList": [{"idToken": KEY_CODE, "idTokenInfo": {"groupIdToken": KEY_CODE}}]},
        ),
        ("CustomerInformation", {"idToken": KEY_CODE}),
    ],
)
def test_pins_are_not_quoted(version: Version, action: str, payload: Any) -> None:
    error = refused(action, "request", payload, version)
    assert PIN[:8] not in str(error) + repr(error) + str(error.errors) + error.described()


def test_a_pin_is_known_by_the_type_beside_it_in_1_6_as_well() -> None:
    error = refused("Authorize", "request", {"idTag": PIN, "type": "KeyCode"})
    assert PIN[:8] not in str(error.errors)
    assert PIN[:8] in str(refused("Authorize", "request", {"idTag": PIN}))


@pytest.mark.parametrize(("value", "shown"), [(12345, "a number"), (True, "a boolean"), (None, "null")])
def test_a_secret_is_described_by_its_type(value: Any, shown: str) -> None:
    error = refused("ChangeConfiguration", "request", {"key": "AuthorizationKey", "value": value})
    assert str(error) == f'ChangeConfiguration request: value: "value" is {shown}; expected a string'


def test_quoted_values_and_names_are_truncated() -> None:
    error = refused("Reset", "request", {"type": "\x1b" + "é" * 100_000, "n" * 100_000: 1})
    assert [violation.path for violation in error.errors] == [f'["{"n" * 40}..."]', "type"]
    assert all(len(violation.message) < 400 for violation in error.errors)
    assert str(error).isascii()
    assert str(error).isprintable()


# --------------------------------------------------------------------------------------- bounds, threads, import


SAMPLE: dict[str, Any] = {"value": "1"}
HUGE: dict[str, tuple[str, Any]] = {
    "invalid items": ("MeterValues", {"meterValue": [{"timestamp": TIME, "sampledValue": [{"value": 1}] * 100_000}]}),
    "one invalid item at the end": (
        "MeterValues",
        {"connectorId": 1, "meterValue": [{"timestamp": TIME, "sampledValue": [SAMPLE] * 100_000 + [{}]}]},
    ),
    "a missing field beside valid items": (
        "MeterValues",
        {"meterValue": [{"timestamp": TIME, "sampledValue": [SAMPLE] * 100_000}]},
    ),
    "invalid strings": ("GetConfiguration", {"key": ["x" * 51] * 100_000}),
    "an invalid string at the end": ("GetConfiguration", {"key": ["x"] * 100_000 + [1]}),
    "extra properties": ("Heartbeat", {f"x{index}": index for index in range(100_000)}),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_payload_gets_a_short_error_quickly(name: str) -> None:
    action, payload = HUGE[name]
    started = time.process_time()
    error = refused(action, "request", payload)
    # Takes a tenth of this; jsonschema takes about ten seconds item by item.
    assert time.process_time() - started < 2
    assert 1 <= len(error.errors) <= 20
    assert len(str(error)) < 500


def test_jsonschema_overrules_a_predicate_that_rejects(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Validator(catalogue(VERSION))
    # No payload is known for which a predicate is wrong, so the test replaces one.
    monkeypatch.setitem(ours._predicates, ("Reset", "request"), lambda payload: False)
    with caplog.at_level(logging.ERROR, logger="ocppsync.validation.validators"):
        assert ours.check("Reset", "request", {"type": "Soft"}) is None
    assert "Reset request" in caplog.text
    assert ours.check("Reset", "request", {"type": "Now"}) is not None


def test_first_use_by_many_threads_at_once() -> None:
    ours = Validator(catalogue(VERSION))
    barrier = threading.Barrier(8)
    valid, invalid = meter_values(), meter_values(unit="Kwh")

    def first_use() -> tuple[bool, str]:
        barrier.wait(timeout=10)
        return ours.check("MeterValues", "request", valid) is None, str(ours.check("MeterValues", "request", invalid))

    with ThreadPoolExecutor(8) as pool:
        answers = [future.result(timeout=60) for future in [pool.submit(first_use) for _ in range(8)]]
    assert set(answers) == {(True, str(refused("MeterValues", "request", invalid)))}


def test_an_object_with_thousands_of_unknown_fields_is_not_read_again_for_each_of_them() -> None:
    # They look alike in the error, so that they count as one violation, and might hold a secret.
    payload = Counted(f"{'-' * 40}{number}" for number in range(1000))
    error = validator("2.0.1").check("Heartbeat", "request", payload)
    assert error is not None
    assert len(error.errors) == 1
    assert payload.looks < 100


def test_one_validator_per_version() -> None:
    assert validator(VERSION) is validator(VERSION)
    with pytest.raises(ValueError, match=r"unsupported OCPP version \'1\.5\'; supported: 1\.6"):
        validator("1.5")


def test_jsonschema_is_imported_only_for_an_invalid_payload() -> None:
    script = """
import sys
from ocppsync.validation.validators import validator
validator("1.6").validate("Reset", "request", {"type": "Soft"})
early = "jsonschema" in sys.modules
assert validator("1.6").check("Reset", "request", {}) is not None
print(early, "jsonschema" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]

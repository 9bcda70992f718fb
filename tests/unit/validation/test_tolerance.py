"""The effect of `Lenient` on received payloads and on the limits of the schemas."""

from __future__ import annotations

from typing import Any

import pytest
from payloads import minimal

from ocppsync.lenient import Lenient
from ocppsync.rpc.message_sets import MessageSet, MessageSets
from ocppsync.validation.catalogue import SUBPROTOCOLS, Kind
from ocppsync.vendor import VendorAction

MODE = {"type": "object", "required": ["mode"], "properties": {"mode": {"type": "string", "enum": ["On", "Off"]}}}
LIGHTS = VendorAction(
    "com.example.SetLights",
    {
        "type": "object",
        "properties": {"lights": {"type": "array", "items": {"$ref": "#/$defs/Light"}, "maxItems": 2}},
        "$defs": {"Light": {**MODE, "properties": {**MODE["properties"], "name": {"type": "string", "maxLength": 3}}}},
    },
    {"type": "object"},
)


def message_sets(lenient: Lenient | None = None, *versions: str, vendor_actions: Any = ()) -> MessageSets:
    protocols = [name for name, version in SUBPROTOCOLS.items() if not versions or version in versions]
    return MessageSets("central_system", protocols, lenient=lenient, vendor_actions=vendor_actions)


def lenient_messages(version: str = "1.6", **switches: Any) -> MessageSet:
    return message_sets(Lenient(**switches), version).messages(version)


def is_valid(messages: MessageSet, action: str, kind: Kind, payload: Any) -> bool:
    return messages.check_inbound(action, kind, payload)[1] is None


# A vendor action, which has types of its own beside the shared ones.


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_the_types_of_a_vendor_action_are_normalized_and_validated(version: str) -> None:
    lenient = Lenient(
        any_case_enums=True, strip_nulls=True, spellings={"com.example.SetLights.lights.mode": {"0": "Off"}}
    )
    messages = message_sets(lenient, vendor_actions=[LIGHTS]).messages(version)
    payload = {"lights": [{"mode": "on", "name": None}, {"mode": "0"}]}
    assert messages.check_inbound(LIGHTS.name, "request", payload)[0] == {"lights": [{"mode": "On"}, {"mode": "Off"}]}
    fault = messages.check_inbound(LIGHTS.name, "request", {"lights": [{"mode": "Up"}]})[1]
    assert fault is not None
    assert [(violation.path, violation.keyword) for violation in fault.errors] == [("lights[0].mode", "enum")]


def test_two_vendor_actions_may_have_different_types_of_one_name() -> None:
    numbered = {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}
    other = VendorAction("Other", {**LIGHTS.request, "$defs": {"Light": numbered}}, {"type": "object"})
    messages = message_sets(vendor_actions=[LIGHTS, other]).messages("1.6")
    for _ in range(2):
        assert is_valid(messages, "Other", "request", {"lights": [{"number": 1}]})
        assert not is_valid(messages, LIGHTS.name, "request", {"lights": [{"number": 1}]})
        assert not is_valid(messages, "Other", "request", {"lights": [{"mode": "On"}]})
        assert is_valid(messages, LIGHTS.name, "request", {"lights": [{"mode": "On"}]})


def test_the_limits_of_a_vendor_action_can_be_changed() -> None:
    limits = {"com.example.SetLights.lights": 3, "com.example.SetLights.lights.name": 5}
    messages = message_sets(Lenient(max_lengths=limits), vendor_actions=[LIGHTS]).messages("2.1")
    light = {"mode": "On", "name": "abcde"}
    assert is_valid(messages, LIGHTS.name, "request", {"lights": [light] * 3})
    assert not is_valid(messages, LIGHTS.name, "request", {"lights": [light] * 4})
    assert not is_valid(messages, LIGHTS.name, "request", {"lights": [{"mode": "On", "name": "abcdef"}]})


# Nulls.

LOCATED = "MeterValues.meterValue.sampledValue.location"


@pytest.mark.parametrize(
    ("action", "kind", "payload", "normalized_payload"),
    [
        ("Reset", "request", {"type": None}, {"type": None}),  # required
        ("Reset", "request", {"type": "Soft", "more": None}, {"type": "Soft", "more": None}),  # not a field
        ("DataTransfer", "request", {"vendorId": "x", "data": None}, {"vendorId": "x"}),
        ("DataTransfer", "response", {"status": "Accepted", "data": None}, {"status": "Accepted"}),
        (
            "Authorize",
            "response",
            {"idTagInfo": {"status": "Accepted", "expiryDate": None, "parentIdTag": None}},
            {"idTagInfo": {"status": "Accepted"}},
        ),
        (
            "MeterValues",
            "request",
            {
                "connectorId": None,
                "transactionId": None,
                "meterValue": [{"timestamp": None, "sampledValue": [{"value": "1", "unit": None}, {"phase": None}]}],
            },
            {"connectorId": None, "meterValue": [{"timestamp": None, "sampledValue": [{"value": "1"}, {}]}]},
        ),
        ("GetConfiguration", "request", {"key": [None, "a"]}, {"key": [None, "a"]}),
        ("Bogus", "request", {"a": None}, {"a": None}),
        *(("MeterValues", "request", odd, odd) for odd in (None, [], [None], "x", {"meterValue": {"x": None}})),
        ("MeterValues", "request", {"meterValue": [None, 5, []]}, {"meterValue": [None, 5, []]}),
    ],
)
def test_optional_null_fields_are_removed(action: str, kind: Kind, payload: Any, normalized_payload: Any) -> None:
    before = repr(payload)
    assert lenient_messages(strip_nulls=True).check_inbound(action, kind, payload)[0] == normalized_payload
    assert repr(payload) == before, "the payload itself is unchanged"
    assert lenient_messages().check_inbound(action, kind, payload)[0] is payload


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_nulls_in_vendor_data_are_kept(version: str) -> None:
    payload = {"vendorId": "x", "data": {"a": None}, "customData": {"vendorId": "x", "b": None}}
    messages = lenient_messages(version, strip_nulls=True)
    assert messages.check_inbound("DataTransfer", "request", {**payload, "messageId": None})[0] == payload


# Enumerations.


@pytest.mark.parametrize(
    ("received", "normalized"),
    [("wH", "Wh"), ("KWH", "kWh"), ("Wh", "Wh"), ("celsius", "Celsius"), ("hour", "hour"), (5, 5)],
)
def test_values_of_enumerations_in_any_case(received: Any, normalized: Any) -> None:
    def payload(unit: Any) -> Any:
        sampled = {"value": "Wh", "unit": unit}
        return {"connectorId": 1, "meterValue": [{"timestamp": "2025-01-31T12:00:00Z", "sampledValue": [sampled]}]}

    assert lenient_messages(any_case_enums=True).check_inbound("MeterValues", "request", payload(received))[
        0
    ] == payload(normalized)


def test_correct_values_win_over_spellings_and_those_over_case() -> None:
    spellings = {"Reset.type": {"soft": "Hard", "Hard": "Soft", "reboot": "Hard"}, "Reset.status": {"ok": "Accepted"}}
    messages = lenient_messages(any_case_enums=True, spellings=spellings)
    for received, normalized in {"soft": "Hard", "Hard": "Hard", "reboot": "Hard", "SOFT": "Soft", "no": "no"}.items():
        assert messages.check_inbound("Reset", "request", {"type": received})[0] == {"type": normalized}
    assert messages.check_inbound("Reset", "response", {"status": "ok"})[0] == {"status": "Accepted"}


def test_spellings_apply_only_at_their_place() -> None:
    messages = lenient_messages(spellings={LOCATED: {"in": "Inlet"}})
    sampled = {"value": "in", "location": "in", "context": "in"}
    payload = {"meterValue": [{"sampledValue": [sampled, sampled]}], "unknown": "in"}
    normalized_payload = messages.check_inbound("MeterValues", "request", payload)[0]
    assert normalized_payload["meterValue"][0]["sampledValue"] == [{**sampled, "location": "Inlet"}] * 2
    stop = {"transactionData": payload["meterValue"]}
    assert messages.check_inbound("StopTransaction", "request", stop)[0] == stop


# Lengths.


@pytest.mark.parametrize(
    ("version", "place", "kind"),
    [
        ("1.6", "BootNotification.chargePointVendor", "request"),
        ("1.6", "DataTransfer.vendorId", "request"),
        ("2.0.1", "BootNotification.chargingStation.model", "request"),
        ("2.1", "GetVariables.getVariableResult.variable.name", "response"),
    ],
)
def test_the_maximum_length_of_a_string_can_be_changed(version: str, place: str, kind: Kind) -> None:
    action, *path = place.split(".")

    def filled(length: int) -> Any:
        return with_value(minimal(version, action, kind), path, "x" * length)

    default = lenient_messages(version)
    longest = next(length for length in range(1, 1000) if not is_valid(default, action, kind, filled(length + 1)))
    messages = lenient_messages(version, max_lengths={place: longest + 5})
    assert is_valid(messages, action, kind, filled(longest + 5))
    assert not is_valid(messages, action, kind, filled(longest + 6))
    short = lenient_messages(version, max_lengths={place: 1})
    assert not is_valid(short, action, kind, filled(2)), "it may be below that of the schema"
    assert short.check_outbound(action, kind, filled(2)) is not None, "it applies in both directions"


def with_value(payload: Any, path: list[str], value: Any) -> Any:
    if isinstance(payload, list):
        return [with_value(item, path, value) for item in payload]
    name, *rest = path
    return {**payload, name: with_value(payload[name], rest, value) if rest else value}


def test_the_maximum_length_of_a_list_can_be_changed() -> None:
    default, changed = (
        lenient_messages("2.0.1"),
        lenient_messages("2.0.1", max_lengths={"GetVariables.getVariableData": 2}),
    )
    request = minimal("2.0.1", "GetVariables", "request")
    for count in (1, 2, 3):
        payload = {"getVariableData": request["getVariableData"] * count}
        assert is_valid(default, "GetVariables", "request", payload)
        assert is_valid(changed, "GetVariables", "request", payload) is (count < 3)


def test_limits_at_two_places_leave_the_shared_type_unchanged_elsewhere() -> None:
    limits = {"Authorize.idToken.idToken": 40, "Authorize.idToken.additionalInfo.type": 60}
    messages = lenient_messages("2.0.1", max_lengths=limits)
    token = {"idToken": "x" * 40, "type": "Central", "additionalInfo": [{"additionalIdToken": "y", "type": "z" * 60}]}
    assert is_valid(messages, "Authorize", "request", {"idToken": token})
    assert not is_valid(messages, "Authorize", "request", {"idToken": {**token, "idToken": "x" * 41}})
    start = {"remoteStartId": 1, "idToken": {"idToken": "x" * 36, "type": "Central"}}
    assert is_valid(messages, "RequestStartTransaction", "request", start)
    start["idToken"] = {"idToken": "x" * 37, "type": "Central"}
    assert not is_valid(messages, "RequestStartTransaction", "request", start), (
        "the same type in other messages is unchanged"
    )
    assert not is_valid(lenient_messages("2.0.1"), "Authorize", "request", {"idToken": token}), (
        "other central systems are unchanged"
    )


def test_a_place_may_exist_in_some_versions_only() -> None:
    lenient = Lenient(
        max_lengths={"BootNotification.chargePointVendor": 30}, spellings={"Reset.type": {"os": "OnIdle"}}
    )
    both = message_sets(lenient)
    assert both.messages("1.6").check_inbound("Reset", "request", {"type": "soft"})[0] == {"type": "soft"}
    assert both.messages("2.1").check_inbound("Reset", "request", {"type": "os"})[0] == {"type": "OnIdle"}


@pytest.mark.parametrize(
    "place",
    [
        "",
        "Bogus.type",
        "Reset",
        "Reset.",
        "Reset.bogus",
        "Reset.type",  # an enumeration
        "Reset.type.deeper",
        "MeterValues.connectorId",  # a number
        "reset.type",
    ],
)
def test_a_place_without_a_length_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match=rf"max_lengths: no message has a string or list at '{place}'"):
        message_sets(Lenient(max_lengths={place: 1}))


@pytest.mark.parametrize("place", ["", "Bogus.type", "Reset", "Reset.bogus", "DataTransfer.vendorId", "Reset.type.x"])
def test_a_place_without_an_enumeration_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match=rf"spellings: no message has an enumeration at '{place}'"):
        message_sets(Lenient(spellings={place: {"a": "b"}}))


def test_a_spelling_for_an_unknown_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"spellings\['Reset.type'\]: 'soft' is mapped to 'Softly'"):
        message_sets(Lenient(spellings={"Reset.type": {"soft": "Softly"}}))
    with pytest.raises(ValueError, match="'idle' is mapped to 'OnIdle', which is not a value of it"):
        message_sets(Lenient(spellings={"Reset.type": {"idle": "OnIdle"}}), "1.6")


# Times.


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_long_fractions(version: str) -> None:
    payload = {"currentTime": "2025-01-31T12:00:00.1234567Z"}
    assert is_valid(lenient_messages(version, long_fractions=True), "Heartbeat", "response", payload)
    assert is_valid(lenient_messages(version), "Heartbeat", "response", payload) is (version == "1.6")
    assert not is_valid(
        lenient_messages(version, long_fractions=True), "Heartbeat", "response", {"currentTime": "2025-01-31"}
    )

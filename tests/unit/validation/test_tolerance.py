"""What is bent where it is asked for: payloads that come in, and limits of the schemas."""

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


def bent(version: str = "1.6", **switches: Any) -> MessageSet:
    return message_sets(Lenient(**switches), version).messages(version)


def fits(messages: MessageSet, action: str, kind: Kind, payload: Any) -> bool:
    return messages.check_inbound(action, kind, payload)[1] is None


# A vendor's action, whose own types stand beside the shared ones.


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_the_own_types_of_a_vendors_action_are_tidied_and_reported(version: str) -> None:
    lenient = Lenient(
        any_case_enums=True, strip_nulls=True, spellings={"com.example.SetLights.lights.mode": {"0": "Off"}}
    )
    messages = message_sets(lenient, vendor_actions=[LIGHTS]).messages(version)
    payload = {"lights": [{"mode": "on", "name": None}, {"mode": "0"}]}
    assert messages.check_inbound(LIGHTS.name, "request", payload)[0] == {"lights": [{"mode": "On"}, {"mode": "Off"}]}
    fault = messages.check_inbound(LIGHTS.name, "request", {"lights": [{"mode": "Up"}]})[1]
    assert fault is not None
    assert [(violation.path, violation.keyword) for violation in fault.errors] == [("lights[0].mode", "enum")]


def test_types_of_one_name_in_two_vendors_actions_are_two() -> None:
    numbered = {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}
    other = VendorAction("Other", {**LIGHTS.request, "$defs": {"Light": numbered}}, {"type": "object"})
    messages = message_sets(vendor_actions=[LIGHTS, other]).messages("1.6")
    for _ in range(2):
        assert fits(messages, "Other", "request", {"lights": [{"number": 1}]})
        assert not fits(messages, LIGHTS.name, "request", {"lights": [{"number": 1}]})
        assert not fits(messages, "Other", "request", {"lights": [{"mode": "On"}]})
        assert fits(messages, LIGHTS.name, "request", {"lights": [{"mode": "On"}]})


def test_the_limits_of_a_vendors_action_can_be_moved() -> None:
    limits = {"com.example.SetLights.lights": 3, "com.example.SetLights.lights.name": 5}
    messages = message_sets(Lenient(max_lengths=limits), vendor_actions=[LIGHTS]).messages("2.1")
    light = {"mode": "On", "name": "abcde"}
    assert fits(messages, LIGHTS.name, "request", {"lights": [light] * 3})
    assert not fits(messages, LIGHTS.name, "request", {"lights": [light] * 4})
    assert not fits(messages, LIGHTS.name, "request", {"lights": [{"mode": "On", "name": "abcdef"}]})


# Nulls.

LOCATED = "MeterValues.meterValue.sampledValue.location"


@pytest.mark.parametrize(
    ("action", "kind", "payload", "tidied"),
    [
        ("Reset", "request", {"type": None}, {"type": None}),  # required
        ("Reset", "request", {"type": "Soft", "more": None}, {"type": "Soft", "more": None}),  # no field
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
def test_optional_fields_that_are_null_are_left_out(action: str, kind: Kind, payload: Any, tidied: Any) -> None:
    kept = repr(payload)
    assert bent(strip_nulls=True).check_inbound(action, kind, payload)[0] == tidied
    assert repr(payload) == kept, "what came stays as it came"
    assert bent().check_inbound(action, kind, payload)[0] is payload


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_nulls_in_what_only_a_vendor_knows_stay(version: str) -> None:
    payload = {"vendorId": "x", "data": {"a": None}, "customData": {"vendorId": "x", "b": None}}
    messages = bent(version, strip_nulls=True)
    assert messages.check_inbound("DataTransfer", "request", {**payload, "messageId": None})[0] == payload


# Enumerations.


@pytest.mark.parametrize(
    ("found", "seen"), [("wH", "Wh"), ("KWH", "kWh"), ("Wh", "Wh"), ("celsius", "Celsius"), ("hour", "hour"), (5, 5)]
)
def test_values_of_enumerations_in_any_case(found: Any, seen: Any) -> None:
    def payload(unit: Any) -> Any:
        sampled = {"value": "Wh", "unit": unit}
        return {"connectorId": 1, "meterValue": [{"timestamp": "2025-01-31T12:00:00Z", "sampledValue": [sampled]}]}

    assert bent(any_case_enums=True).check_inbound("MeterValues", "request", payload(found))[0] == payload(seen)


def test_spellings_go_before_case_and_behind_what_is_right() -> None:
    spellings = {"Reset.type": {"soft": "Hard", "Hard": "Soft", "reboot": "Hard"}, "Reset.status": {"ok": "Accepted"}}
    messages = bent(any_case_enums=True, spellings=spellings)
    for found, seen in {"soft": "Hard", "Hard": "Hard", "reboot": "Hard", "SOFT": "Soft", "no": "no"}.items():
        assert messages.check_inbound("Reset", "request", {"type": found})[0] == {"type": seen}
    assert messages.check_inbound("Reset", "response", {"status": "ok"})[0] == {"status": "Accepted"}


def test_spellings_count_at_their_place_alone() -> None:
    messages = bent(spellings={LOCATED: {"in": "Inlet"}})
    sampled = {"value": "in", "location": "in", "context": "in"}
    payload = {"meterValue": [{"sampledValue": [sampled, sampled]}], "unknown": "in"}
    tidied = messages.check_inbound("MeterValues", "request", payload)[0]
    assert tidied["meterValue"][0]["sampledValue"] == [{**sampled, "location": "Inlet"}] * 2
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
def test_the_longest_text_can_be_moved(version: str, place: str, kind: Kind) -> None:
    action, *path = place.split(".")

    def filled(length: int) -> Any:
        return with_value(minimal(version, action, kind), path, "x" * length)

    plain = bent(version)
    longest = next(length for length in range(1, 1000) if not fits(plain, action, kind, filled(length + 1)))
    messages = bent(version, max_lengths={place: longest + 5})
    assert fits(messages, action, kind, filled(longest + 5))
    assert not fits(messages, action, kind, filled(longest + 6))
    short = bent(version, max_lengths={place: 1})
    assert not fits(short, action, kind, filled(2)), "it may be less than the schema's"
    assert short.check_outbound(action, kind, filled(2)) is not None, "it counts in both directions"


def with_value(payload: Any, path: list[str], value: Any) -> Any:
    if isinstance(payload, list):
        return [with_value(item, path, value) for item in payload]
    name, *rest = path
    return {**payload, name: with_value(payload[name], rest, value) if rest else value}


def test_the_longest_list_can_be_moved() -> None:
    plain, moved = bent("2.0.1"), bent("2.0.1", max_lengths={"GetVariables.getVariableData": 2})
    request = minimal("2.0.1", "GetVariables", "request")
    for count in (1, 2, 3):
        payload = {"getVariableData": request["getVariableData"] * count}
        assert fits(plain, "GetVariables", "request", payload)
        assert fits(moved, "GetVariables", "request", payload) is (count < 3)


def test_two_places_of_one_message_and_a_type_that_others_share() -> None:
    limits = {"Authorize.idToken.idToken": 40, "Authorize.idToken.additionalInfo.type": 60}
    messages = bent("2.0.1", max_lengths=limits)
    token = {"idToken": "x" * 40, "type": "Central", "additionalInfo": [{"additionalIdToken": "y", "type": "z" * 60}]}
    assert fits(messages, "Authorize", "request", {"idToken": token})
    assert not fits(messages, "Authorize", "request", {"idToken": {**token, "idToken": "x" * 41}})
    start = {"remoteStartId": 1, "idToken": {"idToken": "x" * 36, "type": "Central"}}
    assert fits(messages, "RequestStartTransaction", "request", start)
    start["idToken"] = {"idToken": "x" * 37, "type": "Central"}
    assert not fits(messages, "RequestStartTransaction", "request", start), "the same type elsewhere is as it was"
    assert not fits(bent("2.0.1"), "Authorize", "request", {"idToken": token}), "and so are other central systems"


def test_a_place_may_be_in_some_of_the_versions_only() -> None:
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
def test_a_place_that_has_no_length_is_named(place: str) -> None:
    with pytest.raises(ValueError, match=rf"max_lengths: no message has a text or a list at '{place}'"):
        message_sets(Lenient(max_lengths={place: 1}))


@pytest.mark.parametrize("place", ["", "Bogus.type", "Reset", "Reset.bogus", "DataTransfer.vendorId", "Reset.type.x"])
def test_a_place_that_has_no_enumeration_is_named(place: str) -> None:
    with pytest.raises(ValueError, match=rf"spellings: no message has an enumeration at '{place}'"):
        message_sets(Lenient(spellings={place: {"a": "b"}}))


def test_a_spelling_of_what_is_no_value_is_named() -> None:
    with pytest.raises(ValueError, match=r"spellings\['Reset.type'\]: 'soft' cannot stand for 'Softly'"):
        message_sets(Lenient(spellings={"Reset.type": {"soft": "Softly"}}))
    with pytest.raises(ValueError, match="'idle' cannot stand for 'OnIdle', which is no value there"):
        message_sets(Lenient(spellings={"Reset.type": {"idle": "OnIdle"}}), "1.6")


# Times.


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_long_fractions(version: str) -> None:
    payload = {"currentTime": "2025-01-31T12:00:00.1234567Z"}
    assert fits(bent(version, long_fractions=True), "Heartbeat", "response", payload)
    assert fits(bent(version), "Heartbeat", "response", payload) is (version == "1.6")
    assert not fits(bent(version, long_fractions=True), "Heartbeat", "response", {"currentTime": "2025-01-31"})

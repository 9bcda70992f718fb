"""What is bent where it is asked for: payloads that come in, and limits of the schemas."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.catalogue import SUBPROTOCOLS, Kind
from ocppsync.lenient import Lenient
from ocppsync.messages import Messages, Speech
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


def speech(lenient: Lenient | None = None, *versions: str, vendor_actions: Any = ()) -> Speech:
    protocols = [name for name, version in SUBPROTOCOLS.items() if not versions or version in versions]
    return Speech("central_system", protocols, lenient=lenient, vendor_actions=vendor_actions)


def bent(version: str = "1.6", **switches: Any) -> Messages:
    return speech(Lenient(**switches), version).messages(version)


def fits(messages: Messages, action: str, kind: Kind, payload: Any) -> bool:
    return messages.fault_of_inbound(action, kind, payload) is None


# A vendor's action, whose own types stand beside the shared ones.


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_the_own_types_of_a_vendors_action_are_tidied_and_reported(version: str) -> None:
    lenient = Lenient(
        any_case_enums=True, strip_nulls=True, spellings={"com.example.SetLights.lights.mode": {"0": "Off"}}
    )
    messages = speech(lenient, vendor_actions=[LIGHTS]).messages(version)
    payload = {"lights": [{"mode": "on", "name": None}, {"mode": "0"}]}
    assert messages.tidied(LIGHTS.name, "request", payload) == {"lights": [{"mode": "On"}, {"mode": "Off"}]}
    fault = messages.fault_of_inbound(LIGHTS.name, "request", {"lights": [{"mode": "Up"}]})
    assert fault is not None
    assert [(violation.path, violation.keyword) for violation in fault.errors] == [("lights[0].mode", "enum")]


def test_types_of_one_name_in_two_vendors_actions_are_two() -> None:
    numbered = {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}
    other = VendorAction("Other", {**LIGHTS.request, "$defs": {"Light": numbered}}, {"type": "object"})
    messages = speech(vendor_actions=[LIGHTS, other]).messages("1.6")
    for _ in range(2):
        assert fits(messages, "Other", "request", {"lights": [{"number": 1}]})
        assert not fits(messages, LIGHTS.name, "request", {"lights": [{"number": 1}]})
        assert not fits(messages, "Other", "request", {"lights": [{"mode": "On"}]})
        assert fits(messages, LIGHTS.name, "request", {"lights": [{"mode": "On"}]})


def test_the_limits_of_a_vendors_action_can_be_moved() -> None:
    limits = {"com.example.SetLights.lights": 3, "com.example.SetLights.lights.name": 5}
    messages = speech(Lenient(max_lengths=limits), vendor_actions=[LIGHTS]).messages("2.1")
    light = {"mode": "On", "name": "abcde"}
    assert fits(messages, LIGHTS.name, "request", {"lights": [light] * 3})
    assert not fits(messages, LIGHTS.name, "request", {"lights": [light] * 4})
    assert not fits(messages, LIGHTS.name, "request", {"lights": [{"mode": "On", "name": "abcdef"}]})

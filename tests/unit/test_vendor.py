"""Vendor actions: their declaration, and their use over a connection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from support import DEADLINE, Recorder, raw, serving

from ocppsync import CallErrorReceived, CentralSystem, ChargePoint, InvalidResponseError, ValidationError
from ocppsync.validation.catalogue import Version
from ocppsync.vendor import VendorAction


def test_by_default_an_action_is_for_both_ends_and_every_version() -> None:
    action = VendorAction("SetLight", {"type": "object"}, {"type": "object"})
    assert (action.name, action.request, action.response) == ("SetLight", {"type": "object"}, {"type": "object"})
    assert (action.sender, action.versions) == ("both", None)


def test_an_action_without_a_response_is_a_send() -> None:
    assert VendorAction("Beat", {}, None, sender="charge_point", versions=["2.1"]).response is None


def test_actions_are_compared_by_identity() -> None:
    action = VendorAction("SetLight", {}, {})
    assert {action: 1}[action] == 1
    assert action != VendorAction("SetLight", {}, {})


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("", {}, {}), {}, ValueError, "the name of a VendorAction must not be empty"),
        (("A", [], {}), {}, TypeError, r"the schemas of A must be mappings, not \[\]"),
        (("A", {}, "{}"), {}, TypeError, "the schemas of A must be mappings, not '{}'"),
        (("A", {}, {}), {"sender": "csms"}, ValueError, "A: unknown sender 'csms'; supported: .*, both"),
        (("A", {}, None), {"versions": ["1.6"]}, ValueError, "A has no response, which requires OCPP 2.1"),
        (
            ("A", {}, {}),
            {"versions": ["1.6", "2.0"]},
            ValueError,
            r"A: unknown OCPP version '2\.0'; supported: 1\.6, 2\.0\.1, 2\.1",
        ),
    ],
)
def test_an_invalid_declaration_is_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        VendorAction(*arguments, **options)


@pytest.mark.parametrize(
    ("response", "versions", "has"),
    [
        ({}, None, ["1.6", "2.0.1", "2.1"]),
        ({}, ["1.6", "2.1"], ["1.6", "2.1"]),
        (None, None, ["2.1"]),
        (None, ["2.0.1", "2.1"], ["2.1"]),
    ],
)
def test_the_versions_that_have_an_action(response: Any, versions: Any, has: list[str]) -> None:
    action = VendorAction("A", {}, response, versions=versions)
    known: list[Version] = ["1.6", "2.0.1", "2.1"]
    assert [version for version in known if action.exists_in(version)] == has


# Over a connection.

LEVEL: Any = {"type": "object", "required": ["level"], "properties": {"level": {"type": "integer"}}}
SET_LIGHT: Any = VendorAction("com.example.SetLight", LEVEL, LEVEL, sender="central_system")
DIMMED: Any = VendorAction("com.example.Dimmed", LEVEL, LEVEL, sender="charge_point", versions=["2.0.1", "2.1"])
BLINK: Any = VendorAction("com.example.Blink", LEVEL, None)
ALL = [SET_LIGHT, DIMMED, BLINK]


@contextlib.contextmanager
def pair(subprotocol: str = "ocpp2.1", known: Any = ALL) -> Iterator[tuple[CentralSystem, ChargePoint]]:
    with serving(vendor_actions=ALL) as cs:
        options: Any = {"protocols": [subprotocol], "vendor_actions": known, "enforce_registration": False}
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", **options) as cp:
            yield cs, cp


@pytest.mark.parametrize("subprotocol", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
def test_it_is_sent_and_handled_like_any_action(subprotocol: str) -> None:
    afterwards = Recorder()
    with pair(subprotocol) as (cs, cp):
        cp.on(SET_LIGHT)(lambda payload, metadata: {"level": payload["level"] + 1})
        cp.after(SET_LIGHT)(lambda payload, metadata: afterwards(payload))
        assert cs.send_request("CP1", SET_LIGHT, {"level": 3}) == {"level": 4}
        assert cs.submit_request("CP1", "com.example.SetLight", {"level": 4}).result(DEADLINE) == {"level": 5}
        # In any order: hooks of one charge point may run at the same time.
        assert sorted(payload["level"] for payload in afterwards.wait(2)) == [3, 4]


def test_only_its_sender_sends_it_in_its_versions() -> None:
    with pair() as (cs, cp):
        cs.on(DIMMED)(lambda payload, metadata: payload)
        assert cp.send_request(DIMMED, {"level": 1}) == {"level": 1}
        with pytest.raises(ValidationError, match=r"a central system does not send com\.example\.Dimmed"):
            cs.send_request("CP1", DIMMED, {"level": 1})
        with pytest.raises(ValueError, match=r"a charge point never sends com\.example\.SetLight"):
            cs.on(SET_LIGHT)
    with pair("ocpp1.6") as (_, cp), pytest.raises(ValidationError, match=r"OCPP 1\.6 has no action"):
        cp.send_request(DIMMED, {"level": 1})


def test_payloads_that_violate_its_schemas_are_refused_in_both_directions() -> None:
    seen = Recorder()
    with pair() as (cs, cp), raw(cs, "CP2", subprotocols=["ocpp2.1"]) as peer:
        cp.on(SET_LIGHT)(lambda payload, metadata: seen(payload) or {"level": "high"})
        cs.on(DIMMED)(lambda payload, metadata: seen(payload))
        with pytest.raises(ValidationError, match=r"com\.example\.SetLight request: level"):
            cs.send_request("CP1", SET_LIGHT, {"level": "x"})
        with pytest.raises(CallErrorReceived) as error:
            cs.send_request("CP1", SET_LIGHT, {"level": 1})
        assert error.value.code == "InternalError", "the handler's answer breaks its schema"
        code = "TypeConstraintViolation"
        assert peer.call("1", DIMMED.name, {"level": "x"})[:3] == [4, "1", code]
        future = cs.submit_request("CP2", SET_LIGHT, {"level": 1})
        message_id = peer.read()[1]
        assert peer.ask([3, message_id, {"level": None}])[:3] == [5, message_id, code]
        assert isinstance(future.exception(DEADLINE), InvalidResponseError)
    assert seen.items == [{"level": 1}]


def test_a_send_goes_both_ways_in_2_1() -> None:
    seen = Recorder()
    with pair() as (cs, cp):
        for end in (cs, cp):
            end.on(BLINK)(lambda payload, metadata: seen(payload))
            with pytest.raises(ValueError, match="is never answered, so nothing runs after it"):
                end.after(BLINK)
        cs.send("CP1", BLINK, {"level": 1})
        seen.wait(1)
        cp.send(BLINK, {"level": 2})
        assert seen.wait(2) == [{"level": 1}, {"level": 2}]
        with pytest.raises(ValidationError, match="level"):
            cp.send(BLINK, {})
    with pair("ocpp2.0.1") as (_, cp):
        with pytest.raises(ValidationError, match=r"OCPP 2\.0\.1 has no action"):
            cp.send(BLINK, {"level": 1})
        with pytest.raises(ValueError, match="no action"):
            cp.on(BLINK)


def test_a_peer_that_does_not_know_it_answers_not_implemented() -> None:
    with pair(known=[]) as (cs, _), pytest.raises(CallErrorReceived) as error:
        cs.send_request("CP1", SET_LIGHT, {"level": 1})
    assert error.value.code == "NotImplemented"


def test_the_single_handler_gets_plain_dicts() -> None:
    seen = Recorder()

    def handler(request: Any, metadata: Any) -> Any:
        seen((request.action, type(request.payload), request.payload, request.version))
        return {"level": 0}

    with (
        serving(handler, vendor_actions=ALL) as cs,
        ChargePoint(
            "CP1",
            url=f"ws://127.0.0.1:{cs.port}",
            protocols=["ocpp2.0.1"],
            vendor_actions=ALL,
            enforce_registration=False,
        ) as cp,
    ):
        assert cp.send_request(DIMMED, {"level": 7}) == {"level": 0}
    assert seen.items == [(DIMMED.name, dict, {"level": 7}, "2.0.1")]


# DataTransfer, the message of the specification for vendors (C16 §4.3, 2/201 P01).


@pytest.mark.parametrize("subprotocol", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
def test_data_transfer_handlers_by_vendor_and_message(subprotocol: str) -> None:
    with pair(subprotocol) as (cs, cp):
        cs.on_data_transfer("com.example", "light")(lambda payload, metadata: {"status": "Accepted", "data": "on"})
        cs.on_data_transfer("com.example", "beep")(lambda payload, metadata: None)
        cp.on_data_transfer("com.example")(lambda payload, metadata: {"status": "Rejected"})

        def answer(**payload: Any) -> Any:
            return cp.send_request("DataTransfer", payload)  # type: ignore[arg-type]

        assert answer(vendorId="com.example", messageId="light") == {"status": "Accepted", "data": "on"}
        assert answer(vendorId="com.example", messageId="beep") == {"status": "Accepted"}
        assert answer(vendorId="com.example", messageId="boop") == {"status": "UnknownMessageId"}
        assert answer(vendorId="com.example") == {"status": "UnknownMessageId"}
        assert answer(vendorId="org.example", messageId="light") == {"status": "UnknownVendorId"}
        assert cs.send_request("CP1", "DataTransfer", {"vendorId": "com.example", "messageId": "any"}) == {
            "status": "Rejected"
        }

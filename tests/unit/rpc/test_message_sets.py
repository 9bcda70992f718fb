"""The messages of the versions that one end speaks: read when they are needed, judged, and written."""

from __future__ import annotations

import collections
import copy
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from ocppsync.errors import ValidationError
from ocppsync.lenient import Lenient, Validation
from ocppsync.rpc import frames
from ocppsync.rpc.message_sets import MessageSets
from ocppsync.vendor import VendorAction


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_a_vendors_schema_may_ask_for_every_format_in_every_version(version: str) -> None:
    fields: Any = {"at": {"type": "string", "format": "date-time"}, "link": {"type": "string", "format": "uri"}}
    action = VendorAction("SetLink", {"type": "object", "properties": fields}, {"type": "object"})
    messages = MessageSets("central_system", vendor_actions=[action]).messages(version)
    good = {"at": "2025-01-31T12:00:00Z", "link": "https://example.com/a"}
    assert messages.check_inbound("SetLink", "request", good)[1] is None
    for name in good:
        fault = messages.check_inbound("SetLink", "request", {**good, name: "no"})[1]
        assert fault is not None
        assert [violation.path for violation in fault.errors] == [name]


# Read when they are needed.

TRACE = """
import pathlib, sys
opened = []
sys.addaudithook(lambda event, arguments: event == "open" and opened.append(pathlib.Path(str(arguments[0])).name))
def read():
    print(*(name for name in opened if name.startswith("ocpp") and name.endswith(".json")))
"""


def read_by(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", TRACE + script], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_program_that_meets_1_6_alone_reads_no_other_schemas() -> None:
    script = """
from ocppsync import CentralSystem, ChargePoint
cs = CentralSystem(0, host="127.0.0.1")
cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": "2025-01-31T12:00:00Z"})
with cs, ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False) as cp:
    cp.on("Reset")(lambda payload, metadata: {"status": "Accepted"})
    cp.send_request("Heartbeat")
    cs.send_request("CP1", "Reset", {"type": "Soft"})
    read()
    with ChargePoint("CP2", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False, protocols=["ocpp2.1"]) as new:
        new.send_request("Heartbeat")
    read()
"""
    assert read_by(script) == ["ocpp16.json", "ocpp16.json ocpp21.json"]


@pytest.mark.slow
def test_what_is_checked_at_once_is_read_at_once() -> None:
    script = """
from ocppsync import CentralSystem, Lenient
CentralSystem(None, lenient=Lenient(strip_nulls=True))
read()
CentralSystem(None, lenient=Lenient(max_lengths={"DataTransfer.vendorId": 300}), protocols=["ocpp2.1", "ocpp1.6"])
read()
"""
    assert read_by(script) == ["", "ocpp21.json ocpp16.json"]


def test_each_version_is_made_once_whichever_thread_asks_first() -> None:
    message_sets = MessageSets("central_system", lenient=Lenient(long_fractions=True))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: message_sets.messages("2.1"), range(8)))
    assert {id(messages) for messages in made} == {id(message_sets.messages("2.1"))}


# Decimals (2/201 §2.1.4).


def profile(limit: Any) -> Any:
    periods = [{"startPeriod": 0, "limit": limit}, {"startPeriod": 10, "limit": 16.0}]
    schedule = {"id": 1, "chargingRateUnit": "A", "chargingSchedulePeriod": periods}
    kinds = {"chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Absolute"}
    return {"evseId": 1, "chargingProfile": {"id": 1, "stackLevel": 0, "chargingSchedule": [schedule], **kinds}}


def in_frame(text: str) -> Any:
    return json.loads(text)[-1]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize(
    ("limit", "sent"),
    [
        (16.0, 16.0),
        (0.123456, 0.123456),
        (0.1234567, 0.123457),
        (1 / 3, 0.333333),
        (-1 / 3, -0.333333),
        (0.1 + 0.2, 0.3),
        (1e-7, 0.0),
        (1.5e-5, 1.5e-5),
        (123456789.12345678, 123456789.123457),
        (1e300, 1e300),
        (7, 7),
        (True, True),
    ],
)
def test_a_station_gets_six_decimals_at_most(version: str, limit: Any, sent: Any) -> None:
    messages = MessageSets("central_system").messages(version)
    payload = profile(limit)
    kept = copy.deepcopy(payload)
    assert in_frame(messages.text([frames.CALL, "1", "SetChargingProfile", payload])) == profile(sent)
    assert in_frame(messages.text([frames.CALLRESULT, "1", payload])) == profile(sent)
    assert in_frame(messages.text([frames.SEND, "1", "SetChargingProfile", payload])) == profile(sent)
    assert payload == kept, "the caller's own is left alone"


def test_what_only_a_vendor_knows_and_what_is_text_is_sent_as_it_is() -> None:
    free = {"a": 1 / 3, "b": [1e-9]}
    payload = {"data": free, "customData": free, "text": "0.123456789", "number": (1 / 3, 1e-9)}
    sent = in_frame(MessageSets("central_system").messages("2.1").text([frames.CALL, "1", "DataTransfer", payload]))
    assert sent == {**payload, "number": [0.333333, 0.0]}


@pytest.mark.parametrize(
    ("role", "version"), [("central_system", "1.6"), ("charge_point", "2.0.1"), ("charge_point", "2.1")]
)
def test_nobody_else_is_rounded(role: Any, version: str) -> None:
    messages = MessageSets(role).messages(version)
    for text in (
        messages.text([frames.CALL, "1", "A", {"x": 1 / 3}]),
        messages.text([frames.CALLRESULT, "1", {"x": 1 / 3}]),
    ):
        assert in_frame(text) == {"x": 1 / 3}


@pytest.mark.parametrize("payload", [{"x": float("nan")}, {"x": b"", "y": 1 / 3}, {"x": Decimal("0.1")}])
def test_what_json_has_not_is_not_written(payload: Any) -> None:
    messages = MessageSets("central_system").messages("2.1")
    for write in (
        lambda: messages.text([frames.CALL, "1", "A", payload]),
        lambda: messages.text([frames.CALLRESULT, "1", payload]),
    ):
        with pytest.raises((TypeError, ValueError)):
            write()


def test_what_is_too_deep_to_be_rounded_is_not_written() -> None:
    payload: Any = {"x": 1 / 3}
    # Before 3.12, the encoder has the same limit as Python's functions, and rounding takes two of these for each list.
    share = 1.0 if sys.version_info >= (3, 12) else 0.7
    for _ in range(int(share * sys.getrecursionlimit())):
        payload = [payload]
    with pytest.raises(ValueError, match="nested too deeply to round"):
        MessageSets("central_system").messages("2.1").text([frames.CALL, "1", "A", payload])


# The quick tests of a payload.

RESETS: dict[str, Any] = {
    "valid": {"type": "Soft"},
    "another spelling": {"type": "soft"},
    "null": {"type": "Soft", "x": None},
    "missing": {},
    "no object": [],
    "an odd class": collections.OrderedDict(type="Soft"),
}


@pytest.mark.parametrize("payload", RESETS.values(), ids=RESETS)
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
@pytest.mark.parametrize("mode", ["strict", "warn", "off"])
@pytest.mark.parametrize("by_action", [False, True])
@pytest.mark.parametrize("lenient", [Lenient(), Lenient(strip_nulls=True), Lenient(any_case_enums=True)], ids=repr)
def test_what_passes_the_quick_test_passes_the_whole_check(
    payload: Any, direction: str, mode: Any, by_action: bool, lenient: Lenient
) -> None:
    options: Any = {f"{direction}_actions": {"Reset": mode}} if by_action else {direction: mode}
    messages = MessageSets("charge_point", lenient=lenient, validation=Validation(**options)).messages("1.6")
    kept = copy.deepcopy(payload)
    if direction == "inbound":
        passes = messages.inbound_test("Reset", "request")(payload)
        found, fault, refused = messages.check_inbound("Reset", "request", payload)
        assert not passes or (found, fault, refused) == (kept, None, False)
        clean = fault is None and found == kept and not lenient.normalizes
    else:
        passes = messages.outbound_test("Reset", "request")(payload)
        quiet = MessageSets("charge_point", lenient=lenient).messages("1.6").check_outbound("Reset", "request", payload)
        clean = quiet is None or mode == "off"
        assert not passes or messages.check_outbound("Reset", "request", payload) is None
    assert passes == clean, "a valid payload needs no whole check, unless it may have to be changed"
    assert payload == kept


def test_a_payload_that_is_let_through_with_a_warning_does_not_pass_the_quick_test() -> None:
    messages = MessageSets("charge_point", validation=Validation(inbound="warn", outbound="warn")).messages("1.6")
    assert not messages.inbound_test("Reset", "request")({})
    assert not messages.outbound_test("Reset", "response")({})
    assert messages.check_outbound("Reset", "response", {}) is None


def test_the_answer_to_a_send_has_no_test() -> None:
    with pytest.raises(KeyError):
        MessageSets("charge_point").messages("2.1").outbound_test("NotifyPeriodicEventStream", "response")


# What this end sends.


def test_what_is_known_of_an_own_action_is_made_once() -> None:
    messages = MessageSets("charge_point").messages("2.1")
    call, send = messages.calls["Heartbeat"], messages.sends["NotifyPeriodicEventStream"]
    assert call.gives({})
    assert not call.gives({"x": 1})
    assert call.takes({"currentTime": "2026-01-01T00:00:00Z"})
    assert not call.takes({})
    assert not send.takes({}), "it has no answer"
    assert (messages.calls["Heartbeat"], messages.sends["NotifyPeriodicEventStream"]) == (call, send)


@pytest.mark.parametrize("action", ["Bogus", "Reset", "NotifyPeriodicEventStream"])
def test_what_this_end_does_not_send_is_not_kept(action: str) -> None:
    messages = MessageSets("charge_point").messages("2.1")
    for _ in range(2):
        with pytest.raises(ValidationError):
            messages.calls[action]
    assert not messages.calls


# Who may send what, and how.


@pytest.mark.parametrize(
    ("role", "version", "action", "send", "text", "code"),
    [
        ("central_system", "1.6", "Reste", False, "OCPP 1.6 has no action 'Reste'; did you mean 'Reset'?", 0),
        ("central_system", "1.6", "SetVariables", False, "OCPP 1.6 has no action 'SetVariables'", 0),
        ("central_system", "2.1", "Heartbeat", False, "a central system does not send Heartbeat; its peer does", 1),
        ("charge_point", "2.1", "Reset", False, "a charge point does not send Reset; its peer does", 1),
        ("charge_point", "2.1", "Heartbeat", True, "Heartbeat gets an answer; send_request sends it", 1),
        ("charge_point", "2.1", "NotifyPeriodicEventStream", False, "gets no answer; send sends it", 1),
        ("charge_point", "2.0.1", "NotifyPeriodicEventStream", True, "OCPP 2.0.1 has no action", 0),
    ],
)
def test_who_may_send(role: Any, version: str, action: str, send: bool, text: str, code: int) -> None:
    for check in (
        lambda: MessageSets(role).messages(version).check_sender(action, send=send),
        lambda: MessageSets(role).check_sender(action, version, send=send),
    ):
        with pytest.raises(ValidationError) as error:
            check()
        assert text in str(error.value)
        assert error.value.error_code == ("NotImplemented", "NotSupported")[code]
        assert [violation.keyword for violation in error.value.errors] == ["action"]


def test_without_a_version_any_will_do() -> None:
    message_sets = MessageSets("central_system")
    for action in ("Reset", "RemoteStartTransaction", "SetVariables", "UsePriorityCharging"):
        message_sets.check_sender(action, None, send=False)
    MessageSets("charge_point").check_sender("NotifyPeriodicEventStream", None, send=True)
    with pytest.raises(ValidationError, match=r"1\.6, 2\.0\.1 and 2\.1 have no action 'Bogus'"):
        message_sets.check_sender("Bogus", None, send=False)


# What cannot be spoken.

OBJECT: Any = {"type": "object"}


@pytest.mark.parametrize(
    ("request_schema", "response", "text"),
    [
        ({"type": "text"}, OBJECT, "request of Odd cannot be used: type 'text' is not supported, at #"),
        ({"type": ["object", "null"]}, OBJECT, "request of Odd cannot be used: type .* is not supported"),
        (OBJECT, {"type": "object", "pattern": "x"}, "response of Odd cannot be used: keyword 'pattern'"),
        (OBJECT, {"type": "array"}, "response of Odd must have the type object"),
        ({}, OBJECT, "request of Odd must have the type object"),
        ({"type": "object", "properties": 5}, OBJECT, "request of Odd cannot be used"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}, OBJECT, "refers to no type in \\$defs"),
        ({"type": "object", "properties": {"a": {"$ref": "A"}}}, OBJECT, "refers to no type in \\$defs"),
        ({"type": "object", "properties": {"a": {"type": "string", "format": "ipv4"}}}, OBJECT, "format 'ipv4'"),
        ({"type": "object", "properties": {"a": {"type": "number", "multipleOf": 0.3}}}, OBJECT, "multipleOf 0.3"),
    ],
)
def test_a_schema_that_cannot_be_used_is_named(request_schema: Any, response: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MessageSets("central_system", vendor_actions=[VendorAction("Odd", request_schema, response)])


def test_a_vendors_action_cannot_take_the_name_of_another() -> None:
    reset = VendorAction("Reset", OBJECT, OBJECT)
    with pytest.raises(ValueError, match=r"OCPP 1\.6 has an action Reset already"):
        MessageSets("central_system", vendor_actions=[reset])
    twice = [VendorAction("Odd", OBJECT, OBJECT), VendorAction("Odd", OBJECT, OBJECT)]
    with pytest.raises(ValueError, match="has an action Odd already"):
        MessageSets("central_system", vendor_actions=twice)
    other = VendorAction("SetVariables", OBJECT, OBJECT, versions=["1.6"])
    assert MessageSets("central_system", vendor_actions=[other]).messages("1.6").catalogue.known("SetVariables")


def test_a_version_that_is_not_spoken() -> None:
    message_sets = MessageSets("charge_point", ["ocpp2.1", "ocpp1.6"])
    assert (message_sets.versions, repr(message_sets)) == (("2.1", "1.6"), "<MessageSets of a charge_point: 2.1, 1.6>")
    with pytest.raises(ValueError, match=r"unsupported OCPP version '2\.0\.1'; supported: 2\.1, 1\.6"):
        message_sets.messages("2.0.1")
    assert repr(message_sets.messages("1.6")) == "<MessageSet of OCPP 1.6: 39 actions>"

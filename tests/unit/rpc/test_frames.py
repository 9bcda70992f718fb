"""OCPP-J frames: the exact arrays (J16 §4.2), and everything that is none."""

from __future__ import annotations

import json
import math
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from received import call, received, send

from ocppsync.errors import ProtocolError
from ocppsync.json_text import MAX_DEPTH
from ocppsync.rpc import frames
from ocppsync.rpc.frames import (
    CallErrorFrame,
    CallResultErrorFrame,
    CallResultFrame,
    FrameRules,
    parse,
)
from ocppsync.validation.validators import validator

EMOJI = "\U0001f50c"  # beyond the basic plane: two units in UTF-16, four bytes in UTF-8
TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def nested(depth: int, opening: str = "[", closing: str = "]", core: str = "") -> str:
    return opening * depth + core + closing * depth


def refused(text: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as error:
        parse(text)
    return error.value


# Writing.


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        (frames.call("7", "Heartbeat", {}), '[2,"7","Heartbeat",{}]'),
        (frames.call("7", "Reset", {"type": "Soft"}), '[2,"7","Reset",{"type":"Soft"}]'),
        (frames.call_result("7", {}), '[3,"7",{}]'),
        (frames.call_result("7", {"a": [1, 2.5, None, True]}), '[3,"7",{"a":[1,2.5,null,true]}]'),
        (frames.call_error("7", "GenericError"), '[4,"7","GenericError","",{}]'),
        (frames.call_error("7", "GenericError", "why", {"a": 1}), '[4,"7","GenericError","why",{"a":1}]'),
        (frames.call_error("7", "GenericError", "", None), '[4,"7","GenericError","",{}]'),
    ],
)
def test_the_arrays_on_the_wire(text: str, wire: str) -> None:
    assert text == wire


@pytest.mark.parametrize("text", ["Zählerstand", EMOJI, "日本", "\x7f", 'quote " backslash \\ newline \n'])
def test_text_beyond_ascii_goes_out_as_it_is_and_comes_back(text: str) -> None:
    wire = frames.call("7", "DataTransfer", {"data": text})
    assert wire.encode().decode() == wire
    assert received(parse(wire)) == call("7", "DataTransfer", {"data": text})
    if text.isprintable() and '"' not in text:
        assert text in wire


def test_half_a_surrogate_pair_is_escaped_since_utf_8_has_none() -> None:
    wire = frames.call("7", "DataTransfer", {"data": f"\ud800 {EMOJI}"})
    assert wire.isascii()
    assert received(parse(wire)) == call("7", "DataTransfer", {"data": f"\ud800 {EMOJI}"})


def cycle() -> list[Any]:
    turn: list[Any] = []
    turn.append(turn)
    return turn


def deep(levels: int) -> list[Any]:
    outer: list[Any] = []
    for _ in range(levels):
        outer = [outer]
    return outer


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (math.nan, ValueError),
        (math.inf, ValueError),
        (-math.inf, ValueError),
        (10**5000, ValueError),
        (cycle(), ValueError),
        (deep(100_000), ValueError),
        (datetime(2026, 1, 1), TypeError),
        (Decimal("0.1"), TypeError),
        (b"bytes", TypeError),
        ({1, 2}, TypeError),
        ({("a", "b"): 1}, TypeError),
    ],
    ids=["nan", "inf", "-inf", "digits", "cycle", "depth", "date", "decimal", "bytes", "set", "key"],
)
@pytest.mark.parametrize(
    "write",
    [
        lambda value: frames.call("7", "DataTransfer", {"data": value}),
        lambda value: frames.call_result("7", {"data": value}),
        lambda value: frames.call_error("7", "GenericError", "", {"data": value}),
    ],
    ids=["call", "call_result", "call_error"],
)
def test_what_json_has_not_is_not_written(write: Any, value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        write(value)


# Reading.


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('[2,"7","Reset",{"type":"Soft"}]', call("7", "Reset", {"type": "Soft"})),
        ('[2,"7","Reset",{}]', call("7", "Reset", {})),
        ('[2,"7","Heartbeat",null]', call("7", "Heartbeat", {})),
        ('[2,"","",{}]', call("", "", {})),
        (' \r\n\t[ 2 , "7" , "Reset" , { } ] \r\n\t', call("7", "Reset", {})),
        ('[3,"7",{"status":"Accepted"}]', CallResultFrame("7", {"status": "Accepted"})),
        ('[3,"7",null]', CallResultFrame("7", {})),
        ('[4,"7","NotSupported","why",{"a":1}]', CallErrorFrame("7", "NotSupported", "why", {"a": 1})),
        ('[4,"7","","",{}]', CallErrorFrame("7", "", "", {})),
        ('[4,"7","NotSupported","",null]', CallErrorFrame("7", "NotSupported", "", {})),
    ],
)
def test_frames(text: str, frame: Any) -> None:
    parsed = received(parse(text))
    assert parsed == frame
    assert type(parsed) is type(frame)


@pytest.mark.parametrize("payload", [[], [1], "text", "", 0, 1.5, False, True])
def test_a_payload_that_is_no_object_is_left_to_the_validation(payload: Any) -> None:
    assert received(parse(json.dumps([2, "7", "Reset", payload]))) == call("7", "Reset", payload)
    assert parse(json.dumps([3, "7", payload])) == CallResultFrame("7", payload)
    assert type(parse(json.dumps([3, "7", payload])).payload) is type(payload)  # type: ignore[union-attr]


@pytest.mark.parametrize("length", [0, 1, 36, 37, 255, 256])
def test_an_id_of_any_length_is_read(length: int) -> None:
    assert parse(frames.call("i" * length, "Heartbeat", {})).message_id == "i" * length


@given(message_id=TEXT, action=TEXT, payload=JSON)
def test_what_is_written_can_be_read(message_id: str, action: str, payload: Any) -> None:
    expected = {} if payload is None else payload
    wire = frames.call(message_id, action, payload)
    assert wire.encode()
    assert received(parse(wire)) == call(message_id, action, expected)
    assert parse(frames.call_result(message_id, payload)) == CallResultFrame(message_id, expected)


@given(message_id=TEXT, code=TEXT, description=TEXT, details=st.dictionaries(TEXT, JSON, max_size=3))
def test_an_error_that_is_written_can_be_read(message_id: str, code: str, description: str, details: Any) -> None:
    wire = frames.call_error(message_id, code, description, details)
    assert parse(wire) == CallErrorFrame(message_id, code, description, details)


@given(st.text(max_size=40) | JSON.map(json.dumps) | st.lists(JSON, max_size=6).map(json.dumps))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    try:
        parse(text)
    except ProtocolError as error:
        assert error.error_code in {"RpcFrameworkError", "FormatViolation", "MessageTypeNotSupported"}


# What is none. The columns are the error code, the id and the type as far as they could be read.
NOT_FRAMES: dict[str, tuple[str, str, str | None, int | None]] = {
    "nothing": ("", "RpcFrameworkError", None, None),
    "blanks": (" \n", "RpcFrameworkError", None, None),
    "a word": ("hello", "RpcFrameworkError", None, None),
    "cut off": ('[2,"7","Heartbeat",{}', "RpcFrameworkError", None, None),
    "something behind": ('[2,"7","Heartbeat",{}]]', "RpcFrameworkError", None, None),
    "two frames": ('[2,"7","Heartbeat",{}][2,"8","Heartbeat",{}]', "RpcFrameworkError", None, None),
    "a byte order mark": ('\ufeff[2,"7","Heartbeat",{}]', "RpcFrameworkError", None, None),
    "a blank that JSON has not": ('\xa0[2,"7","Heartbeat",{}]', "RpcFrameworkError", None, None),
    "a trailing comma": ('[2,"7","Heartbeat",{},]', "RpcFrameworkError", None, None),
    "a comment": ('[2,"7","Heartbeat",{}] // hello', "RpcFrameworkError", None, None),
    "single quotes": ("[2,'7','Heartbeat',{}]", "RpcFrameworkError", None, None),
    "a bare control character": ('[2,"7","Heart\nbeat",{}]', "RpcFrameworkError", None, None),
    "NaN": ('[2,"7","Heartbeat",{"a":NaN}]', "RpcFrameworkError", None, None),
    "Infinity": ('[2,"7","Heartbeat",{"a":Infinity}]', "RpcFrameworkError", None, None),
    "-Infinity": ('[2,"7","Heartbeat",{"a":-Infinity}]', "RpcFrameworkError", None, None),
    "a million digits": ('[2,"7","Heartbeat",{"a":%s}]' % ("9" * 10**6), "RpcFrameworkError", None, None),
    "a million digits as the type": (f'[{"2" * 10**6},"7","Heartbeat",{{}}]', "RpcFrameworkError", None, None),
    "bottomless arrays": ("[" * 100_000, "RpcFrameworkError", None, None),
    "bottomless arrays in a CALL": ('[2,"7","Reset",' + "[" * 100_000, "RpcFrameworkError", None, None),
    "a CALL that is too deep to be read": (f'[2,"7","Reset",{nested(900)}]', "RpcFrameworkError", None, None),
    "a CALL that is just read": (f'[2,"7","Reset",{nested(899)}]', "FormatViolation", "7", 2),
    "bottomless objects": ('{"a":' * 100_000, "RpcFrameworkError", None, None),
    "a string": ('"[2]"', "RpcFrameworkError", None, None),
    "a number": ("2", "RpcFrameworkError", None, None),
    "null": ("null", "RpcFrameworkError", None, None),
    "true": ("true", "RpcFrameworkError", None, None),
    "an object": ('{"2":"7"}', "RpcFrameworkError", None, None),
    "an empty array": ("[]", "RpcFrameworkError", None, None),
    "a type alone": ("[2]", "RpcFrameworkError", None, None),
    "an unknown type alone": ("[7]", "RpcFrameworkError", None, None),
    "a type that is true": ('[true,"7",{}]', "RpcFrameworkError", None, None),
    "a type that is false": ('[false,"7",{}]', "RpcFrameworkError", None, None),
    "a type that is 2.0": ('[2.0,"7","Heartbeat",{}]', "RpcFrameworkError", None, None),
    "a type that is 2e0": ('[2e0,"7","Heartbeat",{}]', "RpcFrameworkError", None, None),
    "a type that is a string": ('["2","7","Heartbeat",{}]', "RpcFrameworkError", None, None),
    "a type that is null": ('[null,"7","Heartbeat",{}]', "RpcFrameworkError", None, None),
    "a type that is an array": ('[[2],"7","Heartbeat",{}]', "RpcFrameworkError", None, None),
    "type 0": ('[0,"7"]', "MessageTypeNotSupported", "7", 0),
    "type 1": ('[1,"7","Heartbeat",{}]', "MessageTypeNotSupported", "7", 1),
    "type 5, which 1.6 has not": ('[5,"7","GenericError","",{}]', "MessageTypeNotSupported", "7", 5),
    "type 6, which 1.6 has not": ('[6,"7","Heartbeat",{}]', "MessageTypeNotSupported", "7", 6),
    "type -2": ('[-2,"7","Heartbeat",{}]', "MessageTypeNotSupported", "7", -2),
    "an unknown type, its id a number": ("[9,7]", "MessageTypeNotSupported", None, 9),
    "an unknown type, nested deeply": (f'[9,"7",{nested(500)}]', "MessageTypeNotSupported", "7", 9),
    "CALL, its id a number": ('[2,7,"Heartbeat",{}]', "RpcFrameworkError", None, 2),
    "CALL, its id null": ('[2,null,"Heartbeat",{}]', "RpcFrameworkError", None, 2),
    "CALL, its id true": ('[2,true,"Heartbeat",{}]', "RpcFrameworkError", None, 2),
    "CALL, its id an array": ('[2,["7"],"Heartbeat",{}]', "RpcFrameworkError", None, 2),
    "CALLRESULT, its id a number": ("[3,7,{}]", "RpcFrameworkError", None, 3),
    "CALLERROR, its id a number": ('[4,7,"GenericError","",{}]', "RpcFrameworkError", None, 4),
    "CALL of 2 elements": ('[2,"7"]', "RpcFrameworkError", "7", 2),
    "CALL of 3 elements": ('[2,"7","Heartbeat"]', "RpcFrameworkError", "7", 2),
    "CALL of 5 elements": ('[2,"7","Heartbeat",{},{}]', "RpcFrameworkError", "7", 2),
    "CALL, its action a number": ('[2,"7",5,{}]', "RpcFrameworkError", "7", 2),
    "CALL, its action null": ('[2,"7",null,{}]', "RpcFrameworkError", "7", 2),
    "CALL, its action an object": ('[2,"7",{},{}]', "RpcFrameworkError", "7", 2),
    "CALLRESULT of 2 elements": ('[3,"7"]', "RpcFrameworkError", "7", 3),
    "CALLRESULT of 4 elements": ('[3,"7","Heartbeat",{}]', "RpcFrameworkError", "7", 3),
    "CALLERROR of 2 elements": ('[4,"7"]', "RpcFrameworkError", "7", 4),
    "CALLERROR of 4 elements": ('[4,"7","GenericError",""]', "RpcFrameworkError", "7", 4),
    "CALLERROR of 6 elements": ('[4,"7","GenericError","",{},{}]', "RpcFrameworkError", "7", 4),
    "CALLERROR, its code a number": ('[4,"7",5,"",{}]', "FormatViolation", "7", 4),
    "CALLERROR, its code null": ('[4,"7",null,"",{}]', "FormatViolation", "7", 4),
    "CALLERROR, its description null": ('[4,"7","GenericError",null,{}]', "FormatViolation", "7", 4),
    "CALLERROR, its details a string": ('[4,"7","GenericError","","why"]', "FormatViolation", "7", 4),
    "CALLERROR, its details an empty string": ('[4,"7","GenericError","",""]', "FormatViolation", "7", 4),
    "CALLERROR, its details an empty array": ('[4,"7","GenericError","",[]]', "FormatViolation", "7", 4),
    "CALL, nested deeply": (f'[2,"7","Heartbeat",{nested(500)}]', "FormatViolation", "7", 2),
    "CALLRESULT, nested deeply": (f'[3,"7",{nested(500)}]', "FormatViolation", "7", 3),
    "CALLERROR, nested deeply": (f'[4,"7","","",{{"a":{nested(500)}}}]', "FormatViolation", "7", 4),
}


@pytest.mark.parametrize(("text", "error_code", "message_id", "message_type"), NOT_FRAMES.values(), ids=NOT_FRAMES)
def test_what_is_no_frame(text: str, error_code: str, message_id: str | None, message_type: int | None) -> None:
    error = refused(text)
    assert (error.error_code, error.message_id, error.message_type) == (error_code, message_id, message_type)
    assert len(str(error)) < 250, "a broken message is not repeated in the log"


@pytest.mark.parametrize(
    ("opening", "closing", "core"), [("[", "]", ""), ('{"a":', "}", "1"), ('[{"a":', "}]", "1")], ids=["[", "{", "[{"]
)
def test_the_depth_of_a_frame_is_bounded(opening: str, closing: str, core: str) -> None:
    width = len(opening.replace('"a":', ""))
    levels = (MAX_DEPTH - 1) // width  # the frame's own array is one more
    deepest = f'[2,"7","Reset",{nested(levels, opening, closing, core)}]'
    assert received(parse(deepest)) == call("7", "Reset", json.loads(deepest)[3])
    deeper = f'[2,"7","Reset",{nested(levels + 1, opening, closing, core)}]'
    assert str(refused(deeper)) == f"malformed CALL: it is nested more than {MAX_DEPTH} deep"


def test_a_wide_frame_is_not_deep() -> None:
    payload = {"meterValue": [{"sampledValue": [{"value": "1"}] * 3}] * 1000, "text": "[" * 1000}
    assert received(parse(frames.call("7", "MeterValues", payload))) == call("7", "MeterValues", payload)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400 + ".0"])
def test_a_number_that_no_float_holds_is_left_to_the_validation(number: str) -> None:
    period = f'{{"startPeriod":0,"limit":{number}}}'
    schedule = f'{{"chargingRateUnit":"A","chargingSchedulePeriod":[{period}]}}'
    answer = parse(f'[3,"7",{{"status":"Accepted","chargingSchedule":{schedule}}}]')
    assert isinstance(answer, CallResultFrame)
    assert math.isinf(answer.payload["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"])
    assert validator("1.6").check("GetCompositeSchedule", "response", answer.payload) is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":1,"a":2}', {"a": 2}),
        (r'"\ud83d\udd0c"', EMOJI),
        (r'"\ud800"', "\ud800"),
        (r'"\udc00\ud800"', "\udc00\ud800"),
        (r'"\u0000"', "\0"),
        ("4" * 4000, int("4" * 4000)),
        ("1.0", 1.0),
        ("-0", 0),
    ],
    ids=["a key twice", "a pair", "half a pair", "a pair the wrong way round", "NUL", "digits", "float", "minus 0"],
)
def test_odd_values_that_are_json(text: str, value: Any) -> None:
    frame = parse(f'[3,"7",{text}]')
    assert frame == CallResultFrame("7", value)


# What is taken beyond the specification.

SHORT = FrameRules(short_call_errors=True)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('[4,"7","X"]', CallErrorFrame("7", "X", "", {})),
        ('[4,"7","X","why"]', CallErrorFrame("7", "X", "why", {})),
        ('[4,"7","X","why",{"a":1}]', CallErrorFrame("7", "X", "why", {"a": 1})),
        ('[4,"7","X","why",null]', CallErrorFrame("7", "X", "why", {})),
        ('[4,"7","X","why","text"]', CallErrorFrame("7", "X", "why", {"details": "text"})),
        ('[4,"7","X","why",[]]', CallErrorFrame("7", "X", "why", {"details": []})),
        ('[4,"7","X","why",false]', CallErrorFrame("7", "X", "why", {"details": False})),
    ],
)
def test_a_short_call_error_is_taken_where_it_is_asked_for(text: str, frame: CallErrorFrame) -> None:
    assert parse(text, SHORT) == frame


@pytest.mark.parametrize(
    "text",
    [
        '[4,"7"]',
        '[4,"7","X","",{},{}]',
        '[4,"7",null]',
        '[4,"7","X",null]',
        '[3,"7"]',
        '[2,"7","Reset"]',
        '[4,7,"X"]',
    ],
)
def test_no_other_shape_is_taken_with_short_call_errors(text: str) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        parse(text, SHORT)


TYPES_21 = frozenset({2, 3, 4, 5, 6})
NUMERIC = FrameRules(types=TYPES_21, numeric_ids=True)


@pytest.mark.parametrize("number", [0, 7, -1, 10**40])
def test_a_number_is_taken_for_an_id_of_the_peers_where_it_is_asked_for(number: int) -> None:
    assert received(parse(f'[2,{number},"Reset",{{}}]', NUMERIC)) == call(number, "Reset", {})
    assert received(parse(f'[6,{number},"Reset",{{}}]', NUMERIC)) == send(number, "Reset", {})
    # It names a CALL of the peer's.
    assert parse(f'[5,{number},"X","",{{}}]', NUMERIC) == CallResultErrorFrame(number, "X", "", {})
    assert frames.call_result(number, {}) == f"[3,{number},{{}}]"
    assert frames.call_error(number, "X") == f'[4,{number},"X","",{{}}]'


@pytest.mark.parametrize(
    "text", ["[3,7,{}]", '[4,7,"X","",{}]', '[2,7.0,"Reset",{}]', '[2,true,"Reset",{}]', '[2,null,"Reset",{}]']
)
def test_no_other_id_is_taken_with_numeric_ids(text: str) -> None:
    with pytest.raises(ProtocolError, match="its message id is not a string"):
        parse(text, NUMERIC)


def test_a_malformed_call_with_a_number_for_its_id_names_it() -> None:
    with pytest.raises(ProtocolError) as error:
        parse('[2,7,"Reset"]', NUMERIC)
    assert (error.value.message_id, error.value.message_type) == (7, 2)


# The frames of 2.1 (4/21 §4.2.3, §4.2.4).

RULES_21 = FrameRules(types=TYPES_21)


@given(message_id=TEXT, action=TEXT, payload=JSON, code=TEXT)
def test_what_is_written_for_2_1_can_be_read(message_id: str, action: str, payload: Any, code: str) -> None:
    expected = {} if payload is None else payload
    assert received(parse(frames.send(message_id, action, payload), RULES_21)) == send(message_id, action, expected)
    wire = frames.call_result_error(message_id, code, action)
    assert parse(wire, RULES_21) == CallResultErrorFrame(message_id, code, action, {})
    assert received(parse(frames.call(message_id, action, payload), RULES_21)) == call(message_id, action, expected)


@pytest.mark.parametrize(
    ("text", "error_code", "message_id"),
    [
        ('[6,"7","Beat"]', "RpcFrameworkError", "7"),
        ('[6,"7",5,{}]', "RpcFrameworkError", "7"),
        ('[6,7,"Beat",{}]', "RpcFrameworkError", None),
        (f'[6,"7","Beat",{nested(500)}]', "FormatViolation", "7"),
        ('[5,"7","X",""]', "RpcFrameworkError", "7"),
        ('[5,"7",null,"",{}]', "FormatViolation", "7"),
        ('[5,"7","X","","why"]', "FormatViolation", "7"),
        ('[7,"7","Beat",{}]', "MessageTypeNotSupported", "7"),
    ],
)
def test_what_is_no_frame_of_2_1(text: str, error_code: str, message_id: str | None) -> None:
    with pytest.raises(ProtocolError) as error:
        parse(text, RULES_21)
    assert (error.value.error_code, error.value.message_id) == (error_code, message_id)


def test_a_payload_that_is_null_is_an_empty_one_in_a_send_too() -> None:
    assert received(parse('[6,"7","Beat",null]', RULES_21)) == send("7", "Beat", {})


def test_a_call_is_compared_by_identity_and_shows_no_payload() -> None:
    text = '[2,"7","DataTransfer",{"data":"hunter2"}]'
    frame = parse(text)
    assert frame == frame  # noqa: PLR0124
    assert frame != parse(text)
    assert repr(frame) == "<CALL '7' 'DataTransfer'>"
    assert repr(parse('[6,"7","Beat",{"data":"hunter2"}]', RULES_21)) == "<SEND '7' 'Beat'>"

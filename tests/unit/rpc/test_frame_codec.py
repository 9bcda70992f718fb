"""What differs on the wire from one version to the next (J16 §4, 4/201 §4, 4/21 §4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from received import call, received, send

from ocppsync.errors import ProtocolError
from ocppsync.lenient import Lenient
from ocppsync.rpc.frame_codec import FrameCodec
from ocppsync.rpc.frames import CallErrorFrame, CallResultErrorFrame

VERSIONS = ["1.6", "2.0.1", "2.1"]


@pytest.mark.parametrize(
    ("version", "reports_unreadable", "refuses_unknown_types", "bad_id", "refuses_results"),
    [
        ("1.6", False, False, "GenericError", False),
        ("2.0.1", True, True, "RpcFrameworkError", False),
        ("2.1", True, False, "RpcFrameworkError", True),
    ],
)
def test_the_table(
    version: str,
    reports_unreadable: bool,
    refuses_unknown_types: bool,
    bad_id: str,
    refuses_results: bool,
) -> None:
    codec = FrameCodec(version)
    assert codec.version == version
    assert codec.reports_unreadable is reports_unreadable
    assert codec.refuses_unknown_types is refuses_unknown_types
    assert codec.bad_id == bad_id
    assert codec.refuses_results is refuses_results
    assert repr(codec) == f"<FrameCodec of OCPP {version}>"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_message_types_of_each_version(version: str) -> None:
    codec = FrameCodec(version)
    assert received(codec.parse('[2,"7","Heartbeat",{}]')) == call("7", "Heartbeat", {})
    new = {
        '[5,"7","X","why",{}]': CallResultErrorFrame("7", "X", "why", {}),
        '[6,"7","Beat",{"a":1}]': send("7", "Beat", {"a": 1}),
    }
    for text, frame in new.items():
        if version == "2.1":
            assert received(codec.parse(text)) == frame
        else:
            with pytest.raises(ProtocolError) as error:
                codec.parse(text)
            assert (error.value.error_code, error.value.message_id) == ("MessageTypeNotSupported", "7")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("length", [255, 256, 1000])
def test_a_description_has_255_characters_at_most_in_2_x(version: str, length: int) -> None:
    codec = FrameCodec(version)
    text = "\U0001f50c" * length
    cut = text if version == "1.6" else text[:255]
    assert json.loads(codec.call_error("7", "GenericError", text, {"a": text}))[3:] == [cut, {"a": text}]
    assert json.loads(codec.call_result_error("7", "GenericError", text)) == [5, "7", "GenericError", cut, {}]


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        ("FormatViolation", "FormationViolation", "FormatViolation"),
        ("FormationViolation", "FormationViolation", "FormatViolation"),
        ("OccurrenceConstraintViolation", "OccurenceConstraintViolation", "OccurrenceConstraintViolation"),
        ("RpcFrameworkError", "FormationViolation", "RpcFrameworkError"),
        ("MessageTypeNotSupported", "GenericError", "MessageTypeNotSupported"),
        ("SecurityError", "SecurityError", "SecurityError"),
        ("Bogus", "GenericError", "GenericError"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_codes_go_out_in_the_spelling_of_the_version(version: str, code: str, old: str, new: str) -> None:
    codec = FrameCodec(version)
    wanted = old if version == "1.6" else new
    assert codec.code(code) == wanted
    assert json.loads(codec.call_error("7", code)) == [4, "7", wanted, "", {}]
    assert json.loads(codec.call_result_error("7", code, "")) == [5, "7", wanted, "", {}]


def test_a_number_for_an_id_is_echoed_as_one() -> None:
    assert FrameCodec("1.6").call_error(7, "GenericError") == '[4,7,"GenericError","",{}]'


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("switch", "text", "frame"),
    [
        ("numeric_ids", '[2,7,"Heartbeat",{}]', call(7, "Heartbeat", {})),
        ("short_call_errors", '[4,"7","X"]', CallErrorFrame("7", "X", "", {})),
        ("short_call_errors", '[4,"7","X","","text"]', CallErrorFrame("7", "X", "", {"details": "text"})),
    ],
)
def test_lenience_is_for_those_who_ask_for_it(version: str, switch: str, text: str, frame: Any) -> None:
    options: Any = {switch: True}
    assert received(FrameCodec(version, Lenient(**options)).parse(text)) == frame
    with pytest.raises(ProtocolError):
        FrameCodec(version).parse(text)


def test_there_is_no_dialect_of_another_version() -> None:
    with pytest.raises(KeyError):
        FrameCodec("2.0")

"""The exceptions: class hierarchy, attributes, and the error codes in the spelling of each version."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync import errors
from ocppsync.errors import (
    CallError,
    CallErrorReceived,
    ConnectionLostError,
    HandshakeError,
    InvalidResponseError,
    NotConnectedError,
    NotRegisteredError,
    OCPPError,
    OCPPRequestError,
    ProtocolError,
    RequestTimeoutError,
    ValidationError,
    VersionMismatchError,
    Violation,
    spell,
)

# J16 table 7 beside 4/201 table 8 and 4/21 table 9.
CODES = [
    ("NotImplemented", "NotImplemented"),
    ("NotSupported", "NotSupported"),
    ("InternalError", "InternalError"),
    ("ProtocolError", "ProtocolError"),
    ("SecurityError", "SecurityError"),
    ("FormationViolation", "FormatViolation"),
    ("PropertyConstraintViolation", "PropertyConstraintViolation"),
    ("OccurenceConstraintViolation", "OccurrenceConstraintViolation"),
    ("TypeConstraintViolation", "TypeConstraintViolation"),
    ("GenericError", "GenericError"),
]
NEW_CODES = [("RpcFrameworkError", "FormationViolation"), ("MessageTypeNotSupported", "GenericError")]
ABOUT = {"charge_point_id": "CP1", "action": "Reset"}


# Spellings.


@pytest.mark.parametrize(("old", "new"), CODES)
def test_either_spelling_is_converted_to_that_of_the_version(old: str, new: str) -> None:
    for spelling in (old, new):
        assert spell(spelling, "1.6") == old
        assert spell(spelling, "2.0.1") == spell(spelling, "2.1") == new


@pytest.mark.parametrize(("new", "nearest"), NEW_CODES)
def test_a_code_missing_in_1_6_becomes_the_nearest_code(new: str, nearest: str) -> None:
    assert spell(new, "1.6") == nearest
    assert spell(new, "2.0.1") == spell(new, "2.1") == new


def test_every_code_sent_to_1_6_is_a_code_of_1_6() -> None:
    known = {old for old, _ in CODES}
    spellings = known | {new for _, new in CODES} | {new for new, _ in NEW_CODES}
    assert {spell(spelling, "1.6") for spelling in spellings} == known


@pytest.mark.parametrize("code", ["", "Bogus", "notsupported", "FormatViolation ", "OccurenceConstraintviolation"])
@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_an_unknown_code_has_no_spelling(code: str, version: str) -> None:
    assert spell(code, version) is None


# Class hierarchy.


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (OCPPError, {Exception}),
        (OCPPRequestError, {OCPPError}),
        (NotConnectedError, {OCPPRequestError}),
        (NotRegisteredError, {OCPPRequestError}),
        (VersionMismatchError, {OCPPRequestError}),
        (RequestTimeoutError, {OCPPRequestError, TimeoutError}),
        (ConnectionLostError, {OCPPRequestError}),
        (CallErrorReceived, {OCPPRequestError}),
        (InvalidResponseError, {OCPPRequestError}),
        (CallError, {OCPPError}),
        (ValidationError, {OCPPError, ValueError}),
        (HandshakeError, {OCPPError}),
        (ProtocolError, {OCPPError}),
    ],
)
def test_the_class_hierarchy(kind: type[Exception], bases: set[type[Exception]]) -> None:
    assert set(kind.__bases__) == bases
    assert kind.__name__ in errors.__all__


def test_a_received_call_error_is_not_a_call_error_to_raise() -> None:
    assert not issubclass(CallErrorReceived, CallError)
    assert not issubclass(CallError, OCPPRequestError)


# Attributes.


@pytest.mark.parametrize(
    "kind",
    [
        OCPPRequestError,
        NotConnectedError,
        NotRegisteredError,
        VersionMismatchError,
        RequestTimeoutError,
        ConnectionLostError,
    ],
)
@pytest.mark.parametrize("delivery", ["not_sent", "unknown"])
def test_a_request_error_carries_the_request_and_its_delivery(kind: Any, delivery: Any) -> None:
    error = kind("it failed", **ABOUT, message_id=None, delivery=delivery)
    assert str(error) == "it failed"
    assert (error.charge_point_id, error.action, error.message_id) == ("CP1", "Reset", None)
    assert error.delivery == delivery


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("", "CP1 answered Reset with CALLERROR FormatViolation"),
        ("no", "CP1 answered Reset with CALLERROR FormatViolation: no"),
    ],
)
def test_a_received_call_error_shows_the_code_as_the_peer_sent_it(description: str, text: str) -> None:
    error = CallErrorReceived(
        code="FormationViolation",
        raw_code="FormatViolation",
        description=description,
        details={"a": 1},
        message_id="7",
        **ABOUT,
    )
    assert str(error) == text
    assert (error.code, error.raw_code) == ("FormationViolation", "FormatViolation")
    assert (error.description, error.details) == (description, {"a": 1})
    assert (error.message_id, error.delivery) == ("7", "answered")


def test_an_invalid_response_counts_as_answered() -> None:
    bare = InvalidResponseError("bad", message_id="7", **ABOUT)
    assert (str(bare), bare.delivery, bare.validation_error, bare.payload) == ("bad", "answered", None, None)
    cause = ValidationError("wrong", action="Reset", errors=[], error_code="GenericError")
    full = InvalidResponseError("bad", message_id="7", validation_error=cause, payload={"a": 1}, **ABOUT)
    assert (full.validation_error, full.payload) == (cause, {"a": 1})


@pytest.mark.parametrize("code", sorted({code for pair in CODES + NEW_CODES for code in pair}))
def test_call_error_accepts_any_spelling(code: str) -> None:
    error = CallError(code)
    assert (error.code, error.description, error.details, str(error)) == (code, "", {}, code)


def test_call_error_copies_its_details() -> None:
    details = {"key": "value"}
    error = CallError("NotSupported", "not here", details)
    details["key"] = "changed"
    assert str(error) == "NotSupported: not here"
    assert (error.description, error.details) == ("not here", {"key": "value"})


def test_call_error_refuses_an_unknown_code() -> None:
    with pytest.raises(
        ValueError, match="unknown OCPP error code 'Bogus'; known: FormatViolation, FormationViolation, "
    ):
        CallError("Bogus")


def test_a_validation_error_carries_its_violations() -> None:
    violation = Violation("idTag", "too long", "maxLength")
    error = ValidationError("no", action="Authorize", errors=[violation], error_code="GenericError")
    assert str(error) == "no"
    assert (error.action, error.errors, error.error_code) == ("Authorize", (violation,), "GenericError")
    assert (violation.path, violation.message, violation.keyword) == ("idTag", "too long", "maxLength")


def test_handshake_and_protocol_errors_have_defaults() -> None:
    assert str(HandshakeError("no")) == str(ProtocolError("no", error_code="FormatViolation")) == "no"
    assert HandshakeError("no").status is None
    assert HandshakeError("no", status=401).status == 401
    bare = ProtocolError("bad", error_code="FormatViolation")
    assert (bare.error_code, bare.message_id, bare.message_type) == ("FormatViolation", None, None)
    full = ProtocolError("bad", error_code="FormatViolation", message_id="7", message_type=2)
    assert (full.message_id, full.message_type) == ("7", 2)

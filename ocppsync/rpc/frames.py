"""OCPP-J frames: parses and serialises the JSON arrays on the wire; no I/O (J16 §4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ProtocolError
from ..faults.printable import shown
from ..json_text import MAX_DEPTH, READABLE_DEPTH, decoder, depth_of, write
from .incoming import IncomingCall, MessageId

CALL, CALLRESULT, CALLERROR, CALLRESULTERROR, SEND = 2, 3, 4, 5, 6
MAX_MESSAGE_ID = 36
"""The longest message id, in characters (J16 table 3)."""


@dataclass(slots=True)
class CallResultFrame:
    """The answer to a CALL: ``[3, id, payload]`` (J16 §4.2.2)."""

    message_id: str
    payload: Any = field(repr=False)


@dataclass(slots=True)
class CallErrorFrame:
    """The refusal of a CALL: ``[4, id, code, description, details]`` (J16 §4.2.3)."""

    message_id: str
    code: str
    description: str = field(repr=False)
    details: dict[str, Any] = field(repr=False)


@dataclass(slots=True)
class CallResultErrorFrame:
    """The refusal of a CALLRESULT, in 2.1: ``[5, id, code, description, details]`` (4/21 §4.2.3)."""

    message_id: MessageId
    code: str
    description: str = field(repr=False)
    details: dict[str, Any] = field(repr=False)


Frame = IncomingCall | CallResultFrame | CallErrorFrame | CallResultErrorFrame


@dataclass(frozen=True, slots=True)
class FrameRules:
    """Which frames are accepted.

    Attributes:
        types: the numbers of the message types of the version (4/21 §4.1.3).
        numeric_ids: accept an integer as the message id of a CALL, SEND or CALLRESULTERROR.
        short_call_errors: accept a CALLERROR without details, or without description and details. Details that are not
            an object are stored under the key ``"details"``.
    """

    types: frozenset[int] = frozenset({CALL, CALLRESULT, CALLERROR})
    numeric_ids: bool = False
    short_call_errors: bool = False


# The number of elements of each type's array.
_SHAPES: Mapping[int, tuple[str, int]] = {
    CALL: ("CALL", 4),
    CALLRESULT: ("CALLRESULT", 3),
    CALLERROR: ("CALLERROR", 5),
    CALLRESULTERROR: ("CALLRESULTERROR", 5),
    SEND: ("SEND", 4),
}
_STRICT = FrameRules()
# The description and the details of a short CALLERROR.
_ABSENT: Sequence[Any] = ("", None)


def parse(text: str, rules: FrameRules = _STRICT) -> Frame:
    """Return the frame in ``text``; a ``null`` payload is ``{}`` (J16 §4.2.1).

    The payload itself is not checked, not even whether it is an object: validation gives the peer a better answer. If
    an object has a key twice, the last one counts.

    Raises:
        ProtocolError: it is not an OCPP-J frame; the error holds the parts that could be read.
    """
    # Counted here too, which saves a call for nearly every text.
    depth = 0 if text.count("[") + text.count("{") <= MAX_DEPTH else depth_of(text)
    if depth > READABLE_DEPTH:
        raise ProtocolError(f"it is nested more than {READABLE_DEPTH} deep", error_code="RpcFrameworkError")
    try:
        # Nearly every text is an array without white space around it; raw_decode does not look for any.
        array, end = decoder.raw_decode(text) if text.startswith("[") else (None, None)
        if end != len(text):
            array = decoder.decode(text)
    except (ValueError, RecursionError) as error:
        # ValueError: also an integer with more digits than Python converts. Neither text may go to the peer.
        raise ProtocolError(f"not JSON: {error}", error_code="RpcFrameworkError") from None
    if not isinstance(array, list) or len(array) < 2:
        raise ProtocolError("not a JSON array of two or more elements", error_code="RpcFrameworkError")
    kind, message_id = array[0], array[1]
    if type(kind) is not int:
        raise ProtocolError("its message type is not an integer", error_code="RpcFrameworkError")
    if kind not in rules.types:
        readable = message_id if isinstance(message_id, str) else None
        raise ProtocolError(
            f"unknown message type {shown(str(kind), 40)}",
            error_code="MessageTypeNotSupported",
            message_id=readable,
            message_type=kind,
        )
    if not isinstance(message_id, str) and not _is_numeric_id(kind, message_id, rules):
        raise _malformed(kind, None, "its message id is not a string", "RpcFrameworkError")
    expected = _SHAPES[kind][1]
    if len(array) != expected and not (kind == CALLERROR and rules.short_call_errors and len(array) in (3, 4)):
        raise _malformed(kind, message_id, f"{len(array)} elements where {expected} are expected", "RpcFrameworkError")
    if depth > MAX_DEPTH:
        raise _malformed(kind, message_id, f"it is nested more than {MAX_DEPTH} deep", "FormatViolation")
    if kind in (CALL, SEND):
        action, payload = array[2], array[3]
        if not isinstance(action, str):
            raise _malformed(kind, message_id, "its action is not a string", "RpcFrameworkError")
        return IncomingCall(message_id, action, {} if payload is None else payload, is_send=kind == SEND)
    if kind == CALLRESULT:
        return CallResultFrame(message_id, {} if array[2] is None else array[2])
    return _error(kind, message_id, array[2:], rules)


def _is_numeric_id(kind: int, message_id: object, rules: FrameRules) -> bool:
    # Answers to our CALLs repeat our ids, which are strings. A CALLRESULTERROR has the id of the peer's own CALL.
    return rules.numeric_ids and kind in (CALL, SEND, CALLRESULTERROR) and type(message_id) is int


def _error(kind: int, message_id: str, elements: list[Any], rules: FrameRules) -> CallErrorFrame | CallResultErrorFrame:
    code, *rest = elements
    description, details = (*rest, *_ABSENT[len(rest) :])
    if not isinstance(code, str) or not isinstance(description, str):
        raise _malformed(kind, message_id, "its code or its description is not a string", "FormatViolation")
    if details is not None and not isinstance(details, dict):
        if not rules.short_call_errors:
            raise _malformed(kind, message_id, "its details are not an object", "FormatViolation")
        details = {"details": details}
    return (CallErrorFrame if kind == CALLERROR else CallResultErrorFrame)(message_id, code, description, details or {})


def _malformed(kind: int, message_id: MessageId | None, fault: str, error_code: str) -> ProtocolError:
    return ProtocolError(
        f"malformed {_SHAPES[kind][0]}: {fault}", error_code=error_code, message_id=message_id, message_type=kind
    )


def call(message_id: str, action: str, payload: Any) -> str:
    """Return the text of a CALL.

    Raises:
        TypeError, ValueError: the payload holds something that JSON cannot represent, such as NaN or a date.
    """
    return write([CALL, message_id, action, payload])


def send(message_id: str, action: str, payload: Any) -> str:
    """Return the text of a SEND; raises what `call` raises."""
    return write([SEND, message_id, action, payload])


def call_result(message_id: MessageId, payload: Any) -> str:
    """Return the text of a CALLRESULT; raises what `call` raises."""
    return write([CALLRESULT, message_id, payload])


def call_error(
    message_id: MessageId, code: str, description: str = "", details: Mapping[str, Any] | None = None
) -> str:
    """Return the text of a CALLERROR; raises what `call` raises."""
    return write([CALLERROR, message_id, code, description, details or {}])


def call_result_error(message_id: str, code: str, description: str = "") -> str:
    """Return the text of a CALLRESULTERROR."""
    return write([CALLRESULTERROR, message_id, code, description, {}])

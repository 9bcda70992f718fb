"""The exceptions of ocppsync, and the error codes of a CALLERROR in each version's spelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

__all__ = [
    "CallError",
    "CallErrorReceived",
    "ConnectionLostError",
    "Delivery",
    "HandshakeError",
    "InvalidResponseError",
    "NotConnectedError",
    "NotRegisteredError",
    "OCPPError",
    "OCPPRequestError",
    "ProtocolError",
    "QueueFullError",
    "RequestTimeoutError",
    "ValidationError",
    "VersionMismatchError",
    "Violation",
]

# One row a code: 1.6's spelling, and the 2.x spelling, which is the one used inside this library (J16 table 7, 4/201
# table 8, 4/21 table 9). 1.6 keeps its two odd spellings on purpose (JE16 5.1, 5.2) and lacks the last two codes, for
# which the nearest thing it has is sent; where a spelling stands twice, the upper row counts.
_CODES: tuple[tuple[str, str], ...] = (
    # 1.6, 2.x
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
    ("FormationViolation", "RpcFrameworkError"),
    ("GenericError", "MessageTypeNotSupported"),
)
_TO_16: Mapping[str, str] = {spelling: old for old, new in reversed(_CODES) for spelling in (new, old)}
_TO_2X: Mapping[str, str] = {spelling: new for old, new in reversed(_CODES) for spelling in (old, new)}


def spell(code: str, version: str) -> str | None:
    """Return ``code`` as ``version`` writes it, or None when no version knows it.

    Either spelling is understood: ``spell("FormatViolation", "1.6")`` is ``"FormationViolation"``.
    """
    return (_TO_16 if version == "1.6" else _TO_2X).get(code)


class OCPPError(Exception):
    """The base of every exception that this library raises on purpose."""


Delivery = Literal["not_sent", "unknown", "answered"]
"""How far a request got: ``"not_sent"`` (a retry is safe), ``"unknown"`` (it was written, and may have been acted
on) or ``"answered"`` (the peer's answer came)."""


class OCPPRequestError(OCPPError):
    """A request to the peer did not bring a usable answer.

    Attributes:
        charge_point_id: the charge point at the other end, or this one's own id on the charge point side.
        action: the OCPP action, such as ``"Reset"``.
        message_id: the id of the CALL, or None when none was made.
        delivery: how far the request got; see `Delivery`.
    """

    def __init__(
        self, message: str, *, charge_point_id: str, action: str, message_id: str | None, delivery: Delivery
    ) -> None:
        super().__init__(message)
        self.charge_point_id = charge_point_id
        self.action = action
        self.message_id = message_id
        self.delivery: Delivery = delivery


class NotConnectedError(OCPPRequestError):
    """There is no connection to that charge point; nothing was written (delivery ``"not_sent"``)."""


class NotRegisteredError(OCPPRequestError):
    """The central system has not accepted this charge point's BootNotification yet; nothing was written (delivery
    ``"not_sent"``; C16 §4.2, 2/201 B01.FR.08)."""


class QueueFullError(OCPPRequestError):
    """Too many requests wait for their turn on that connection; nothing was written (delivery ``"not_sent"``)."""


class VersionMismatchError(OCPPRequestError):
    """The charge point negotiated another version than the one that was asked for; nothing was written (delivery
    ``"not_sent"``)."""


class RequestTimeoutError(OCPPRequestError, TimeoutError):
    """No answer came in time (J16 §4.1.1).

    delivery is ``"not_sent"`` when the request still waited for its turn, else ``"unknown"``.
    """


class ConnectionLostError(OCPPRequestError):
    """The connection ended before the answer came (delivery ``"not_sent"`` or ``"unknown"``)."""


class CallErrorReceived(OCPPRequestError):
    """The peer answered with a CALLERROR (J16 §4.2.3; delivery ``"answered"``).

    Attributes:
        code: the error code in the spelling of the connection's version; a code that no version knows is
            ``"GenericError"``.
        raw_code: the code exactly as the peer wrote it.
        description: the peer's text, possibly empty.
        details: the peer's details, an object, possibly empty.
    """

    def __init__(
        self,
        *,
        code: str,
        raw_code: str,
        description: str,
        details: Mapping[str, Any],
        charge_point_id: str,
        action: str,
        message_id: str,
    ) -> None:
        text = f"{charge_point_id} answered {action} with CALLERROR {raw_code}"
        super().__init__(
            f"{text}: {description}" if description else text,
            charge_point_id=charge_point_id,
            action=action,
            message_id=message_id,
            delivery="answered",
        )
        self.code = code
        self.raw_code = raw_code
        self.description = description
        self.details = details


class InvalidResponseError(OCPPRequestError):
    """The peer's answer breaks the schema of its message, or is no OCPP-J answer (delivery ``"answered"``).

    Attributes:
        validation_error: the `ValidationError` with every violation; None when the frame itself was malformed.
        payload: the answer as it came, when there was one.
    """

    def __init__(
        self,
        message: str,
        *,
        charge_point_id: str,
        action: str,
        message_id: str,
        validation_error: ValidationError | None = None,
        payload: Any = None,
    ) -> None:
        super().__init__(
            message, charge_point_id=charge_point_id, action=action, message_id=message_id, delivery="answered"
        )
        self.validation_error = validation_error
        self.payload = payload


class CallError(OCPPError):
    """Raise it in a handler to answer the CALL with a CALLERROR (J16 §4.2.3).

    Args:
        code: one of the specification's codes, such as ``"NotSupported"``; the spelling of any version will do, the
            wire gets the connection's own.
        description: a text for the peer's log; it is sent as it is, so keep secrets out of it.
        details: a JSON object with more.

    Raises:
        ValueError: no version knows the code.
    """

    def __init__(self, code: str, description: str = "", details: Mapping[str, Any] | None = None) -> None:
        if spell(code, "2.1") is None:
            known = ", ".join(sorted(_TO_2X))
            raise ValueError(f"{code!r} is no OCPP error code; one of {known} was expected")
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description
        self.details: dict[str, Any] = dict(details or {})


class Violation(NamedTuple):
    """One thing that is wrong with a payload."""

    path: str
    """Where: ``meterValue[0].sampledValue[2].unit``; empty for the payload itself."""
    message: str
    """What was found and what was expected."""
    keyword: str
    """The JSON-schema keyword that was violated, such as ``"required"`` or ``"maxLength"``."""


class ValidationError(OCPPError, ValueError):
    """A payload breaks the schema of its message, or the action does not exist in that version or direction.

    Attributes:
        action: the OCPP action.
        errors: every `Violation`, the most telling first.
        error_code: what a CALLERROR says about it, in the spelling of the version that was asked for.
    """

    def __init__(self, message: str, *, action: str, errors: Sequence[Violation], error_code: str) -> None:
        super().__init__(message)
        self.action = action
        self.errors = tuple(errors)
        self.error_code = error_code

    def described(self) -> str:
        """Return the first violation in a line, with its place."""
        if not self.errors:
            return str(self)
        path, message, _ = self.errors[0]
        return f"{path}: {message}" if path else message


class HandshakeError(OCPPError):
    """A charge point could not open its connection.

    Attributes:
        status: the HTTP status that the central system answered, or None when it did not get that far.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ProtocolError(OCPPError):
    """A message that is not an OCPP-J frame (J16 §4.2).

    Attributes:
        error_code: the 2.x name of the error; `spell` gives the connection's own.
        message_id: the id of the frame where it could be read, else None.
        message_type: the number of the frame's type where it could be read, else None.
    """

    def __init__(
        self, message: str, *, error_code: str, message_id: str | int | None = None, message_type: int | None = None
    ) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message_id = message_id
        self.message_type = message_type

"""The exceptions of ocppsync, and the CALLERROR error codes in the spelling of each version."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from .faults.printable import shown

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

# One row per code: the 1.6 spelling and the 2.x spelling, which this library uses internally (J16 table 7, 4/201
# table 8, 4/21 table 9). 1.6 keeps its two misspellings on purpose (JE16 5.1, 5.2) and lacks the last two codes, so the
# nearest code of 1.6 replaces them. Where a spelling occurs twice, the upper row wins.
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
    """Return ``code`` in the spelling of ``version``, or None if no version defines it.

    Accepts either spelling: ``spell("FormatViolation", "1.6")`` is ``"FormationViolation"``.
    """
    return (_TO_16 if version == "1.6" else _TO_2X).get(code)


def reduce_error(self: BaseException) -> tuple[Any, ...]:
    """Return how to pickle and copy an exception: with all its attributes, and its cause if that can be pickled.

    It is the ``__reduce__`` of every exception of this library. The one that exceptions have calls the class with
    ``error.args``, which fails for an ``__init__`` with any other parameters.
    """
    state = dict(self.__dict__)
    if self.__cause__ is not None and _can_be_pickled(self.__cause__):
        state["__cause__"] = self.__cause__
    state["__suppress_context__"] = self.__suppress_context__
    return _restore_error, (type(self), self.args), state


def _restore_error(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    # Without __init__; the rest of the state follows.
    error = kind.__new__(kind, *args)
    error.args = args
    return error


def _can_be_pickled(cause: BaseException) -> bool:
    # A cause is any exception of any library. Some can be pickled and not unpickled, so both are tried. One of this
    # library leaves out its own cause in turn, so that is not tried here again: it would double with each in a chain.
    parts = (type(cause), cause.args, cause.__dict__) if isinstance(cause, OCPPError) else cause
    try:
        pickle.loads(pickle.dumps(parts))  # noqa: S301 (this process has just pickled it)
    except Exception:
        return False
    return True


class OCPPError(Exception):
    """Base class of the exceptions that this library raises.

    They can be pickled and copied with all their attributes, so they may cross from one process to another.
    """

    __reduce__ = reduce_error


Delivery = Literal["not_sent", "unknown", "answered"]
"""How far a request got: ``"not_sent"`` (a retry is safe), ``"unknown"`` (it was written; the peer may have acted on
it) or ``"answered"`` (the peer answered)."""


class OCPPRequestError(OCPPError):
    """A request to the peer got no usable answer.

    Attributes:
        charge_point_id: the charge point of the connection; on the charge point side, its own id.
        action: the OCPP action, such as ``"Reset"``.
        message_id: the id of the CALL; None if no CALL was created.
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
    """There is no connection; nothing was written (delivery ``"not_sent"``)."""


class NotRegisteredError(OCPPRequestError):
    """The central system has not accepted this charge point's BootNotification yet; nothing was written (delivery
    ``"not_sent"``; C16 §4.2, 2/201 B01.FR.08)."""


class QueueFullError(OCPPRequestError):
    """Too many requests are queued on the connection; nothing was written (delivery ``"not_sent"``)."""


class VersionMismatchError(OCPPRequestError):
    """The connection speaks another version than the request asks for; nothing was written (delivery
    ``"not_sent"``)."""


class RequestTimeoutError(OCPPRequestError, TimeoutError):
    """The peer did not answer in time (J16 §4.1.1).

    delivery is ``"not_sent"`` if the request was still queued, else ``"unknown"``.
    """


class ConnectionLostError(OCPPRequestError):
    """The connection ended before the answer arrived (delivery ``"not_sent"`` or ``"unknown"``)."""


class CallErrorReceived(OCPPRequestError):
    """The peer answered with a CALLERROR (J16 §4.2.3; delivery ``"answered"``).

    Attributes:
        code: the error code in the spelling of the connection's version; ``"GenericError"`` for a code that no version
            defines.
        raw_code: the code exactly as the peer sent it.
        description: the peer's text, possibly empty, with secrets that it quotes replaced by ``***``.
        details: the peer's details, a JSON object, possibly empty.

    The text of the error shows the description without secrets, which it may quote; ``***`` if the request had any.
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
        peer: str | None = None,
        masked_description: str | None = None,
    ) -> None:
        # The peer may have written anything, even a secret, and the text ends in logs.
        text = f"{peer or charge_point_id} answered {action} with CALLERROR {shown(raw_code)}"
        told = description if masked_description is None else masked_description
        super().__init__(
            f"{text}: {shown(told)}" if told else text,
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
    """The peer's answer violates its schema, or is not a valid OCPP-J frame (delivery ``"answered"``).

    Attributes:
        validation_error: the `ValidationError` with the violations; None if the frame itself was malformed.
        payload: the payload as received; None if there was none.
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
        code: an error code of the specification, such as ``"NotSupported"``, in the spelling of any version; it is sent
            in the spelling of the connection's version.
        description: a text for the peer's log. It is sent unchanged, so keep secrets out of it.
        details: more information, as a JSON object.

    Raises:
        ValueError: no version defines the code.
    """

    def __init__(self, code: str, description: str = "", details: Mapping[str, Any] | None = None) -> None:
        if spell(code, "2.1") is None:
            known = ", ".join(sorted(_TO_2X))
            raise ValueError(f"unknown OCPP error code {code!r}; known: {known}")
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description
        self.details: dict[str, Any] = dict(details or {})


class Violation(NamedTuple):
    """One schema violation of a payload."""

    path: str
    """The place in the payload: ``meterValue[0].sampledValue[2].unit``; empty for the payload itself."""
    message: str
    """What was found and what was expected."""
    keyword: str
    """The violated JSON Schema keyword, such as ``"required"`` or ``"maxLength"``."""


class ValidationError(OCPPError, ValueError):
    """A payload violates its schema, or the action does not exist in that version or direction.

    Attributes:
        action: the OCPP action.
        errors: the violations found, the most significant first; at most 20.
        error_code: the error code for a CALLERROR, in the spelling of the version that the payload was validated for.
    """

    def __init__(self, message: str, *, action: str, errors: Sequence[Violation], error_code: str) -> None:
        super().__init__(message)
        self.action = action
        self.errors = tuple(errors)
        self.error_code = error_code

    def described(self) -> str:
        """Return the first violation with its place, on one line."""
        if not self.errors:
            return str(self)
        path, message, _ = self.errors[0]
        return f"{path}: {message}" if path else message


class HandshakeError(OCPPError):
    """A charge point could not open its connection.

    Attributes:
        status: the HTTP status of the central system's response; None if there was no response.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ProtocolError(OCPPError):
    """A message is not a valid OCPP-J frame (J16 §4.2).

    Attributes:
        error_code: the error code in the 2.x spelling; `spell` converts it to the connection's version.
        message_id: the message id of the frame; None if it could not be read.
        message_type: the message type number of the frame; None if it could not be read.
    """

    def __init__(
        self, message: str, *, error_code: str, message_id: str | int | None = None, message_type: int | None = None
    ) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message_id = message_id
        self.message_type = message_type

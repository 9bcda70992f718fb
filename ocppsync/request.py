"""The arguments of a handler: the request and its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

from typing_extensions import TypeVar

from .errors import ValidationError
from .masking.messages import masked
from .wire.http import HttpRequest

__all__ = ["CallResultErrorReceived", "ConnectionMetadata", "Request", "RequestMetadata"]

_DEFAULT_VERSION: Any = "1.6"

Action_co = TypeVar("Action_co", bound=str, covariant=True, default=str)
Payload_co = TypeVar("Payload_co", covariant=True, default=Any)
Version_co = TypeVar("Version_co", bound=str, covariant=True, default=str)


@dataclass(frozen=True)
class ConnectionMetadata:
    """Identifies the connection and its charge point."""

    charge_point_id: str
    ocpp_version: str
    """``"1.6"``, ``"2.0.1"`` or ``"2.1"``."""
    http_request: HttpRequest
    """The request that opened the connection."""


@dataclass(frozen=True)
class CallResultErrorReceived:
    """A CALLRESULTERROR: the peer could not process an answer that this end sent (4/21 §4.2.3). It has no answer."""

    charge_point_id: str
    action: str
    message_id: str
    code: str
    """The error code; ``"GenericError"`` for a code that no version defines."""
    raw_code: str
    """The code exactly as the peer sent it."""
    description: str = field(repr=False)
    details: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RequestMetadata(ConnectionMetadata):
    """Identifies a request, its connection and its charge point."""

    message_id: str
    validation_error: ValidationError | None = None
    """Why the payload is invalid; set only with ``reject_invalid_requests=False`` or a `Validation` of ``"warn"``."""

    @classmethod
    def of(cls, connection: ConnectionMetadata, message_id: str, fault: ValidationError | None) -> RequestMetadata:
        """Return the metadata of a request over a connection."""
        made = cls.__new__(cls)
        # 0.4 times the time of __init__, which sets the fields of a frozen class one by one.
        fields = made.__dict__
        fields.update(connection.__dict__)
        fields["message_id"], fields["validation_error"] = message_id, fault
        return made


@dataclass(frozen=True)
class Request(Generic[Action_co, Payload_co, Version_co]):
    """A CALL, as passed to the single handler.

    Comparing ``action`` tells a type checker the type of ``payload``. A handler for several versions of OCPP compares
    ``version`` first.
    """

    action: Action_co
    payload: Payload_co
    """The payload as received."""
    version: Version_co = _DEFAULT_VERSION
    """The version of OCPP that the connection speaks: ``"1.6"``, ``"2.0.1"`` or ``"2.1"``."""

    def __repr__(self) -> str:
        return f"Request(action={self.action!r}, payload={masked(self.payload)!r}, version={self.version!r})"

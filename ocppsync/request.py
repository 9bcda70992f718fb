"""What a handler is given: the request, and what is known about who sent it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic

from typing_extensions import TypeVar

from .errors import ValidationError
from .wire.http import HttpRequest

__all__ = ["CallResultErrorReceived", "ConnectionMetadata", "Request", "RequestMetadata"]

_DEFAULT_VERSION: Any = "1.6"

Action_co = TypeVar("Action_co", bound=str, covariant=True, default=str)
Payload_co = TypeVar("Payload_co", covariant=True, default=Any)
Version_co = TypeVar("Version_co", bound=str, covariant=True, default=str)


@dataclass(frozen=True)
class ConnectionMetadata:
    """Whose connection it is."""

    charge_point_id: str
    ocpp_version: str
    """``"1.6"``, ``"2.0.1"`` or ``"2.1"``."""
    http_request: HttpRequest
    """The request that opened the connection."""


@dataclass(frozen=True)
class CallResultErrorReceived:
    """The peer could not use an answer of ours (4/21 §4.2.3); nothing can be done about it but to look into it."""

    charge_point_id: str
    action: str
    message_id: str
    code: str
    """The error code; one that no version knows is ``"GenericError"``."""
    raw_code: str
    """The code exactly as the peer wrote it."""
    description: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class RequestMetadata(ConnectionMetadata):
    """Who sent a request, and over what."""

    message_id: str
    validation_error: ValidationError | None = None
    """What is wrong with the payload; only ever set under ``reject_invalid_requests=False``, or where `Validation` says
    ``"warn"``."""


@dataclass(frozen=True)
class Request(Generic[Action_co, Payload_co, Version_co]):
    """A CALL as the single handler gets it.

    Comparing ``action`` tells a type checker the type of ``payload``; where a handler serves several versions of OCPP,
    ``version`` is compared first.
    """

    action: Action_co
    payload: Payload_co
    """The payload of the wire, untouched."""
    version: Version_co = _DEFAULT_VERSION
    """The version of OCPP that the connection speaks: ``"1.6"``, ``"2.0.1"`` or ``"2.1"``."""

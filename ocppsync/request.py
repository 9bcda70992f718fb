"""What a handler is given: the request, and what is known about who sent it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from typing_extensions import TypeVar

from .errors import ValidationError

__all__ = ["CallResultErrorReceived", "ConnectionMetadata", "Headers", "HttpRequest", "Request", "RequestMetadata"]

_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})
_DEFAULT_VERSION: Any = "1.6"

Action_co = TypeVar("Action_co", bound=str, covariant=True, default=str)
Payload_co = TypeVar("Payload_co", covariant=True, default=Any)
Version_co = TypeVar("Version_co", bound=str, covariant=True, default=str)


class Headers(Mapping[str, str]):
    """HTTP headers: names are compared without case; a header that came more than once is joined by ``", "``."""

    __slots__ = ("_fields", "_joined")

    def __init__(self, fields: tuple[tuple[str, str], ...] = ()) -> None:
        self._fields = fields
        joined: dict[str, str] = {}
        for name, value in fields:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        self._joined = joined

    def __getitem__(self, name: str) -> str:
        return self._joined[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined)

    def __len__(self) -> int:
        return len(self._joined)

    def get_all(self, name: str) -> list[str]:
        """Return the values of every header of that name, in the order they came."""
        return [value for key, value in self._fields if key.lower() == name.lower()]

    def __repr__(self) -> str:
        # Credentials must not reach a log through a repr.
        shown = {name: "***" if name in _SECRET else value for name, value in self._joined.items()}
        return f"Headers({shown})"


@dataclass(frozen=True)
class HttpRequest:
    """The HTTP request that a charge point opened its WebSocket with (J16 §3.1)."""

    method: str
    path: str
    """The path as it came, still percent-encoded: ``/ocpp/CP%201``."""
    query: str
    """What followed the ``?``, without it; empty when nothing did."""
    headers: Headers
    remote_address: tuple[str, int]
    """Host and port of the peer of the TCP connection."""
    peer_certificate: Mapping[str, Any] | None = None
    """The verified TLS client certificate as `ssl.SSLSocket.getpeercert` shows it; None without one."""
    secure: bool = False
    """Whether it came over TLS."""
    forwarded_for: str | None = None
    """The client's address as a trusted proxy tells it; None where there is none (see `Limits.trusted_proxies`)."""

    @property
    def client_address(self) -> str:
        """The address of the client: what a trusted proxy tells, else that of the TCP connection."""
        return self.forwarded_for or self.remote_address[0]

    @property
    def basic_credentials(self) -> tuple[bytes, bytes] | None:
        """User and password of HTTP Basic authentication as raw bytes, or None.

        Bytes, because the passwords of OCPP 1.6 are keys, not text (J16 §6.2.2). They are split at the first colon.
        """
        import base64
        import binascii

        scheme, _, encoded = self.headers.get("authorization", "").strip().partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return None
        return (user, password) if colon else None


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

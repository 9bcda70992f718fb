"""The server's side of the opening handshake: who is it, may it come in, which OCPP (J16 §3)."""

from __future__ import annotations

import base64
import binascii
import http
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote

from .catalogue import SUBPROTOCOLS
from .request import Headers, HttpRequest
from .streams import Stream

_logger = logging.getLogger("ocppsync.handshake")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(r"[\x21-\x7e]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # what ends a line somewhere is among them
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TLS_HANDSHAKE = 0x16
_END_OF_HEAD = b"\r\n\r\n"
# Who names Upgrade must name it in Connection as well (RFC 9110 §7.8).
_USE_WEBSOCKET = (("Upgrade", "websocket"), ("Connection", "Upgrade, close"))

COMPRESSED_BY_DEFAULT = frozenset({"ocpp2.0.1", "ocpp2.1"})
"""The subprotocols that permessage-deflate belongs to (4/201 §3.3, 4/21 §3.4)."""

Authorize = Callable[[HttpRequest, str], bool | int]
Identify = Callable[[HttpRequest], str | None]


@dataclass(frozen=True)
class Credentials:
    """How a charge point proved that it is who it says."""

    profile: int
    """The security profile of its connection."""
    password_hash: str | None = field(default=None, repr=False)
    """The hash that its password fitted."""
    serial_number: str | None = None
    """What its client certificate names it."""


Security = Callable[[HttpRequest, str, str | None], Credentials]
"""Called with the request, the identity and the version that will be spoken; raises `RefusalError`."""


class RefusalError(Exception):
    """The upgrade is refused with an HTTP status; ``reason`` is for the log, the peer gets the bare status."""

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)


class DisconnectedError(Exception):
    """The peer went, or never spoke HTTP; there is nobody to answer. The text is for the log, at ``level``."""

    def __init__(self, reason: str, level: int = logging.INFO) -> None:
        super().__init__(reason)
        self.level = level


class Attempts(Protocol):
    """Remembers who failed to authenticate."""

    def attempt(self, address: str, charge_point_id: str) -> AbstractContextManager[None]:
        """Return what surrounds an attempt; entering it raises RefusalError if there were too many."""
        raise NotImplementedError


@dataclass(frozen=True)
class Admitted:
    """An upgrade request that was let in."""

    charge_point_id: str
    subprotocol: str | None
    """None when there is none in common: upgrade, then close at once (J16 §3.2)."""
    key: str
    extensions: str
    announce: bool = True
    """Whether the answer names the subprotocol; not to a client that named none."""
    credentials: Credentials | None = None
    """None where nothing looks at them."""


@dataclass(frozen=True)
class Gate:
    """What decides about an upgrade request.

    Args:
        protocols: the subprotocols that are served.
        default_protocol: the one that a client gets which names none; None: nothing in common.
        refuse_unknown_protocol: answer 400 where nothing is in common, instead of upgrading and closing.
        security: decides before ``authorize`` by the security profiles.
        authorize: called with the request and the identity; see `CentralSystem`.
        identify: returns the identity instead of the last path segment; None answers 404.
        doorkeeper: remembers failed authentications; None lets everybody try as often as they like.
        compression: whether permessage-deflate is accepted; None: by those who speak 2.x, whose specification asks for
            it (4/201 §3.3), and by no others (J16 §5.1).
    """

    protocols: Sequence[str]
    default_protocol: str | None = None
    refuse_unknown_protocol: bool = False
    security: Security | None = None
    authorize: Authorize | None = None
    identify: Identify | None = None
    compression: bool | None = None
    doorkeeper: Attempts | None = None
    realm: str = field(default="ocpp")

    def admit(self, request: HttpRequest) -> Admitted:
        """Return how to go on with a request: path first, then credentials, then subprotocol.

        Raises:
            RefusalError: what to answer instead.
        """
        key = check_upgrade(request)
        charge_point_id = self._identify(request)
        offered = offered_protocols(request)
        chosen = self._common(offered)
        version = None if chosen is None else SUBPROTOCOLS[chosen]
        credentials = self._authenticate(request, charge_point_id, version)
        if chosen is None and self.refuse_unknown_protocol:
            raise RefusalError(400, f"no common subprotocol: {offered} offered, {list(self.protocols)} served")
        compressing = chosen in COMPRESSED_BY_DEFAULT if self.compression is None else self.compression
        extensions = request.headers.get("sec-websocket-extensions", "") if compressing else ""
        return Admitted(charge_point_id, chosen, key, extensions, announce=bool(offered), credentials=credentials)

    def _identify(self, request: HttpRequest) -> str:
        if self.identify is None:
            return identity_of(request.path)
        try:
            identity = self.identify(request)
        except Exception as error:
            _logger.exception("identify failed")
            raise RefusalError(500, "identify failed") from error
        if not identity:
            raise RefusalError(404, "identify knows no such charge point")
        if not isinstance(identity, str):
            _logger.error("identify must return the identity as text, or None, not %r", identity)
            raise RefusalError(500, "identify returned something else than an identity")
        return identity

    def _authenticate(self, request: HttpRequest, charge_point_id: str, version: str | None) -> Credentials | None:
        if self.security is None and self.authorize is None:
            return None
        keeper = self.doorkeeper
        with nullcontext() if keeper is None else keeper.attempt(request.client_address, charge_point_id):
            credentials = None if self.security is None else self.security(request, charge_point_id, version)
            self._authorize(request, charge_point_id)
        return credentials

    def _authorize(self, request: HttpRequest, charge_point_id: str) -> None:
        if self.authorize is None:
            return
        try:
            verdict = self.authorize(request, charge_point_id)
        except Exception as error:
            _logger.exception("authorize failed for %r", charge_point_id)
            raise RefusalError(500, "authorize failed") from error
        if verdict is True:
            return
        status = 401 if verdict is False else verdict
        if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
            _logger.error("authorize must return True, False or an HTTP status from 400 to 599, not %r", verdict)
            raise RefusalError(500, "authorize returned something else than a verdict")
        challenge = [("WWW-Authenticate", f'Basic realm="{self.realm}"')] if status == 401 else []
        raise RefusalError(status, f"authorize refused {charge_point_id!r}", challenge)

    def _common(self, offered: Sequence[str]) -> str | None:
        if not offered:
            return self.default_protocol
        # The client's order decides: it lists its versions by preference (J16 §3.1.3).
        return next((name for name in offered if name in self.protocols), None)


def identity_of(path: str) -> str:
    """Return the identity that a request path ends in (J16 §3.1.1): ``/ocpp/CP%201`` is ``CP 1``.

    The path is split before it is decoded, since an identity may hold a slash as ``%2F``.

    Raises:
        RefusalError: there is none.
    """
    last = path.removesuffix("/").rpartition("/")[2]
    try:
        identity = unquote(last, errors="strict")
    except UnicodeDecodeError:
        raise RefusalError(400, "the identity in the path is not UTF-8") from None
    if not identity:
        raise RefusalError(404, "the path holds no charge point identity")
    if _CONTROL.search(identity):
        raise RefusalError(400, "the identity in the path holds control characters")
    return identity


def offered_protocols(request: HttpRequest) -> list[str]:
    """Return the subprotocols that the client names, in its order (J16 §3.1.3)."""
    return [name for part in request.headers.get("sec-websocket-protocol", "").split(",") if (name := part.strip())]


def check_upgrade(request: HttpRequest) -> str:
    """Return the Sec-WebSocket-Key of a well-formed upgrade request (RFC 6455 §4.2.1).

    A request without any Connection header is let through: some chargers, and proxies before them, leave it out.

    Raises:
        RefusalError: it is none: 426 for plain HTTP and for another WebSocket version, 400 or 405 for the rest.
    """
    headers = request.headers
    if request.method != "GET":
        raise RefusalError(405, f"method {request.method}", [("Allow", "GET")])
    if "upgrade" not in headers:
        raise RefusalError(426, "plain HTTP, not a WebSocket", _USE_WEBSOCKET)
    if not _has_token(headers["upgrade"], "websocket"):
        raise RefusalError(400, "the Upgrade header does not ask for a WebSocket")
    if "connection" in headers and not _has_token(headers["connection"], "upgrade"):
        raise RefusalError(400, "the Connection header does not name Upgrade")
    if len(headers.get_all("host")) != 1:
        raise RefusalError(400, "not exactly one Host header")
    if headers.get("sec-websocket-version") != "13":
        raise RefusalError(426, "the WebSocket version is not 13", [("Sec-WebSocket-Version", "13"), *_USE_WEBSOCKET])
    key = headers.get("sec-websocket-key", "")
    try:
        length = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if length != 16:
        raise RefusalError(400, "the Sec-WebSocket-Key header is missing or is not 16 bytes in base64")
    return key


def _has_token(value: str, token: str) -> bool:
    return any(part.strip().lower() == token for part in value.split(","))


def read_request(stream: Stream, *, deadline: float, max_header_size: int) -> HttpRequest:
    """Read an HTTP request's head; what came after it stays in the stream.

    Args:
        stream: a new connection.
        deadline: on `time.monotonic`, for the whole head however slowly it comes.
        max_header_size: in bytes.

    Raises:
        RefusalError: it is malformed, too large or too slow.
        DisconnectedError: the peer went, or speaks TLS.
    """
    head = bytearray()
    while (end := head.find(_END_OF_HEAD)) < 0:
        if len(head) >= max_header_size + len(_END_OF_HEAD):
            raise RefusalError(431, f"the request head is larger than {max_header_size} bytes")
        data = _read_some(stream, deadline)
        if not data:
            raise DisconnectedError("the peer closed the connection" + (" in the request head" if head else ""))
        if not head and data[0] == _TLS_HANDSHAKE:
            raise DisconnectedError("the peer speaks TLS (wss), and this port is plain (ws)", logging.WARNING)
        head += data
    if end > max_header_size:
        raise RefusalError(431, f"the request head is larger than {max_header_size} bytes")
    stream.unread(bytes(head[end + len(_END_OF_HEAD) :]))
    return _parse_head(bytes(head[:end]), stream)


def _read_some(stream: Stream, deadline: float) -> bytes:
    remaining = deadline - time.monotonic()
    if remaining > 0:
        stream.set_read_timeout(remaining)
        try:
            return stream.recv(4096)
        except TimeoutError:
            pass
        except OSError as error:
            raise DisconnectedError(f"the connection broke: {error}") from error
    raise RefusalError(408, "the request did not come in time")


def _parse_head(head: bytes, stream: Stream) -> HttpRequest:
    request_line, *lines = head.decode("latin-1").split("\r\n")
    parts = request_line.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise RefusalError(400, f"no HTTP request line: {request_line[:80]!r}")
    method, target, version = parts
    if version != "HTTP/1.1":
        raise RefusalError(505 if version.startswith("HTTP/") else 400, f"HTTP version {version[:20]!r}")
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        # The absolute form, which a proxy may pass on (RFC 9112 §3.2.2).
        scheme, separator, rest = path.partition("://")
        if not separator or scheme.lower() not in {"http", "https", "ws", "wss"}:
            raise RefusalError(400, f"no path in the request line: {target[:80]!r}")
        path = "/" + rest.partition("/")[2]
    return HttpRequest(
        method=method,
        path=path,
        query=query,
        headers=Headers(tuple(_parse_field(line, number) for number, line in enumerate(lines, 2))),
        remote_address=stream.remote_address,
        peer_certificate=stream.peer_certificate,
        secure=stream.secure,
    )


def _parse_field(line: str, number: int) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        # By its number alone: it may hold the credentials.
        raise RefusalError(400, f"line {number} of the request is no HTTP header")
    return name, value


def refusal_parts(refusal: RefusalError) -> tuple[str, list[tuple[str, str]], str]:
    """Return the status with its phrase, the headers and the body for a refusal; they tell the status and no more."""
    try:
        phrase = http.HTTPStatus(refusal.status).phrase
    except ValueError:
        phrase = "Refused"
    status = f"{refusal.status} {phrase}"
    body = f"{status}\n"
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    return status, [*refusal.headers, *headers], body


def refusal_response(refusal: RefusalError) -> bytes:
    """Return the whole HTTP response for a refusal."""
    status, fields, body = refusal_parts(refusal)
    if not any(name == "Connection" for name, _ in fields):
        fields.append(("Connection", "close"))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status}\r\n{head}\r\n{body}".encode("latin-1")

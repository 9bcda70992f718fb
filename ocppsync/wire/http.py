"""HTTP for the WebSocket handshake: reads an upgrade request, writes a refusal (RFC 6455 §4.2)."""

from __future__ import annotations

import base64
import binascii
import http
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from ..errors import reduce_error
from .streams import Stream

_SECRET = re.compile(r"auth|cookie|token|key|secret|password|credential|cert")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(r"[\x21-\x7e]+")
# Every line separator; half surrogate pairs, which cannot be encoded; and what changes the writing direction.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_IDENTITY = 255
"""The longest identity in characters that a central system accepts."""
_MAX_IDENTIFIER = 48
_NOT_IN_IDENTIFIERS = re.compile(r"[^A-Za-z0-9*\-_=+|@.]")  # 2/201 §2.1.4, without the colon
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_METHOD = re.compile(r"[A-Z]{1,20}")
_PROTOCOL = re.compile(r"[A-Z]{1,10}(?:/[\d.]{1,10})?")
_USERINFO = re.compile(r"(?<=://).*@")  # also one that is not encoded, with a slash or question mark in it
_TLS_HANDSHAKE = 0x16
_END_OF_HEAD = b"\r\n\r\n"
# A sender of Upgrade must also name it in Connection (RFC 9110 §7.8).
_USE_WEBSOCKET = (("Upgrade", "websocket"), ("Connection", "Upgrade, close"))


class Headers(Mapping[str, str]):
    """HTTP headers with case-insensitive names; the values of a repeated header are joined with ``", "``."""

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
        """Return the values of all headers with that name, in order."""
        return [value for key, value in self._fields if key.lower() == name.lower()]

    def __repr__(self) -> str:
        # Credentials must not reach a log through a repr, nor the query, which a proxy may put into X-Original-URI.
        shown = {
            name: "***" if _SECRET.search(name) else re.sub(r"\?.+", "?***", value)
            for name, value in self._joined.items()
        }
        return f"Headers({shown})"


@dataclass(frozen=True)
class HttpRequest:
    """The HTTP request with which a charge point opened its WebSocket (J16 §3.1)."""

    method: str
    path: str
    """The path as received, still percent-encoded: ``/ocpp/CP%201``."""
    query: str = field(repr=False)
    """The part after the ``?``; empty if there is none."""
    headers: Headers
    remote_address: tuple[str, int]
    """Host and port of the peer of the TCP connection."""
    peer_certificate: Mapping[str, Any] | None = None
    """The verified TLS client certificate, as returned by `ssl.SSLSocket.getpeercert`; None if there is none."""
    secure: bool = False
    """Whether the connection uses TLS."""
    forwarded_for: str | None = None
    """The client's address from a trusted proxy (``trusted_proxies`` of `CentralSystem`); None without one."""

    @property
    def client_address(self) -> str:
        """The client's address: from a trusted proxy if there is one, else that of the TCP connection."""
        return self.forwarded_for or self.remote_address[0]

    @property
    def basic_credentials(self) -> tuple[bytes, bytes] | None:
        """The user and password of HTTP Basic authentication as raw bytes, split at the first colon; None without them.

        They are bytes because the passwords of OCPP 1.6 are keys, not text (J16 §6.2.2).
        """
        scheme, _, encoded = self.headers.get("authorization", "").strip().partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return None
        return (user, password) if colon else None


class RefusalError(Exception):
    """The upgrade is refused with an HTTP status; ``reason`` is for the log, the peer gets only the status."""

    __reduce__ = reduce_error

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)


class DisconnectedError(Exception):
    """The peer disconnected or does not speak HTTP, so it gets no response; the text is for the log, at ``level``."""

    __reduce__ = reduce_error

    def __init__(self, reason: str, level: int = logging.INFO) -> None:
        super().__init__(reason)
        self.level = level


def identity_of(path: str) -> str:
    """Return the identity at the end of a request path (J16 §3.1.1): ``/ocpp/CP%201`` gives ``CP 1``.

    The path is split before decoding, because an identity may contain a slash as ``%2F``.

    Raises:
        RefusalError: there is no identity (404), or it is not UTF-8, too long or has control characters (400).
    """
    last = path.removesuffix("/").rpartition("/")[2]
    try:
        identity = unquote(last, errors="strict")
    except UnicodeDecodeError:
        raise RefusalError(400, "the identity in the path is not UTF-8") from None
    if not identity:
        raise RefusalError(404, "the path has no charge point identity")
    fault = identity_fault(identity)
    if fault is not None:
        raise RefusalError(400, f"the identity in the path {fault}")
    return identity


def identity_fault(identity: str) -> str | None:
    """Return why a text cannot be the identity of a charge point, as the end of a sentence, or None.

    Identities are in log lines, thread names and mappings. A peer that chooses one must not forge lines or fill memory.
    """
    if not identity:
        return "is empty"
    if len(identity) > MAX_IDENTITY:
        return f"has {len(identity)} characters; at most {MAX_IDENTITY} are allowed"
    if _CONTROL.search(identity):
        return "contains control characters"
    return None


def identifier_fault(identity: str) -> str | None:
    """Return why 2.0.1 and 2.1 do not allow an identity, as the end of a sentence, or None (4/201, 4/21 §3.1.1)."""
    if len(identity) > _MAX_IDENTIFIER:
        return f"has {len(identity)} characters; OCPP 2.0.1 and 2.1 allow {_MAX_IDENTIFIER}"
    odd = _NOT_IN_IDENTIFIERS.search(identity)
    if odd is not None:
        return f"contains {odd[0]!r}; OCPP 2.0.1 and 2.1 allow letters of ASCII, digits and * - _ = + | @ ."
    return None


def check_http_version(version: str) -> None:
    """Check the HTTP version of a request.

    Raises:
        RefusalError: 505, or 400 for what is no version.
    """
    if version != "HTTP/1.1":
        status = 505 if version.startswith("HTTP/") else 400
        # Anything else may be a part of the query, after a space in it.
        shown = repr(version) if _PROTOCOL.fullmatch(version) else f"of {len(version)} characters"
        raise RefusalError(status, f"unsupported HTTP version {shown}; expected HTTP/1.1")


def shown_target(target: str) -> str:
    """Return a request target or URL for a log or an error: without what may hold credentials, and cut.

    These are the query, the fragment, and the user and password of a URL.
    """
    return re.split("[?#]", _USERINFO.sub("", target), maxsplit=1)[0][:200]


def shown_client(request: HttpRequest) -> str:
    """Return where a request comes from, for a log: the address and port, or what a trusted proxy tells and its own."""
    host, port = request.remote_address
    return f"{host}:{port}" if request.forwarded_for is None else f"{request.forwarded_for} through {host}:{port}"


def offered_protocols(request: HttpRequest) -> list[str]:
    """Return the subprotocols that the client offers, in its order (J16 §3.1.3)."""
    return [name for part in request.headers.get("sec-websocket-protocol", "").split(",") if (name := part.strip())]


def check_upgrade(request: HttpRequest) -> str:
    """Return the Sec-WebSocket-Key of an upgrade request, after checking the request (RFC 6455 §4.2.1).

    The Connection header may be missing, because some chargers and proxies omit it.

    Raises:
        RefusalError: the request is invalid: 426 for plain HTTP or another WebSocket version, else 400 or 405.
    """
    headers = request.headers
    if request.method != "GET":
        raise RefusalError(405, f"the method is {request.method[:20]}, expected GET", [("Allow", "GET")])
    if "upgrade" not in headers:
        raise RefusalError(426, "plain HTTP, not a WebSocket", _USE_WEBSOCKET)
    if not _has_token(headers["upgrade"], "websocket"):
        raise RefusalError(400, "the Upgrade header does not contain 'websocket'")
    if "connection" in headers and not _has_token(headers["connection"], "upgrade"):
        raise RefusalError(400, "the Connection header does not contain 'Upgrade'")
    if len(headers.get_all("host")) != 1:
        raise RefusalError(400, "expected exactly one Host header")
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
    """Read and parse the head of an HTTP request; bytes after the head stay in the stream.

    Args:
        stream: a new connection.
        deadline: on `time.monotonic`, for the whole head.
        max_header_size: the longest accepted head, in bytes.

    Raises:
        RefusalError: the head is malformed, too large or too slow.
        DisconnectedError: the peer disconnected, or speaks TLS.
    """
    head = bytearray()
    while (end := head.find(_END_OF_HEAD)) < 0:
        if len(head) >= max_header_size + len(_END_OF_HEAD):
            raise RefusalError(431, f"the request head is larger than {max_header_size} bytes")
        data = _read_some(stream, deadline)
        if not data:
            raise DisconnectedError("the peer closed the connection" + (" in the request head" if head else ""))
        if not head and data[0] == _TLS_HANDSHAKE:
            raise DisconnectedError("the peer speaks TLS (wss), but this port is plain (ws)", logging.WARNING)
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
    raise RefusalError(408, "the request did not arrive in time")


def _parse_head(head: bytes, stream: Stream) -> HttpRequest:
    request_line, *lines = head.decode("latin-1").split("\r\n")
    parts = request_line.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise RefusalError(400, f"invalid HTTP request line: {_shown_line(request_line)}")
    method, target, version = parts
    check_http_version(version)
    target, _, query = target.partition("?")
    return HttpRequest(
        method=method,
        path=path_of(target),
        query=query,
        headers=Headers(tuple(_parse_field(line, number) for number, line in enumerate(lines, 2))),
        remote_address=stream.remote_address,
        peer_certificate=stream.peer_certificate,
        secure=stream.secure,
    )


def path_of(target: str) -> str:
    """Return the path of a request target without its query; it may be a URL, as proxies forward it (RFC 9112 §3.2.2).

    Raises:
        RefusalError: 400, it is neither.
    """
    if target.startswith("/"):
        return target
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in {"http", "https", "ws", "wss"}:
        raise RefusalError(400, f"no path in the request line: {shown_target(target)!r}")
    return "/" + rest.partition("/")[2]


def _shown_line(line: str) -> str:
    # Only the method and the path: the query may hold credentials, or the line may be one of the headers.
    method, _, rest = line.partition(" ")
    if not _METHOD.fullmatch(method):
        return f"{len(line)} characters"
    words = shown_target(rest).split(" ")
    return repr(f"{method} {words[0][:80]}")


def _parse_field(line: str, number: int) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip(" \t")
    if not colon or not is_field(name, value):
        # Only the line number: the line may contain credentials.
        raise RefusalError(400, f"line {number} of the request is not a valid HTTP header")
    return name, value


def is_field(name: str, value: str) -> bool:
    """Return whether HTTP allows a header: its name, and its value without the spaces around it (RFC 9110 §5.5)."""
    return bool(_TOKEN.fullmatch(name) and _FIELD_VALUE.fullmatch(value)) and value == value.strip(" \t")


def refusal_parts(refusal: RefusalError) -> tuple[str, list[tuple[str, str]], str]:
    """Return the status line, headers and body of the response to a refused request; they show only the status."""
    try:
        phrase = http.HTTPStatus(refusal.status).phrase
    except ValueError:
        phrase = "Refused"
    status = f"{refusal.status} {phrase}"
    body = f"{status}\n"
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    return status, [*refusal.headers, *headers], body


def refusal_response(refusal: RefusalError) -> bytes:
    """Return the HTTP response to a refused request."""
    status, fields, body = refusal_parts(refusal)
    if not any(name == "Connection" for name, _ in fields):
        fields.append(("Connection", "close"))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status}\r\n{head}\r\n{body}".encode("latin-1")


def send_refusal(stream: Stream, refusal: RefusalError) -> bool:
    """Answer a request with a refusal, and let the peer read it; for the reading thread, which may wait.

    Return whether it was sent.
    """
    try:
        stream.buffer(refusal_response(refusal))
        stream.flush()
    except OSError:
        return False
    stream.linger()
    return True


def check_headers(headers: Sequence[tuple[str, str]]) -> None:
    """Raise ValueError if one of these headers cannot be sent; its text shows no value, which may be a token."""
    for number, (name, value) in enumerate(headers):
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ValueError(f"headers[{number}] has no valid name: expected letters, digits and hyphens")
        if not isinstance(value, str) or not is_field(name, value):
            text = "expected text in ISO 8859-1 without line ends, and without spaces at its ends"
            raise ValueError(f"headers[{number}]: the value of {name[:50]!r} cannot be sent: {text}")


def basic_authorization(user: str, password: str | bytes | None) -> list[tuple[str, str]]:
    """Return the header of HTTP Basic authentication as a list, empty without a password (J16 §6.2.2)."""
    if password is None:
        return []
    secret = password.encode() if isinstance(password, str) else password
    return [("Authorization", "Basic " + base64.b64encode(user.encode() + b":" + secret).decode("ascii"))]

"""A charge point's endpoint, the URL of its central system with the identity, and how to connect to it (J16 §3.1.1)."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import SplitResult, quote, urlsplit

from ..errors import HandshakeError
from . import upgrade
from .http import Headers, HttpRequest, identifier_fault, identity_fault, shown_target
from .streams import Stream, TLSStream
from .tls import server_fault
from .websocket import WebSocket

# Characters allowed unescaped in a path segment (RFC 3986 §3.3), so that most identities stay readable.
_SEGMENT = "-._~!$&'()*+,;=:@"
# With "%": the URL may already be percent-encoded.
_PATH = _SEGMENT + "/%"
_QUERY = _PATH + "?"


class Endpoint:
    """The URL that a charge point connects to.

    Args:
        url: the URL without the identity.
        charge_point_id: the identity, which is percent-encoded and appended to the path.
        any_identity: whether the identity may be one that 2.0.1 and 2.1 do not allow.

    Raises:
        ValueError: ``url`` is not a valid ws or wss URL, or the identity is empty, too long or has characters that are
            not allowed.
    """

    def __init__(self, url: str, charge_point_id: str, *, any_identity: bool = True) -> None:
        parts = _split(url)
        if parts is None or not parts.hostname:
            # Without the user information and the query: they may hold credentials.
            shown = shown_target(url)
            raise ValueError(f"invalid URL {shown!r}: expected one such as ws://host:port/path or wss://host/path")
        fault = identity_fault(charge_point_id)
        if fault is None and not any_identity:
            fault = identifier_fault(charge_point_id)
            fault = None if fault is None else f"{fault}, unless a ChargePoint is given Lenient(any_identity=True)"
        if fault is not None:
            raise ValueError(f"the identity of the charge point {fault}: {charge_point_id[:50]!r}")
        self.charge_point_id = charge_point_id
        self.secure = parts.scheme == "wss"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        path = f"{quote(parts.path.rstrip('/'), safe=_PATH)}/{quote(charge_point_id, safe=_SEGMENT)}"
        query = quote(parts.query, safe=_QUERY)
        self.target = f"{path}?{query}" if query else path
        self.host_header = parts.netloc.rpartition("@")[2]
        self.url = f"{parts.scheme}://{self.host_header}{self.target}"
        self.http_request = HttpRequest("GET", path, query, Headers(), (self.host, self.port))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("ws", "wss") and not parts.fragment and parts.port != 0
        (parts.hostname or "").encode("idna")  # as `socket` does: an empty label, or one that is too long
    except ValueError:
        return None
    return parts if is_valid else None


def open_websocket(
    endpoint: Endpoint,
    *,
    deadline: float,
    subprotocols: Sequence[str],
    headers: Sequence[tuple[str, str]] = (),
    compression: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    write_timeout: float,
    max_message_size: int,
    name: str,
    peer: str | None = None,
    log_fields: Mapping[str, object] | None = None,
    on_data: Callable[[bytes], object] | None = None,
) -> WebSocket:
    """Connect to a central system and return the open WebSocket: TCP, TLS for a wss URL, upgrade (J16 §3.1).

    Args:
        endpoint: the endpoint of the central system.
        deadline: on `time.monotonic`, for all steps together.
        subprotocols: the offered subprotocols, in order of preference.
        headers: additional headers, such as Authorization.
        compression: whether to offer permessage-deflate.
        ssl_context: for a wss URL; None: the system trust store.
        write_timeout: the longest time of one write, in seconds.
        max_message_size: the longest accepted message, in bytes.
        name: the name of the connection, for the log and thread names.
        peer: the name of the peer, in log lines about what it did; None: ``name``.
        log_fields: attributes of log records about the connection.
        on_data: called with all bytes read, after decryption.

    Raises:
        HandshakeError: the connection could not be opened; its socket is closed.
    """
    stream = _open_stream(endpoint, deadline, ssl_context, write_timeout, on_data)
    try:
        return upgrade.connect(
            stream,
            host=endpoint.host_header,
            target=endpoint.target,
            subprotocols=subprotocols,
            headers=headers,
            compression=compression,
            deadline=deadline,
            max_message_size=max_message_size,
            name=name,
            peer=peer,
            log_fields=log_fields,
        )
    except BaseException:
        stream.close()
        raise


def _open_stream(
    endpoint: Endpoint,
    deadline: float,
    ssl_context: ssl.SSLContext | None,
    write_timeout: float,
    on_data: Callable[[bytes], object] | None,
) -> Stream:
    try:
        sock = _open_socket(endpoint.host, endpoint.port, deadline)
    except OSError as error:
        raise HandshakeError(f"cannot connect to {endpoint.host}:{endpoint.port}: {error}") from error
    try:
        if not endpoint.secure:
            return Stream(sock, write_timeout=write_timeout, on_data=on_data)
        stream = TLSStream(
            sock,
            context=ssl_context or ssl.create_default_context(),
            server_hostname=endpoint.host,
            write_timeout=write_timeout,
            on_data=on_data,
        )
        stream.handshake(deadline)
    except BaseException as error:
        sock.close()
        if not isinstance(error, OSError):
            raise  # such as Ctrl-C
        what = "TLS handshake" if endpoint.secure else "connection"
        reason = server_fault(error) or str(error)
        raise HandshakeError(f"the {what} with {endpoint.host}:{endpoint.port} failed: {reason}") from error
    return stream


def _open_socket(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first address of a host that answers.

    Not by `socket.create_connection`, which gives each address the whole time: here they share it.

    Raises:
        OSError: none answers, or there is none; the error is that of the last one.
    """
    addresses = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    last: OSError | None = None
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(0.001, (deadline - time.monotonic()) / (len(addresses) - index)))
            sock.connect(address)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            last = error
        else:
            return sock
    raise last or OSError("the host has no address")

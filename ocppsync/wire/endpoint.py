"""Where a charge point connects to: its central system's URL, with the identity in it (J16 §3.1.1)."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote, urlsplit

from ..errors import HandshakeError
from . import upgrade
from .http import Headers, HttpRequest
from .streams import Stream, TLSStream
from .tls import server_fault
from .websocket import WebSocket

# What may stand in a path segment as it is (RFC 3986 §3.3), so that an ordinary identity looks ordinary on the wire.
_SEGMENT = "-._~!$&'()*+,;=:@"
# The endpoint may be percent-encoded already.
_PATH = _SEGMENT + "/%"
_QUERY = _PATH + "?"


class Endpoint:
    """Where a charge point connects to.

    Args:
        url: the endpoint without the identity.
        charge_point_id: percent-encoded and appended to the path.

    Raises:
        ValueError: it is no ws or wss URL, or there is no identity.
    """

    def __init__(self, url: str, charge_point_id: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.fragment or parts.port == 0:
            raise ValueError(f"a URL such as ws://host:port/path or wss://host/path was expected, not {url!r}")
        if not charge_point_id:
            raise ValueError("the charge point needs an identity")
        self.secure = parts.scheme == "wss"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        path = f"{quote(parts.path.rstrip('/'), safe=_PATH)}/{quote(charge_point_id, safe=_SEGMENT)}"
        query = quote(parts.query, safe=_QUERY)
        self.target = f"{path}?{query}" if query else path
        self.host_header = parts.netloc.rpartition("@")[2]
        self.url = f"{parts.scheme}://{self.host_header}{self.target}"
        self.http_request = HttpRequest("GET", path, query, Headers(), (self.host, self.port))


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
    """Connect to a central system: TCP, TLS where the URL says wss, and the upgrade (J16 §3.1).

    Args:
        endpoint: where it is.
        deadline: on `time.monotonic`, for all of it together.
        subprotocols: in order of preference.
        headers: more headers, such as Authorization.
        compression: whether to offer permessage-deflate.
        ssl_context: for a wss URL; None: the system trust store.
        write_timeout: seconds that one write may take.
        max_message_size: the longest message that is accepted, in bytes.
        name: the connection's name, for the log and for thread names.
        peer: the peer, in log lines about what it did; None: the same as ``name``.
        log_fields: attributes of log records about the connection.
        on_data: called with all bytes read, after TLS.

    Raises:
        HandshakeError: there is no connection; every socket is closed by then.
    """
    stream = _dial(endpoint, deadline, ssl_context, write_timeout, on_data)
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


def _dial(
    endpoint: Endpoint,
    deadline: float,
    ssl_context: ssl.SSLContext | None,
    write_timeout: float,
    on_data: Callable[[bytes], object] | None,
) -> Stream:
    try:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout=max(0.001, deadline - time.monotonic()))
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
    except OSError as error:
        sock.close()
        what = "no TLS with" if endpoint.secure else "the connection broke:"
        fault = server_fault(error) or str(error)
        raise HandshakeError(f"{what} {endpoint.host}:{endpoint.port}: {fault}") from error
    return stream

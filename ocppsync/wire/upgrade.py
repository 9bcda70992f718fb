"""The WebSocket handshake at both ends; the only module that uses simple-websocket.

The client end uses simple-websocket's client for the upgrade, but opens the connection itself: simple-websocket's own
connection has no timeout, and its Host header lacks the port. The server end does not use simple-websocket's server,
which would parse and check the request a second time. That is two thirds of the time of a handshake, and thousands
of charge points reconnect at once after a network failure. It also always accepts permessage-deflate, with any
parameters. After the handshake, see `ocppsync.wire.websocket`.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import cast

import simple_websocket
from h11 import ProtocolError as HTTPProtocolError
from simple_websocket.ws import Base
from wsproto import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.utilities import ProtocolError as WebSocketProtocolError
from wsproto.utilities import generate_accept_token

from ..budget import Budget
from ..errors import HandshakeError
from ..faults.printable import printable, shown
from .deflate import Deflate
from .streams import Stream
from .websocket import WebSocket

_READ_SIZE = 4096
_END_OF_HEAD = re.compile(rb"\n\r?\n")  # as h11 reads it
_EXTENSIONS = re.compile(rb"^sec-websocket-extensions[ \t]*:", re.IGNORECASE | re.MULTILINE)


class _NoThread:
    """Replaces the thread that simple-websocket would start; the connection has its own reader."""

    name = ""

    def __init__(self, target: object = None) -> None:
        pass

    def start(self) -> None:
        pass


class _ClientSide(simple_websocket.Client):
    def __init__(self, stream: Stream, request: Request, deadline: float) -> None:
        self._stream = stream
        self._request = request
        self._deadline = deadline
        self._received = b""
        # Not Client.__init__, which would open a socket without a timeout.
        Base.__init__(self, None, connection_type=ConnectionType.CLIENT, thread_class=_NoThread)

    def handshake(self) -> None:
        self._stream.buffer(self.ws.send(self._request))
        self._stream.flush()
        answer = self._next_event()
        if isinstance(answer, RejectConnection):
            body = self._rejection_text(answer) if answer.has_body else ""
            raise HandshakeError(
                f"the central system refused the connection with HTTP {answer.status_code}" + (body and f": {body}"),
                status=answer.status_code,
            )
        if not isinstance(answer, AcceptConnection):
            raise HandshakeError(f"the central system answered the handshake unexpectedly: {type(answer).__name__}")
        self.subprotocol = answer.subprotocol
        self.connected = True

    def _next_event(self) -> object:
        while True:
            for event in self.ws.events():
                return cast(object, event)
            remaining = self._deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self._stream.set_read_timeout(remaining)
            data = self._stream.recv(_READ_SIZE)
            if not data:
                raise HandshakeError("the central system closed the connection during the handshake")
            self._received += data
            self.ws.receive_data(data)

    def split_head(self) -> tuple[bytes, bytes]:
        """Return the head of the response, and what came after it: the first frames."""
        end = _END_OF_HEAD.search(self._received)
        assert end is not None
        return self._received[: end.end()], self._received[end.end() :]

    def _rejection_text(self, answer: RejectConnection) -> str:
        body = b""
        with contextlib.suppress(OSError, HandshakeError, WebSocketProtocolError):
            while len(body) < 200:
                event = self._next_event()
                if not isinstance(event, RejectData):
                    break
                body += bytes(event.data)
                if event.body_finished:
                    break
        return printable(body[:200].decode("utf-8", "replace").strip())


def accept(
    stream: Stream,
    *,
    key: str,
    subprotocol: str | None,
    extensions: str,
    max_message_size: int,
    name: str,
    log_fields: Mapping[str, object] | None = None,
    unfinished: Budget | None = None,
) -> WebSocket:
    """Return the WebSocket for a checked upgrade request; its `open` sends the 101 response (J16 §3.2).

    Args:
        stream: the stream that the request was read from; unread bytes belong to the first message.
        key: the request's Sec-WebSocket-Key.
        subprotocol: the chosen subprotocol; None: a response without the header.
        extensions: the request's Sec-WebSocket-Extensions, or ``""`` to decline compression.
        max_message_size: the longest accepted message, in bytes.
        name: the name of the charge point, for the log and thread names.
        log_fields: attributes of log records about the connection.
        unfinished: see `WebSocket`.
    """
    stream.log_fields = log_fields
    fields = [
        ("Upgrade", "WebSocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", generate_accept_token(key.encode("ascii")).decode()),
    ]
    if subprotocol is not None:
        fields.append(("Sec-WebSocket-Protocol", subprotocol))
    deflate = Deflate(max_message_size, no_context_takeover=True)
    agreed = deflate.agree(extensions)
    if agreed is not None:
        fields.append(("Sec-WebSocket-Extensions", agreed))
    head = "".join(f"{field}: {value}\r\n" for field, value in fields)
    return WebSocket(
        stream,
        client=False,
        subprotocol=subprotocol,
        deflate=None if agreed is None else deflate,
        max_message_size=max_message_size,
        name=name,
        unfinished=unfinished,
        answer=f"HTTP/1.1 101 Switching Protocols\r\n{head}\r\n".encode("ascii"),
    )


def connect(
    stream: Stream,
    *,
    host: str,
    target: str,
    subprotocols: Sequence[str],
    headers: Sequence[tuple[str, str]],
    compression: bool,
    deadline: float,
    max_message_size: int,
    name: str,
    peer: str | None = None,
    log_fields: Mapping[str, object] | None = None,
) -> WebSocket:
    """Send an upgrade request and return the open WebSocket (J16 §3.1).

    Args:
        stream: an open connection to the server.
        host: the Host header, with the port unless it is the default.
        target: the path and query.
        subprotocols: the offered subprotocols, in order of preference.
        headers: additional headers, such as Authorization.
        compression: whether to offer permessage-deflate.
        deadline: on `time.monotonic`.
        max_message_size: the longest accepted message, in bytes.
        name: the name of the connection, for the log and thread names.
        peer: the name of the peer, in log lines about what it did; None: ``name``.
        log_fields: attributes of log records about the connection.

    Raises:
        HandshakeError: the server refused the upgrade, sent an invalid response, or did not answer in time.
    """
    stream.log_fields = log_fields
    deflate = Deflate(max_message_size, no_context_takeover=False) if compression else None
    try:
        request = Request(
            host=host,
            target=target,
            subprotocols=list(subprotocols),
            extensions=[] if deflate is None else [deflate],
            extra_headers=[(field.encode("ascii"), value.encode("latin-1")) for field, value in headers],
        )
        client = _ClientSide(stream, request, deadline)
        head, frames = client.split_head()
        if len(_EXTENSIONS.findall(head)) > 1:
            raise ValueError("the response has Sec-WebSocket-Extensions twice")  # RFC 6455 §11.3.2
    except TimeoutError:
        raise HandshakeError("the central system did not answer the handshake in time") from None
    except (OSError, ValueError, WebSocketProtocolError, HTTPProtocolError) as error:
        # ValueError: a header of the request or the response has invalid characters.
        raise HandshakeError(f"the handshake failed: {shown(str(error))}") from error
    stream.set_read_timeout(None)
    stream.unread(frames)
    return WebSocket(
        stream,
        client=True,
        subprotocol=client.subprotocol,
        deflate=deflate if deflate is not None and deflate.enabled() else None,
        max_message_size=max_message_size,
        name=name,
        peer=peer,
    )

"""How a WebSocket begins, at either end: the only file that knows simple-websocket, whose two ends shake hands.

Its server always accepts permessage-deflate, and fails over parameters of it that are no numbers: what is offered and
answered is decided here. Its client has no timeout, and sends a Host header without the port: the connection is made
here. Neither starts the thread that it would read on; see `ocppsync.transport`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import cast

import simple_websocket
from h11 import ProtocolError as HTTPProtocolError
from simple_websocket.ws import Base
from wsproto import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from .deflate import Deflate
from .errors import HandshakeError
from .streams import Stream
from .transport import WebSocket

_READ_SIZE = 4096


class _NoThread:
    """Stands in for the thread that simple-websocket starts: the reader that already runs does its work."""

    name = ""

    def __init__(self, target: object = None) -> None:
        pass

    def start(self) -> None:
        pass


class _ServerSide(simple_websocket.Server):
    def __init__(
        self, stream: Stream, fields: Sequence[tuple[str, str]], subprotocol: str | None, deflate: Deflate
    ) -> None:
        self._stream = stream
        self._deflate = deflate
        self._fields = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        self._chosen = subprotocol
        # The name under which it looks for a socket, which it never touches.
        super().__init__({"werkzeug.socket": stream}, thread_class=_NoThread)

    def handshake(self) -> None:
        self.ws.initiate_upgrade_connection(self._fields, "/")
        next(self.ws.events())
        try:
            answer = self.ws.send(AcceptConnection(subprotocol=self._chosen, extensions=[self._deflate]))
        except ValueError:
            # Parameters that make no sense decline the extension, not the connection (RFC 7692 §7.1).
            answer = self.ws.send(AcceptConnection(subprotocol=self._chosen))
        self._stream.put(answer)
        self.connected = True


class _ClientSide(simple_websocket.Client):
    def __init__(self, stream: Stream, request: Request, deadline: float) -> None:
        self._stream = stream
        self._request = request
        self._deadline = deadline
        self._came = b""
        # Past Client's own constructor, which would open a socket of its own, without any timeout.
        Base.__init__(self, None, connection_type=ConnectionType.CLIENT, thread_class=_NoThread)

    def handshake(self) -> None:
        self._stream.put(self.ws.send(self._request))
        self._stream.flush()
        answer = self._next_event()
        if isinstance(answer, RejectConnection):
            body = self._rejection_text(answer) if answer.has_body else ""
            raise HandshakeError(
                f"the central system refused the connection with HTTP {answer.status_code}" + (body and f": {body}"),
                status=answer.status_code,
            )
        if not isinstance(answer, AcceptConnection):
            raise HandshakeError(f"unexpected answer to the handshake: {type(answer).__name__}")
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
            self._came += data
            self.ws.receive_data(data)

    @property
    def brought_more(self) -> bool:
        """Whether wsproto has got more than the answer to the handshake already."""
        return bool(self._came.partition(b"\r\n\r\n")[2])

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
        return body[:200].decode("utf-8", "replace").strip()


def accept(
    stream: Stream,
    *,
    key: str,
    subprotocol: str | None,
    extensions: str,
    max_message_size: int,
    name: str,
) -> WebSocket:
    """Answer a checked upgrade request with 101 and return the WebSocket; its `open` lets go of the answer (J16 §3.2).

    Args:
        stream: where the request was read from; what it holds beyond the request is the first message.
        key: the request's Sec-WebSocket-Key.
        subprotocol: the chosen one; None answers without the header.
        extensions: the request's Sec-WebSocket-Extensions, or ``""`` to refuse compression.
        max_message_size: the longest message that is accepted, in bytes.
        name: the peer's name, for the log.
    """
    fields = [
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
    ]
    if subprotocol is not None:
        fields.append(("Sec-WebSocket-Protocol", subprotocol))
    # wsproto reads it as ASCII, and fails over anything else; no extension is spelt so.
    if extensions.isascii() and extensions:
        fields.append(("Sec-WebSocket-Extensions", extensions))
    deflate = Deflate(max_message_size, forgetful=True)
    peer = _ServerSide(stream, fields, subprotocol, deflate)
    return WebSocket(
        stream,
        client=False,
        subprotocol=peer.subprotocol,
        deflate=deflate if deflate.enabled() else None,
        max_message_size=max_message_size,
        name=name,
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
) -> WebSocket:
    """Ask a server for an upgrade and return the open WebSocket (J16 §3.1).

    Args:
        stream: an open connection to the server.
        host: for the Host header, with the port where it is not the default one.
        target: path and query.
        subprotocols: in order of preference.
        headers: more headers, such as Authorization.
        compression: whether to offer permessage-deflate.
        deadline: on `time.monotonic`.
        max_message_size: the longest message that is accepted, in bytes.
        name: the peer's name, for the log.

    Raises:
        HandshakeError: the server refused, answered something else, or did not answer in time.
    """
    deflate = Deflate(max_message_size, forgetful=False) if compression else None
    try:
        request = Request(
            host=host,
            target=target,
            subprotocols=list(subprotocols),
            extensions=[] if deflate is None else [deflate],
            extra_headers=[(field.encode("ascii"), value.encode("latin-1")) for field, value in headers],
        )
        peer = _ClientSide(stream, request, deadline)
    except TimeoutError:
        raise HandshakeError("the central system did not answer the handshake in time") from None
    except (OSError, ValueError, WebSocketProtocolError, HTTPProtocolError) as error:
        # ValueError: a header of ours or of the answer holds what such a header cannot.
        raise HandshakeError(f"the handshake failed: {error}") from error
    stream.set_read_timeout(None)
    return WebSocket(
        stream,
        client=True,
        subprotocol=peer.subprotocol,
        deflate=deflate if deflate is not None and deflate.enabled() else None,
        max_message_size=max_message_size,
        name=name,
        begun=peer.ws if peer.brought_more else None,
    )

"""The WebSocket under a connection: the only file that knows simple-websocket, and the wsproto and h11 below it.

simple-websocket's two ends hold the protocol, which turns events into bytes and back. Its own thread, its own reading
and its own writing are not used, for they cannot serve here:

* it starts a thread for each connection: replaced by the thread that calls `WebSocket.receive`;
* it writes with ``sock.send``, which may write half, from two threads at once: what is to go out is put into a `Stream`
  and goes out whole and in order through `Stream.flush`;
* it buffers without bound, loses the wake-up when a message is too big, and leaves a message that came along with the
  handshake lying until the next one: `WebSocket.receive` reads wsproto's events itself, one at a time;
* its close does not end a silent connection, and its client never answers a Close: `WebSocket.close` reports through
  ``on_closing``, whose caller aborts in time, and every Close is answered;
* its server always accepts permessage-deflate, fails over parameters of it that are no numbers, and loses a message
  between whose fragments a ping comes: the upgrade is answered here;
* its client has no timeout, and sends a Host header without the port: the connection is made here.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import simple_websocket
from h11 import ProtocolError as HTTPProtocolError
from simple_websocket.ws import Base
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from .channel import (
    ABNORMAL,
    INVALID_DATA,
    NORMAL,
    TOO_BIG,
    UNSUPPORTED_DATA,
    TransportClosedError,
)
from .deflate import Deflate
from .errors import HandshakeError
from .framing import PING, PONG, Control, FrameReader, control_frame, text_frame
from .streams import Stream

_logger = logging.getLogger("ocppsync.transport")
# Each connection's reader waits with a buffer of the smaller size, in which most messages have room; where one has
# not, more is read at once.
_READ_SIZE = 2048
_LARGE_READ_SIZE = 65536
# What a peer that does not read may make us keep of pongs and refusals, beside the messages of ours that wait as well.
_BACKLOG_LIMIT = 256 * 1024


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


class WebSocket:
    """A WebSocket over a stream; `accept` and `connect` make one. `Transport` tells what its methods do.

    Args:
        peer: simple-websocket's object, past its handshake.
        stream: the bytes.
        client: whether this end is the client.
        deflate: the extension that was offered or asked for.
        sorts: whether plain messages are read past wsproto; not where it holds the beginning of a frame already.
        max_message_size: the longest message that is accepted, in bytes.
        name: the peer's name, for thread names.
    """

    def __init__(
        self,
        peer: Base,
        stream: Stream,
        *,
        client: bool,
        deflate: Deflate | None,
        sorts: bool = True,
        max_message_size: int,
        name: str,
    ) -> None:
        # Made when it is first needed, which is mostly at the end: idle connections are many, and it is large. The one
        # that shook hands goes on only where it has read on as well.
        self._ws: Connection | WSConnection | None = None if sorts else peer.ws
        self._stream = stream
        self._client = client
        self._deflate = deflate if deflate is not None and deflate.enabled() else None
        self._frames = FrameReader(masked=not client, limit=max_message_size, sorts=sorts)
        self._limit = max_message_size
        self._name = stream.name = name
        self.subprotocol: str | None = peer.subprotocol
        self._events: Iterator[Event] | None = None if sorts else peer.ws.events()
        self._read_size = _READ_SIZE
        self._parts: list[str] = []
        self._size = 0
        self._discarding = False
        self._ended = False
        # Serialises the calls of wsproto, and with them the making of frames and their way into the stream, so that
        # both have one order; guards the two below. Never held over I/O.
        self._frame_lock = threading.Lock()
        self._closing = False
        self._largest = 0  # the longest message that was posted
        self.close_code: int | None = None
        self.close_reason = ""
        self.last_heard = time.monotonic()
        self.on_closing: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<WebSocket {self._name} {self._state.name} {self._stream!r}>"

    @property
    def _state(self) -> ConnectionState:
        return ConnectionState.OPEN if self._ws is None else self._ws.state

    def _judge(self) -> Connection | WSConnection:
        assert self._frame_lock.locked()
        if self._ws is None:
            kind = ConnectionType.CLIENT if self._client else ConnectionType.SERVER
            self._ws = Connection(kind, [self._deflate] if self._deflate else [])
        return self._ws

    def open(self) -> None:
        """Send the answer to the handshake, which goes before all else; `receive` sees whether that came to nothing."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    # Receiving: one thread.

    def receive(self) -> str | None:
        """Wait for the next message; None once the connection has ended."""
        while not self._ended:
            message = self._next()
            if message is not None:
                return message
        if self.close_code is None:
            self.close_code = ABNORMAL
        return None

    def _next(self) -> str | None:
        # One step: an event of wsproto's, or what else came, or the next bytes.
        if self._events is not None:
            with self._frame_lock:
                event = next(self._events, None)
            if event is not None and not self._discarding:
                return self._take(event)
            self._events = None
        piece = None if self._discarding else self._frames.next()
        if isinstance(piece, str):
            return piece
        if piece is None:
            self._ended = not self._read()
        elif isinstance(piece, bytes):
            self._ended = not self._hand_over(piece)
        elif piece.opcode == PING:
            self._answer(Control(PONG, piece.payload))
        return None

    def _read(self) -> bool:
        try:
            data = self._stream.recv(self._read_size)
        except OSError:
            return False
        self._read_size = _READ_SIZE if len(data) < self._read_size else _LARGE_READ_SIZE
        self.last_heard = time.monotonic()
        if not self._discarding:
            self._frames.feed(data)
        return bool(data)

    def _hand_over(self, data: bytes) -> bool:
        with self._frame_lock:
            judge = self._judge()
            try:
                judge.receive_data(data)
            except WebSocketProtocolError:
                return False
            self._events = judge.events()
        return True

    def _take(self, event: Event) -> str | None:
        if isinstance(event, TextMessage):
            return self._take_text(event)
        if isinstance(event, Ping):
            self._answer(event.response())
        elif isinstance(event, BytesMessage):
            self.give_up(UNSUPPORTED_DATA, "OCPP messages are text")
        elif isinstance(event, CloseConnection):
            self._take_close(event)
        return None

    def _take_text(self, event: TextMessage) -> str | None:
        data = event.data
        self._size += len(data) if data.isascii() else len(data.encode())
        if self._size > self._limit:
            self._fail_as_too_big()
            return None
        if data:
            self._parts.append(data)
        if not event.message_finished:
            return None
        message = self._parts[0] if len(self._parts) == 1 else "".join(self._parts)
        self._parts.clear()
        self._size = 0
        return message

    def _fail_as_too_big(self) -> None:
        _logger.warning("%s sent a message of more than %d bytes", self._name, self._limit)
        self.give_up(TOO_BIG, f"the limit is {self._limit} bytes")

    def _take_close(self, event: CloseConnection) -> None:
        if self._state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            # No Close came: that is how wsproto says that it cannot read on.
            if event.code == TOO_BIG:
                self._fail_as_too_big()
                return
            _logger.warning("%s broke the WebSocket protocol: %s", self._name, event.reason)
            self.give_up(int(event.code), "not UTF-8" if event.code == INVALID_DATA else "not the WebSocket protocol")
            return
        if self._state is ConnectionState.REMOTE_CLOSING:
            self.close_code, self.close_reason = int(event.code), event.reason or ""
        self._answer(event.response())
        # Now nothing is left but what is put, perhaps a Close of another thread: it is to be out before the end.
        with contextlib.suppress(OSError):
            self._stream.flush()
        self._ended = True

    def _answer(self, what: Control | Event) -> None:
        with contextlib.suppress(TransportClosedError):
            self._post(what)

    def give_up(self, code: int, reason: str = "") -> None:
        """Close, and drop whatever still comes; for the receiving thread."""
        # The peer may be in the middle of writing: closing now would reset the connection before it reads why. So
        # the rest is read and dropped until it hangs up or the time for closing is over.
        self.close(code, reason)
        self._discarding = True
        self._parts.clear()
        if not self._stream.backlog:
            self._stream.finish_writing()

    # Sending: any thread.

    def post(self, text: str) -> None:
        """Write a message without ever waiting: what cannot go at once follows from a thread of its own."""
        self._post(text)

    def send_bytes(self, data: bytes) -> None:
        """Write a binary message, which OCPP has not, without ever waiting; see `ocppsync.testing`."""
        self._post(BytesMessage(data=data))

    def ping(self) -> bool:
        """Write a ping without ever waiting, as `post` does; return False when the connection has ended."""
        try:
            self._post(Control(PING))
        except TransportClosedError:
            return False
        return True

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Begin the closing handshake; never waits. `receive` ends when the peer answers."""
        # An application's text may hold what UTF-8 cannot; that must not keep the connection open.
        reason = reason.encode(errors="replace").decode()
        with self._frame_lock:
            if self._closing:
                return
            self._closing = True
            with contextlib.suppress(TransportClosedError):
                self._put(CloseConnection(code=code, reason=reason))
                self.close_code, self.close_reason = code, reason
        with contextlib.suppress(OSError):
            self._stream.flush_soon()
        if self.on_closing is not None:
            self.on_closing()

    def abort(self) -> None:
        """End the connection at once; `receive` returns None."""
        self._stream.abort()

    def release(self) -> None:
        """Give the socket back; for the receiving thread, after `receive` returned None."""
        self._stream.close()

    def _post(self, what: str | Control | Event) -> None:
        with self._frame_lock:
            # Two of the longest may wait behind a slow line: a CALL of ours, and the answer to one of the peer's.
            room = 2 * self._largest + _BACKLOG_LIMIT - self._stream.backlog
            overfull = room < 0 and not self._stream.aborted
            if not overfull:
                self._largest = max(self._largest, self._put(what))
        if overfull:
            _logger.warning("%s makes us write and does not read; its connection is given up", self._name)
            self.abort()
            raise TransportClosedError("the peer does not read", written=False)
        try:
            self._stream.flush_soon()
        except OSError as error:
            raise TransportClosedError(f"the connection broke: {error}", written=True) from error

    def _put(self, what: str | Control | Event) -> int:
        assert self._frame_lock.locked()
        if self._stream.aborted:
            raise TransportClosedError("the connection is closed", written=False)
        try:
            data = self._written(what)
            self._stream.put(data)
        except (WebSocketProtocolError, OSError) as error:
            raise TransportClosedError("the connection is closed", written=False) from error
        return len(data)

    def _written(self, what: str | Control | Event) -> bytes:
        # Past wsproto while nothing but these goes out; it knows whether a Close went or came.
        if self._state is ConnectionState.OPEN:
            if isinstance(what, Control):
                return control_frame(what, masked=self._client)
            if isinstance(what, str) and self._deflate is None:
                return text_frame(what, masked=self._client)
        if isinstance(what, Control):
            raise TransportClosedError("the connection is closed", written=False)
        return self._judge().send(TextMessage(data=what) if isinstance(what, str) else what)


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
    return WebSocket(peer, stream, client=False, deflate=deflate, max_message_size=max_message_size, name=name)


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
        peer,
        stream,
        client=True,
        deflate=deflate,
        sorts=not peer.brought_more,
        max_message_size=max_message_size,
        name=name,
    )

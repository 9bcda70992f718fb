"""The WebSocket under a connection, once both ends have shaken hands (`ocppsync.upgrade`).

simple-websocket's reading and writing cannot serve here.

* It starts a thread for each connection: here the thread that calls `WebSocket.receive` reads.
* It writes with ``sock.send``, which may write half, from two threads at once: here what is to go out is put into a
  `Stream`, and goes out whole and in order.
* It buffers without bound, loses the wake-up when a message is too big, and leaves a message that came along with the
  handshake lying until the next one: here what comes is read one event at a time, by `FrameReader` or by the wsproto
  that is below simple-websocket.
* Its close does not end a silent connection, and its client never answers a Close: `WebSocket.close` reports through
  ``on_closing``, whose caller aborts in time, and every Close is answered.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from .deflate import Deflate
from .streams import Stream
from .transport import CloseCode, TransportClosedError
from .websocket_frames import PING, PONG, Control, FrameReader, control_frame, text_frame

_logger = logging.getLogger(__name__)
# Each connection's reader waits with a buffer of the smaller size, in which most messages have room; where one has
# not, more is read at once.
_READ_SIZE = 2048
_LARGE_READ_SIZE = 65536
# What a peer that does not read may make us keep of pongs and refusals, beside the messages of ours that wait as well.
_BACKLOG_LIMIT = 256 * 1024


class WebSocket:
    """A WebSocket over a stream, past its handshake. `Transport` tells what its methods do.

    Args:
        stream: the bytes.
        client: whether this end is the client.
        subprotocol: what both ends agreed on.
        deflate: the extension, where it was agreed on.
        max_message_size: the longest message that is accepted, in bytes.
        name: the connection's name, for the log and for thread names.
        peer: the peer, in log lines about what it did; None: the same as ``name``.
        handshake_ws: the wsproto that shook hands, where it has been given more than the handshake.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        client: bool,
        subprotocol: str | None,
        deflate: Deflate | None,
        max_message_size: int,
        name: str,
        peer: str | None = None,
        handshake_ws: WSConnection | None = None,
    ) -> None:
        # Made when it is first needed, which is mostly at the end: idle connections are many, and it is large.
        self._ws: Connection | WSConnection | None = handshake_ws
        self._stream = stream
        self._client = client
        self._deflate = deflate
        self._frames = FrameReader(masked=not client, limit=max_message_size, fast_path=handshake_ws is None)
        self._limit = max_message_size
        self._name = stream.name = name
        self._peer = stream.peer = peer or name
        self._log_fields = stream.log_fields
        self.subprotocol = subprotocol
        self._events: Iterator[Event] | None = None if handshake_ws is None else handshake_ws.events()
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

    def _wsproto(self) -> Connection | WSConnection:
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
            self.close_code = CloseCode.ABNORMAL
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
            wsproto = self._wsproto()
            try:
                wsproto.receive_data(data)
            except WebSocketProtocolError:
                return False
            self._events = wsproto.events()
        return True

    def _take(self, event: Event) -> str | None:
        if isinstance(event, TextMessage):
            return self._take_text(event)
        if isinstance(event, Ping):
            self._answer(event.response())
        elif isinstance(event, BytesMessage):
            self.fail(CloseCode.UNSUPPORTED_DATA, "OCPP messages are text")
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
        _logger.warning("%s sent a message of more than %d bytes", self._peer, self._limit, extra=self._log_fields)
        self.fail(CloseCode.TOO_BIG, f"the limit is {self._limit} bytes")

    def _take_close(self, event: CloseConnection) -> None:
        if self._state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            # No Close came: that is how wsproto says that it cannot read on.
            if event.code == CloseCode.TOO_BIG:
                self._fail_as_too_big()
                return
            _logger.warning("%s broke the WebSocket protocol: %s", self._peer, event.reason, extra=self._log_fields)
            self.fail(
                int(event.code), "not UTF-8" if event.code == CloseCode.INVALID_DATA else "not the WebSocket protocol"
            )
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
            self._send_nowait(what)

    def fail(self, code: int, reason: str = "") -> None:
        """Close, and drop whatever still comes; for the receiving thread."""
        # The peer may be in the middle of writing: closing now would reset the connection before it reads why. So
        # the rest is read and dropped until it hangs up or the time for closing is over.
        self.close(code, reason)
        self._discarding = True
        self._parts.clear()
        if not self._stream.backlog:
            self._stream.finish_writing()

    # Sending: any thread.

    def send_nowait(self, text: str) -> None:
        """Write a message without ever waiting: what cannot go at once follows from a thread of its own."""
        self._send_nowait(text)

    def send_bytes(self, data: bytes) -> None:
        """Write a binary message, which OCPP has not, without ever waiting; see `ocppsync.testing`."""
        self._send_nowait(BytesMessage(data=data))

    def ping(self) -> bool:
        """Write a ping without ever waiting, as `send_nowait` does; return False when the connection has ended."""
        try:
            self._send_nowait(Control(PING))
        except TransportClosedError:
            return False
        return True

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake; never waits. `receive` ends when the peer answers."""
        # An application's text may hold what UTF-8 cannot; that must not keep the connection open.
        reason = reason.encode(errors="replace").decode()
        with self._frame_lock:
            if self._closing:
                return
            self._closing = True
            with contextlib.suppress(TransportClosedError):
                self._buffer(CloseConnection(code=code, reason=reason))
                self.close_code, self.close_reason = code, reason
        with contextlib.suppress(OSError):
            self._stream.flush_nowait()
        if self.on_closing is not None:
            self.on_closing()

    def abort(self) -> None:
        """End the connection at once; `receive` returns None."""
        self._stream.abort()

    def release(self) -> None:
        """Give the socket back; for the receiving thread, after `receive` returned None."""
        self._stream.close()

    def _send_nowait(self, what: str | Control | Event) -> None:
        with self._frame_lock:
            # Two of the longest may wait behind a slow line: a CALL of ours, and the answer to one of the peer's.
            room = 2 * self._largest + _BACKLOG_LIMIT - self._stream.backlog
            overfull = room < 0 and not self._stream.aborted
            if not overfull:
                self._largest = max(self._largest, self._buffer(what))
        if overfull:
            text = "%s does not read the answers to what it sends; its connection is aborted"
            _logger.warning(text, self._peer, extra=self._log_fields)
            self.abort()
            raise TransportClosedError("the peer does not read", written=False)
        try:
            self._stream.flush_nowait()
        except OSError as error:
            raise TransportClosedError(f"the connection broke: {error}", written=True) from error

    def _buffer(self, what: str | Control | Event) -> int:
        assert self._frame_lock.locked()
        if self._stream.aborted:
            raise TransportClosedError("the connection is closed", written=False)
        try:
            data = self._written(what)
            self._stream.buffer(data)
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
        return self._wsproto().send(TextMessage(data=what) if isinstance(what, str) else what)

"""An open WebSocket over a `Stream`, after the handshake of `upgrade`.

simple-websocket's own reading and writing are not used:

* It starts a thread for each connection. Here the thread that calls `WebSocket.receive` reads.
* It writes with ``sock.send``, which may write half a frame, from several threads at once. Here frames go through a
  `Stream`, whole and in order.
* It buffers without limit, blocks for ever after a message that is too big, and delays a message that arrives together
  with the handshake. Here `FrameReader` or wsproto, on which simple-websocket builds, reads one event at a time.
* Its close does not end a connection to a silent peer, and its client never answers a Close. Here `WebSocket.close`
  calls ``on_closing``, which aborts after the close timeout, and every Close is answered.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from ..budget import Budget, Loan
from .close_frames import CloseFrames
from .deflate import Deflate
from .http import RefusalError, send_refusal
from .streams import Stream
from .transport import CloseCode, TransportClosedError
from .websocket_frames import PING, PONG, TEXT, Control, FrameReader, whole_frame

_logger = logging.getLogger(__name__)
# A waiting reader holds a buffer of the smaller size, which fits most messages. After a read that filled it, the next
# one is larger.
_READ_SIZE = 2048
_LARGE_READ_SIZE = 65536
# Bytes of pongs and refusals that are buffered for a peer that does not read, in addition to three of our messages.
_BACKLOG_LIMIT = 256 * 1024
# Bytes of an unfinished message that do not count toward what all connections share.
_FREE = 16 * 1024


class WebSocket:
    """An open WebSocket. It implements `Transport`, which documents the methods.

    Args:
        stream: the connection.
        client: whether this end is the client.
        subprotocol: the subprotocol of the handshake.
        deflate: permessage-deflate, if the handshake agreed on it.
        max_message_size: the longest message that is accepted, in bytes.
        name: the name of the connection in the log and in thread names.
        peer: the name of the peer, in log lines about what it did; None: ``name``.
        unfinished: the bytes that all connections share for what was read of messages that are not complete yet.
        answer: the answer to the handshake that `open` sends, before all frames; empty if it was sent.
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
        unfinished: Budget | None = None,
        answer: bytes = b"",
    ) -> None:
        # Created when it is first needed, mostly at the end: there are many idle connections, and it is large.
        self._ws: Connection | None = None
        self._close_frames = CloseFrames()
        self._stream = stream
        self._client = client
        self._deflate = deflate
        self._frames = FrameReader(masked=not client, limit=max_message_size)
        self._limit = max_message_size
        self._name = stream.name = name
        stream.peer = peer or name
        self.subprotocol = subprotocol
        self._events: Iterator[Event] | None = None
        self._read_size = _READ_SIZE
        # The fragments of a message. Not a list of texts: a peer may send a megabyte two characters at a time.
        self._parts = bytearray()
        self._loan = None if unfinished is None else Loan(unfinished, _FREE)
        self._is_lent = False
        self._discarding = False
        self._ended = False
        # The stream's, since frames enter it in the order in which they were made. Guards wsproto and the four below.
        self._lock = stream.lock
        self._handshake_answer = answer
        self._refused = False
        self._closing = False
        self._largest = 0  # the size of the longest frame that was buffered
        self.close_code: int | None = None
        self.close_reason = ""
        self.last_heard = time.monotonic()
        self.on_closing: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<WebSocket {self._name} {self._state.name} {self._stream!r}>"

    @property
    def _state(self) -> ConnectionState:
        return ConnectionState.OPEN if self._ws is None else self._ws.state

    def _wsproto(self) -> Connection:
        assert self._lock.locked()
        if self._ws is None:
            kind = ConnectionType.CLIENT if self._client else ConnectionType.SERVER
            self._ws = Connection(kind, [self._close_frames, *([self._deflate] if self._deflate else [])])
        return self._ws

    @property
    def peer_has_left(self) -> bool:
        """Whether the peer has ended the connection already."""
        return self._stream.peer_has_left

    def open(self) -> None:
        """Send the answer to the handshake; if that fails, `receive` ends."""
        with contextlib.suppress(OSError):
            with self._lock:
                answer, self._handshake_answer = self._handshake_answer, b""
                self._stream.put(answer)
            self._stream.flush()

    def refuse(self, refusal: RefusalError, code: int) -> bool:
        """End the connection in place of `open`, or after it; see `Transport`."""
        self.on_closing = None  # this thread ends the connection
        with self._lock:
            self._refused = bool(self._handshake_answer)
        try:
            if self._refused:
                return send_refusal(self._stream, refusal)
            self.close(code)
            self._stream.linger()
            return False
        finally:
            self.release()

    # Receiving, on one thread.

    def receive(self) -> str | None:
        """Wait for the next message; None once the connection has ended."""
        frames, data = self._frames, b""
        while not self._ended:
            if self._events is not None:
                message = self._next_event()
                if message is not None:
                    return message
                continue
            piece = frames.next(data) if data or frames.buffer else None
            if isinstance(piece, str):
                return piece
            data = b""
            if piece is not None:
                self._take_odd(piece)
                continue
            if self._is_lent or len(frames.buffer) + len(self._parts) > _FREE:
                self._count_unfinished()
            try:
                data = self._stream.recv(self._read_size)
            except OSError:
                data = b""
            self._ended = not data
            self._read_size = _READ_SIZE if len(data) < self._read_size else _LARGE_READ_SIZE
            self.last_heard = time.monotonic()
            if self._discarding:
                data = b""
        if self.close_code is None:
            self.close_code = CloseCode.ABNORMAL
        return None

    def _count_unfinished(self) -> None:
        if self._loan is None:
            return
        size = len(self._frames.buffer) + len(self._parts)
        if self._loan.cover(size):
            self._is_lent = size > _FREE
            return
        text = "%s sends a long message while all connections together have too many unfinished ones; it is closed"
        self._stream.warn(_logger, text)
        self.fail(CloseCode.TRY_AGAIN_LATER, "too many long messages at once")

    def _take_odd(self, piece: Control | bytes) -> None:
        if isinstance(piece, bytes):
            self._ended = not self._hand_over(piece)
        elif piece.opcode == PING:
            self._answer(Control(PONG, piece.payload))

    def _hand_over(self, data: bytes) -> bool:
        with self._lock:
            wsproto = self._wsproto()
            try:
                wsproto.receive_data(data)
            except WebSocketProtocolError:
                return False
            self._events = wsproto.events()
        return True

    def _next_event(self) -> str | None:
        assert self._events is not None
        with self._lock:
            event = next(self._events, None)
        if event is None or self._discarding:
            self._events = None
        elif isinstance(event, TextMessage):
            return self._take_text(event)
        elif isinstance(event, Ping):
            self._answer(event.response())
        elif isinstance(event, BytesMessage):
            self.fail(CloseCode.UNSUPPORTED_DATA, "OCPP messages are text")
        elif isinstance(event, CloseConnection):
            self._take_close(event)
        return None

    def _take_text(self, event: TextMessage) -> str | None:
        self._parts += event.data.encode()
        if len(self._parts) > self._limit:
            self._fail_as_too_big()
            return None
        if not event.message_finished:
            return None
        message = self._parts.decode()
        self._parts = bytearray()
        return message

    def _fail_as_too_big(self) -> None:
        self._stream.warn(_logger, "%s sent a message of more than %d bytes", self._limit)
        self.fail(CloseCode.TOO_BIG, f"the limit is {self._limit} bytes")

    def _take_close(self, event: CloseConnection) -> None:
        if self._state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            # The peer sent no Close: wsproto reports a violation of the protocol.
            if event.code == CloseCode.TOO_BIG:
                self._fail_as_too_big()
                return
            self._stream.warn(_logger, "%s broke the WebSocket protocol: %s", event.reason)
            self.fail(
                int(event.code), "not UTF-8" if event.code == CloseCode.INVALID_DATA else "not the WebSocket protocol"
            )
            return
        code = self._close_frames.code
        if self._state is ConnectionState.REMOTE_CLOSING:
            self.close_code, self.close_reason = int(code), event.reason or ""
        self._answer(CloseConnection(code=code, reason=event.reason))
        # Another thread may have buffered a Close: write it before the connection ends.
        with contextlib.suppress(OSError):
            self._stream.flush()
        self._ended = True

    def _answer(self, what: Control | Event) -> None:
        with contextlib.suppress(TransportClosedError):
            self.send_nowait(what)

    def fail(self, code: int, reason: str = "") -> None:
        """Close, and drop everything that arrives from now on; for the receiving thread."""
        # The peer may still be writing: ending now would reset the connection before it reads the Close. So the rest
        # is read and dropped until the peer ends the connection or the close timeout passes.
        self.close(code, reason)
        self._discarding = True
        self._parts = bytearray()
        self._frames.buffer = b""
        self._count_unfinished()
        if not self._stream.backlog:
            self._stream.finish_writing()

    # Sending, on any thread.

    def send_nowait(self, what: str | Control | Event) -> None:
        """Write a message, a control frame or an event of wsproto; never waits."""
        with self._lock:
            written = self._put(what)
        if not written:
            self._write_rest()

    def _write_rest(self) -> None:
        stream = self._stream
        # Three of the longest messages may wait for a slow line: two CALLs of ours, and the answer to a CALL.
        if stream.backlog > 3 * self._largest + _BACKLOG_LIMIT and not stream.aborted:
            stream.warn(_logger, "%s does not read the answers to what it sends; its connection is aborted")
            self.abort()
            raise TransportClosedError("the peer does not read", written=True)
        try:
            stream.flush_rest()
        except OSError as error:
            raise TransportClosedError(f"the connection broke: {error}", written=True) from error

    def send_bytes(self, data: bytes) -> None:
        """Write a binary message, which OCPP does not have; never waits; see `ocppsync.testing`."""
        self.send_nowait(BytesMessage(data=data))

    def ping(self) -> bool:
        """Write a ping; never waits. Return False if the connection has ended."""
        try:
            self.send_nowait(Control(PING))
        except TransportClosedError:
            return False
        return True

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake; never waits. `receive` ends when the peer answers."""
        # An application's text may hold half a surrogate pair; that must not keep the connection open.
        reason = reason.encode(errors="replace").decode()
        written = True
        with self._lock:
            if self._closing:
                return
            self._closing = True
            with contextlib.suppress(TransportClosedError):
                written = self._put(CloseConnection(code=code, reason=reason))
                self.close_code, self.close_reason = code, reason
        with contextlib.suppress(TransportClosedError):
            if not written:
                self._write_rest()
        if self.on_closing is not None:
            self.on_closing()

    def abort(self) -> None:
        """End the connection at once; `receive` returns None."""
        self._stream.abort()

    def release(self) -> None:
        """Close the socket; for the receiving thread, after `receive` returned None."""
        if self._loan is not None:
            self._loan.cover(0)
        self._stream.close()

    def _put(self, what: str | Control | Event) -> bool:
        """Make the frame and write it; return False if a thread has to write the rest."""
        assert self._lock.locked()
        if self._stream.aborted or self._refused:
            raise TransportClosedError("the connection is closed", written=False)
        # wsproto knows whether a Close was sent or received. Without one, plain frames need no wsproto.
        is_open = self._ws is None or self._ws.state is ConnectionState.OPEN
        if is_open and isinstance(what, str) and self._deflate is None:
            data = whole_frame(TEXT, what.encode(), masked=self._client)
        elif is_open and isinstance(what, Control):
            data = whole_frame(what.opcode, what.payload, masked=self._client)
        else:
            data = self._make_frame(what)
        if self._handshake_answer:
            # A request that another thread sends before `open`.
            data, self._handshake_answer = self._handshake_answer + data, b""
        self._largest = max(self._largest, len(data))
        try:
            return self._stream.put(data)
        except OSError as error:
            raise TransportClosedError(f"the connection broke: {error}", written=False) from error

    def _make_frame(self, what: str | Control | Event) -> bytes:
        if isinstance(what, Control):
            raise TransportClosedError("the connection is closed", written=False)
        try:
            return self._wsproto().send(TextMessage(data=what) if isinstance(what, str) else what)
        except WebSocketProtocolError as error:
            raise TransportClosedError("the connection is closed", written=False) from error

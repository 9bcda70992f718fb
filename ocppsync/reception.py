"""From an accepted socket to an open WebSocket, or to a refusal with one line in the log."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import transport
from .handshake import Admitted, DisconnectedError, Gate, RefusalError, read_request, refusal_response
from .request import HttpRequest
from .streams import Stream, TLSStream
from .tls import ServerTLS
from .transport import WebSocket

_logger = logging.getLogger("ocppsync.handshake")
_LINGER = 1.0
"""Seconds that a refused peer has to read why, before its connection is closed."""


@dataclass(frozen=True)
class Visitor:
    """A charge point whose upgrade was answered with 101."""

    admitted: Admitted
    http_request: HttpRequest
    websocket: WebSocket


class Reception:
    """Receives new connections, each on a thread of its own.

    Args:
        gate: decides who may come in.
        ssl_context: for TLS; None for plain connections.
        handshake_timeout: seconds for TLS and HTTP together.
        max_header_size: of the HTTP request's head, in bytes.
        max_message_size: of a WebSocket message, in bytes.
        write_timeout: seconds that one write may take.
        on_raw_socket_data: called with all bytes read, after TLS.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        ssl_context: ssl.SSLContext | ServerTLS | None,
        handshake_timeout: float,
        max_header_size: int,
        max_message_size: int,
        write_timeout: float,
        on_raw_socket_data: Callable[[bytes], object] | None,
    ) -> None:
        self._gate = gate
        self._ssl_context = ssl_context
        self._handshake_timeout = handshake_timeout
        self._max_header_size = max_header_size
        self._max_message_size = max_message_size
        self._write_timeout = write_timeout
        self._on_raw_socket_data = on_raw_socket_data
        self._lock = threading.Lock()  # guards the streams whose handshake is under way
        self._streams: set[Stream] = set()
        self._closed = False

    def receive(self, sock: socket.socket) -> Visitor | None:
        """Return who came, or None when there was nobody to let in; then the socket is closed."""
        deadline = time.monotonic() + self._handshake_timeout
        sock.settimeout(self._handshake_timeout)
        try:
            stream = self._open_stream(sock)
        except OSError as error:
            _logger.info("a connection ended before it began: %s", error)
            sock.close()
            return None
        with self._lock:
            self._streams.add(stream)
            if self._closed:
                stream.abort()
        try:
            visitor = self._shake_hands(stream, deadline)
        finally:
            with self._lock:
                self._streams.discard(stream)
        if visitor is None:
            stream.close()
        return visitor

    def close(self) -> None:
        """Break off every handshake that is under way, and every later one."""
        with self._lock:
            self._closed = True
            streams = list(self._streams)
        for stream in streams:
            stream.abort()

    def _open_stream(self, sock: socket.socket) -> Stream:
        context = self._ssl_context.context if isinstance(self._ssl_context, ServerTLS) else self._ssl_context
        if context is None:
            return Stream(sock, write_timeout=self._write_timeout, on_data=self._on_raw_socket_data)
        return TLSStream(sock, context=context, write_timeout=self._write_timeout, on_data=self._on_raw_socket_data)

    def _shake_hands(self, stream: Stream, deadline: float) -> Visitor | None:
        host, port = stream.remote_address
        request = None
        try:
            if isinstance(stream, TLSStream):
                stream.handshake(deadline)
            request = read_request(stream, deadline=deadline, max_header_size=self._max_header_size)
            admitted = self._gate.admit(request)
            websocket = self._upgrade(stream, admitted)
        except RefusalError as refusal:
            path = request.path if request is not None else "-"
            _logger.warning("refused %s:%d %.200s with HTTP %d: %s", host, port, path, refusal.status, refusal.reason)
            _turn_away(stream, refusal)
        except DisconnectedError as error:
            _logger.log(error.level, "no handshake with %s:%d: %s", host, port, error)
        except ssl.SSLEOFError:
            _logger.info("no TLS with %s:%d: the peer closed the connection", host, port)
        except ssl.SSLError as error:
            _logger.warning("no TLS with %s:%d: %s", host, port, _tls_fault(error))
        except OSError as error:
            _logger.info("the connection of %s:%d broke in the handshake: %s", host, port, error)
        except Exception:
            _logger.exception("the handshake of %s:%d failed", host, port)
        else:
            stream.set_read_timeout(None)
            return Visitor(admitted, request, websocket)
        return None

    def _upgrade(self, stream: Stream, admitted: Admitted) -> WebSocket:
        return transport.accept(
            stream,
            key=admitted.key,
            subprotocol=admitted.subprotocol if admitted.announce else None,
            extensions=admitted.extensions,
            max_message_size=self._max_message_size,
            name=admitted.charge_point_id,
        )


def _tls_fault(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate was refused: {error.verify_message}"
    if error.reason == "HTTP_REQUEST":
        return "the peer speaks plain HTTP (ws), and this port is TLS (wss)"
    return str(error.reason or error)


def _turn_away(stream: Stream, refusal: RefusalError) -> None:
    with contextlib.suppress(OSError):
        stream.put(refusal_response(refusal))
        stream.flush()
        stream.finish_writing()
        # Closing over unread bytes would reset the connection, and the answer with it.
        deadline = time.monotonic() + _LINGER
        while (remaining := deadline - time.monotonic()) > 0:
            stream.set_read_timeout(remaining)
            if not stream.recv(4096):
                break

"""Our end of a stream or a WebSocket over a real connection, and the raw peer at the other, for tests of either."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from support import Recorder
from wire import (
    DEADLINE,
    Peer,
    Response,
    accept,
    dial,
    listening,
    request,
)

from ocppsync.limits import Limits, Timeouts
from ocppsync.server.acceptor import Acceptor
from ocppsync.server.admission import AdmissionPolicy
from ocppsync.server.connection_limits import ConnectionLimiter
from ocppsync.server.forwarded import ClientAddress
from ocppsync.threads.timer import Timer
from ocppsync.wire import upgrade
from ocppsync.wire.streams import Stream, TLSStream
from ocppsync.wire.websocket import WebSocket

SMALL = 4096
"""A buffer of what is sent that fills at once."""
SMALL_UNREAD = 65536
"""A buffer of what was not read that fills soon. With a smaller one than the longest segment, Linux drops segments that
find no room, and sends them again later and later: now and then a peer that reads waits for ten seconds."""
MIB = 1024 * 1024
BIG = "0123456789abcdef" * (MIB // 16)
"""1 MiB: the longest message by default, and more than small buffers hold."""
OFFER = {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"}
"""What a peer says that would compress."""
WRONG_PARAMETERS = [
    "unheard_of",
    "unheard_of=1",
    "",
    "=",
    "é",
    "server_no_context_takeover=",
    "server_no_context_takeover=true",
    "client_no_context_takeover=1",
    "server_no_context_takeover; server_no_context_takeover",
    "client_no_context_takeover; server_no_context_takeover; client_no_context_takeover",
    "client_max_window_bits=10; client_max_window_bits=10",
    "server_max_window_bits=10; server_max_window_bits=11",
    "server_no_context_takeovers",
    "server_max_window_bits_=10",
    "Server_Max_Window_Bits=10",
    "server_max_window_bits",
    *(
        f"{parameter}_max_window_bits={value}"
        for parameter in ("server", "client")
        for value in (
            "",
            "x",
            "7",
            "16",
            "99",
            "0",
            "-9",
            "+9",
            "09",
            "010",
            "1_0",
            "10.0",
            '"10"',
            "10 11",
            "=10",
            "٩",
        )
    ),
]
"""What permessage-deflate may have neither in an offer nor in an answer (RFC 7692 §7.1)."""


class End:
    """One of our WebSockets with the thread that reads it, as a connection has."""

    def __init__(
        self, websocket: WebSocket, timer: Timer, close_timeout: float, answer: Response | None = None
    ) -> None:
        self.websocket = websocket
        self.answer = answer
        self.messages = Recorder()
        self.closings = Recorder()
        self.ended = threading.Event()
        self._timer = timer
        self._close_timeout = close_timeout
        websocket.on_closing = self._closing
        threading.Thread(target=self._read, name="test-reader", daemon=True).start()

    def _closing(self) -> None:
        self.closings(True)
        self._timer.call_later(self._close_timeout, self.websocket.abort)

    def _read(self) -> None:
        while (text := self.websocket.receive()) is not None:
            self.messages(text)
        self.websocket.abort()
        self.websocket.release()
        self.ended.set()

    def wait_for_end(self) -> int | None:
        assert self.ended.wait(DEADLINE)
        return self.websocket.close_code


Connected = Callable[..., contextlib.AbstractContextManager[tuple[End, Peer]]]
OurClient = Callable[..., contextlib.AbstractContextManager[tuple[End, Peer, str]]]


def flushers() -> list[threading.Thread]:
    """Return the threads that write what a peer does not read at once."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("ocppsync-flush-")]


def wait_for_no_flusher() -> None:
    """Wait until all that was left to such threads is out, or given up."""
    for thread in flushers():
        thread.join(DEADLINE)
    assert not flushers()


def write(stream: Stream, data: bytes) -> bool:
    """Write as a WebSocket does; return whether all of it went out at once."""
    with stream.lock:
        written = stream.put(data)
    if not written:
        stream.flush_rest()
    return written


@contextlib.contextmanager
def plain(
    *, small: bool = False, write_timeout: float = DEADLINE, on_data: Callable[[bytes], object] | None = None
) -> Iterator[tuple[Stream, Peer]]:
    """Open a stream and the raw peer at its other end; ``small`` buffers between them."""
    with (
        listening() as listener,
        dial(listener.getsockname()[1], receive_buffer=SMALL_UNREAD if small else None) as peer,
    ):
        sock, _ = listener.accept()
        sock.settimeout(None)
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        stream = Stream(sock, write_timeout=write_timeout, on_data=on_data)
        try:
            yield stream, peer
        finally:
            stream.close()


def acceptor_options(
    *, limits: Limits | None = None, timeouts: Timeouts | None = None, **options: Any
) -> dict[str, Any]:
    """Return the arguments of an `Acceptor` without limits on handshakes, except its policy; some of them changed."""
    unlimited = limits or Limits(handshakes=None, handshakes_per_address=None)
    return {
        "limiter": ConnectionLimiter(unlimited),
        "client_address": ClientAddress(()),
        "limits": unlimited,
        "timeouts": timeouts or Timeouts(handshake=DEADLINE, write=DEADLINE),
        **options,
    }


def dial_us(
    background: Callable[..., Future[Any]], context: ssl.SSLContext | None, *, small: bool
) -> tuple[Future[Any], socket.socket]:
    """Have a raw peer connect; return what becomes of it, and the socket at our end. Buffers may be small."""
    with listening() as listener:
        port = listener.getsockname()[1]
        dialled = background(dial, port, ssl_context=context, receive_buffer=SMALL_UNREAD if small else None)
        sock, _ = listener.accept()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    return dialled, sock


@contextlib.contextmanager
def open_connection(
    timer: Timer,
    background: Callable[..., Future[Any]],
    *,
    small: bool = False,
    extra: bytes = b"",
    changes: dict[str, str | None] | None = None,
    client_context: ssl.SSLContext | None = None,
    compression: bool = False,
    close_timeout: float = DEADLINE,
    write_timeout: float = DEADLINE,
    max_message_size: int = MIB,
    **options: Any,
) -> Iterator[tuple[End, Peer]]:
    """Open a connection: our end, past its handshake, and the raw peer.

    Options: those of `Acceptor`; ``small`` buffers between the ends; ``extra`` bytes that the peer sends with its
    request, and ``changes`` of the request's headers; ``close_timeout``; ``client_context`` for TLS.
    """
    acceptor = Acceptor(
        AdmissionPolicy(protocols=("ocpp1.6",), compression=compression),
        **acceptor_options(
            limits=Limits(handshakes=None, handshakes_per_address=None, message_size=max_message_size),
            timeouts=Timeouts(handshake=DEADLINE, write=write_timeout),
            **options,
        ),
    )
    dialled, sock = dial_us(background, client_context, small=small)
    received = background(acceptor.accept, sock)
    with dialled.result(DEADLINE) as peer:
        peer.send(request(**(changes or {})) + extra)
        upgraded = received.result(DEADLINE)
        upgraded.websocket.open()
        answer = peer.read_response()
        assert answer.status == 101
        end = End(upgraded.websocket, timer, close_timeout, answer)
        try:
            yield end, peer
        finally:
            end.websocket.abort()
            assert end.ended.wait(DEADLINE)


@contextlib.contextmanager
def open_our_client(
    timer: Timer,
    background: Callable[..., Future[Any]],
    *,
    extra: bytes = b"",
    changes: dict[str, str | None] | None = None,
    close_timeout: float = DEADLINE,
    **options: Any,
) -> Iterator[tuple[End, Peer, str]]:
    """Open a connection from our side: our end, the raw server's, and the request that it read."""
    with listening() as listener:
        connecting = background(connect, listener.getsockname()[1], **options)
        with accept(listener) as peer:
            head = peer.answer_upgrade(extra=extra, **(changes or {}))
            end = End(connecting.result(DEADLINE), timer, close_timeout)
            try:
                yield end, peer, head
            finally:
                end.websocket.abort()
                assert end.ended.wait(DEADLINE)


def connect(
    port: int, *, timeout: float = DEADLINE, context: ssl.SSLContext | None = None, **options: Any
) -> WebSocket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    stream: Stream = Stream(sock, write_timeout=DEADLINE)
    if context is not None:
        stream = TLSStream(sock, context=context, server_hostname="localhost", write_timeout=DEADLINE)
        stream.handshake(time.monotonic() + DEADLINE)
    settings: dict[str, Any] = {
        "host": f"127.0.0.1:{port}",
        "target": "/CP1?a=b",
        "subprotocols": ["ocpp1.6"],
        "headers": [],
        "compression": False,
        "max_message_size": MIB,
        "name": "CP1",
    }
    try:
        return upgrade.connect(stream, deadline=time.monotonic() + timeout, **{**settings, **options})
    except BaseException:
        stream.close()
        raise


def deflate(text: bytes) -> bytes:
    """Return the payload of a compressed message."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")

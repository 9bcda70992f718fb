"""Connections of a fake charge point to a central system: in memory, with or without threads, or over a socket."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ..central_system import CentralSystem, client_address_of, server_of
from ..errors import HandshakeError
from ..rpc.context import peer_name
from ..server.acceptor import AdmittedRequest
from ..server.serving import ConnectionServer
from ..validation.catalogue import SUBPROTOCOL_OF, Version
from ..wire.endpoint import Endpoint, open_websocket
from ..wire.http import Headers, HttpRequest, RefusalError
from ..wire.websocket import WebSocket
from .inline import InlineExecutor
from .memory import MemoryTransport, memory_pair

__all__ = ["Link", "link_in_memory", "link_over_socket"]

DEADLINE = 10.0
"""Seconds of real time that a connection attempt, a write or the central system's reader may take."""
_MAX_MESSAGE = 16 * 1024 * 1024  # bytes

OnMessage = Callable[[str], object]
"""Called with each received message."""
OnEnd = Callable[[], object]
"""Called once the connection has ended."""


class Link(Protocol):
    """A charge point's connection."""

    @property
    def transport(self) -> MemoryTransport | WebSocket:
        """The charge point's end."""
        raise NotImplementedError

    def start(self) -> None:
        """Start receiving messages."""

    def run_handlers(self) -> None:
        """Without handler threads: run the queued handlers on the calling thread."""

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the end of a closing connection; return whether it has ended."""
        raise NotImplementedError


class _InlineLink:
    """A connection in memory to a central system without handler threads.

    The central system's end has a reader thread, but it never runs in parallel with the sending thread: the sender
    waits until the reader has processed the message, and then runs the handlers itself.
    """

    def __init__(
        self,
        server: ConnectionServer,
        executor: InlineExecutor,
        admitted: AdmittedRequest,
        on_message: OnMessage,
        on_end: OnEnd,
    ) -> None:
        self._server = server
        self._executor = executor
        self._admitted = admitted
        self._on_message = on_message
        self._on_end = on_end
        self._server_end, self.transport = memory_pair(admitted.charge_point_id, server.context.timer.now)
        self._server_end.on_arrival = self._settle
        self.transport.on_arrival = self._deliver
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        self._reader = _start_serving(self._server, self._server_end, self._admitted)
        self._settle()

    def _settle(self) -> None:
        if self._server.owns_this_thread:
            return  # a reader thread; the sender waiting for it runs the handlers
        if not self._server_end.wait_idle(DEADLINE):
            raise RuntimeError(
                f"the reader of {self._server_end!r} made no progress for {DEADLINE:g} s; "
                "check that on_raw_websocket_data does not block"
            )
        if self._server_end.released and self._reader is not None:
            self._reader.join(DEADLINE)
        self._executor.run()

    def _deliver(self) -> None:
        # A reader must not wait for the script, so it leaves the messages to the executor.
        if not (self._server.owns_this_thread and self._executor.submit(self._drain)):
            self._drain()
            self._settle()

    def _drain(self) -> None:
        while (text := self.transport.receive_now()) is not None:
            self._on_message(text)
        if self.transport.ended and not self.transport.released:
            self.transport.release()
            self._on_end()

    def run_handlers(self) -> None:
        self._settle()
        self._executor.wait_idle(0)

    def join(self, timeout: float) -> bool:
        self._settle()
        return self.transport.ended


class _ThreadedLink:
    """A connection with a thread that receives messages."""

    def __init__(self, transport: MemoryTransport | WebSocket, name: str, on_message: OnMessage, on_end: OnEnd) -> None:
        self.transport = transport
        self._on_message = on_message
        self._on_end = on_end
        self._thread = threading.Thread(target=self._run, name=f"ocppsync-fake-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        # Ends with the connection: then receive returns None.
        try:
            while (text := self.transport.receive()) is not None:
                self._on_message(text)
        finally:
            self.transport.abort()
            self.transport.release()
            self._on_end()

    def run_handlers(self) -> None:
        pass

    def join(self, timeout: float) -> bool:
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()


def link_in_memory(
    cs: CentralSystem,
    endpoint: Endpoint,
    version: Version,
    headers: Sequence[tuple[str, str]],
    *,
    on_message: OnMessage,
    on_end: OnEnd,
) -> Link:
    """Connect in memory to a central system, with the same admission checks as over a socket.

    Raises:
        HandshakeError: the central system refused the connection; ``status`` is the HTTP status.
    """
    server = server_of(cs)
    try:
        admitted = server.admit(client_address_of(cs).add_to(_http_request(endpoint, version, headers)))
    except RefusalError as refusal:
        raise HandshakeError(
            f"the central system refused the connection with HTTP {refusal.status}: {refusal.reason}",
            status=refusal.status,
        ) from None
    executor = server.context.executor
    if isinstance(executor, InlineExecutor):
        return _InlineLink(server, executor, admitted, on_message, on_end)
    server_end, charge_point_end = memory_pair(admitted.charge_point_id, server.context.timer.now)
    _start_serving(server, server_end, admitted)
    server_end.wait_idle(DEADLINE)  # until the central system has registered the connection
    return _ThreadedLink(charge_point_end, admitted.charge_point_id, on_message, on_end)


def has_threads(cs: CentralSystem) -> bool:
    """Return whether a started central system has handler threads; False inside `inline`."""
    return not isinstance(server_of(cs).context.executor, InlineExecutor)


def _start_serving(server: ConnectionServer, transport: MemoryTransport, admitted: AdmittedRequest) -> threading.Thread:
    name = f"ocppsync-reader-{admitted.charge_point_id}"
    reader = threading.Thread(target=server.serve_transport, args=(transport, admitted), name=name, daemon=True)
    reader.start()
    return reader


def _http_request(endpoint: Endpoint, version: Version, headers: Sequence[tuple[str, str]]) -> HttpRequest:
    fields = (
        ("Host", endpoint.host_header),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode()),
        ("Sec-WebSocket-Protocol", SUBPROTOCOL_OF[version]),
        *headers,
    )
    path, _, query = endpoint.target.partition("?")
    return HttpRequest("GET", path, query, Headers(fields), ("127.0.0.1", 0))


def link_over_socket(
    cs: CentralSystem,
    endpoint: Endpoint,
    version: Version,
    headers: Sequence[tuple[str, str]],
    *,
    on_message: OnMessage,
    on_end: OnEnd,
) -> Link:
    """Connect to the port of a central system.

    Raises:
        HandshakeError: the central system refused the connection or did not answer.
        RuntimeError: the central system has no handler threads.
    """
    if not has_threads(cs):
        raise RuntimeError('over="socket" needs handler threads: set inline = False, or do not use inline()')
    identity = endpoint.charge_point_id
    websocket = open_websocket(
        endpoint,
        deadline=time.monotonic() + DEADLINE,
        subprotocols=[SUBPROTOCOL_OF[version]],
        headers=headers,
        write_timeout=DEADLINE,
        max_message_size=_MAX_MESSAGE,
        name=identity,
        peer=peer_name("charge_point", identity),
    )
    return _ThreadedLink(websocket, identity, on_message, on_end)

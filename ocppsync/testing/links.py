"""How a fake charge point is linked to a central system: in memory, with or without threads, or over a socket."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ..central_system import CentralSystem, server_of
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
"""Seconds of real time after which something in here is stuck."""
_MAX_MESSAGE = 16 * 1024 * 1024

Take = Callable[[str], object]
"""Is given each message that comes."""
Ended = Callable[[], object]
"""Is called when the connection has ended."""


class Link(Protocol):
    """A charge point's connection."""

    @property
    def transport(self) -> MemoryTransport | WebSocket:
        """The charge point's end."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to take messages."""

    def run_handlers(self) -> None:
        """Run the handlers that wait for the calling thread to run them."""

    def join(self, timeout: float) -> bool:
        """Wait for the end of a connection that is being closed; return whether it has come."""
        raise NotImplementedError


class _InlineLink:
    """A connection in memory to a central system without handler threads: all happens on the thread that sends.

    The central system's end has a reader as ever, which never runs beside the thread that sent it something: that one
    waits until the reader has dealt with it, and then runs the handlers.
    """

    def __init__(
        self,
        server: ConnectionServer,
        executor: InlineExecutor,
        admitted: AdmittedRequest,
        take: Take,
        ended: Ended,
    ) -> None:
        self._server = server
        self._executor = executor
        self._admitted = admitted
        self._take = take
        self._ended = ended
        self._carrier, self.transport = memory_pair(admitted.charge_point_id, server.context.timer.now)
        self._carrier.on_arrival = self._settle
        self.transport.on_arrival = self._deliver
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        self._reader = _start_serving(self._server, self._carrier, self._admitted)
        self._settle()

    def _settle(self) -> None:
        if self._server.owns_this_thread:
            return  # it is a reader, and whoever waits for it goes on here
        if not self._carrier.wait_idle(DEADLINE):
            raise RuntimeError(f"the reader of {self._carrier!r} is stuck; what does on_raw_websocket_data do?")
        if self._carrier.released and self._reader is not None:
            self._reader.join(DEADLINE)
        self._executor.run()

    def _deliver(self) -> None:
        # A reader must not wait for what the script makes of this.
        if not (self._server.owns_this_thread and self._executor.submit(self._drain)):
            self._drain()
            self._settle()

    def _drain(self) -> None:
        while (text := self.transport.receive_now()) is not None:
            self._take(text)
        if self.transport.ended and not self.transport.released:
            self.transport.release()
            self._ended()

    def run_handlers(self) -> None:
        self._settle()
        self._executor.wait_idle(0)

    def join(self, timeout: float) -> bool:
        self._settle()
        return self.transport.ended


class _ThreadedLink:
    """A connection whose messages are taken on a thread of its own."""

    def __init__(self, carrier: MemoryTransport | WebSocket, name: str, take: Take, ended: Ended) -> None:
        self.transport = carrier
        self._take = take
        self._ended = ended
        self._thread = threading.Thread(target=self._run, name=f"ocppsync-fake-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        # Ends with the connection.
        try:
            while (text := self.transport.receive()) is not None:
                self._take(text)
        finally:
            self.transport.abort()
            self.transport.release()
            self._ended()

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
    take: Take,
    ended: Ended,
) -> Link:
    """Connect to a central system in this process, which admits or refuses the charge point as over a socket.

    Raises:
        HandshakeError: it refuses; ``status`` is what it would have answered.
    """
    server = server_of(cs)
    try:
        admitted = server.admit(_http_request(endpoint, version, headers))
    except RefusalError as refusal:
        raise HandshakeError(
            f"the central system refused the connection with HTTP {refusal.status}: {refusal.reason}",
            status=refusal.status,
        ) from None
    executor = server.context.executor
    if isinstance(executor, InlineExecutor):
        return _InlineLink(server, executor, admitted, take, ended)
    carrier, charge_point = memory_pair(admitted.charge_point_id, server.context.timer.now)
    _start_serving(server, carrier, admitted)
    carrier.wait_idle(DEADLINE)  # until it is known as connected
    return _ThreadedLink(charge_point, admitted.charge_point_id, take, ended)


def has_threads(cs: CentralSystem) -> bool:
    """Return whether the handlers of a started central system run on threads, unlike with `inline`."""
    return not isinstance(server_of(cs).context.executor, InlineExecutor)


def _start_serving(server: ConnectionServer, carrier: MemoryTransport, admitted: AdmittedRequest) -> threading.Thread:
    name = f"ocppsync-reader-{admitted.charge_point_id}"
    reader = threading.Thread(target=server.serve_transport, args=(carrier, admitted), name=name, daemon=True)
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
    take: Take,
    ended: Ended,
) -> Link:
    """Connect to a central system's port.

    Raises:
        HandshakeError: it refuses, or does not answer.
        RuntimeError: its handlers have no threads to run on.
    """
    if not has_threads(cs):
        raise RuntimeError("over a socket, handlers need threads; say inline = False")
    identity = endpoint.target.rpartition("/")[2]
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
    return _ThreadedLink(websocket, identity, take, ended)

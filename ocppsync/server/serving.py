"""Serves the connections of a central system, each on a thread: from the charge point's arrival to its end."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, auto

from ..request import ConnectionMetadata
from ..rpc.connection import Connection
from ..rpc.context import ConnectionContext
from ..rpc.local_end import LocalEnd
from ..rpc.registration import CentralSystemPolicy, MessagePolicy
from ..threads.pool import Workers
from ..threads.stuck_handlers import StuckHandlerDetector
from ..threads.timer import Timer
from ..validation.catalogue import SUBPROTOCOLS
from ..wire.http import HttpRequest
from ..wire.transport import CloseCode, Transport
from .acceptor import Acceptor, AdmittedRequest
from .admission import Security
from .registry import Registry

__all__ = ["ConnectionServer", "ServerContext"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerContext:
    """What a central system hands to its server.

    Attributes:
        end: handlers and options.
        acceptor: does the handshakes.
        registry: knows which charge points are connected.
        executor: where handlers run.
        timer: for deadlines and pings.
        detector: knows which handlers run.
        security: decides about credentials; None: nothing does.
        enforce_registration: whether charge points have to be accepted before they may send.
    """

    end: LocalEnd
    acceptor: Acceptor
    registry: Registry
    executor: Workers
    timer: Timer
    detector: StuckHandlerDetector
    security: Security | None
    enforce_registration: bool


class ServingState(IntEnum):
    """The life of a server; it only moves forward."""

    OPEN = auto()
    CLOSING = auto()
    """No more connections, and no more CALLs of those that are there."""
    ABORTING = auto()
    """The time for closing is over."""


class ConnectionServer:
    """Serves charge points until their connections have ended."""

    def __init__(self, context: ServerContext) -> None:
        self.context = context
        self._acceptor = context.acceptor
        self._registry = context.registry
        self._close_timeout = context.end.options.timeouts.close
        self._changed = threading.Condition()  # guards the next; notified when a thread has finished
        # The threads that serve a connection. True for one that was started here, and so ends with its connection.
        self._serving: dict[threading.Thread, bool] = {}
        self._state = ServingState.OPEN

    def __repr__(self) -> str:
        return f"<ConnectionServer {self._state.name} threads={len(self._serving)}>"

    @property
    def owns_this_thread(self) -> bool:
        """Whether the calling thread serves a connection."""
        return threading.current_thread() in self._serving

    # Arrival.

    def start_reader(self, sock: socket.socket) -> None:
        """Serve a new connection on a thread of its own.

        Raises:
            RuntimeError: the system lets no thread start.
        """
        reader = threading.Thread(target=self._accept, args=(sock,), name="ocppsync-reader", daemon=True)
        with self._changed:
            self._serving[reader] = True
        try:
            reader.start()
        except RuntimeError:
            self._leave(reader)
            raise

    def _accept(self, sock: socket.socket) -> None:
        # Ends: the handshake is bounded in time, and Connection.run ends with the connection.
        try:
            upgraded = self._acceptor.accept(sock)
            if upgraded is not None:
                try:
                    self._serve(upgraded, upgraded.websocket)
                finally:
                    upgraded.slot.release()
        finally:
            self._leave(threading.current_thread())

    def admit(self, http_request: HttpRequest) -> AdmittedRequest:
        """Decide about an upgrade request that another kind of server has read.

        An admitted request takes up a slot until `serve_socket` or `serve_transport` has returned, or until
        ``slot.release()``.

        Raises:
            RefusalError: what to answer instead.
        """
        return self._acceptor.admit(http_request)

    def serve_socket(self, sock: socket.socket, admitted: AdmittedRequest) -> None:
        """Serve an admitted charge point on the calling thread; returns when the connection has ended.

        The socket is closed then.
        """
        with self._on_this_thread(admitted):
            try:
                upgraded = self._acceptor.upgrade(self._acceptor.plain_stream(sock), admitted)
                self._serve(upgraded, upgraded.websocket)
            except OSError as error:
                # The peer disconnected before the 101 response.
                _logger.info("%s disconnected: %s", admitted.charge_point_id, error, extra=admitted.log_fields)
            finally:
                with contextlib.suppress(OSError):
                    sock.close()

    def serve_transport(self, transport: Transport, admitted: AdmittedRequest) -> None:
        """Serve an admitted charge point over a transport of another kind, as `serve_socket` does."""
        with self._on_this_thread(admitted):
            self._serve(admitted, transport)

    @contextlib.contextmanager
    def _on_this_thread(self, admitted: AdmittedRequest) -> Iterator[None]:
        thread = threading.current_thread()
        name = thread.name
        with self._changed:
            self._serving[thread] = False
        try:
            yield
        finally:
            admitted.slot.release()
            thread.name = name
            self._leave(thread)

    def _leave(self, thread: threading.Thread) -> None:
        with self._changed:
            self._serving.pop(thread, None)
            self._changed.notify_all()

    # A connection.

    def _serve(self, admitted: AdmittedRequest, transport: Transport) -> None:
        threading.current_thread().name = f"ocppsync-reader-{admitted.charge_point_id}"
        if self._state is not ServingState.OPEN:
            # `close()` began during authorization.
            transport.abort()
            transport.release()
            return
        subprotocol = admitted.decision.subprotocol
        if subprotocol is None:
            self._close_without_protocol(admitted, transport)
            return
        connection = self._make_connection(transport, admitted, SUBPROTOCOLS[subprotocol])
        host, port = admitted.http_request.remote_address
        text = "%s connected from %s:%d (%s)"
        _logger.info(text, admitted.charge_point_id, host, port, subprotocol, extra=admitted.log_fields)
        self._run(connection, transport, admitted)

    def _make_connection(self, transport: Transport, admitted: AdmittedRequest, version: str) -> Connection:
        server, credentials = self.context, admitted.decision.credentials
        metadata = ConnectionMetadata(admitted.charge_point_id, version, admitted.http_request)
        record = server.registry.record(metadata.charge_point_id)
        security = None
        if server.security is not None and credentials is not None:
            security = server.security.checks(metadata, credentials)
        context = ConnectionContext(
            metadata=metadata,
            messages=server.end.message_sets.messages(version),
            policy=CentralSystemPolicy(record.registration) if server.enforce_registration else MessagePolicy(),
            security=security,
            router=server.end.router,
            executor=server.executor,
            timer=server.timer,
            answers=record.answers,
            detector=server.detector,
            options=server.end.options,
            log_fields=admitted.log_fields,
        )
        return Connection(transport, context)

    def _run(self, connection: Connection, transport: Transport, admitted: AdmittedRequest) -> None:
        charge_point_id, fields = admitted.charge_point_id, admitted.log_fields
        previous = self._registry.add(connection)
        if previous is not None:
            _logger.warning("%s connected again; its earlier connection is closed", charge_point_id, extra=fields)
            previous.supersede()
            previous.close(CloseCode.POLICY_VIOLATION, "another connection of the same identity")
        # The 101 goes out only now: a client that has seen the charge point connect may send it requests.
        transport.open()
        # `close()` may have looked for connections just before this one was added.
        if self._state is ServingState.ABORTING:
            connection.abort()
        elif self._state is ServingState.CLOSING:
            connection.drain()
            _say_goodbye(connection)
        try:
            connection.run()
        finally:
            # Free the slot before listeners see "disconnected".
            admitted.slot.release()
            self._registry.remove(connection)
            _logger.info("%s disconnected (close code %s)", charge_point_id, connection.close_code, extra=fields)

    def _close_without_protocol(self, admitted: AdmittedRequest, transport: Transport) -> None:
        # J16 §3.2: complete the handshake without naming a subprotocol, then close at once.
        text = "%s offers no subprotocol that is served here; its connection is closed"
        _logger.warning(text, admitted.charge_point_id, extra=admitted.log_fields)
        transport.on_closing = lambda: self.context.timer.call_later(self._close_timeout, transport.abort)
        try:
            transport.open()
            transport.close(CloseCode.PROTOCOL_ERROR, "no common subprotocol")
            while transport.receive() is not None:
                pass
        finally:
            transport.release()

    # The end.

    def drain(self) -> None:
        """Accept no more connections, and hand out no more CALLs."""
        self._state = ServingState.CLOSING
        self._acceptor.close()
        for connection in self._registry.connections():
            connection.drain()

    def close(self) -> None:
        """Close all connections; returns when they have ended, or a little after the close timeout."""
        for connection in self._registry.connections():
            _say_goodbye(connection)
        deadline = time.monotonic() + self._close_timeout
        self._wait(deadline)
        self._state = ServingState.ABORTING
        for connection in self._registry.connections():
            connection.abort()
        self._wait(deadline + 1)

    def _wait(self, deadline: float) -> None:
        this = threading.current_thread()
        with self._changed:
            started_here = [thread for thread, own in self._serving.items() if own]
            self._changed.wait_for(lambda: not self._serving.keys() - {this}, max(0.0, deadline - time.monotonic()))
            finished = [thread for thread in started_here if thread not in self._serving]
        # These are at their last line.
        for thread in finished:
            thread.join()


def _say_goodbye(connection: Connection) -> None:
    connection.close(CloseCode.GOING_AWAY, "the central system stops")

"""Serves the connections of a central system, each on a thread, from the handshake to the end."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, auto

from ..faults.interrupts import raise_interrupt
from ..request import ConnectionMetadata
from ..rpc.connection import Connection
from ..rpc.context import ConnectionContext
from ..rpc.local_end import LocalEnd
from ..rpc.registration import CentralSystemPolicy, MessagePolicy
from ..threads.joining import living
from ..threads.pool import Workers
from ..threads.stuck_handlers import StuckHandlerDetector
from ..threads.timer import Timer, TimerHandle
from ..throttled_log import ThrottledLog
from ..validation.catalogue import SUBPROTOCOLS
from ..wire.http import DisconnectedError, HttpRequest, RefusalError, send_refusal, shown_client
from ..wire.streams import Stream
from ..wire.transport import CloseCode, Transport
from .acceptor import Acceptor, AdmittedRequest, log_refusal, report_refusal
from .admission import Security
from .registry import Registry

__all__ = ["ConnectionServer", "ServerContext"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerContext:
    """What a `ConnectionServer` needs from its central system.

    Attributes:
        end: handlers and options.
        acceptor: performs the handshakes.
        registry: the connected charge points.
        executor: runs the handlers.
        timer: for deadlines and pings.
        detector: keeps track of the running handlers.
        security: authenticates charge points by security profile; None: no profiles.
        enforce_registration: restrict charge points until their BootNotification is accepted.
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
    """New connections are refused; existing ones handle no more CALLs."""
    ABORTING = auto()
    """The close timeout has passed: remaining connections are aborted."""


class ConnectionServer:
    """Serves each charge point until its connection ends."""

    def __init__(self, context: ServerContext) -> None:
        self.context = context
        self._acceptor = context.acceptor
        self._registry = context.registry
        self._close_timeout = context.end.options.timeouts.close
        self._changed = threading.Condition()  # guards the next three fields; notified when a thread has finished
        # The threads that serve a connection. True: started here, and ends with the connection; False: of a WSGI server
        # or a test.
        self._serving: dict[threading.Thread, bool] = {}
        self._leaving: list[threading.Thread] = []  # those started here that are at their last line, or have ended
        self._state = ServingState.OPEN

    def __repr__(self) -> str:
        return f"<ConnectionServer {self._state.name} threads={len(self._serving)}>"

    @property
    def owns_this_thread(self) -> bool:
        """Whether the calling thread serves a connection."""
        return threading.current_thread() in self._serving

    # New connections.

    def start_reader(self, sock: socket.socket) -> None:
        """Serve a new connection on a thread of its own.

        Raises:
            RuntimeError: the thread cannot be started.
        """
        reader = threading.Thread(target=self._accept, args=(sock,), name="ocppsync-reader", daemon=True)
        with self._changed:
            self._serving[reader] = True
        try:
            reader.start()
        except RuntimeError:
            self._remove_thread(reader)
            raise

    def _accept(self, sock: socket.socket) -> None:
        # Ends: the handshake has a timeout, and Connection.run ends with the connection.
        try:
            upgraded = self._acceptor.accept(sock)
            if upgraded is not None:
                try:
                    self._serve(upgraded, upgraded.websocket)
                finally:
                    upgraded.end_handshake()
        except BaseException as error:
            text, throttle = "a new connection failed", self.context.end.options.throttle
            throttle.log(_logger, "", text, text, level=logging.ERROR, error=error)
        finally:
            self._remove_thread(threading.current_thread())

    def admit(self, http_request: HttpRequest, has_gone: Callable[[], bool] | None = None) -> AdmittedRequest:
        """Admit an upgrade request that was read elsewhere, such as by a WSGI server.

        An admitted request occupies a slot until `serve_socket` or `serve_transport` returns, or until
        ``slot.release()``.

        Args:
            http_request: the request, with the address of its client (`client_address_of`).
            has_gone: returns whether the peer has hung up; None: not known.

        Raises:
            RefusalError: the request is refused; the error holds the response.
            DisconnectedError: the peer has gone while it waited.
        """
        return self._acceptor.admit(http_request, has_gone)

    def serve_socket(self, sock: socket.socket, admitted: AdmittedRequest) -> None:
        """Serve an admitted charge point on the calling thread until the connection ends, then close the socket."""
        with self._on_this_thread(admitted):
            try:
                stream = self._acceptor.plain_stream(sock)
            except OSError as error:
                # The peer disconnected before the 101 response.
                self._log(admitted, "%s disconnected: %s", error)
                sock.close()
            else:
                self._upgrade_and_serve(stream, admitted)

    def _upgrade_and_serve(self, stream: Stream, admitted: AdmittedRequest) -> None:
        try:
            upgraded = self._acceptor.upgrade(stream, admitted)
        except BaseException as error:
            self.fail(admitted, error, lambda refusal, code: send_refusal(stream, refusal))
        else:
            self._serve(upgraded, upgraded.websocket)
        finally:
            stream.close()

    def serve_transport(self, transport: Transport, admitted: AdmittedRequest) -> None:
        """Serve an admitted charge point over any transport on the calling thread until the connection ends."""
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
            self._remove_thread(thread)

    def _remove_thread(self, thread: threading.Thread) -> None:
        with self._changed:
            if self._serving.pop(thread, False):
                self._leaving = living([*self._leaving, thread])
            self._changed.notify_all()

    # One connection.

    def _serve(self, admitted: AdmittedRequest, transport: Transport) -> None:
        try:
            self._open_and_run(admitted, transport)
        except DisconnectedError as error:
            self._log(admitted, "%s was not let in: %s", error, level=error.level)
            transport.abort()
            transport.release()
        except RefusalError as refusal:
            log_refusal(refusal, admitted.http_request, self.context.end.options.throttle)
            if transport.refuse(refusal, CloseCode.POLICY_VIOLATION):
                report_refusal(refusal, admitted.http_request, self.context.end.options.observe)
        except BaseException as error:
            self.fail(admitted, error, transport.refuse)
        finally:
            admitted.slot.release()

    def fail(
        self, admitted: AdmittedRequest, error: BaseException, refuse: Callable[[RefusalError, int], bool]
    ) -> None:
        """End a connection that cannot be served, with an answer if there is none yet; for an exception handler.

        Raises:
            BaseException: ``error``, if it is to end the program.
        """
        request, refusal = admitted.http_request, RefusalError(500, "it could not be served")
        try:
            self._log(admitted, "%s could not be served", level=logging.ERROR, error=error)
        finally:
            if refuse(refusal, CloseCode.INTERNAL_ERROR):
                report_refusal(refusal, request, self.context.end.options.observe)
        raise_interrupt(error)

    def _open_and_run(self, admitted: AdmittedRequest, transport: Transport) -> None:
        threading.current_thread().name = f"ocppsync-reader-{admitted.charge_point_id}"
        self._check_open()
        subprotocol = admitted.decision.subprotocol
        if subprotocol is None:
            admitted.end_handshake()
            self._close_without_protocol(admitted, transport)
            return
        # Before the security profiles take note of it: `authorize` may have been slow, and the charge point impatient.
        _check_presence(transport)
        self._registry.check_newest(admitted.charge_point_id, admitted.slot.number)
        connection = self._make_connection(transport, admitted, SUBPROTOCOLS[subprotocol])
        # Again: they may have been slow too. From here on nothing waits for the application.
        self._check_open()
        _check_presence(transport)
        admitted.end_handshake()
        self._run(connection, transport, admitted)

    def _check_open(self) -> None:
        """Check that this server is not being closed, which may have begun while the application was asked.

        Raises:
            DisconnectedError: it is, or was.
        """
        if self._state is not ServingState.OPEN:
            raise DisconnectedError("the central system is closing")

    def _make_connection(self, transport: Transport, admitted: AdmittedRequest, version: str) -> Connection:
        server, credentials = self.context, admitted.decision.credentials
        metadata = ConnectionMetadata(admitted.charge_point_id, version, admitted.http_request)
        record = server.registry.record(metadata.charge_point_id)
        security = None
        if server.security is not None and credentials is not None:
            server.security.connected(metadata.charge_point_id, credentials)
            security = server.security.checks(metadata, credentials)
        context = ConnectionContext(
            metadata=metadata,
            messages=server.end.message_sets.messages(version),
            policy=CentralSystemPolicy(record.registration) if server.enforce_registration else MessagePolicy(),
            security=security,
            router=server.end.router,
            share=record.share,
            timer=server.timer,
            calls=record.calls,
            detector=server.detector,
            options=server.end.options,
            number=admitted.slot.number,
        )
        return Connection(transport, context)

    def _run(self, connection: Connection, transport: Transport, admitted: AdmittedRequest) -> None:
        previous = self._registry.add(connection)
        client, subprotocol = shown_client(admitted.http_request), admitted.decision.subprotocol
        self._log(admitted, "%s connected from %s (%s)", client, subprotocol)
        try:
            if previous is not None:
                self._replace(previous, admitted)
            # Send the 101 only now: the client may rely on the central system listing its charge point as connected.
            transport.open()
            # `close()` may have listed the connections just before this one was added.
            if self._state is ServingState.ABORTING:
                connection.abort()
            elif self._state is ServingState.CLOSING:
                _close_going_away(connection)
            connection.run()
        except BaseException:
            connection.give_up()
            raise
        finally:
            # Free the slot before listeners see "disconnected".
            admitted.slot.release()
            self._registry.remove(connection)
            self._log(admitted, "%s disconnected (close code %s)", connection.close_code)

    def _replace(self, previous: Connection, admitted: AdmittedRequest) -> None:
        self._log(admitted, "%s connected again; closing its previous connection", level=logging.WARNING)
        try:
            previous.supersede()
            previous.close(CloseCode.POLICY_VIOLATION, "another connection of the same identity")
        except BaseException:
            previous.abort()
            raise

    def _close_without_protocol(self, admitted: AdmittedRequest, transport: Transport) -> None:
        # J16 §3.2: complete the handshake without naming a subprotocol, then close at once.
        text = "%s and the central system have no common subprotocol; closing the connection"
        self._log(admitted, text, level=logging.WARNING)
        timer, appointments = self.context.timer, list[TimerHandle]()
        transport.on_closing = lambda: appointments.append(timer.call_later(self._close_timeout, transport.abort))
        try:
            transport.open()
            transport.close(CloseCode.PROTOCOL_ERROR, "no common subprotocol")
            while transport.receive() is not None:
                pass
        finally:
            for appointment in appointments:
                appointment.cancel()  # it would keep the connection in memory
            transport.release()

    def _log(
        self,
        admitted: AdmittedRequest,
        text: str,
        *args: object,
        level: int = logging.INFO,
        error: BaseException | None = None,
    ) -> None:
        log = ThrottledLog(admitted.charge_point_id, admitted.log_fields, self.context.end.options.throttle)
        log.about(_logger, text, *args, level=level, error=error)

    # Closing.

    def drain(self) -> None:
        """Refuse new connections, and handle no more CALLs."""
        self._advance(ServingState.CLOSING)
        self._acceptor.close()
        self._registry.drain()

    def close(self) -> None:
        """Close all connections; returns when they have ended, at the latest a second after the close timeout."""
        for connection in self._registry.connections():
            _close_going_away(connection)
        deadline = time.monotonic() + self._close_timeout
        self._wait(deadline)
        self._advance(ServingState.ABORTING)
        for connection in self._registry.connections():
            connection.abort()
        self._wait(deadline + 1)
        for connection in self._registry.connections():
            connection.end_requests()

    def _advance(self, state: ServingState) -> None:
        with self._changed:
            self._state = max(self._state, state)

    def _wait(self, deadline: float) -> None:
        this = threading.current_thread()
        with self._changed:
            self._changed.wait_for(lambda: not self._serving.keys() - {this}, max(0.0, deadline - time.monotonic()))
            leaving = self._leaving  # replaced, never changed
        # Does not block: these threads are at their last line.
        for thread in leaving:
            thread.join()


def _check_presence(transport: Transport) -> None:
    """Check that the peer is still there.

    Raises:
        DisconnectedError: it has gone.
    """
    if transport.peer_has_left:
        raise DisconnectedError("it closed its connection in the meantime")


def _close_going_away(connection: Connection) -> None:
    connection.close(CloseCode.GOING_AWAY, "the central system is closing")

"""The connections of a central system, each attended on a thread: from the charge point's arrival to its end."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

from ..request import ConnectionMetadata
from ..rpc.connection import Connection
from ..threads.timer import Timer
from ..validation.catalogue import SUBPROTOCOLS
from ..wire.transport import GOING_AWAY, POLICY_VIOLATION, PROTOCOL_ERROR, Transport
from .acceptor import Acceptor, AdmittedRequest
from .admission import Credentials
from .registry import Registry

__all__ = ["Connect", "ConnectionServer"]

_logger = logging.getLogger(__name__)

Connect = Callable[[Transport, ConnectionMetadata, Credentials | None], Connection]
"""Makes the connection of a transport, for somebody who has proved itself in that way."""


class ConnectionServer:
    """Attends to charge points until they have gone.

    Args:
        acceptor: lets them in.
        registry: knows who is connected.
        connect: makes their connections.
        timer: for those that get none.
        close_timeout: seconds that a charge point has to answer a Close.

    Attributes:
        timer: may be changed while nobody is attended.
    """

    def __init__(
        self, acceptor: Acceptor, registry: Registry, connect: Connect, timer: Timer, close_timeout: float
    ) -> None:
        self._acceptor = acceptor
        self._registry = registry
        self._connect = connect
        self.timer = timer
        self._close_timeout = close_timeout
        self._changed = threading.Condition()  # guards the next; notified when a thread is through
        self._attending: dict[
            threading.Thread, bool
        ] = {}  # whether it was started here, and so ends with its charge point
        self._closing = False
        self._aborting = False

    def __repr__(self) -> str:
        return f"<ConnectionServer threads={len(self._attending)}>"

    @property
    def owns_this_thread(self) -> bool:
        """Whether a charge point is attended on the calling thread."""
        return threading.current_thread() in self._attending

    # Arrival.

    def start_reader(self, sock: socket.socket) -> None:
        """Attend to a new connection on a thread of its own.

        Raises:
            RuntimeError: the system lets no thread start.
        """
        reader = threading.Thread(target=self._receive, args=(sock,), name="ocppsync-reader", daemon=True)
        with self._changed:
            self._attending[reader] = True
        try:
            reader.start()
        except RuntimeError:
            self._leave(reader)
            raise

    def _receive(self, sock: socket.socket) -> None:
        # Ends: the handshake is bounded in time, and Connection.run ends with the connection.
        try:
            visitor = self._acceptor.receive(sock)
            if visitor is not None:
                try:
                    self._attend(visitor, visitor.websocket)
                finally:
                    self._acceptor.forget(visitor)
        finally:
            self._leave(threading.current_thread())

    def serve_socket(self, sock: socket.socket, admission: AdmittedRequest) -> None:
        """Attend to somebody who was let in, on the calling thread; returns when the connection has ended.

        The socket is closed by then, and the admission forgotten.
        """
        with self._at_work(admission):
            try:
                visitor = self._acceptor.upgrade(self._acceptor.plain_stream(sock), admission)
                self._attend(visitor, visitor.websocket)
            except OSError as error:
                # It went before it could be told that it is in.
                _logger.info("%s broke off: %s", admission.admitted.charge_point_id, error)
            finally:
                with contextlib.suppress(OSError):
                    sock.close()

    def serve_transport(self, transport: Transport, admission: AdmittedRequest) -> None:
        """Attend to somebody who was let in and comes over a transport of another kind, as `serve_socket` does."""
        with self._at_work(admission):
            self._attend(admission, transport)

    @contextlib.contextmanager
    def _at_work(self, admission: AdmittedRequest) -> Iterator[None]:
        """Lend the calling thread to somebody who was let in."""
        thread = threading.current_thread()
        name = thread.name
        with self._changed:
            self._attending[thread] = False
        try:
            yield
        finally:
            self._acceptor.forget(admission)
            thread.name = name
            self._leave(thread)

    def _leave(self, thread: threading.Thread) -> None:
        with self._changed:
            self._attending.pop(thread, None)
            self._changed.notify_all()

    # Attending.

    def _attend(self, admission: AdmittedRequest, transport: Transport) -> None:
        admitted = admission.admitted
        threading.current_thread().name = f"ocppsync-reader-{admitted.charge_point_id}"
        if self._closing:
            # It was on its way through `authorize`, say, when everybody else was sent away.
            transport.abort()
            transport.release()
            return
        if admitted.subprotocol is None:
            self._close_without_protocol(admitted.charge_point_id, transport)
            return
        version = SUBPROTOCOLS[admitted.subprotocol]
        metadata = ConnectionMetadata(admitted.charge_point_id, version, admission.http_request)
        connection = self._connect(transport, metadata, admitted.credentials)
        host, port = admission.http_request.remote_address
        _logger.info("%s connected from %s:%d (%s)", admitted.charge_point_id, host, port, admitted.subprotocol)
        self._run(connection, transport, admission)

    def _run(self, connection: Connection, transport: Transport, admission: AdmittedRequest) -> None:
        metadata = connection.metadata
        previous = self._registry.add(connection)
        if previous is not None:
            _logger.warning("%s connected again; its earlier connection is closed", metadata.charge_point_id)
            previous.end_requests("another connection of the same identity has taken over")
            previous.close(POLICY_VIOLATION, "another connection of the same identity")
        # The charge point's answer goes out now that it can be found here: whoever has seen it connect may ask it.
        transport.open()
        # Whoever closes may have looked for connections just before this one could be found.
        if self._aborting:
            connection.abort()
        elif self._closing:
            connection.drain()
            _say_goodbye(connection)
        try:
            connection.run()
        finally:
            # First, for whoever is told that it has gone may count on the room that it makes.
            self._acceptor.forget(admission)
            self._registry.remove(connection)
            _logger.info("%s disconnected (close code %s)", metadata.charge_point_id, connection.close_code)

    def _close_without_protocol(self, charge_point_id: str, transport: Transport) -> None:
        # J16 §3.2: complete the handshake without naming a subprotocol, then close at once.
        _logger.warning("%s offers no subprotocol that is served here; its connection is closed", charge_point_id)
        transport.on_closing = lambda: self.timer.call_later(self._close_timeout, transport.abort)
        try:
            transport.open()
            transport.close(PROTOCOL_ERROR, "no common subprotocol")
            while transport.receive() is not None:
                pass
        finally:
            transport.release()

    # The end.

    def drain(self) -> None:
        """Let nobody else in, and hand out no more CALLs of those who are."""
        self._closing = True
        self._acceptor.close()
        for connection in self._registry.connections():
            connection.drain()

    def close(self) -> None:
        """Send everybody away; returns when they have gone, or a little after the close timeout."""
        for connection in self._registry.connections():
            _say_goodbye(connection)
        deadline = time.monotonic() + self._close_timeout
        self._wait(deadline)
        self._aborting = True
        for connection in self._registry.connections():
            connection.abort()
        self._wait(deadline + 1)

    def _wait(self, deadline: float) -> None:
        this = threading.current_thread()
        with self._changed:
            started_here = [thread for thread, own in self._attending.items() if own and thread is not this]
            self._changed.wait_for(lambda: not self._attending.keys() - {this}, max(0.0, deadline - time.monotonic()))
            through = [thread for thread in started_here if thread not in self._attending]
        # These are at their last line.
        for thread in through:
            thread.join()


def _say_goodbye(connection: Connection) -> None:
    connection.close(GOING_AWAY, "the central system stops")

"""The central system: the server that charge points connect to, with blocking calls."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .errors import RequestTimeoutError
from .events import Observer, observed_by
from .lenient import Lenient, Validation
from .limits import Limits
from .methods import CentralSystemHandler, CentralSystemMethods
from .options import check_positive, check_protocols, check_whole
from .request import CallResultErrorReceived, ConnectionMetadata
from .rpc.connection import Connection, ConnectionSettings
from .rpc.message_sets import MessageSets
from .rpc.registration import CentralSystemPolicy, MessagePolicy
from .rpc.requester import failed, not_connected
from .rpc.router import Router
from .security.profiles import SecurityPolicy, SecurityProfiles
from .server.acceptor import Acceptor, AdmittedRequest
from .server.admission import AdmissionPolicy, Authorize, Credentials, Identify
from .server.connection_limits import ConnectionLimiter
from .server.forwarded import ClientAddress
from .server.listener import Listener
from .server.registry import ConnectionListener, Registry
from .server.serving import ConnectionServer
from .threads.pool import HandlerPool, Workers
from .threads.stuck_handlers import StuckHandlerDetector
from .threads.timer import Timer
from .validation.catalogue import SUBPROTOCOLS
from .vendor import VendorAction, name_of
from .wire.http import HttpRequest, RefusalError
from .wire.tls import ServerTLS
from .wire.transport import NORMAL, Transport

if TYPE_CHECKING:
    from .journal import Journal

_logger = logging.getLogger(__name__)
_SIGNALS_SEEN = 0.5
"""Seconds after which `serve_forever` has noticed a Ctrl-C at the latest."""


class CentralSystem(CentralSystemMethods):
    """A central system on a port of its own.

    The constructor binds the port, so that a busy one is found at once; connections are accepted from `start`, which
    `serve_forever` and the ``with`` statement call.

    Args:
        port: where to listen; 0 picks a free port (see `port`), None listens on nothing.
        handler: one callable for every CALL, ``handler(request, metadata)``; `on` takes one action at a time instead.
            Both run in the thread pool and may block.
        host: the address to listen on.
        reject_invalid_requests: answer a CALL that breaks its schema with a CALLERROR. False: the handler gets it, with
            ``metadata.validation_error`` set.
        on_raw_socket_data: called with all bytes that are read, after TLS, on the reading thread; it must not block.
        on_raw_websocket_data: called with every message as text and a `ConnectionMetadata`, before anything else looks
            at it, on the reading thread; it must not block.
        websocket_ping_interval: seconds between pings; a charge point that shows no sign of life for a whole interval
            after one is dropped. None: no pings.
        request_timeout: seconds that `send_request` waits, unless it is told otherwise.
        protocols: the WebSocket subprotocols that are served. Where a charge point offers several, the first of its
            own list counts (J16 §3.1.3).
        default_protocol: the one for charge points that name none (J16 §3.1.3 says they must; some do not).
        refuse_unknown_protocol: refuse the upgrade with 400 where there is no common subprotocol, instead of upgrading
            and closing at once as J16 §3.2 says.
        security: the security profiles that charge points must meet, before ``authorize`` is asked; see
            `SecurityProfiles`. None: ``authorize`` alone decides.
        authorize: ``authorize(http_request, charge_point_id)`` decides before the upgrade: True lets in, False answers
            401, an HTTP status from 400 to 599 answers that (404 for an unknown identity, 403 for a forbidden one); an
            exception answers 500. It runs on the connection's own thread and may block.
        identify: ``identify(http_request)`` returns the identity, instead of the last path segment; None answers 404.
        ssl_context: serve TLS (wss) with it; see `server_context`, and `ServerTLS` for one that can be renewed.
        compression: accept permessage-deflate. None: from charge points that speak 2.0.1 or 2.1, whose specification
            asks for it (4/201 §3.3), and from no others.
        registration_gate: while the last BootNotification of a charge point was answered with Pending or Rejected,
            answer everything else that it sends with SecurityError, but for what it was asked for by TriggerMessage,
            GetBaseReport or GetReport (2/201 B02, B03).
        lenient: what is tolerated beyond the specification; see `Lenient`.
        validation: what becomes of payloads that break their schema; see `Validation`.
        vendor_actions: actions beyond those of OCPP; see `VendorAction`.
        observers: functions that are told what happens; see `ocppsync.events`.
        journal: a `Journal`, or the path of a file for one: every message is written there. `close` closes it.
        limits: how much is taken from the peers; see `Limits`.
        handler_timeout: seconds after which a CALL whose handler has not finished is answered with InternalError, and
            the log tells where it hangs; None: never.
        on_call_result_error: called in the handler pool with a `CallResultErrorReceived`, when a charge point could not
            use an answer (2.1).
        handler_threads: how many handlers may run at once.
        max_message_size: the longest message in bytes; a longer one closes the connection with 1009.
        max_header_size: the longest request head in bytes.
        max_queued_calls: how many CALLs of one charge point may wait for their handler; one more gets a CALLERROR.
        handshake_timeout: seconds for TLS and HTTP together.
        write_timeout: seconds that a charge point may leave what is sent to it unread.
        close_timeout: seconds that a charge point has to answer a Close.

    Raises:
        OSError: the port cannot be listened on.
        ValueError: an option is out of its range; the text names it.
    """

    def __init__(
        self,
        port: int | None,
        handler: CentralSystemHandler | None = None,
        *,
        host: str = "0.0.0.0",  # noqa: S104 (chargers come from outside: that is what it is for)
        reject_invalid_requests: bool = True,
        on_raw_socket_data: Callable[[bytes], object] | None = None,
        on_raw_websocket_data: Callable[[str, ConnectionMetadata], object] | None = None,
        websocket_ping_interval: float | None = 30.0,
        request_timeout: float = 30.0,
        protocols: Sequence[str] = tuple(SUBPROTOCOLS),
        default_protocol: str | None = None,
        refuse_unknown_protocol: bool = False,
        security: SecurityProfiles | None = None,
        authorize: Authorize | None = None,
        identify: Identify | None = None,
        ssl_context: ssl.SSLContext | ServerTLS | None = None,
        compression: bool | None = None,
        registration_gate: bool = True,
        lenient: Lenient | None = None,
        validation: Validation | None = None,
        vendor_actions: Sequence[VendorAction] = (),
        on_call_result_error: Callable[[CallResultErrorReceived], object] | None = None,
        observers: Sequence[Observer] = (),
        journal: Journal | str | Path | None = None,
        limits: Limits | None = None,
        handler_timeout: float | None = 60.0,
        handler_threads: int = 16,
        max_message_size: int = 1024 * 1024,
        max_header_size: int = 16 * 1024,
        max_queued_calls: int = 100,
        handshake_timeout: float = 10.0,
        write_timeout: float = 20.0,
        close_timeout: float = 5.0,
    ) -> None:
        limits = limits or Limits()
        self._journal = _opened(journal)
        check_protocols(protocols, default_protocol)
        check_positive(handshake_timeout=handshake_timeout, write_timeout=write_timeout)
        check_whole(handler_threads=handler_threads, max_message_size=max_message_size, max_header_size=max_header_size)
        self._settings = ConnectionSettings(
            request_timeout=request_timeout,
            reject_invalid_requests=reject_invalid_requests,
            websocket_ping_interval=websocket_ping_interval,
            close_timeout=close_timeout,
            max_queued_calls=max_queued_calls,
            on_raw_websocket_data=on_raw_websocket_data,
            on_call_result_error=on_call_result_error,
            handler_timeout=handler_timeout,
            observe=observed_by([*observers, *([self._journal] if self._journal is not None else ())]),
            max_malformed_frames=limits.malformed_frames,
            max_queued_requests=limits.queued_requests,
            idle_timeout=limits.idle,
        )
        limiter = ConnectionLimiter(limits, self._now)
        self._acceptor = Acceptor(
            AdmissionPolicy(
                protocols=tuple(protocols),
                default_protocol=default_protocol,
                refuse_unknown_protocol=refuse_unknown_protocol,
                security=None if security is None else security.admit,
                authorize=authorize,
                identify=identify,
                compression=compression,
                limiter=limiter,
            ),
            limiter=limiter,
            client_address=ClientAddress(limits.trusted_proxies),
            max_handshakes=limits.handshakes,
            max_handshakes_per_address=limits.handshakes_per_address,
            ssl_context=ssl_context,
            handshake_timeout=handshake_timeout,
            max_header_size=max_header_size,
            max_message_size=max_message_size,
            write_timeout=write_timeout,
            on_raw_socket_data=on_raw_socket_data,
            observe=self._settings.observe,
        )
        spoken = protocols if default_protocol is None else dict.fromkeys([*protocols, default_protocol])
        self._message_sets = MessageSets(
            "central_system", tuple(spoken), vendor_actions=vendor_actions, lenient=lenient, validation=validation
        )
        self._router = Router(self._message_sets, handler)
        self._registration_gate = registration_gate
        self._security = security
        self._pool: Workers = HandlerPool(handler_threads, "ocppsync-handler")
        self._timer = Timer("ocppsync-timer")
        self._watch = StuckHandlerDetector(self._pool, self._timer)
        self._registry = Registry(self._pool, self._now)
        self._lock = threading.Lock()  # guards the life of this object: the marks below
        self._started = False
        self._process: int | None = None  # that it was started in
        self._closing = False
        self._closed = threading.Event()
        self._server = ConnectionServer(self._acceptor, self._registry, self._connect, self._timer, close_timeout)
        self._host = host
        try:
            self._listener = None if port is None else Listener(host, port, self._server.start_reader)
        except OSError:
            if self._journal is not None:
                self._journal.close()
            raise

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open" if self._started else "not started"
        where = f"{self._host}:{self.port}" if self._listener else "no port"
        return f"<CentralSystem {where} {state} charge_points={len(self._registry.connections())}>"

    @property
    def port(self) -> int | None:
        """The port that it listens on."""
        return self._listener.port if self._listener else None

    @property
    def charge_points(self) -> list[str]:
        """The identities that are connected now, sorted."""
        return self._registry.charge_points()

    # Life.

    def ocpp_version(self, charge_point_id: str) -> str | None:
        """Return the version of OCPP that a charge point's connection speaks; None where there is no connection."""
        connection = self._registry.get(charge_point_id)
        return None if connection is None else connection.metadata.ocpp_version

    def start(self) -> CentralSystem:
        """Begin to accept connections; return this object. A second call does nothing.

        Raises:
            RuntimeError: it was closed.
        """
        with self._lock:
            if self._closing:
                raise RuntimeError("this central system is closed")
            if not self._started and self._listener is not None:
                self._listener.start()
            if not self._started:
                self._watch.start()
            self._started, self._process = True, os.getpid()
        return self

    def _run_on(self, pool: Workers, timer: Timer) -> None:
        """Run handlers and keep the time elsewhere than on threads of its own; see `ocppsync.testing`.

        Raises:
            RuntimeError: it was started, so that handlers may run already.
        """
        with self._lock:
            if self._started or self._closing:
                raise RuntimeError("this central system was started already")
            self._pool = self._registry.executor = pool
            self._timer = self._server.timer = timer
            self._watch = StuckHandlerDetector(pool, timer)

    def _now(self) -> float:
        return self._timer.now()  # which may be another timer later on

    def serve_forever(self) -> None:
        """Accept connections and wait until `close` is called elsewhere, or Ctrl-C, which closes it."""
        try:
            self.start()
            # Not one long wait: a signal that comes just before it begins would only be seen at its end.
            while not self._closed.wait(_SIGNALS_SEEN):
                pass
        except KeyboardInterrupt:
            self.close()

    def close(self, grace: float = 5.0) -> None:
        """Stop: no new connections or CALLs, running handlers may finish, every charge point gets a Close 1001.

        It takes at most ``grace`` and the close timeout, whatever the peers do. CALLs that still wait for a handler
        stay unanswered: the charge point sends them again after it has reconnected. It may be called from anywhere,
        and more than once: also from a handler, which then finishes last. In a process that was forked off after
        `start` it does nothing: the connections are those of the first one, and so are the threads.

        Args:
            grace: seconds that running handlers have to finish and answer.
        """
        if self._process not in (None, os.getpid()):
            # Not even the lock: a thread that is not here may have held it.
            return
        with self._lock:
            first, self._closing = not self._closing, True
        if not first:
            if not self._is_own_thread():
                self._closed.wait(grace + self._settings.close_timeout + 1)
            return
        if self._listener is not None:
            self._listener.close()
        self._server.drain()
        if not self._pool.wait_idle(grace):
            _logger.warning("handlers still run after %g s; their answers are lost", grace)
        self._server.close()
        self._pool.close(0.0 if self._pool.owns_this_thread else 1.0)
        self._timer.close()
        if self._journal is not None:
            self._journal.close()
        self._closed.set()

    def _is_own_thread(self) -> bool:
        return self._pool.owns_this_thread or self._server.owns_this_thread

    def __enter__(self) -> CentralSystem:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Connections.

    def _connect(
        self, transport: Transport, metadata: ConnectionMetadata, credentials: Credentials | None
    ) -> Connection:
        station = self._registry.station(metadata.charge_point_id)
        gate = CentralSystemPolicy(station.registration) if self._registration_gate else MessagePolicy()
        if self._security is not None and credentials is not None:
            self._security.connected(metadata.charge_point_id, credentials)
            gate = SecurityPolicy(gate, self._security, metadata, credentials)
        return Connection(
            transport,
            metadata,
            self._settings,
            router=self._router,
            messages=self._message_sets.messages(metadata.ocpp_version),
            gate=gate,
            executor=self._pool,
            timer=self._timer,
            answers=station.answers,
            watch=self._watch,
        )

    def admit(self, http_request: HttpRequest) -> AdmittedRequest:
        """Decide about an upgrade request that a server of another kind has read; see `ocppsync.wsgi`.

        Who is admitted counts until `serve_socket` has returned, or `forget` was called.

        Raises:
            RefusalError: what to answer instead.
        """
        return self._acceptor.admit(http_request)

    def serve_socket(self, sock: socket.socket, admission: AdmittedRequest) -> None:
        """Serve a charge point that was admitted, on the calling thread; returns when its connection has ended."""
        self._server.serve_socket(sock, admission)

    def log_refusal(self, refusal: RefusalError, http_request: HttpRequest) -> None:
        """Say in the log, and to the observers, who was refused and why."""
        self._acceptor.log_refusal(refusal, http_request)

    def serve_transport(self, transport: Transport, admission: AdmittedRequest) -> None:
        """Serve a charge point that was admitted and comes over a transport of another kind, as `serve_socket` does."""
        self._server.serve_transport(transport, admission)

    def forget(self, admission: AdmittedRequest) -> None:
        """Drop an admission that came to nothing."""
        self._acceptor.forget(admission)

    # What applications call, beside what CentralSystemMethods declares.

    def add_connection_listener(self, listener: ConnectionListener) -> None:
        """Call ``listener(charge_point_id, status)`` when a charge point comes (``"connected"``) or goes
        (``"disconnected"``).

        It runs in the handler pool and may block and send requests. For one charge point the calls come in order, one
        at a time; a charge point that reconnects before its old connection has ended never was away.
        """
        self._registry.add_listener(listener)

    def remove_connection_listener(self, listener: ConnectionListener) -> None:
        """Call it no more; raises ValueError when it was not added."""
        self._registry.remove_listener(listener)

    def close_connection(self, charge_point_id: str, code: int = NORMAL, reason: str = "") -> bool:
        """Close a charge point's connection; return whether there was one. It does not wait for the end.

        Args:
            charge_point_id: whose.
            code: the WebSocket close code, 1000 to 1014 or 3000 to 4999 (RFC 6455 §7.4).
            reason: a short text for the charge point's log.

        Raises:
            ValueError: the code may not be sent.
        """
        if not (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) and not 3000 <= code <= 4999:
            raise ValueError(f"{code} is no WebSocket close code that may be sent")
        connection = self._registry.get(charge_point_id)
        if connection is None:
            return False
        connection.close(code, reason)
        return True

    def _send_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Any,
        timeout: float | None,
        version: str | None,
    ) -> Any:
        try:
            return self._submit_request(charge_point_id, action, payload, timeout, version).result()
        except RequestTimeoutError:
            self._watch.warn_possible_deadlock(charge_point_id, name_of(action))
            raise

    def _submit_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Any,
        timeout: float | None,
        version: str | None,
    ) -> Future[Any]:
        if timeout is not None:
            check_positive(timeout=timeout)
        name = name_of(action)
        if version is not None:
            self._message_sets.check_sender(name, version, send=False)
        connection = self._registry.get(charge_point_id)
        if connection is not None:
            return connection.request(name, payload, timeout, version)
        self._message_sets.check_sender(name, version, send=False)
        return failed(not_connected(charge_point_id, name))

    def _send(self, charge_point_id: str, action: str | VendorAction, payload: Any, version: str | None) -> None:
        name = name_of(action)
        if version is not None:
            self._message_sets.check_sender(name, version, send=True)
        connection = self._registry.get(charge_point_id)
        if connection is None:
            self._message_sets.check_sender(name, version, send=True)
            raise not_connected(charge_point_id, name)
        connection.send(name, payload, version)

    def _on(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        return self._router.on(name_of(action), version)

    def _after(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        return self._router.after(name_of(action), version)

    def _on_data_transfer(self, vendor_id: str, message_id: str | None, version: str | None) -> Callable[..., Any]:
        return self._router.on_data_transfer(vendor_id, message_id, version)


def _opened(journal: Journal | str | Path | None) -> Journal | None:
    if journal is None:
        return None
    # Here and not on top: what it needs takes long to import.
    from .journal import as_journal

    return as_journal(journal)

"""The central system: the server that charge points connect to, with blocking calls."""

from __future__ import annotations

import functools
import logging
import os
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from enum import IntEnum, auto
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .errors import RequestTimeoutError
from .events import Observer, observed_by
from .faults.log_lines import log_line
from .lenient import Lenient, Validation
from .limits import Limits, Timeouts, bounds
from .methods import CentralSystemHandler, CentralSystemMethods
from .options import check_protocols, check_whole
from .request import CallResultErrorReceived, ConnectionMetadata
from .rpc.connection import Connection
from .rpc.context import ConnectionOptions
from .rpc.local_end import LocalEnd
from .rpc.shares import Shares
from .security.profiles import SecurityProfiles
from .server.acceptor import Acceptor
from .server.admission import AdmissionPolicy, Authorize, Identify
from .server.connection_limits import ConnectionLimiter
from .server.forwarded import ClientAddress
from .server.listener import Listener
from .server.registry import ConnectionListener, Registry
from .server.serving import ConnectionServer, ServerContext
from .threads.forks import check_process, is_foreign
from .threads.listeners import Listeners
from .threads.pool import HandlerPool, Workers
from .threads.stuck_handlers import StuckHandlerDetector
from .threads.timer import Timer
from .throttled_log import LogThrottle
from .validation.catalogue import SUBPROTOCOLS
from .vendor import VendorAction, name_of
from .wire.tls import ServerTLS
from .wire.transport import CloseCode, check_close_code

if TYPE_CHECKING:
    from .journal import Journal

_logger = logging.getLogger(__name__)
_SIGNALS_SEEN = 0.5
"""Seconds after which `serve_forever` has noticed a Ctrl-C at the latest."""


class CentralSystemState(IntEnum):
    """The life of a central system; it only moves forward."""

    NEW = auto()
    STARTED = auto()
    CLOSING = auto()
    CLOSED = auto()


class CentralSystem(CentralSystemMethods):
    """A central system that charge points connect to, on a port of its own or inside a web application.

    The constructor binds the port, so a port that is in use raises at once. Connections are accepted from `start` on,
    which `serve_forever` and the ``with`` statement call.

    Args:
        port: where to listen; 0 picks a free port (see `port`), None listens on nothing.
        handler: one callable for every CALL, ``handler(request, metadata)``. `on` registers a handler for one action
            instead. Handlers run in the thread pool and may block.
        host: the address to listen on.
        reject_invalid_requests: answer a CALL that breaks its schema with a CALLERROR. False: the handler gets it, with
            ``metadata.validation_error`` set.
        on_raw_socket_data: called with all bytes that are read, after TLS, on the reading thread; it must not block.
        on_raw_websocket_data: called with the text of every message and a `ConnectionMetadata`, before the message is
            parsed, on the reading thread; it must not block.
        websocket_ping_interval: seconds between pings. A charge point that sends nothing for a whole interval after a
            ping is disconnected. None: no pings.
        request_timeout: seconds from the writing of a request to its answer, the message timeout of OCPP (J16 §4.1.1).
            The wait for its turn is not part of it; see `Timeouts.queue`.
        protocols: the supported WebSocket subprotocols. If a charge point offers several, the first supported one in
            its list is used (J16 §3.1.3).
        default_protocol: the subprotocol of charge points that offer none (J16 §3.1.3 requires it; some do not).
        refuse_unknown_protocol: refuse the upgrade with 400 if there is no common subprotocol, instead of upgrading
            and closing at once as J16 §3.2 says.
        security: the security profiles of charge points, checked before ``authorize`` is called; see
            `SecurityProfiles`. None: ``authorize`` alone decides.
        authorize: ``authorize(http_request, charge_point_id)`` decides before the upgrade: True admits, False answers
            401, an HTTP status from 400 to 599 answers that (404 for an unknown identity, 403 for a forbidden one); an
            exception answers 500. It runs on the connection's own thread and may block.
        identify: ``identify(http_request)`` returns the identity, instead of the last path segment; None answers 404.
        ssl_context: serve TLS (wss) with it; see `server_context`, and `ServerTLS` for one that can be renewed.
        trusted_proxies: addresses or networks (``"10.0.0.0/8"``) of trusted proxies. The limits count the client
            address in their ``Forwarded`` or ``X-Forwarded-For`` header; if both are present they must agree.
        compression: accept permessage-deflate. None: only on 2.0.1 and 2.1 connections, for which the specification
            requires it (4/201 §3.3).
        enforce_registration: while the last BootNotification of a charge point was answered with Pending or Rejected,
            answer everything else that it sends with SecurityError, except what TriggerMessage, GetBaseReport or
            GetReport requested (2/201 B02, B03).
        lenient: deviations from the specification to tolerate; see `Lenient`.
        validation: what happens to payloads that break their schema; see `Validation`.
        vendor_actions: actions that OCPP does not define; see `VendorAction`.
        observers: functions that are called with events; see `ocppsync.events`.
        journal: a `Journal`, or the path of a file for one: every message is written there. `close` closes it.
        on_call_result_error: called in the handler pool with a `CallResultErrorReceived`, when a charge point could not
            use a response (2.1).
        handler_threads: how many handlers may run at once; `Limits.handler_threads_per_peer` for one charge point.
        limits: limits of number and size; see `Limits`.
        timeouts: time limits; see `Timeouts`.

    Raises:
        OSError: it cannot listen on the port.
        ValueError: an option is out of range; the text names it.
        TypeError: an option is of the wrong type; the text names it.
    """

    def __init__(
        self,
        port: int | None,
        handler: CentralSystemHandler | None = None,
        *,
        host: str = "0.0.0.0",  # noqa: S104 (charge points connect from other hosts)
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
        trusted_proxies: Sequence[str] = (),
        compression: bool | None = None,
        enforce_registration: bool = True,
        lenient: Lenient | None = None,
        validation: Validation | None = None,
        vendor_actions: Sequence[VendorAction] = (),
        observers: Sequence[Observer] = (),
        journal: Journal | str | Path | None = None,
        on_call_result_error: Callable[[CallResultErrorReceived], object] | None = None,
        handler_threads: int = 16,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        check_protocols(protocols, default_protocol)
        check_whole(handler_threads=handler_threads)
        self._journal = _opened(journal)
        self._options = ConnectionOptions(
            request_timeout=request_timeout,
            reject_invalid_requests=reject_invalid_requests,
            websocket_ping_interval=websocket_ping_interval,
            on_raw_websocket_data=on_raw_websocket_data,
            on_call_result_error=on_call_result_error,
            observe=observed_by([*observers, *([self._journal] if self._journal is not None else ())]),
            limits=bounds(Limits, limits=limits),
            timeouts=bounds(Timeouts, timeouts=timeouts),
        )
        self._end = LocalEnd(
            "central_system",
            protocols if default_protocol is None else (*protocols, default_protocol),
            handler,
            self._options,
            vendor_actions=vendor_actions,
            lenient=lenient,
            validation=validation,
        )
        self._policy = AdmissionPolicy(
            protocols=tuple(protocols),
            default_protocol=default_protocol,
            refuse_unknown_protocol=refuse_unknown_protocol,
            security=security,
            authorize=authorize,
            identify=identify,
            compression=compression,
        )
        self._client_address = ClientAddress(trusted_proxies)
        self._ssl_context = ssl_context
        self._on_raw_socket_data = on_raw_socket_data
        self._enforce_registration = enforce_registration
        self._handler_threads = handler_threads
        self._listeners: Listeners[ConnectionListener] = Listeners()
        self._process: int | None = None  # the process that called start(); set before the lock is taken
        self._lock = threading.Lock()  # guards the next two fields
        self._state = CentralSystemState.NEW
        self._server: ConnectionServer | None = None
        self._closed = threading.Event()
        self._host = host
        try:
            self._listener = None if port is None else Listener(host, port)
        except OSError:
            self._close_journal()
            raise

    def __repr__(self) -> str:
        where = f"{self._host}:{self.port}" if self._listener else "no port"
        if is_foreign(self._process):
            return f"<CentralSystem {where} of process {self._process}>"
        return f"<CentralSystem {where} {self._state.name} charge_points={len(self.charge_points)}>"

    @property
    def port(self) -> int | None:
        """The port that it listens on; None without one."""
        return self._listener.port if self._listener else None

    @property
    def charge_points(self) -> list[str]:
        """The identities of the connected charge points, sorted."""
        self._check_process()
        server = self._server
        return [] if server is None else server.context.registry.charge_points()

    def ocpp_version(self, charge_point_id: str) -> str | None:
        """Return the version of OCPP that a charge point's connection speaks; None if there is no connection."""
        connection = self._connection(charge_point_id)
        return None if connection is None else connection.metadata.ocpp_version

    # Life.

    def start(self, *, executor: Workers | None = None, timer: Timer | None = None) -> CentralSystem:
        """Begin to accept connections; return this object. A second call does nothing.

        Args:
            executor: runs the handlers, instead of a pool of ``handler_threads`` threads; `close` closes it. For
                tests, see `ocppsync.testing.inline`.
            timer: keeps the time, instead of a timer of its own; `close` closes it. For tests, too.

        Raises:
            RuntimeError: it is closed; or it was started before, and an executor or timer is given now; or it was
                started in the process from which this one was forked.
        """
        self._check_process()
        self._process = os.getpid()
        with self._lock:
            if self._state >= CentralSystemState.CLOSING:
                raise RuntimeError("this central system is closed")
            if self._state is CentralSystemState.STARTED:
                if executor is not None or timer is not None:
                    raise RuntimeError("this central system was started already")
                return self
            server = self._make_server(
                executor or HandlerPool(self._handler_threads, "ocppsync-handler"), timer or Timer("ocppsync-timer")
            )
            try:
                server.context.detector.start()
                if self._listener is not None:
                    self._listener.start(server.start_reader)
            except BaseException:
                server.context.timer.close()  # there is no thread for the listener: nothing was started
                raise
            self._server = server
            self._end.started = True
            self._state = CentralSystemState.STARTED
        return self

    def _make_server(self, executor: Workers, timer: Timer) -> ConnectionServer:
        limiter = ConnectionLimiter(self._options.limits, timer.now)
        acceptor = Acceptor(
            replace(self._policy, limiter=limiter, throttle=self._options.throttle),
            limiter=limiter,
            client_address=self._client_address,
            limits=self._options.limits,
            timeouts=self._options.timeouts,
            ssl_context=self._ssl_context,
            on_raw_socket_data=self._on_raw_socket_data,
            observe=self._options.observe,
            throttle=self._options.throttle,
        )
        return ConnectionServer(
            ServerContext(
                end=self._end,
                acceptor=acceptor,
                registry=Registry(
                    Shares(executor, self._handler_threads, self._options.limits),
                    timer,
                    self._options.limits,
                    self._listeners,
                ),
                executor=executor,
                timer=timer,
                detector=StuckHandlerDetector(executor, timer),
                security=self._policy.security,
                enforce_registration=self._enforce_registration,
            )
        )

    def serve_forever(self) -> None:
        """Accept connections until `close` is called on another thread, or until Ctrl-C, which closes it."""
        try:
            self.start()
            # Wait in short steps: a signal that arrives just before a wait is only handled at its end.
            while not self._closed.wait(_SIGNALS_SEEN):
                pass
        except KeyboardInterrupt:
            self.close()

    def close(self, grace: float = 5.0) -> None:
        """Stop: no new connections or CALLs, running handlers may finish, every charge point gets a Close 1001.

        It takes at most ``grace`` and the close timeout, whatever the peers do. CALLs that still wait for a handler
        stay unanswered: the charge point sends them again after it has reconnected. You may call it on any thread and
        more than once, also in a handler, which then finishes last. In a process forked after `start` it does nothing,
        because the connections and threads belong to the parent process. It raises nothing: faults are logged, such as
        a journal that cannot be written.

        Args:
            grace: seconds that running handlers have to finish and answer.
        """
        if is_foreign(self._process):
            # Do not even take the lock: a thread of the parent process may have held it during the fork.
            return
        with self._lock:
            first, self._state = self._state < CentralSystemState.CLOSING, max(self._state, CentralSystemState.CLOSING)
        server = self._server
        if first:
            self._close(server, grace)
        elif server is None or not (server.context.executor.owns_this_thread or server.owns_this_thread):
            self._closed.wait(grace + self._options.timeouts.close + 1)

    def _close(self, server: ConnectionServer | None, grace: float) -> None:
        # Whatever fails, or is interrupted: those that wait for the end must see it.
        try:
            for step in (functools.partial(self._stop, server, grace), self._close_journal):
                try:
                    step()
                except Exception as error:
                    text = "a fault while closing; the rest is closed all the same"
                    log_line(_logger, logging.ERROR, text, error=error)
        finally:
            self._state = CentralSystemState.CLOSED
            self._closed.set()

    def _stop(self, server: ConnectionServer | None, grace: float) -> None:
        if self._listener is not None:
            self._listener.close()
        if server is not None:
            executor = server.context.executor
            server.drain()
            if not executor.wait_idle(grace):
                log_line(_logger, logging.WARNING, "handlers still run after %g s; their answers are lost", grace)
            server.close()
            executor.close(0.0 if executor.owns_this_thread else 1.0)
            server.context.timer.close()

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def __enter__(self) -> CentralSystem:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Further public methods; CentralSystemMethods declares the others.

    def add_connection_listener(self, listener: ConnectionListener) -> None:
        """Call ``listener(charge_point_id, status)`` when a charge point is ``"connected"`` or ``"disconnected"``.

        The listener runs in the handler pool and may block and send requests. For each charge point it is called in
        order, one call at a time. A charge point that reconnects before its old connection has ended causes no calls.
        """
        self._check_process()
        self._listeners.add(listener)

    def remove_connection_listener(self, listener: ConnectionListener) -> None:
        """Stop calling the listener; raises ValueError if it was not added."""
        self._check_process()
        self._listeners.remove(listener)

    def close_connection(self, charge_point_id: str, code: int = CloseCode.NORMAL, reason: str = "") -> bool:
        """Close the connection of a charge point, without waiting for its end; return whether there was one.

        Args:
            charge_point_id: the charge point.
            code: the WebSocket close code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 §7.4).
            reason: a short text for the charge point's log.

        Raises:
            ValueError: the code must not be sent in a Close frame.
        """
        check_close_code(code)
        connection = self._connection(charge_point_id)
        if connection is None:
            return False
        connection.close(code, reason)
        return True

    def _check_process(self) -> None:
        check_process(self._process, "this central system was started")

    def _connection(self, charge_point_id: str) -> Connection | None:
        # On the way of each request, so without a call.
        if self._process != os.getpid():
            self._check_process()
        server = self._server
        return None if server is None else server.context.registry.connected.get(charge_point_id)

    def _send_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Any,
        timeout: float | None,
        queue_timeout: float | None,
        version: str | None,
    ) -> Any:
        connection, submit = self._connection(charge_point_id), self._end.submit_request
        try:
            return submit(connection, charge_point_id, action, payload, timeout, queue_timeout, version).result()
        except RequestTimeoutError:
            if self._server is not None:
                self._server.context.detector.warn_possible_deadlock(charge_point_id, name_of(action))
            raise

    def _submit_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Any,
        timeout: float | None,
        queue_timeout: float | None,
        version: str | None,
    ) -> Future[Any]:
        connection = self._connection(charge_point_id)
        return self._end.submit_request(connection, charge_point_id, action, payload, timeout, queue_timeout, version)

    def _send(self, charge_point_id: str, action: str | VendorAction, payload: Any, version: str | None) -> None:
        self._end.send(self._connection(charge_point_id), charge_point_id, action, payload, version)

    def _on(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        self._check_process()
        return self._end.on(action, version)

    def _after(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        self._check_process()
        return self._end.after(action, version)

    def _on_data_transfer(self, vendor_id: str, message_id: str | None, version: str | None) -> Callable[..., Any]:
        self._check_process()
        return self._end.on_data_transfer(vendor_id, message_id, version)


def server_of(central_system: CentralSystem) -> ConnectionServer:
    """Return the `ConnectionServer` of a central system, for `ocppsync.wsgi` and `ocppsync.testing`; not public.

    Raises:
        RuntimeError: it was not started, or in another process.
    """
    central_system._check_process()
    server = central_system._server
    if server is None:
        raise RuntimeError("the central system was not started")
    return server


def local_end_of(central_system: CentralSystem) -> LocalEnd:
    """Return the handlers and options of a central system, for `ocppsync.testing`; not public."""
    return central_system._end


def observer_of(central_system: CentralSystem) -> Observer | None:
    """Return the observer of a central system, for `ocppsync.wsgi`; not public. None in a process forked later.

    Only the process that started it may write to its journal.
    """
    return None if is_foreign(central_system._process) else central_system._options.observe


def client_address_of(central_system: CentralSystem) -> ClientAddress:
    """Return what finds clients behind trusted proxies, for `ocppsync.wsgi` and `ocppsync.testing`; not public."""
    return central_system._client_address


def throttle_of(central_system: CentralSystem) -> LogThrottle:
    """Return what throttles the log of a central system, for `ocppsync.wsgi`; not public."""
    return central_system._options.throttle


def _opened(journal: Journal | str | Path | None) -> Journal | None:
    if journal is None:
        return None
    # Imported here because its dependencies take long to import.
    from .journal import as_journal

    return as_journal(journal)

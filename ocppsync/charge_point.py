"""The charge point: the client end of a connection, with blocking calls."""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from enum import Enum, auto
from types import TracebackType
from typing import Any, Literal

from .errors import HandshakeError
from .events import Observer, observed_by
from .faults.log_lines import log_line
from .lenient import Lenient, Validation
from .limits import Limits, Timeouts, bounds
from .methods import ChargePointHandler, ChargePointMethods
from .options import check_positive, check_protocols, check_whole
from .request import CallResultErrorReceived, ConnectionMetadata
from .rpc.answer_memory import AnswerMemory
from .rpc.connection import Connection
from .rpc.context import ConnectionContext, ConnectionOptions, log_fields, peer_name
from .rpc.incoming_calls import IncomingCalls
from .rpc.local_end import LocalEnd
from .rpc.registration import ChargePointPolicy, MessagePolicy, Registration
from .rpc.shares import Shares
from .threads.bounded import BoundedExecutor
from .threads.forks import check_process, is_foreign
from .threads.joining import join_all, living
from .threads.listeners import Listeners
from .threads.pool import HandlerPool
from .threads.stuck_handlers import StuckHandlerDetector
from .threads.timer import Timer
from .validation.catalogue import COMPRESSED_BY_DEFAULT, SUBPROTOCOLS, Version
from .vendor import VendorAction
from .wire.endpoint import Endpoint, open_websocket
from .wire.http import basic_authorization, check_headers, shown_target
from .wire.transport import CloseCode, check_close_code
from .wire.websocket import WebSocket

_logger = logging.getLogger(__name__)


ChargePointListener = Callable[[Literal["connected", "disconnected"]], object]


class ChargePointState(Enum):
    """The life of a charge point."""

    DISCONNECTED = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    CLOSED = auto()


class ChargePoint(ChargePointMethods):
    """A charge point that connects to a central system.

    It does nothing until `connect`, which the ``with`` statement calls. It does not reconnect by itself when the
    connection ends: call `connect` again, for example in a listener (`add_connection_listener`).

    Args:
        charge_point_id: its identity, sent as the last segment of the URL's path (J16 §3.1.1). If 2.0.1 or 2.1 is
            offered: up to 48 letters of ASCII, digits and ``* - _ = + | @ .`` (4/201, 4/21 §3.1.1).
        handler: one callable for every CALL of the central system, ``handler(request, metadata)``. `on` registers a
            handler for one action instead. Handlers run in a thread pool and may block.
        url: the central system's endpoint without the identity: ``ws://host:port/path`` or ``wss://...``.
        password: for HTTP Basic authentication, with the identity as user name; bytes are sent as they are, text as
            UTF-8 (J16 §6.2.2).
        headers: additional HTTP headers for the handshake.
        protocols: the WebSocket subprotocols to offer, the preferred one first. Only 1.6 is offered by default, because
            the messages of other versions differ and need their own code.
        default_protocol: the subprotocol if the central system names none; None: `connect` raises HandshakeError then.
        ssl_context: for wss, see `client_context`; by default the certificates in the system trust store are trusted.
        compression: offer permessage-deflate; None: if 2.0.1 or 2.1 is offered as well (4/201 §3.3).
        enforce_registration: until the BootNotification is accepted, send only BootNotification and messages that the
            central system triggers, and answer the central system as the specification says (C16 §4.2; 2/201 B01-B03).
        lenient: deviations from the specification to tolerate; see `Lenient`.
        validation: what happens to payloads that break their schema; see `Validation`.
        vendor_actions: actions that OCPP does not define; see `VendorAction`.
        observers: functions that are called with events; see `ocppsync.events`.
        on_call_result_error: called in the handler pool with a `CallResultErrorReceived`, when the central system could
            not use a response (2.1).
        reject_invalid_requests: answer a CALL that breaks its schema with a CALLERROR. False: the handler gets it, with
            ``metadata.validation_error`` set.
        on_raw_socket_data: called with all bytes that are read, after TLS, on the reading thread; it must not block.
        on_raw_websocket_data: called with the text of every message and a `ConnectionMetadata`, on the reading thread;
            it must not block.
        websocket_ping_interval: seconds between pings; None: no pings. See `CentralSystem`.
        request_timeout: seconds from the writing of a request to its answer, the message timeout of OCPP (J16 §4.1.1).
            The wait for its turn is not part of it; see `Timeouts.queue`.
        handler_threads: how many handlers may run at once.
        limits: limits of number and size; see `Limits`.
        timeouts: time limits; see `Timeouts`.

    Raises:
        ValueError: the URL or an option is invalid; the text names it.
        TypeError: an option is of the wrong type; the text names it.
    """

    def __init__(
        self,
        charge_point_id: str,
        handler: ChargePointHandler | None = None,
        url: str = "ws://127.0.0.1:9000",
        *,
        password: str | bytes | None = None,
        headers: Sequence[tuple[str, str]] = (),
        protocols: Sequence[str] = ("ocpp1.6",),
        default_protocol: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        compression: bool | None = None,
        enforce_registration: bool = True,
        lenient: Lenient | None = None,
        validation: Validation | None = None,
        vendor_actions: Sequence[VendorAction] = (),
        observers: Sequence[Observer] = (),
        on_call_result_error: Callable[[CallResultErrorReceived], object] | None = None,
        reject_invalid_requests: bool = True,
        on_raw_socket_data: Callable[[bytes], object] | None = None,
        on_raw_websocket_data: Callable[[str, ConnectionMetadata], object] | None = None,
        websocket_ping_interval: float | None = None,
        request_timeout: float = 30.0,
        handler_threads: int = 4,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        check_protocols(protocols, default_protocol)
        check_whole(handler_threads=handler_threads)
        check_headers(headers)
        self.charge_point_id = charge_point_id
        old = {*protocols, default_protocol or "ocpp1.6"} == {"ocpp1.6"}
        self._endpoint = Endpoint(url, charge_point_id, any_identity=old or (lenient or Lenient()).any_identity)
        self._headers = tuple(headers)
        self._password = basic_authorization(charge_point_id, password)
        self._protocols = tuple(protocols)
        self._default_protocol = default_protocol
        self._ssl_context = ssl_context
        self._compression = bool(COMPRESSED_BY_DEFAULT & set(protocols)) if compression is None else compression
        self._on_raw_socket_data = on_raw_socket_data
        self._options = ConnectionOptions(
            request_timeout=request_timeout,
            reject_invalid_requests=reject_invalid_requests,
            websocket_ping_interval=websocket_ping_interval,
            on_raw_websocket_data=on_raw_websocket_data,
            on_call_result_error=on_call_result_error,
            observe=observed_by(observers),
            limits=bounds(Limits, limits=limits),
            timeouts=bounds(Timeouts, timeouts=timeouts),
        )
        self._end = LocalEnd(
            "charge_point",
            protocols if default_protocol is None else (*protocols, default_protocol),
            handler,
            self._options,
            vendor_actions=vendor_actions,
            lenient=lenient,
            validation=validation,
        )
        self._registration = Registration() if enforce_registration else None
        self._pool = HandlerPool(handler_threads, f"ocppsync-handler-{charge_point_id}")
        self._timer = Timer(f"ocppsync-timer-{charge_point_id}")
        self._detector = StuckHandlerDetector(self._pool, self._timer)
        self._share = Shares(self._pool, handler_threads, self._options.limits).share()
        memory = AnswerMemory(self._timer.now, self._options.limits.answer_bytes)
        self._calls = IncomingCalls(self._pool, self._share, memory, self._timer)
        self._events = BoundedExecutor(self._share.others)
        self._listeners: Listeners[ChargePointListener] = Listeners()
        self._process: int | None = None  # the process that called connect(); set before the lock is taken
        self._lock = threading.Lock()  # guards the fields below; never held over I/O or user code
        self._state = ChargePointState.DISCONNECTED
        self._connection: Connection | None = None
        self._readers: list[threading.Thread] = []  # the last one's is the newest; replaced, never changed
        self._announced: Connection | None = None  # the one that listeners know of
        self._connections = 0  # how many times connect() was called; numbers the connections in the log

    def __repr__(self) -> str:
        state = f"of process {self._process}" if is_foreign(self._process) else self._state.name
        return f"<ChargePoint {self.charge_point_id} {shown_target(self._endpoint.url)} {state}>"

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None and not is_foreign(self._process)

    # Life.

    def connect(self, timeout: float = 30.0) -> ChargePoint:
        """Open the connection; return this object.

        Args:
            timeout: seconds for TCP, TLS and HTTP together.

        Raises:
            HandshakeError: the handshake failed; ``status`` holds the HTTP status of a refusal.
            RuntimeError: it is already connected, or was closed, or has connected in the process from which this one
                was forked.
        """
        check_positive(timeout=timeout)
        self._check_process()
        self._process = os.getpid()
        with self._lock:
            if self._state is ChargePointState.CLOSED:
                raise RuntimeError(f"{self.charge_point_id} is closed")
            if self._state is not ChargePointState.DISCONNECTED:
                raise RuntimeError(f"{self.charge_point_id} is connected already")
            self._state = ChargePointState.CONNECTING
            self._connections += 1
            number = self._connections
        try:
            fields = log_fields(self.charge_point_id, number)
            self._start(self._open(time.monotonic() + timeout, fields), number)
        finally:
            with self._lock:
                if self._state is ChargePointState.CONNECTING:
                    self._state = ChargePointState.DISCONNECTED
        return self

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close the connection and end all threads; this charge point cannot connect again.

        CALLs that wait for their handler are dropped, also those of a connection that has ended. Waiting requests raise
        ConnectionLostError. You may call it on any thread and more than once. In a process that was forked after
        `connect` it does nothing, because the connection and the threads belong to the parent process.

        Args:
            code: the WebSocket close code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 §7.4).
            reason: a short text for the central system's log.

        Raises:
            ValueError: the code must not be sent in a Close frame.
        """
        check_close_code(code)
        if is_foreign(self._process):
            # Do not even take the lock: a thread of the parent process may have held it during the fork.
            return
        with self._lock:
            self._state = ChargePointState.CLOSED
            connection, readers = self._connection, self._readers
        self._calls.close()  # also without a connection: CALLs of the last one may wait
        if connection is not None:
            connection.close(code, reason)
        join_all(readers, self._options.timeouts.close + 1)
        if connection is not None:
            connection.end_requests()
        self._pool.close(0.0 if self._pool.owns_this_thread else 1.0)
        self._timer.close()

    def disconnect(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close the connection and wait for its end; `connect` can open another one. See `close` for the arguments."""
        check_close_code(code)
        self._check_process()
        with self._lock:
            connection, readers = self._connection, self._readers
        if connection is not None:
            connection.close(code, reason)
        join_all(readers, self._options.timeouts.close + 1)

    def set_credentials(
        self, *, password: str | bytes | None = None, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Use another password, another TLS context (for another client certificate), or both, from the next `connect`
        on. An open connection is not affected.
        """
        self._check_process()
        with self._lock:
            if password is not None:
                self._password = basic_authorization(self.charge_point_id, password)
            if ssl_context is not None:
                self._ssl_context = ssl_context

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the connection has ended; return False if it is still open after ``timeout`` seconds."""
        self._check_process()
        with self._lock:
            readers = self._readers
        if readers:
            readers[-1].join(timeout)
        return not self.connected

    def __enter__(self) -> ChargePoint:
        return self if self.connected else self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add_connection_listener(self, listener: ChargePointListener) -> None:
        """Call ``listener("connected")`` and ``listener("disconnected")`` at every change, in the handler pool."""
        self._check_process()
        self._listeners.add(listener)

    def remove_connection_listener(self, listener: ChargePointListener) -> None:
        """Stop calling the listener; raises ValueError if it was not added."""
        self._check_process()
        self._listeners.remove(listener)

    def _check_process(self) -> None:
        check_process(self._process, f"{self.charge_point_id} was connected")

    # Connecting.

    def _open(self, deadline: float, fields: Mapping[str, object]) -> WebSocket:
        return open_websocket(
            self._endpoint,
            deadline=deadline,
            subprotocols=self._protocols,
            headers=[*self._headers, *self._password],
            compression=self._compression,
            ssl_context=self._ssl_context,
            write_timeout=self._options.timeouts.write,
            max_message_size=self._options.limits.message_size,
            name=self.charge_point_id,
            peer=peer_name("charge_point", self.charge_point_id),
            log_fields=fields,
            on_data=self._on_raw_socket_data,
        )

    def _start(self, websocket: WebSocket, number: int) -> None:
        connection = reader = None
        try:
            connection = self._make_connection(websocket, self._version_of(websocket), number)
            reader = threading.Thread(
                target=self._run, args=(connection,), name=f"ocppsync-reader-{self.charge_point_id}", daemon=True
            )
            with self._lock:
                if self._state is ChargePointState.CLOSED:
                    raise HandshakeError(f"{self.charge_point_id} was closed while it connected")
                reader.start()  # under the lock: another thread must not join it before it has started
                self._connection, self._readers = connection, living([*self._readers, reader])
                self._state = ChargePointState.CONNECTED
                # Last: the listeners are told of the end of a connection only if they were told of its beginning.
                self._events.submit(self._listeners.tell, "connected")
                self._announced = connection
        except BaseException as error:
            if connection is not None and reader is not None and reader.ident is not None:
                connection.abort()  # the reader releases it
                self._forget(connection)
            else:
                websocket.on_closing = None  # released now, not after the close timeout
                known = isinstance(error, HandshakeError)
                websocket.close(CloseCode.GOING_AWAY if known else CloseCode.INTERNAL_ERROR)
                websocket.release()
            raise

    def _version_of(self, websocket: WebSocket) -> Version:
        chosen = websocket.subprotocol or self._default_protocol
        if chosen is None:
            raise HandshakeError(
                f"the central system named no subprotocol; {', '.join(self._protocols)} was offered", status=101
            )
        return SUBPROTOCOLS[chosen]

    def _make_connection(self, websocket: WebSocket, version: Version, number: int) -> Connection:
        registration = self._registration
        context = ConnectionContext(
            metadata=ConnectionMetadata(self.charge_point_id, version, self._endpoint.http_request),
            messages=self._end.message_sets.messages(version),
            policy=MessagePolicy() if registration is None else ChargePointPolicy(registration, version),
            router=self._end.router,
            share=self._share,
            timer=self._timer,
            calls=self._calls,
            detector=self._detector,
            options=self._options,
            number=number,
        )
        return Connection(websocket, context)

    def _forget(self, connection: Connection) -> None:
        """Have no connection any more, unless there is a newer one."""
        with self._lock:
            if self._connection is connection:
                self._connection = None
                if self._state is ChargePointState.CONNECTED:
                    self._state = ChargePointState.DISCONNECTED
            if self._announced is connection:
                self._announced = None
                self._events.submit(self._listeners.tell, "disconnected")

    def _run(self, connection: Connection) -> None:
        # Ends with the connection.
        try:
            connection.run()
        except BaseException as error:
            text, fields = "%s: the reader failed", connection.log_fields
            log_line(_logger, logging.ERROR, text, self.charge_point_id, error=error, extra=fields)
        finally:
            self._forget(connection)
            text, fields = "%s: the connection ended (close code %s)", connection.log_fields
            log_line(_logger, logging.INFO, text, self.charge_point_id, connection.close_code, extra=fields)

    # Implements ChargePointMethods.

    def _send_request(
        self,
        action: str | VendorAction,
        payload: Any,
        timeout: float | None,
        queue_timeout: float | None,
        version: str | None,
    ) -> Any:
        return self._submit_request(action, payload, timeout, queue_timeout, version).result()

    def _submit_request(
        self,
        action: str | VendorAction,
        payload: Any,
        timeout: float | None,
        queue_timeout: float | None,
        version: str | None,
    ) -> Future[Any]:
        # On the way of each request, so without a call.
        if self._process != os.getpid():
            self._check_process()
        return self._end.submit_request(
            self._connection, self.charge_point_id, action, payload, timeout, queue_timeout, version
        )

    def _send(self, action: str | VendorAction, payload: Any, version: str | None) -> None:
        self._check_process()
        self._end.send(self._connection, self.charge_point_id, action, payload, version)

    def _on(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        self._check_process()
        return self._end.on(action, version)

    def _after(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        self._check_process()
        return self._end.after(action, version)

    def _on_data_transfer(self, vendor_id: str, message_id: str | None, version: str | None) -> Callable[..., Any]:
        self._check_process()
        return self._end.on_data_transfer(vendor_id, message_id, version)

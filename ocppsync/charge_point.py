"""The charge point: the client end of a connection, with blocking calls."""

from __future__ import annotations

import base64
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Literal

from .errors import HandshakeError
from .events import Observer, observed_by
from .lenient import Lenient, Validation
from .methods import ChargePointHandler, ChargePointMethods
from .options import check_positive, check_protocols, check_whole
from .request import CallResultErrorReceived, ConnectionMetadata
from .rpc.answer_memory import AnswerMemory
from .rpc.connection import Connection, ConnectionSettings
from .rpc.message_sets import MessageSets
from .rpc.registration import ChargePointPolicy, MessagePolicy, Registration
from .rpc.requester import failed, not_connected
from .rpc.router import Router
from .threads.pool import HandlerPool, SerialExecutor, run_logged
from .threads.stuck_handlers import StuckHandlerDetector
from .threads.timer import Timer
from .validation.catalogue import COMPRESSED_BY_DEFAULT, SUBPROTOCOLS
from .vendor import VendorAction, name_of
from .wire.endpoint import Endpoint, open_websocket
from .wire.transport import NORMAL
from .wire.websocket import WebSocket

_logger = logging.getLogger(__name__)


class ChargePoint(ChargePointMethods):
    """A charge point that connects to a central system.

    It does nothing until `connect`, which the ``with`` statement calls. When the connection ends it stays ended:
    `connect` again, or listen with `add_connection_listener`.

    Args:
        charge_point_id: its identity, sent as the last segment of the URL's path (J16 §3.1.1).
        handler: one callable for every CALL of the central system, ``handler(request, metadata)``; `on` takes one
            action at a time instead. Both run in a thread pool and may block.
        url: the central system's endpoint without the identity: ``ws://host:port/path`` or ``wss://...``.
        password: for HTTP Basic authentication, with the identity as user name; bytes are sent as they are, text as
            UTF-8 (J16 §6.2.2).
        headers: more HTTP headers for the handshake.
        protocols: the WebSocket subprotocols to offer, the preferred one first. Only 1.6 is offered by default: the
            messages of other versions differ, so that a program has to be written for them.
        default_protocol: what is spoken with a central system that names no subprotocol; None: refuse it.
        ssl_context: for wss, see `client_context`; by default the system's certificates are trusted.
        compression: offer permessage-deflate; None: if 2.0.1 or 2.1 is offered as well (4/201 §3.3).
        registration_gate: send nothing but BootNotification, and what the central system triggers, before it was
            accepted, and answer the central system until then as the specification says (C16 §4.2; 2/201 B01-B03).
        lenient: what is tolerated beyond the specification; see `Lenient`.
        validation: what becomes of payloads that break their schema; see `Validation`.
        vendor_actions: actions beyond those of OCPP; see `VendorAction`.
        observers: functions that are told what happens; see `ocppsync.events`.
        handler_timeout: seconds after which a CALL whose handler has not finished is answered with InternalError; None:
            never.
        on_call_result_error: called in the handler pool with a `CallResultErrorReceived`, when the central system could
            not use an answer (2.1).
        reject_invalid_requests: answer a CALL that breaks its schema with a CALLERROR. False: the handler gets it, with
            ``metadata.validation_error`` set.
        on_raw_socket_data: called with all bytes that are read, after TLS, on the reading thread; it must not block.
        on_raw_websocket_data: called with every message as text and a `ConnectionMetadata`, on the reading thread; it
            must not block.
        websocket_ping_interval: seconds between pings; None: no pings. See `CentralSystem`.
        request_timeout: seconds that `send_request` waits, unless it is told otherwise.
        handler_threads: how many handlers may run at once.
        max_message_size: the longest message in bytes; a longer one closes the connection with 1009.
        max_queued_calls: how many CALLs may wait for their handler; one more gets a CALLERROR.
        write_timeout: seconds that the central system may leave what is sent to it unread.
        close_timeout: seconds that the central system has to answer a Close.

    Raises:
        ValueError: the URL or an option is not usable; the text names it.
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
        registration_gate: bool = True,
        lenient: Lenient | None = None,
        validation: Validation | None = None,
        vendor_actions: Sequence[VendorAction] = (),
        on_call_result_error: Callable[[CallResultErrorReceived], object] | None = None,
        observers: Sequence[Observer] = (),
        handler_timeout: float | None = 60.0,
        reject_invalid_requests: bool = True,
        on_raw_socket_data: Callable[[bytes], object] | None = None,
        on_raw_websocket_data: Callable[[str, ConnectionMetadata], object] | None = None,
        websocket_ping_interval: float | None = None,
        request_timeout: float = 30.0,
        handler_threads: int = 4,
        max_message_size: int = 1024 * 1024,
        max_queued_calls: int = 100,
        write_timeout: float = 20.0,
        close_timeout: float = 5.0,
    ) -> None:
        check_protocols(protocols, default_protocol)
        check_positive(write_timeout=write_timeout)
        check_whole(handler_threads=handler_threads, max_message_size=max_message_size)
        self.charge_point_id = charge_point_id
        self._endpoint = Endpoint(url, charge_point_id)
        self._headers = tuple(headers)
        self._password = _basic(charge_point_id, password)
        self._protocols = tuple(protocols)
        self._default_protocol = default_protocol
        self._ssl_context = ssl_context
        self._compression = bool(COMPRESSED_BY_DEFAULT & set(protocols)) if compression is None else compression
        self._on_raw_socket_data = on_raw_socket_data
        self._max_message_size = max_message_size
        self._write_timeout = write_timeout
        self._settings = ConnectionSettings(
            request_timeout=request_timeout,
            reject_invalid_requests=reject_invalid_requests,
            websocket_ping_interval=websocket_ping_interval,
            close_timeout=close_timeout,
            max_queued_calls=max_queued_calls,
            on_raw_websocket_data=on_raw_websocket_data,
            on_call_result_error=on_call_result_error,
            handler_timeout=handler_timeout,
            observe=observed_by(observers),
        )
        known = {*protocols, *([default_protocol] if default_protocol is not None else ())}
        self._message_sets = MessageSets(
            "charge_point",
            [name for name in SUBPROTOCOLS if name in known],
            vendor_actions=vendor_actions,
            lenient=lenient,
            validation=validation,
        )
        self._router = Router(self._message_sets, handler)
        self._registration = Registration() if registration_gate else None
        self._pool = HandlerPool(handler_threads, f"ocppsync-handler-{charge_point_id}")
        self._timer = Timer(f"ocppsync-timer-{charge_point_id}")
        self._watch = StuckHandlerDetector(self._pool, self._timer)
        self._answers = AnswerMemory()
        self._events = SerialExecutor(self._pool)
        self._lock = threading.Lock()  # guards the fields below; never held over I/O or user code
        self._listeners: list[Callable[[Literal["connected", "disconnected"]], object]] = []
        self._connection: Connection | None = None
        self._reader: threading.Thread | None = None
        self._connecting = False
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "connected" if self.connected else "not connected"
        return f"<ChargePoint {self.charge_point_id} {self._endpoint.url} {state}>"

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    # Life.

    def connect(self, timeout: float = 30.0) -> ChargePoint:
        """Open the connection; return this object.

        Args:
            timeout: seconds for TCP, TLS and HTTP together.

        Raises:
            HandshakeError: it failed; ``status`` holds the HTTP status of a refusal.
            RuntimeError: there is a connection already, or this charge point was closed.
        """
        check_positive(timeout=timeout)
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self.charge_point_id} is closed")
            if self._connecting or self._connection is not None:
                raise RuntimeError(f"{self.charge_point_id} is connected already")
            self._connecting = True
        try:
            self._start(*self._open(time.monotonic() + timeout))
        finally:
            with self._lock:
                self._connecting = False
        return self

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection and end all threads; this charge point cannot connect again.

        Requests that wait fail with ConnectionLostError. It may be called from anywhere, and more than once.
        """
        with self._lock:
            self._closed = True
            connection, reader = self._connection, self._reader
        if connection is not None:
            connection.drain()
            connection.close(code, reason)
        if reader is not None and reader is not threading.current_thread():
            reader.join(self._settings.close_timeout + 1)
        self._pool.close(0.0 if self._pool.owns_this_thread else 1.0)
        self._timer.close()

    def disconnect(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection and wait for its end; `connect` may open another."""
        with self._lock:
            connection, reader = self._connection, self._reader
        if connection is not None:
            connection.close(code, reason)
        if reader is not None and reader is not threading.current_thread():
            reader.join(self._settings.close_timeout + 1)

    def set_credentials(
        self, *, password: str | bytes | None = None, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Use another password, another TLS context with another client certificate, or both, from the next `connect`
        on; a connection that stands is left alone.
        """
        with self._lock:
            if password is not None:
                self._password = _basic(self.charge_point_id, password)
            if ssl_context is not None:
                self._ssl_context = ssl_context

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until there is no connection; return False when there still is one after ``timeout`` seconds."""
        with self._lock:
            reader = self._reader
        if reader is not None:
            reader.join(timeout)
        return not self.connected

    def __enter__(self) -> ChargePoint:
        return self if self.connected else self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add_connection_listener(self, listener: Callable[[Literal["connected", "disconnected"]], object]) -> None:
        """Call ``listener("connected")`` and ``listener("disconnected")`` at every change, on the handler pool."""
        with self._lock:
            self._listeners = [*self._listeners, listener]

    # Connecting.

    def _open(self, deadline: float) -> tuple[WebSocket, str]:
        websocket = open_websocket(
            self._endpoint,
            deadline=deadline,
            subprotocols=self._protocols,
            headers=[*self._headers, *self._password],
            compression=self._compression,
            ssl_context=self._ssl_context,
            write_timeout=self._write_timeout,
            max_message_size=self._max_message_size,
            name=self.charge_point_id,
            on_data=self._on_raw_socket_data,
        )
        chosen = websocket.subprotocol or self._default_protocol
        if chosen is None:
            websocket.release()
            raise HandshakeError(
                f"the central system named no subprotocol; {', '.join(self._protocols)} was offered", status=101
            )
        return websocket, chosen

    def _start(self, websocket: WebSocket, subprotocol: str) -> None:
        version = SUBPROTOCOLS[subprotocol]
        connection = Connection(
            websocket,
            ConnectionMetadata(self.charge_point_id, version, self._endpoint.http_request),
            self._settings,
            router=self._router,
            messages=self._message_sets.messages(version),
            gate=MessagePolicy() if self._registration is None else ChargePointPolicy(self._registration, version),
            executor=self._pool,
            timer=self._timer,
            answers=self._answers,
            watch=self._watch,
        )
        reader = threading.Thread(
            target=self._run, args=(connection,), name=f"ocppsync-reader-{self.charge_point_id}", daemon=True
        )
        with self._lock:
            closed = self._closed
            if not closed:
                try:
                    reader.start()  # before anybody finds it, who may want to join it
                except RuntimeError:
                    websocket.release()
                    raise
                self._connection, self._reader = connection, reader
                self._events.submit(self._tell, "connected")
        if closed:
            websocket.release()
            raise HandshakeError(f"{self.charge_point_id} was closed while it connected")

    def _run(self, connection: Connection) -> None:
        # Ends with the connection.
        try:
            connection.run()
        finally:
            with self._lock:
                self._connection = None
                self._events.submit(self._tell, "disconnected")
            _logger.info("%s: the connection ended (close code %s)", self.charge_point_id, connection.close_code)

    def _tell(self, status: Literal["connected", "disconnected"]) -> None:
        for listener in self._listeners:
            run_logged(listener, status)

    # What ChargePointMethods declares.

    def _send_request(
        self, action: str | VendorAction, payload: Any, timeout: float | None, version: str | None
    ) -> Any:
        return self._submit_request(action, payload, timeout, version).result()

    def _submit_request(
        self, action: str | VendorAction, payload: Any, timeout: float | None, version: str | None
    ) -> Future[Any]:
        if timeout is not None:
            check_positive(timeout=timeout)
        name = name_of(action)
        if version is not None:
            self._message_sets.check_sender(name, version, send=False)
        connection = self._connection
        if connection is not None:
            return connection.request(name, payload, timeout, version)
        self._message_sets.check_sender(name, version, send=False)
        return failed(not_connected(self.charge_point_id, name))

    def _send(self, action: str | VendorAction, payload: Any, version: str | None) -> None:
        name = name_of(action)
        if version is not None:
            self._message_sets.check_sender(name, version, send=True)
        connection = self._connection
        if connection is None:
            self._message_sets.check_sender(name, version, send=True)
            raise not_connected(self.charge_point_id, name)
        connection.send(name, payload, version)

    def _on(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        return self._router.on(name_of(action), version)

    def _after(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        return self._router.after(name_of(action), version)

    def _on_data_transfer(self, vendor_id: str, message_id: str | None, version: str | None) -> Callable[..., Any]:
        return self._router.on_data_transfer(vendor_id, message_id, version)


def _basic(charge_point_id: str, password: str | bytes | None) -> list[tuple[str, str]]:
    if password is None:
        return []
    secret = password.encode() if isinstance(password, str) else password
    return [("Authorization", "Basic " + base64.b64encode(charge_point_id.encode() + b":" + secret).decode("ascii"))]

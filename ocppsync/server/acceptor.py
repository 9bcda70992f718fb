"""Turns an accepted socket into an open WebSocket, or refuses it with one line in the log."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..budget import Budget
from ..events import Observer, Refused
from ..limits import Limits, Timeouts
from ..rpc.context import log_fields
from ..throttled_log import LogThrottle
from ..wire import upgrade
from ..wire.addresses import rate_limit_key
from ..wire.http import (
    DisconnectedError,
    Headers,
    HttpRequest,
    RefusalError,
    read_request,
    refusal_response,
    send_refusal,
    shown_client,
    shown_target,
)
from ..wire.streams import Stream, TLSStream
from ..wire.tls import ServerTLS
from ..wire.websocket import WebSocket
from .admission import AdmissionPolicy, UpgradeDecision
from .connection_limits import ConnectionLimiter, Slot
from .forwarded import ClientAddress
from .handshakes import Handshakes

_logger = logging.getLogger(__name__)
_UNEXPECTED = "unexpected error in the handshake"


@dataclass(frozen=True)
class AdmittedRequest:
    """An admitted upgrade request."""

    decision: UpgradeDecision
    http_request: HttpRequest
    slot: Slot = field(repr=False, compare=False)
    end_handshake: Callable[[], object] = field(default=lambda: None, repr=False, compare=False, kw_only=True)
    """To be called once nothing waits for the application any more; further calls do nothing."""

    @property
    def charge_point_id(self) -> str:
        """The identity of the charge point."""
        return self.decision.charge_point_id

    @property
    def log_fields(self) -> Mapping[str, object]:
        """The extra attributes of log records about this connection."""
        return log_fields(self.decision.charge_point_id, self.slot.number)


@dataclass(frozen=True)
class UpgradedConnection(AdmittedRequest):
    """An admitted request with its WebSocket, which is not open yet."""

    websocket: WebSocket


class Acceptor:
    """Performs the TLS and WebSocket handshakes of new connections. The caller provides a thread for each.

    Args:
        policy: admits or refuses upgrade requests.
        limiter: limits the number of connections.
        client_address: finds the client behind a proxy.
        limits: limits of number and size.
        timeouts: time limits.
        ssl_context: for TLS; None for plain connections.
        on_raw_socket_data: called with all bytes read, after TLS.
        observe: called with a `Refused` event for each refused request.
        throttle: counts what peers cause, for the log.
    """

    def __init__(
        self,
        policy: AdmissionPolicy,
        *,
        limiter: ConnectionLimiter,
        client_address: ClientAddress,
        limits: Limits,
        timeouts: Timeouts,
        ssl_context: ssl.SSLContext | ServerTLS | None = None,
        on_raw_socket_data: Callable[[bytes], object] | None = None,
        observe: Observer | None = None,
        throttle: LogThrottle | None = None,
    ) -> None:
        self._policy = policy
        self._limiter = limiter
        self._client_address = client_address
        self._limits = limits
        self._unfinished = Budget(limits.unfinished_bytes_total)
        self._timeouts = timeouts
        self._ssl_context = ssl_context
        self._on_raw_socket_data = on_raw_socket_data
        self._observe = observe
        self._throttle = throttle or LogThrottle()
        self._handshakes = Handshakes(limits)

    def accept(self, sock: socket.socket) -> UpgradedConnection | None:
        """Return the new connection; its handshake counts until `AdmittedRequest.end_handshake` is called.

        If the handshake fails, close the socket and return None.
        """
        deadline = time.monotonic() + self._timeouts.handshake
        try:
            stream = self._open_stream(sock)
        except OSError as error:
            text = "a connection ended before its handshake: %s"
            self._throttle.log(_logger, "", text, text, error, level=logging.INFO)
            sock.close()
            return None
        except BaseException:
            sock.close()
            raise
        upgraded = None
        try:
            if not self._begin_handshake(stream):
                _reject_excess(stream, plain=self._ssl_context is None)
                return None
            upgraded = self._handshake(stream, deadline)
        finally:
            if upgraded is None:
                self._handshakes.end(stream)
                stream.close()
        if upgraded is None:
            return None
        return replace(upgraded, end_handshake=partial(self._handshakes.end, stream))

    def _begin_handshake(self, stream: Stream) -> bool:
        """Count a new handshake; False: there is no room for it."""
        address = stream.remote_address[0]
        room, warning = self._handshakes.begin(
            stream,
            rate_limit_key(address),
            proven=self._limiter.has_proved(address),
            shared=self._client_address.trusts(address),
        )
        if warning is not None:
            self._throttle.log(_logger, rate_limit_key(address), "handshakes", "%s", warning)
        return room

    def close(self) -> None:
        """Abort every handshake in progress, and every later one."""
        self._handshakes.close()

    def plain_stream(self, sock: socket.socket) -> Stream:
        """Return the stream of a connection without TLS; raises OSError if the connection has ended."""
        return Stream(sock, **self._stream_options())

    def _open_stream(self, sock: socket.socket) -> Stream:
        context = self._ssl_context.context if isinstance(self._ssl_context, ServerTLS) else self._ssl_context
        options = self._stream_options()
        return Stream(sock, **options) if context is None else TLSStream(sock, context=context, **options)

    def _stream_options(self) -> dict[str, Any]:
        write, on_data = self._timeouts.write, self._on_raw_socket_data
        return {"write_timeout": write, "on_data": on_data, "throttle": self._throttle}

    def _handshake(self, stream: Stream, deadline: float) -> UpgradedConnection | None:
        request = HttpRequest("", "", "", Headers(), stream.remote_address)  # until one is read
        refused: RefusalError | None = None
        try:
            if isinstance(stream, TLSStream):
                stream.handshake(deadline)
            head = read_request(stream, deadline=deadline, max_header_size=self._limits.header_size)
            request = self._client_address.add_to(head)
            if not self._handshakes.decide(stream):
                raise DisconnectedError("it was slow, and has made room for another")
            admitted = self.admit(request, lambda: stream.peer_has_left)
            try:
                upgraded = self.upgrade(stream, admitted)
            except BaseException:
                admitted.slot.release()
                raise
        except RefusalError as refusal:
            refused = refusal
        except DisconnectedError as error:
            log_disconnect(error, request, self._throttle)
        except ssl.SSLEOFError:
            self._log(request, "TLS handshake with %s failed: the peer closed the connection")
        except ssl.SSLError as error:
            self._log(request, "TLS handshake with %s failed: %s", _tls_error_text(error), level=logging.WARNING)
        except OSError as error:
            self._log(request, "lost the connection of %s during the handshake: %s", error)
        except BaseException as error:
            # SystemExit too: this thread is the library's, and the peer waits for an answer.
            self._log(request, f"{_UNEXPECTED} with %s", level=logging.ERROR, error=error)
            refused = RefusalError(500, _UNEXPECTED)
        else:
            stream.set_read_timeout(None)
            return upgraded
        if refused is not None:
            try:
                if refused.reason is not _UNEXPECTED:
                    log_refusal(refused, request, self._throttle)
                report_refusal(refused, request, self._observe)
            finally:
                # From now on it makes room for others: the peer may take a second to read the response.
                self._handshakes.refuse(stream)
                send_refusal(stream, refused)
        return None

    def _log(
        self,
        request: HttpRequest,
        text: str,
        *args: object,
        level: int = logging.INFO,
        error: BaseException | None = None,
    ) -> None:
        who, log = rate_limit_key(request.client_address), self._throttle.log
        log(_logger, who, text, text, shown_client(request), *args, level=level, error=error)

    def admit(self, request: HttpRequest, has_gone: Callable[[], bool] | None = None) -> AdmittedRequest:
        """Admit a request, which occupies a connection slot until that is released.

        Args:
            request: the request, with the address of its client (`ClientAddress.add_to`).
            has_gone: returns whether the peer has hung up; None: not known.

        Raises:
            RefusalError: the request is refused; the error holds the response.
            DisconnectedError: the peer has gone while it waited.
        """
        slot = self._limiter.acquire(request.client_address)
        try:
            return AdmittedRequest(self._policy.admit(request, has_gone), request, slot)
        except BaseException:
            slot.release()
            raise

    def upgrade(self, stream: Stream, admitted: AdmittedRequest) -> UpgradedConnection:
        """Return the connection of an admitted request; its WebSocket sends the 101 when it opens."""
        decision = admitted.decision
        websocket = upgrade.accept(
            stream,
            key=decision.key,
            subprotocol=decision.subprotocol if decision.announce else None,
            extensions=decision.extensions,
            max_message_size=self._limits.message_size,
            name=admitted.charge_point_id,
            log_fields=admitted.log_fields,
            unfinished=self._unfinished,
        )
        return UpgradedConnection(decision, admitted.http_request, admitted.slot, websocket)


def log_disconnect(error: DisconnectedError, request: HttpRequest, throttle: LogThrottle) -> None:
    """Log that the peer has gone before its request was answered."""
    who, text = rate_limit_key(request.client_address), "WebSocket handshake with %s failed: %s"
    throttle.log(_logger, who, text, text, shown_client(request), error, level=error.level)


def log_refusal(refusal: RefusalError, request: HttpRequest, throttle: LogThrottle) -> None:
    """Log a refused request with the reason."""
    path, who = shown_target(request.path) or "-", rate_limit_key(request.client_address)
    text, args = "refused %s %.200s with HTTP %d: %s", (shown_client(request), path, refusal.status, refusal.reason)
    throttle.log(_logger, who, ("refused", refusal.status), text, *args)


def report_refusal(refusal: RefusalError, request: HttpRequest, observe: Observer | None) -> None:
    """Tell the observer of a refused request."""
    if observe is not None:
        observe(Refused(request.client_address, shown_target(request.path), refusal.status, refusal.reason))


def _reject_excess(stream: Stream, *, plain: bool) -> None:
    # Do not wait until the peer has read the response: too many handshakes are in progress already.
    with contextlib.suppress(OSError):
        if plain:
            stream.buffer(refusal_response(RefusalError(503, "too many handshakes", [("Retry-After", "30")])))
            stream.flush_nowait()


def _tls_error_text(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client certificate was refused: {error.verify_message}"
    if error.reason == "HTTP_REQUEST":
        return "the peer speaks plain HTTP (ws), and this port is TLS (wss)"
    return str(error.reason or error)

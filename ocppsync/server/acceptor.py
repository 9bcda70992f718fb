"""Turns an accepted socket into an open WebSocket, or refuses it with one line in the log."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

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
    shown_target,
)
from ..wire.streams import Stream, TLSStream
from ..wire.tls import ServerTLS
from ..wire.websocket import WebSocket
from .admission import AdmissionPolicy, UpgradeDecision
from .connection_limits import ConnectionLimiter, Slot
from .forwarded import ClientAddress

_logger = logging.getLogger(__name__)
_SLOW = 1.0
"""Seconds after which a handshake may be aborted to make room for a new one."""
_LINGER = 1.0
"""Seconds that a refused peer has to read the response before its connection is closed."""


@dataclass(frozen=True)
class AdmittedRequest:
    """An admitted upgrade request."""

    decision: UpgradeDecision
    http_request: HttpRequest
    slot: Slot = field(repr=False, compare=False)

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
    """An admitted request that was answered with 101, with its WebSocket."""

    websocket: WebSocket


class _Handshake(NamedTuple):
    """A handshake in progress."""

    started: float
    peer: str | None
    """The rate-limit key of the peer; None behind a trusted proxy."""


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
        self._lock = threading.Lock()  # guards everything below
        self._handshakes: dict[Stream, _Handshake] = {}  # in progress, oldest first
        self._by_peer: Counter[str] = Counter()  # handshakes by rate-limit key
        self._warned: set[str | None] = set()  # peers at their limit that were logged; None: the limit for all peers
        self._closed = False

    def accept(self, sock: socket.socket) -> UpgradedConnection | None:
        """Return the new connection after its handshake; if that fails, close the socket and return None."""
        deadline = time.monotonic() + self._timeouts.handshake
        sock.settimeout(self._timeouts.handshake)
        try:
            stream = self._open_stream(sock)
        except OSError as error:
            text = "a connection ended before its handshake: %s"
            self._throttle.log(_logger, "", text, text, error, level=logging.INFO)
            sock.close()
            return None
        if not self._begin_handshake(stream):
            _reject_excess(stream, plain=self._ssl_context is None)
            return None
        try:
            upgraded = self._handshake(stream, deadline)
        finally:
            self._end_handshake(stream)
        if upgraded is None:
            stream.close()
        return upgraded

    def _begin_handshake(self, stream: Stream) -> bool:
        """Count a new handshake; at a limit, abort the oldest one if it is slow, or else return False."""
        address = stream.remote_address[0]
        handshake = _Handshake(
            time.monotonic(), None if self._client_address.trusts(address) else rate_limit_key(address)
        )
        with self._lock:
            oldest, warning = self._oldest_at_limit(handshake.peer)
            room = oldest is None or handshake.started - self._handshakes[oldest].started > _SLOW
            if room:
                if oldest is not None:
                    self._remove(oldest)
                self._handshakes[stream] = handshake
                if handshake.peer is not None:
                    self._by_peer[handshake.peer] += 1
            closed = self._closed
        if warning is not None:
            self._throttle.log(_logger, handshake.peer or "", "handshakes", "%s", warning)
        if not room:
            return False
        if oldest is not None:
            oldest.abort()
        if closed:
            stream.abort()
        return True

    def _oldest_at_limit(self, peer: str | None) -> tuple[Stream | None, str | None]:
        """Return the oldest handshake that counts toward a limit this peer has reached, and a warning to log."""
        assert self._lock.locked()
        limit, count = self._limits.handshakes_per_address, 0 if peer is None else self._by_peer[peer]
        if limit is not None and count >= limit:
            oldest = next(stream for stream, handshake in self._handshakes.items() if handshake.peer == peer)
            return oldest, self._once(
                peer, f"{count} handshakes of {peer} in progress; aborting its slow ones for new ones"
            )
        limit, count = self._limits.handshakes, len(self._handshakes)
        if limit is not None and count >= limit:
            oldest = next(iter(self._handshakes))
            return oldest, self._once(None, f"{count} handshakes in progress; aborting slow ones for new ones")
        return None, None

    def _once(self, peer: str | None, warning: str) -> str | None:
        """Return the warning, or None if it was logged before for this peer, or for all peers together."""
        assert self._lock.locked()
        if peer in self._warned:
            return None
        self._warned.add(peer)
        return warning

    def _end_handshake(self, stream: Stream) -> None:
        with self._lock:
            self._remove(stream)

    def _remove(self, stream: Stream) -> None:
        assert self._lock.locked()
        handshake = self._handshakes.pop(stream, None)
        if handshake is None:
            return
        peer = handshake.peer
        # Warn again only after the count has fallen below half the limit.
        if peer is not None:
            self._by_peer[peer] -= 1
            if self._by_peer[peer] * 2 < (self._limits.handshakes_per_address or 0):
                self._warned.discard(peer)
            if not self._by_peer[peer]:
                del self._by_peer[peer]
        if len(self._handshakes) * 2 < (self._limits.handshakes or 0):
            self._warned.discard(None)

    def close(self) -> None:
        """Abort every handshake in progress, and every later one."""
        with self._lock:
            self._closed = True
            streams = list(self._handshakes)
        for stream in streams:
            stream.abort()

    def plain_stream(self, sock: socket.socket) -> Stream:
        """Return the stream of a connection without TLS; raises OSError if the connection has ended."""
        sock.settimeout(None)
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
        try:
            if isinstance(stream, TLSStream):
                stream.handshake(deadline)
            request = read_request(stream, deadline=deadline, max_header_size=self._limits.header_size)
            admitted = self.admit(request)
            try:
                upgraded = self.upgrade(stream, admitted)
            except BaseException:
                admitted.slot.release()
                raise
        except RefusalError as refusal:
            log_refusal(refusal, request, self._observe, self._throttle)
            _send_refusal(stream, refusal)
        except DisconnectedError as error:
            self._log(stream, "WebSocket handshake with %s:%d failed: %s", error, level=error.level)
        except ssl.SSLEOFError:
            self._log(stream, "TLS handshake with %s:%d failed: the peer closed the connection")
        except ssl.SSLError as error:
            self._log(stream, "TLS handshake with %s:%d failed: %s", _tls_error_text(error), level=logging.WARNING)
        except OSError as error:
            self._log(stream, "lost the connection of %s:%d during the handshake: %s", error)
        except Exception as error:
            self._log(stream, "unexpected error in the handshake with %s:%d", level=logging.ERROR, error=error)
        else:
            stream.set_read_timeout(None)
            return upgraded
        return None

    def _log(
        self, stream: Stream, text: str, *args: object, level: int = logging.INFO, error: Exception | None = None
    ) -> None:
        host, port = stream.remote_address
        self._throttle.log(_logger, rate_limit_key(host), text, text, host, port, *args, level=level, error=error)

    def admit(self, request: HttpRequest) -> AdmittedRequest:
        """Admit a request, which occupies a connection slot until that is released.

        Raises:
            RefusalError: the request is refused; the error holds the response.
        """
        client = self._client_address(request.remote_address[0], request.headers)
        if client != request.remote_address[0]:
            request = replace(request, forwarded_for=client)
        slot = self._limiter.acquire(client)
        try:
            return AdmittedRequest(self._policy.admit(request), request, slot)
        except BaseException:
            slot.release()
            raise

    def upgrade(self, stream: Stream, admitted: AdmittedRequest) -> UpgradedConnection:
        """Accept the upgrade of an admitted request (101), and return the connection."""
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


def log_refusal(refusal: RefusalError, request: HttpRequest, observe: Observer | None, throttle: LogThrottle) -> None:
    """Log a refused request with the reason, and pass it to the observer."""
    host, port = request.remote_address
    path = shown_target(request.path)
    who, kind = rate_limit_key(request.client_address), ("refused", refusal.status)
    text = "refused %s:%d %.200s with HTTP %d: %s"
    throttle.log(_logger, who, kind, text, host, port, path or "-", refusal.status, refusal.reason)
    if observe is not None:
        observe(Refused(request.client_address, path, refusal.status, refusal.reason))


def _reject_excess(stream: Stream, *, plain: bool) -> None:
    # Do not wait until the peer has read the response: too many handshakes are in progress already.
    with contextlib.suppress(OSError):
        if plain:
            stream.buffer(refusal_response(RefusalError(503, "too many handshakes", [("Retry-After", "30")])))
            stream.flush_nowait()
    stream.close()


def _tls_error_text(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client certificate was refused: {error.verify_message}"
    if error.reason == "HTTP_REQUEST":
        return "the peer speaks plain HTTP (ws), and this port is TLS (wss)"
    return str(error.reason or error)


def _send_refusal(stream: Stream, refusal: RefusalError) -> None:
    with contextlib.suppress(OSError):
        stream.buffer(refusal_response(refusal))
        stream.flush()
        stream.finish_writing()
        # Closing with unread bytes would reset the connection, and the peer would lose the response.
        deadline = time.monotonic() + _LINGER
        while (remaining := deadline - time.monotonic()) > 0:
            stream.set_read_timeout(remaining)
            if not stream.recv(4096):
                break

"""From an accepted socket to an open WebSocket, or to a refusal with one line in the log."""

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
from typing import NamedTuple

from ..events import Observer, Refused
from ..limits import Limits, Timeouts
from ..rpc.context import log_fields
from ..wire import upgrade
from ..wire.addresses import rate_limit_key
from ..wire.http import DisconnectedError, Headers, HttpRequest, RefusalError, read_request, refusal_response
from ..wire.streams import Stream, TLSStream
from ..wire.tls import ServerTLS
from ..wire.websocket import WebSocket
from .admission import AdmissionPolicy, UpgradeDecision
from .connection_limits import ConnectionLimiter, Slot
from .forwarded import ClientAddress

_logger = logging.getLogger(__name__)
_SLOW = 1.0
"""Seconds after which a handshake gives way to another, where there are too many."""
_LINGER = 1.0
"""Seconds that a refused peer has to read why, before its connection is closed."""


@dataclass(frozen=True)
class AdmittedRequest:
    """An upgrade request that was admitted."""

    decision: UpgradeDecision
    http_request: HttpRequest
    slot: Slot = field(repr=False, compare=False)

    @property
    def charge_point_id(self) -> str:
        """The identity of the charge point."""
        return self.decision.charge_point_id

    @property
    def log_fields(self) -> Mapping[str, object]:
        """The attributes of log records about the connection."""
        return log_fields(self.decision.charge_point_id, self.slot.number)


@dataclass(frozen=True)
class UpgradedConnection(AdmittedRequest):
    """A charge point whose upgrade was answered with 101."""

    websocket: WebSocket


class _Handshake(NamedTuple):
    """A handshake in progress."""

    since: float
    peer: str | None
    """Its rate-limit key; None behind a trusted proxy."""


class Acceptor:
    """Does the handshakes of new connections, each on a thread of its own.

    Args:
        policy: decides about the upgrade requests.
        limiter: counts the connections.
        client_address: finds the client behind a proxy.
        limits: bounds of number and size.
        timeouts: bounds of time.
        ssl_context: for TLS; None for plain connections.
        on_raw_socket_data: called with all bytes read, after TLS.
        observe: is told of refusals.
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
    ) -> None:
        self._policy = policy
        self._limiter = limiter
        self._client_address = client_address
        self._limits = limits
        self._timeouts = timeouts
        self._ssl_context = ssl_context
        self._on_raw_socket_data = on_raw_socket_data
        self._observe = observe
        self._lock = threading.Lock()  # guards everything below
        self._handshakes: dict[Stream, _Handshake] = {}  # the oldest first
        self._by_peer: Counter[str] = Counter()  # handshakes by rate-limit key
        self._crowded: set[str | None] = set()  # the peers whose crowd was logged; None: that of all together
        self._closed = False

    def accept(self, sock: socket.socket) -> UpgradedConnection | None:
        """Do the handshake of a new connection; return None if it came to nothing, and the socket is closed then."""
        deadline = time.monotonic() + self._timeouts.handshake
        sock.settimeout(self._timeouts.handshake)
        try:
            stream = self._open_stream(sock)
        except OSError as error:
            _logger.info("a connection ended before its handshake: %s", error)
            sock.close()
            return None
        if not self._make_room(stream):
            _send_away(stream, plain=self._ssl_context is None)
            return None
        try:
            upgraded = self._shake_hands(stream, deadline)
        finally:
            self._end_handshake(stream)
        if upgraded is None:
            stream.close()
        return upgraded

    def _make_room(self, stream: Stream) -> bool:
        """Return whether another handshake may begin; where there are too many, one that is slow gives way to it."""
        address = stream.remote_address[0]
        handshake = _Handshake(
            time.monotonic(), None if self._client_address.trusts(address) else rate_limit_key(address)
        )
        with self._lock:
            slowest, warning = self._one_too_many(handshake.peer)
            room = slowest is None or handshake.since - self._handshakes[slowest].since > _SLOW
            if room:
                if slowest is not None:
                    self._drop(slowest)
                self._handshakes[stream] = handshake
                if handshake.peer is not None:
                    self._by_peer[handshake.peer] += 1
            closed = self._closed
        if warning is not None:
            _logger.warning("%s", warning)
        if not room:
            return False
        if slowest is not None:
            slowest.abort()
        if closed:
            stream.abort()
        return True

    def _one_too_many(self, peer: str | None) -> tuple[Stream | None, str | None]:
        """Return the slowest of the handshakes that leave no room for another one of that peer, and what to log."""
        assert self._lock.locked()
        most, count = self._limits.handshakes_per_address, 0 if peer is None else self._by_peer[peer]
        if most is not None and count >= most:
            warning = self._once(peer, f"{count} handshakes of {peer} are under way; its slowest give way")
            return next(stream for stream, one in self._handshakes.items() if one.peer == peer), warning
        most, count = self._limits.handshakes, len(self._handshakes)
        if most is not None and count >= most:
            warning = self._once(None, f"{count} handshakes are under way; the slowest give way")
            return next(iter(self._handshakes)), warning
        return None, None

    def _once(self, peer: str | None, warning: str) -> str | None:
        """Return the warning, or None if this crowd was logged already."""
        assert self._lock.locked()
        if peer not in self._crowded:
            self._crowded.add(peer)
            return warning
        return None

    def _end_handshake(self, stream: Stream) -> None:
        with self._lock:
            self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        assert self._lock.locked()
        handshake = self._handshakes.pop(stream, None)
        if handshake is None:
            return
        peer = handshake.peer
        # Said again only after it was calm for a while.
        if peer is not None:
            self._by_peer[peer] -= 1
            if self._by_peer[peer] * 2 < (self._limits.handshakes_per_address or 0):
                self._crowded.discard(peer)
            if not self._by_peer[peer]:
                del self._by_peer[peer]
        if len(self._handshakes) * 2 < (self._limits.handshakes or 0):
            self._crowded.discard(None)

    def close(self) -> None:
        """Break off every handshake that is under way, and every later one."""
        with self._lock:
            self._closed = True
            streams = list(self._handshakes)
        for stream in streams:
            stream.abort()

    def plain_stream(self, sock: socket.socket) -> Stream:
        """Return the stream of a connection without TLS; raises OSError when it has ended."""
        sock.settimeout(None)
        return Stream(sock, write_timeout=self._timeouts.write, on_data=self._on_raw_socket_data)

    def _open_stream(self, sock: socket.socket) -> Stream:
        context = self._ssl_context.context if isinstance(self._ssl_context, ServerTLS) else self._ssl_context
        if context is None:
            return Stream(sock, write_timeout=self._timeouts.write, on_data=self._on_raw_socket_data)
        return TLSStream(sock, context=context, write_timeout=self._timeouts.write, on_data=self._on_raw_socket_data)

    def _shake_hands(self, stream: Stream, deadline: float) -> UpgradedConnection | None:
        host, port = stream.remote_address
        request = None
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
            nothing_read = HttpRequest("", "", "", Headers(), stream.remote_address)
            log_refusal(refusal, request or nothing_read, self._observe)
            _turn_away(stream, refusal)
        except DisconnectedError as error:
            _logger.log(error.level, "no handshake with %s:%d: %s", host, port, error)
        except ssl.SSLEOFError:
            _logger.info("no TLS with %s:%d: the peer closed the connection", host, port)
        except ssl.SSLError as error:
            _logger.warning("no TLS with %s:%d: %s", host, port, _tls_fault(error))
        except OSError as error:
            _logger.info("the connection of %s:%d broke in the handshake: %s", host, port, error)
        except Exception:
            _logger.exception("the handshake of %s:%d failed", host, port)
        else:
            stream.set_read_timeout(None)
            return upgraded
        return None

    def admit(self, request: HttpRequest) -> AdmittedRequest:
        """Decide about a request; an admitted one takes up its slot until that is released.

        Raises:
            RefusalError: what to answer instead.
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
        """Answer an admitted request with 101, and return its WebSocket."""
        decision = admitted.decision
        websocket = upgrade.accept(
            stream,
            key=decision.key,
            subprotocol=decision.subprotocol if decision.announce else None,
            extensions=decision.extensions,
            max_message_size=self._limits.message_size,
            name=admitted.charge_point_id,
            log_fields=admitted.log_fields,
        )
        return UpgradedConnection(decision, admitted.http_request, admitted.slot, websocket)


def log_refusal(refusal: RefusalError, request: HttpRequest, observe: Observer | None) -> None:
    """Write to the log, and tell the observer, which request was refused and why."""
    host, port = request.remote_address
    path = request.path or "-"
    _logger.warning("refused %s:%d %.200s with HTTP %d: %s", host, port, path, refusal.status, refusal.reason)
    if observe is not None:
        observe(Refused(request.client_address, request.path, refusal.status, refusal.reason))


def _send_away(stream: Stream, *, plain: bool) -> None:
    # Without waiting for it to read this: there are too many already.
    with contextlib.suppress(OSError):
        if plain:
            stream.buffer(refusal_response(RefusalError(503, "too many handshakes", [("Retry-After", "30")])))
            stream.flush_nowait()
    stream.close()


def _tls_fault(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate was refused: {error.verify_message}"
    if error.reason == "HTTP_REQUEST":
        return "the peer speaks plain HTTP (ws), and this port is TLS (wss)"
    return str(error.reason or error)


def _turn_away(stream: Stream, refusal: RefusalError) -> None:
    with contextlib.suppress(OSError):
        stream.buffer(refusal_response(refusal))
        stream.flush()
        stream.finish_writing()
        # Closing over unread bytes would reset the connection, and the answer with it.
        deadline = time.monotonic() + _LINGER
        while (remaining := deadline - time.monotonic()) > 0:
            stream.set_read_timeout(remaining)
            if not stream.recv(4096):
                break

"""Bounds: how much an end of a connection takes from its peers, and how long it waits for them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from .options import check_positive, check_whole

__all__ = ["Limits", "Timeouts"]

_Bounds = TypeVar("_Bounds")
_ALWAYS = frozenset(
    {"queued_calls", "call_bytes", "answer_bytes", "handler_threads_per_peer", "message_size", "header_size"}
)
"""The limits that cannot be switched off."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of number and size. A central system uses all of them, a charge point those of its one connection.

    "By address" means by IPv4 address, and by the /64 network of an IPv6 address, because one peer owns all of it.

    Attributes:
        connections: open connections in all; one more gets 503. None: no limit. Central system only.
        connections_per_address: open connections of one remote address; one more gets 503. None: no limit. Central
            system only.
        handshakes: handshakes in progress, and so their threads. Over it, one for which the peer has taken longer than
            a second is cut off; if there is none, the new one gets 503. One that waits for ``authorize`` or for the
            hash of its password counts, but is not slow. An address from which a charge point has proved itself goes
            first. None: no limit. Central system only.
        handshakes_per_address: the same among the connections of one remote address. Connections from a trusted proxy
            count only in ``handshakes``, because their client is not known yet. None: no limit. Central system only.
        failed_authentications: refusals with 401 or 403 that one address may collect for one identity, and five times
            as many for all identities together; after that it gets 429 with Retry-After. Half of them are forgotten
            every minute; attempts still in progress count. A remembered password is counted by itself. None: no limit.
            Central system only.
        malformed_messages: messages of one connection that are not OCPP-J; one more closes it with 1008. None: no
            limit.
        queued_calls: CALLs of one peer that wait for their handler; one more gets a CALLERROR. The same if as many
            `after` hooks for its CALLs wait.
        call_bytes: memory in bytes for the CALLs of one peer that are not handled yet, about as large as they are once
            parsed: up to 48 times their text. One that exceeds it gets a CALLERROR.
        call_bytes_total: the same for all peers together, except for the first 16 KiB of each. None: no limit.
        answer_bytes: memory in bytes for the answers to the last CALLs of one identity, which are kept for repeats; the
            oldest ones are forgotten. Also for those CALLs themselves.
        answer_bytes_total: the same for all identities together, except for the first 8 KiB of each. None: no limit.
            Central system only.
        handler_threads_per_peer: handler threads that one peer occupies at most, over all its connections: one for its
            CALLs, the others for its hooks, connection listeners and callbacks of futures. At least 2.
        queued_requests: requests to one peer that wait for their turn; one more raises `QueueFullError`. None: no
            limit.
        unfinished_bytes_total: memory in bytes for what all connections have read of messages that are not complete
            yet, except for the first 16 KiB of each; a connection that exceeds it is closed with 1013. None: no
            limit. Central system only.
        message_size: the longest message in bytes; a longer one closes the connection with 1009.
        header_size: the longest head of an HTTP request in bytes; a longer one gets 431. Central system only.

    Raises:
        ValueError: a value is out of its range; the text names it.
    """

    connections: int | None = 20_000
    connections_per_address: int | None = 2_000
    handshakes: int | None = 500
    handshakes_per_address: int | None = 200
    failed_authentications: int | None = 10
    malformed_messages: int | None = 50
    queued_calls: int = 100
    call_bytes: int = 32 * 1024 * 1024
    call_bytes_total: int | None = 256 * 1024 * 1024
    answer_bytes: int = 64 * 1024
    answer_bytes_total: int | None = 64 * 1024 * 1024
    handler_threads_per_peer: int = 4
    queued_requests: int | None = 1_000
    unfinished_bytes_total: int | None = 256 * 1024 * 1024
    message_size: int = 1024 * 1024
    header_size: int = 16 * 1024

    def __post_init__(self) -> None:
        for limit in fields(self):
            value: Any = getattr(self, limit.name)
            if value is not None or limit.name in _ALWAYS:
                check_whole(**{limit.name: value})
        if self.handler_threads_per_peer < 2:
            raise ValueError("handler_threads_per_peer must be 2 or more: one thread for CALLs, and one for hooks")


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long an end waits, in seconds. Both ends take them.

    Attributes:
        handler: from a CALL's arrival to the end of its handler; after it the CALL is answered with InternalError, and
            the log says where the handler is. None: no limit.
        queue: for the turn of a request: one to a peer is outstanding at a time; then `RequestTimeoutError` is raised,
            and the request is not sent. A request may have its own ``queue_timeout``. None: no limit.
        handshake: for TLS and HTTP together. Central system only: `ChargePoint.connect` has a ``timeout`` of its own.
        write: how long the peer may leave unread what is sent to it; then the connection is aborted.
        close: for the peer's answer to a Close; then the connection is aborted.
        idle: without any message from the peer, after which the connection is closed with 1000. None: no limit.

    Raises:
        ValueError: a value is out of its range; the text names it.
    """

    handler: float | None = 60.0
    queue: float | None = 60.0
    handshake: float = 10.0
    write: float = 20.0
    close: float = 5.0
    idle: float | None = None

    def __post_init__(self) -> None:
        for timeout in fields(self):
            value: Any = getattr(self, timeout.name)
            if value is not None or timeout.name in ("handshake", "write", "close"):
                check_positive(**{timeout.name: value})


def bounds(kind: type[_Bounds], **option: _Bounds | None) -> _Bounds:
    """Return an option of that kind, such as ``limits``; the defaults if it is None.

    Raises:
        TypeError: it is of another kind; the text names it.
    """
    ((name, value),) = option.items()
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, such as {kind.__name__}(), not a {type(value).__name__}")
    return value

"""The objects and options that all parts of one connection share, in one frozen object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..events import Observer
from ..limits import Limits, Timeouts
from ..options import check_positive
from ..request import CallResultErrorReceived, ConnectionMetadata
from ..threads.stuck_handlers import StuckHandlerDetector
from ..threads.timer import Timer
from ..throttled_log import LogThrottle, ThrottledLog
from ..validation.catalogue import Role
from .connection_events import ConnectionEvents
from .connection_observer import ConnectionObserver
from .incoming_calls import IncomingCalls
from .message_sets import MessageSet
from .registration import MessagePolicy, OutcomeListener
from .router import Router
from .shares import PeerShare

__all__ = ["ConnectionContext", "ConnectionOptions", "SecurityChecks", "peer_name"]


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """The options that all connections of one end share; see `CentralSystem` and `ChargePoint`.

    Raises:
        ValueError: a value is out of its range; the text names it.
    """

    request_timeout: float = 30.0
    reject_invalid_requests: bool = True
    websocket_ping_interval: float | None = None
    on_raw_websocket_data: Callable[[str, ConnectionMetadata], object] | None = field(default=None, repr=False)
    on_call_result_error: Callable[[CallResultErrorReceived], object] | None = field(default=None, repr=False)
    observe: Observer | None = field(default=None, repr=False)
    throttle: LogThrottle = field(default_factory=LogThrottle, repr=False)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        check_positive(request_timeout=self.request_timeout)
        if self.websocket_ping_interval is not None:
            check_positive(websocket_ping_interval=self.websocket_ping_interval)


class SecurityChecks(Protocol):
    """The checks of the security profile on the messages of a connection."""

    def fatal_violation(self, action: str, payload: Any) -> str | None:
        """Return why a valid CALL of the peer ends the connection, or None."""

    def before_request(self, action: str, payload: Any) -> OutcomeListener | None:
        """Prepare for a request before it is sent; return a listener for its outcome, or None.

        It may block. If it raises, the request is not sent.
        """


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ConnectionContext:
    """The objects and options that all parts of one connection share.

    Attributes:
        metadata: the charge point, the version and the HTTP request.
        messages: the messages of the connection's version.
        policy: which messages may be sent before the charge point is registered.
        security: the checks of the security profile; None: none.
        router: the handlers.
        share: what this peer may occupy, also over earlier connections; runs hooks and listeners.
        calls: handles the peer's CALLs, and remembers the last ones, also over earlier connections.
        timer: for deadlines and pings.
        detector: knows which handlers run.
        options: the options of this end.
        number: the number of the connection, counted from 1 by this end.
        log_fields: the attributes of log records about this connection (docs/logging.md).
        events: tells the observers of the events of this connection; None: there are none.
        peer: the name of the peer in errors and log lines about what it did. Those about this end use the identity.
        peer_log: for log lines about what the peer did.
        own_log: for log lines about this end, such as its handlers, that the peer caused.
    """

    metadata: ConnectionMetadata
    messages: MessageSet
    policy: MessagePolicy
    security: SecurityChecks | None = None
    router: Router
    share: PeerShare
    calls: IncomingCalls
    timer: Timer
    detector: StuckHandlerDetector
    options: ConnectionOptions
    number: int
    log_fields: Mapping[str, object] = field(init=False)
    events: ConnectionEvents | None = field(init=False)
    peer: str = field(init=False)
    peer_log: ThrottledLog = field(init=False)
    own_log: ThrottledLog = field(init=False)

    def __post_init__(self) -> None:
        identity, observe, throttle = self.metadata.charge_point_id, self.options.observe, self.options.throttle
        events = None if observe is None else ConnectionEvents(ConnectionObserver(observe, self.timer))
        fields, peer = log_fields(identity, self.number), peer_name(self.messages.role, identity)
        object.__setattr__(self, "log_fields", fields)
        object.__setattr__(self, "events", events)
        object.__setattr__(self, "peer", peer)
        object.__setattr__(self, "peer_log", ThrottledLog(peer, fields, throttle))
        object.__setattr__(self, "own_log", ThrottledLog(identity, fields, throttle))


def peer_name(role: Role, charge_point_id: str) -> str:
    """Return what errors and log lines call the peer of the end with this role."""
    return charge_point_id if role == "central_system" else f"{charge_point_id}'s central system"


def log_fields(charge_point_id: str, number: int) -> dict[str, object]:
    """Return the attributes of log records about one connection."""
    return {"charge_point_id": charge_point_id, "connection": number}

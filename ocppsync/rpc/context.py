"""What the parts of one connection share: one frozen object that goes down whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..events import Observer
from ..limits import Limits, Timeouts
from ..options import check_positive
from ..request import CallResultErrorReceived, ConnectionMetadata
from ..threads.pool import Executor
from ..threads.stuck_handlers import StuckHandlerDetector
from ..threads.timer import Timer
from ..validation.catalogue import Role
from .answer_memory import AnswerMemory
from .message_sets import MessageSet
from .registration import MessagePolicy, OutcomeListener
from .router import Router

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
    on_raw_websocket_data: Callable[[str, ConnectionMetadata], object] | None = None
    on_call_result_error: Callable[[CallResultErrorReceived], object] | None = None
    observe: Observer | None = None
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        check_positive(request_timeout=self.request_timeout)
        if self.websocket_ping_interval is not None:
            check_positive(websocket_ping_interval=self.websocket_ping_interval)


class SecurityChecks(Protocol):
    """What the security profile of a connection has to say about its messages."""

    def fatal_violation(self, action: str, payload: Any) -> str | None:
        """Return why the connection has to end because of a valid CALL of the peer, or None."""

    def before_request(self, action: str, payload: Any) -> OutcomeListener | None:
        """Prepare for a request that is about to be sent; return what is called with its outcome.

        It may block, and what it raises keeps the request from being sent.
        """


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ConnectionContext:
    """What the parts of one connection share.

    Attributes:
        metadata: the charge point, the version and the HTTP request.
        messages: the messages of the connection's version.
        policy: which messages may pass before the charge point is registered.
        security: what the security profile checks; None: nothing.
        router: the handlers.
        executor: where handlers run.
        timer: for deadlines and pings.
        answers: the charge point's last CALLs, possibly over an earlier connection.
        detector: knows which handlers run.
        options: the options of this end.
        log_fields: attributes of every log record about this connection (docs/logging.md).
    """

    metadata: ConnectionMetadata
    messages: MessageSet
    policy: MessagePolicy
    security: SecurityChecks | None = None
    router: Router
    executor: Executor
    timer: Timer
    answers: AnswerMemory
    detector: StuckHandlerDetector
    options: ConnectionOptions
    log_fields: Mapping[str, object]

    @property
    def peer(self) -> str:
        """The peer, in errors and log lines about what it did; those about this end begin with the identity instead."""
        return peer_name(self.messages.role, self.metadata.charge_point_id)


def peer_name(role: Role, charge_point_id: str) -> str:
    """Return what errors and log lines call the peer of the end with this role."""
    return charge_point_id if role == "central_system" else f"{charge_point_id}'s central system"


def log_fields(charge_point_id: str, number: int) -> dict[str, object]:
    """Return the attributes of log records about one connection."""
    return {"charge_point_id": charge_point_id, "connection": number}

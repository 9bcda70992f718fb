"""One of our CALLs, and how long it may take.

It waits for its turn, since one CALL is outstanding at a time, and then for its answer, from the moment it is written
(J16 §4.1.1; 4/201, 4/21 §4.1.1). Each wait has a bound of its own. Its caller may give up earlier than the second one:
the peer works on it all the same, so it stays outstanding.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from ..errors import Delivery
from .registration import OutcomeListener
from .route import OwnAction

__all__ = ["CallState", "CallTimes", "OutgoingCall"]


class CallState(Enum):
    """The states of one of our CALLs."""

    NEW = auto()
    QUEUED = auto()
    """Waits for its turn: one CALL is outstanding at a time (J16 §4.1.1, 4/201 §4.1.1)."""
    OUTSTANDING = auto()
    """It is its turn; `OutgoingCall.delivery` says whether it was written."""
    SETTLED = auto()
    """Answered, or given up."""


@dataclass(frozen=True, slots=True)
class CallTimes:
    """How long one of our CALLs may take, in seconds.

    Attributes:
        message: from the write to the answer: its message timeout.
        queue: from the request to its turn; None: no limit.
        whole: from the request to the end of its caller's wait; None: as long as the other two allow. If it ends after
            the message timeout, the CALL waits for its answer as long as its caller.
    """

    message: float
    queue: float | None = None
    whole: float | None = None
    in_queue: float | None = field(init=False)
    """The longest wait for its turn; None: no limit."""
    first_look: float = field(init=False)
    """When to look at it first, counted from the request: none of its times ends earlier."""

    def __post_init__(self) -> None:
        waits = [wait for wait in (self.queue, self.whole) if wait is not None]
        object.__setattr__(self, "in_queue", min(waits, default=None))
        object.__setattr__(self, "first_look", min([self.message, *waits]))


class OutgoingCall:
    """One of our CALLs. The engine's lock guards the fields that change."""

    __slots__ = (
        "abandoned",
        "action",
        "asked_at",
        "claimed",
        "delivery",
        "future",
        "message_id",
        "on_outcome",
        "own",
        "payload",
        "sent_at",
        "state",
        "text",
        "times",
    )

    def __init__(
        self,
        message_id: str,
        action: str,
        own: OwnAction,
        text: str,
        payload: Any,
        future: Future[Any],
        times: CallTimes,
        asked_at: float,
    ) -> None:
        self.message_id = message_id
        self.action = action
        self.own = own
        self.text = text
        self.payload = payload
        self.future = future
        self.times = times
        self.asked_at = asked_at
        self.on_outcome: OutcomeListener | None = None
        self.state = CallState.NEW
        self.delivery: Delivery = "not_sent"
        self.sent_at: float | None = None
        self.claimed: bool | None = None
        self.abandoned = False
        """Whether its caller has given up while it is outstanding; its future is done, or about to be."""

    def __repr__(self) -> str:
        return f"<OutgoingCall {self.action} {self.state.name}>"

    def answer_due(self, sent_at: float) -> float:
        """Return when its message timeout ends."""
        whole = self.times.whole
        due = sent_at + self.times.message
        return due if whole is None else max(due, self.asked_at + whole)

"""Answers the requests of the central system, and carries out those that were accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..answers.table import Answer
from ..charge_point import ChargePoint
from ..request import Request, RequestMetadata
from .driver import Effects

__all__ = ["AcceptedRequests"]

# InvalidCertificate is carried out with a security event.
_ACCEPTING_STATUSES = frozenset({"Accepted", "AcceptedCanceled", "InvalidCertificate", "Scheduled", "Unlocked"})

Handler = Callable[[Request[str, Any], RequestMetadata], "Answer | None"]


class AcceptedRequests:
    """A handler for `ChargePoint`, and what follows its answers. Thread-safe.

    Args:
        answers: answers each request.
        effects: what to do when a request was accepted, by action.
        attempt: does some work, and logs what fails; it gets the words for that as well. A line that breaks and an
            answer that is a CALLERROR are no faults of the charge point.
    """

    def __init__(
        self, answers: Handler, effects: Effects, attempt: Callable[[str, Callable[[], object]], object]
    ) -> None:
        self._answers = answers
        self._effects = effects
        self._attempt = attempt
        self._accepted: set[str] = set()  # message ids; each change is one operation, so it needs no lock

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer | None:
        """Return the answer, and remember whether it accepts."""
        answer = self._answers(request, metadata)
        accepted = answer is not None and answer.get("status", "Accepted") in _ACCEPTING_STATUSES
        if accepted and request.action in self._effects:
            self._accepted.add(metadata.message_id)
        return answer

    def carry_out_for(self, charge_point: ChargePoint) -> None:
        """Carry out accepted requests once their answers are sent."""
        for action in self._effects:
            self._watch(charge_point, action)

    def forget(self) -> None:
        """Forget the requests of the last connection."""
        self._accepted.clear()

    def _watch(self, charge_point: ChargePoint, action: Any) -> None:
        @charge_point.after(action)
        def carry_out(payload: Any, metadata: RequestMetadata) -> None:
            accepted = metadata.message_id in self._accepted
            self._accepted.discard(metadata.message_id)
            if accepted:
                self._attempt(f"carry out {action}", lambda: self._effects[action](payload))

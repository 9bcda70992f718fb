"""Carries out what a simulated charge point has accepted, after its answer was sent."""

from __future__ import annotations

import threading
from typing import Any

from ..answers import Answer, ChargePointAnswers, ChargingStationAnswers
from ..charge_point import ChargePoint
from ..request import Request, RequestMetadata
from .driver import Effects

__all__ = ["Execution"]

# InvalidCertificate is carried out with a security event.
_ACCEPTING_STATUSES = frozenset({"Accepted", "AcceptedCanceled", "InvalidCertificate", "Scheduled", "Unlocked"})


class Execution:
    """The handler of a charge point; what it accepts is carried out on the handler pool, once the answer is sent.

    Args:
        answers: makes the answers.
        effects: the functions that carry out accepted requests.
    """

    def __init__(self, answers: ChargePointAnswers | ChargingStationAnswers, effects: Effects) -> None:
        self._answers = answers
        self._effects = effects
        self._lock = threading.Lock()  # guards _accepted
        self._accepted: set[str] = set()  # the message ids of accepted requests

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer | None:
        """Return the answer; None for an action that the version does not have."""
        answer = self._answers(request, metadata)
        accepted = answer is not None and answer.get("status", "Accepted") in _ACCEPTING_STATUSES
        if accepted and request.action in self._effects:
            with self._lock:
                self._accepted.add(metadata.message_id)
        return answer

    def watch(self, charge_point: ChargePoint) -> None:
        """Carry out the requests to a charge point."""
        for action in self._effects:
            self._watch(charge_point, action)

    def forget(self) -> None:
        """Forget what was accepted over an earlier connection and never answered."""
        with self._lock:
            self._accepted.clear()

    def _watch(self, charge_point: ChargePoint, action: Any) -> None:
        @charge_point.after(action)
        def carry_out(payload: Any, metadata: RequestMetadata) -> None:
            with self._lock:
                accepted = metadata.message_id in self._accepted
                self._accepted.discard(metadata.message_id)
            if accepted:
                self._effects[action](payload)

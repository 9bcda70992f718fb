"""A central system that records the messages of simulated charge points."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from support import Recorder, serving

from ocppsync import CallError, CentralSystem, Request, RequestMetadata
from ocppsync.answers import CentralSystemAnswers
from ocppsync.simulator import SimulatedChargePoint

PACE = 200.0
"""At this pace a session takes a tenth of a second."""


class RecordingCentralSystem:
    """A central system that accepts everything, records every CALL, and lets tests replace answers."""

    def __init__(self) -> None:
        self.calls = Recorder()
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self._default_answers = CentralSystemAnswers()
        self.cs: CentralSystem = None  # type: ignore[assignment]

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Any:
        self.calls((request.action, request.payload))
        if request.action in self.answers:
            return self.answers[request.action](request.payload)
        return self._default_answers(request, metadata)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.cs.port}"

    def actions(self) -> list[str]:
        return [action for action, _ in self.calls.items]

    def payloads(self, action: str) -> list[Any]:
        return [payload for name, payload in self.calls.items if name == action]

    def wait(self, action: str, count: int = 1, **fields: Any) -> Any:
        """Wait for ``count`` CALLs of that action with those fields, and return the payload of the last."""
        found: list[Any] = []

        def enough(items: list[Any]) -> bool:
            found[:] = [p for name, p in items if name == action and fields.items() <= p.items()]
            return len(found) >= count

        self.calls.wait_until(enough)
        return found[count - 1]


@contextlib.contextmanager
def recording_central_system() -> Iterator[RecordingCentralSystem]:
    central_system = RecordingCentralSystem()
    with serving(central_system) as central_system.cs:
        yield central_system


@contextlib.contextmanager
def simulated(central_system: RecordingCentralSystem, **options: Any) -> Iterator[SimulatedChargePoint]:
    options = {"pace": PACE, "random": Random(1), **options}
    with SimulatedChargePoint("SIM-1", central_system.url, **options) as charge_point:
        yield charge_point


def refuse(code: str) -> Callable[[Any], Any]:
    """Return an answer that raises a CALLERROR."""

    def answer(payload: Any) -> Any:
        raise CallError(code)

    return answer

"""A central system for simulated charge points, which records what they send."""

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
"""A session takes a tenth of a second."""


class DemoCentralSystem:
    """A central system that answers sensibly, records every CALL, and gives way to other answers."""

    def __init__(self) -> None:
        self.calls = Recorder()
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self._sensible = CentralSystemAnswers()
        self.cs: CentralSystem = None  # type: ignore[assignment]

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Any:
        self.calls((request.action, request.payload))
        if request.action in self.answers:
            return self.answers[request.action](request.payload)
        return self._sensible(request, metadata)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.cs.port}"

    def actions(self) -> list[str]:
        return [action for action, _ in self.calls.items]

    def payloads(self, action: str) -> list[Any]:
        return [payload for name, payload in self.calls.items if name == action]

    def wait(self, action: str, count: int = 1, **fields: Any) -> Any:
        """Wait until so many CALLs of that action and with those fields have come, and return the last of these."""
        found: list[Any] = []

        def look(items: list[Any]) -> bool:
            found[:] = [p for name, p in items if name == action and fields.items() <= p.items()]
            return len(found) >= count

        self.calls.wait_until(look)
        return found[count - 1]


@contextlib.contextmanager
def serving_desk() -> Iterator[DemoCentralSystem]:
    desk = DemoCentralSystem()
    with serving(desk) as desk.cs:
        yield desk


@contextlib.contextmanager
def simulated(desk: DemoCentralSystem, **options: Any) -> Iterator[SimulatedChargePoint]:
    options = {"pace": PACE, "random": Random(1), **options}
    with SimulatedChargePoint("SIM-1", desk.url, **options) as station:
        yield station


def refuse(code: str) -> Callable[[Any], Any]:
    """An answer that is a CALLERROR."""

    def answer(payload: Any) -> Any:
        raise CallError(code)

    return answer

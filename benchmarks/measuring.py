"""Measures the peers in turns."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from figures import CPU, Failure, Figure, Plan
from messages import MESSAGES
from processes import ProgramError, running
from progress import say
from servers import Peer, serving

_LOAD = Path(__file__).resolve().parent / "load.py"
_SLACK = 150.0
"""Seconds that a load may take in addition to a measurement, mostly to connect."""


def run_load(
    plan: Plan,
    peer: Peer,
    message: str,
    connections: Sequence[int],
    options: Sequence[str] = (),
    server_options: Sequence[str] = (),
) -> Iterator[dict[str, float]]:
    """Start a server and yield the result of `load.py` for each number of connections, in increasing order.

    Raises:
        ProgramError: the server does not start, or gives a wrong answer; results yielded before are valid.
    """
    command = ["--message", message, "--connections", *map(str, connections), *options]
    with serving(peer, MESSAGES[message], plan.server_core, server_options) as (server, port):
        load_command = [sys.executable, str(_LOAD), str(port), "--server-pid", str(server.pid), *command]
        with running(load_command, plan.load_core) as load:
            for _ in connections:
                yield json.loads(load.read(_SLACK + 10 * plan.seconds))


@dataclass
class Series:
    """Collects the values of one figure."""

    scenario: str
    variant: str
    peer: str
    unit: str
    more_is_better: bool = True
    values: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    failure: str = ""

    def add(self, turn: int, value: float) -> None:
        """Add the value of a repetition and report it."""
        self.turns.append(turn)
        self.values.append(value)
        say(f"{self.scenario}, {self.variant}, {self.peer}: {value:.4g} {self.unit}")

    def result(self) -> Iterator[Figure | Failure]:
        """Yield the figure if there are values, and the failure if there is one."""
        if self.values:
            values, turns = tuple(self.values), tuple(self.turns)
            yield Figure(self.scenario, self.variant, self.peer, self.unit, values, self.more_is_better, turns)
        if self.failure:
            yield Failure(self.scenario, self.variant, self.peer, self.failure)


def rate_and_cpu(scenario: str, variant: str, peer: str, unit: str = "messages/s") -> list[Series]:
    """Return the series of a rate, and of the CPU time behind each thing that it counts."""
    each = {"messages/s": "call", "answers/s": "call", "handshakes/s": "handshake"}[unit]
    cpu = Series(f"{scenario}{CPU}", variant, peer, f"CPU µs/{each}", more_is_better=False)
    return [Series(scenario, variant, peer, unit), cpu]


Measurement = Callable[[], Iterator[float]]
"""Yields one value for each of its series, in order."""


def take_turns(plan: Plan, measurements: Mapping[Measurement, Sequence[Series]]) -> Iterator[Figure | Failure]:
    """Repeat the measurements in turns; then yield the figures, and the failures of all repetitions."""
    for turn in range(plan.repetitions):
        # Every second time in reverse, so that a drift of the machine favours neither of two neighbours.
        for measure, series in list(measurements.items())[:: -1 if turn % 2 else 1]:
            _measure(turn, measure, series)
    for series in measurements.values():
        for one in series:
            yield from one.result()


def _measure(turn: int, measure: Measurement, series: Sequence[Series]) -> None:
    remaining = iter(series)
    try:
        for value in measure():
            next(remaining).add(turn, value)
    except ProgramError as error:
        for one in remaining:
            one.failure = one.failure or str(error)
            say(f"{one.scenario}, {one.variant}, {one.peer}: FAILED: {error}")

"""Measurements of the peers, turn by turn."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from figures import Failure, Figure, Plan
from messages import MESSAGES
from processes import ProgramError, running
from progress import say
from servers import Peer, serving

_LOAD = Path(__file__).resolve().parent / "load.py"
_SLACK = 150.0
"""Seconds that a load may take beyond a measurement: most of them to connect."""


def ask(
    plan: Plan,
    peer: Peer,
    message: str,
    connections: Sequence[int],
    options: Sequence[str] = (),
    server_options: Sequence[str] = (),
) -> Iterator[dict[str, float]]:
    """Start a server, ask it over ever more connections, and yield what `load.py` finds at each number of them.

    Raises:
        ProgramError: the server does not start, or does not answer as it should; what was found before is good.
    """
    command = ["--message", message, "--connections", *map(str, connections), *options]
    with (
        serving(peer, MESSAGES[message], plan.server_core, server_options) as port,
        running([sys.executable, str(_LOAD), str(port), *command], plan.load_core) as load,
    ):
        for _ in connections:
            yield json.loads(load.read(_SLACK + 10 * plan.seconds))


@dataclass
class Series:
    """The values of one figure, as they come in."""

    scenario: str
    variant: str
    peer: str
    unit: str
    more_is_better: bool = True
    values: list[float] = field(default_factory=list)
    failure: str = ""

    def add(self, value: float) -> None:
        """Note a value, and tell of it."""
        self.values.append(value)
        say(f"{self.scenario}, {self.variant}, {self.peer}: {value:.4g} {self.unit}")

    def result(self) -> Iterator[Figure | Failure]:
        """Yield what came of it."""
        if self.values:
            yield Figure(self.scenario, self.variant, self.peer, self.unit, tuple(self.values), self.more_is_better)
        if self.failure:
            yield Failure(self.scenario, self.variant, self.peer, self.failure)


Measurement = Callable[[], Iterator[float]]
"""Yields a value for each of its series, in their order."""


def take_turns(plan: Plan, measurements: Mapping[Measurement, Sequence[Series]]) -> Iterator[Figure | Failure]:
    """Repeat the measurements, each in its turn; then yield the figures, and what failed in any repetition."""
    for _ in range(plan.repetitions):
        for measure, series in measurements.items():
            _measure(measure, series)
    for series in measurements.values():
        for one in series:
            yield from one.result()


def _measure(measure: Measurement, series: Sequence[Series]) -> None:
    open_ones = iter(series)
    try:
        for value in measure():
            next(open_ones).add(value)
    except ProgramError as error:
        for one in open_ones:
            one.failure = one.failure or str(error)
            say(f"{one.scenario}, {one.variant}, {one.peer}: FAILED: {error}")

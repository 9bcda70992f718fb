"""The input and the results of every scenario."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

CPU = ", CPU time"
"""The end of the names of scenarios with the CPU time of the server, in user and system mode, for each call."""


def title(scenario: str) -> str:
    """Return the name of a scenario as a heading; the names of functions stay as they are."""
    return scenario if "_" in scenario.split(maxsplit=1)[0] else scenario[0].upper() + scenario[1:]


@dataclass(frozen=True)
class Release:
    """Another ocppsync that takes turns with the installed one."""

    #: Such as "ocppsync at 3ca8414".
    name: str
    #: The directory to import it from.
    path: Path


@dataclass(frozen=True)
class Plan:
    """How long to measure, and on which cores."""

    server_core: int
    load_core: int
    #: Repetitions of each measurement; the peers take turns.
    repetitions: int
    #: Seconds for each measurement.
    seconds: float
    #: Only check that everything works, with few connections.
    smoke: bool = False
    against: Release | None = None


@dataclass(frozen=True)
class Figure:
    """The result of one peer in one scenario, with a value for each repetition."""

    #: Such as "validated MeterValues".
    scenario: str
    #: Such as "100 connections"; empty if there is only one.
    variant: str
    #: Such as "ocppsync", "ocpp package" or "echo on websockets.sync".
    peer: str
    #: Such as "messages/s" or "kB".
    unit: str
    values: tuple[float, ...]
    #: False for memory and latency.
    more_is_better: bool = True
    #: The repetition that each value is from; a repetition that failed has no value.
    turns: tuple[int, ...] = ()

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Failure:
    """A peer, or a whole scenario, that failed."""

    scenario: str
    variant: str
    peer: str
    #: One line.
    reason: str


@dataclass(frozen=True)
class Pair:
    """How the installed ocppsync compares with another one in one figure."""

    scenario: str
    variant: str
    #: The name of the other ocppsync as a peer.
    other: str
    unit: str
    #: The value of the installed one divided by that of the other, for each repetition.
    ratios: tuple[float, ...]
    more_is_better: bool = True

    @property
    def median(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        """Whether the installed one was better or worse in all repetitions: three may agree by chance."""
        if min(self.ratios) <= 1 <= max(self.ratios):
            return "the same" if min(self.ratios) == max(self.ratios) else "mixed"
        return "better every time" if (self.median > 1) == self.more_is_better else "**worse** every time"

"""The input and the results of every scenario."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


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

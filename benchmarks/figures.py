"""What a scenario finds, and what it is told: the common ground of every benchmark."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """How long and on which cores to measure."""

    server_core: int
    load_core: int
    #: Repetitions of each measurement; peers take turns within each.
    repetitions: int
    #: Seconds of each measurement.
    seconds: float
    #: A run that only shows that everything works: few connections, one repetition.
    smoke: bool = False


@dataclass(frozen=True)
class Figure:
    """What one peer did in one scenario: a value for each repetition."""

    #: As "validated MeterValues".
    scenario: str
    #: As "100 connections"; empty if there is only one.
    variant: str
    #: As "ocppsync", "ocpp package" or "echo on websockets.sync".
    peer: str
    #: As "messages/s" or "kB".
    unit: str
    values: tuple[float, ...]
    #: Whether more is better; of memory and latency it is not.
    more_is_better: bool = True

    @property
    def median(self) -> float:
        """Return the middle value."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Failure:
    """What one peer, or a whole scenario, could not do."""

    scenario: str
    variant: str
    peer: str
    #: One line.
    reason: str

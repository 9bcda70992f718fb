"""The limit that charging schedules put on a connector: now, and over time (C16 §3.13; 2/201 K §3.4, §3.5).

Moments are whole milliseconds since 1970, so that the start of a period is exact.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "LINE_VOLTAGE",
    "MAX_CURRENT",
    "Layer",
    "Schedule",
    "Unit",
    "composite_periods",
    "in_unit",
    "limit_at",
    "next_change",
    "rounded_down",
]

Unit = Literal["A", "W"]
"""The chargingRateUnit: amperes per phase, or watts of all phases."""

MAX_CURRENT = 32.0
"""What the connector can deliver on its one phase, in A."""
LINE_VOLTAGE = 230.0
"""The voltage that converts between the units; not the measured one (C16 §7.12; 2/201 K01.FR.50)."""


@dataclass(frozen=True)
class Schedule:
    """A charging schedule.

    Args:
        unit: the unit of the limits.
        periods: the second at which each period begins, counted from the start, and its limit; the first begins at 0.
        start: the moment at which the schedule starts.
        duration: the seconds after which it ends; None: never.
        recurrence: the seconds after which it starts again; None: it runs once.
        valid_from, valid_to: when it counts: from the first moment until just before the second.
    """

    unit: Unit
    periods: Sequence[tuple[int, float]]
    start: int
    duration: int | None = None
    recurrence: int | None = None
    valid_from: float = -math.inf
    valid_to: float = math.inf

    def limit_at(self, moment: int) -> float | None:
        """Return the limit at a moment, in its own unit; None if it sets none then."""
        if not self.valid_from <= moment < self.valid_to or moment < self.start:
            return None
        offset = moment - self._last_start(moment)
        if self.duration is not None and offset >= self.duration * 1000:
            return None
        return self.periods[self._next_period(offset) - 1][1]

    def next_change(self, moment: int) -> float:
        """Return the first later moment at which the limit may change; infinity if there is none."""
        return min((change for change in self._changes(moment) if change > moment), default=math.inf)

    def _changes(self, moment: int) -> Iterable[float]:
        yield self.valid_from
        yield self.valid_to
        if moment < self.start:
            yield self.start
            return
        start = self._last_start(moment)
        for begin, _ in self.periods[self._next_period(moment - start) :][:1]:
            yield start + begin * 1000
        if self.duration is not None:
            yield start + self.duration * 1000
        if self.recurrence is not None:
            yield start + self.recurrence * 1000

    def _next_period(self, offset: int) -> int:
        """Return the number of the first period that begins after so many milliseconds since the start."""
        return bisect_right(self.periods, offset, key=lambda period: period[0] * 1000)

    def _last_start(self, moment: int) -> int:
        if self.recurrence is None:
            return self.start
        every = self.recurrence * 1000
        return self.start + (moment - self.start) // every * every


@dataclass(frozen=True)
class Layer:
    """A schedule among those that together make the limit.

    Args:
        purpose: the chargingProfilePurpose.
        rank: among layers of one purpose, the one with the highest rank counts of those that set a limit just then.
        schedule: the schedule.
    """

    purpose: str
    rank: tuple[int, int]
    schedule: Schedule


def limit_at(layers: Iterable[Layer], moment: int, unit: Unit) -> float:
    """Return the limit at a moment: the lowest of those of all purposes, and of the connector itself."""
    leading: dict[str, tuple[tuple[int, int], float]] = {}
    for layer in layers:
        limit = layer.schedule.limit_at(moment)
        if limit is not None and (layer.purpose not in leading or leading[layer.purpose][0] < layer.rank):
            leading[layer.purpose] = layer.rank, in_unit(limit, layer.schedule.unit, unit)
    if "TxProfile" in leading:
        # While it sets a limit it replaces the default of all transactions (C16 §3.13.1; 2/201 K §3.5).
        leading.pop("TxDefaultProfile", None)
    return min([in_unit(MAX_CURRENT, "A", unit), *(limit for _, limit in leading.values())])


def next_change(layers: Iterable[Layer], moment: int) -> float:
    """Return the first later moment at which the limit may change; infinity if there is none."""
    return min((layer.schedule.next_change(moment) for layer in layers), default=math.inf)


def composite_periods(
    layers: Sequence[Layer], start: int, duration: int, unit: Unit, now: int | None = None
) -> list[tuple[int, float]]:
    """Return the second at which each period begins, counted from ``start``, and its limit, rounded down to 0.1.

    Only whole seconds count, since startPeriod has no fraction: a period that begins between two counts from the later.
    Neighbouring periods differ.

    Args:
        layers: the schedules.
        start: the moment at which the first period begins.
        duration: the seconds to cover, 1 or more.
        unit: the unit of the limits.
        now: the moment that counts for the first period, within its first second; by default ``start``.
    """
    periods: list[tuple[int, float]] = []
    second: float = 0
    while second < duration:
        moment = max(start + int(second) * 1000, start if now is None else now)
        limit = rounded_down(limit_at(layers, moment, unit))
        if not periods or periods[-1][1] != limit:
            periods.append((int(second), limit))
        change = next_change(layers, moment)
        second = change if change == math.inf else -((start - int(change)) // 1000)
    return periods


def in_unit(limit: float, unit: Unit, wanted: Unit) -> float:
    """Return a limit in another unit: on one phase, at the voltage of the area."""
    if unit == wanted:
        return limit
    return limit * LINE_VOLTAGE if wanted == "W" else limit / LINE_VOLTAGE


def rounded_down(limit: float) -> float:
    """Return a limit with one fractional digit, not above it but for errors of arithmetic."""
    near = round(limit, 1)
    return near if near <= limit + 1e-9 else round(near - 0.1, 1)

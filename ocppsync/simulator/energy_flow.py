"""The flow of energy into one vehicle, under the limit that is in force."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from .composite_schedule import MAX_CURRENT
from .meter import Meter

__all__ = ["Demand", "EnergyFlow", "LimitSource", "Reporter"]

_PRECISION = 1e-6
_SHORTEST_WAIT = 0.001


class Demand:
    """The energy that a vehicle takes, in blocks of falling power.

    Time is counted in steps. At full power a step delivers the same energy always, so a block that the vehicle takes at
    a share of the full power lasts one step; under a lower limit it lasts longer.

    Args:
        energy_wh: the energy of all blocks in Wh; if it is 0, time passes all the same.
        curve: the share of the full power that each block takes.

    Attributes:
        taken_share: the share that it took last, but for a limit.
    """

    def __init__(self, energy_wh: int, curve: Sequence[float]) -> None:
        self.energy_wh = energy_wh
        self._curve = curve
        self._total = sum(curve)
        self._block = 0
        self._taken = 0.0  # of the block, in steps at full power
        self.taken_share = 0.0

    @property
    def satisfied(self) -> bool:
        """Whether the vehicle has all of its energy."""
        return self._block == len(self._curve)

    @property
    def share(self) -> float:
        """The share of the full power that the vehicle takes without a limit."""
        return self._curve[min(self._block, len(self._curve) - 1)]

    @property
    def delivered(self) -> float:
        """The delivered energy in Wh."""
        return self.energy_wh * (sum(self._curve[: self._block]) + self._taken) / self._total

    def steps_left(self, limit: float) -> float:
        """Return how many steps it takes under a limit, a share of the full power; infinity if that is 0."""
        if not limit or self.satisfied:
            return 0.0 if self.satisfied else math.inf
        later = sum(share / min(share, limit) for share in self._curve[self._block + 1 :])
        return (self.share - self._taken) / min(self.share, limit) + later

    def take(self, steps: float, limit: float) -> None:
        """Deliver energy for a time, in steps, at no more than a share of the full power."""
        while steps > 0 and not self.satisfied and limit > 0:
            self.taken_share = self.share
            rate = min(self.share, limit)
            rest = self.share - self._taken
            if rest <= rate * (steps + _PRECISION):
                steps -= rest / rate
                self._block, self._taken = self._block + 1, 0.0
            else:
                self._taken += rate * steps
                return


class LimitSource(Protocol):
    """Knows the limit in force: `SmartCharging`."""

    def in_force(self) -> tuple[float, float]:
        """Return the limit in A, and the seconds until a schedule may change it; infinity if none does."""
        ...


class Reporter(Protocol):
    """Tells the central system what becomes of the flow: `VersionDriver`."""

    def resume(self) -> None:
        """Report that energy flows."""

    def suspend(self) -> None:
        """Report that no energy flows."""

    def change_rate(self, before: float, now: float) -> None:
        """Report that the limit has changed the current, in A."""


class EnergyFlow:
    """The flow of energy into a vehicle, under the limit that is in force.

    Args:
        demand: what the vehicle takes.
        meter: the meter of the connector.
        limits: knows the limit.
        reporter: sends the messages.
        step: the seconds of a step, at pace 1.

    Attributes:
        elapsed: the seconds since the beginning, at pace 1.
    """

    def __init__(self, demand: Demand, meter: Meter, limits: LimitSource, reporter: Reporter, step: float) -> None:
        self._demand = demand
        self._meter = meter
        self._limits = limits
        self._reporter = reporter
        self._step = step
        self._start = meter.register
        self._limit: float | None = None  # the one that is obeyed
        self._flows: bool | None = None  # whether it was reported that energy flows; None: nothing was
        self.elapsed = 0.0

    @property
    def seconds_left(self) -> float:
        """The seconds at pace 1 until the vehicle has its energy, if the limit stays as it is."""
        return self._demand.steps_left(self._share_of_limit) * self._step

    def follow(self) -> float:
        """Obey the limit, and report what a new one makes of the current; return the real seconds until it changes."""
        limit, seconds = self._limits.in_force()
        before, self._limit = self._limit, limit
        share = self._demand.share
        flowed, self._flows = self._flows, limit > 0 and self._demand.energy_wh > 0
        if before is not None and before != limit:
            self._advance_meter(share)
        if self._flows != flowed:
            (self._reporter.resume if self._flows else self._reporter.suspend)()
        elif before is not None and before != limit and self._flows:
            self._reporter.change_rate(min(before, share * MAX_CURRENT), min(limit, share * MAX_CURRENT))
        return max(seconds, _SHORTEST_WAIT)

    def advance(self, seconds: float) -> None:
        """Let energy flow for some seconds at pace 1, under the limit that `follow` has found."""
        self.elapsed += seconds
        self._demand.take(seconds / self._step, self._share_of_limit)
        self._advance_meter(self._demand.taken_share)

    @property
    def _share_of_limit(self) -> float:
        # Without any energy to deliver, only time passes.
        return (self._limit or 0.0) / MAX_CURRENT if self._demand.energy_wh else 1.0

    def _advance_meter(self, share: float) -> None:
        taken = share if self._demand.energy_wh else 0.0
        self._meter.advance(self._start + round(self._demand.delivered), taken, self._limit or 0.0)

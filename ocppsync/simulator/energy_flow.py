"""The flow of energy into one vehicle, under the limit that is in force."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from .composite_schedule import MAX_CURRENT
from .meter import Meter

__all__ = ["Demand", "EnergyFlow", "LimitSource", "Reporter"]

_PRECISION = 1e-9
_SHORTEST_WAIT = 0.001


class Demand:
    """The energy that a vehicle takes, in blocks of falling power.

    Time is counted in samples. At full power a sample delivers the same energy always, so a block that the vehicle
    takes at a share of the full power lasts one sample; under a lower limit it lasts longer.

    Args:
        energy_wh: the energy of all blocks in Wh.
        curve: the share of the full power that each block takes.
    """

    def __init__(self, energy_wh: int, curve: Sequence[float]) -> None:
        self._curve = curve
        self._full = energy_wh / sum(curve)  # Wh in a sample at full power
        self._block = 0
        self._taken = 0.0  # of the block, in Wh

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
        return self._full * sum(self._curve[: self._block]) + self._taken

    def take(self, samples: float, limit: float) -> None:
        """Deliver energy for a time, in samples, at no more than a share of the full power."""
        while samples > _PRECISION and not self.satisfied and limit > 0:
            rate = self._full * min(self.share, limit)
            rest = self._full * self.share - self._taken
            if rest <= rate * (samples + _PRECISION):
                samples -= rest / rate
                self._block, self._taken = self._block + 1, 0.0
            else:
                self._taken += rate * samples
                return


class LimitSource(Protocol):
    """Knows the limit in force: `SmartCharging`."""

    revision: int
    """Changes with each change that no schedule has announced."""

    def in_force(self) -> tuple[float, float]:
        """Return the limit in A, and the seconds until a schedule may change it; infinity if none does."""
        ...


class Reporter(Protocol):
    """Tells the central system what becomes of the flow: `VersionDriver`."""

    def resume(self) -> None:
        """Report that energy flows."""

    def suspend(self) -> None:
        """Report that the limit lets no energy flow."""

    def change_rate(self, before: float, now: float) -> None:
        """Report that the limit has changed the current, in A."""

    def report_meter(self) -> None:
        """Send the meter readings of the transaction."""


class EnergyFlow:
    """Lets energy flow, sample by sample.

    Args:
        demand: what the vehicle takes.
        meter: the meter to advance.
        limits: knows the limit.
        reporter: sends the messages.
        sample: the real seconds that a sample lasts.
        wait: waits for so many seconds, at most until the function returns True; returns whether the session is to end.
    """

    def __init__(
        self,
        demand: Demand,
        meter: Meter,
        limits: LimitSource,
        reporter: Reporter,
        *,
        sample: float,
        wait: Callable[[float, Callable[[], bool]], bool],
    ) -> None:
        self._demand = demand
        self._meter = meter
        self._limits = limits
        self._reporter = reporter
        self._sample = sample
        self._wait = wait
        self._start = meter.register
        self._limit: float | None = None  # the one that was reported; None: none was

    def run(self) -> None:
        """Deliver until the vehicle is satisfied, or ``wait`` has returned True."""
        while not self._demand.satisfied:
            if self._deliver_sample():
                return
            self._reporter.report_meter()

    def _deliver_sample(self) -> bool:
        left = 1.0
        while left > _PRECISION:
            revision = self._limits.revision
            limit, seconds = self._limits.in_force()
            self._follow(limit)
            part = min(left, max(seconds, _SHORTEST_WAIT) / self._sample)
            began = time.monotonic()
            if self._wait(part * self._sample, partial(self._is_new, revision)):
                return True
            if self._is_new(revision):
                part = min(part, (time.monotonic() - began) / self._sample)
            left -= part
            share = self._demand.share
            self._demand.take(part, limit / MAX_CURRENT)
            self._meter.advance(self._start + round(self._demand.delivered), share, limit)
        return False

    def _is_new(self, revision: int) -> bool:
        return self._limits.revision != revision

    def _follow(self, limit: float) -> None:
        """Report what a new limit makes of the current."""
        before, self._limit = self._limit, limit
        share = self._demand.share
        if before is not None and before != limit:
            self._meter.advance(self._meter.register, share, limit)
        if before is None or (before > 0) != (limit > 0):
            (self._reporter.resume if limit > 0 else self._reporter.suspend)()
        elif before != limit:
            self._reporter.change_rate(min(before, share * MAX_CURRENT), min(limit, share * MAX_CURRENT))

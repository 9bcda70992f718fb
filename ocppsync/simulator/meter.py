"""The meter of a simulated connector, and its vehicle: one phase, 32 A."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Literal

__all__ = ["Charging", "Meter", "power_curve"]

Measurand = Literal["Energy.Active.Import.Register", "Power.Active.Import", "Current.Import", "Voltage", "SoC"]
Unit = Literal["Wh", "W", "A", "V", "Percent"]

_MAX_CURRENT = 32.0
_BATTERY_WH = 50_000


class Meter:
    """The meter of the connector, and the battery of its vehicle.

    Attributes:
        register: the energy register in Wh.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.register = random.randrange(100_000, 5_000_000)
        self._charge = 0.0
        self._current = 0.0
        self._voltage = 230.0

    def plug_in(self) -> None:
        """Connect another vehicle, with a partly charged battery."""
        self._charge = self._random.uniform(0.15, 0.6) * _BATTERY_WH
        self._current = 0.0

    def advance(self, register: int, share: float) -> None:
        """Raise the register to a value in Wh; ``share`` is the current as a share of the maximum."""
        self._charge = min(_BATTERY_WH, self._charge + register - self.register)
        self.register = register
        self._current = round(_MAX_CURRENT * share, 1)
        self._voltage = round(self._random.uniform(228.0, 232.0), 1)

    def readings(self, measurands: Sequence[str]) -> list[tuple[Measurand, float, Unit]]:
        """Return the current readings of some measurands, in their order."""
        every: list[tuple[Measurand, float, Unit]] = [
            ("Energy.Active.Import.Register", self.register, "Wh"),
            ("Power.Active.Import", round(self._current * self._voltage), "W"),
            ("Current.Import", self._current, "A"),
            ("Voltage", self._voltage, "V"),
            ("SoC", round(100 * self._charge / _BATTERY_WH), "Percent"),
        ]
        by_name: dict[str, tuple[Measurand, float, Unit]] = {reading[0]: reading for reading in every}
        return [by_name[measurand] for measurand in measurands if measurand in by_name]


class Charging:
    """The flow of energy into a vehicle.

    Args:
        meter: the meter of the connector.
        energy_wh: the energy in Wh.
        curve: the share of the maximum power in each step; if the energy is 0, none flows.
        step: the seconds of a step, at pace 1.

    Attributes:
        elapsed: the seconds since the beginning.
    """

    def __init__(self, meter: Meter, energy_wh: int, curve: Sequence[float], step: float) -> None:
        self._meter = meter
        self._energy_wh = energy_wh
        self._curve = curve
        self._step = step
        self._start = meter.register
        self.elapsed = 0.0

    @property
    def seconds_left(self) -> float:
        """The seconds until the vehicle has got its energy."""
        return len(self._curve) * self._step - self.elapsed

    def advance(self, seconds: float) -> None:
        """Let energy flow for some seconds."""
        self.elapsed += min(seconds, self.seconds_left)
        steps = self.elapsed / self._step
        whole = math.floor(steps)
        done = sum(self._curve[:whole]) + (steps - whole) * sum(self._curve[whole : whole + 1])
        share = self._curve[max(0, math.ceil(steps) - 1)] if self._energy_wh else 0.0
        self._meter.advance(self._start + round(self._energy_wh * done / sum(self._curve)), share)


def power_curve(samples: int, random: Random) -> list[float]:
    """Return the share of the maximum power at each sample: it ramps up, stays, and falls in the last quarter."""
    curve = []
    for index in range(samples):
        left = (samples - 1 - index) / samples
        share = 0.6 if index == 0 and samples > 1 else min(1.0, 0.35 + 2.6 * left)
        curve.append(share * random.uniform(0.98, 1.0))
    return curve

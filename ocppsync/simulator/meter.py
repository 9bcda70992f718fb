"""The meter of a simulated connector, and its vehicle: one phase, 32 A."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

from .composite_schedule import LINE_VOLTAGE, MAX_CURRENT, rounded_down

__all__ = ["Meter", "power_curve"]

Measurand = Literal["Energy.Active.Import.Register", "Power.Active.Import", "Current.Import", "Voltage", "SoC"]
Unit = Literal["Wh", "W", "A", "V", "Percent"]

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

    def advance(self, register: int, share: float, limit: float = MAX_CURRENT) -> None:
        """Raise the register to a value in Wh.

        Args:
            register: the new value.
            share: the current that the vehicle takes, as a share of the maximum.
            limit: the current that it may take, in A. The power stays below this limit times the voltage of the area,
                so that it also obeys a limit in W.
        """
        self._charge = min(_BATTERY_WH, self._charge + register - self.register)
        self.register = register
        self._voltage = round(self._random.uniform(228.0, 232.0), 1)
        highest = rounded_down(limit * min(1.0, LINE_VOLTAGE / self._voltage))
        self._current = min(round(MAX_CURRENT * share, 1), highest)

    def readings(self, measurands: Sequence[str]) -> list[tuple[Measurand, float, Unit]]:
        """Return the current readings of some measurands, in their order."""
        every: list[tuple[Measurand, float, Unit]] = [
            ("Energy.Active.Import.Register", self.register, "Wh"),
            ("Power.Active.Import", int(self._current * self._voltage), "W"),
            ("Current.Import", self._current, "A"),
            ("Voltage", self._voltage, "V"),
            ("SoC", round(100 * self._charge / _BATTERY_WH), "Percent"),
        ]
        by_name: dict[str, tuple[Measurand, float, Unit]] = {reading[0]: reading for reading in every}
        return [by_name[measurand] for measurand in measurands if measurand in by_name]


def power_curve(samples: int, random: Random) -> list[float]:
    """Return the share of the maximum power at each sample: it ramps up, stays, and falls in the last quarter."""
    curve = []
    for index in range(samples):
        left = (samples - 1 - index) / samples
        share = 0.6 if index == 0 and samples > 1 else min(1.0, 0.35 + 2.6 * left)
        curve.append(share * random.uniform(0.98, 1.0))
    return curve

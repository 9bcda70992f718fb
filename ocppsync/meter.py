"""The meter of a simulated connector, and the vehicle that it feeds: one phase, 32 A."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .v16 import ReadingContext, SampledValue

__all__ = ["Meter", "power_curve"]

_CURRENT = 32.0
_BATTERY_WH = 50_000


class Meter:
    """The meter of the connector, and the vehicle that it feeds."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.register = random.randrange(100_000, 5_000_000)
        self._charge = 0.0
        self._current = 0.0
        self._voltage = 230.0

    def plug_in(self) -> None:
        """Connect another vehicle, whose battery holds some charge."""
        self._charge = self._random.uniform(0.15, 0.6) * _BATTERY_WH
        self._current = 0.0

    def advance(self, register: int, share: float) -> None:
        """Let the register rise to a value in Wh, drawn with a share of the highest current."""
        self._charge = min(_BATTERY_WH, self._charge + register - self.register)
        self.register = register
        self._current = round(_CURRENT * share, 1)
        self._voltage = round(self._random.uniform(228.0, 232.0), 1)

    def sample(self, context: ReadingContext) -> list[SampledValue]:
        """Return what it shows now."""
        readings: list[SampledValue] = [
            {"value": f"{self.register}", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
            {"value": f"{self._current * self._voltage:.0f}", "measurand": "Power.Active.Import", "unit": "W"},
            {"value": f"{self._current}", "measurand": "Current.Import", "unit": "A"},
            {"value": f"{self._voltage}", "measurand": "Voltage", "unit": "V"},
            {"value": f"{100 * self._charge / _BATTERY_WH:.0f}", "measurand": "SoC", "unit": "Percent"},
        ]
        return [{**reading, "context": context} for reading in readings]


def power_curve(samples: int, random: Random) -> list[float]:
    """Return the share of the highest power at each sample: it ramps up, stays, and falls off in the last quarter."""
    curve = []
    for index in range(samples):
        left = (samples - 1 - index) / samples
        share = 0.6 if index == 0 and samples > 1 else min(1.0, 0.35 + 2.6 * left)
        curve.append(share * random.uniform(0.98, 1.0))
    return curve

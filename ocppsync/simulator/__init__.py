"""Simulated charge points: they boot, charge one vehicle after another, and obey the central system."""

from .charge_point import SimulatedChargePoint
from .driver import Session

__all__ = ["Session", "SimulatedChargePoint"]

"""Simulated charge points: they boot, charge one vehicle after another, and do what the central system asks."""

from .charge_point import SimulatedChargePoint
from .driver import Session

__all__ = ["Session", "SimulatedChargePoint"]

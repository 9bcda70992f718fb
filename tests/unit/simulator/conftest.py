"""A simulated charge point and the central system that it meets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from simulated import RecordingCentralSystem, recording_central_system, simulated

from ocppsync.simulator import SimulatedChargePoint


@pytest.fixture(params=["1.6", "2.0.1", "2.1"])
def version(request: Any) -> Any:
    return request.param


@pytest.fixture
def central_system() -> Iterator[RecordingCentralSystem]:
    with recording_central_system() as central_system:
        yield central_system


@pytest.fixture
def station(central_system: RecordingCentralSystem, version: Any) -> Iterator[SimulatedChargePoint]:
    """A charge point that has booted, and charges when it is told to."""
    with simulated(central_system, version=version) as station:
        station.boot()
        yield station

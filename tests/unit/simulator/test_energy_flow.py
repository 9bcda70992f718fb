"""The flow of energy under a limit: how much flows, and what is reported."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocppsync.simulator.energy_flow import Demand, EnergyFlow
from ocppsync.simulator.meter import Meter

CURVE = [0.5, 1.0, 0.25]


def test_without_a_limit_each_sample_takes_its_block() -> None:
    demand = Demand(7000, CURVE)
    delivered = []
    while not demand.satisfied:
        demand.take(1, 1)
        delivered.append(demand.delivered)
    assert delivered == pytest.approx([2000, 6000, 7000])


def test_a_limit_makes_it_last_longer() -> None:
    demand = Demand(7000, CURVE)
    delivered = []
    while not demand.satisfied:
        demand.take(1, 0.5)
        delivered.append(demand.delivered)
    assert delivered == pytest.approx([2000, 4000, 6000, 7000])


def test_a_limit_of_0_stops_it() -> None:
    demand = Demand(7000, CURVE)
    demand.take(100, 0)
    assert (demand.delivered, demand.satisfied, demand.share) == (0, False, 0.5)


@given(
    st.lists(st.floats(0.05, 1), min_size=1, max_size=8),
    st.integers(1, 12_000),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), max_size=20),
)
def test_never_more_flows_than_the_limit_lets(
    curve: list[float], energy: int, steps: list[tuple[float, float]]
) -> None:
    demand = Demand(energy, curve)
    full = energy / sum(curve)
    for samples, limit in steps:
        before = demand.delivered
        demand.take(samples, limit)
        assert before - 1e-6 <= demand.delivered <= before + full * limit * samples + 1e-6 * (1 + full)
        assert demand.delivered <= energy * (1 + 1e-9)
    demand.take(1e9, 1)
    assert demand.satisfied
    assert demand.delivered == pytest.approx(energy)


class Limits:
    """Limits that change after so many waits."""

    def __init__(self, *limits: float) -> None:
        self.left = list(limits)
        self.revision = 0

    def in_force(self) -> tuple[float, float]:
        return self.left[0], math.inf

    def step(self) -> None:
        if len(self.left) > 1:
            self.left.pop(0)
            self.revision += 1


class Reports:
    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.items: list[object] = []

    def resume(self) -> None:
        self.items.append("resume")

    def suspend(self) -> None:
        self.items.append("suspend")

    def change_rate(self, before: float, now: float) -> None:
        self.items.append((before, now, dict(self.readings())["Current.Import"]))

    def report_meter(self) -> None:
        self.items.append(self.meter.register - self.start)

    def readings(self) -> list[tuple[str, float]]:
        return [(name, value) for name, value, _ in self.meter.readings()]

    start = 0


def deliver(
    limits: Limits, curve: list[float], wait: Callable[[float, Callable[[], bool]], bool]
) -> tuple[list[object], Meter]:
    meter = Meter(Random(1))
    meter.plug_in()
    reports = Reports(meter)
    reports.start = meter.register
    EnergyFlow(Demand(1000, curve), meter, limits, reports, sample=1.0, wait=wait).run()
    return reports.items, meter


def test_a_sample_follows_the_change_of_the_limit() -> None:
    limits = Limits(32, 0, 16)

    def wait(seconds: float, changed: Callable[[], bool]) -> bool:
        limits.step()  # at once: no time has passed under the old limit
        return False

    items, meter = deliver(limits, [1.0], wait)
    assert items == ["resume", "suspend", "resume", 500, 1000]
    assert {name: value for name, value, _ in meter.readings()}["Current.Import"] <= 16


def test_a_lower_limit_is_reported_with_the_lower_current() -> None:
    limits = Limits(32, 8)

    def wait(seconds: float, changed: Callable[[], bool]) -> bool:
        limits.step()
        return False

    items, _ = deliver(limits, [0.5, 0.5], wait)
    assert items[0] == "resume"
    before, now, current = items[1]  # type: ignore[misc]
    assert (before, now) == (16, 8)
    assert current <= 8
    assert items[2:] == [250, 500, 750, 1000]


def test_an_announced_change_divides_the_sample() -> None:
    class Announced(Limits):
        def in_force(self) -> tuple[float, float]:
            return self.left[0], 0.25 if len(self.left) > 1 else math.inf

    limits = Announced(32, 16)
    waits = []

    def wait(seconds: float, changed: Callable[[], bool]) -> bool:
        waits.append(seconds)
        assert not changed()
        limits.left = limits.left[-1:]
        return False

    items, _ = deliver(limits, [1.0], wait)
    assert waits == [0.25, 0.75, 1.0]
    assert items[2:] == [625, 1000]


def test_it_ends_when_the_session_is_to_end() -> None:
    items, _ = deliver(Limits(0), [1.0], lambda seconds, changed: True)
    assert items == ["suspend"]

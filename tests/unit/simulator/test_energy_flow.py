"""The flow of energy under a limit: how much flows, and what is reported."""

from __future__ import annotations

import math
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
    """A limit in A that the test sets, and the seconds until it changes."""

    def __init__(self, limit: float = 32.0, seconds: float = math.inf) -> None:
        self.limit = limit
        self.seconds = seconds

    def in_force(self) -> tuple[float, float]:
        return self.limit, self.seconds


class Reports:
    """What was reported, with the current that the meter shows just then."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.items: list[object] = []

    def resume(self) -> None:
        self.items.append("resume")

    def suspend(self) -> None:
        self.items.append(("suspend", current(self._meter)))

    def change_rate(self, before: float, now: float) -> None:
        self.items.append((before, now, current(self._meter)))


def current(meter: Meter) -> float:
    ((_, value, _),) = meter.readings(["Current.Import"])
    return value


@pytest.fixture
def meter() -> Meter:
    meter = Meter(Random(1))
    meter.plug_in()
    return meter


def test_energy_flows_by_the_curve(meter: Meter) -> None:
    start = meter.register
    flow = EnergyFlow(Demand(100, [0.5, 1.0, 0.5]), meter, Limits(), Reports(meter), 2.0)
    assert flow.follow() == math.inf
    seen = []
    for _ in range(6):
        flow.advance(1.0)
        seen.append((meter.register - start, round(current(meter)), round(flow.seconds_left)))
    assert seen == [(12, 16, 5), (25, 16, 4), (50, 32, 3), (75, 32, 2), (88, 16, 1), (100, 16, 0)]
    assert flow.elapsed == 6


def test_a_limit_holds_the_meter_and_takes_longer(meter: Meter) -> None:
    start, demand = meter.register, Demand(1000, [1.0])
    flow = EnergyFlow(demand, meter, Limits(8), Reports(meter), 2.0)
    flow.follow()
    assert flow.seconds_left == 8
    flow.advance(2.0)
    assert meter.register - start == 250
    assert 0 < current(meter) <= 8
    flow.advance(6.0)
    assert (meter.register - start, demand.satisfied) == (1000, True)


def test_changes_of_the_limit_are_reported_with_the_new_current(meter: Meter) -> None:
    limits, reports = Limits(32, 0.5), Reports(meter)
    flow = EnergyFlow(Demand(1000, [0.5, 0.5]), meter, limits, reports, 2.0)
    assert flow.follow() == 0.5
    flow.advance(1.0)
    for limit in (32, 20, 8, 0, 0, 4):
        limits.limit = limit
        flow.follow()
    kinds = [item if isinstance(item, str) else item[:-1] for item in reports.items]  # type: ignore[index]
    assert kinds == ["resume", (16, 16), (16, 8), ("suspend",), "resume"]
    assert [item[-1] for item in reports.items[2:4]] <= [8.0, 0.0]  # type: ignore[index]
    assert flow.seconds_left == pytest.approx(4 * 4 - 4)


def test_nothing_flows_at_a_limit_of_0(meter: Meter) -> None:
    start = meter.register
    flow = EnergyFlow(Demand(1000, [1.0]), meter, Limits(0), Reports(meter), 2.0)
    flow.follow()
    flow.advance(1000.0)
    assert (meter.register, current(meter), flow.seconds_left) == (start, 0, math.inf)


def test_a_change_is_never_waited_for_without_end(meter: Meter) -> None:
    flow = EnergyFlow(Demand(1000, [1.0]), meter, Limits(32, -1.0), Reports(meter), 2.0)
    assert flow.follow() > 0


@pytest.mark.parametrize("limit", [0, 32])
def test_without_energy_only_time_passes(meter: Meter, limit: float) -> None:
    limits, reports, start = Limits(limit), Reports(meter), meter.register
    demand = Demand(0, [0.5, 1.0])
    flow = EnergyFlow(demand, meter, limits, reports, 2.0)
    flow.follow()
    flow.advance(3.0)
    assert (meter.register, current(meter), flow.seconds_left) == (start, 0, 1)
    limits.limit = 16
    flow.follow()
    flow.advance(1.0)
    assert demand.satisfied
    assert reports.items == [("suspend", 0.0)]

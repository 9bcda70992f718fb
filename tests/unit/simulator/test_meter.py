"""The simulated meter: consistent readings."""

from __future__ import annotations

from random import Random

import pytest

from ocppsync.answers.value_types import MEASURANDS
from ocppsync.simulator.meter import Meter, power_curve


def readings(meter: Meter) -> dict[str, float]:
    return {measurand: value for measurand, value, _ in meter.readings(MEASURANDS)}


def test_it_measures_what_the_settings_may_name() -> None:
    assert tuple(readings(Meter(Random(1)))) == MEASURANDS


def test_readings_are_those_that_are_asked_for() -> None:
    asked = ["SoC", "Voltage", "Frequency"]
    assert [measurand for measurand, _, _ in Meter(Random(1)).readings(asked)] == ["SoC", "Voltage"]


def test_power_is_voltage_times_current_and_energy_charges_the_battery() -> None:
    meter = Meter(Random(1))
    meter.plug_in()
    before = readings(meter)
    assert before["Current.Import"] == before["Power.Active.Import"] == 0
    meter.advance(meter.register + 5_000, 0.5)
    after = readings(meter)
    assert after["Energy.Active.Import.Register"] == before["Energy.Active.Import.Register"] + 5_000
    assert after["Current.Import"] == 16
    assert after["Power.Active.Import"] == pytest.approx(after["Voltage"] * 16, abs=1)
    assert after["SoC"] == before["SoC"] + 10


def test_a_battery_charges_no_further_than_full() -> None:
    meter = Meter(Random(1))
    meter.plug_in()
    meter.advance(meter.register + 1_000_000, 1)
    assert readings(meter)["SoC"] == 100


@pytest.mark.parametrize("samples", [1, 2, 3, 8, 100])
def test_power_stays_within_the_limits_and_falls_at_the_end(samples: int) -> None:
    curve = power_curve(samples, Random(1))
    assert len(curve) == samples
    assert all(0.3 < share <= 1 for share in curve)
    assert curve[-1] == min(curve)


@pytest.mark.parametrize("limit", [0, 0.04, 6, 15.9, 16, 31.99])
def test_a_limit_holds_in_amperes_and_in_watts(limit: float) -> None:
    meter = Meter(Random(1))
    meter.plug_in()
    for _ in range(50):
        meter.advance(meter.register, 1, limit)
        assert max(0, limit - 0.3) <= readings(meter)["Current.Import"] <= limit
        assert readings(meter)["Power.Active.Import"] <= limit * 230

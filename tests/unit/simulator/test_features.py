"""What a simulated charge point says about its functions."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.answers import ChargePointAnswers, ChargingStationAnswers
from ocppsync.simulator.features import Features


def features(answers: Any) -> Features:
    return Features("SIM-1", answers, lambda action, payload: None, lambda: None)


def test_16_has_the_configuration_of_each_profile() -> None:
    answers = ChargePointAnswers()
    features(answers)
    values = {setting.key: setting.value for setting in answers.configuration.values()}
    assert "SmartCharging" in values["SupportedFeatureProfiles"].split(",")
    assert values["ChargingScheduleAllowedChargingRateUnit"] == "Current,Power"
    for key in ("ChargeProfileMaxStackLevel", "ChargingScheduleMaxPeriods", "MaxChargingProfilesInstalled"):
        assert int(values[key]) > 0


@pytest.mark.parametrize("variable", ["Enabled", "LimitChangeSignificance", "ProfileStackLevel", "RateUnit"])
def test_2x_has_the_variables_of_each_function(variable: str) -> None:
    answers = ChargingStationAnswers()
    features(answers)
    assert answers.device_model["SmartChargingCtrlr", variable].value


def test_fixed_answers_stay() -> None:
    fixed: Any = {"SetChargingProfile": {"status": "NotSupported"}, "RemoteStartTransaction": {"status": "Accepted"}}
    answers = ChargePointAnswers(fixed)
    features(answers)
    assert {action: answers._answers[action] for action in fixed} == fixed

"""What a simulated charge point says about its functions."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.answers import ChargePointAnswers, ChargingStationAnswers
from ocppsync.simulator.features import Features
from ocppsync.simulator.link import Link


def features(answers: Any) -> Features:
    link = Link(
        charge_point_id="SIM-1",
        is_16=isinstance(answers, ChargePointAnswers),
        pace=1.0,
        state=answers,
        send=lambda action, payload: None,
        signal=lambda: None,
        wait_until=lambda job, predicate: True,
        is_busy=lambda: False,
        is_away=lambda: False,
        settle=lambda: None,
        restart=lambda version: None,
        is_stopping=lambda: False,
    )
    return Features(link, answers)


def test_16_has_the_configuration_of_each_profile() -> None:
    answers = ChargePointAnswers()
    features(answers)
    values = {setting.key: setting.value for setting in answers.configuration.values()}
    profiles = values["SupportedFeatureProfiles"].split(",")
    assert {"SmartCharging", "Reservation", "FirmwareManagement"} <= set(profiles)
    assert (values["ReserveConnectorZeroSupported"], values["SupportedFileTransferProtocols"]) == ("true", "HTTP,HTTPS")
    assert values["ChargingScheduleAllowedChargingRateUnit"] == "Current,Power"
    for key in ("ChargeProfileMaxStackLevel", "ChargingScheduleMaxPeriods", "MaxChargingProfilesInstalled"):
        assert int(values[key]) > 0


@pytest.mark.parametrize(
    ("component", "variable"),
    [
        ("OCPPCommCtrlr", "FileTransferProtocols"),
        ("ReservationCtrlr", "NonEvseSpecific"),
        ("SmartChargingCtrlr", "LimitChangeSignificance"),
        ("SmartChargingCtrlr", "ProfileStackLevel"),
        ("SmartChargingCtrlr", "RateUnit"),
    ],
)
def test_2x_has_the_variables_of_each_function(component: str, variable: str) -> None:
    answers = ChargingStationAnswers()
    features(answers)
    assert answers.device_model[component, variable].value


def test_fixed_answers_stay() -> None:
    fixed: Any = {"SetChargingProfile": {"status": "NotSupported"}, "RemoteStartTransaction": {"status": "Accepted"}}
    answers = ChargePointAnswers(fixed)
    features(answers)
    assert {action: answers._answers[action] for action in fixed} == fixed

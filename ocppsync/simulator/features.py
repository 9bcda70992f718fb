"""The functions of a simulated charge point beyond the core of OCPP, and their configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..answers.charge_point_16 import ChargePointAnswers, Setting
from ..answers.charging_station_2x import ChargingStationAnswers
from ..answers.device_model import Variable
from ..throttled_log import ThrottledLog
from .charging_profiles import MAX_INSTALLED, MAX_PERIODS, MAX_STACK_LEVEL
from .driver import Effects
from .smart_charging import SmartCharging2x, SmartCharging16

__all__ = ["Features"]


class Features:
    """Smart charging; adds its answers and its configuration to those of the charge point.

    Args:
        charge_point_id: the charge point's identity.
        answers: the answers of the charge point.
        send: sends a request and returns the answer.
        signal: called when the thread that charges has to look at the features again.

    Attributes:
        smart_charging: the charging profiles and the limit in force.
        effects: the functions that carry out accepted requests.
    """

    def __init__(
        self,
        charge_point_id: str,
        answers: ChargePointAnswers | ChargingStationAnswers,
        send: Callable[[Any, Any], Any],
        signal: Callable[[], object],
    ) -> None:
        log = ThrottledLog(charge_point_id)
        is_16 = isinstance(answers, ChargePointAnswers)
        self.smart_charging = (SmartCharging16 if is_16 else SmartCharging2x)(answers, log, signal)
        self.effects: Effects = {**self.smart_charging.effects(send)}
        answers.add_answers(self.smart_charging.table())
        remote_start = "RemoteStartTransaction" if is_16 else "RequestStartTransaction"
        answers.check_first(remote_start, self.smart_charging.refusal_of_remote_start)
        if isinstance(answers, ChargePointAnswers):
            _configure_16(answers)
        else:
            _configure_2x(answers)


def _configure_16(answers: ChargePointAnswers) -> None:
    # C16 §9.4.
    for setting in (
        Setting("ChargeProfileMaxStackLevel", str(MAX_STACK_LEVEL), readonly=True),
        Setting("ChargingScheduleAllowedChargingRateUnit", "Current,Power", readonly=True),
        Setting("ChargingScheduleMaxPeriods", str(MAX_PERIODS), readonly=True),
        Setting("MaxChargingProfilesInstalled", str(MAX_INSTALLED), readonly=True),
    ):
        answers.configuration[setting.key.casefold()] = setting
    profiles = answers.configuration["supportedfeatureprofiles"]
    profiles.value += ",SmartCharging"


def _configure_2x(answers: ChargingStationAnswers) -> None:
    # 2/201, referenced components and variables, SmartChargingCtrlr.
    answers.device_model.add(
        Variable("SmartChargingCtrlr", "Available", "true", "boolean"),
        Variable("SmartChargingCtrlr", "Enabled", "true", "boolean"),
        Variable("SmartChargingCtrlr", "Entries", str(MAX_INSTALLED), "integer", instance="ChargingProfiles"),
        Variable("SmartChargingCtrlr", "LimitChangeSignificance", "1", "decimal"),
        Variable("SmartChargingCtrlr", "PeriodsPerSchedule", str(MAX_PERIODS), "integer"),
        Variable("SmartChargingCtrlr", "ProfileStackLevel", str(MAX_STACK_LEVEL), "integer"),
        Variable("SmartChargingCtrlr", "RateUnit", "A,W", "MemberList"),
    )

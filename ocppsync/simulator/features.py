"""The functions of a simulated charge point beyond the core of OCPP, and their configuration."""

from __future__ import annotations

from ..answers.charge_point_16 import ChargePointAnswers
from ..answers.charging_station_2x import ChargingStationAnswers
from ..answers.device_model import DeviceModel, Variable
from ..answers.settings_16 import Setting
from ..answers.table import Answer
from .charging_profiles import MAX_INSTALLED, MAX_PERIODS, MAX_STACK_LEVEL
from .driver import Effects
from .firmware import FirmwareUpdates
from .link import Link
from .reservations import Reservations, Reservations2x, Reservations16
from .smart_charging import SmartCharging2x, SmartCharging16
from .uploads import Uploads

__all__ = ["Features"]


class Features:
    """Adds smart charging, reservations, firmware updates and uploads to the answers of a charge point.

    Args:
        link: the connection to the charge point.
        answers: its answers; they get the configuration keys and the variables as well.

    Attributes:
        smart_charging: the charging profiles and the limit in force.
        reservations: the reservation.
        firmware: the firmware update.
        uploads: the uploads of diagnostics and logs.
        effects: the functions that carry out accepted requests.
    """

    def __init__(self, link: Link, answers: ChargePointAnswers | ChargingStationAnswers) -> None:
        self.smart_charging = (SmartCharging16 if link.is_16 else SmartCharging2x)(answers, link.log, link.signal)
        self.firmware = FirmwareUpdates(link)
        self.uploads = Uploads(link)
        self.reservations: Reservations
        if isinstance(answers, ChargePointAnswers):
            configuration = _configure_16(answers)
            zero = configuration["reserveconnectorzerosupported"]
            self.reservations = Reservations16(link, lambda: _is_true(zero.value))
            remote_start = "RemoteStartTransaction"
        else:
            model = _configure_2x(answers)
            some, enabled = model["ReservationCtrlr", "NonEvseSpecific"], model["ReservationCtrlr", "Enabled"]
            self.reservations = Reservations2x(link, lambda: _is_true(some.value), lambda: _is_true(enabled.value))
            remote_start = "RequestStartTransaction"
        self.effects: Effects = {
            **self.smart_charging.effects(link.send),
            **self.reservations.effects(),
            **self.firmware.effects(),
            **self.uploads.effects(),
        }
        for feature in (self.smart_charging, self.reservations, self.firmware, self.uploads):
            answers.add_answers(feature.table())
        answers.check_first(remote_start, self.smart_charging.refusal_of_remote_start)
        answers.check_first(remote_start, self.reservations.refusal)

    def status_notification(self, action: str) -> Answer:
        """Return the payload of a status notification of a firmware update or an upload, for TriggerMessage."""
        return (self.firmware if "Firmware" in action else self.uploads).triggered(action)

    def stop(self) -> None:
        """Cancel all work, and wait a moment for its threads to end."""
        for feature in (self.firmware, self.uploads, self.reservations):
            feature.stop()


def _configure_16(answers: ChargePointAnswers) -> dict[str, Setting]:
    # C16 §9.3, §9.4; CE16 3.90.
    for setting in (
        Setting("ChargeProfileMaxStackLevel", str(MAX_STACK_LEVEL), readonly=True),
        Setting("ChargingScheduleAllowedChargingRateUnit", "Current,Power", readonly=True),
        Setting("ChargingScheduleMaxPeriods", str(MAX_PERIODS), readonly=True),
        Setting("MaxChargingProfilesInstalled", str(MAX_INSTALLED), readonly=True),
        Setting("ReserveConnectorZeroSupported", "true", readonly=True),
        Setting("SupportedFileTransferProtocols", "HTTP,HTTPS", readonly=True),
    ):
        answers.configuration[setting.key.casefold()] = setting
    answers.configuration["supportedfeatureprofiles"].value += ",SmartCharging,Reservation,FirmwareManagement"
    return answers.configuration


def _configure_2x(answers: ChargingStationAnswers) -> DeviceModel:
    # 2/201, referenced components and variables.
    answers.device_model.add(
        Variable("OCPPCommCtrlr", "FileTransferProtocols", "HTTP,HTTPS", "MemberList"),
        Variable("ReservationCtrlr", "Available", "true", "boolean"),
        Variable("ReservationCtrlr", "Enabled", "true", "boolean", writable=True),
        Variable("ReservationCtrlr", "NonEvseSpecific", "true", "boolean"),
        Variable("SmartChargingCtrlr", "Available", "true", "boolean"),
        Variable("SmartChargingCtrlr", "Enabled", "true", "boolean"),
        Variable("SmartChargingCtrlr", "Entries", str(MAX_INSTALLED), "integer", instance="ChargingProfiles"),
        Variable("SmartChargingCtrlr", "LimitChangeSignificance", "1", "decimal"),
        Variable("SmartChargingCtrlr", "PeriodsPerSchedule", str(MAX_PERIODS), "integer"),
        Variable("SmartChargingCtrlr", "ProfileStackLevel", str(MAX_STACK_LEVEL), "integer"),
        Variable("SmartChargingCtrlr", "RateUnit", "A,W", "MemberList"),
    )
    return answers.device_model


def _is_true(value: str) -> bool:
    return value.casefold() == "true"

"""The answers of a charge point with one connector and a configuration, for OCPP 1.6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..request import Request, RequestMetadata
from .table import Answer, StationState, Table, answer_from, status

__all__ = ["ChargePointAnswers", "Setting"]


@dataclass
class Setting:
    """A configuration key of a charge point; the fields are those of KeyValue (C16 §7.29, §9)."""

    key: str
    value: str = field(repr=False)
    readonly: bool = False

    def suits(self, value: str) -> bool:
        """Return whether ``value`` has the type of the current value: a boolean, a number or a string."""
        if self.value in ("true", "false"):
            return value.lower() in ("true", "false")
        return value.isascii() and value.isdigit() if self.value.isdigit() else True


class ChargePointAnswers(StationState):
    """A handler for `ChargePoint` that answers as a charge point with one connector, for OCPP 1.6.

    It serves the profiles Core, RemoteTrigger and LocalAuthListManagement, and declines the messages of the others with
    their own status. It only answers: your program carries out what was accepted, and keeps the attributes up to date.

    Args:
        overrides: fixed answers that replace its own, by action: ``{"Reset": {"status": "Rejected"}}``.

    Attributes:
        configuration: every `Setting`, by its case-folded key.
        transaction_id, attended, registered, operative, local_list_version: see `StationState`.
    """

    def __init__(self, overrides: Mapping[str, Answer] | None = None) -> None:
        super().__init__(overrides)
        self.configuration = {setting.key.casefold(): setting for setting in _settings()}
        self._answers: Table = {
            "CancelReservation": status("Rejected"),
            "CertificateSigned": status("Rejected"),
            "ChangeAvailability": self._change_availability,
            "ChangeConfiguration": self._change_configuration,
            "ClearCache": status("Accepted"),
            "ClearChargingProfile": status("Unknown"),
            "DataTransfer": status("UnknownVendorId"),
            "DeleteCertificate": status("NotFound"),
            "ExtendedTriggerMessage": self._trigger,
            "GetCompositeSchedule": status("Rejected"),
            "GetConfiguration": self._get_configuration,
            "GetDiagnostics": {},  # without a file name: no diagnostics to upload (C16 §6.26)
            "GetInstalledCertificateIds": status("NotFound"),
            "GetLocalListVersion": lambda payload: {"listVersion": self.local_list_version},
            "GetLog": status("Rejected"),
            "InstallCertificate": status("Rejected"),
            "RemoteStartTransaction": self._remote_start,
            "RemoteStopTransaction": self._remote_stop,
            "ReserveNow": status("Rejected"),
            "Reset": lambda payload: status("Accepted" if self.attended else "Rejected"),
            "SendLocalList": lambda payload: self.take_local_list(payload["listVersion"], payload["updateType"]),
            "SetChargingProfile": status("NotSupported"),
            "SignedUpdateFirmware": status("Rejected"),
            "TriggerMessage": self._trigger,
            "UnlockConnector": lambda payload: status("Unlocked" if payload["connectorId"] == 1 else "NotSupported"),
            "UpdateFirmware": {},
            **self._fixed,
        }

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer | None:
        """Return the answer; None for an action that 1.6 does not have."""
        return answer_from(self._answers, request)

    def _change_availability(self, payload: Any) -> Answer:
        if payload["connectorId"] not in (0, 1):
            return status("Rejected")
        # C16 §5.2: a connector in use goes out of service after the transaction.
        in_use = self.transaction_id is not None and payload["type"] == "Inoperative"
        return status("Scheduled" if in_use else "Accepted")

    def _change_configuration(self, payload: Any) -> Answer:
        setting = self.configuration.get(payload["key"].casefold())
        if setting is None:
            return status("NotSupported")
        if setting.readonly or not setting.suits(payload["value"]):
            return status("Rejected")
        setting.value = payload["value"]
        return status("Accepted")

    def _get_configuration(self, payload: Any) -> Answer:
        keys = payload.get("key") or [setting.key for setting in self.configuration.values()]
        unknown = [key for key in keys if key.casefold() not in self.configuration]
        known = [asdict(self.configuration[key.casefold()]) for key in keys if key not in unknown]
        answer = {"configurationKey": known, "unknownKey": unknown}
        return {name: entries for name, entries in answer.items() if entries}

    def _remote_start(self, payload: Any) -> Answer:
        free = self.transaction_id is None and self.operative and payload.get("connectorId", 1) == 1
        return status("Accepted" if free and self.attended else "Rejected")

    def _remote_stop(self, payload: Any) -> Answer:
        return status("Accepted" if payload["transactionId"] == self.transaction_id else "Rejected")

    def _trigger(self, payload: Any) -> Answer:
        requested = payload["requestedMessage"]
        if requested == "SignChargePointCertificate":
            return status("NotImplemented")
        # CE16 3.40: after it was accepted, a charge point sends no BootNotification until it reboots.
        refused = requested == "BootNotification" and self.registered
        return status("Rejected" if refused or payload.get("connectorId", 1) not in (0, 1) else "Accepted")


def _settings() -> list[Setting]:
    # The keys that C16 §9.1 requires of every charge point, and those of the served profiles (§9.2).
    return [
        Setting("AuthorizeRemoteTxRequests", "false"),
        Setting("ClockAlignedDataInterval", "0"),
        Setting("ConnectionTimeOut", "60"),
        Setting("ConnectorPhaseRotation", "1.RST"),
        Setting("GetConfigurationMaxKeys", "50", readonly=True),
        Setting("HeartbeatInterval", "300"),
        Setting("LocalAuthorizeOffline", "true"),
        Setting("LocalPreAuthorize", "false"),
        Setting("MeterValuesAlignedData", ""),
        Setting(
            "MeterValuesSampledData",
            "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC",
            readonly=True,
        ),
        Setting("MeterValueSampleInterval", "60"),
        Setting("NumberOfConnectors", "1", readonly=True),
        Setting("ResetRetries", "1"),
        Setting("StopTransactionOnEVSideDisconnect", "true", readonly=True),
        Setting("StopTransactionOnInvalidId", "true", readonly=True),
        Setting("StopTxnAlignedData", ""),
        Setting("StopTxnSampledData", ""),
        Setting("SupportedFeatureProfiles", "Core,RemoteTrigger,LocalAuthListManagement", readonly=True),
        Setting("TransactionMessageAttempts", "3"),
        Setting("TransactionMessageRetryInterval", "60"),
        Setting("UnlockConnectorOnEVSideDisconnect", "true", readonly=True),
        Setting("LocalAuthListEnabled", "true"),
        Setting("LocalAuthListMaxLength", "100", readonly=True),
        Setting("SendLocalListMaxLength", "100", readonly=True),
    ]

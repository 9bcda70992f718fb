"""What a charge point answers in OCPP 1.6: one connector, and a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..request import Request, RequestMetadata
from .table import Answer, StationState, Table, answer_from, status

__all__ = ["ChargePointAnswers", "Setting"]


@dataclass
class Setting:
    """A configuration key of a charge point; the fields are those of KeyValue (C16 §7.29, §9)."""

    key: str
    value: str
    readonly: bool = False

    def suits(self, value: str) -> bool:
        """Return whether ``value`` is of the same sort as the one that is set: a boolean, a number or a text."""
        if self.value in ("true", "false"):
            return value.lower() in ("true", "false")
        return value.isascii() and value.isdigit() if self.value.isdigit() else True


class ChargePointAnswers(StationState):
    """A handler for `ChargePoint` that answers as a charge point of one connector does in OCPP 1.6.

    It serves the profiles Core, RemoteTrigger and LocalAuthListManagement; the others are declined in the words of
    their messages. It decides and answers; to do what was accepted is up to its owner, who keeps the attributes true.

    Args:
        overrides: fixed answers that come before its own, by action: ``{"Reset": {"status": "Rejected"}}``.

    Attributes:
        configuration: every `Setting`, by its key without regard to case.
        transaction_id, attended, registered, operative, local_list_version: see `StationState`.
    """

    def __init__(self, overrides: Mapping[str, Answer] | None = None) -> None:
        super().__init__()
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
            "GetDiagnostics": {},  # without a file name: there is nothing to upload (C16 §6.26)
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
            **(overrides or {}),
        }

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer | None:
        """Return the answer, or None for an action that 1.6 does not have."""
        return answer_from(self._answers, request)

    def _change_availability(self, payload: Any) -> Answer:
        if payload["connectorId"] not in (0, 1):
            return status("Rejected")
        # C16 §5.2: what is being used goes out of service once it is free.
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
        asked = payload.get("key") or [setting.key for setting in self.configuration.values()]
        unknown = [key for key in asked if key.casefold() not in self.configuration]
        known = [asdict(self.configuration[key.casefold()]) for key in asked if key not in unknown]
        answer = {"configurationKey": known, "unknownKey": unknown}
        return {name: entries for name, entries in answer.items() if entries}

    def _remote_start(self, payload: Any) -> Answer:
        free = self.transaction_id is None and self.operative and payload.get("connectorId", 1) == 1
        return status("Accepted" if free and self.attended else "Rejected")

    def _remote_stop(self, payload: Any) -> Answer:
        return status("Accepted" if payload["transactionId"] == self.transaction_id else "Rejected")

    def _trigger(self, payload: Any) -> Answer:
        wanted = payload["requestedMessage"]
        if wanted == "SignChargePointCertificate":
            return status("NotImplemented")
        # CE16 3.40: one that was accepted sends no further BootNotification before it boots again.
        refused = wanted == "BootNotification" and self.registered
        return status("Rejected" if refused or payload.get("connectorId", 1) not in (0, 1) else "Accepted")


def _settings() -> list[Setting]:
    # C16 §9.1 lists the keys that every charge point has; the rest are those of the profiles served here (§9.2).
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

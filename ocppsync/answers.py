"""A sensible answer to every message of OCPP 1.6, for either end: what `ocppsync serve` and the simulator say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .clock import utc_now
from .request import Request, RequestMetadata

__all__ = ["Answer", "CentralSystemAnswers", "ChargePointAnswers", "Setting"]

Answer = Mapping[str, Any]
"""The payload of a CALLRESULT."""
_Answerer = Callable[[Any], Answer]


class CentralSystemAnswers:
    """A handler for `CentralSystem` that says yes to every charge point, idTag and transaction.

    What nobody here can do is declined in the words of the message: there is no certificate authority and no vendor's
    extension. It may be called from many threads.

    Args:
        interval: seconds between Heartbeats, told in the answer to BootNotification.
        first_transaction_id: the ids of transactions count up from it.
    """

    def __init__(self, *, interval: int = 300, first_transaction_id: int = 1) -> None:
        self._interval = interval
        self._next_transaction_id = first_transaction_id
        self._lock = threading.Lock()  # guards the counter
        self._answers: Mapping[str, Answer | _Answerer] = {
            "Authorize": {"idTagInfo": {"status": "Accepted"}},
            "BootNotification": self._boot,
            "DataTransfer": {"status": "UnknownVendorId"},
            "DiagnosticsStatusNotification": {},
            "FirmwareStatusNotification": {},
            "Heartbeat": lambda payload: {"currentTime": utc_now()},
            "LogStatusNotification": {},
            "MeterValues": {},
            "SecurityEventNotification": {},
            "SignCertificate": {"status": "Rejected"},
            "SignedFirmwareStatusNotification": {},
            "StartTransaction": self._start_transaction,
            "StatusNotification": {},
            # C16 §6.50: idTagInfo is there to update a cache, so it comes only where an idTag was given.
            "StopTransaction": lambda payload: {"idTagInfo": {"status": "Accepted"}} if "idTag" in payload else {},
        }

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer | None:
        """Return the answer, or None for an action that 1.6 does not have."""
        return _answer(self._answers, request)

    def _boot(self, payload: Any) -> Answer:
        return {"status": "Accepted", "currentTime": utc_now(), "interval": self._interval}

    def _start_transaction(self, payload: Any) -> Answer:
        with self._lock:
            transaction_id, self._next_transaction_id = self._next_transaction_id, self._next_transaction_id + 1
        return {"transactionId": transaction_id, "idTagInfo": {"status": "Accepted"}}


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


class ChargePointAnswers:
    """A handler for `ChargePoint` that answers as a charge point of one connector does.

    It serves the profiles Core, RemoteTrigger and LocalAuthListManagement; the others are declined in the words of
    their messages. It decides and answers; to do what was accepted is up to its owner, who keeps the attributes true.

    Args:
        overrides: fixed answers that come before its own, by action: ``{"Reset": {"status": "Rejected"}}``.

    Attributes:
        configuration: every `Setting`, by its key without regard to case.
        transaction_id: of the transaction that runs, or None.
        attended: whether somebody carries out RemoteStartTransaction and Reset; they are rejected otherwise.
        registered: whether the central system has accepted it since it booted.
        operative: whether its connector may be used.
        local_list_version: 0 stands for an empty list.
    """

    def __init__(self, overrides: Mapping[str, Answer] | None = None) -> None:
        self.configuration = {setting.key.casefold(): setting for setting in _settings()}
        self.transaction_id: int | None = None
        self.attended = False
        self.registered = False
        self.operative = True
        self.local_list_version = 0
        self._answers: Mapping[str, Answer | _Answerer] = {
            "CancelReservation": _status("Rejected"),
            "CertificateSigned": _status("Rejected"),
            "ChangeAvailability": self._change_availability,
            "ChangeConfiguration": self._change_configuration,
            "ClearCache": _status("Accepted"),
            "ClearChargingProfile": _status("Unknown"),
            "DataTransfer": _status("UnknownVendorId"),
            "DeleteCertificate": _status("NotFound"),
            "ExtendedTriggerMessage": self._trigger,
            "GetCompositeSchedule": _status("Rejected"),
            "GetConfiguration": self._get_configuration,
            "GetDiagnostics": {},  # without a file name: there is nothing to upload (C16 §6.26)
            "GetInstalledCertificateIds": _status("NotFound"),
            "GetLocalListVersion": lambda payload: {"listVersion": self.local_list_version},
            "GetLog": _status("Rejected"),
            "InstallCertificate": _status("Rejected"),
            "RemoteStartTransaction": self._remote_start,
            "RemoteStopTransaction": self._remote_stop,
            "ReserveNow": _status("Rejected"),
            "Reset": lambda payload: _status("Accepted" if self.attended else "Rejected"),
            "SendLocalList": self._send_local_list,
            "SetChargingProfile": _status("NotSupported"),
            "SignedUpdateFirmware": _status("Rejected"),
            "TriggerMessage": self._trigger,
            "UnlockConnector": lambda payload: _status("Unlocked" if payload["connectorId"] == 1 else "NotSupported"),
            "UpdateFirmware": {},
            **(overrides or {}),
        }

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer | None:
        """Return the answer, or None for an action that 1.6 does not have."""
        return _answer(self._answers, request)

    def _change_availability(self, payload: Any) -> Answer:
        if payload["connectorId"] not in (0, 1):
            return _status("Rejected")
        # C16 §5.2: what is being used goes out of service once it is free.
        in_use = self.transaction_id is not None and payload["type"] == "Inoperative"
        return _status("Scheduled" if in_use else "Accepted")

    def _change_configuration(self, payload: Any) -> Answer:
        setting = self.configuration.get(payload["key"].casefold())
        if setting is None:
            return _status("NotSupported")
        if setting.readonly or not setting.suits(payload["value"]):
            return _status("Rejected")
        setting.value = payload["value"]
        return _status("Accepted")

    def _get_configuration(self, payload: Any) -> Answer:
        asked = payload.get("key") or [setting.key for setting in self.configuration.values()]
        unknown = [key for key in asked if key.casefold() not in self.configuration]
        known = [asdict(self.configuration[key.casefold()]) for key in asked if key not in unknown]
        answer = {"configurationKey": known, "unknownKey": unknown}
        return {name: entries for name, entries in answer.items() if entries}

    def _remote_start(self, payload: Any) -> Answer:
        free = self.transaction_id is None and self.operative and payload.get("connectorId", 1) == 1
        return _status("Accepted" if free and self.attended else "Rejected")

    def _remote_stop(self, payload: Any) -> Answer:
        return _status("Accepted" if payload["transactionId"] == self.transaction_id else "Rejected")

    def _send_local_list(self, payload: Any) -> Answer:
        if payload["updateType"] == "Differential" and payload["listVersion"] <= self.local_list_version:
            return _status("VersionMismatch")
        self.local_list_version = payload["listVersion"]
        return _status("Accepted")

    def _trigger(self, payload: Any) -> Answer:
        wanted = payload["requestedMessage"]
        if wanted == "SignChargePointCertificate":
            return _status("NotImplemented")
        # CE16 3.40: one that was accepted sends no further BootNotification before it boots again.
        refused = wanted == "BootNotification" and self.registered
        return _status("Rejected" if refused or payload.get("connectorId", 1) not in (0, 1) else "Accepted")


def _answer(answers: Mapping[str, Answer | _Answerer], request: Request[str, Any]) -> Answer | None:
    answer = answers.get(request.action)
    return answer(request.payload) if callable(answer) else answer


def _status(status: str) -> Answer:
    return {"status": status}


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

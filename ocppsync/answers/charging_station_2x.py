"""The answers of a charging station with one EVSE, one connector and a device model, for OCPP 2.0.1 and 2.1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..clock import utc_now
from ..request import Request, RequestMetadata
from .device_model import DeviceModel, Variable, matches
from .table import Answer, StationState, Table, answer_from, status

__all__ = ["ChargingStationAnswers", "ConnectorStatus"]

ConnectorStatus = str
"""Available, Occupied or Unavailable."""

_ENTRIES_PER_REPORT = 10
_NEVER_SENT = frozenset(
    {
        *("CustomTrigger", "PublishFirmwareStatusNotification", "SignChargingStationCertificate"),
        *("SignCombinedCertificate", "SignV2G20Certificate", "SignV2GCertificate"),
    }
)
# The answers to messages for functions that it does not have.
_DECLINED: Table = {
    "AFRRSignal": status("Rejected"),
    "AdjustPeriodicEventStream": status("Rejected"),
    "CancelReservation": status("Rejected"),
    "CertificateSigned": status("Rejected"),
    "ChangeTransactionTariff": status("TxNotFound"),
    "ClearChargingProfile": status("Unknown"),
    "ClearDERControl": status("NotSupported"),
    "ClearDisplayMessage": status("Unknown"),
    "ClearTariffs": lambda payload: {
        "clearTariffsResult": [{"tariffId": name, "status": "NoTariff"} for name in payload.get("tariffIds", ())]
        or [status("NoTariff")]
    },
    "ClearVariableMonitoring": lambda payload: {
        "clearMonitoringResult": [{"id": number, "status": "NotFound"} for number in payload["id"]]
    },
    "CostUpdated": {},
    "CustomerInformation": status("Rejected"),
    "DataTransfer": status("UnknownVendorId"),
    "DeleteCertificate": status("NotFound"),
    "GetChargingProfiles": status("NoProfiles"),
    "GetCompositeSchedule": status("Rejected"),
    "GetDERControl": status("NotSupported"),
    "GetDisplayMessages": status("Unknown"),
    "GetInstalledCertificateIds": status("NotFound"),
    "GetLog": status("Rejected"),
    "GetMonitoringReport": status("EmptyResultSet"),
    "GetPeriodicEventStream": {},
    "GetTariffs": status("NoTariff"),
    "InstallCertificate": status("Rejected"),
    "NotifyAllowedEnergyTransfer": status("Rejected"),
    "NotifyWebPaymentStarted": {},
    "PublishFirmware": status("Rejected"),
    "RequestBatterySwap": status("Rejected"),
    "ReserveNow": status("Rejected"),
    "SetChargingProfile": status("Rejected"),
    "SetDERControl": status("NotSupported"),
    "SetDefaultTariff": status("Rejected"),
    "SetDisplayMessage": status("Rejected"),
    "SetMonitoringBase": status("NotSupported"),
    "SetMonitoringLevel": status("Rejected"),
    "SetNetworkProfile": status("Rejected"),
    "UnpublishFirmware": status("NoFirmware"),
    "UpdateDynamicSchedule": status("Rejected"),
    "UsePriorityCharging": status("NoProfile"),
}


class ChargingStationAnswers(StationState):
    """A handler for `ChargePoint` that answers as a charging station with one EVSE, for OCPP 2.0.1 and 2.1.

    It has a device model, a local list, remote control and triggers, and declines everything else with the status that
    the message has for that. It only answers: your program carries out what was accepted, sends `reports`, and keeps
    the attributes up to date.

    Args:
        overrides: fixed answers that replace its own, by action: ``{"Reset": {"status": "Rejected"}}``.

    Attributes:
        device_model: the variables of the charging station.
        transaction_id, attended, registered, operative, local_list_version: see `StationState`.
    """

    def __init__(self, overrides: Mapping[str, Answer] | None = None) -> None:
        super().__init__(overrides)
        self.device_model = DeviceModel(_variables())
        self._answers: Table = {
            **_DECLINED,
            "ChangeAvailability": self._change_availability,
            "ClearCache": status("Accepted"),
            "GetBaseReport": self._accept_report,
            "GetLocalListVersion": lambda payload: {"versionNumber": self.local_list_version},
            "GetReport": self._accept_report,
            "GetTransactionStatus": self._transaction_status,
            "GetVariables": lambda payload: {
                "getVariableResult": [self.device_model.read(entry) for entry in payload["getVariableData"]]
            },
            "RequestStartTransaction": self._remote_start,
            "RequestStopTransaction": self._remote_stop,
            "Reset": self._reset,
            "SendLocalList": lambda payload: self.take_local_list(payload["versionNumber"], payload["updateType"]),
            "SetVariableMonitoring": lambda payload: {
                "setMonitoringResult": [self._monitoring(entry) for entry in payload["setMonitoringData"]]
            },
            "SetVariables": lambda payload: {
                "setVariableResult": [self.device_model.set(entry) for entry in payload["setVariableData"]]
            },
            "TriggerMessage": self._trigger,
            "UnlockConnector": self._unlock,
            "UpdateFirmware": lambda payload: status("Accepted" if self.attended else "Rejected"),
            **self._fixed,
        }

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer | None:
        """Return the answer; None for an action that neither version has."""
        return answer_from(self._answers, request)

    def show(self, connector: ConnectorStatus) -> None:
        """Store the state of the connector in the device model."""
        for variable in self.device_model:
            if variable.name == "AvailabilityState":
                whole_station = variable.evse is None and connector == "Occupied"
                variable.value = "Available" if whole_station else connector

    def reports(self, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the NotifyReport messages that answer a GetBaseReport or a GetReport (2/201 B07, B08)."""
        entries = self.device_model.report(lambda variable: _is_requested(payload, variable))
        parts = [entries[start : start + _ENTRIES_PER_REPORT] for start in range(0, len(entries), _ENTRIES_PER_REPORT)]
        return [
            {
                "requestId": payload["requestId"],
                "generatedAt": utc_now(),
                "seqNo": number,
                "tbc": number < len(parts) - 1,
                "reportData": part,
            }
            for number, part in enumerate(parts)
        ]

    def _accept_report(self, payload: Any) -> Answer:
        return status("Accepted" if self.reports(payload) else "EmptyResultSet")

    def _change_availability(self, payload: Any) -> Answer:
        if not _is_known_evse(payload.get("evse")):
            return status("Rejected")
        # 2/201 G03.FR: a connector in use goes out of service after the transaction.
        in_use = self.transaction_id is not None and payload["operationalStatus"] == "Inoperative"
        return status("Scheduled" if in_use else "Accepted")

    def _transaction_status(self, payload: Any) -> Answer:
        # 2/201 E14.FR: ongoingIndicator answers a request with a transactionId only.
        requested = payload.get("transactionId")
        ongoing = {} if requested is None else {"ongoingIndicator": requested == self.transaction_id}
        return {**ongoing, "messagesInQueue": False}

    def _remote_start(self, payload: Any) -> Answer:
        free = self.transaction_id is None and self.operative and payload.get("evseId", 1) == 1
        return status("Accepted" if free and self.attended else "Rejected")

    def _remote_stop(self, payload: Any) -> Answer:
        return status("Accepted" if payload["transactionId"] == self.transaction_id else "Rejected")

    def _reset(self, payload: Any) -> Answer:
        # Supports neither the reset of a single EVSE (2/201 B11.FR) nor the resumption of a transaction.
        if not self.attended or "evseId" in payload or payload["type"] not in ("Immediate", "OnIdle"):
            return status("Rejected")
        waits = payload["type"] == "OnIdle" and self.transaction_id is not None
        return status("Scheduled" if waits else "Accepted")

    def _monitoring(self, entry: Any) -> Answer:
        found = self.device_model.find(entry["component"], entry["variable"])
        echo = {name: entry[name] for name in ("type", "component", "variable", "severity")}
        return {"status": found if isinstance(found, str) else "Rejected", **echo}

    def _trigger(self, payload: Any) -> Answer:
        requested = payload["requestedMessage"]
        if requested in _NEVER_SENT:
            return status("NotImplemented")
        # 2/201 F06.FR: after it was accepted, a charging station sends no BootNotification until it reboots.
        refused = (requested == "BootNotification" and self.registered) or (
            requested == "TransactionEvent" and self.transaction_id is None
        )
        return status("Rejected" if refused or not _is_known_evse(payload.get("evse")) else "Accepted")

    def _unlock(self, payload: Any) -> Answer:
        if (payload["evseId"], payload["connectorId"]) != (1, 1):
            return status("UnknownConnector")
        # 2/201 F05.FR: the connector stays locked during a transaction.
        return status("Unlocked" if self.transaction_id is None else "OngoingAuthorizedTransaction")


def _is_known_evse(evse: Mapping[str, Any] | None) -> bool:
    return evse is None or (evse["id"] == 1 and evse.get("connectorId", 1) == 1)


def _is_requested(payload: Mapping[str, Any], variable: Variable) -> bool:
    base = payload.get("reportBase")
    if base is not None:
        return _BASES[base](variable)
    # 2/201 B08.FR: no component has a problem; by default a component is active, available and enabled.
    if "componentCriteria" in payload and set(payload["componentCriteria"]) == {"Problem"}:
        return False
    criteria = payload.get("componentVariable")
    return criteria is None or any(matches(entry, variable) for entry in criteria)


_BASES: Mapping[str, Callable[[Variable], bool]] = {
    "ConfigurationInventory": lambda variable: variable.writable,
    "FullInventory": lambda variable: True,
    "SummaryInventory": lambda variable: variable.name == "AvailabilityState",
}


def _variables() -> list[Variable]:
    # Some of the variables that every charging station has (2/201, referenced components and variables), and those of
    # the functions served here.
    return [
        Variable("AlignedDataCtrlr", "Interval", "0", "integer", writable=True),
        Variable("AuthCtrlr", "AuthorizeRemoteStart", "false", "boolean", writable=True),
        Variable("AuthCtrlr", "LocalAuthorizeOffline", "true", "boolean", writable=True),
        Variable("AuthCtrlr", "LocalPreAuthorize", "false", "boolean", writable=True),
        Variable("ChargingStation", "AvailabilityState", "Available", "OptionList"),
        Variable("ChargingStation", "Model", "Simulator"),
        Variable("ChargingStation", "VendorName", "ocppsync"),
        Variable("Connector", "AvailabilityState", "Available", "OptionList", evse=1, connector=1),
        Variable("DeviceDataCtrlr", "ItemsPerMessage", "50", "integer", instance="GetVariables"),
        Variable("DeviceDataCtrlr", "ItemsPerMessage", "50", "integer", instance="SetVariables"),
        Variable("EVSE", "AvailabilityState", "Available", "OptionList", evse=1),
        Variable("EVSE", "Power", "7400", "decimal", evse=1),
        Variable("LocalAuthListCtrlr", "Enabled", "true", "boolean", writable=True),
        Variable("OCPPCommCtrlr", "HeartbeatInterval", "300", "integer", writable=True),
        Variable("OCPPCommCtrlr", "MessageAttempts", "3", "integer", writable=True, instance="TransactionEvent"),
        Variable("OCPPCommCtrlr", "MessageTimeout", "30", "integer", instance="Default"),
        Variable("SampledDataCtrlr", "TxUpdatedInterval", "60", "integer", writable=True),
        Variable(
            "SampledDataCtrlr",
            "TxUpdatedMeasurands",
            "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC",
            "MemberList",
        ),
        Variable("SecurityCtrlr", "SecurityProfile", "0", "integer"),
        Variable("TxCtrlr", "EVConnectionTimeOut", "60", "integer", writable=True),
        Variable("TxCtrlr", "StopTxOnInvalidId", "true", "boolean"),
        Variable("TxCtrlr", "TxStartPoint", "Authorized", "MemberList"),
        Variable("TxCtrlr", "TxStopPoint", "Authorized", "MemberList"),
    ]

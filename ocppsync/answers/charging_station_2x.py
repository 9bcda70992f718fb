"""The answers of a charging station with one EVSE, one connector and a device model, for OCPP 2.0.1 and 2.1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..clock import utc_now
from ..request import Request, RequestMetadata
from .availability import CONNECTOR, EVSE, STATION, Part
from .device_model import DeviceModel, Variable, has_criterion, matches
from .local_authorization import LocalList, token
from .station_state import StationState
from .table import Answer, Table, answer_from, status
from .variables_2x import VARIABLE_OF_KEY, default_variables

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
_PARTS: Mapping[str, Part] = {"ChargingStation": STATION, "EVSE": EVSE, "Connector": CONNECTOR}
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
    the message has for that. It stores variables, the local list and the availability itself; your program carries out
    the rest of what was accepted, sends `reports`, and keeps the attributes up to date.

    Args:
        overrides: fixed answers that replace its own, by action: ``{"Reset": {"status": "Rejected"}}``.

    Attributes:
        device_model: the variables of the charging station.
        transaction_id, attended, registered, operative, availability, local_list, cache: see `StationState`.
    """

    def __init__(self, overrides: Mapping[str, Answer] | None = None) -> None:
        super().__init__(LocalList(), overrides)
        self.device_model = DeviceModel(default_variables(self.local_list))
        self._answers: Table = {
            **_DECLINED,
            "ChangeAvailability": self._change_availability,
            "ClearCache": self.clear_cache,
            "GetBaseReport": self._accept_report,
            "GetLocalListVersion": lambda payload: {"versionNumber": self._list_version()},
            "GetReport": self._accept_report,
            "GetTransactionStatus": self._transaction_status,
            "GetVariables": lambda payload: {
                "getVariableResult": [self.device_model.read(entry) for entry in payload["getVariableData"]]
            },
            "RequestStartTransaction": self._remote_start,
            "RequestStopTransaction": self._remote_stop,
            "Reset": self._reset,
            "SendLocalList": self._send_local_list,
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

    def setting(self, key: str) -> str:
        """Return the value of the variable that replaces a configuration key of 1.6."""
        return self.device_model[VARIABLE_OF_KEY[key]].actual

    def show(self, connector: ConnectorStatus) -> None:
        """Store the state of the connector in the device model; a part that is out of service is Unavailable."""
        for variable in self.device_model:
            if variable.name == "AvailabilityState":
                part = _PARTS[variable.component]
                if not self.availability.is_operative(part):
                    variable.value = "Unavailable"
                elif part == CONNECTOR or (part == EVSE and connector != "Unavailable"):
                    variable.value = connector
                else:
                    variable.value = "Available"

    def reports(self, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the NotifyReport messages that answer a GetBaseReport or a GetReport (2/201 B07, B08)."""
        entries = self.device_model.report(lambda variable: self._is_requested(payload, variable))
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
        evse = payload.get("evse")
        if not _is_known_evse(evse):
            return status("Rejected")
        part = STATION if evse is None else CONNECTOR if "connectorId" in evse else EVSE
        return status(self.change_availability([part], payload["operationalStatus"] == "Operative"))

    def _list_version(self) -> int:
        # 2/201 D02.FR.02-03: 0 if there is no list, or if it is disabled.
        return self.local_list.version if self.flag("LocalAuthListEnabled") else 0

    def _send_local_list(self, payload: Any) -> Answer:
        if not self.flag("LocalAuthListEnabled"):
            return status("Failed")
        changes = [
            (token(entry["idToken"]["idToken"], entry["idToken"]["type"]), entry.get("idTokenInfo"))
            for entry in payload.get("localAuthorizationList", ())
        ]
        return status(self.local_list.take(payload["versionNumber"], payload["updateType"], changes))

    def _is_requested(self, payload: Mapping[str, Any], variable: Variable) -> bool:
        base = payload.get("reportBase")
        if base is not None:
            return _BASES[base](variable)
        criteria = payload.get("componentCriteria")
        if criteria is not None and not any(has_criterion(self.device_model, variable, one) for one in criteria):
            return False
        entries = payload.get("componentVariable")
        return entries is None or any(matches(entry, variable) for entry in entries)

    def _transaction_status(self, payload: Any) -> Answer:
        # 2/201 E14.FR: ongoingIndicator answers a request with a transactionId only.
        requested = payload.get("transactionId")
        ongoing = {} if requested is None else {"ongoingIndicator": requested == self.transaction_id}
        return {**ongoing, "messagesInQueue": False}

    def _remote_start(self, payload: Any) -> Answer:
        free = not self.in_use and self.operative and payload.get("evseId", 1) == 1
        return status("Accepted" if free and self.attended else "Rejected")

    def _remote_stop(self, payload: Any) -> Answer:
        return status("Accepted" if payload["transactionId"] == self.transaction_id else "Rejected")

    def _reset(self, payload: Any) -> Answer:
        # Supports neither the reset of a single EVSE (2/201 B11.FR) nor the resumption of a transaction.
        if not self.attended or "evseId" in payload or payload["type"] not in ("Immediate", "OnIdle"):
            return status("Rejected")
        waits = payload["type"] == "OnIdle" and self.in_use
        return status("Scheduled" if waits else "Accepted")

    def _monitoring(self, entry: Any) -> Answer:
        found = self.device_model.find(entry["component"], entry["variable"])
        echo = {name: entry[name] for name in ("type", "component", "variable", "severity")}
        return {"status": found if isinstance(found, str) else "Rejected", **echo}

    def _trigger(self, payload: Any) -> Answer:
        requested = payload["requestedMessage"]
        if requested in _NEVER_SENT:
            return status("NotImplemented")
        # 2/201 F06.FR.17: after it was accepted, a charging station sends no BootNotification until it reboots.
        refused = (
            (requested == "BootNotification" and self.registered)
            or (requested == "TransactionEvent" and self.transaction_id is None)
            or (requested == "MeterValues" and not self.measurands("MeterValuesAlignedData"))
        )
        return status("Rejected" if refused or not _can_concern(requested, payload.get("evse")) else "Accepted")

    def _unlock(self, payload: Any) -> Answer:
        if (payload["evseId"], payload["connectorId"]) != (1, 1):
            return status("UnknownConnector")
        # 2/201 F05.FR: the connector stays locked during a transaction.
        return status("Unlocked" if not self.in_use else "OngoingAuthorizedTransaction")


def _is_known_evse(evse: Mapping[str, Any] | None) -> bool:
    return evse is None or (evse["id"] == 1 and evse.get("connectorId", 1) == 1)


def _can_concern(requested: str, evse: Mapping[str, Any] | None) -> bool:
    """Return whether a message can be triggered for an EVSE; one that is about none ignores it (2/201 F06.FR.03)."""
    if evse is None or requested == "StatusNotification":
        return _is_known_evse(evse)
    if requested == "TransactionEvent":
        return bool(evse["id"] == 1)
    return requested != "MeterValues" or evse["id"] in (0, 1)


_BASES: Mapping[str, Callable[[Variable], bool]] = {
    "ConfigurationInventory": lambda variable: variable.writable,
    "FullInventory": lambda variable: True,
    "SummaryInventory": lambda variable: variable.name == "AvailabilityState",
}

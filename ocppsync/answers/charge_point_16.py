"""The answers of a charge point with one connector and a configuration, for OCPP 1.6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..request import Request, RequestMetadata
from .availability import CONNECTOR, STATION, Part
from .local_authorization import LocalList, token
from .settings_16 import default_settings
from .station_state import StationState
from .table import Answer, Table, answer_from, status
from .value_types import members

__all__ = ["ChargePointAnswers"]


# The messages of TriggerMessage that concern one connector; the others ignore connectorId (C16 §5.17).
_ABOUT_A_CONNECTOR = frozenset({"MeterValues", "StatusNotification"})
_CONNECTORS = (0, 1)
# C16 §5.2: connector 0 stands for the charge point and all its connectors.
_PARTS: Mapping[int, Sequence[Part]] = {0: (STATION, CONNECTOR), 1: (CONNECTOR,)}


class ChargePointAnswers(StationState):
    """A handler for `ChargePoint` that answers as a charge point with one connector, for OCPP 1.6.

    It serves the profiles Core, RemoteTrigger and LocalAuthListManagement, and declines the messages of the others with
    their own status. It stores settings, the local list and the availability itself; your program carries out the rest
    of what was accepted, and keeps the attributes up to date.

    Args:
        overrides: fixed answers that replace its own, by action: ``{"Reset": {"status": "Rejected"}}``.

    Attributes:
        configuration: every `Setting`, by its case-folded key.
        transaction_id, attended, registered, operative, availability, local_list, cache: see `StationState`.
    """

    def __init__(self, overrides: Mapping[str, Answer] | None = None) -> None:
        super().__init__(LocalList(empty_has_version=False), overrides)  # C16 §5.10: version 0 is the empty list
        self.configuration = {setting.key.casefold(): setting for setting in default_settings()}
        self._answers: Table = {
            "CancelReservation": status("Rejected"),
            "CertificateSigned": status("Rejected"),
            "ChangeAvailability": self._change_availability,
            "ChangeConfiguration": self._change_configuration,
            "ClearCache": self.clear_cache,
            "ClearChargingProfile": status("Unknown"),
            "DataTransfer": status("UnknownVendorId"),
            "DeleteCertificate": status("NotFound"),
            "ExtendedTriggerMessage": self._trigger,
            "GetCompositeSchedule": status("Rejected"),
            "GetConfiguration": self._get_configuration,
            "GetDiagnostics": {},  # without a file name: no diagnostics to upload (C16 §6.26)
            "GetInstalledCertificateIds": status("NotFound"),
            "GetLocalListVersion": lambda payload: {"listVersion": self._list_version()},
            "GetLog": status("Rejected"),
            "InstallCertificate": status("Rejected"),
            "RemoteStartTransaction": self._remote_start,
            "RemoteStopTransaction": self._remote_stop,
            "ReserveNow": status("Rejected"),
            "Reset": lambda payload: status("Accepted" if self.attended else "Rejected"),
            "SendLocalList": self._send_local_list,
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

    def setting(self, key: str) -> str:
        """Return the value of a configuration key."""
        return self.configuration[key.casefold()].value

    def _change_availability(self, payload: Any) -> Answer:
        parts, operative = _PARTS.get(payload["connectorId"]), payload["type"] == "Operative"
        # A connector cannot be in service while the charge point is not.
        if parts is None or (operative and STATION not in parts and not self.availability.is_operative(STATION)):
            return status("Rejected")
        return status(self.change_availability(parts, operative))

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
        known = [self.configuration[key.casefold()].key_value for key in keys if key not in unknown]
        answer = {"configurationKey": known, "unknownKey": unknown}
        return {name: entries for name, entries in answer.items() if entries}

    def _list_version(self) -> int:
        # C16 §5.10: -1 stands for a charge point without a list.
        if not self._has_local_list():
            return -1
        return self.local_list.version if self.flag("LocalAuthListEnabled") else 0

    def _send_local_list(self, payload: Any) -> Answer:
        if not (self._has_local_list() and self.flag("LocalAuthListEnabled")):
            return status("NotSupported")
        changes = [
            (token(entry["idTag"]), entry.get("idTagInfo")) for entry in payload.get("localAuthorizationList", ())
        ]
        return status(self.local_list.take(payload["listVersion"], payload["updateType"], changes))

    def _has_local_list(self) -> bool:
        return "LocalAuthListManagement" in members(self.setting("SupportedFeatureProfiles"))

    def _remote_start(self, payload: Any) -> Answer:
        free = not self.in_use and self.operative and payload.get("connectorId", 1) == 1
        return status("Accepted" if free and self.attended else "Rejected")

    def _remote_stop(self, payload: Any) -> Answer:
        return status("Accepted" if payload["transactionId"] == self.transaction_id else "Rejected")

    def _trigger(self, payload: Any) -> Answer:
        requested = payload["requestedMessage"]
        if requested == "SignChargePointCertificate":
            return status("NotImplemented")
        if requested in _ABOUT_A_CONNECTOR and payload.get("connectorId", 0) not in _CONNECTORS:
            return status("Rejected")
        # CE16 3.40: after it was accepted, a charge point sends no BootNotification until it reboots.
        refused = (requested == "BootNotification" and self.registered) or (
            requested == "MeterValues" and not self.measurands("MeterValuesSampledData")
        )
        return status("Rejected" if refused else "Accepted")

"""The answers of a central system that accepts everything, for OCPP 1.6, 2.0.1 and 2.1."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..clock import utc_now
from ..request import Request, RequestMetadata
from .table import Answer, Table, answer_from, status

__all__ = ["CentralSystemAnswers"]


class CentralSystemAnswers:
    """A handler for `CentralSystem` that accepts every charge point, idTag, contract and transaction.

    It serves OCPP 1.6, 2.0.1 and 2.1. It declines what needs a certificate authority, a tax office or a vendor's
    extension, with the status that the message has for that. Thread-safe.

    Args:
        interval: the seconds between Heartbeats in the answer to BootNotification.
        first_transaction_id: the first transaction id; the ids count up. In 2.x the charging station chooses them.
    """

    def __init__(self, *, interval: int = 300, first_transaction_id: int = 1) -> None:
        self._interval = interval
        self._next_transaction_id = first_transaction_id
        self._lock = threading.Lock()  # guards _next_transaction_id
        common: Table = {
            "BootNotification": self._boot,
            "DataTransfer": status("UnknownVendorId"),
            "Heartbeat": lambda payload: {"currentTime": utc_now()},
            "SignCertificate": status("Rejected"),
        }
        self._answers: Mapping[str, Table] = {
            "1.6": {**common, **_ANSWERS_16, "StartTransaction": self._start_transaction},
            "2.0.1": {**common, **_ANSWERS_2X},
            "2.1": {**common, **_ANSWERS_2X, **_ANSWERS_21},
        }

    def __call__(self, request: Request[str, Any], metadata: RequestMetadata) -> Answer | None:
        """Return the answer, or None for an action that the version does not have."""
        return answer_from(self._answers[request.version], request)

    def _boot(self, payload: Any) -> Answer:
        return {"status": "Accepted", "currentTime": utc_now(), "interval": self._interval}

    def _start_transaction(self, payload: Any) -> Answer:
        with self._lock:
            transaction_id, self._next_transaction_id = self._next_transaction_id, self._next_transaction_id + 1
        return {"transactionId": transaction_id, "idTagInfo": {"status": "Accepted"}}


def _authorize(payload: Any) -> Answer:
    # A request with a contract certificate, or the hashes of its chain, gets a certificateStatus (2/201 C07).
    contract = "certificate" in payload or "iso15118CertificateHashData" in payload
    return {"idTokenInfo": {"status": "Accepted"}, **({"certificateStatus": "Accepted"} if contract else {})}


def _chain_status(payload: Any) -> Answer:
    now = utc_now()
    return {
        "certificateStatus": [
            {
                "certificateHashData": requested["certificateHashData"],
                "source": requested["source"],
                "status": "Failed",
                "nextUpdate": now,
            }
            for requested in payload["certificateStatusRequests"]
        ]
    }


def _vat_number(payload: Any) -> Answer:
    evse = {"evseId": payload["evseId"]} if "evseId" in payload else {}
    return {"vatNumber": payload["vatNumber"], **evse, "status": "Rejected"}


_ANSWERS_16: Table = {
    "Authorize": {"idTagInfo": {"status": "Accepted"}},
    "DiagnosticsStatusNotification": {},
    "FirmwareStatusNotification": {},
    "LogStatusNotification": {},
    "MeterValues": {},
    "SecurityEventNotification": {},
    "SignedFirmwareStatusNotification": {},
    "StatusNotification": {},
    # C16 §6.50: idTagInfo updates the cache of the charge point, so it answers an idTag only.
    "StopTransaction": lambda payload: {"idTagInfo": {"status": "Accepted"}} if "idTag" in payload else {},
}
_ANSWERS_2X: Table = {
    "Authorize": _authorize,
    "ClearedChargingLimit": {},
    "FirmwareStatusNotification": {},
    "Get15118EVCertificate": {"status": "Failed", "exiResponse": ""},
    "GetCertificateStatus": status("Failed"),
    "LogStatusNotification": {},
    "MeterValues": {},
    "NotifyChargingLimit": {},
    "NotifyCustomerInformation": {},
    "NotifyDisplayMessages": {},
    "NotifyEVChargingNeeds": status("Rejected"),
    "NotifyEVChargingSchedule": status("Accepted"),
    "NotifyEvent": {},
    "NotifyMonitoringReport": {},
    "NotifyReport": {},
    "PublishFirmwareStatusNotification": {},
    "ReportChargingProfiles": {},
    "ReservationStatusUpdate": {},
    "SecurityEventNotification": {},
    "StatusNotification": {},
    # As with StopTransaction: idTokenInfo answers an idToken only.
    "TransactionEvent": lambda payload: {"idTokenInfo": {"status": "Accepted"}} if "idToken" in payload else {},
}
_ANSWERS_21: Table = {
    "BatterySwap": {},
    "ClosePeriodicEventStream": {},
    "GetCertificateChainStatus": _chain_status,
    "NotifyDERAlarm": {},
    "NotifyDERStartStop": {},
    "NotifyEVChargingNeeds": status("NoChargingProfile"),  # the vehicle may charge, without a charging profile
    "NotifyPeriodicEventStream": {},
    "NotifyPriorityCharging": {},
    "NotifySettlement": {},
    "OpenPeriodicEventStream": status("Accepted"),
    "PullDynamicScheduleUpdate": status("Rejected"),
    "ReportDERControl": {},
    "VatNumberValidation": _vat_number,
}

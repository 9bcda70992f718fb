"""The CALLs that the charge points of the benchmarks send, and their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Message:
    """A CALL and the payload of its answer; all peers send an answer of the same shape."""

    action: str
    payload: dict[str, Any] = field(repr=False)
    #: JSON text; the echo servers send it as it is.
    answer: str = "{}"
    protocol: str = "ocpp1.6"


_METER_VALUES: dict[str, Any] = {
    "connectorId": 1,
    "transactionId": 7,
    "meterValue": [
        {
            "timestamp": "2026-01-01T12:00:00Z",
            "sampledValue": [
                {"value": "1234567", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
                {"value": "7321", "measurand": "Power.Active.Import", "unit": "W", "context": "Sample.Periodic"},
                {"value": "31.8", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
            ],
        }
    ],
}
_TRANSACTION_EVENT: dict[str, Any] = {
    "eventType": "Updated",
    "timestamp": "2026-01-01T12:00:00Z",
    "triggerReason": "MeterValuePeriodic",
    "seqNo": 12,
    "offline": False,
    "numberOfPhasesUsed": 3,
    "cableMaxCurrent": 32,
    "reservationId": 4711,
    "transactionInfo": {
        "transactionId": "7f1c9a52-6f0e-4c1b-9f57-0d3a3c1e5b11",
        "chargingState": "Charging",
        "timeSpentCharging": 720,
        "remoteStartId": 42,
    },
    "evse": {"id": 1, "connectorId": 1},
    "idToken": {
        "idToken": "04A1B2C3D4E5F6",
        "type": "ISO14443",
        "additionalInfo": [{"additionalIdToken": "DE-ABC-C12345678-X", "type": "eMAID"}],
    },
    "meterValue": [
        {
            "timestamp": "2026-01-01T12:00:00Z",
            "sampledValue": [
                {
                    "value": 1234567,
                    "context": "Sample.Periodic",
                    "measurand": "Energy.Active.Import.Register",
                    "location": "Outlet",
                    "unitOfMeasure": {"unit": "Wh", "multiplier": 0},
                },
                {
                    "value": 7321,
                    "context": "Sample.Periodic",
                    "measurand": "Power.Active.Import",
                    "unitOfMeasure": {"unit": "W", "multiplier": 0},
                },
                {
                    "value": 31.5,
                    "context": "Sample.Periodic",
                    "measurand": "Current.Import",
                    "phase": "L1",
                    "unitOfMeasure": {"unit": "A", "multiplier": 0},
                },
            ],
        }
    ],
}

MESSAGES = {
    "Heartbeat": Message("Heartbeat", {}, answer='{"currentTime":"2026-01-01T12:00:00.000Z"}'),
    "MeterValues": Message("MeterValues", _METER_VALUES),
    "TransactionEvent": Message(
        "TransactionEvent", _TRANSACTION_EVENT, answer='{"idTokenInfo":{"status":"Accepted"}}', protocol="ocpp2.0.1"
    ),
}

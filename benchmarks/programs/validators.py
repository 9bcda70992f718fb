"""How many microseconds a validator takes for a message, each once it is made; prints JSON.

    python benchmarks/programs/validators.py VALIDATOR SECONDS

Every validator gets the schemas of ocppsync and has to look at date-times. That of `jsonschema` needs a rule for it,
and gets the one of ocppsync; the others have their own.
"""

from __future__ import annotations

import copy
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from ocppsync.catalogue import Version, catalogue
from ocppsync.formats import FORMATS
from ocppsync.validation import validator

WHEN = "2026-01-01T12:00:00Z"
MESSAGES: dict[str, tuple[Version, str, dict[str, Any]]] = {
    "Heartbeat": ("1.6", "Heartbeat", {}),
    "MeterValues": (
        "1.6",
        "MeterValues",
        {
            "connectorId": 1,
            "transactionId": 7,
            "meterValue": [
                {
                    "timestamp": WHEN,
                    "sampledValue": [
                        {"value": "1234567", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
                        {"value": "7321", "measurand": "Power.Active.Import", "unit": "W"},
                        {"value": "31.8", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
                    ],
                }
            ],
        },
    ),
    "TransactionEvent of 2.0.1": (
        "2.0.1",
        "TransactionEvent",
        {
            "eventType": "Updated",
            "timestamp": WHEN,
            "triggerReason": "MeterValuePeriodic",
            "seqNo": 12,
            "offline": False,
            "numberOfPhasesUsed": 3,
            "cableMaxCurrent": 32,
            "reservationId": 5,
            "transactionInfo": {
                "transactionId": "7f1c9a52-6f0e-4c1b-9f57-0d3a3c1e5b11",
                "chargingState": "Charging",
                "timeSpentCharging": 1800,
                "remoteStartId": 3,
            },
            "idToken": {
                "idToken": "04A1B2C3D4E5F6",
                "type": "ISO14443",
                "additionalInfo": [{"additionalIdToken": "FLEET-7", "type": "fleet"}],
            },
            "evse": {"id": 1, "connectorId": 1},
            "meterValue": [
                {
                    "timestamp": WHEN,
                    "sampledValue": [
                        {
                            "value": 1234567.5,
                            "context": "Sample.Periodic",
                            "measurand": "Energy.Active.Import.Register",
                            "location": "Outlet",
                            "unitOfMeasure": {"unit": "Wh", "multiplier": 0},
                        },
                        {
                            "value": 7321,
                            "context": "Sample.Periodic",
                            "measurand": "Power.Active.Import",
                            "location": "Outlet",
                            "unitOfMeasure": {"unit": "W"},
                        },
                        {"value": 31.8, "measurand": "Current.Import", "phase": "L1", "unitOfMeasure": {"unit": "A"}},
                    ],
                }
            ],
        },
    ),
}
Check = Callable[[Any], object]


def ocppsync(version: Version, action: str) -> Check:
    """Return what raises an exception, or returns False, for a payload that breaks the schema."""
    check = validator(version).check
    return lambda payload: check(action, "request", payload) is None


def jsonschema(version: Version, action: str) -> Check:
    """Return the same, of that package."""
    module: Any = importlib.import_module("jsonschema")
    checker = module.FormatChecker(formats=())
    for name, rule in FORMATS[version].items():
        checker.checks(name)(lambda value, rule=rule: not isinstance(value, str) or rule(value) is not None)
    check: Check = module.Draft202012Validator(_schema(version, action), format_checker=checker).is_valid
    return check


def fastjsonschema(version: Version, action: str) -> Check:
    """Return the same, of that package."""
    check: Check = importlib.import_module("fastjsonschema").compile(_schema(version, action), use_default=False)
    return check


def jsonschema_rs(version: Version, action: str) -> Check:
    """Return the same, of that package."""
    module: Any = importlib.import_module("jsonschema_rs")
    check: Check = module.Draft202012Validator(_schema(version, action), validate_formats=True).is_valid
    return check


VALIDATORS = {function.__name__: function for function in (ocppsync, jsonschema, fastjsonschema, jsonschema_rs)}


def _schema(version: Version, action: str) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **catalogue(version).schema(action, "request")}


def _accepts(check: Check, payload: object) -> bool:
    try:
        return check(payload) is not False
    except Exception:  # each package has its own
        return False


def _broken(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Return payloads that have to be refused: a field too many, and a date-time that is none."""
    wrong = [{**payload, "extra": 1}]
    if "meterValue" in payload:
        wrong.append(copy.deepcopy(payload))
        wrong[-1]["meterValue"][0]["timestamp"] = "yesterday"
    return wrong


def _microseconds(check: Check, payload: object, seconds: float) -> float:
    count = 1
    while True:
        rounds = range(count)
        began = time.perf_counter()
        for _ in rounds:
            check(payload)
        took = time.perf_counter() - began
        if took >= seconds:
            return took / count * 1e6
        count *= 2


def main() -> int:
    """Run it."""
    make, seconds = VALIDATORS[sys.argv[1]], float(sys.argv[2])
    found = {}
    for name, (version, action, payload) in MESSAGES.items():
        check = make(version, action)
        if not _accepts(check, payload) or any(_accepts(check, wrong) for wrong in _broken(payload)):
            raise SystemExit(f"{sys.argv[1]} takes a right {name} for a wrong one, or a wrong one for a right one")
        found[name] = _microseconds(check, payload, seconds)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures how many microseconds a validator takes for a request.

    python benchmarks/programs/validators.py VALIDATOR SECONDS

For each line such as ``["1.6","Heartbeat",{}]`` on standard input, it measures for at least SECONDS seconds and prints
the microseconds. Creating the validator is not included. Every validator gets the schemas of ocppsync and must check
date-times. `jsonschema` needs a rule for that, and gets the one of ocppsync; the others have their own.
"""

from __future__ import annotations

import copy
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from ocppsync.validation.catalogue import Version, catalogue
from ocppsync.validation.formats import FORMATS
from ocppsync.validation.validators import validator

Check = Callable[[Any], object]


def ocppsync(version: Version, action: str) -> Check:
    """Return a check that raises an exception or returns False for an invalid payload."""
    check = validator(version).check
    return lambda payload: check(action, "request", payload) is None


def jsonschema(version: Version, action: str) -> Check:
    """Return the same check, made with `jsonschema`."""
    module: Any = importlib.import_module("jsonschema")
    checker = module.FormatChecker(formats=())
    for name, rule in FORMATS[version].items():
        checker.checks(name)(lambda value, rule=rule: not isinstance(value, str) or rule(value) is not None)
    check: Check = module.Draft202012Validator(_schema(version, action), format_checker=checker).is_valid
    return check


def fastjsonschema(version: Version, action: str) -> Check:
    """Return the same check, made with `fastjsonschema`."""
    check: Check = importlib.import_module("fastjsonschema").compile(_schema(version, action), use_default=False)
    return check


def jsonschema_rs(version: Version, action: str) -> Check:
    """Return the same check, made with `jsonschema_rs`."""
    module: Any = importlib.import_module("jsonschema_rs")
    check: Check = module.Draft202012Validator(_schema(version, action), validate_formats=True).is_valid
    return check


VALIDATORS = {function.__name__: function for function in (ocppsync, jsonschema, fastjsonschema, jsonschema_rs)}


def _schema(version: Version, action: str) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **catalogue(version).schema(action, "request")}


def _accepts(check: Check, payload: object) -> bool:
    try:
        return check(payload) is not False
    except Exception:  # each package has its own class
        return False


def _invalid_payloads(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Return invalid payloads: one with an extra field, and one with an invalid date-time."""
    invalid = [{**payload, "extra": 1}]
    if "meterValue" in payload:
        invalid.append(copy.deepcopy(payload))
        invalid[-1]["meterValue"][0]["timestamp"] = "yesterday"
    return invalid


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
    """Measure each line of standard input; return the exit status."""
    make, seconds = VALIDATORS[sys.argv[1]], float(sys.argv[2])
    for line in sys.stdin:
        version, action, payload = json.loads(line)
        check = make(version, action)
        if not _accepts(check, payload) or any(_accepts(check, invalid) for invalid in _invalid_payloads(payload)):
            raise SystemExit(f"{sys.argv[1]} rejects a valid {action}, or accepts an invalid one")
        print(_microseconds(check, payload, seconds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

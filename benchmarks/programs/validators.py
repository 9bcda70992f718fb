"""How many microseconds a validator takes for a request, once it is made.

    python benchmarks/programs/validators.py VALIDATOR SECONDS

For each line ``["1.6","Heartbeat",{}]`` on its standard input it measures that long or longer, and prints them.
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

from ocppsync.validation.catalogue import Version, catalogue
from ocppsync.validation.formats import FORMATS
from ocppsync.validation.validators import validator

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
    for line in sys.stdin:
        version, action, payload = json.loads(line)
        check = make(version, action)
        if not _accepts(check, payload) or any(_accepts(check, wrong) for wrong in _broken(payload)):
            raise SystemExit(f"{sys.argv[1]} takes a right {action} for a wrong one, or a wrong one for a right one")
        print(_microseconds(check, payload, seconds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

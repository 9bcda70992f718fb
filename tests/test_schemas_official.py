"""Our schemas give the verdict of the official ones, which the package ``ocpp`` brings along, on every message."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from importlib import resources
from random import Random
from typing import Any, NamedTuple

import jsonschema.validators  # type: ignore[import-untyped]
import pytest
from payloads import arbitrary, full, minimal, mutations

from ocppsync.catalogue import Kind, catalogue
from ocppsync.formats import FORMATS
from ocppsync.validation import validator

pytestmark = pytest.mark.slow

VERSION = "1.6"
OFFICIAL = resources.files("ocpp.v16").joinpath("schemas")
MESSAGES: list[tuple[str, Kind]] = [
    (action, kind) for action in catalogue(VERSION).actions for kind in ("request", "response")
]


class Difference(NamedTuple):
    """A verdict that differs on purpose: ``undo`` turns a payload into one on which both sides agree."""

    reason: str
    undo: Callable[[Any], Any]


def _everywhere(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that applies ``change`` to every scalar of a payload."""

    def apply(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: apply(part) for name, part in value.items()}
        if isinstance(value, list):
            return [apply(part) for part in value]
        return change(value)

    return apply


def _whole_to_integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tenths_to_integer(value: Any) -> Any:
    # Seven digits tell the decimals in the payloads of this test apart.
    return int(value) if isinstance(value, float) and f"{value:.7f}".endswith("000000") else value


def _hertz_to_celsius(value: Any) -> Any:
    return "Celsius" if value == "Hertz" else value


DIFFERENCES: dict[str, Difference] = {
    "1.0 is an integer": Difference(
        "draft-04, in which the core messages are written, takes 1.0 for no integer; draft-06 and later do, and JSON "
        "makes no difference between 1 and 1.0",
        _everywhere(_whole_to_integer),
    ),
    "21.4 is a multiple of 0.1": Difference(
        "jsonschema divides binary floats, and so finds that 21.4 and others are no multiples of 0.1",
        _everywhere(_tenths_to_integer),
    ),
    "Hertz in transactionData": Difference(
        "the official StopTransaction lacks the unit Hertz, which MeterValues has for the very same data",
        _everywhere(_hertz_to_celsius),
    ),
}


class Comparison(NamedTuple):
    """How one message fared."""

    valid: int
    mutated: int
    rejected: int
    unexplained: list[str]
    occurred: frozenset[str]


@functools.cache
def official(action: str, kind: Kind) -> Callable[[Any], bool]:
    """Return the verdict of the official schema in its own dialect, with our rules for the formats."""
    name = f"{action}.json" if kind == "request" else f"{action}Response.json"
    text = OFFICIAL.joinpath(name).read_text(encoding="utf-8-sig")
    schema = json.loads(text)
    dialect = jsonschema.validators.validator_for(schema, default=None)
    assert dialect in (jsonschema.Draft4Validator, jsonschema.Draft6Validator)
    checker = jsonschema.FormatChecker(formats=())
    for format_name, rule in FORMATS[VERSION].items():
        checker.checks(format_name)(lambda value, rule=rule: not isinstance(value, str) or rule(value) is not None)
    verdict: Callable[[Any], bool] = dialect(schema, format_checker=checker).is_valid
    return verdict


def valid_payloads(action: str, kind: Kind) -> Iterator[Any]:
    yield minimal(VERSION, action, kind)
    yield full(VERSION, action, kind)
    for seed in range(20):
        yield arbitrary(VERSION, action, kind, Random(seed))


@functools.cache
def compare(action: str, kind: Kind) -> Comparison:
    """Hold both verdicts against each other on every payload of one message."""
    valid = list(valid_payloads(action, kind))
    mutated = list(mutations(VERSION, action, kind))
    unexplained: list[str] = []
    occurred: set[str] = set()
    rejected = 0
    for payload in (*valid, *mutated):
        ours = validator(VERSION).check(action, kind, payload) is None
        rejected += not ours
        if official(action, kind)(payload) != ours:
            names = {name for name, row in DIFFERENCES.items() if ours and official(action, kind)(row.undo(payload))}
            occurred |= names
            if not names:
                unexplained.append(f"ours: {ours}, on {str(payload)[:500]}")
    return Comparison(len(valid), len(mutated), rejected, unexplained, frozenset(occurred))


@pytest.mark.parametrize(("action", "kind"), MESSAGES)
def test_same_verdict(action: str, kind: Kind) -> None:
    comparison = compare(action, kind)
    assert comparison.mutated >= 200
    assert comparison.rejected >= 150
    assert comparison.unexplained == []


@pytest.mark.parametrize(("action", "kind"), MESSAGES)
def test_valid_payloads_are_valid_for_us(action: str, kind: Kind) -> None:
    for payload in valid_payloads(action, kind):
        validator(VERSION).validate(action, kind, payload)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference_occurs(name: str) -> None:
    assert any(name in compare(action, kind).occurred for action, kind in MESSAGES)


def test_there_are_the_same_messages() -> None:
    files = {entry.name for entry in OFFICIAL.iterdir()}
    ours = {f"{action}.json" if kind == "request" else f"{action}Response.json" for action, kind in MESSAGES}
    assert {name for name in files if name.endswith(".json")} == ours

"""Our schemas give the verdict of the official ones, which the package ``ocpp`` brings along, on every message.

Those of 2.x also say the same, rule for rule; of their many and large mutations a sample is tried.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from random import Random
from typing import Any, NamedTuple

import jsonschema.validators  # type: ignore[import-untyped]
import pytest
from payloads import Message, arbitrary, full, messages, minimal, mutations, sample

from ocppsync.validation.catalogue import SUBPROTOCOLS, Kind, Version, catalogue
from ocppsync.validation.formats import FORMATS
from ocppsync.validation.predicates import compile_predicate
from ocppsync.validation.validators import validator

pytestmark = pytest.mark.slow

# The package's last release for Python 3.10 has no OCPP 2.1.
VERSIONS: tuple[Version, ...] = tuple(
    version for version in SUBPROTOCOLS.values() if version != "2.1" or importlib.util.find_spec("ocpp.v21")
)
OFFICIAL = {
    version: resources.files(f"ocpp.{package}").joinpath("schemas")
    for version, package in (("1.6", "v16"), ("2.0.1", "v201"), ("2.1", "v21"))
    if version in VERSIONS
}
DIALECTS = {
    "1.6": (jsonschema.Draft4Validator, jsonschema.Draft6Validator),
    "2.0.1": (jsonschema.Draft6Validator,),
    "2.1": (jsonschema.Draft6Validator,),
}
MESSAGES: list[Message] = [message for version in VERSIONS for message in messages(version)]
MESSAGES_2X = [message for message in MESSAGES if message[0] != "1.6"]
SAMPLE = 250
"""How many mutations of each message of 2.x are tried."""


class Difference(NamedTuple):
    """A verdict that differs on purpose: ``undo`` turns a payload into one on which both sides agree."""

    version: Version
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


# None in 2.x: draft-06 takes 1.0 for an integer, and nothing has to be a multiple of anything.
DIFFERENCES: dict[str, Difference] = {
    "1.0 is an integer": Difference(
        "1.6",
        "draft-04, in which the core messages are written, takes 1.0 for no integer; draft-06 and later do, and JSON "
        "makes no difference between 1 and 1.0",
        _everywhere(_whole_to_integer),
    ),
    "21.4 is a multiple of 0.1": Difference(
        "1.6",
        "jsonschema divides binary floats, and so finds that 21.4 and others are no multiples of 0.1",
        _everywhere(_tenths_to_integer),
    ),
    "Hertz in transactionData": Difference(
        "1.6",
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


def file_name(version: Version, action: str, kind: Kind) -> str:
    """Return the name of the file that holds the official schema of a message."""
    if kind == "response":
        return f"{action}Response.json"
    # A request of 1.6 and a SEND bear the action's name alone.
    return f"{action}.json" if version == "1.6" or catalogue(version).is_send(action) else f"{action}Request.json"


@functools.cache
def official_schema(version: Version, action: str, kind: Kind) -> Any:
    name = file_name(version, action, kind)
    return json.loads(OFFICIAL[version].joinpath(name).read_text(encoding="utf-8-sig"))


def rules(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without its prose, each ``$ref`` replaced by what it leads to."""
    if "$ref" in schema:
        return rules(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    kept = ("type", "enum", "format", "minLength", "maxLength", "minimum", "maximum", "multipleOf", "minItems")
    found = {keyword: schema[keyword] for keyword in (*kept, "maxItems") if keyword in schema}
    if schema.get("type") == "object":
        found["required"] = sorted(schema.get("required", ()))
        found["additionalProperties"] = schema.get("additionalProperties", True)
        fields = schema.get("properties", {}).items()
        found["properties"] = {name: rules(part, definitions) for name, part in fields}
    if "items" in schema:
        found["items"] = rules(schema["items"], definitions)
    return found


@functools.cache
def official(version: Version, action: str, kind: Kind) -> Callable[[Any], bool]:
    """Return the verdict of the official schema in its own codec, with our rules for the formats."""
    schema = official_schema(version, action, kind)
    codec = jsonschema.validators.validator_for(schema, default=None)
    assert codec in DIALECTS[version]
    checker = jsonschema.FormatChecker(formats=())
    for format_name, rule in FORMATS[version].items():
        checker.checks(format_name)(lambda value, rule=rule: not isinstance(value, str) or rule(value) is not None)
    if version != "1.6":
        # jsonschema spends half its time on finding out where each $ref leads.
        schema = rules(schema, schema["definitions"])
    verdict: Callable[[Any], bool] = codec(schema, format_checker=checker).is_valid
    return verdict


def valid_payloads(version: Version, action: str, kind: Kind) -> Iterator[Any]:
    yield minimal(version, action, kind)
    yield full(version, action, kind)
    for seed in range(20 if version == "1.6" else 8):
        yield arbitrary(version, action, kind, Random(seed))


def mutated_payloads(version: Version, action: str, kind: Kind) -> list[Any]:
    return list(mutations(version, action, kind)) if version == "1.6" else sample(version, action, kind, SAMPLE)


@functools.cache
def compare(version: Version, action: str, kind: Kind) -> Comparison:
    """Hold both verdicts against each other on every payload of one message."""
    valid = list(valid_payloads(version, action, kind))
    mutated = mutated_payloads(version, action, kind)
    verdict = official(version, action, kind)
    # Not the validator, whose reports take longer than all the rest; test_predicates.py holds them to this.
    predicate = compile_predicate(catalogue(version).schema(action, kind), FORMATS[version])
    differences = {name: row for name, row in DIFFERENCES.items() if row.version == version}
    unexplained: list[str] = []
    occurred: set[str] = set()
    rejected = 0
    for payload in (*valid, *mutated):
        ours = predicate(payload)
        rejected += not ours
        if verdict(payload) != ours:
            names = {name for name, row in differences.items() if ours and verdict(row.undo(payload))}
            occurred |= names
            if not names:
                unexplained.append(f"ours: {ours}, on {str(payload)[:500]}")
    return Comparison(len(valid), len(mutated), rejected, unexplained, frozenset(occurred))


@pytest.mark.parametrize(("version", "action", "kind"), MESSAGES)
def test_same_verdict(version: Version, action: str, kind: Kind) -> None:
    comparison = compare(version, action, kind)
    assert comparison.mutated >= 200
    assert comparison.rejected >= (150 if version == "1.6" else SAMPLE // 2)
    assert comparison.unexplained == []


@pytest.mark.parametrize(("version", "action", "kind"), MESSAGES)
def test_valid_payloads_are_valid_for_us(version: Version, action: str, kind: Kind) -> None:
    for payload in valid_payloads(version, action, kind):
        validator(version).validate(action, kind, payload)


@pytest.mark.parametrize(("version", "action", "kind"), MESSAGES_2X)
def test_same_rules(version: Version, action: str, kind: Kind) -> None:
    theirs = official_schema(version, action, kind)
    ours = catalogue(version).schema(action, kind)
    assert rules(ours, ours["$defs"]) == rules(theirs, theirs["definitions"])


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_same_names_of_types(version: Version) -> None:
    schemas = [official_schema(*message) for message in messages(version)]
    assert set(catalogue(version).definitions) == {name for schema in schemas for name in schema["definitions"]}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference_occurs(name: str) -> None:
    version = DIFFERENCES[name].version
    assert any(name in compare(*message).occurred for message in messages(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_there_are_the_same_messages(version: Version) -> None:
    files = {entry.name for entry in OFFICIAL[version].iterdir()}
    ours = {file_name(*message) for message in messages(version)}
    assert {name for name in files if name.endswith(".json")} == ours

"""Predicates and jsonschema agree on every message, and on every keyword."""

from __future__ import annotations

import math
from collections import OrderedDict, UserString, defaultdict
from decimal import Decimal
from enum import Enum, IntEnum
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from payloads import JUNK, Message, Path, arbitrary, full, messages, minimal, mutations, replaced, sample

from ocppsync.validation.catalogue import SUBPROTOCOLS, Kind, Version, catalogue
from ocppsync.validation.formats import FORMATS
from ocppsync.validation.predicates import compile_predicate
from ocppsync.validation.validators import jsonschema_validator, validator

VERSION: Version = "1.6"
VERSIONS: tuple[Version, ...] = tuple(SUBPROTOCOLS.values())
VERSIONS_2X: tuple[Version, ...] = ("2.0.1", "2.1")
MESSAGES: list[Message] = [message for version in VERSIONS for message in messages(version)]


class Unit(str, Enum):
    ENERGY = "kWh"
    WRONG = "kwh"


class Caseless(str):
    """A program's type for the case-insensitive strings of 1.6."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


class Number(IntEnum):
    SEVEN = 7


class Watts(float):
    pass


class Items(list[Any]):
    pass


# ------------------------------------------------------------------------------------------- agreement with jsonschema


@cache
def many_mutations(version: Version, action: str, kind: Kind) -> list[Any]:
    # 2.x has too many to try them all.
    return list(mutations(version, action, kind)) if version == "1.6" else sample(version, action, kind, 250)


def paths(value: Any) -> list[Path]:
    """Return the path of every value inside a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((key, *path) for key, part in pairs for path in paths(part))]


def as_enum(value: Any) -> Any:
    """Return a string as the member of a str Enum, and any other value unchanged."""
    chosen: Any = Enum("Chosen", {"MEMBER": value}, type=str) if type(value) is str else None
    return chosen.MEMBER if chosen else value


ODD_VALUES = st.one_of(
    st.sampled_from(JUNK),
    st.sampled_from(
        (math.nan, math.inf, -math.inf, 10**400, Number.SEVEN, Unit.ENERGY, Unit.WRONG, (), b"", Decimal(1))
    ),
    st.sampled_from((OrderedDict(), defaultdict(list), {1: 2}, {"vendorId": {}}, [[[{}]]])),
    st.integers(),
    st.floats(),
    st.decimals(-1000, 1000, places=2).map(float),
    st.text(max_size=30),
    st.recursive(st.none() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
)


@st.composite
def near_payloads(draw: st.DrawFn, version: Version, action: str, kind: Kind) -> Any:
    """Make valid payloads with up to three edits."""
    payload = draw(
        st.one_of(
            st.sampled_from((minimal(version, action, kind), full(version, action, kind))),
            st.integers(0, 1000).map(lambda seed: arbitrary(version, action, kind, Random(seed))),
            st.sampled_from(many_mutations(version, action, kind)),
        )
    )
    for _ in range(draw(st.integers(0, 2))):
        path = draw(st.sampled_from(paths(payload)))
        old: Any = payload
        for key in path:
            old = old[key]
        payload = replaced(payload, path, as_enum(old) if draw(st.booleans()) else draw(ODD_VALUES))
    return payload


@cache
def both(version: Version, action: str, kind: Kind) -> tuple[Any, Any]:
    """Return the predicate of a message, and jsonschema without the shortcuts of this library."""
    schema = catalogue(version).schema(action, kind)
    return compile_predicate(schema, FORMATS[version]), jsonschema_validator(schema, FORMATS[version]).is_valid


def agree(message: Message, payload: Any) -> None:
    predicate, is_valid = both(*message)
    accepted = predicate(payload)
    assert accepted is is_valid(payload)
    # `check` takes shortcuts; its result must be the same.
    version, action, kind = message
    assert (validator(version).check(action, kind, payload) is None) is accepted


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.mark.parametrize("message", messages(VERSION), ids=" ".join)
def test_predicate_and_jsonschema_agree(message: Message) -> None:
    @examples(30)
    @given(near_payloads(*message))
    def agree_on_this_message(payload: Any) -> None:
        agree(message, payload)

    agree_on_this_message()


# 2.x has many messages, which share types: samples over all messages instead of samples of each.
@pytest.mark.parametrize("version", VERSIONS_2X)
def test_predicate_and_jsonschema_agree_on_2_x(version: Version) -> None:
    @examples(400)
    @given(st.data(), st.sampled_from(messages(version)))
    def agree_on_any_message(data: st.DataObject, message: Message) -> None:
        agree(message, data.draw(near_payloads(*message)))

    agree_on_any_message()


@pytest.mark.parametrize("message", MESSAGES, ids=" ".join)
def test_predicate_and_jsonschema_agree_on_every_mutation(message: Message) -> None:
    predicate, is_valid = both(*message)
    chosen = many_mutations(*message)[::5]
    assert [payload for payload in chosen if predicate(payload) is not is_valid(payload)] == []


# ------------------------------------------------------------------------------------------------- keywords

# One row per keyword: the schema of a field, valid values, invalid values.
KEYWORDS: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "type string": ({"type": "string"}, ["", "x", Unit.ENERGY], [1, None, True, [], {}, b"x", UserString("x")]),
    "type integer": (
        {"type": "integer"},
        [0, -5, 1.0, 10**400, Number.SEVEN],
        [True, False, 1.5, "1", None, math.nan, math.inf, Decimal(1)],
    ),
    "type number": (
        {"type": "number"},
        [0, 1.5, -1e300, 10**400, Watts(1.5), Number.SEVEN],
        [True, Watts("nan"), "1.5", None, math.nan, math.inf, -math.inf, Decimal("1.5")],
    ),
    "type boolean": ({"type": "boolean"}, [True, False], [0, 1, "true", None]),
    "type object": ({"type": "object"}, [{}, {"a": 1}, OrderedDict(a=1)], [[], None, "x", [("a", 1)]]),
    "type array": ({"type": "array"}, [[], [1, None], Items([1])], [{}, (), None, "x"]),
    "no type": ({}, [None, True, 1, "x", [], {}, math.nan], []),
    "enum": (
        {"type": "string", "enum": ["Wh", "kWh"]},
        ["Wh", "kWh", Unit.ENERGY, Caseless("KWH")],
        ["kwh", "", Unit.WRONG, 1, [], {}, UserString("kWh")],
    ),
    "enum with maxLength": (
        {"type": "string", "maxLength": 2, "enum": ["Wh", "kWh"]},
        ["Wh", Caseless("WH")],
        ["kWh", "W", Caseless("KWH")],
    ),
    "maxLength": ({"type": "string", "maxLength": 2}, ["", "ab", "éé", "🔌🔌"], ["abc", 1]),
    "minLength": ({"type": "string", "minLength": 2}, ["ab", "🔌🔌"], ["", "a", "🔌"]),
    "minimum": ({"type": "integer", "minimum": -3}, [-3, 0, 5.0], [-4, -3.5, True]),
    "maximum": ({"type": "number", "maximum": 2.5}, [2.5, -9], [2.6, 3, math.inf]),
    "multipleOf 0.1": ({"type": "number", "multipleOf": 0.1}, [21.4, 0.1, 7, 1e300], [21.45, 0.05, math.nan]),
    "multipleOf 5": ({"type": "integer", "multipleOf": 5}, [0, -5, 10.0], [3, 7.5, True]),
    "minItems": ({"type": "array", "minItems": 1}, [[0], [0, 0]], [[]]),
    "maxItems": ({"type": "array", "maxItems": 1}, [[], [0]], [[0, 0]]),
    "items": (
        {"type": "array", "items": {"type": "string", "maxLength": 1}},
        [[], ["a", "b"]],
        [["a", "bc"], [1], "a"],
    ),
    "items of items": (
        {"type": "array", "items": {"type": "array", "minItems": 1, "items": {"type": "boolean"}}},
        [[], [[True]], [[True, False], Items([True])]],
        [[[]], [True], [[True], [True, 0]], [[True], 0]],
    ),
    "date-time": ({"type": "string", "format": "date-time"}, ["2025-03-14T09:26:53Z"], ["2025-03-14", 0]),
    "uri": ({"type": "string", "format": "uri"}, ["ftp://host/x"], ["host/x", 0]),
    "required": (
        {"type": "object", "required": ["a", "b"], "properties": {"a": {}}},
        [{"a": None, "b": None}, OrderedDict(a=1, b=1)],
        [{}, {"a": 1}, {"b": 1}, OrderedDict(b=1), defaultdict(int, b=1)],
    ),
    "required deeper inside": (
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"a": {"type": "object", "required": ["b"], "properties": {"b": {"type": "boolean"}}}},
            },
        },
        [[{}, {"a": {"b": True}}]],
        [[{"a": {"b": True}}, {"a": {}}], [{"a": []}], [{"a": OrderedDict(c=1)}], [{"a": None}]],
    ),
    "properties": (
        {"type": "object", "properties": {"a": {"type": "boolean"}}},
        [{}, {"a": True}, {"b": 0}],
        [{"a": 0}, {"a": None}],
    ),
    "additionalProperties false": (
        {"type": "object", "required": ["a"], "properties": {"a": {}, "b": {}}, "additionalProperties": False},
        [{"a": 1}, {"b": 1, "a": 1}],
        [{"a": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}, {"a": 1, 1: 1}],
    ),
    "additionalProperties false, required without a property": (
        {"type": "object", "required": ["a"], "additionalProperties": False},
        [],
        [{}, {"a": 1}],
    ),
    "additionalProperties false, all optional": (
        {
            "type": "object",
            "properties": {"a": {"type": "boolean"}, "b": {"type": "boolean"}, "c": {"type": "boolean"}},
            "additionalProperties": False,
        },
        [{}, {"a": True}, {"b": True}, {"c": True}, {"c": True, "a": True}, OrderedDict(b=True, c=True)],
        [
            *({"d": True}, {"a": True, "d": True}, {"c": True, "d": True}, {"a": True, "b": True, "d": True}),
            *({"a": True, "b": True, "c": True, "d": True}, {"b": 0}, {"c": 0}, {"c": None}, {1: True}),
            *(OrderedDict(d=True), defaultdict(bool, d=True), defaultdict(bool, a=True, d=True)),
        ],
    ),
    "additionalProperties true": (
        {"type": "object", "required": ["a"], "properties": {"a": {}}, "additionalProperties": True},
        [{"a": 1, "c": 1}],
        [{"c": 1}],
    ),
    "default has no effect": ({"type": "integer", "default": 5}, [5, 6], [None, "5"]),
    "$ref to a scalar": ({"$ref": "#/$defs/Flag"}, [True], [0, None]),
    "$ref with a default": ({"$ref": "#/$defs/Flag", "default": True}, [False], [0, None]),
    "$ref to an array": ({"$ref": "#/$defs/Flags"}, [[], [True]], [[0], True]),
    "$ref to itself": (
        {"$ref": "#/$defs/Node"},
        [{}, {"nodes": []}, {"nodes": [{}, {"nodes": [{"other": {"nodes": []}}]}]}],
        [{"nodes": [{}, {"nodes": [{"other": {"nodes": 1}}]}]}, {"other": []}, {"nodes": [1]}],
    ),
    "$ref to one type twice": (
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/Pair"}, "b": {"$ref": "#/$defs/Pair"}}},
        [{}, {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}}],
        [{"a": {"x": 1, "y": 2}, "b": {"x": 1}}, {"b": {"x": 1, "y": "2"}}, {"a": None}],
    ),
    "$ref to a type that refers back": (
        {"$ref": "#/$defs/Egg"},
        [{}, {"hen": {}}, {"hen": {"eggs": [{}, {"hen": {"eggs": []}}]}}],
        [{"hen": 1}, {"hen": {"eggs": [{}, {"hen": {"eggs": {}}}]}}, {"hen": {"eggs": [1]}}, {"eggs": []}],
    ),
    "required names that look like code": (
        {"type": "object", "required": ["') or True #", "\n\\"]},
        [{"') or True #": 1, "\n\\": 1}, OrderedDict({"') or True #": 1, "\n\\": 1})],
        [{}, {"') or True #": 1}, OrderedDict({"\n\\": 1})],
    ),
    "names that look like code": (
        {
            "type": "object",
            "required": ["'] or True #"],
            "properties": {"'] or True #": {"type": "string"}, "\n\\": {}},
        },
        [{"'] or True #": "x"}],
        [{}, {"'] or True #": 1}],
    ),
    "choices that look like code": ({"type": "string", "enum": ["') or True or ('"]}, ["') or True or ('"], ["", "x"]),
}
DEFINITIONS: dict[str, Any] = {
    "Flag": {"type": "boolean"},
    "Flags": {"type": "array", "items": {"$ref": "#/$defs/Flag"}},
    "Node": {
        "type": "object",
        "properties": {
            "nodes": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            "other": {"$ref": "#/$defs/Node"},
        },
        "additionalProperties": False,
    },
    "Pair": {
        "type": "object",
        "required": ["x", "y"],
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
    },
    "Egg": {"type": "object", "properties": {"hen": {"$ref": "#/$defs/Hen"}}, "additionalProperties": False},
    "Hen": {"type": "object", "properties": {"eggs": {"type": "array", "items": {"$ref": "#/$defs/Egg"}}}},
}


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("name", KEYWORDS)
def test_keyword(name: str, required: bool) -> None:
    field, valid, invalid = KEYWORDS[name]
    schema = {"type": "object", "properties": {"field": field}, "$defs": DEFINITIONS}
    if required:
        schema["required"] = ["field"]
    predicate, reference = compile_predicate(schema, FORMATS[VERSION]), jsonschema_validator(schema, FORMATS[VERSION])
    for value in valid:
        assert predicate({"field": value}) is True, value
        assert reference.is_valid({"field": value}), value
    for value in invalid:
        assert predicate({"field": value}) is False, value
        assert not reference.is_valid({"field": value}), value
    assert predicate({}) is not required


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"type": "string", "pattern": "a"}, "keyword 'pattern'"),
        ({"type": "string", "minItems": 1}, "keyword 'minItems'"),
        ({"type": "integer", "enum": [1]}, "keyword 'enum'"),
        ({"maxLength": 1}, "keyword 'maxLength'"),
        ({"anyOf": []}, "keyword 'anyOf'"),
        ({"type": "object", "properties": {"a": {"type": "array", "items": {"const": 1}}}}, "keyword 'const'"),
        ({"type": "string", "format": "email"}, "format 'email'"),
        ({"type": "number", "multipleOf": 0.3}, "multipleOf 0.3"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "additionalProperties"),
        ({"type": "null"}, "type 'null'"),
        ({"type": ["string", "null"]}, "type ['string', 'null']"),
        ({"type": "string", "maxLength": "1) or (1"}, "maxLength '1) or (1'"),
        ({"type": "integer", "minimum": True}, "minimum True"),
        ({"type": "integer", "maximum": math.nan}, "maximum nan"),
        ({"$ref": "#/$defs/Missing"}, "$ref '#/$defs/Missing'"),
        ({"$ref": "#/definitions/Flag"}, "$ref '#/definitions/Flag'"),
        ({"$ref": "#/$defs/Flag", "type": "string"}, "beside $ref"),
        ({"$ref": "#/$defs/Alias"}, "keyword '$ref'"),
    ],
)
def test_unsupported_schemas_are_refused(field: dict[str, Any], reason: str) -> None:
    definitions = {**DEFINITIONS, "Alias": {"$ref": "#/$defs/Flag"}}
    with pytest.raises(ValueError, match=", at #") as caught:
        compile_predicate({"type": "object", "properties": {"field": field}, "$defs": definitions}, FORMATS[VERSION])
    assert reason in str(caught.value)


def test_annotations_are_ignored() -> None:
    annotations = {"title": "A", "description": "b", "$comment": "c", "examples": [1], "deprecated": True, "default": 2}
    properties = {"field": {"$ref": "#/$defs/Flag", "description": "d"}, "other": {"type": "integer", **annotations}}
    schema = {
        "$schema": "x",
        "$id": "y",
        **annotations,
        "type": "object",
        "properties": properties,
        "$defs": DEFINITIONS,
    }
    predicate = compile_predicate(schema, FORMATS[VERSION])
    assert predicate({"field": True, "other": 1})
    assert not predicate({"other": "1"})


def nested(inside: Any, levels: range) -> Any:
    """Return a value inside objects and arrays, an object at each even level; the innermost level comes first."""
    for level in levels:
        inside = [inside] if level % 2 else {"a": inside}
    return inside


def nested_schema(inside: Any, depth: int, required: list[str]) -> Any:
    for level in range(depth):
        if level % 2:
            inside = {"type": "array", "items": inside}
        else:
            fields = {"properties": {"a": inside}, "required": required, "additionalProperties": False}
            inside = {"type": "object", **fields}
    return inside


@pytest.mark.parametrize("required", [[], ["a"]])
@pytest.mark.parametrize("depth", [7, 8, 9, 17, 60])
def test_objects_and_arrays_may_lie_in_each_other_at_any_depth(depth: int, required: list[str]) -> None:
    predicate = compile_predicate(nested_schema({"type": "boolean"}, depth, required), FORMATS[VERSION])
    assert predicate(nested(True, range(depth)))
    assert not predicate(nested(1, range(depth)))
    for level in range(depth):
        wrong = "text" if level % 2 else {"b": True}
        assert not predicate(nested(wrong, range(level + 1, depth))), level


def test_a_missing_field_of_a_defaultdict_is_missing_and_stays_so() -> None:
    payload = {
        "transactionId": 1,
        "connectorId": 1,
        "meterValue": [defaultdict(list, timestamp="2025-03-14T09:26:53Z")],
    }
    predicate = both("1.6", "MeterValues", "request")[0]
    assert not predicate(payload)
    assert list(payload["meterValue"][0]) == ["timestamp"]

"""Payloads made from the schemas: right ones (`minimal`, `full`, `arbitrary`) and almost right ones (`mutations`)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from ocppsync.validation.catalogue import Kind, Version, catalogue

Schema = Mapping[str, Any]
Message = tuple[Version, str, Kind]
"""A version, an action of it, and which of its payloads is meant."""

DATE_TIME = "2025-03-14T09:26:53Z"
URI = "https://csms.example.com/files/firmware-1.4.bin"
# What strings of these names look like in the field; other strings repeat their own name.
_STRINGS: Mapping[str, str] = {
    "idTag": "04A1B2C3D4E5F6",
    "parentIdTag": "FLEET-7",
    "value": "230.1",
    "chargePointVendor": "Example Chargers",
    "chargePointModel": "EX-22",
    "firmwareVersion": "1.4.2",
    "vendorId": "com.example",
    "remoteLocation": "https://csms.example.com/logs/",
    "location": URI,
    "filename": "diagnostics.log",
    "fileName": "diagnostics.log",
    "vendorName": "Example Chargers",
    "model": "EX-22",
    "idToken": "04A1B2C3D4E5F6",
    "transactionId": "7f1c9a52-6f0e-4c1b-9f57-0d3a3c1e5b11",
}
_URIS = (URI, "ftp://user:pass@[2001:db8::1]:21/a%20b?c=d#e", "mailto:someone@example.com")
_DATE_TIMES = (DATE_TIME, "2024-02-29T23:59:60.123+01:00", "2025-01-31T12:00:00-05:30")
_DATE_TIMES_16 = ("1970-01-01T00:00:00", "2025-01-31T12:00:00.1234567Z", "2025-01-31T12:00:00-0530")
_DATE_TIMES_2X = ("2025-01-31t12:00:00.5z",)
_FORMATS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "1.6": {"date-time": _DATE_TIMES + _DATE_TIMES_16, "uri": _URIS},
    "2.0.1": {"date-time": _DATE_TIMES + _DATE_TIMES_2X},
    "2.1": {"date-time": _DATE_TIMES + _DATE_TIMES_2X},
}
# What a message may hold where its schema leaves it open.
_ANYTHING: tuple[Any, ...] = ({"any": [1, None]}, None, "text", 0.5, [], False)

# Wrong in most places, right in some.
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.0, 1.5, 21.4, 21.45, 10**30, 1e300),
    *("", "Accepted", "1", DATE_TIME, "2025-02-30T00:00:00Z", "http://example.com/%zz", "x" * 20_000),
    *([], [None], [[]], {}, {"status": "Accepted"}),
)
_BAD_FORMATS: Mapping[str, tuple[str, ...]] = {
    "date-time": (
        "2025-03-14",
        "2025-03-14 09:26:53Z",
        "2025-02-29T00:00:00Z",
        "2025-03-14T24:00:00Z",
        DATE_TIME + "\n",
        *_DATE_TIMES_16,
        *_DATE_TIMES_2X,
    ),
    "uri": (
        "/files/firmware.bin",
        "http://example.com/a b",
        "https://example.com/%4",
        "1http://example.com",
        URI + "\n",
    ),
}
_EXTRA_NAMES = ("extra", "customData", "vendorId", "status", "Status", "idTag", "", "a b", "\u00e9", "__class__")

_NOTHING = object()

T = TypeVar("T")
Path = tuple[str | int, ...]


def messages(version: Version) -> list[Message]:
    """Return every message of a version; a SEND has a request only."""
    known = catalogue(version)
    found: list[Message] = []
    for action in known.actions:
        found.append((version, action, "request"))
        if not known.is_send(action):
            found.append((version, action, "response"))
    return found


def minimal(version: str, action: str, kind: Kind) -> dict[str, Any]:
    """Return a right payload with the required fields only, and one item in each list; always the same one."""
    return _payload(version, action, kind, lambda name: False)


def full(version: str, action: str, kind: Kind) -> dict[str, Any]:
    """Return a right payload with every field there is, and two items in each list; always the same one."""
    return _payload(version, action, kind, lambda name: True, items=2)


def arbitrary(version: str, action: str, kind: Kind, random: Random) -> dict[str, Any]:
    """Return a right payload with fields, lengths and values as ``random`` has it."""
    return _payload(version, action, kind, lambda name: random.random() < 0.6, random)


def _payload(
    version: str,
    action: str,
    kind: Kind,
    wanted: Callable[[str], bool],
    random: Random | None = None,
    items: int = 1,
) -> dict[str, Any]:
    schema = catalogue(version).schema(action, kind)
    payload: dict[str, Any] = _Maker(version, schema["$defs"], wanted, random, items).value("", schema)
    return payload


class _Maker:
    """Makes one payload; without ``random`` the values are always the same."""

    def __init__(
        self, version: str, definitions: Schema, wanted: Callable[[str], bool], random: Random | None, items: int
    ) -> None:
        self._formats = _FORMATS[version]
        self._definitions = definitions
        self._wanted = wanted
        self._random = random
        self._items = items

    def value(self, name: str, schema: Schema) -> Any:
        schema = _resolved(schema, self._definitions)
        if "type" not in schema:
            return self._one_of(_ANYTHING)
        make: Callable[[str, Schema], Any] = getattr(self, "_" + schema["type"])
        return make(name, schema)

    def _object(self, name: str, schema: Schema) -> dict[str, Any]:
        required = schema.get("required", ())
        fields = schema["properties"].items()
        made = {field: self.value(field, part) for field, part in fields if field in required or self._wanted(field)}
        if schema.get("additionalProperties", True) and self._wanted("extra"):
            made["extra"] = self._one_of(_ANYTHING)
        return made

    def _array(self, name: str, schema: Schema) -> list[Any]:
        least = schema.get("minItems", 0)
        count = self._random.randint(least, least + 2) if self._random else max(least, self._items)
        return [self.value(name, schema["items"]) for _ in range(min(count, schema.get("maxItems", count)))]

    def _string(self, name: str, schema: Schema) -> str:
        if "enum" in schema:
            choices: list[str] = schema["enum"]
            return self._one_of(choices)
        if "format" in schema:
            return self._one_of(self._formats[schema["format"]])
        longest = schema.get("maxLength", 100)
        if self._random and self._random.random() < 0.5:
            return "é" * self._random.choice((0, 1, longest - 1, longest))
        return _STRINGS.get(name, name)[:longest]

    def _integer(self, name: str, schema: Schema) -> int:
        return self._one_of(_within(schema, (1, 0, -1, 7, 2**31 - 1, 10**12)))

    def _number(self, name: str, schema: Schema) -> float:
        return self._one_of(_within(schema, (16.5, 16, 0.1, 21.4, 32.0, 0, -0.5)))

    def _boolean(self, name: str, schema: Schema) -> bool:
        return self._one_of((True, False))

    def _one_of(self, values: Sequence[T]) -> T:
        return self._random.choice(values) if self._random else values[0]


def _within(schema: Schema, values: Sequence[float]) -> list[Any]:
    """Return those of the numbers that lie within the limits of a schema."""
    least, most = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    return [value for value in values if least <= value <= most]


def mutations(version: str, action: str, kind: Kind) -> Iterator[Any]:
    """Yield more than 200 payloads that each differ from the full one in one place; always the same ones.

    A field is dropped, added or given another type, made too long or exactly as long as it may be; a list is emptied,
    an enum value misspelt and so on, at every depth.
    """
    payload = full(version, action, kind)
    schema = catalogue(version).schema(action, kind)
    for path, value, part in places(payload, schema, schema["$defs"]):
        for new in (*JUNK, *_edits(value, _resolved(part, schema["$defs"]))):
            yield replaced(payload, path, new)
    for name in _EXTRA_NAMES:
        for value in JUNK:
            yield {**payload, name: value}


def sample(version: str, action: str, kind: Kind, most: int) -> list[Any]:
    """Return up to ``most`` of the `mutations`, always the same ones, evenly over all fields of all types.

    The fields of a type that stands in many places count once, and are changed now here, now there. Half of what a
    field is given is made for it, half is junk.
    """
    random = Random(f"{version} {action} {kind}")
    # One item in each list: with two of two of two the large messages of 2.x take minutes.
    payload = _payload(version, action, kind, lambda name: True)
    schema = catalogue(version).schema(action, kind)
    fields: dict[int, list[tuple[Path, Any, Schema]]] = {}
    for place in places(payload, schema, schema["$defs"]):
        fields.setdefault(id(place[2]), []).append(place)
    queues = [_changes(field, schema["$defs"], random) for field in fields.values()]
    queues.append(((), {**payload, name: value}) for value in random.sample(JUNK, len(JUNK)) for name in _EXTRA_NAMES)
    # One of each field in turn, until enough are there or none is left.
    rounds = itertools.zip_longest(*queues)
    found = (change for changes in rounds for change in changes if change is not None)
    return [replaced(payload, path, new) for path, new in itertools.islice(found, most)]


def _changes(
    field: Sequence[tuple[Path, Any, Schema]], definitions: Schema, random: Random
) -> Iterator[tuple[Path, Any]]:
    """Yield a field's mutations in an order of ``random``'s: where to put what."""
    _, value, schema = field[0]
    edits = list(_edits(value, _resolved(schema, definitions)))
    random.shuffle(edits)
    junk = random.sample(JUNK, len(JUNK))
    for pair in itertools.zip_longest(edits, junk, fillvalue=_NOTHING):
        for new in pair:
            if new is not _NOTHING:
                yield random.choice(field)[0], new


def places(value: Any, schema: Schema, definitions: Schema) -> Iterator[tuple[Path, Any, Schema]]:
    """Yield each place of a right payload: its path, the value there, and the value's schema, which may be a $ref."""
    yield (), value, schema
    schema = _resolved(schema, definitions)
    inside: Iterator[tuple[str | int, Any, Schema]] = iter(())
    if isinstance(value, dict):
        fields: Schema = schema.get("properties", {})
        inside = ((name, part, fields[name]) for name, part in value.items() if name in fields)
    elif isinstance(value, list):
        inside = ((index, part, schema["items"]) for index, part in enumerate(value))
    for key, part, part_schema in inside:
        for path, deeper, deeper_schema in places(part, part_schema, definitions):
            yield (key, *path), deeper, deeper_schema


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    return definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def replaced(payload: Any, path: Path, new: Any) -> Any:
    """Return a copy of the payload with another value at the path."""
    if not path:
        return new
    key, *rest = path
    changed = payload.copy()
    changed[key] = replaced(payload[key], tuple(rest), new)
    return changed


def _edits(value: Any, schema: Schema) -> Iterator[Any]:
    """Yield other values for a place, some of them right: what its schema makes interesting."""
    edits: Mapping[str, Callable[[Any, Schema], Iterator[Any]]] = {
        "object": _object_edits,
        "array": _array_edits,
        "string": _string_edits,
        "number": _number_edits,
        "integer": _number_edits,
    }
    if schema.get("type") in edits:
        yield from edits[schema["type"]](value, schema)


def _object_edits(value: dict[str, Any], schema: Schema) -> Iterator[Any]:
    for name, part in value.items():
        rest = {key: other for key, other in value.items() if key != name}
        yield rest
        yield {**rest, name.swapcase(): part}
    yield {**value, "extra": None}
    yield [value]


def _array_edits(value: list[Any], schema: Schema) -> Iterator[Any]:
    yield value[:1]
    yield value * 3
    yield value[0]
    yield [*value, None]
    yield {"0": value[0]}


def _string_edits(value: str, schema: Schema) -> Iterator[Any]:
    for choice in schema.get("enum", ()):
        yield choice
        yield choice.swapcase()
        yield choice + " "
    if "maxLength" in schema:
        longest = schema["maxLength"]
        yield from ("\u00e9" * longest, "\U0001f50c" * longest, "x" * (longest + 1))
    yield from _BAD_FORMATS.get(schema.get("format", ""), ())
    yield [value]


def _number_edits(value: float, schema: Schema) -> Iterator[Any]:
    yield from (2.0, 0.1, 0.7, 0.30000000000000004, 1e-7, -21.4, 1e15, 2**63, str(value), [value])
    for limit in (schema[keyword] for keyword in ("minimum", "maximum") if keyword in schema):
        yield from (limit, float(limit), limit - 1, limit + 1, limit - 0.001, limit + 0.001)


class Counted(dict[str, Any]):
    """An object that counts how often somebody looks at all of its fields."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(dict.fromkeys(names, 1))
        self.looks = 0

    def items(self) -> Any:
        self.looks += 1
        return super().items()

"""Applies `Lenient` to payloads and schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..lenient import Lenient
from .catalogue import Catalogue, Kind

__all__ = ["Normalizer", "check_places", "with_limits"]

Schema = Mapping[str, Any]
_KINDS: tuple[Kind, ...] = ("request", "response")


class Normalizer:
    """Corrects payloads of the peer before validation; leaves what it cannot correct unchanged."""

    def __init__(self, catalogue: Catalogue, lenient: Lenient) -> None:
        self._catalogue = catalogue
        self._lenient = lenient

    def normalize(self, action: str, kind: Kind, payload: Any) -> Any:
        """Return the corrected payload; that of an unknown action unchanged."""
        if not self._catalogue.known(action):
            return payload
        schema = self._catalogue.schema(action, kind)
        return self._value(payload, schema, schema["$defs"], action)

    def _value(self, value: Any, schema: Schema, definitions: Schema, place: str) -> Any:
        schema = _resolved(schema, definitions)
        if isinstance(value, dict):
            return self._object(value, schema, definitions, place)
        if isinstance(value, list):
            items = schema.get("items", {})
            return [self._value(item, items, definitions, place) for item in value]
        return self._choice(value, schema["enum"], place) if isinstance(value, str) and "enum" in schema else value

    def _object(self, value: dict[str, Any], schema: Schema, definitions: Schema, place: str) -> dict[str, Any]:
        fields, required = schema.get("properties", {}), schema.get("required", ())
        return {
            name: self._value(part, fields[name], definitions, f"{place}.{name}") if name in fields else part
            for name, part in value.items()
            if not (part is None and self._lenient.strip_nulls and name in fields and name not in required)
        }

    def _choice(self, value: str, choices: Sequence[str], place: str) -> str:
        if value in choices:
            return value
        spellings = self._lenient.spellings.get(place, {})
        if value in spellings:
            return spellings[value]
        if self._lenient.any_case_enums:
            folded = value.casefold()
            return next((choice for choice in choices if choice.casefold() == folded), value)
        return value


def with_limits(catalogue: Catalogue, limits: Mapping[str, int]) -> Catalogue:
    """Return the catalogue with other maximum lengths at the places that exist in it."""
    changed: dict[str, Mapping[str, Any]] = {}
    for place, limit in limits.items():
        action, path = _split_place(place, catalogue)
        for kind, _, definitions in _messages(action, catalogue):
            entry = changed.get(action, catalogue.entry(action))
            schema = _with_limit(entry[kind], path, limit, definitions)
            changed[action] = {**entry, kind: schema if schema is not None else entry[kind]}
    return catalogue.extended(changed)


def _with_limit(schema: Schema, path: Sequence[str], limit: int, definitions: Schema) -> Schema | None:
    """Return the schema with another limit at a path, or None if the path has no string or list."""
    schema = _resolved(schema, definitions)
    if not path:
        keyword = {"string": "maxLength", "array": "maxItems"}.get(schema.get("type", ""))
        return None if keyword is None or "enum" in schema else {**schema, keyword: limit}
    if schema.get("type") == "array":
        items = _with_limit(schema["items"], path, limit, definitions)
        return None if items is None else {**schema, "items": items}
    name, *rest = path
    fields = schema.get("properties", {})
    field = _with_limit(fields[name], rest, limit, definitions) if name in fields else None
    return None if field is None else {**schema, "properties": {**fields, name: field}}


def check_places(lenient: Lenient, catalogues: Sequence[Catalogue]) -> None:
    """Raise ValueError for a place that exists in no message, or has the wrong type for its option."""
    for place in lenient.max_lengths:
        schemas = (
            _with_limit(schema, path, 1, definitions) for schema, definitions, path in _schemas_at(place, catalogues)
        )
        if all(schema is None for schema in schemas):
            raise ValueError(f"max_lengths: no message has a string or list at {place!r}")
    for place, choices in lenient.spellings.items():
        known = {choice for schema in _schemas_at(place, catalogues) for choice in _choices(*schema)}
        if not known:
            raise ValueError(f"spellings: no message has an enumeration at {place!r}")
        for wrong, right in choices.items():
            if right not in known:
                raise ValueError(f"spellings[{place!r}]: {wrong!r} is mapped to {right!r}, which is not a value of it")


def _schemas_at(place: str, catalogues: Sequence[Catalogue]) -> Iterator[tuple[Schema, Schema, Sequence[str]]]:
    """Yield the schemas of a place's action, each with the shared types and the path of the place in it."""
    for catalogue in catalogues:
        action, path = _split_place(place, catalogue)
        yield from ((schema, definitions, path) for _, schema, definitions in _messages(action, catalogue))


def _messages(action: str, catalogue: Catalogue) -> Iterator[tuple[Kind, Schema, Schema]]:
    for kind in _KINDS if catalogue.known(action) else ():
        if kind in catalogue.entry(action):
            yield kind, catalogue.entry(action)[kind], catalogue.schema(action, kind)["$defs"]


def _split_place(place: str, catalogue: Catalogue) -> tuple[str, Sequence[str]]:
    """Return the action and the path of a place; the name of a vendor action may contain dots."""
    parts = place.split(".")
    names = (".".join(parts[:length]) for length in range(1, len(parts)))
    action = next((name for name in names if catalogue.known(name)), place)
    return action, parts[action.count(".") + 1 :]


def _choices(schema: Schema, definitions: Schema, path: Sequence[str]) -> Sequence[str]:
    schema = _resolved(schema, definitions)
    if schema.get("type") == "array":
        return _choices(schema["items"], definitions, path)
    if not path:
        choices: Sequence[str] = schema.get("enum", ())
        return choices
    fields = schema.get("properties", {})
    return _choices(fields[path[0]], definitions, path[1:]) if path[0] in fields else ()


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    resolved: Schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return resolved

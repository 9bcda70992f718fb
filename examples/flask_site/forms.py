"""A form from the schema of an action's request, and a payload from the form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ocppsync import action_names, message_schema

__all__ = ["Field", "actions", "fields", "payload_of"]

Kind = Literal["text", "number", "choice", "lines", "json"]
_WORDS: Mapping[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True)
class Field:
    """An input of a form."""

    name: str
    """Where its value goes: ``chargingProfile.stackLevel``."""
    kind: Kind
    required: bool
    type: str
    choices: tuple[str, ...] = ()
    hint: str = ""
    longest: int | None = None


def actions() -> list[str]:
    """Return what a central system may send to a charger."""
    return action_names("1.6", sender="central_system")


def fields(action: str) -> list[Field]:
    """Return the inputs for an action; raises ValueError for an unknown one."""
    schema = message_schema(action, "request", "1.6")
    return list(_fields(schema, schema["$defs"], "", required=True))


def _fields(schema: Mapping[str, Any], types: Mapping[str, Any], prefix: str, *, required: bool) -> Iterator[Field]:
    needed = schema.get("required", ())
    # What has to be filled in comes first.
    for name, sort in sorted(schema.get("properties", {}).items(), key=lambda item: item[0] not in needed):
        resolved = _resolved(sort, types)
        wanted = required and name in needed
        if resolved["type"] == "object" and wanted:
            yield from _fields(resolved, types, f"{prefix}{name}.", required=True)
        else:
            yield _field(f"{prefix}{name}", resolved, types, wanted)


def _field(name: str, schema: Mapping[str, Any], types: Mapping[str, Any], required: bool) -> Field:
    kind: str = schema["type"]
    if kind == "boolean":
        return Field(name, "choice", required, kind, tuple(_WORDS))
    if "enum" in schema:
        return Field(name, "choice", required, kind, tuple(schema["enum"]))
    if kind in ("integer", "number"):
        return Field(name, "number", required, kind)
    if kind == "array" and _resolved(schema["items"], types)["type"] == "string":
        return Field(name, "lines", required, kind, hint="one a line")
    if kind in ("array", "object"):
        return Field(name, "json", required, kind, hint="JSON")
    hint = {"date-time": "2030-12-31T12:00:00Z", "uri": "https://…"}.get(schema.get("format", ""), "")
    return Field(name, "text", required, kind, hint=hint, longest=schema.get("maxLength"))


def _resolved(schema: Mapping[str, Any], types: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = types[schema["$ref"].rpartition("/")[2]]
    return schema


def payload_of(action: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the payload that somebody has filled in; what was left empty is left out.

    Raises:
        ValueError: something cannot be read as what it has to be; all else is found when it is sent.
    """
    payload: dict[str, Any] = {}
    for field in fields(action):
        text = form.get(field.name, "").strip()
        if text:
            *path, last = field.name.split(".")
            place = payload
            for step in path:
                place = place.setdefault(step, {})
            place[last] = _value(field, text)
    return payload


def _value(field: Field, text: str) -> Any:
    if field.kind == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if field.type == "boolean":
        return _WORDS.get(text, text)
    if field.type == "string":
        return text
    try:
        return int(text) if field.type == "integer" else json.loads(text)
    except ValueError:
        wanted = {"integer": "a whole number", "number": "a number"}.get(field.type, "JSON")
        raise ValueError(f"{field.name} must be {wanted}") from None

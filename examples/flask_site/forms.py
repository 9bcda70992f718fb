"""Builds a form from the schema of a request, and a payload from the submitted form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ocppsync import action_names, message_schema

__all__ = ["Field", "actions", "fields", "payload_of"]

Kind = Literal["text", "number", "choice", "lines", "json"]
_BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True)
class Field:
    """An input of a form."""

    name: str
    """The path of its value in the payload, such as ``chargingProfile.stackLevel``."""
    kind: Kind
    required: bool
    type: str
    choices: tuple[str, ...] = ()
    hint: str = ""
    max_length: int | None = None


def actions() -> list[str]:
    """Return the actions that a central system may send to a charger."""
    return action_names("1.6", sender="central_system")


def fields(action: str) -> list[Field]:
    """Return the inputs for an action; raises ValueError if it is unknown."""
    schema = message_schema(action, "request", "1.6")
    return list(_fields(schema, schema["$defs"], "", required=True))


def _fields(schema: Mapping[str, Any], types: Mapping[str, Any], prefix: str, *, required: bool) -> Iterator[Field]:
    required_names = schema.get("required", ())
    # Required fields come first.
    for name, value in sorted(schema.get("properties", {}).items(), key=lambda item: item[0] not in required_names):
        resolved = _resolved(value, types)
        is_required = required and name in required_names
        if resolved["type"] == "object" and is_required:
            yield from _fields(resolved, types, f"{prefix}{name}.", required=True)
        else:
            yield _field(f"{prefix}{name}", resolved, types, is_required)


def _field(name: str, schema: Mapping[str, Any], types: Mapping[str, Any], required: bool) -> Field:
    kind: str = schema["type"]
    if kind == "boolean":
        return Field(name, "choice", required, kind, tuple(_BOOLEANS))
    if "enum" in schema:
        return Field(name, "choice", required, kind, tuple(schema["enum"]))
    if kind in ("integer", "number"):
        return Field(name, "number", required, kind)
    if kind == "array" and _resolved(schema["items"], types)["type"] == "string":
        return Field(name, "lines", required, kind, hint="one per line")
    if kind in ("array", "object"):
        return Field(name, "json", required, kind, hint="JSON")
    hint = {"date-time": "2030-12-31T12:00:00Z", "uri": "https://…"}.get(schema.get("format", ""), "")
    return Field(name, "text", required, kind, hint=hint, max_length=schema.get("maxLength"))


def _resolved(schema: Mapping[str, Any], types: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = types[schema["$ref"].rpartition("/")[2]]
    return schema


def payload_of(action: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the payload of a submitted form, without the empty fields.

    Raises:
        ValueError: a field is not a number or JSON. `send_request` finds all other errors.
    """
    payload: dict[str, Any] = {}
    for field in fields(action):
        text = form.get(field.name, "").strip()
        if text:
            *path, last = field.name.split(".")
            target = payload
            for step in path:
                target = target.setdefault(step, {})
            target[last] = _value(field, text)
    return payload


def _value(field: Field, text: str) -> Any:
    if field.kind == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if field.type == "boolean":
        return _BOOLEANS.get(text, text)
    if field.type == "string":
        return text
    try:
        return int(text) if field.type == "integer" else json.loads(text)
    except ValueError:
        expected = {"integer": "a whole number", "number": "a number"}.get(field.type, "JSON")
        raise ValueError(f"{field.name} must be {expected}") from None

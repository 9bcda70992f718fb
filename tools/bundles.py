"""Reads the schema bundles, maps schemas to Python types, and lays out generated source."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

LINE_LENGTH = 120
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


class Side(NamedTuple):
    """One end of a connection."""

    name: str
    term: str
    peer: str
    initiator: str
    """The value of ``initiator`` in a bundle for messages that only this side may send."""
    peer_parameters: tuple[str, ...] = ()
    """The parameters that select the peer, for a side with several peers."""


CENTRAL_SYSTEM = Side("CentralSystem", "central system", "charge point", "csms", ("charge_point_id: str",))
CHARGE_POINT = Side("ChargePoint", "charge point", "central system", "station")
SIDES = (CENTRAL_SYSTEM, CHARGE_POINT)


class Message(NamedTuple):
    """One action of a bundle."""

    action: str
    initiator: str
    block: str
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None = None
    """None for a SEND, which has no answer (4/21 §4.2.4)."""

    @property
    def literal(self) -> str:
        return f'Literal["{self.action}"]'


class Bundle(NamedTuple):
    """The messages of one version of OCPP."""

    file: str
    version: str
    definitions: Mapping[str, Mapping[str, Any]]
    messages: Sequence[Message]

    @property
    def module(self) -> str:
        return "v" + self.version.replace(".", "")


def read_bundle(path: Path) -> Bundle:
    """Return the bundle in a file, with its actions sorted."""
    bundle = json.loads(path.read_text(encoding="utf-8"))
    messages = [Message(action, **facts) for action, facts in sorted(bundle["actions"].items())]
    return Bundle(path.name, bundle["version"], bundle["$defs"], messages)


def sent_by(side: Side, messages: Iterable[Message]) -> list[Message]:
    """Return the messages that ``side`` may send."""
    return [message for message in messages if message.initiator in (side.initiator, "both")]


def received_by(side: Side, messages: Iterable[Message]) -> list[Message]:
    """Return the messages that the peers of ``side`` may send."""
    return [message for message in messages if message.initiator != side.initiator]


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the Python type of a schema; a plain dict for an object that allows additional keys.

    Raises:
        ValueError: the schema has no Python type. Objects without additional keys must be in ``$defs``.
    """
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return f"Literal[{', '.join(quoted(schema['enum']))}]"
    kind = schema.get("type")
    if kind is None:
        return "Any"
    if kind == "array":
        return f"list[{type_of(schema['items'])}]"
    if kind == "object" and not is_closed(schema):
        return "dict[str, Any]"
    if kind not in SCALARS:
        raise ValueError(f"no Python type for {schema}")
    return SCALARS[kind]


def is_closed(schema: Mapping[str, Any]) -> bool:
    """Return whether the schema of an object allows no additional keys."""
    return schema.get("additionalProperties") is False


def quoted(values: Iterable[str]) -> list[str]:
    """Return each value as a Python literal."""
    return [json.dumps(value) for value in values]


def layout(head: str, items: Sequence[str], tail: str, indent: int = 0, explode: bool = False) -> str:
    """Return ``head``, ``items`` and ``tail`` in the first layout that fits: on one line, on three, or one item a line.

    ``explode`` skips the layout on three lines, as the formatter does between square brackets.
    """
    margin = " " * indent
    joined = ", ".join(items)
    lines = [f"{margin}{head}{joined}{tail}"]
    if len(lines[0]) > LINE_LENGTH:
        lines = [f"{margin}{head}", f"{margin}    {joined}", f"{margin}{tail}"]
        if explode or len(lines[1]) > LINE_LENGTH:
            lines[1:2] = [f"{margin}    {item}," for item in items]
    return "\n".join(lines) + "\n"

"""What the schema bundles say, for those who write source from it, and how such source is laid out."""

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
    """How the bundle marks the messages that only this side may send."""
    peer_parameters: tuple[str, ...] = ()
    """What says which peer is meant, where there is more than one."""


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
    """None: it is a SEND, which has no answer (4/21 §4.2.4)."""

    @property
    def literal(self) -> str:
        return f'Literal["{self.action}"]'


class Bundle(NamedTuple):
    """The messages of one version, and the module that gets their types."""

    file: str
    version: str
    definitions: Mapping[str, Mapping[str, Any]]
    messages: Sequence[Message]

    @property
    def module(self) -> str:
        return "v" + self.version.replace(".", "")


def read_bundle(path: Path) -> Bundle:
    """Return what is in the file of a bundle, the actions sorted."""
    bundle = json.loads(path.read_text(encoding="utf-8"))
    messages = [Message(action, **facts) for action, facts in sorted(bundle["actions"].items())]
    return Bundle(path.name, bundle["version"], bundle["$defs"], messages)


def sent_by(side: Side, messages: Iterable[Message]) -> list[Message]:
    """Return what ``side`` may send."""
    return [message for message in messages if message.initiator in (side.initiator, "both")]


def received_by(side: Side, messages: Iterable[Message]) -> list[Message]:
    """Return what the peers of ``side`` may send."""
    return [message for message in messages if message.initiator != side.initiator]


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the Python type of a schema; an object that allows more keys than it names is a plain dict.

    Raises:
        ValueError: it has none here; objects that name all their keys belong into ``$defs``.
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
    """Tell whether the schema of an object names all the keys that it allows."""
    return schema.get("additionalProperties") is False


def quoted(values: Iterable[str]) -> list[str]:
    """Return each value as a literal of Python's."""
    return [json.dumps(value) for value in values]


def layout(head: str, items: Sequence[str], tail: str, indent: int = 0, explode: bool = False) -> str:
    """Return ``head``, ``items`` and ``tail`` on one line, on three, or with one item a line, whichever fits first.

    ``explode`` passes over the three lines, as the formatter does between square brackets.
    """
    margin = " " * indent
    joined = ", ".join(items)
    lines = [f"{margin}{head}{joined}{tail}"]
    if len(lines[0]) > LINE_LENGTH:
        lines = [f"{margin}{head}", f"{margin}    {joined}", f"{margin}{tail}"]
        if explode or len(lines[1]) > LINE_LENGTH:
            lines[1:2] = [f"{margin}    {item}," for item in items]
    return "\n".join(lines) + "\n"

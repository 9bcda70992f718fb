"""The versions of OCPP, their actions, senders and schemas; each schema bundle is read on first use."""

from __future__ import annotations

import copy
import functools
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "COMPRESSED_BY_DEFAULT",
    "SUBPROTOCOLS",
    "SUBPROTOCOL_OF",
    "Catalogue",
    "Kind",
    "Role",
    "Version",
    "action_names",
    "catalogue",
    "closest",
    "message_schema",
    "unknown_action",
]

Version = Literal["1.6", "2.0.1", "2.1"]
"""The supported versions of OCPP."""
Role = Literal["charge_point", "central_system"]
"""The two ends of a connection (J16 §3.1)."""
Kind = Literal["request", "response"]
"""The payload of a CALL or SEND, or that of a CALLRESULT."""
Initiator = Literal["station", "csms", "both"]
"""The permitted sender of an action's CALL or SEND, as named in the schema bundles."""

_VERSIONS: tuple[tuple[Version, str, str], ...] = (
    # version, WebSocket subprotocol (J16 §3.2, 4/201 §3.1.2, 4/21 §3.1.2), schema bundle
    ("1.6", "ocpp1.6", "ocpp16.json"),
    ("2.0.1", "ocpp2.0.1", "ocpp201.json"),
    ("2.1", "ocpp2.1", "ocpp21.json"),
)
SUBPROTOCOLS: Mapping[str, Version] = {subprotocol: version for version, subprotocol, _ in _VERSIONS}
"""The version of each ``Sec-WebSocket-Protocol``."""
SUBPROTOCOL_OF: Mapping[str, str] = {version: subprotocol for version, subprotocol, _ in _VERSIONS}
"""The ``Sec-WebSocket-Protocol`` of each version."""
COMPRESSED_BY_DEFAULT = frozenset({"ocpp2.0.1", "ocpp2.1"})
"""The subprotocols whose specification asks for permessage-deflate (4/201 §3.3, 4/21 §3.4)."""
_BUNDLES: Mapping[str, str] = {version: bundle for version, _, bundle in _VERSIONS}

_SENDERS: Mapping[Initiator, frozenset[Role]] = {
    "station": frozenset({"charge_point"}),
    "csms": frozenset({"central_system"}),
    "both": frozenset({"charge_point", "central_system"}),
}


class Catalogue:
    """The messages of one version; get it from `catalogue`.

    Attributes:
        version: such as ``"1.6"``.
        actions: the name of every action, in the order of the bundle.
        definitions: the JSON schemas of the shared types, by name; do not change them.
    """

    def __init__(self, bundle: Mapping[str, Any]) -> None:
        self.version: Version = bundle["version"]
        self.actions: tuple[str, ...] = tuple(bundle["actions"])
        self._entries: Mapping[str, Mapping[str, Any]] = bundle["actions"]
        self.definitions: Mapping[str, Any] = bundle["$defs"]

    def known(self, action: str) -> bool:
        """Return whether this version has the action; names are case-sensitive."""
        return action in self._entries

    def initiator(self, action: str) -> Initiator:
        """Return the permitted sender of the CALL or SEND; raises KeyError for an unknown action."""
        initiator: Initiator = self._entries[action]["initiator"]
        return initiator

    def block(self, action: str) -> str:
        """Return the profile or functional block, such as ``"Core"``; raises KeyError for an unknown action."""
        block: str = self._entries[action]["block"]
        return block

    def entry(self, action: str) -> Mapping[str, Any]:
        """Return an action's entry of the bundle; raises KeyError for an unknown action."""
        return self._entries[action]

    def extended(self, entries: Mapping[str, Mapping[str, Any]]) -> Catalogue:
        """Return a catalogue with actions added or replaced; the entries have the format of a bundle."""
        actions = {**self._entries, **entries}
        return Catalogue({"version": self.version, "$defs": self.definitions, "actions": actions})

    def may_send(self, role: Role, action: str) -> bool:
        """Return whether an end of the connection may send the action's CALL or SEND; False for an unknown action."""
        return action in self._entries and role in _SENDERS[self.initiator(action)]

    def is_send(self, action: str) -> bool:
        """Return whether the action is a SEND, which has no response (4/21 §4.2.4); False for an unknown action."""
        return action in self._entries and "response" not in self._entries[action]

    def schema(self, action: str, kind: Kind) -> Mapping[str, Any]:
        """Return the JSON schema of a payload, with the shared types under ``$defs``.

        It is not a copy: do not change it. Raises KeyError for an unknown action, and for the response to a SEND.
        """
        schema = self._entries[action][kind]
        return {**schema, "$defs": {**self.definitions, **schema["$defs"]} if "$defs" in schema else self.definitions}

    def __repr__(self) -> str:
        return f"<Catalogue of OCPP {self.version}: {len(self.actions)} actions>"


def _find_schemas() -> Path:
    """Return the folder of the bundles: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    folders = [package / "schemas", package.parent / "schemas"]
    for folder in folders:
        if all((folder / bundle).is_file() for bundle in _BUNDLES.values()):
            return folder
    raise ImportError(
        f"schema bundles ({', '.join(_BUNDLES.values())}) not found in {' or '.join(map(str, folders))}; "
        "reinstall ocppsync, or check out the whole repository"
    )


_SCHEMAS = _find_schemas()
_reading = threading.Lock()  # so that each bundle is read only once
# No process is forked while a thread holds it, for in the child it would stay locked.
os.register_at_fork(before=_reading.acquire, after_in_parent=_reading.release, after_in_child=_reading.release)


def catalogue(version: str) -> Catalogue:
    """Return the messages of ``version``; the first call reads its bundle.

    Thread-safe. Raises ValueError for an unsupported version.
    """
    if version not in _BUNDLES:
        raise ValueError(f"unsupported OCPP version {version!r}; supported: {', '.join(_BUNDLES)}")
    with _reading:
        return _read(version)


@functools.cache
def _read(version: str) -> Catalogue:
    return Catalogue(json.loads((_SCHEMAS / _BUNDLES[version]).read_text(encoding="utf-8")))


def action_names(version: str = "1.6", sender: Role | None = None) -> list[str]:
    """Return the actions of a version of OCPP, sorted.

    Args:
        version: such as ``"2.0.1"``.
        sender: only the actions whose request this end may send; None: all actions.

    Raises:
        ValueError: the version is not supported.
    """
    known = catalogue(version)
    return sorted(action for action in known.actions if sender is None or known.may_send(sender, action))


def message_schema(action: str, kind: Kind = "request", version: str = "1.6") -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a payload, with the types that it refers to in ``$defs``.

    It is a copy, which you may change. It is the schema of the specification: `VendorAction` and `Lenient` have no
    effect on it.

    Args:
        action: the OCPP action.
        kind: the payload: ``"request"`` or ``"response"``.
        version: such as ``"2.0.1"``.

    Raises:
        ValueError: the version is not supported, or has no such message.
    """
    known = catalogue(version)
    if not known.known(action):
        raise ValueError(unknown_action([known], action))
    if kind == "response" and known.is_send(action):
        raise ValueError(f"{action} is a SEND: it has no response")
    schema = dict(known.schema(action, kind))
    types: Mapping[str, Any] = schema.pop("$defs")
    schema["$defs"] = {name: types[name] for name in sorted(_referenced(schema, types, set()))}
    return copy.deepcopy(schema)


def _referenced(part: Any, types: Mapping[str, Any], found: set[str]) -> set[str]:
    """Return the types that a part of a schema refers to, directly and through other types."""
    if isinstance(part, Mapping):
        name = str(part.get("$ref", "")).rpartition("/")[2]
        if name and name not in found:
            found.add(name)
            _referenced(types[name], types, found)
    for inner in part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ():
        _referenced(inner, types, found)
    return found


def unknown_action(catalogues: Sequence[Catalogue], action: str) -> str:
    """Return the error text for an action that none of the versions has, with the closest known name."""
    *others, last = (messages.version for messages in catalogues)
    have = f"{', '.join(others)} and {last} have" if others else f"{last} has"
    # The name comes from the peer and may be long.
    text = f"OCPP {have} no action {action[:40]!r}"
    nearest = closest(action, [name for messages in catalogues for name in messages.actions])
    return f"{text}; did you mean {nearest!r}?" if nearest else text


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate closest to ``word``, ignoring case; None if there is no close one."""
    import difflib

    folded = {candidate.lower(): candidate for candidate in candidates}
    matches = difflib.get_close_matches(word[:40].lower(), folded, n=1)
    return folded[matches[0]] if matches else None

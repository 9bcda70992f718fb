"""Splits requests that are longer than a charge point accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import json_text
from .options import check_whole

__all__ = ["split_request"]

_LISTS: Mapping[str, str] = {
    "ClearVariableMonitoring": "id",
    "GetConfiguration": "key",
    "GetVariables": "getVariableData",
    "SetVariableMonitoring": "setMonitoringData",
    "SetVariables": "setVariableData",
}
"""The actions that handle each item of one list by itself, and the field of the list.

Not GetReport and GetMonitoringReport: each request starts a report of its own and needs its own requestId. Not
SendLocalList: the order of the parts, their updateType and their version numbers depend on each other (2/201 D01).
"""
_FRAME = 46  # the bytes of [2,"","",] and of the longest message id


def split_request(
    action: str,
    payload: Mapping[str, Any],
    *,
    items_per_message: int | None = None,
    bytes_per_message: int | None = None,
) -> list[Any]:
    """Return the payloads of several requests that together ask for what one request would.

    A charge point says how much it accepts in variables: ItemsPerMessage and BytesPerMessage, with the action as their
    instance, in 2.x (2/201 B05.FR.11, B06.FR.05, N04.FR.09, N06.FR.04), and GetConfigurationMaxKeys in 1.6 (C16
    §9.1.9). The items keep their order, and each payload keeps the other fields. The answers come one for each request;
    their lists of results, one after the other, are those of the whole.

    Args:
        action: ClearVariableMonitoring, GetConfiguration, GetVariables, SetVariableMonitoring or SetVariables.
        payload: the request; the result is a list of it alone if it is short enough, or has no items.
        items_per_message: the largest number of items in one request; None: any number.
        bytes_per_message: the largest size of one request in bytes, as a whole CALL; None: any size.

    Raises:
        ValueError: requests of the action cannot be split, a limit is not a whole number above 0, or one item alone is
            longer than ``bytes_per_message``.
        TypeError: the list of the payload is not a list, or its items cannot be written as JSON.
    """
    if action not in _LISTS:
        raise ValueError(f"requests for {action} cannot be split: expected one of {', '.join(_LISTS)}")
    for name, limit in (("items_per_message", items_per_message), ("bytes_per_message", bytes_per_message)):
        if limit is not None:
            check_whole(**{name: limit})
    field = _LISTS[action]
    items = payload.get(field, [])
    if not isinstance(items, list):
        raise TypeError(f"{field} of {action} is {type(items).__name__}: expected a list")
    room = None
    if bytes_per_message is not None:
        room = bytes_per_message - _FRAME - len(action) - _size({**payload, field: []})
    parts = _parts(items, items_per_message or len(items), room)
    return [{**payload, field: part} for part in parts] or [dict(payload)]


def _parts(items: Sequence[Any], most: int, room: int | None) -> Iterator[list[Any]]:
    """Yield the items in lists of at most ``most``, and of at most ``room`` bytes with the commas between them."""
    part: list[Any] = []
    used = 0
    for number, item in enumerate(items):
        size = 0 if room is None else _size(item)
        if room is not None and size > room:
            raise ValueError(f"item {number} has {size} bytes, and bytes_per_message leaves {max(room, 0)} for it")
        if part and (len(part) == most or (room is not None and used + 1 + size > room)):
            yield part
            part, used = [], 0
        used += size + bool(part)
        part.append(item)
    if part:
        yield part


def _size(value: Any) -> int:
    return len(json_text.write(value).encode())

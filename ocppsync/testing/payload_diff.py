"""The differences between an expected and an actual payload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["ABSENT", "payload_differences"]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""Stands for the value of a missing field."""


def payload_differences(
    expected: Any, actual: Any, *, ignored: frozenset[str] = frozenset(), subset: bool = False, path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path, the expected and the actual value of each difference.

    Args:
        expected, actual: the payloads, as JSON values.
        ignored: names of fields that may differ, at any depth.
        subset: whether ``actual`` may have additional fields.
        path: the path of both values, such as ``"meterValue[0]"``; empty for the payload itself.
    """
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        added = () if subset else [name for name in actual if name not in expected]
        pairs = [
            (f"{path}.{name}" if path else str(name), expected.get(name, ABSENT), actual.get(name, ABSENT))
            for name in (*expected, *added)
            if name not in ignored
        ]
    elif isinstance(expected, (list, tuple)) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [(f"{path}[{index}]", *both) for index, both in enumerate(zip(expected, actual, strict=True))]
    else:
        if expected != actual:
            yield path, expected, actual
        return
    for inner, left, right in pairs:
        yield from payload_differences(left, right, ignored=ignored, subset=subset, path=inner)

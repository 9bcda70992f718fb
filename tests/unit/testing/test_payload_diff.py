"""The differences between two payloads."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.testing.payload_diff import ABSENT, payload_differences


@pytest.mark.parametrize(
    ("expected", "actual", "differences"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": 1}, {}, [("a", 1, ABSENT)]),
        ({}, {"a": 1}, [("a", ABSENT, 1)]),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 2}]}}, [("a.b[0].c", 1, 2)]),
        ({"a": (1, 2)}, {"a": [1, 3]}, [("a[1]", 2, 3)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a", [1, 2], [1])]),
        ({"a": {}}, {"a": []}, [("a", {}, [])]),
        ([], {}, [("", [], {})]),
        ({"now": 1, "a": {"now": 1}}, {"a": {"now": 2}}, []),
    ],
)
def test_differences(expected: Any, actual: Any, differences: list[Any]) -> None:
    assert list(payload_differences(expected, actual, ignored=frozenset({"now"}))) == differences


def test_a_subset_may_lack_fields_at_any_depth() -> None:
    expected, actual = {"a": {"b": 1}, "c": [{}]}, {"a": {"b": 1, "x": 2}, "c": [{"x": 3}], "x": 4}
    assert list(payload_differences(expected, actual, subset=True)) == []
    assert list(payload_differences(actual, expected, subset=True)) == [
        ("a.x", 2, ABSENT),
        ("c[0].x", 3, ABSENT),
        ("x", 4, ABSENT),
    ]

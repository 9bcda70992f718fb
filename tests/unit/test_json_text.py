"""JSON of peers: what is read can be written again, and what cannot be is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocppsync.json_text import MAX_DEPTH, read, rewrite, write

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)


@given(VALUES)
def test_each_value_of_json_is_written_again(value: Any) -> None:
    text = rewrite(value)
    text.encode()
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [r'"\ud83d"', r'{"\udfff":["\ud83d\ud83d"]}', "1e999", "[-1e999]", "9" * 4000, "[" * MAX_DEPTH + "]" * MAX_DEPTH],
)
def test_what_is_read_is_written_again(text: str) -> None:
    assert rewrite(read(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "[", "NaN", "[-Infinity]", "[1] 2", "9" * 5000, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "[" * 100_000],
)
def test_what_cannot_be_written_again_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read(text)


def test_a_key_twice_is_refused_on_request() -> None:
    assert read('[{"a":1,"a":2}]') == [{"a": 2}]
    with pytest.raises(ValueError, match="a key twice"):
        read('[{"a":1,"a":2}]', repeats=False)
    assert read('[{"a":1,"b":{"a":2}}]', repeats=False) == [{"a": 1, "b": {"a": 2}}]


def test_constants_are_replaced_only_where_they_are_numbers() -> None:
    value = {"Infinity": ["NaN", '"Infinity', math.inf, -math.inf], "x\\": math.nan}
    assert json.loads(rewrite(value)) == {"Infinity": ["NaN", '"Infinity', math.inf, -math.inf], "x\\": None}
    with pytest.raises(ValueError):
        write(value)

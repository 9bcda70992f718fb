"""Requests that are split: which actions, by items and by bytes, and what is refused."""

from __future__ import annotations

import itertools
import re
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocppsync import action_names, message_schema, split_request
from ocppsync.rpc import frames
from ocppsync.splitting import _LISTS


def variables(*names: str) -> list[dict[str, Any]]:
    return [{"component": {"name": "C"}, "variable": {"name": name}} for name in names]


def test_five_variables_of_which_four_fit() -> None:
    data = variables(*"abcde")
    parts = split_request("GetVariables", {"getVariableData": data}, items_per_message=4)
    assert parts == [{"getVariableData": data[:4]}, {"getVariableData": data[4:]}]


@pytest.mark.parametrize("limit", [None, 5, 6])
def test_a_request_that_is_short_enough_stays_whole(limit: int | None) -> None:
    payload = {"getVariableData": variables(*"abcde")}
    assert split_request("GetVariables", payload, items_per_message=limit) == [payload]


def test_the_other_fields_are_in_each_part() -> None:
    custom = {"vendorId": "com.example"}
    parts = split_request("ClearVariableMonitoring", {"id": [1, 2, 3], "customData": custom}, items_per_message=2)
    assert parts == [{"id": [1, 2], "customData": custom}, {"id": [3], "customData": custom}]


@pytest.mark.parametrize("payload", [{}, {"key": []}])
def test_without_items_nothing_is_split(payload: dict[str, Any]) -> None:
    """GetConfiguration without keys asks for all of them."""
    assert split_request("GetConfiguration", payload, items_per_message=1) == [payload]


@pytest.mark.parametrize("action", sorted(_LISTS))
def test_the_field_is_the_one_list_of_the_request(action: str) -> None:
    versions = [version for version in ("1.6", "2.0.1", "2.1") if action in action_names(version)]
    assert versions
    for version in versions:
        fields = message_schema(action, "request", version)["properties"]
        assert [name for name, schema in fields.items() if schema.get("type") == "array"] == [_LISTS[action]]


@given(
    names=st.lists(st.text(max_size=20), min_size=1, max_size=12),
    items=st.none() | st.integers(1, 13),
    size=st.integers(250, 1200),
)
def test_parts_are_as_long_as_allowed_and_together_the_whole(names: list[str], items: int | None, size: int) -> None:
    data = variables(*names)
    parts = split_request("SetVariables", {"setVariableData": data}, items_per_message=items, bytes_per_message=size)
    lists = [part["setVariableData"] for part in parts]

    def fits(part: list[Any]) -> bool:
        text = frames.call(str(uuid.uuid4()), "SetVariables", {"setVariableData": part})
        return len(text.encode()) <= size and (items is None or len(part) <= items)

    assert [item for part in lists for item in part] == data
    assert all(part and fits(part) for part in lists)
    assert not any(fits([*part, after[0]]) for part, after in itertools.pairwise(lists))


def test_an_item_that_is_too_long() -> None:
    data = variables("a", "b" * 300)
    with pytest.raises(ValueError, match=r"item 1 has \d+ bytes, and bytes_per_message leaves \d+ for it"):
        split_request("GetVariables", {"getVariableData": data}, bytes_per_message=250)


@pytest.mark.parametrize("action", ["GetReport", "SendLocalList", "Reset"])
def test_an_action_that_cannot_be_split(action: str) -> None:
    with pytest.raises(ValueError, match=f"requests for {action} cannot be split: expected one of ClearVariableM"):
        split_request(action, {}, items_per_message=1)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "4"])
@pytest.mark.parametrize("name", ["items_per_message", "bytes_per_message"])
def test_a_limit_that_is_no_whole_number_above_0(name: str, limit: Any) -> None:
    """A charge point reports its limits as texts, which are easily passed as they are."""
    with pytest.raises(ValueError, match=re.escape(f"{name} must be a whole number above 0, not {limit!r}")):
        split_request("GetVariables", {}, **{name: limit})


def test_a_list_that_is_none() -> None:
    with pytest.raises(TypeError, match="key of GetConfiguration is str: expected a list"):
        split_request("GetConfiguration", {"key": "A"}, items_per_message=1)

"""JSON of peers: what is read can be written again, and what cannot be is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocppsync.json_text import MAX_DEPTH, READABLE_DEPTH, depth_of, read, rewrite, write

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


# The depth.


def levels(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if members is None else 1 + max(map(levels, members), default=0)


BRACKETS = st.text(st.sampled_from('[]{}"\\,\n€'), max_size=6)


@given(
    st.recursive(BRACKETS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(BRACKETS, inner, max_size=3)),
    st.booleans(),
)
def test_the_depth_of_a_text_is_that_of_its_value(value: Any, ascii_only: bool) -> None:
    wide = [{}] * MAX_DEPTH  # so that it is looked at
    text = json.dumps([wide, value, "\ud800" if ascii_only else ""], ensure_ascii=ascii_only)
    assert depth_of(text) == 1 + max(2, levels(value))


def reached(text: str) -> int:
    """Return how deep a decoder may get into a text, however broken that is."""
    depth, deepest, in_string, rest = 0, 0, False, iter(text)
    for character in rest:
        if character == "\\":
            if not in_string:
                break
            next(rest, None)
        elif character == '"':
            in_string = not in_string
        elif not in_string:
            depth += (character in "[{") - (character in "]}")
            deepest = max(deepest, depth)
    return deepest


@given(st.text(st.sampled_from('[]{}"\\,:1 \n'), max_size=60))
def test_no_decoder_gets_deeper_into_a_broken_text(text: str) -> None:
    for whole in ("[" * 150 + text, text + "[" * 150, f'["{"[" * 150}"{text}'):
        assert depth_of(whole) >= reached(whole)


@pytest.mark.parametrize("text", ["[" * 1000, '{"a":' * 1000, '[{"a":' * 500, '"]" [' * 1000, '"\\"]" ,[' * 1000])
def test_the_depth_of_a_text_that_is_cut_off(text: str) -> None:
    assert depth_of(text) == 1000


IN_A_SMALL_STACK = """
import sys, threading
from ocppsync.errors import ProtocolError
from ocppsync.json_text import read, write
from ocppsync.rpc.frames import parse

array, thing = [], {}
array.append(thing)
thing["a"] = array
deepest = "[" * 899 + "1" + "]" * 899

def run():
    for attempt, argument in (
        (read, "[" * 10**5), (parse, "[" * 10**5), (parse, '{"a":' * 10**5), (parse, '[{"a":' * 10**5),
        (parse, "[2,[" + deepest), (parse, f'[2,"7","Reset",{deepest}]'),
        (write, array), (write, {"a": [thing, thing]}),
    ):
        try:
            attempt(argument)
        except (ValueError, ProtocolError) as error:
            print(type(error).__name__)

threading.stack_size(256 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def test_no_depth_crashes_a_thread_with_a_small_stack() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_SMALL_STACK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ValueError", *["ProtocolError"] * 5, *["ValueError"] * 2]


def test_the_deepest_text_that_is_decoded_is_within_the_stack_of_python() -> None:
    assert sys.getrecursionlimit() > READABLE_DEPTH + 50


@given(VALUES)
def test_a_value_is_written_as_json_writes_it(value: Any) -> None:
    expected = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=True)
    try:
        expected.encode()
    except UnicodeEncodeError:
        expected = json.dumps(value, separators=(",", ":"), allow_nan=True)
    try:
        assert write(value) == expected
    except ValueError:
        assert "Infinity" in expected


def test_a_value_in_two_places_does_not_contain_itself() -> None:
    part = {"a": [1]}
    for _ in range(2):
        assert write([part, {"b": part}]) == '[{"a":[1]},{"b":{"a":[1]}}]'
        part["a"].append(part)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="Circular"):
            write(part)
        part["a"].pop()

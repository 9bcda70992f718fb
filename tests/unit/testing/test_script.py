"""Scripts: what is expected, what meets it, and what the report says."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.testing.script import Expectation, ReceivedCall, Script, differences, shown


def expectation(action: str = "Reset", payload: Any = None, times: int | None = 1) -> Expectation:
    return Expectation(action, payload, times, lambda call: None)


def call(action: str = "Reset", **payload: Any) -> ReceivedCall:
    return ReceivedCall(action, payload, "1")


@pytest.mark.parametrize(
    ("wanted", "payload", "reasons"),
    [
        (None, {"type": "Hard"}, []),
        ({}, {"type": "Hard"}, []),
        ({"type": "Hard"}, {"type": "Hard", "more": 1}, []),
        ({"type": "Hard"}, {"type": "Soft"}, ['type is "Soft", not "Hard"']),
        ({"type": "Hard"}, {}, ["type is missing"]),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, ["a.b is 2, not 1"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}, []),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, ["a[0].b is 2, not 1"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a is [1], not [1, 2]"]),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}, ["a is 2, not 1", "b is 1, not 2"]),
        ({"a": 1}, [], ['the payload is [], not {"a": 1}']),
        (lambda payload: payload["a"] > 1, {"a": 2}, []),
    ],
)
def test_differences(wanted: Any, payload: Any, reasons: list[str]) -> None:
    assert differences(wanted, payload) == reasons


def test_a_function_that_returns_false_is_named() -> None:
    def is_soft(payload: Any) -> bool:
        return bool(payload["type"] == "Soft")

    (difference,) = differences(is_soft, {"type": "Hard"})
    assert difference.endswith(
        "test_script.test_a_function_that_returns_false_is_named.<locals>.is_soft returned false"
    )


def test_expectations_of_an_action_are_used_up_in_order() -> None:
    script = Script()
    first, second = script.add(expectation()), script.add(expectation(times=2))
    other = script.add(expectation("ClearCache", times=None))
    assert [script.find(call()) for _ in range(3)] == [first, second, second]
    assert [script.find(call("ClearCache")) for _ in range(2)] == [other, other]
    assert script.report() == []
    assert len(other.calls) == 2


def test_an_expectation_of_another_payload_is_passed_over() -> None:
    script = Script()
    hard = script.add(expectation(payload={"type": "Hard"}))
    soft = script.add(expectation(payload={"type": "Soft"}))
    assert script.find(call(type="Soft")) is soft
    assert script.find(call(type="Hard")) is hard


def test_the_report_tells_what_was_not_expected_and_what_is_missing() -> None:
    script = Script()
    script.add(expectation(payload={"type": "Hard"}))
    twice = script.add(expectation("ClearCache", times=2))
    many = script.add(expectation("GetConfiguration", times=3))
    script.add(expectation("DataTransfer", times=None))
    assert script.find(call(type="Soft")) is None
    assert script.find(call("ClearCache")) is twice
    assert [script.find(call("GetConfiguration")) for _ in range(2)] == [many, many]
    assert script.report() == [
        'Reset {"type": "Soft"} was not expected\n'
        '      does not match Reset with {"type": "Hard"}: type is "Soft", not "Hard"',
        'Reset with {"type": "Hard"} was expected, but not received',
        "ClearCache was expected 2 times, but received once",
        "GetConfiguration was expected 3 times, but received 2 times",
    ]


def test_held_calls_are_answered_at_the_release() -> None:
    done: list[ReceivedCall] = []
    held = Expectation("Reset", None, 1, done.append, hold=True)
    held.hold_back(call())
    held.release()
    held.release()
    assert done == [call()]


def test_shown_values_are_json_and_limited() -> None:
    assert shown({"a": "ä"}) == '{"a": "ä"}'
    assert shown(len) == "len"
    assert len(shown("x" * 1000)) == 303


def test_half_a_surrogate_pair_and_any_depth_can_be_shown() -> None:
    shown(["\ud83d"]).encode()
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert "list" in shown(deep)

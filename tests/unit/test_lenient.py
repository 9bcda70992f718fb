"""The options of tolerance and validation."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.lenient import Lenient, Validation


def test_everything_is_off_by_default() -> None:
    lenient = Lenient()
    assert not lenient.normalizes
    assert not any(vars(lenient).values())


@pytest.mark.parametrize(
    ("switch", "normalizes"),
    [
        ({"strip_nulls": True}, True),
        ({"spellings": {"A.b": {}}}, True),
        ({"any_case_enums": True}, True),
        ({"max_lengths": {"A.b": 1}}, False),
        ({"long_fractions": True}, False),
        ({"short_call_errors": True}, False),
        ({"numeric_ids": True}, False),
        ({"any_identity": True}, False),
    ],
)
def test_the_options_that_change_payloads(switch: Any, normalizes: bool) -> None:
    assert Lenient(**switch).normalizes is normalizes


@pytest.mark.parametrize("limit", [-1, 1.5, True, None, "50"])
def test_a_length_is_a_non_negative_integer(limit: Any) -> None:
    with pytest.raises(ValueError, match=rf"max_lengths\['A.b'\] must be a non-negative integer, not {limit!r}"):
        Lenient(max_lengths={"A.b": 5, "A.c": 0, **{"A.b": limit}})


@pytest.mark.parametrize("choices", [None, "kWh", ["kwh", "kWh"]])
def test_spellings_are_a_mapping(choices: Any) -> None:
    with pytest.raises(ValueError, match=r"spellings\['A.b'\] must map spellings to values, not be"):
        Lenient(spellings={"A.b": choices})


def test_the_mode_of_an_action_overrides_that_of_its_direction() -> None:
    validation = Validation(inbound="warn", inbound_actions={"Heartbeat": "off"}, outbound_actions={"Reset": "warn"})
    assert [validation.of_inbound(action) for action in ("Heartbeat", "Reset")] == ["off", "warn"]
    assert [validation.of_outbound(action) for action in ("Heartbeat", "Reset")] == ["strict", "warn"]
    assert (Validation().of_inbound("Reset"), Validation().of_outbound("Reset")) == ("strict", "strict")


@pytest.mark.parametrize(
    "options",
    [{"inbound": "Strict"}, {"outbound": None}, {"inbound_actions": {"A": True}}, {"outbound_actions": {"A": ""}}],
)
def test_an_unknown_mode_is_refused(options: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown validation mode .*; supported: strict, warn, off$"):
        Validation(**options)

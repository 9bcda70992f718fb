"""What may be asked for beyond the specification, and what is made of payloads that break their schema."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.lenient import Lenient, Validation


def test_everything_is_off_unless_it_is_asked_for() -> None:
    lenient = Lenient()
    assert not lenient.normalizes
    assert not any(vars(lenient).values())


@pytest.mark.parametrize(
    ("switch", "tidies"),
    [
        ({"strip_nulls": True}, True),
        ({"spellings": {"A.b": {}}}, True),
        ({"any_case_enums": True}, True),
        ({"max_lengths": {"A.b": 1}}, False),
        ({"long_fractions": True}, False),
        ({"short_call_errors": True}, False),
        ({"numeric_ids": True}, False),
    ],
)
def test_what_changes_payloads(switch: Any, tidies: bool) -> None:
    assert Lenient(**switch).normalizes is tidies


@pytest.mark.parametrize("limit", [-1, 1.5, True, None, "50"])
def test_a_length_is_a_whole_number(limit: Any) -> None:
    with pytest.raises(ValueError, match=rf"max_lengths\['A.b'\] must be a whole number, not {limit!r}"):
        Lenient(max_lengths={"A.b": 5, "A.c": 0, **{"A.b": limit}})


@pytest.mark.parametrize("choices", [None, "kWh", ["kwh", "kWh"]])
def test_spellings_are_a_mapping(choices: Any) -> None:
    with pytest.raises(ValueError, match=r"spellings\['A.b'\] must be a mapping of spellings"):
        Lenient(spellings={"A.b": choices})


def test_the_mode_of_an_action_goes_before_that_of_its_direction() -> None:
    validation = Validation(inbound="warn", inbound_actions={"Heartbeat": "off"}, outbound_actions={"Reset": "warn"})
    assert [validation.of_inbound(action) for action in ("Heartbeat", "Reset")] == ["off", "warn"]
    assert [validation.of_outbound(action) for action in ("Heartbeat", "Reset")] == ["strict", "warn"]
    assert (Validation().of_inbound("Reset"), Validation().of_outbound("Reset")) == ("strict", "strict")


@pytest.mark.parametrize(
    "options",
    [{"inbound": "Strict"}, {"outbound": None}, {"inbound_actions": {"A": True}}, {"outbound_actions": {"A": ""}}],
)
def test_there_is_no_other_mode(options: Any) -> None:
    with pytest.raises(ValueError, match="a validation mode is one of strict, warn, off, not "):
        Validation(**options)

"""Which texts are values of a type."""

from __future__ import annotations

import pytest

from ocppsync.answers.value_types import ValueType, is_true, members

ARABIC_FIVE = "\N{ARABIC-INDIC DIGIT FIVE}"
INTEGER = ValueType("integer", minimum=1, maximum=60)
MEMBERS = ValueType("MemberList", maximum=8, choices=("A", "B", "C D"))


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (ValueType(), ["", "anything"], []),
        (ValueType("string", maximum=3), ["", "abc"], ["abcd"]),
        (ValueType("boolean"), ["true", "False", "TRUE"], ["", "1", "yes", " true"]),
        (
            INTEGER,
            ["1", "60"],
            ["0", "61", "-1", "", "+5", "05", "5.0", "5 ", "five", ARABIC_FIVE, "1e1", "9" * 400],
        ),
        (ValueType("integer"), ["0", "-2147483648", "2147483647"], ["-2147483649", "2147483648", "-0"]),
        (ValueType("decimal", minimum=0), ["0", "1.5", "007.0"], ["-0.1", "1.", ".5", "nan", "1,5"]),
        (ValueType("OptionList", choices=("DHCP", "manual")), ["DHCP"], ["", "dhcp", "DHCP,manual"]),
        (MEMBERS, ["", "A", "B,A", "A, C D", "A,A"], ["D", "A,,B", "A,C D,A,B"]),
        (ValueType("SequenceList", choices=("1", "2")), ["1", "2,1"], ["", "3", "1,3"]),
    ],
)
def test_a_type_has_its_values(type_: ValueType, good: list[str], bad: list[str]) -> None:
    assert [value for value in good if not type_.suits(value)] == []
    assert [value for value in bad if type_.suits(value)] == []


def test_lists_and_booleans_are_read() -> None:
    assert list(members(" A, B,A ")) == ["A", "B"]
    assert list(members(" ")) == []
    assert [is_true(value) for value in ("true", "TRUE", "false", "")] == [True, True, False, False]

"""The types of configuration keys and of variables: which texts are values of a type, and within its limits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["MEASURANDS", "DataType", "ValueType", "is_true", "members"]

DataType = Literal["string", "decimal", "integer", "dateTime", "boolean", "OptionList", "SequenceList", "MemberList"]
"""As in 2.x (2/201, DataEnumType); the comma-separated list of 1.6 is a MemberList."""

MEASURANDS = ("Energy.Active.Import.Register", "Power.Active.Import", "Current.Import", "Voltage", "SoC")
"""What the meter of a simulated charge point measures."""

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_MAX_INTEGER = 2**31 - 1  # an integer has 32 bits: 2/201 §2.1.4


@dataclass(frozen=True)
class ValueType:
    """The type of a value that the central system may read or write.

    Args:
        name: the dataType.
        minimum, maximum: the limits of a number; ``maximum`` is the largest length of any other text.
        choices: the values of an OptionList, or the members of a MemberList or SequenceList; none: anything.
    """

    name: DataType = "string"
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()

    def suits(self, value: str) -> bool:
        """Return whether a text is a value of this type and within its limits."""
        if self.name == "boolean":
            return value.lower() in ("true", "false")
        if self.name in ("integer", "decimal"):
            return self._suits_number(value)
        if self.maximum is not None and len(value) > self.maximum:
            return False
        if self.name == "SequenceList" and not value:
            return False
        chosen = members(value) if self.name in ("MemberList", "SequenceList") else [value]
        return not self.choices or all(choice in self.choices for choice in chosen)

    def _suits_number(self, value: str) -> bool:
        pattern = _INTEGER if self.name == "integer" else _DECIMAL
        if pattern.fullmatch(value) is None:
            return False
        number = float(value)
        largest = _MAX_INTEGER if self.maximum is None else self.maximum
        smallest = -_MAX_INTEGER - 1 if self.minimum is None else self.minimum
        return smallest <= number <= largest


def members(value: str) -> Sequence[str]:
    """Return the members of a comma-separated list, each once."""
    return list(dict.fromkeys(member.strip() for member in value.split(","))) if value.strip() else []


def is_true(value: str) -> bool:
    """Return whether a boolean is true; case does not matter."""
    return value.lower() == "true"

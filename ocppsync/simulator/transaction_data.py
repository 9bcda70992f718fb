"""The meter values that the last message of a transaction carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["TransactionData"]

_MAX_VALUES = 200

Read = Callable[[Sequence[str], Any], "Mapping[str, Any] | None"]
"""Returns a meterValue of some measurands with a context (ReadingContext); None without measurands."""


class TransactionData:
    """Collects the meter values for StopTransaction or the Ended event (C16 §3.16; CE16 3.14; 2/201 E06.FR.11).

    If there are too many, every second one is dropped, but never the first and the last (2/201 E06.FR.13).

    Args:
        read: reads the meter.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._values: list[Mapping[str, Any]] = []

    def begin(self, measurands: Sequence[str]) -> None:
        """Forget the last transaction, and read the meter at the beginning of a new one."""
        self._values.clear()
        self.add(measurands, "Transaction.Begin")

    def add(self, measurands: Sequence[str], context: str) -> None:
        """Read the meter."""
        value = self._read(measurands, context)
        if value is not None:
            self._values.append(value)
        if len(self._values) > _MAX_VALUES:
            del self._values[1::2]

    def end(self, measurands: Sequence[str]) -> list[Mapping[str, Any]]:
        """Read the meter at the end of the transaction, and return all values; none without measurands."""
        self.add(measurands, "Transaction.End")
        return list(self._values)

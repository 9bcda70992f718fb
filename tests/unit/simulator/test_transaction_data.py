"""The meter values of the last message of a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ocppsync.simulator.transaction_data import TransactionData


def reader() -> Any:
    numbers = iter(range(10_000))

    def read(measurands: Sequence[str], context: str) -> Any:
        return {"n": next(numbers), "measurands": list(measurands), "context": context} if measurands else None

    return read


def test_values_are_kept_from_the_beginning_to_the_end() -> None:
    data = TransactionData(reader())
    data.begin(["SoC"])
    data.add(["Voltage"], "Sample.Clock")
    values = data.end(["SoC"])
    assert [(value["n"], value["measurands"], value["context"]) for value in values] == [
        (0, ["SoC"], "Transaction.Begin"),
        (1, ["Voltage"], "Sample.Clock"),
        (2, ["SoC"], "Transaction.End"),
    ]
    data.begin([])
    assert data.end([]) == [], "without measurands there are none"


def test_too_many_values_are_thinned_out() -> None:
    data = TransactionData(reader())
    data.begin(["SoC"])
    for _ in range(1000):
        data.add(["SoC"], "Sample.Periodic")
    numbers = [value["n"] for value in data.end(["SoC"])]
    assert numbers[0] == 0
    assert numbers[-1] == 1001
    assert numbers == sorted(numbers)
    assert len(numbers) <= 201

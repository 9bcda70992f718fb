"""How a handler answers out of a table, and the state that every station's answers depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..request import Request

__all__ = ["Answer", "StationState", "Table", "answer_from", "status"]

Answer = Mapping[str, Any]
"""The payload of a CALLRESULT."""
Table = Mapping[str, "Answer | Callable[[Any], Answer]"]
"""The answer to each action, or what makes it from the payload."""


class StationState:
    """What a station's answers depend on, whichever version it speaks; its owner keeps the attributes true.

    Attributes:
        transaction_id: of the transaction that runs, or None.
        attended: whether somebody carries out a remote start and a reset; they are rejected otherwise.
        registered: whether the central system has accepted it since it booted.
        operative: whether its connector may be used.
        local_list_version: 0 stands for an empty list.
    """

    def __init__(self) -> None:
        self.transaction_id: int | str | None = None
        self.attended = False
        self.registered = False
        self.operative = True
        self.local_list_version = 0

    def take_local_list(self, version: int, update: str) -> Answer:
        """Return the answer to SendLocalList, and keep the version (C16 §5.15; 2/201 D01.FR)."""
        if update == "Differential" and version <= self.local_list_version:
            return status("VersionMismatch")
        self.local_list_version = version
        return status("Accepted")


def answer_from(table: Table, request: Request[str, Any]) -> Answer | None:
    """Return the answer to a request; None where the table has none."""
    answer = table.get(request.action)
    return answer(request.payload) if callable(answer) else answer


def status(word: str) -> Answer:
    """Return the answer that holds nothing but a status."""
    return {"status": word}

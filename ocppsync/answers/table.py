"""Answers from a table, and the state that the answers of a charge point depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..request import Request

__all__ = ["Answer", "StationState", "Table", "answer_from", "status"]

Answer = Mapping[str, Any]
"""The payload of a CALLRESULT."""
Table = Mapping[str, "Answer | Callable[[Any], Answer]"]
"""The answer to each action, or a function that returns it for a payload."""


class StationState:
    """The state that the answers of a charge point depend on in every version; the program keeps it up to date.

    Attributes:
        transaction_id: the id of the running transaction, or None.
        attended: whether the program carries out remote starts, resets and (2.x) firmware updates; if not, they
            are rejected.
        registered: whether the central system has accepted the charge point since it booted.
        operative: whether the connector is in service.
        local_list_version: the version of the local list; 0: the list is empty.
    """

    _answers: Table
    _fixed: Mapping[str, Answer]

    def __init__(self, fixed: Mapping[str, Answer] | None = None) -> None:
        self._fixed = fixed or {}
        self.transaction_id: int | str | None = None
        self.attended = False
        self.registered = False
        self.operative = True
        self.local_list_version = 0

    def add_answers(self, table: Table) -> None:
        """Answer the actions of a table as it says, except those with a fixed answer."""
        self._answers = {**self._answers, **table, **self._fixed}

    def check_first(self, action: str, refusal: Callable[[Any], Answer | None]) -> None:
        """Before an action is answered, call ``refusal`` with the payload; what it returns is the answer, unless None.

        A fixed answer stays.
        """
        usual = self._answers[action]

        def answer(payload: Any) -> Answer:
            return refusal(payload) or (usual(payload) if callable(usual) else usual)

        self.add_answers({action: answer})

    def take_local_list(self, version: int, update: str) -> Answer:
        """Return the answer to SendLocalList, and store the version (C16 §5.15; 2/201 D01.FR)."""
        if update == "Differential" and version <= self.local_list_version:
            return status("VersionMismatch")
        self.local_list_version = version
        return status("Accepted")


def answer_from(table: Table, request: Request[str, Any]) -> Answer | None:
    """Return the answer to a request; None if the table has none."""
    answer = table.get(request.action)
    return answer(request.payload) if callable(answer) else answer


def status(value: str) -> Answer:
    """Return an answer with a status only."""
    return {"status": value}

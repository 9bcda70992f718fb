"""Answers from a table, and how they are looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..request import Request

__all__ = ["Answer", "Table", "answer_from", "status"]

Answer = Mapping[str, Any]
"""The payload of a CALLRESULT."""
Table = Mapping[str, "Answer | Callable[[Any], Answer]"]
"""The answer to each action, or a function that returns it for a payload."""


def answer_from(table: Table, request: Request[str, Any]) -> Answer | None:
    """Return the answer to a request; None if the table has none."""
    answer = table.get(request.action)
    return answer(request.payload) if callable(answer) else answer


def status(value: str) -> Answer:
    """Return an answer with a status only."""
    return {"status": value}

"""The script of a fake charge point: the CALLs that a test expects, and what went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..threads.callables import name_of
from .payload_diff import ABSENT, payload_differences

__all__ = ["Expectation", "PayloadMatcher", "ReceivedCall", "Script", "described", "differences", "times_text"]

PayloadMatcher = Mapping[str, Any] | Callable[[Any], object]
"""Some fields of a payload, nested ones too, or a function that returns whether the payload matches."""

_MAX_SHOWN = 300  # characters


@dataclass(frozen=True)
class ReceivedCall:
    """A CALL or SEND that the central system sent."""

    action: str
    payload: Any
    message_id: str

    def __str__(self) -> str:
        return f"{self.action} {shown(self.payload)}"


@dataclass(eq=False)
class Expectation:
    """An expected CALL, made by `FakeChargePoint.expect` and similar methods, which explain the fields.

    Attributes:
        calls: the CALLs that matched, in order.
    """

    action: str
    payload: PayloadMatcher | None
    times: int | None
    react: Callable[[ReceivedCall], object]
    hold: bool = False
    delay: float = 0.0
    calls: list[ReceivedCall] = field(default_factory=list)
    _held: list[ReceivedCall] = field(default_factory=list)

    def __str__(self) -> str:
        return described(self.action, self.payload)

    @property
    def spent(self) -> bool:
        """Whether all expected CALLs were received, so that no more match."""
        return self.times is not None and len(self.calls) >= self.times

    @property
    def missing(self) -> bool:
        """Whether expected CALLs are still missing."""
        return self.times is not None and len(self.calls) < self.times

    def hold_back(self, call: ReceivedCall) -> None:
        """Keep a CALL unanswered until `release`."""
        self._held.append(call)

    def release(self) -> None:
        """Answer the CALLs held back by ``hold=True``; answer later CALLs at once."""
        self.hold = False
        held, self._held = self._held, []
        for call in held:
            self.react(call)


class Script:
    """The expectations of a test, and the faults found so far. Not thread-safe."""

    def __init__(self) -> None:
        self._expectations: list[Expectation] = []
        self._faults: list[str] = []

    def add(self, expectation: Expectation) -> Expectation:
        """Add an expectation and return it; earlier expectations of the same action go first."""
        self._expectations.append(expectation)
        return expectation

    def find(self, call: ReceivedCall) -> Expectation | None:
        """Return the first expectation that a CALL matches, and count the CALL; None if the CALL is unexpected."""
        reasons = []
        for expectation in self._expectations:
            if expectation.action != call.action or expectation.spent:
                continue
            reason = differences(expectation.payload, call.payload)
            if not reason:
                expectation.calls.append(call)
                return expectation
            reasons.append(f"does not match {expectation}: {'; '.join(reason)}")
        self.add_fault(f"{call} was not expected" + "".join(f"\n      {reason}" for reason in reasons))
        return None

    def add_fault(self, text: str) -> None:
        """Add a fault to the report."""
        self._faults.append(text)

    def report(self) -> list[str]:
        """Return the faults, then the missing CALLs; empty if the script is done."""
        missing = [expectation for expectation in self._expectations if expectation.missing]
        return [*self._faults, *(_absence(expectation) for expectation in missing)]


def _absence(expectation: Expectation) -> str:
    count, times = len(expectation.calls), expectation.times
    if times == 1:
        return f"{expectation} was expected, but not received"
    return f"{expectation} was expected {times_text(times or 0)}, but received {times_text(count)}"


def times_text(count: int) -> str:
    """Return a count in words: ``"once"``, ``"2 times"``."""
    return "once" if count == 1 else f"{count} times"


def described(action: str, payload: PayloadMatcher | None) -> str:
    """Return the text for a CALL with that action, and with that payload unless it is None."""
    return action if payload is None else f"{action} with {shown(payload)}"


def differences(expected: PayloadMatcher | None, payload: Any) -> list[str]:
    """Return how a payload differs from the expected one, one text per difference; empty if it matches."""
    if expected is None:
        return []
    if isinstance(expected, Mapping):
        return [_difference(*difference) for difference in payload_differences(expected, payload, subset=True)]
    return [] if expected(payload) else [f"{shown(expected)} returned false"]


def _difference(path: str, expected: Any, actual: Any) -> str:
    if actual is ABSENT:
        return f"{path} is missing"
    return f"{path or 'the payload'} is {shown(actual)}, not {shown(expected)}"


def shown(value: Any) -> str:
    """Return a payload or a function for an error message: as JSON or by its name, in 300 characters at most."""
    try:
        text = name_of(value) if callable(value) else json.dumps(value, ensure_ascii=False, default=repr)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__} that is not JSON"
    # Half a surrogate pair, which a peer can send, cannot be printed.
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."

"""What a fake charge point is told to do about the CALLs it gets, and what became of that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .payload_diff import ABSENT, payload_differences

__all__ = ["Expectation", "PayloadMatcher", "ReceivedCall", "Script", "differences"]

PayloadMatcher = Mapping[str, Any] | Callable[[Any], object]
"""What a payload has to hold: some of its fields, nested ones too, or a function that says whether it is right."""

_MAX_SHOWN = 300


@dataclass(frozen=True)
class ReceivedCall:
    """A CALL (or SEND) that came from the central system."""

    action: str
    payload: Any
    message_id: str

    def __str__(self) -> str:
        return f"{self.action} {shown(self.payload)}"


@dataclass(eq=False)
class Expectation:
    """One line of a script; the methods of `FakeChargePoint` that make one tell what its fields mean.

    Attributes:
        calls: those that it was there for, in order.
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
        text = self.action
        if self.payload is not None:
            text += f" with {shown(self.payload)}"
        return text if self.times in (None, 1) else f"{text}, {self.times} times"

    @property
    def spent(self) -> bool:
        """Whether it takes no more CALLs."""
        return self.times is not None and len(self.calls) >= self.times

    @property
    def missing(self) -> bool:
        """Whether CALLs are still to come."""
        return self.times is not None and len(self.calls) < self.times

    def keep(self, call: ReceivedCall) -> None:
        """Put a CALL off until `release`."""
        self._held.append(call)

    def release(self) -> None:
        """Do what was held back with ``hold=True``; later CALLs are not held any more."""
        self.hold = False
        held, self._held = self._held, []
        for call in held:
            self.react(call)


class Script:
    """The expectations, and the CALLs that met none."""

    def __init__(self) -> None:
        self._expectations: list[Expectation] = []
        self._faults: list[str] = []

    def add(self, expectation: Expectation) -> Expectation:
        """Expect something more, after what is expected of the same action already."""
        self._expectations.append(expectation)
        return expectation

    def find(self, call: ReceivedCall) -> Expectation | None:
        """Return the first expectation that a CALL meets, and count it there; None when it was not expected."""
        reasons = []
        for expectation in self._expectations:
            if expectation.action != call.action or expectation.spent:
                continue
            reason = differences(expectation.payload, call.payload)
            if not reason:
                expectation.calls.append(call)
                return expectation
            reasons.append(f"{expectation} was expected: {'; '.join(reason)}")
        self.fault(f"{call} was not expected" + "".join(f"\n      {reason}" for reason in reasons))
        return None

    def fault(self, text: str) -> None:
        """Note what has gone wrong."""
        self._faults.append(text)

    def report(self) -> list[str]:
        """Return what has gone wrong, and what has not come; nothing when the script is done."""
        missing = [expectation for expectation in self._expectations if expectation.missing]
        return [*self._faults, *(_absence(expectation) for expectation in missing)]


def _absence(expectation: Expectation) -> str:
    count = len(expectation.calls)
    came = {0: "never came", 1: "came once only"}.get(count, f"came {count} times only")
    return f"{expectation} was expected, but {came}"


def differences(wanted: PayloadMatcher | None, payload: Any) -> list[str]:
    """Return in what a payload is not what was wanted of it; nothing when it is."""
    if wanted is None:
        return []
    if isinstance(wanted, Mapping):
        return [_difference(*difference) for difference in payload_differences(wanted, payload, subset=True)]
    return [] if wanted(payload) else [f"{shown(wanted)} says no"]


def _difference(path: str, expected: Any, actual: Any) -> str:
    if actual is ABSENT:
        return f"{path} is missing"
    return f"{path or 'the payload'} is {shown(actual)}, not {shown(expected)}"


def shown(value: Any) -> str:
    """Return a payload as a message may show it: as JSON, or else by its name."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = getattr(value, "__name__", "") or repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."

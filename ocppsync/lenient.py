"""What is tolerated beyond the specification, and what becomes of payloads that break their schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = ["Lenient", "Validation", "ValidationMode"]

ValidationMode = Literal["strict", "warn", "off"]
"""``"strict"`` refuses what breaks its schema, ``"warn"`` logs it and lets it through, ``"off"`` does not look."""
_MODES = get_args(ValidationMode)


@dataclass(frozen=True, kw_only=True)
class Lenient:
    """Tolerance for what real chargers send; everything is off unless it is asked for.

    A place in a message is written with dots, lists are passed through:
    ``"MeterValues.meterValue.sampledValue.unit"``; it counts for the request and for the response.

    Attributes:
        strip_nulls: take optional fields that are ``null`` for absent.
        max_lengths: the longest text in characters, or the longest list, that is taken at a place, instead of the
            schema's (2/201 §2.1.15 FieldLength); in both directions.
        spellings: other spellings of the values of an enumeration, by place: ``{"kwh": "kWh"}``. Handlers see the
            right one.
        any_case_enums: take the values of enumerations in any case. Handlers see the right one.
        long_fractions: take more than three fractional digits in the times of 2.0.1 and 2.1.
        short_call_errors: take a CALLERROR of 3 or 4 elements, or with details that are no object.
        numeric_ids: take CALLs whose message id is an integer, and echo it as one.
    """

    strip_nulls: bool = False
    max_lengths: Mapping[str, int] = field(default_factory=dict)
    spellings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    any_case_enums: bool = False
    long_fractions: bool = False
    short_call_errors: bool = False
    numeric_ids: bool = False

    def __post_init__(self) -> None:
        for place, limit in self.max_lengths.items():
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
                raise ValueError(f"max_lengths[{place!r}] must be a whole number, not {limit!r}")
        for place, choices in self.spellings.items():
            if not isinstance(choices, Mapping):
                raise ValueError(f"spellings[{place!r}] must be a mapping of spellings, not {choices!r}")

    @property
    def normalizes(self) -> bool:
        """Whether payloads that come in are changed before they are looked at."""
        return bool(self.strip_nulls or self.spellings or self.any_case_enums)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What becomes of payloads that break their schema, by direction and by action.

    Attributes:
        inbound: for the peer's requests and its answers.
        outbound: for our requests and our handlers' answers.
        inbound_actions: exceptions from ``inbound``, by action: ``{"MeterValues": "warn"}``.
        outbound_actions: exceptions from ``outbound``, by action.

    Raises:
        ValueError: a mode is none of the three.
    """

    inbound: ValidationMode = "strict"
    outbound: ValidationMode = "strict"
    inbound_actions: Mapping[str, ValidationMode] = field(default_factory=dict)
    outbound_actions: Mapping[str, ValidationMode] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for mode in (self.inbound, self.outbound, *self.inbound_actions.values(), *self.outbound_actions.values()):
            if mode not in _MODES:
                raise ValueError(f"a validation mode is one of {', '.join(_MODES)}, not {mode!r}")

    def of_inbound(self, action: str) -> ValidationMode:
        """Return the mode for what the peer sends of an action."""
        return self.inbound_actions.get(action, self.inbound)

    def of_outbound(self, action: str) -> ValidationMode:
        """Return the mode for what we send of an action."""
        return self.outbound_actions.get(action, self.outbound)

"""Options: tolerance beyond the specification, and what to do with payloads that violate their schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = ["Lenient", "Validation", "ValidationMode"]

ValidationMode = Literal["strict", "warn", "off"]
"""``"strict"`` refuses an invalid payload, ``"warn"`` logs and accepts it, ``"off"`` does not validate."""
_MODES = get_args(ValidationMode)


@dataclass(frozen=True, kw_only=True)
class Lenient:
    """Tolerance for what real charge points send; everything is off by default.

    A place names a field of a message with dots and without list indexes:
    ``"MeterValues.meterValue.sampledValue.unit"``. It applies to the request and to the response.

    Attributes:
        strip_nulls: treat optional fields with the value ``null`` as absent.
        max_lengths: by place, a maximum length of a string (characters) or of a list (items), instead of that of the
            schema (2/201 §2.1.15 FieldLength); in both directions.
        spellings: by place, other spellings of enumeration values: ``{"kwh": "kWh"}``. Handlers get the correct one.
        any_case_enums: accept enumeration values in any case. Handlers get the correct spelling.
        long_fractions: accept more than three fractional digits in the times of 2.0.1 and 2.1.
        short_call_errors: accept a CALLERROR of 3 or 4 elements, or with details other than an object.
        numeric_ids: accept CALLs with an integer as message id, and answer with the same integer.
        any_identity: let a `ChargePoint` of 2.0.1 or 2.1 have an identity of more than 48 characters, or with others
            than letters of ASCII, digits and ``* - _ = + | @ .`` (4/201 §3.1.1). A central system accepts it anyway.
    """

    strip_nulls: bool = False
    max_lengths: Mapping[str, int] = field(default_factory=dict)
    spellings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    any_case_enums: bool = False
    long_fractions: bool = False
    short_call_errors: bool = False
    numeric_ids: bool = False
    any_identity: bool = False

    def __post_init__(self) -> None:
        for place, limit in self.max_lengths.items():
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
                raise ValueError(f"max_lengths[{place!r}] must be a non-negative integer, not {limit!r}")
        for place, choices in self.spellings.items():
            if not isinstance(choices, Mapping):
                raise ValueError(f"spellings[{place!r}] must map spellings to values, not be {choices!r}")

    @property
    def normalizes(self) -> bool:
        """Whether received payloads are changed before they are validated."""
        return bool(self.strip_nulls or self.spellings or self.any_case_enums)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What to do with payloads that violate their schema, by direction and action.

    Attributes:
        inbound: the mode for the peer's requests and answers.
        outbound: the mode for requests to the peer and the answers of handlers.
        inbound_actions: exceptions from ``inbound``, by action: ``{"MeterValues": "warn"}``.
        outbound_actions: exceptions from ``outbound``, by action.

    Raises:
        ValueError: a mode is not one of the three.
    """

    inbound: ValidationMode = "strict"
    outbound: ValidationMode = "strict"
    inbound_actions: Mapping[str, ValidationMode] = field(default_factory=dict)
    outbound_actions: Mapping[str, ValidationMode] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for mode in (self.inbound, self.outbound, *self.inbound_actions.values(), *self.outbound_actions.values()):
            if mode not in _MODES:
                raise ValueError(f"unknown validation mode {mode!r}; supported: {', '.join(_MODES)}")

    def of_inbound(self, action: str) -> ValidationMode:
        """Return the mode for an action's messages from the peer."""
        return self.inbound_actions.get(action, self.inbound)

    def of_outbound(self, action: str) -> ValidationMode:
        """Return the mode for an action's messages to the peer."""
        return self.outbound_actions.get(action, self.outbound)

"""The rules for numbers, integers, multiples, date-times and URIs in the schemas.

The compiled predicates and jsonschema both use these functions, so that they agree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FORMATS", "RFC_3339_LONG", "is_integer", "is_number", "multiple_of"]

_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
# A day that each month has is found first, and then the others by what stands before them.
_DATE = (
    "[0-9]{4}-(?:0[1-9]|1[0-2])-"
    "(?:0[1-9]|1[0-9]|2[0-8]"
    "|(?:29|30)(?<!02-..)"
    "|31(?<!0[2469]-31)(?<!11-31)"
    f"|29(?<={_LEAP_YEAR}-02-29))"
)
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)"
# Each rule tries the usual end first: with that and the order of the days, a time in UTC without a fraction takes 0.8
# to 0.9 of the time, and any other no more than before.
# ISO 8601 in its extended format, all that 1.6 requires (C16 §3.14): any number of fraction digits after a full stop or
# a comma, and an optional time zone.
_ISO_8601 = re.compile(rf"{_DATE}T{_TIME}(?:Z|(?:[.,][0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)")
# RFC 3339, which requires a time zone and allows lower-case "t" and "z" (RFC 3339 §5.6). OCPP 2.x limits it to 3
# fraction digits (2/201 §2.1.4).
_ZONE = "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_RFC_3339 = re.compile(rf"{_DATE}[Tt]{_TIME}(?:[Zz]|(?:[.][0-9]{{1,3}})?{_ZONE})")
_RFC_3339_LONG = re.compile(rf"{_DATE}[Tt]{_TIME}(?:[Zz]|(?:[.][0-9]+)?{_ZONE})")

# The overall structure of RFC 3986, not the grammar of each part. Each character can match in only one way, so no input
# causes backtracking.
_LEGAL = r"[A-Za-z0-9._~:/?@!$&'()*+,;=\[\]-]*"
_ESCAPED = rf"{_LEGAL}(?:%[0-9A-Fa-f]{{2}}{_LEGAL})*"
_URI = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*:{_ESCAPED}(?:#{_ESCAPED})?")

_SCALES: Mapping[float, int] = {1 / 10**digits: 10**digits for digits in range(1, 16)}

Format = Callable[[str], object]
"""Takes a string; returns None if it does not have the format, else any other value."""

FORMATS: Mapping[str, Mapping[str, Format]] = {
    # version: {format: rule}
    "1.6": {"date-time": _ISO_8601.fullmatch, "uri": _URI.fullmatch},
    # No schema of 2.x uses uri, but that of a vendor action may.
    "2.0.1": {"date-time": _RFC_3339.fullmatch, "uri": _URI.fullmatch},
    "2.1": {"date-time": _RFC_3339.fullmatch, "uri": _URI.fullmatch},
}
RFC_3339_LONG: Format = _RFC_3339_LONG.fullmatch
"""The rule for ``date-time`` in 2.x with any number of fraction digits; some peers send more than 3."""


def is_integer(value: Any) -> bool:
    """Return whether the value is an integer in terms of JSON Schema: ``1.0`` is one, ``true`` is not."""
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float) and value.is_integer()


def is_number(value: Any) -> bool:
    """Return whether the value is a number that JSON can represent: not NaN, infinity or ``true``."""
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float) and math.isfinite(value)


def multiple_of(divisor: float) -> Callable[[float], bool]:
    """Return the test for ``multipleOf`` in decimal arithmetic: 21.4 is a multiple of 0.1.

    Raises ValueError unless the divisor is a positive integer or 0.1, 0.01 and so on down to 1e-15; binary floats give
    no exact result for others.
    """
    if is_integer(divisor) and divisor > 0:
        return lambda value: value % divisor == 0
    scale = _SCALES.get(divisor)
    if scale is None:
        raise ValueError(
            f"multipleOf {divisor!r} is not supported: expected a positive integer, or 0.1, 0.01 and so on"
        )
    return lambda value: is_integer(value) or round(value * scale) / scale == value

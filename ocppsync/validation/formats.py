"""What the schemas call a number, an integer, a multiple, a date-time and a URI.

Both ways of judging a payload, the compiled predicates and jsonschema, ask these functions, so that they agree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FORMATS", "RFC_3339_LONG", "is_integer", "is_number", "multiple_of"]

_DATE = (
    "(?:"
    "[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29"
    ")"
)
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)"
# ISO 8601 in its extended format, which is all that 1.6 asks for (C16 §3.14): any number of fraction digits after a
# full stop or a comma, and a zone that may be left out.
_ISO_8601 = re.compile(rf"{_DATE}T{_TIME}(?:[.,][0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?")
# RFC 3339, in which the zone is a must, and "t" and "z" may be small (RFC 3339 §5.6); OCPP 2.x takes no more than 3
# fraction digits of it (2/201 §2.1.4).
_ZONE = "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_RFC_3339 = re.compile(rf"{_DATE}[Tt]{_TIME}(?:[.][0-9]{{1,3}})?{_ZONE}")
_RFC_3339_LONG = re.compile(rf"{_DATE}[Tt]{_TIME}(?:[.][0-9]+)?{_ZONE}")

# The shape of RFC 3986, not the grammar of each part. A character can be taken in one way only, so that no input makes
# the match go back and forth.
_LEGAL = r"[A-Za-z0-9._~:/?@!$&'()*+,;=\[\]-]*"
_ESCAPED = rf"{_LEGAL}(?:%[0-9A-Fa-f]{{2}}{_LEGAL})*"
_URI = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*:{_ESCAPED}(?:#{_ESCAPED})?")

_SCALES: Mapping[float, int] = {1 / 10**digits: 10**digits for digits in range(1, 16)}

Format = Callable[[str], object]
"""Takes a string and returns None if it lacks the format, else anything but None."""

FORMATS: Mapping[str, Mapping[str, Format]] = {
    # version: {format: the rule}
    "1.6": {"date-time": _ISO_8601.fullmatch, "uri": _URI.fullmatch},
    # No schema of 2.x asks for a URI, but a vendor's may.
    "2.0.1": {"date-time": _RFC_3339.fullmatch, "uri": _URI.fullmatch},
    "2.1": {"date-time": _RFC_3339.fullmatch, "uri": _URI.fullmatch},
}
RFC_3339_LONG: Format = _RFC_3339_LONG.fullmatch
"""The rule for a ``date-time`` of 2.x, but for the number of fraction digits: peers are met that send more than 3."""


def is_integer(value: Any) -> bool:
    """Return whether a JSON schema calls the value an integer: ``1.0`` is one, ``true`` is not."""
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float) and value.is_integer()


def is_number(value: Any) -> bool:
    """Return whether the value is a number that JSON can write: neither NaN nor infinite, nor ``true``."""
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float) and math.isfinite(value)


def multiple_of(divisor: float) -> Callable[[float], bool]:
    """Return the test for ``multipleOf``, as decimal digits have it: 21.4 is a multiple of 0.1.

    Raises ValueError unless the divisor is a positive integer or 0.1, 0.01 and so on down to 1e-15: for others binary
    floats give no exact answer.
    """
    if is_integer(divisor) and divisor > 0:
        return lambda value: value % divisor == 0
    scale = _SCALES.get(divisor)
    if scale is None:
        raise ValueError(f"multipleOf {divisor!r} is not supported: no positive integer, nor 0.1, 0.01 and so on")
    return lambda value: is_integer(value) or round(value * scale) / scale == value

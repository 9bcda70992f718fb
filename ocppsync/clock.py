"""Times in the format of OCPP: the current one, and those of messages."""

from __future__ import annotations

import calendar
import re
import time
from datetime import datetime, timezone

__all__ = ["as_text", "milliseconds", "now_ms", "utc_now"]

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)?", re.ASCII
)


def utc_now() -> str:
    """Return the current UTC time with milliseconds: ``2026-11-24T08:15:00.123Z``.

    Every version accepts three fractional digits and a ``Z`` (2/201 §3.1); `datetime.isoformat` writes six digits and
    ``+00:00``.
    """
    return _text(datetime.now(timezone.utc))


def now_ms() -> int:
    """Return the current time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def milliseconds(text: str) -> int:
    """Return a time of a message in milliseconds since 1970; further digits are dropped.

    It takes what the schemas of all versions allow: any number of fractional digits, and any time zone. Without a time
    zone it is UTC (C16 §3.14). `datetime.fromisoformat` takes less than that in Python 3.10.

    Raises:
        ValueError: it is not a date and time.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("expected a date and time such as 2026-11-24T08:15:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, hours, minutes = match.groups()[6:]
    # The schemas allow the year 0, `calendar` does not; 4 is a leap year as well.
    seconds = calendar.timegm((year or 4, month, day, hour, minute, second))
    offset = int(hours or 0) * 3600 + int(minutes or 0) * 60
    seconds += offset if sign == "-" else -offset
    return seconds * 1000 + int((fraction or "0")[:3].ljust(3, "0"))


def as_text(moment: int) -> str:
    """Return a time in milliseconds since 1970 in the format of OCPP."""
    seconds, rest = divmod(moment, 1000)
    return _text(datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest * 1000))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

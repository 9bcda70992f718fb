"""The time as OCPP writes it."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> str:
    """Return the time now in UTC with milliseconds: ``2026-11-24T08:15:00.123Z``.

    Three fractional digits and a ``Z`` are what every version takes (2/201 §3.1); `datetime.isoformat` would write six
    and ``+00:00``.
    """
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

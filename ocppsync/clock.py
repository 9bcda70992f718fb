"""The current time in the format of OCPP."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> str:
    """Return the current UTC time with milliseconds: ``2026-11-24T08:15:00.123Z``.

    Every version accepts three fractional digits and a ``Z`` (2/201 §3.1); `datetime.isoformat` writes six digits and
    ``+00:00``.
    """
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

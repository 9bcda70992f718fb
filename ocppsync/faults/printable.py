"""Texts of peers and applications for log lines, error texts and terminals."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["printable", "shown", "shown_all"]

_LONGEST = 500
"""How many characters of one text a log line shows."""


def printable(text: str) -> str:
    r"""Return ``text`` with unprintable characters as escapes, such as ``\x1b``.

    A peer's text must not begin a line of its own in a log, move the cursor, ring the bell or change the writing
    direction.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shown(text: str, limit: int = _LONGEST) -> str:
    """Return at most ``limit`` characters of ``text`` as `printable`, with the length of the whole if it was cut."""
    if len(text) <= limit:
        return printable(text)
    return f"{printable(text[:limit])}... ({len(text)} characters)"


def shown_all(args: Iterable[object]) -> tuple[object, ...]:
    """Return the arguments of a log line, those as `shown` that are texts, or have one that is long or unprintable."""
    return tuple(arg if isinstance(arg, (int, float)) else _shown_object(arg) for arg in args)


def _shown_object(arg: object) -> object:
    text = str(arg)
    return arg if len(text) <= _LONGEST and text.isprintable() else shown(text)

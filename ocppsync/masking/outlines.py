"""The shape of a text that is not a message, without any of its values."""

from __future__ import annotations

import re

from .fields import is_plain_name

__all__ = ["MASK", "outline"]

MASK = "***"
"""Stands for a secret."""

# The type, the id and the action of a message, if they are what they should be.
_ID = r'\s*,\s*(?:"[\w.:-]{1,36}"|\d{1,36})\s*'
_HEAD = re.compile(rf'\s*\[\s*(?:[2456]{_ID},\s*"[A-Z][A-Za-z]{{1,49}}"(?=\s*[,\]])|[2-6]{_ID}(?=[,\]])|[2-6](?=,|$))')
_PART = re.compile(r'[\[\]{},:]|"(?:[^"\\]|\\.)*"?|[^\s\[\]{},:"]+', re.DOTALL)
_COLON = re.compile(r"\s*:")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_KEPT = frozenset({*"[]{},:", "true", "false", "null"})


def outline(text: str) -> str:
    """Return a text of broken JSON with all its values replaced: which of them are secret cannot be told."""
    head = _HEAD.match(text)
    start = head.end() if head else 0
    rest, before = text[start:], ","

    def part(found: re.Match[str]) -> str:
        nonlocal before
        token, last, before = found[0], before, found[0]
        is_name = (
            last in ("{", ",") and is_plain_name(token[1:-1]) and token[0] == '"' and _COLON.match(rest, found.end())
        )
        if is_name or token in _KEPT:
            return token
        if token.startswith('"'):
            return f'"{MASK}"' if len(token) > 1 and token.endswith('"') else f'"{MASK}'
        return f'"{MASK}"' if _NUMBER.fullmatch(token) else MASK

    return text[:start] + _PART.sub(part, rest)

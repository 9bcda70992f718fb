"""The local authorization list and the authorization cache of a charge point (C16 §3.5; 2/201 C10-C14, D01, D02)."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

__all__ = ["AuthorizationCache", "Entry", "LocalList", "Token", "token"]

Token = tuple[str, ...]
"""The idTag of 1.6, or the idToken and its type of 2.x, without their case."""

_MAX_ENTRIES = 100
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:[.,]\d+)?(?:[Zz]|([+-])(\d\d):?(\d\d)?)?")


def token(*parts: str) -> Token:
    """Return the key of an idTag, or of an idToken and its type; case does not matter (C16 §7.28)."""
    return tuple(part.casefold() for part in parts)


@dataclass(frozen=True)
class Entry:
    """What a charge point knows about a token.

    Args:
        status: the authorization status.
        expires: when that ends (expiryDate, cacheExpiryDateTime); None: never.
    """

    status: str
    expires: datetime | None = None

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Entry:
        """Return the entry for an idTagInfo or an idTokenInfo."""
        expires = info.get("expiryDate") or info.get("cacheExpiryDateTime")
        return cls(info["status"], None if expires is None else _parse(expires))

    @property
    def accepted(self) -> bool:
        """Whether the token may charge now."""
        return self.status == "Accepted" and (self.expires is None or datetime.now(timezone.utc) < self.expires)


class LocalList:
    """The local authorization list; only SendLocalList changes it (C16 §3.5.2; 2/201 D01.FR.09).

    One thread may change it while others read it.

    Args:
        max_entries: the largest number of tokens in the list, and in one SendLocalList.
        empty_has_version: whether an empty list has the version of its last update, as in 2.x (2/201 D01.FR.04).
    """

    def __init__(self, max_entries: int = _MAX_ENTRIES, *, empty_has_version: bool = True) -> None:
        self.max_entries = max_entries
        self._empty_has_version = empty_has_version
        self._version = 0
        self._entries: Mapping[Token, Entry] = {}  # replaced as a whole

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def version(self) -> int:
        """The version of the last update; 0: there was none (or, in 1.6, the list is empty)."""
        return self._version

    def get(self, key: Token) -> Entry | None:
        """Return the entry of a token."""
        return self._entries.get(key)

    def take(self, version: int, update: str, changes: Sequence[tuple[Token, Mapping[str, Any] | None]]) -> str:
        """Carry out a SendLocalList, and return its status: Accepted, Failed or VersionMismatch.

        After Failed and VersionMismatch the list is as it was.

        Args:
            version: the version of the list after the update. It is never 0 or below (CE16 3.52; 2/201 D01.FR.18).
            update: Full replaces the list, Differential changes it (C16 §7.48; 2/201 D01.FR.15-17).
            changes: each token with its idTagInfo or idTokenInfo; with None a Differential update removes it.
        """
        repeated = len({key for key, _ in changes}) < len(changes)  # no token twice: 2/201 D01.FR.06
        if version <= 0 or repeated or len(changes) > self.max_entries:
            return "Failed"
        if update == "Full":
            # idTagInfo is required then (C16 §7.1; 2/201 AuthorizationData).
            if any(info is None for _, info in changes):
                return "Failed"
            entries: dict[Token, Entry] = {}
        elif version <= self._version:
            return "VersionMismatch"
        else:
            entries = dict(self._entries)
        for key, info in changes:
            if info is None:
                entries.pop(key, None)
            else:
                entries[key] = Entry.of(info)
        if len(entries) > self.max_entries:
            return "Failed"
        self._entries, self._version = entries, version if entries or self._empty_has_version else 0
        return "Accepted"


class AuthorizationCache:
    """The tokens that the central system has told about lately, valid or not (C16 §3.5.1; 2/201 C10). Thread-safe.

    Args:
        max_entries: how many are kept; those that are not valid make room first, then the oldest.
    """

    def __init__(self, max_entries: int = _MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: dict[Token, Entry] = {}  # the oldest first
        self._lock = threading.Lock()  # guards changes of the entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Token) -> Entry | None:
        """Return the entry of a token."""
        return self._entries.get(key)

    def store(self, key: Token, info: Mapping[str, Any]) -> None:
        """Store an idTagInfo or an idTokenInfo from an answer."""
        with self._lock:
            self._entries.pop(key, None)
            if len(self._entries) >= self._max_entries:
                self._make_room()
            self._entries[key] = Entry.of(info)

    def clear(self) -> None:
        """Forget all tokens."""
        with self._lock:
            self._entries.clear()

    def _make_room(self) -> None:
        invalid = [key for key, entry in self._entries.items() if not entry.accepted]
        for key in invalid or list(self._entries)[:1]:
            del self._entries[key]


def _parse(text: str) -> datetime:
    """Return a dateTime of OCPP; without a zone it is UTC (C16 §3.14)."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("a time is not valid: expected a dateTime such as 2026-11-24T08:15:00Z")
    moment, sign, hours, minutes = found.groups()
    shift = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    # A leap second counts as the one before it.
    local = datetime.fromisoformat(re.sub(":60$", ":59", moment.upper())).replace(tzinfo=timezone.utc)
    return local + shift if sign == "-" else local - shift

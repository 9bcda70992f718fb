"""The local authorization list and the authorization cache."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from support import DEADLINE, WatchedLock

from ocppsync.answers.local_authorization import AuthorizationCache, Entry, LocalList, token

ACCEPTED = {"status": "Accepted"}
BLOCKED = {"status": "Blocked"}


def in_seconds(seconds: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize("name", ["expiryDate", "cacheExpiryDateTime"])
def test_an_entry_expires(name: str) -> None:
    assert Entry.of(ACCEPTED).accepted
    assert Entry.of({**ACCEPTED, name: in_seconds(60)}).accepted
    assert not Entry.of({**ACCEPTED, name: in_seconds(-60)}).accepted
    assert not Entry.of({**BLOCKED, name: in_seconds(60)}).accepted


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-01-01T12:00:00", 12),
        ("2026-01-01T12:00:00Z", 12),
        ("2026-01-01t12:00:00.1234567z", 12),
        ("2026-01-01T12:00:00,5+02:00", 10),
        ("2026-01-01T12:00:00-0230", 14),
        ("2026-01-01T12:00:60+02", 10),
    ],
)
def test_every_time_of_the_specification_is_read(text: str, hour: int) -> None:
    expires = Entry.of({**ACCEPTED, "expiryDate": text}).expires
    assert expires is not None
    assert (expires.tzinfo, expires.hour) == (timezone.utc, hour)


def test_a_text_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a dateTime"):
        Entry.of({**ACCEPTED, "expiryDate": "tomorrow"})


def test_case_does_not_matter() -> None:
    assert token("Tag", "eMAID") == token("TAG", "EMAID") != token("TAG")


def change(name: str, info: Any = ACCEPTED) -> Any:
    return (token(name), info)


def known(tokens: LocalList) -> list[str]:
    return [name for name in "ABC" if tokens.get(token(name)) is not None]


def test_a_full_update_replaces_the_list_and_a_differential_one_changes_it() -> None:
    tokens = LocalList()
    assert tokens.take(3, "Full", [change("A"), change("B")]) == "Accepted"
    assert (tokens.version, known(tokens), len(tokens)) == (3, ["A", "B"], 2)
    assert tokens.take(4, "Differential", [change("A", None), change("B", BLOCKED), change("C")]) == "Accepted"
    blocked = tokens.get(token("b"))
    assert blocked is not None
    assert (tokens.version, known(tokens), blocked.status) == (4, ["B", "C"], "Blocked")
    assert tokens.take(5, "Differential", []) == "Accepted"
    assert (tokens.version, known(tokens)) == (5, ["B", "C"])
    assert tokens.take(1, "Full", [change("A")]) == "Accepted"
    assert (tokens.version, known(tokens)) == (1, ["A"])


@pytest.mark.parametrize(
    ("version", "update", "changes", "status"),
    [
        (0, "Full", [change("A")], "Failed"),
        (-1, "Differential", [change("A")], "Failed"),
        (9, "Full", [change("A"), change("a")], "Failed"),
        (9, "Differential", [change("A"), change("A", None)], "Failed"),
        (9, "Full", [change("A", None)], "Failed"),
        (9, "Full", [change("A"), change("B"), change("C"), change("D")], "Failed"),
        (9, "Differential", [change("X"), change("Y")], "Failed"),
        (5, "Differential", [change("A")], "VersionMismatch"),
        (4, "Differential", [change("A")], "VersionMismatch"),
    ],
)
def test_a_refused_update_changes_nothing(version: int, update: str, changes: list[Any], status: str) -> None:
    tokens = LocalList(max_entries=3)
    tokens.take(5, "Full", [change("B"), change("C")])
    assert tokens.take(version, update, changes) == status
    assert (tokens.version, known(tokens)) == (5, ["B", "C"])


@pytest.mark.parametrize(("empty_has_version", "version"), [(True, 6), (False, 0)])
def test_an_empty_list_has_a_version_in_2x(empty_has_version: bool, version: int) -> None:
    tokens = LocalList(empty_has_version=empty_has_version)
    tokens.take(5, "Full", [change("A")])
    assert tokens.take(6, "Differential", [change("A", None)]) == "Accepted"
    assert tokens.version == version


def test_the_cache_makes_room_for_new_tokens() -> None:
    cache = AuthorizationCache(max_entries=3)
    for name, info in (("A", ACCEPTED), ("B", BLOCKED), ("C", ACCEPTED), ("A", ACCEPTED), ("D", ACCEPTED)):
        cache.store(token(name), info)
    assert cache.get(token("B")) is None, "those that are not valid go first"
    assert len(cache) == 3
    cache.store(token("E"), ACCEPTED)
    assert cache.get(token("C")) is None, "then the oldest"
    cache.store(token("A"), BLOCKED)
    entry = cache.get(token("A"))
    assert entry is not None
    assert (entry.status, len(cache)) == ("Blocked", 3)
    cache.clear()
    assert (len(cache), cache.get(token("A"))) == (0, None)


def test_tokens_are_stored_and_forgotten_in_turn() -> None:
    cache = AuthorizationCache(max_entries=1)
    lock: Any = WatchedLock()
    cache._lock = lock
    cache.store(token("A"), ACCEPTED)
    with lock:
        stored = lock.meanwhile(lambda: cache.store(token("B"), ACCEPTED))
        assert cache.get(token("B")) is None
        assert cache.get(token("A")) is not None
    stored.result(DEADLINE)
    with lock:
        cleared = lock.meanwhile(cache.clear)
        assert len(cache) == 1
    cleared.result(DEADLINE)
    assert len(cache) == 0

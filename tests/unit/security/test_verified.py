"""Verified passwords are remembered as digests, of some identities, and as long as their hashes count."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from interleaved import Made, MeetingLock

from ocppsync.security.verified import VerifiedPasswords

SECRET = b"correct horse battery staple"


def test_a_password_is_found_only_for_its_identity() -> None:
    verified = VerifiedPasswords(10)
    verified.add("CP1", SECRET, "hash")
    assert verified.find("CP1", [b"x", SECRET]) == "hash"
    assert verified.find("CP1", [b"", SECRET[:-1], SECRET + b"\0"]) is None
    assert verified.find("CP2", [SECRET, b""]) is None
    assert repr(verified) == "<VerifiedPasswords identities=1>"


def test_the_parts_do_not_run_into_each_other() -> None:
    verified = VerifiedPasswords(10)
    digests = {
        verified._digest("CP1", b"2", "h"),
        verified._digest("CP12", b"", "h"),
        verified._digest("CP1", b"", "h2"),
    }
    assert len(digests) == 3
    assert VerifiedPasswords(10)._digest("CP1", b"2", "h") not in digests, "each object has a key of its own"
    assert verified.find("\ud800", [SECRET]) is None


def test_the_password_itself_is_not_kept() -> None:
    verified = VerifiedPasswords(10)
    verified.add("CP1", SECRET, "hash")
    held: list[Any] = [verified]
    for thing in held:
        assert SECRET not in (thing, bytes(thing) if isinstance(thing, (bytes, bytearray)) else b"")
        if len(held) < 1000 and not isinstance(thing, type):
            held += [one for one in gc.get_referents(thing) if isinstance(one, (dict, list, tuple, bytes, bytearray))]


def test_the_identities_used_longest_ago_are_forgotten() -> None:
    verified = VerifiedPasswords(2)
    verified.add("CP1", SECRET, "1")
    verified.add("CP2", SECRET, "2")
    assert verified.find("CP1", [b"wrong"]) is None  # is a use, too
    verified.add("CP3", SECRET, "3")
    assert [verified.find(f"CP{number}", [SECRET]) for number in (1, 2, 3)] == ["1", None, "3"]
    verified.add("CP1", b"new", "4")
    verified.add("CP4", SECRET, "5")
    assert verified.find("CP1", [b"new"]) == "4"
    nothing = VerifiedPasswords(0)
    nothing.add("CP1", SECRET, "1")
    assert nothing.find("CP1", [SECRET]) is None


def test_a_password_is_forgotten_with_its_hash() -> None:
    verified = VerifiedPasswords(2)
    verified.add("CP1", SECRET, "1")
    verified.keep("CP1", ("0", "1"))
    assert verified.find("CP1", [SECRET]) == "1"
    verified.keep("CP2", ())
    verified.keep("CP1", ("2",))
    assert verified.find("CP1", [SECRET]) is None


class _Visited(OrderedDict[str, tuple[str, bytes]]):
    """Has another thread come between the look at an entry and what follows."""

    come: Callable[[], object]

    def get(self, *args: Any) -> Any:
        found = super().get(*args)
        self.come()
        return found

    def __len__(self) -> int:
        length = super().__len__()
        self.come()
        return length


def visited(verified: VerifiedPasswords, *visit: Any) -> Made:
    made = Made()
    verified._lock = lock = MeetingLock()  # type: ignore[assignment]
    entries = _Visited(verified._digests)
    entries.come = made.let_in(lock, *visit)
    verified._digests = entries
    return made


def test_an_entry_that_is_forgotten_while_it_is_looked_at() -> None:
    verified = VerifiedPasswords(2)
    verified.add("CP1", SECRET, "1")
    made = visited(verified, verified.keep, "CP1", ())
    assert verified.find("CP1", [SECRET]) == "1"
    made.result()


def test_a_new_entry_is_not_taken_for_the_old_one() -> None:
    verified = VerifiedPasswords(2)
    verified.add("CP1", SECRET, "1")
    made = visited(verified, verified.add, "CP1", b"new", "2")
    verified.keep("CP1", ("2",))
    made.result()
    assert verified.find("CP1", [b"new"]) == "2"


def test_no_more_are_forgotten_than_must() -> None:
    verified = VerifiedPasswords(1)
    verified.add("CP1", SECRET, "1")
    made = visited(verified, verified.add, "CP2", SECRET, "2")
    verified.add("CP3", SECRET, "3")
    made.result()
    assert verified.find("CP2", [SECRET]) == "2"

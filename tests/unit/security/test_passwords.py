"""Hashes of passwords, who is accepted, and what is accepted in the course of a change."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterator
from typing import Any

import pytest
from support import Recorder

from ocppsync import Passwords, authorization_key, hash_password, verify_password
from ocppsync.security import passwords as module

KEY = bytes.fromhex("0001020304050607ffffffffffffffffffffffff")
quick = functools.partial(hash_password, n=2)
"""A hash that costs nothing."""


def passwords(**options: Any) -> Passwords:
    """CP1 with its key."""
    return Passwords({"CP1": quick(KEY)}, hasher=quick, **options)


def accepted(store: Passwords, *candidates: bytes | str, charge_point_id: str = "CP1") -> list[bytes | str]:
    """Return which of the passwords are good."""
    return [one for one in candidates if store.check(charge_point_id, one if isinstance(one, bytes) else one.encode())]


# Hashes.


@pytest.mark.parametrize(
    "password", [KEY, b"", b"a:b:c", bytes(range(256)), "text", "p\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_a_hash_matches_only_its_password(password: bytes | str) -> None:
    hashed = quick(password)
    assert verify_password(password, hashed)
    assert not verify_password(b"another", hashed)


def test_text_is_utf_8() -> None:
    assert verify_password(b"\xc3\xa9", quick("\N{LATIN SMALL LETTER E WITH ACUTE}"))


def test_a_hash_contains_its_parameters_and_is_salted() -> None:
    hashed = hash_password(KEY)
    assert hashed.startswith("scrypt$16384$8$1$")
    assert verify_password(KEY, hashed)
    assert quick(KEY) != quick(KEY)
    other = hash_password(KEY, n=4, r=1, p=2)
    assert other.startswith("scrypt$4$1$2$")
    assert verify_password(KEY, other)


@pytest.mark.parametrize("hashed", ["", "secret", "scrypt$2$8$1$AA==", "scrypt$x$8$1$AA==$AA==", "md5$2$8$1$AA==$AA=="])
def test_an_invalid_hash_is_not_in_the_error(hashed: str) -> None:
    with pytest.raises(ValueError, match=r"not a password hash: expected a value returned by hash_password$"):
        verify_password(KEY, hashed)


@pytest.mark.parametrize(
    ("value", "password"),
    [
        ("0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF", KEY),
        ("0001020304050607ffffffffffffffffffffffff", KEY),
        ("00" * 16, bytes(16)),
        ("00" * 15, b"00" * 15),
        ("00" * 21, b"00" * 21),
        ("0" * 33, b"0" * 33),
        ("correct horse battery", b"correct horse battery"),
    ],
)
def test_the_value_of_authorization_key(value: str, password: bytes) -> None:
    assert authorization_key(value) == password


# Who is accepted.


def test_a_password_is_that_of_its_identity() -> None:
    store = passwords()
    assert accepted(store, KEY, KEY[:-1], b"", KEY.hex()) == [KEY]
    assert accepted(store, KEY, charge_point_id="CP2") == []


def test_hexadecimal_text_is_accepted_only_with_hex_text_and_in_1_6() -> None:
    store = passwords(hex_text=True)
    for text in (KEY.hex().encode(), KEY.hex().upper().encode()):
        assert store.check("CP1", text, "1.6")
        assert not store.check("CP1", text, "2.0.1")
        assert not store.check("CP1", text)
        assert not passwords().check("CP1", text, "1.6")
    assert store.check("CP1", KEY, "1.6")
    assert not store.check("CP1", KEY.hex()[:-2].encode(), "1.6")


def test_the_work_is_the_same_for_an_unknown_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Recorder()
    derive = module._derive
    monkeypatch.setattr(module, "_derive", lambda password, parts: costs(parts[:3]) or derive(password, parts))
    store = Passwords({"CP1": hash_password(KEY, n=4)}, hasher=quick)
    costs.items.clear()
    for charge_point_id in ("CP2", "CP1", "CP2"):
        assert not store.check(charge_point_id, b"wrong")
    assert costs.items == [(2, 8, 1), (4, 8, 1), (4, 8, 1)]


@pytest.mark.parametrize(
    "as_stored", [lambda hashed: hashed, lambda hashed: (hashed,), lambda hashed: [quick("x"), hashed]]
)
def test_a_function_looks_hashes_up(as_stored: Any) -> None:
    hashed = as_stored(quick(KEY))
    store = Passwords({"CP1": hashed}.get, on_change=print, hasher=quick)
    assert accepted(store, KEY, b"wrong") == [KEY]
    assert accepted(store, KEY, charge_point_id="CP2") == []


@pytest.mark.parametrize("hashes", [lambda charge_point_id: None, types.MappingProxyType({})])
def test_hashes_that_are_not_mutable_require_on_change(hashes: Any) -> None:
    with pytest.raises(ValueError, match="on_change"):
        Passwords(hashes)


def test_nothing_secret_is_in_the_repr() -> None:
    assert repr(passwords(hex_text=True)) == "<Passwords hex_text=True>"


# Remembered passwords.


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """The passwords for which a slow hash was made."""
    made = Recorder()
    derive = module._derive
    monkeypatch.setattr(module, "_derive", lambda password, parts: made(password) or derive(password, parts))
    return made


def test_a_verified_password_costs_no_second_hash(hashed: Recorder) -> None:
    store = passwords()
    hashed.items.clear()
    assert not store.remembers("CP1", KEY)
    assert {store.check("CP1", KEY) for _ in range(3)} == set(store.hashes("CP1"))
    assert hashed.items == [KEY]
    assert store.remembers("CP1", KEY)
    for charge_point_id, password in (("CP1", b"wrong"), ("CP2", KEY), ("CP1", b"wrong")):
        assert not store.remembers(charge_point_id, password)
        assert not store.check(charge_point_id, password)
    assert hashed.items == [KEY, b"wrong", KEY, b"wrong"]


def test_the_hexadecimal_text_is_remembered_as_the_key_that_it_is(hashed: Recorder) -> None:
    store, text = passwords(hex_text=True), KEY.hex().encode()
    assert store.check("CP1", text, "1.6")
    hashed.items.clear()
    assert store.remembers("CP1", text, "1.6")
    assert store.check("CP1", text, "1.6")
    assert store.check("CP1", KEY)
    assert hashed.items == []
    assert not store.remembers("CP1", text, "2.0.1")
    assert not store.check("CP1", text, "2.0.1")


def test_a_remembered_password_is_wrong_once_its_hash_is_not_stored() -> None:
    hashes: dict[str, Any] = {"CP1": quick(KEY)}
    store = Passwords(hashes, hasher=quick)
    assert store.check("CP1", KEY)
    hashes["CP1"] = quick("by hand")
    assert not store.check("CP1", KEY)
    assert not store.remembers("CP1", KEY), "it is forgotten"
    hashes["CP1"] = again = quick(KEY)
    assert store.check("CP1", KEY) == again
    del hashes["CP1"]
    assert not store.check("CP1", KEY)


def test_a_change_forgets_the_password_at_once() -> None:
    store = passwords()
    assert store.check("CP1", KEY)
    offer = store.offer("CP1", "new")
    assert store.remembers("CP1", KEY)
    offer.accepted()
    assert not store.remembers("CP1", KEY)


def test_a_hash_that_was_replaced_during_the_wait_does_not_count() -> None:
    store = passwords()
    begin = store._line.turn

    @contextlib.contextmanager
    def wait_long(has_gone: Any) -> Iterator[None]:
        store.set("CP1", "new")
        with begin(has_gone):
            yield

    store._line.turn = wait_long  # type: ignore[method-assign, assignment]
    assert not store.check("CP1", KEY)


def test_a_second_attempt_that_waits_behind_the_first_costs_no_hash(hashed: Recorder) -> None:
    store = passwords()
    hashed.items.clear()
    begin = store._line.turn

    @contextlib.contextmanager
    def wait_for_the_first(has_gone: Any) -> Iterator[None]:
        store._line.turn = begin  # type: ignore[method-assign]
        assert store.check("CP1", KEY)
        with begin(has_gone):
            yield

    store._line.turn = wait_for_the_first  # type: ignore[method-assign, assignment]
    assert store.check("CP1", KEY)
    assert hashed.items == [KEY]


def test_remembering_can_be_switched_off(hashed: Recorder) -> None:
    store = passwords(remember=0)
    hashed.items.clear()
    assert all(store.check("CP1", KEY) for _ in range(3))
    assert hashed.items == [KEY] * 3
    assert not store.remembers("CP1", KEY)


@pytest.mark.parametrize("remember", [-1, 1.5, "all", None])
def test_how_many_are_remembered_is_a_number(remember: Any) -> None:
    with pytest.raises(ValueError, match="remember"):
        passwords(remember=remember)


# Changes.


def test_set_replaces_all() -> None:
    hashes: dict[str, Any] = {"CP1": [quick("old"), quick("older")]}
    changes = Recorder()
    store = Passwords(hashes, on_change=changes, hasher=quick)
    store.set("CP1", "new")
    store.set("CP2", KEY)
    assert accepted(store, "old", "older", "new") == ["new"]
    assert accepted(store, KEY, charge_point_id="CP2") == [KEY]
    assert changes.items == list(hashes.items())


def test_old_and_new_passwords_are_valid_until_the_new_one_is_accepted() -> None:
    store = passwords()
    offer = store.offer("CP1", "new")
    assert accepted(store, KEY, "new") == [KEY, "new"]
    offer.accepted()
    assert accepted(store, KEY, "new") == ["new"]


def test_a_refused_password_is_dropped() -> None:
    store = passwords()
    store.offer("CP1", "new").refused()
    assert accepted(store, KEY, "new") == [KEY]


@pytest.mark.parametrize("ended", [lambda offer: None, lambda offer: offer.defer()], ids=["no answer", "deferred"])
def test_a_pending_password_stays_until_it_is_used(ended: Any) -> None:
    store = passwords()
    ended(store.offer("CP1", "new"))
    for _ in range(2):
        use(store, KEY)
        assert accepted(store, KEY, "new") == [KEY, "new"]
    use(store, b"new")
    assert accepted(store, KEY, "new") == ["new"]


def use(store: Passwords, password: bytes) -> None:
    """Connect with a password."""
    hashed = store.check("CP1", password)
    assert hashed is not None
    store.confirm("CP1", hashed)


def test_nothing_is_stored_when_the_current_password_is_used() -> None:
    changes = Recorder()
    store = passwords(on_change=changes)
    store.offer("CP1", "new")
    store.offer("CP1", "other", for_later=True)
    del changes.items[:]
    use(store, KEY)
    assert changes.items == []


def test_a_password_that_another_connection_makes_the_current_one_meanwhile_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = passwords()
    store.offer("CP1", "next", for_later=True)
    _, pending = store.hashes("CP1")

    def verify_and_confirm(password: bytes, hashed: str) -> bool:
        matches = verify_password(password, hashed)
        if hashed == pending:
            store.confirm("CP1", pending)
        return matches

    monkeypatch.setattr(module, "verify_password", verify_and_confirm)
    current = store.check("CP1", b"next")
    assert current is not None
    assert store.hashes("CP1") == (current,)


def test_a_password_that_was_dropped_meanwhile_does_not_come_back_by_its_use() -> None:
    store = passwords()
    hashed = store.check("CP1", KEY)
    assert hashed is not None
    store.offer("CP1", "new").accepted()
    store.confirm("CP1", hashed)
    assert accepted(store, KEY, "new") == ["new"]


# Passwords of other network profiles.


@pytest.mark.parametrize("first", ["accept", "use"])
def test_a_change_of_the_current_password_keeps_that_of_another_profile(first: str) -> None:
    store = passwords()
    store.offer("CP1", "other", for_later=True).defer()
    offer = store.offer("CP1", "new")
    offer.accepted() if first == "accept" else use(store, b"new")
    assert accepted(store, KEY, "new", "other") == ["new", "other"]
    use(store, b"other")
    assert accepted(store, KEY, "new", "other") == ["other"]
    store.offer("CP1", "newest").accepted()
    assert accepted(store, "other", "newest") == ["newest"], "once used, it is a current password like any other"


def test_two_profiles_may_have_the_same_password() -> None:
    store = passwords()
    store.offer("CP1", KEY, for_later=True).defer()
    use(store, KEY)
    store.offer("CP1", "new").accepted()
    assert accepted(store, KEY, "new") == [KEY, "new"]
    store.offer("CP1", KEY).refused()
    assert accepted(store, KEY, "new") == [KEY, "new"]


def test_the_mark_of_another_profile_is_in_what_is_stored() -> None:
    stored: dict[str, Any] = {"CP1": quick(KEY)}
    Passwords(stored, hasher=quick).offer("CP1", "other", for_later=True).defer()
    assert [hashed.count("$later") for hashed in stored["CP1"]] == [0, 1]
    assert verify_password("other", stored["CP1"][1])
    again = Passwords(stored, hasher=quick)
    again.offer("CP1", "new").accepted()
    use(again, b"other")
    assert [hashed.count("$later") for hashed in stored["CP1"]] == [0]


# Many requests at once.


@pytest.mark.parametrize(("end", "old"), [("accepted", []), ("defer", [KEY])])
def test_the_first_of_many_that_wait_for_their_turn_comes_back_with_its_answer(end: str, old: list[bytes]) -> None:
    store = passwords()
    first, *others = [store.offer("CP1", f"offer {number}") for number in range(6)]
    assert accepted(store, "offer 0") == []
    getattr(first, end)()
    for other in others:
        other.refused()  # it was not sent
    assert accepted(store, KEY, *(f"offer {number}" for number in range(6))) == [*old, "offer 0"]


def test_requests_under_way_do_not_push_out_a_password_that_is_used_after_a_reboot() -> None:
    store = passwords()
    store.offer("CP1", "after the reboot").defer()
    for offer in [store.offer("CP1", f"offer {number}") for number in range(6)]:
        offer.refused()
    assert accepted(store, KEY, "after the reboot") == [KEY, "after the reboot"]


def test_a_password_set_by_hand_counts_more_than_an_answer() -> None:
    store = passwords()
    offers = [store.offer("CP1", "new"), store.offer("CP2", "new")]
    store.set("CP1", "by hand")
    for offer in offers:
        offer.accepted()
    assert accepted(store, KEY, "new", "by hand") == ["by hand"]
    assert accepted(store, "new", charge_point_id="CP2") == ["new"]


@pytest.mark.parametrize("for_later", [False, True])
@pytest.mark.parametrize("end", ["accepted", "refused", "defer"])
def test_a_late_answer_changes_nothing_about_a_password_that_is_used_already(end: str, for_later: bool) -> None:
    store = passwords()
    offer = store.offer("CP1", "other", for_later=for_later)
    use(store, b"other")
    getattr(offer, end)()
    assert [hashed.count("$later") for hashed in store.hashes("CP1")] == [0]
    assert accepted(store, KEY, "other") == ["other"]


# The same password in several requests.


def test_a_password_that_one_request_refuses_and_another_accepts_is_valid() -> None:
    store = passwords()
    first, second = store.offer("CP1", "new"), store.offer("CP1", "new")
    first.refused()
    assert accepted(store, KEY, "new") == [KEY, "new"]
    second.accepted()
    assert accepted(store, KEY, "new") == ["new"]


@pytest.mark.parametrize(
    "sent", [[b"a", KEY], [b"a", b"b", b"a"], [b"a", b"b", KEY], [b"a", b"b", b"a", b"b", b"a"], [b"a", b"a", KEY, KEY]]
)
@pytest.mark.parametrize("end", ["accepted", "defer"])
def test_a_password_that_is_sent_again_behind_others_is_valid(sent: list[bytes], end: str) -> None:
    store = passwords()
    for password, offer in zip(sent, [store.offer("CP1", password) for password in sent], strict=True):
        getattr(offer, end)()
        use(store, password)
    assert accepted(store, *dict.fromkeys([KEY, *sent])) == [sent[-1]]


def test_one_that_is_used_meanwhile_does_not_replace_what_is_sent_behind_it() -> None:
    store = passwords()
    store.offer("CP1", "new").defer()
    back = store.offer("CP1", KEY)
    use(store, b"new")
    back.defer()
    assert accepted(store, KEY, "new") == [KEY, "new"]


def test_one_that_is_replaced_while_it_is_compared_is_offered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    store = passwords()
    verify = module.verify_password

    def replace_and_verify(password: bytes, hashed: str) -> bool:
        monkeypatch.undo()
        store.offer("CP1", "new").accepted()
        return verify(password, hashed)

    monkeypatch.setattr(module, "verify_password", replace_and_verify)
    store.offer("CP1", KEY).accepted()
    assert accepted(store, KEY, "new") == [KEY]


@pytest.mark.parametrize("others", [1, 3])
def test_a_password_that_all_requests_refuse_is_dropped(others: int) -> None:
    store = passwords()
    offers = [store.offer("CP1", "new") for _ in range(1 + others)]
    for offer in offers:
        assert accepted(store, KEY, "new") == [KEY, "new"]
        offer.refused()
    assert accepted(store, KEY, "new") == [KEY]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_a_password_that_may_be_in_use_is_not_dropped_by_a_refusal(order: slice) -> None:
    store = passwords()
    first, second = store.offer("CP1", "new"), store.offer("CP1", "new")
    for end in [first.defer, second.refused][order]:
        end()
    store.offer("CP1", "new").refused()
    assert accepted(store, KEY, "new") == [KEY, "new"]


@pytest.mark.parametrize("end", ["accepted", "refused", "defer"])
def test_nothing_is_kept_in_memory_of_a_change_that_is_over(end: str) -> None:
    store = passwords()
    for offer in [store.offer("CP1", "new") for _ in range(2)]:
        getattr(offer, end)()
    assert store._undecided == {}


def test_the_current_password_can_be_offered_again() -> None:
    store = passwords()
    store.offer("CP1", KEY).refused()
    assert accepted(store, KEY) == [KEY]
    store.offer("CP1", KEY).accepted()
    assert store.hashes("CP1") == store.hashes("CP1")[:1]


def test_two_pending_passwords_have_separate_outcomes() -> None:
    store = passwords()
    first, second = store.offer("CP1", "first"), store.offer("CP1", "second")
    first.accepted()
    assert accepted(store, KEY, "first", "second") == ["first", "second"]
    second.refused()
    assert accepted(store, KEY, "first", "second") == ["first"]


def test_the_oldest_pending_passwords_are_dropped() -> None:
    store = passwords()
    for number in range(6):
        store.offer("CP1", f"offer {number}")
    assert accepted(store, KEY, *(f"offer {number}" for number in range(6))) == [KEY, "offer 3", "offer 4", "offer 5"]


def test_a_store_that_fails_keeps_everything_as_it_was() -> None:
    def fail(charge_point_id: str, hashes: object) -> None:
        raise OSError("the disk is full")

    hashes: dict[str, Any] = {"CP1": quick(KEY)}
    before = dict(hashes)
    with pytest.raises(OSError, match="full"):
        Passwords(hashes, on_change=fail, hasher=quick).offer("CP1", "new")
    assert hashes == before


def test_what_is_stored_behind_a_function_is_what_counts() -> None:
    database: dict[str, Any] = {"CP1": quick(KEY)}
    store = Passwords(database.get, on_change=database.__setitem__, hasher=quick)
    store.offer("CP1", "new").accepted()
    assert accepted(store, KEY, "new") == ["new"]
    again = Passwords(database.get, on_change=database.__setitem__, hasher=quick)
    assert accepted(again, KEY, "new") == ["new"]
    database["CP1"] = quick("by hand")
    assert accepted(store, KEY, "new", "by hand") == ["by hand"]

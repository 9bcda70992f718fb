"""No secret is in the log: what the fixture for all tests of security finds, and how secrets came there."""

from __future__ import annotations

import functools
import json
import logging
from typing import Any

import pytest
from secrecy import Secrecy, deals_in_secrets
from support import DEADLINE, Recorder, accept_boots, basic, raw, serving

from ocppsync import Passwords, SecurityProfiles, hash_password
from ocppsync.security import passwords as module
from ocppsync.security.password_changes import password_changes
from ocppsync.wire.http import Headers, HttpRequest

OLD = b"0ld-s3cret-0123456"
NEW = "00112233445566778899aabbccddeeff"
quick = functools.partial(hash_password, n=2)
logger = logging.getLogger("ocppsync.test")


# The fixture.


def use(what: str) -> bytes:
    """Use a secret, and return what may not be logged."""
    if what == "hash":
        return quick(OLD).encode()
    if what == "header":
        header = basic("CP1", OLD)
        assert Headers((("Authorization", header),))
        return header.partition(" ")[2].encode()
    assert quick(OLD)
    shown = {
        "text": OLD,
        "hex": OLD.hex().encode(),
        "HEX": OLD.hex().upper().encode(),
        "repr": repr(OLD).encode(),
        "traceback": OLD,
    }
    return shown[what]


@pytest.mark.parametrize("what", ["hash", "header", "text", "hex", "HEX", "repr", "traceback"])
def test_a_secret_in_the_log_is_found(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    # On a log of its own: the watcher of this test must not see it.
    secrecy, own = Secrecy(), logging.Logger("own")
    own.addHandler(secrecy)
    with secrecy.watching(monkeypatch, logging.NullHandler()):
        shown = use(what).decode()
    secrecy.check()
    try:
        raise RuntimeError(shown if what == "traceback" else "")
    except RuntimeError:
        own.debug("it is %s", "" if what == "traceback" else shown, exc_info=True)
    with pytest.raises(AssertionError, match="a secret was logged"):
        secrecy.check()


def test_this_file_is_watched(request: pytest.FixtureRequest) -> None:
    assert deals_in_secrets(request.module)
    assert not deals_in_secrets(logging)


# Changes of passwords that fail.


@pytest.mark.parametrize("status", ["Accepted", "Rejected", "RebootRequired", "NotSupported", "CALLERROR", "malformed"])
def test_a_change_that_cannot_be_stored_is_logged_without_the_password(
    caplog: pytest.LogCaptureFixture, status: str
) -> None:
    stored: list[Any] = []

    def store(charge_point_id: str, hashes: tuple[str, ...]) -> None:
        stored.append(hashes)
        if len(stored) > 1:
            raise OSError("the disk is full")

    passwords = Passwords({"CP1": quick(OLD)}, on_change=store, hasher=quick)
    headers = {"Authorization": basic("CP1", OLD)}
    events = Recorder()
    with serving(security=SecurityProfiles(passwords=passwords)) as cs:
        accept_boots(cs)
        cs.add_connection_listener(events)
        with raw(cs, additional_headers=headers) as peer:
            events.wait()
            future = cs.submit_request("CP1", "ChangeConfiguration", {"key": "AuthorizationKey", "value": NEW})
            _, message_id, _, payload = peer.read()
            assert payload["value"] == NEW
            answer: Any = [3, message_id, {"status": status}]
            if status == "CALLERROR":
                answer = [4, message_id, "GenericError", json.dumps(payload), {"quoted": payload}]
            peer.send(json.dumps(answer)[: -2 if status == "malformed" else None])
            if status == "malformed":
                peer.send([4, message_id, "GenericError", "", {}])
            error = future.exception(DEADLINE)
    assert NEW not in repr(error)
    if status == "Accepted":
        assert "ocppsync.security.passwords.PendingPassword.accepted failed on thread" in caplog.text


def test_no_repr_shows_a_secret() -> None:
    payload = {"key": "AuthorizationKey", "value": NEW}
    (change,) = password_changes("1.6", "ChangeConfiguration", payload)
    passwords = Passwords({"CP1": quick(OLD)}, on_change=lambda *_: None, hasher=quick)
    pending = passwords.offer("CP1", change.password)
    hashed = quick(NEW)
    fields = {"Authorization": basic("CP1", OLD), "Cookie": NEW, "X-Api-Key": NEW, "X-Auth": NEW, "X-Access-Token": NEW}
    fields["X-Original-URI"] = f"/CP1?key={NEW}"
    request = HttpRequest("GET", "/CP1", f"token={NEW}", Headers(tuple(fields.items())), ("127.0.0.1", 1))
    shown = repr(
        [change, passwords, pending, module._parse(hashed), request, functools.partial(print, change, request)]
    )
    for secret in (NEW, OLD.decode(), basic("CP1", OLD), hashed[20:], repr(bytes.fromhex(NEW))[2:-1]):
        assert secret not in shown

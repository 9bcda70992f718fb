"""Guesses of a stranger, who must not learn which identities exist, or how they authenticate."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from bystander import besieged
from certificates import Authority
from support import basic, serving
from wire import dial, request

from ocppsync import Limits, Passwords, SecurityProfiles, ServerTLS, hash_password
from ocppsync.server.admission import Credentials

quick = functools.partial(hash_password, n=2)
KNOWN = {"one": 1, "two": 2, "three": 3, "reached": 1}
"""The lowest profile of each charge point; the last one has reached profile 3 since."""
IDENTITIES = [*KNOWN, "unknown", "without-a-password", "half-known"]
GUESSES: dict[str, Callable[[str], str | None]] = {
    "nothing": lambda name: None,
    "another scheme": lambda name: "Bearer x",
    "a password": lambda name: basic(name, b"a guess"),
    "a password of 1.6": lambda name: basic(name, b"00112233445566778899aabbccddeeff"),
    "another's name": lambda name: basic("two", b"a guess"),
    "another's password": lambda name: basic(name, b"password of three"),
    "an empty name": lambda name: basic("", b"a guess"),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ServerTLS:
    own = authority.issue("localhost")
    return ServerTLS([own], client_ca=authority.certificate, client_certificates="optional")


def profiles(kind: str) -> SecurityProfiles:
    """Those of the charge points above, with passwords, certificates or both."""
    serials = {"three": "SN3", "half-known": "SN4", "reached": "SN5"}
    hashes = {name: quick(f"password of {name}") for name in KNOWN}
    options: dict[str, Any] = {
        "passwords": {"passwords": Passwords(hashes, hasher=quick, hex_text=True)},
        "certificates": {"serial_number_of": serials},
        "both": {"passwords": Passwords(hashes, hasher=quick, hex_text=True), "serial_number_of": serials},
    }[kind]
    security = SecurityProfiles(minimum_profile=KNOWN, **options)
    security.connected("reached", Credentials(3, minimum_profile=1))
    return security


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize("way", ["ws", "wss", "a certificate"])
@pytest.mark.parametrize("kind", ["passwords", "certificates", "both"])
def test_every_guess_gets_the_same_answer_for_the_same_work(
    kind: str,
    way: str,
    guess: str,
    authority: Authority,
    tls: ServerTLS,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashes: list[int] = []
    scrypt = hashlib.scrypt

    def count_and_hash(password: bytes, **options: Any) -> bytes:
        hashes.append(options["n"])
        return scrypt(password, **options)

    certificate = authority.issue("SN9", hosts=[]) if way == "a certificate" else None
    dialling = {} if way == "ws" else {"ssl_context": authority.client_context(certificate)}
    options: dict[str, Any] = {} if way == "ws" else {"ssl_context": tls}
    security = profiles(kind)
    monkeypatch.setattr(hashlib, "scrypt", count_and_hash)
    answers = {}
    with serving(security=security, limits=Limits(failed_authentications=None), **options) as cs:
        for name in IDENTITIES:
            hashes.clear()
            with dial(cs.port, **dialling) as stranger:
                answer = stranger.ask(request(f"/{name}", Authorization=GUESSES[guess](name)))
                stranger.wait_for_end()
            answers[name] = (answer, tuple(hashes))
    assert len(set(map(repr, answers.values()))) == 1, answers
    assert answers["unknown"][0].status == (403 if kind == "certificates" else 401)


def test_failures_are_counted_for_the_unknown_as_well(caplog: pytest.LogCaptureFixture) -> None:
    with serving(security=profiles("both"), limits=Limits(failed_authentications=2)) as cs:
        statuses = {}
        for number, name in enumerate(IDENTITIES):
            statuses[name] = []
            for _ in range(4):
                with dial(cs.port, source=f"127.0.1.{number + 1}") as stranger:
                    answer = stranger.ask(request(f"/{name}", Authorization=basic(name, b"a guess")))
                    statuses[name].append((answer.status, answer.header("Retry-After") is None))
    assert set(map(tuple, statuses.values())) == {((401, True), (401, True), (429, False), (429, False))}


def test_bystanders_do_not_notice(caplog: pytest.LogCaptureFixture) -> None:
    everybody = SecurityProfiles(
        passwords=Passwords({"three": quick("three")}, hasher=quick),
        minimum_profile=lambda name: 0 if name.startswith("bystander") else 3,
    )
    with besieged(caplog, security=everybody, limits=Limits(failed_authentications=None)) as siege:
        for name in ("three", "unknown") * 10:
            with dial(siege.port) as stranger:
                assert stranger.ask(request(f"/{name}", Authorization=basic(name, b"password of three"))).status == 401
        siege.bystanders.serve_on()

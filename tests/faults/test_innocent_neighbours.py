"""Charge points that share an address, or the server, with peers that reach its limits."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import pytest
from bystander import Siege, besieged, heartbeat
from support import Recorder, basic, wait_until
from wire import Peer, dial, request

from ocppsync import Limits, Passwords, SecurityProfiles, hash_password
from ocppsync.central_system import server_of
from ocppsync.server import handshakes

quick = functools.partial(hash_password, n=2)
ATTACKERS = [f"127.0.0.{number}" for number in range(2, 5)]


def status(siege: Siege, charge_point_id: str, password: bytes, source: str = "127.0.0.2") -> int:
    with dial(siege.port, source=source) as peer:
        return peer.ask(request(f"/{charge_point_id}", Authorization=basic(charge_point_id, password))).status


def test_wrong_passwords_behind_an_address_do_not_lock_the_right_one_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocppsync.wire.streams._LINGER", 0.05)
    security = SecurityProfiles(
        passwords=Passwords({f"CP{number}": quick("right") for number in range(8)}, hasher=quick),
        minimum_profile=lambda name: 0 if name.startswith("bystander") else 1,
    )
    with besieged(caplog, security=security, limits=Limits(failed_authentications=4)) as siege:

        def try_wrong_ones() -> None:
            """Six charge points try until they are not even asked any more."""
            for number in range(6):
                assert {status(siege, f"CP{number}", b"wrong") for _ in range(6)} >= {429}

        try_wrong_ones()
        assert status(siege, "CP6", b"right") == 101, "it has never come before"
        try_wrong_ones()
        for number in range(40, 60):  # and somebody guesses names
            status(siege, f"CP{number}", b"right")
        assert status(siege, "CP7", b"right") == 429, "nothing is known of it"
        assert status(siege, "CP6", b"right") == 101, "it has proved itself from there"
        # Somebody guesses its password, from there.
        assert [status(siege, "CP6", b"wrong") for _ in range(5)] == [401] * 4 + [429]
        assert status(siege, "CP6", b"right") == 101, "its password is remembered"
        assert status(siege, "CP7", b"right", "127.0.0.9") == 101


class Crowd:
    """Peers that begin a handshake and do not finish it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, peers: contextlib.ExitStack) -> None:
        self._peers = peers
        self._begun = Recorder()
        begin = handshakes.Handshakes.begin

        def begin_and_tell(*args: Any, **options: Any) -> Any:
            outcome = begin(*args, **options)
            self._begun(outcome[0])
            return outcome

        monkeypatch.setattr(handshakes, "_SLOW", -1.0)
        monkeypatch.setattr(handshakes.Handshakes, "begin", begin_and_tell)

    def come(self, siege: Siege, *sources: str) -> list[Peer]:
        """Let peers come, each when the one before it has got a place, or none."""
        came = []
        for source in sources:
            count = len(self._begun.items)
            peer = self._peers.enter_context(dial(siege.port, source=source))
            peer.send(b"GET ")
            came.append(peer)
            self._begun.wait(count + 1)
        return came


def test_slow_handshakes_of_a_few_addresses_leave_those_of_others_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(handshakes=6, handshakes_per_address=2)
    with besieged(caplog, limits=limits) as siege, contextlib.ExitStack() as peers:
        crowd = Crowd(monkeypatch, peers)
        crowd.come(siege, *ATTACKERS * 2)
        (slow,) = crowd.come(siege, "127.0.0.9")
        crowd.come(siege, *ATTACKERS * 4)
        slow.send(request("/slow")[len("GET ") :])
        assert slow.read_response().status == 101
        heartbeat(slow, "1")


def test_slow_handshakes_of_many_addresses_leave_those_alone_that_are_known(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers = [f"127.0.1.{number}" for number in range(1, 7)]
    options: dict[str, Any] = {"authorize": lambda *_: True, "limits": Limits(handshakes=6)}
    with besieged(caplog, **options) as siege, contextlib.ExitStack() as peers:
        with siege.attacker("known", source="127.0.0.9"):
            pass
        crowd = Crowd(monkeypatch, peers)
        crowd.come(siege, *strangers)
        (known,) = crowd.come(siege, "127.0.0.9")
        crowd.come(siege, *strangers * 2)
        known.send(request("/known")[len("GET ") :])
        assert known.read_response().status == 101
        heartbeat(known, "1")


def test_who_was_refused_keeps_nobody_out(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not close after its refusal is waited for, but not while another wants its place."""
    monkeypatch.setattr("ocppsync.wire.streams._LINGER", 60.0)
    with besieged(caplog, limits=Limits(handshakes=2)) as siege, contextlib.ExitStack() as peers:
        refused = [peers.enter_context(dial(siege.port)) for _ in range(2)]
        for peer in refused:
            assert peer.ask(request("/", Upgrade=None)).status == 426
        wait_until(lambda: "refused=2" in repr(server_of(siege.cs).context.acceptor._handshakes))
        with siege.attacker() as newcomer:
            heartbeat(newcomer, "1")
        for peer in refused:
            peer.sock.close()

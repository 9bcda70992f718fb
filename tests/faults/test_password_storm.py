"""A fleet with passwords that comes back at once: each charge point costs one hash, and only if it still waits."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bystander import Siege, besieged, heartbeat
from certificates import Authority
from support import DEADLINE, Recorder, basic, serving, wait_until
from wire import Peer, dial, request

from ocppsync import CentralSystem, Limits, Passwords, SecurityProfiles, hash_password
from ocppsync.security import passwords as module
from ocppsync.security.hash_line import HashLine
from ocppsync.server import handshakes

quick = functools.partial(hash_password, n=2)


class Fleet:
    """Charge points with passwords, and the hashes that they cost.

    Attributes:
        hashing: the password of each hash that was begun; each waits for `let_hash`.
        passwords: those of the charge points ``CP0`` to ``CP99``.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        self.passwords = Passwords({f"CP{number}": quick(f"secret {number}") for number in range(100)}, hasher=quick)
        self.security = SecurityProfiles(
            passwords=self.passwords, minimum_profile=lambda name: 0 if name.startswith("bystander") else 1
        )
        self.hashing = Recorder()
        self._turns = threading.Semaphore(0)
        derive = module._derive

        def wait_and_derive(password: bytes, parts: Any) -> bytes:
            self.hashing(password.decode())
            assert self._turns.acquire(timeout=DEADLINE)
            return derive(password, parts)

        monkeypatch.setattr(module, "_derive", wait_and_derive)

    def let_hash(self, count: int = 1) -> None:
        self._turns.release(count)

    def wait_for_line(self, length: int) -> None:
        """Wait until so many wait for their hash."""
        wait_until(lambda: len(self.passwords._line._waiting) == length)

    def wait_for_rest(self) -> None:
        """Wait until no hash is made, and nobody waits for one."""
        wait_until(lambda: "waiting=0 free=1" in repr(self.passwords._line))


def ask(server: Siege | CentralSystem, number: int, **dialling: Any) -> Peer:
    """A charge point that has sent its request."""
    peer = dial(server.port, **dialling)
    authorization = basic(f"CP{number}", f"secret {number}".encode())
    peer.send(request(f"/CP{number}", Authorization=authorization))
    return peer


def ask_in_turn(siege: Siege, fleet: Fleet, numbers: range) -> list[Peer]:
    """Charge points that wait for their hash, in this order."""
    peers = []
    for place, number in enumerate(numbers, 1):
        peers.append(ask(siege, number))
        fleet.wait_for_line(place)
    return peers


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(monkeypatch)


@pytest.fixture
def siege(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> Iterator[Siege]:
    with besieged(caplog, security=fleet.security) as siege:
        yield siege


def test_a_charge_point_that_has_given_up_costs_no_hash(siege: Siege, fleet: Fleet) -> None:
    with contextlib.ExitStack() as peers:
        first = peers.enter_context(ask(siege, 0))
        fleet.hashing.wait()
        *gone, patient = map(peers.enter_context, ask_in_turn(siege, fleet, range(1, 6)))
        for peer in gone:
            peer.hang_up()
        fleet.let_hash(2)
        for peer in (first, patient):
            assert peer.read_response().status == 101
            heartbeat(peer, "1")
        for peer in gone:
            assert peer.read_rest() == b""
    assert fleet.hashing.items == ["secret 0", "secret 5"]


def test_one_that_has_given_up_over_tls_costs_none_either(fleet: Fleet, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.client_context()
    with (
        serving(security=fleet.security, ssl_context=authority.server_context()) as cs,
        ask(cs, 0, ssl_context=tls) as first,
    ):
        fleet.hashing.wait()
        with ask(cs, 1, ssl_context=tls) as gone:
            fleet.wait_for_line(1)
            gone.hang_up()
            fleet.let_hash()
            assert first.read_response().status == 101
            fleet.wait_for_rest()
    assert fleet.hashing.items == ["secret 0"]


def test_a_fleet_that_gives_up_and_comes_again_gets_in_with_one_hash_for_each(siege: Siege, fleet: Fleet) -> None:
    """Even if nobody has the patience to wait for the end of its own hash."""
    with contextlib.ExitStack() as peers:
        outside = list(range(8))
        for _ in range(8):
            attempts = [(number, peers.enter_context(ask(siege, number))) for number in outside]
            # Those with a remembered password do not wait for the hash that is being made.
            known = [number for number in outside if fleet.passwords.remembers(f"CP{number}", _secret(number))]
            fleet.wait_for_line(len(outside) - len(known) - 1)
            for number, peer in attempts:
                if number in known:
                    assert peer.read_response().status == 101
                    heartbeat(peer, "1")
                else:
                    peer.hang_up()
            outside = [number for number in outside if number not in known]
            fleet.let_hash()
            fleet.wait_for_rest()
        (last,) = outside
        with ask(siege, last) as peer:
            assert peer.read_response().status == 101
        assert len(fleet.hashing.items) == 8
        assert siege.said("handshakes in progress") == []


def test_who_waits_for_a_hash_is_not_slow(
    fleet: Fleet, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_SLOW", -1.0)
    with (
        besieged(caplog, security=fleet.security, limits=Limits(handshakes=4)) as siege,
        contextlib.ExitStack() as peers,
    ):
        patient = [peers.enter_context(ask(siege, 0))]
        fleet.hashing.wait()
        patient += map(peers.enter_context, ask_in_turn(siege, fleet, range(1, 4)))
        for _ in range(4):
            with dial(siege.port) as newcomer:
                assert newcomer.read_response().status == 503
        siege.bystanders.serve_on()
        fleet.let_hash(4)
        for peer in patient:
            assert peer.read_response().status == 101
            heartbeat(peer, "1")
    assert fleet.hashing.items == [f"secret {number}" for number in range(4)]


def _secret(number: int) -> bytes:
    return f"secret {number}".encode()


def test_a_hopeless_line_is_not_joined(siege: Siege, fleet: Fleet) -> None:
    fleet.passwords._line = HashLine(4.0, at_once=1)
    with contextlib.ExitStack() as peers:
        patient = [peers.enter_context(ask(siege, 0))]
        fleet.hashing.wait()
        patient += map(peers.enter_context, ask_in_turn(siege, fleet, range(1, 3)))
        for _ in range(3):
            with ask(siege, 3) as late:
                response = late.read_response()
                assert (response.status, response.header("Retry-After")) == (503, "12")
                late.wait_for_end()
        siege.bystanders.serve_on()
        fleet.let_hash(3)
        for peer in patient:
            assert peer.read_response().status == 101
        # The line is short again; and who is known needs none.
        fleet.let_hash(1)
        with ask(siege, 3) as late, ask(siege, 1) as known:
            assert [peer.read_response().status for peer in (late, known)] == [101, 101]
    assert fleet.hashing.items == ["secret 0", "secret 1", "secret 2", "secret 3"]

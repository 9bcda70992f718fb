"""What is read of messages that are not complete yet is bounded in bytes, for all connections together."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest
from bystander import besieged
from support import serving, wait_until
from wire import CONTINUATION, TEXT, Peer, dial, frame

from ocppsync import CentralSystem, Limits
from ocppsync.budget import Budget
from ocppsync.central_system import server_of
from ocppsync.wire.websocket import WebSocket

KIB = 1024
LONG = frame(TEXT, '[2,"1","DataTransfer",{"vendorId":"' + "x" * 100 * KIB + '"}]')
PARTS = frame(TEXT, '[2,"1","', fin=False) + frame(CONTINUATION, "xx", fin=False) * 20 * KIB
"""Fragments of two characters, without the last one."""


@contextlib.contextmanager
def charge_point(cs: CentralSystem, name: str = "CP1") -> Iterator[Peer]:
    with dial(cs.port or 0) as peer:
        peer.upgrade(f"/{name}")
        yield peer


def budget_of(cs: CentralSystem) -> Budget:
    return server_of(cs).context.acceptor._unfinished


def websocket_of(cs: CentralSystem, name: str = "CP1") -> WebSocket:
    transport = server_of(cs).context.registry.connected[name]._transport
    assert isinstance(transport, WebSocket)
    return transport


@pytest.mark.parametrize("data", [LONG[:-1], PARTS])
def test_a_message_counts_until_it_is_complete(data: bytes) -> None:
    with serving() as cs, charge_point(cs) as peer:
        budget = budget_of(cs)
        peer.send(data)
        least = 90 * KIB - 16 * KIB if data is not PARTS else 40 * KIB - 16 * KIB
        wait_until(lambda: budget.used >= least)
        if data is PARTS:
            assert sys.getsizeof(websocket_of(cs)._parts) < 2 * 41 * KIB
        peer.send(LONG[-1:] if data is not PARTS else frame(CONTINUATION, '"]'))
        peer.read_text()
        wait_until(lambda: budget.used == 0)


def test_ordinary_messages_do_not_count() -> None:
    with serving(limits=Limits(unfinished_bytes_total=1)) as cs, charge_point(cs) as peer:
        data = frame(TEXT, '[2,"1","DataTransfer",{"vendorId":"' + "x" * 15 * KIB + '"}]')
        for _ in range(3):
            peer.send(data[:-1])
            peer.send(data[-1:])
            peer.read_text()


def test_one_message_too_many_is_told_to_try_again(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(unfinished_bytes_total=150 * KIB)
    with besieged(caplog, limits=limits) as siege:
        attackers = [siege.attacker(f"attacker-{number}") for number in range(4)]
        budget = budget_of(siege.cs)
        attackers[0].send(LONG[:-1])
        wait_until(lambda: budget.used > 80 * KIB)
        attackers[1].send(LONG[:-1])
        assert attackers[1].read_close() == (1013, "too many long messages at once")
        assert siege.said("attacker-1 sends a long message while all connections together have too many unfinished")
        wait_until(lambda: budget.used < 90 * KIB)
        assert websocket_of(siege.cs, "attacker-1")._frames.buffer == b""
        siege.bystanders.serve_on()
        for attacker in attackers:
            attacker.sock.close()
        wait_until(lambda: budget.used == 0)
        with siege.attacker("late") as late:
            late.send(LONG)
            late.read_text()


def test_without_a_limit_each_may_send_what_it_likes() -> None:
    with serving(limits=Limits(unfinished_bytes_total=None)) as cs, contextlib.ExitStack() as peers:
        for number in range(10):
            peers.enter_context(charge_point(cs, f"CP{number}")).send(LONG[:-1])
        wait_until(lambda: budget_of(cs).used > 800 * KIB)

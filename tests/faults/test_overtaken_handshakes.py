"""Charge points that give a slow handshake up and try again: the newest attempt counts, and nobody who has gone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bystander import Siege, besieged, heartbeat
from certificates import Authority
from support import Recorder
from wire import DEADLINE, Peer, dial, request

from ocppsync import Passwords, SecurityProfiles
from ocppsync.central_system import server_of
from ocppsync.server.admission import Credentials
from ocppsync.wire.streams import Stream


class SlowOnce:
    """An `authorize` that lets everybody in, the first time it sees the attacker only when it is told to."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, http_request: Any, charge_point_id: str) -> bool:
        if charge_point_id == "attacker" and not self.began.is_set():
            self.began.set()
            assert self.go_on.wait(DEADLINE)
        return True


def close(peer: Peer) -> None:
    peer.sock.close()


def reset(peer: Peer) -> None:
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.sock.close()


def talk_and_close(peer: Peer) -> None:
    peer.send_text('[2,"1","Heartbeat",{}]')
    peer.send_close()
    peer.sock.close()


def wait_until_gone(siege: Siege, stream: Stream | None = None) -> None:
    """Wait until the end of a connection has arrived, of the only one in its handshake by default."""
    deadline = time.monotonic() + DEADLINE
    if stream is None:
        (stream,) = server_of(siege.cs).context.acceptor._handshakes._deciding
    while not stream.peer_has_left:
        assert time.monotonic() < deadline
        siege.bystanders.serve_on(1)


def wait_logged(siege: Siege, caplog: pytest.LogCaptureFixture, text: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while text not in caplog.text:
        assert time.monotonic() < deadline, f"{text!r} was not logged"
        siege.bystanders.serve_on(1)


@pytest.mark.parametrize("way", ["ws", "wss"])
@pytest.mark.parametrize("leave", [close, reset, talk_and_close])
def test_a_charge_point_that_has_hung_up_does_not_end_its_next_connection(
    leave: Callable[[Peer], None], way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow, dialling = SlowOnce(), {}
    options: dict[str, Any] = {"authorize": slow}
    if way == "wss":
        authority = Authority(tmp_path)
        options["ssl_context"] = authority.server_context()
        dialling = {"ssl_context": authority.client_context()}
    with besieged(caplog, dialling=dialling, **options) as siege:
        impatient = dial(siege.port, **dialling)
        impatient.send(request("/attacker"))
        assert slow.began.wait(DEADLINE)
        leave(impatient)
        wait_until_gone(siege)
        with siege.attacker(**dialling) as again:
            heartbeat(again, "1")
            slow.go_on.set()
            wait_logged(siege, caplog, "attacker was not let in: it closed its connection in the meantime")
            heartbeat(again, "2")
        siege.wait_gone()
        assert siege.said("connected again") == []
        assert [event for event in siege.events.items if event[0] == "attacker"] == [
            ("attacker", "connected"),
            ("attacker", "disconnected"),
        ]


def test_a_charge_point_that_has_hung_up_is_not_connected_for_a_moment(caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowOnce()
    with besieged(caplog, authorize=slow) as siege:
        with dial(siege.port) as impatient:
            impatient.send(request("/attacker"))
            assert slow.began.wait(DEADLINE)
        wait_until_gone(siege)
        slow.go_on.set()
        wait_logged(siege, caplog, "attacker was not let in")
        assert [event for event in siege.events.items if event[0] == "attacker"] == []


def test_an_older_attempt_is_refused_while_a_newer_one_is_connected(caplog: pytest.LogCaptureFixture) -> None:
    slow, refused = SlowOnce(), Recorder()

    def observe(event: Any) -> None:
        if type(event).__name__ == "Refused":
            refused(event.status)

    with besieged(caplog, authorize=slow, observers=[observe]) as siege, dial(siege.port) as older:
        older.send(request("/attacker"))
        assert slow.began.wait(DEADLINE)
        with siege.attacker() as newer:
            heartbeat(newer, "1")
            slow.go_on.set()
            answer = older.read_response()
            assert (answer.status, answer.body) == (409, "409 Conflict\n")
            older.wait_for_end()
            heartbeat(newer, "2")
        siege.wait_gone()
        assert refused.wait() == [409]
        assert len(siege.said("'attacker' has connected again in the meantime")) == 1
        assert siege.said("closing its previous connection") == []


def test_an_older_attempt_counts_if_the_newer_one_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowOnce()
    with besieged(caplog, authorize=slow) as siege, dial(siege.port) as older:
        older.send(request("/attacker"))
        assert slow.began.wait(DEADLINE)
        with siege.attacker() as newer:
            heartbeat(newer, "1")
        siege.wait_gone()
        slow.go_on.set()
        assert older.read_response().status == 101
        heartbeat(older, "1")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_attempt_that_came_to_nothing_changes_no_profile_or_password(
    moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The charge point leaves in `authorize`, or while its profile is stored; only then was it still there."""
    slow, stored = SlowOnce(), Recorder()

    class Profiles(SecurityProfiles):
        def connected(self, charge_point_id: str, credentials: Credentials) -> None:
            if charge_point_id == "attacker":
                stored(credentials.profile)
                if moment == "after":
                    slow.began.set()
                    assert slow.go_on.wait(DEADLINE)

    security = Profiles(passwords=Passwords({}), minimum_profile=0)
    options: dict[str, Any] = {"authorize": slow} if moment == "before" else {}
    with besieged(caplog, security=security, **options) as siege:
        acceptor: Any = server_of(siege.cs).context.acceptor
        upgrade, upgraded = acceptor.upgrade, Recorder()

        def note_and_upgrade(stream: Stream, admitted: Any) -> Any:
            upgraded(stream)
            return upgrade(stream, admitted)

        acceptor.upgrade = note_and_upgrade
        impatient = dial(siege.port)
        impatient.send(request("/attacker"))
        assert slow.began.wait(DEADLINE)
        impatient.sock.close()
        wait_until_gone(siege, None if moment == "before" else upgraded.wait()[0])
        slow.go_on.set()
        wait_logged(siege, caplog, "attacker was not let in")
        assert stored.items == ([] if moment == "before" else [0])
        assert [event for event in siege.events.items if event[0] == "attacker"] == []

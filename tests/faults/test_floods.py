"""Peers that send or open more than anybody needs."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from functools import partial
from typing import Any

import pytest
from bystander import besieged, heartbeat
from support import Recorder, basic, wait_until
from wire import DEADLINE, PING, PONG, TEXT, Peer, dial, frame, request

from ocppsync import Limits, Passwords, SecurityProfiles, Timeouts, hash_password
from ocppsync.central_system import server_of
from ocppsync.server import handshakes

HEARTBEAT = '[2,"%d","Heartbeat",{}]'


@pytest.mark.slow
def test_2000_handshakes_that_are_opened_and_abandoned(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, limits=Limits(handshakes=100)) as siege:
        open_ones: deque[Peer] = deque()
        for number in range(2000):
            peer = dial(siege.port)
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                peer.send(request("/attacker")[: number % 60])
            open_ones.append(peer)
            if len(open_ones) > 300:
                open_ones.popleft().sock.close()
        siege.wait_said("100 handshakes in progress")
        for peer in open_ones:
            peer.sock.close()


def test_slow_handshakes_give_way(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "_SLOW", 0.0)
    heard = Recorder()
    with besieged(caplog, limits=Limits(handshakes=4), on_raw_socket_data=heard) as siege:
        silent = [dial(siege.port) for _ in range(4)]
        for peer in silent:
            peer.send(request("/silent")[:20])
        heard.wait_until(lambda items: items.count(request("/silent")[:20]) == 4)
        # As many again: each takes the place of one of those above, and then of one of its own.
        for _ in range(8):
            with siege.attacker() as attacker:
                heartbeat(attacker, "1")
            siege.wait_gone()
            siege.events.items.clear()
        for peer in silent:
            peer.sock.close()


def test_where_no_handshake_is_slow_the_newcomer_waits_outside(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_SLOW", 10 * DEADLINE)
    deciding, decided = threading.Semaphore(0), threading.Event()

    def authorize(http_request: Any, charge_point_id: str) -> bool:
        if not charge_point_id.startswith("undecided"):
            return True
        deciding.release()
        return decided.wait(DEADLINE)

    with besieged(caplog, authorize=authorize, limits=Limits(handshakes=2)) as siege:
        undecided = [dial(siege.port) for _ in range(2)]
        for number, peer in enumerate(undecided):
            peer.send(request(f"/undecided-{number}"))
            assert deciding.acquire(timeout=DEADLINE)
        with dial(siege.port) as newcomer:
            response = newcomer.read_response()
            assert (response.status, response.header("Retry-After")) == (503, "30")
            newcomer.wait_for_end()
        decided.set()
        for peer in undecided:
            assert peer.read_response().status == 101
            peer.sock.close()
        assert len(siege.said("2 handshakes in progress")) == 1


def test_an_application_that_hangs_costs_no_more_threads_than_handshakes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long its peers have waited, none makes room for another one that would wait as well."""
    monkeypatch.setattr(handshakes, "_SLOW", -1.0)
    deciding, decided = Recorder(), threading.Event()

    def authorize(http_request: Any, charge_point_id: str) -> bool:
        if charge_point_id.startswith("bystander"):
            return True
        deciding(charge_point_id)
        return decided.wait(DEADLINE)

    def threads() -> int:
        return sum(thread.name == "ocppsync-reader" for thread in threading.enumerate())

    with (
        besieged(caplog, authorize=authorize, limits=Limits(handshakes=5)) as siege,
        contextlib.ExitStack() as peers,
    ):
        first = [peers.enter_context(dial(siege.port)) for _ in range(5)]
        for number, peer in enumerate(first):
            peer.send(request(f"/first-{number}"))
        deciding.wait(5)
        for _ in range(30):
            with dial(siege.port) as newcomer:
                response = newcomer.read_response()
                assert (response.status, response.header("Retry-After")) == (503, "30")
                newcomer.wait_for_end()
        # One that hangs up keeps its place: its thread is in the hands of the application.
        first[0].hang_up()
        with dial(siege.port) as newcomer:
            assert newcomer.read_response().status == 503
        wait_until(lambda: threads() == 5)
        siege.bystanders.serve_on()
        assert len(deciding.items) == 5
        decided.set()
        for peer in first[1:]:
            assert peer.read_response().status == 101
        with siege.attacker() as attacker:
            heartbeat(attacker, "1")
        (told,) = siege.said("5 handshakes in progress")
        assert "5 of them wait for passwords to be checked or for the application" in told


def test_what_hangs_between_the_decision_and_the_connection_counts_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_SLOW", -1.0)
    raised, stored = Recorder(), threading.Event()

    def store(charge_point_id: str, profile: int) -> None:
        raised(charge_point_id)
        assert stored.wait(DEADLINE)

    quick = partial(hash_password, n=2)
    passwords = Passwords({f"CP{number}": quick("secret") for number in range(4)}, hasher=quick)
    security = SecurityProfiles(passwords=passwords, minimum_profile=0, on_profile_raised=store)
    with besieged(caplog, security=security, limits=Limits(handshakes=3)) as siege, contextlib.ExitStack() as peers:
        first = [peers.enter_context(dial(siege.port)) for _ in range(3)]
        for number, peer in enumerate(first):
            peer.send(request(f"/CP{number}", Authorization=basic(f"CP{number}", b"secret")))
        raised.wait(3)
        for _ in range(5):
            with dial(siege.port) as newcomer:
                assert newcomer.read_response().status == 503
        siege.bystanders.serve_on()
        first[0].hang_up()
        stored.set()
        for peer in first[1:]:
            assert peer.read_response().status == 101
            heartbeat(peer, "1")
        # Connected, they do not count any more, with a subprotocol and without.
        wait_until(lambda: "reading=0 deciding=0" in repr(server_of(siege.cs).context.acceptor._handshakes))
        for _ in range(3):
            without = peers.enter_context(dial(siege.port))
            assert without.ask(request("/CP9", Sec_WebSocket_Protocol="ocpp9")).status == 101
        with dial(siege.port) as newcomer:
            newcomer.upgrade("/CP8")


def test_one_address_leaves_handshakes_for_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_SLOW", 10 * DEADLINE)
    heard = Recorder()
    limits = Limits(handshakes=3, handshakes_per_address=2)
    with besieged(caplog, limits=limits, on_raw_socket_data=heard) as siege, contextlib.ExitStack() as peers:
        for _ in range(2):
            peers.enter_context(dial(siege.port, source="127.0.0.2")).send(b"GET /silent")
        heard.wait_until(lambda items: items.count(b"GET /silent") == 2)
        with dial(siege.port, source="127.0.0.2") as another:
            assert another.read_response().status == 503
        with siege.attacker() as neighbour:
            heartbeat(neighbour, "1")
        assert len(siege.said("2 handshakes of 127.0.0.2 in progress")) == 1
        assert siege.said("3 handshakes") == []


def test_slow_handshakes_of_an_address_give_way_to_its_own(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_SLOW", 0.0)
    heard = Recorder()
    limits = Limits(handshakes_per_address=1)
    with besieged(caplog, limits=limits, on_raw_socket_data=heard) as siege, contextlib.ExitStack() as peers:
        slow = [peers.enter_context(dial(siege.port, source=f"127.0.0.{number}")) for number in (2, 3)]
        for peer in slow:
            peer.send(b"GET /silent")
        heard.wait_until(lambda items: items.count(b"GET /silent") == 2)
        with siege.attacker(source="127.0.0.3") as attacker:
            heartbeat(attacker, "1")
        slow[1].wait_for_end()
        slow[0].send(request("/silent")[len("GET /silent") :])
        assert slow[0].read_response().status == 101


def test_the_handshakes_of_a_trusted_proxy_could_be_anybodys(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "_SLOW", 10 * DEADLINE)
    heard = Recorder()
    limits = Limits(handshakes_per_address=1)
    with (
        besieged(caplog, limits=limits, trusted_proxies=["127.0.0.2"], on_raw_socket_data=heard) as siege,
        contextlib.ExitStack() as peers,
    ):
        for _ in range(2):
            peers.enter_context(dial(siege.port, source="127.0.0.2")).send(b"GET /silent")
        heard.wait_until(lambda items: items.count(b"GET /silent") == 2)
        with siege.attacker(source="127.0.0.2") as passed_on:
            heartbeat(passed_on, "1")


@pytest.mark.slow
def test_calls_that_nobody_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def authorize(payload: Any, metadata: Any) -> Any:
        assert release.wait(4 * DEADLINE)
        return {"idTagInfo": {"status": "Accepted"}}

    with besieged(caplog, limits=Limits(queued_calls=10)) as siege:
        siege.cs.on("Authorize")(authorize)
        with siege.attacker() as attacker:
            calls = "".join(f'[2,"{number}","Authorize",{{"idTag":"x"}}]\n' for number in range(1500)).splitlines()
            attacker.send(b"".join(frame(TEXT, call) for call in calls))
            answers = [json.loads(attacker.read_text())]
            # Ten wait and perhaps one is at work: the others are refused while these still wait.
            answers += [json.loads(attacker.read_text()) for _ in range(1500 - 12)]
            siege.bystanders.serve_on()
            release.set()
            answers += [json.loads(attacker.read_text()) for _ in range(11)]
        assert {answer[1] for answer in answers} == {str(number) for number in range(1500)}
        assert sorted({answer[0] for answer in answers}) == [3, 4]
        assert {answer[2] for answer in answers if answer[0] == 4} == {"GenericError"}
        assert len(siege.said("attacker sends CALLs faster")) == 1


def test_a_flood_is_told_again_after_it_was_calm(caplog: pytest.LogCaptureFixture) -> None:
    turns = threading.Semaphore(0)
    started = threading.Semaphore(0)

    def authorize(payload: Any, metadata: Any) -> Any:
        started.release()
        assert turns.acquire(timeout=DEADLINE)
        return {"idTagInfo": {"status": "Accepted"}}

    with besieged(caplog, limits=Limits(queued_calls=1)) as siege:
        siege.cs.on("Authorize")(authorize)
        with siege.attacker() as attacker:
            # Until the listener has run, it is what waits.
            siege.events.wait_until(lambda items: ("attacker", "connected") in items)
            for flood in range(2):
                for number in range(4):
                    attacker.send_text(f'[2,"{flood}-{number}","Authorize",{{"idTag":"x"}}]')
                    if number == 0:
                        assert started.acquire(timeout=DEADLINE)
                assert [json.loads(attacker.read_text())[0] for _ in range(2)] == [4, 4]
                turns.release(2)
                assert [json.loads(attacker.read_text())[0] for _ in range(2)] == [3, 3]
                assert started.acquire(timeout=DEADLINE)
        assert len(siege.said("attacker sends CALLs faster")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("opcode", [PING, PONG])
def test_pings_and_pongs_that_nobody_asked_for(caplog: pytest.LogCaptureFixture, opcode: int) -> None:
    with besieged(caplog) as siege:
        with siege.attacker(receive_buffer=2048) as attacker:
            flood = frame(opcode, "x" * 125) * 500
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                for _ in range(100 if opcode == PING else 10):
                    attacker.send(flood)
            siege.bystanders.serve_on()
        siege.wait_gone()
        # Our pongs find nobody who reads them; pongs ask for nothing.
        assert len(siege.said("does not read the answers to what it sends")) == (opcode == PING)


FAULTS = {
    "malformed": ("hello", None),
    "stray": ('[3,"nobody\'s",{}]', None),
    "unknown": ('[2,"1","Nothing",{}]', "NotImplemented"),
    "not served": ('[2,"1","Authorize",{"idTag":"x"}]', "NotSupported"),
    "invalid": ('[2,"1","Heartbeat",{"a":1}]', "FormationViolation"),
    "a long id": (f'[2,"{"1" * 40}","Heartbeat",{{}}]', "GenericError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_fault_again_and_again_does_not_fill_the_log(caplog: pytest.LogCaptureFixture, fault: str) -> None:
    text, code = FAULTS[fault]
    with besieged(caplog, limits=Limits(malformed_messages=None, queued_calls=1000)) as siege:
        with siege.attacker() as attacker:
            for start in range(0, 500, 50):
                # Each with an id of its own, or it would be a repeat.
                many = (text.replace('"1"', f'"{number}"') for number in range(start, start + 50))
                attacker.send(b"".join(frame(TEXT, one) for one in many))
                for _ in range(50 if code else 0):
                    assert json.loads(attacker.read_text())[2] == code
                heartbeat(attacker, f"after-{start}")
        siege.wait_gone()
        said = siege.said("attacker: ")
        assert len(said) == 9
        assert said[-1].endswith("(256 so far)")
        assert "like this" not in said[0]


def test_refusals_without_end_of_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    release, told = threading.Event(), Recorder()

    def hook(error: Any) -> None:
        told(error.description)
        assert release.wait(DEADLINE)

    with besieged(caplog, on_call_result_error=hook, limits=Limits(queued_calls=5)) as siege:
        with dial(siege.port) as attacker:
            attacker.upgrade("/attacker", Sec_WebSocket_Protocol="ocpp2.1")
            heartbeat(attacker, "1")
            refusals = [frame(TEXT, f'[5,"1","FormatViolation","{number}",{{}}]') for number in range(100)]
            attacker.send(refusals[0])
            told.wait()
            attacker.send(b"".join(refusals[1:]))
            heartbeat(attacker, "2")
            release.set()
            # Five could wait behind the first.
            told.wait(6)
        siege.wait_gone()
        assert len(siege.said("attacker: it cannot use")) == 7
    assert told.items == [str(number) for number in range(6)]


def test_empty_fragments_without_end(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog) as siege:
        with siege.attacker() as attacker:
            attacker.send(frame(TEXT, "[", fin=False) + frame(0, fin=False) * 4000)
            siege.bystanders.serve_on()
            attacker.send(frame(0, '2,"1","Heartbeat",{}]'))
            assert json.loads(attacker.read_text())[:2] == [3, "1"]
        siege.wait_gone()


def test_identities_without_end(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog) as siege:
        for number in range(100):
            with siege.attacker(f"attacker-{number}") as attacker:
                heartbeat(attacker, "1")
        siege.events.wait_until(lambda items: sum(status == "disconnected" for _, status in items) >= 100)


@pytest.mark.slow
def test_one_identity_that_comes_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, timeouts=Timeouts(close=0.2)) as siege:
        peers = [siege.attacker() for _ in range(50)]
        heartbeat(peers[-1], "1")
        for peer in peers[:-1]:
            assert peer.read_close()[0] == 1008
            peer.wait_for_end()
        for peer in peers:
            peer.sock.close()


def test_malformed_messages_end_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, limits=Limits(malformed_messages=3)) as siege:
        with siege.attacker() as attacker:
            for _ in range(3):
                attacker.send_text("hello")
            heartbeat(attacker, "1")
            attacker.send_text("hello")
            assert attacker.read_close() == (1008, "too many malformed messages")
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                attacker.send_text('[2,"2","Heartbeat",{}]')  # is not even looked at
            attacker.wait_for_end()
        siege.wait_gone()
        assert len(siege.said("attacker sent more than 3 malformed messages")) == 1

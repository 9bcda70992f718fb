"""What a peer can make the log say: a few lines, and none of them long, however often it does it."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bystander import besieged, heartbeat
from certificates import Authority
from support import Recorder, basic
from wire import DEADLINE, TEXT, Peer, close_payload, dial, frame, request

from ocppsync import (
    CentralSystem,
    Limits,
    Passwords,
    RequestTimeoutError,
    SecurityProfiles,
    Timeouts,
    Validation,
    hash_password,
    utc_now,
)
from ocppsync.central_system import server_of

TIMES = 40
MOST = 6
"""The first, second, fourth, eighth, sixteenth and thirty-second time."""
LONGEST = 2500
"""Characters of a line; a traceback of a fault in the application has several lines, and may be longer."""
LONG = "x" * 15_000

Flood = Callable[[int], None]


class Lines(logging.Handler):
    """Keeps each line as it would stand in a file."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextlib.contextmanager
def kept() -> Iterator[Lines]:
    logger, lines = logging.getLogger("ocppsync"), Lines()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)
    try:
        yield lines
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)


def floods(lines: Lines, text: str, most: int = MOST) -> None:
    """Check what the lines with a text are: at least one, and few."""
    found = [line for line in lines.lines if text in line]
    assert 1 <= len(found) <= most, found
    for line in lines.lines:
        assert max(map(len, line.splitlines())) < LONGEST, line[:200]


def upgraded(cs: CentralSystem, name: str = "flood", **headers: str | None) -> Peer:
    peer = dial(cs.port)
    peer.upgrade(f"/{name}", **headers)
    return peer


def gone(cs: CentralSystem) -> None:
    """Wait until no connection is served any more."""
    serving = server_of(cs)
    with serving._changed:
        assert serving._changed.wait_for(lambda: not serving._serving, DEADLINE)


def send_again_and_again(cs: CentralSystem, data: bytes) -> None:
    """Send something over many new connections, each up to its end."""
    for _ in range(TIMES):
        with dial(cs.port) as peer:
            peer.send(data)
            peer.sock.shutdown(1)
            peer.wait_for_end()


@contextlib.contextmanager
def under_flood(**options: Any) -> Iterator[tuple[CentralSystem, Lines]]:
    options.setdefault("timeouts", Timeouts(close=1.0))
    with kept() as lines, CentralSystem(0, host="127.0.0.1", **options) as cs:
        cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
        yield cs, lines


# Before the upgrade.


REQUESTS = {
    "a bad request line": (b"nonsense\r\n\r\n", "with HTTP 400"),
    "a long path": (request(f"/a/{LONG}", "POST"), "with HTTP 405"),
    "no upgrade": (request("/flood", upgrade=None), "with HTTP 426"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", "the peer speaks TLS"),
    "nothing": (b"", "the peer closed the connection"),
    "half": (b"GET /flo", "in the request head"),
    "a long head": (request("/flood", Cookie=LONG * 2), "with HTTP 431"),
    "a refused identity": (request(f"/{LONG[:255]}"), "with HTTP 401"),
    "a long identity": (request(f"/{LONG}"), "identify returned"),
    "a forbidden status": (request("/odd"), "authorize must return"),
    "authorize fails": (request("/fails"), "authorize raised an exception"),
    "identify fails": (request("/identify-fails"), "identify raised an exception"),
    "identify returns no text": (request("/identify-odd"), "identify must return the identity"),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_requests(kind: str) -> None:
    data, text = REQUESTS[kind]

    def authorize(http_request: Any, identity: str) -> Any:
        if identity == "fails":
            raise ValueError(LONG)
        return 42 if identity == "odd" else False

    def identify(http_request: Any) -> Any:
        last = http_request.path.rpartition("/")[2]
        if last == "identify-fails":
            raise ValueError(LONG)
        return 42 if last == "identify-odd" else last

    with under_flood(authorize=authorize, identify=identify, limits=Limits(failed_authentications=None)) as (cs, lines):
        send_again_and_again(cs, data)
        gone(cs)
        floods(lines, text, 2 * MOST)
        # A fault of the application has a line of its own, beside that of the refusal.
        assert len(lines.lines) <= (2 if "authorize" in text or "identify" in text else 1) * MOST


def test_tls_errors(tmp_path: Path) -> None:
    with under_flood(ssl_context=Authority(tmp_path).server_context()) as (cs, lines):
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x01\x00", b""):
            send_again_and_again(cs, data)
        gone(cs)
        floods(lines, "TLS handshake", 3 * MOST)
        assert len(lines.lines) <= 3 * MOST


def test_a_new_password_that_cannot_be_stored_when_it_is_used() -> None:
    hashes = {"flood": (hash_password("old", n=2), hash_password("the new one", n=2))}

    def fail(charge_point_id: str, valid: object) -> None:
        raise OSError(LONG)

    security = SecurityProfiles(passwords=Passwords(hashes.get, on_change=fail))
    with under_flood(security=security) as (cs, lines):
        for _ in range(TIMES):
            with upgraded(cs, Authorization=basic("flood", b"the new one")):
                pass
        gone(cs)
        floods(lines, "storing the hashes of flood failed")
        assert not [line for line in lines.lines if "the new one" in line or "scrypt" in line]


def test_too_many_failures_and_connections() -> None:
    limits = Limits(failed_authentications=2, connections=1)
    with under_flood(authorize=lambda http_request, identity: identity == "in", limits=limits) as (cs, lines):
        with upgraded(cs, "in"):
            for _ in range(TIMES):
                with dial(cs.port) as peer:
                    assert peer.ask(request("/out")).status == 503
        gone(cs)
        for _ in range(TIMES):
            with dial(cs.port) as peer:
                assert peer.ask(request("/out")).status in (401, 429)
        gone(cs)
        floods(lines, "with HTTP 503")
        floods(lines, "with HTTP 429")


def test_the_security_profile_fails() -> None:
    def minimum(charge_point_id: str) -> int:
        raise ValueError(LONG)

    security = SecurityProfiles(minimum_profile=minimum, serial_number_of={})
    with under_flood(security=security) as (cs, lines):
        for _ in range(TIMES):
            with dial(cs.port) as peer:
                assert peer.ask(request("/flood")).status == 500
        gone(cs)
        floods(lines, "checking the security profile", 2 * MOST)


def test_no_thread_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with under_flood() as (cs, lines):
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "ocppsync-reader":
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        for _ in range(TIMES):
            with dial(cs.port) as peer:
                peer.wait_for_end()
        floods(lines, "dropped a new connection: can't start new thread")
        assert not any("Traceback" in line for line in lines.lines)


# Connections.


def test_connections_that_come_and_go() -> None:
    name = LONG[:255]
    with under_flood() as (cs, lines):
        for _ in range(TIMES):
            with upgraded(cs, name) as peer:
                peer.send_close()
                peer.wait_for_end()
            gone(cs)
        floods(lines, " connected from ")
        floods(lines, " disconnected (")


def test_takeovers() -> None:
    with under_flood() as (cs, lines):
        for _ in range(TIMES):
            with upgraded(cs) as first, upgraded(cs):
                assert first.read_close()[0] == 1008
        gone(cs)
        floods(lines, "connected again", MOST + 1)
        floods(lines, " connected from ", MOST + 1)


def test_no_common_subprotocol() -> None:
    with under_flood() as (cs, lines):
        for _ in range(TIMES):
            with upgraded(cs, Sec_WebSocket_Protocol=None) as peer:
                peer.read_close()
                peer.send_close(1002)
                peer.wait_for_end()
        gone(cs)
        floods(lines, "no common subprotocol")


BREAKS = {
    "too long": (frame(TEXT, "x" * 300), "sent a message of more than"),
    "not the protocol": (frame(0x3, "x"), "broke the WebSocket protocol"),
    "not masked": (frame(TEXT, "x", masked=False), "broke the WebSocket protocol"),
    "malformed": (frame(TEXT, "x" * 100) * 5, "more than 2 malformed messages"),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_faults_that_end_the_connection(kind: str) -> None:
    data, text = BREAKS[kind]
    with under_flood(limits=Limits(message_size=256, malformed_messages=2)) as (cs, lines):
        for _ in range(TIMES):
            with upgraded(cs) as peer:
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    peer.send(data)
                    peer.read_close()
                    peer.send_frame(0x8, close_payload(1000))
                peer.wait_for_end()
        gone(cs)
        floods(lines, text)


# Messages. Each is sent over connections of its own as well: a count belongs to the identity.


MESSAGES = {
    "malformed": ("x" * 200, None),
    "an unknown type": ('[9,"1","Heartbeat",{}]', None),
    "a stray answer": (f'[3,"{"s" * 30}",{{}}]', None),
    "an unknown action": (f'[2,"%d","{LONG}",{{}}]', None),
    "no handler": ('[2,"%d","Authorize",{"idTag":"x"}]', None),
    "a long id": (f'[2,"{LONG}","Heartbeat",{{}}]', None),
    "an invalid payload": ('[2,"%d","Heartbeat",{"' + LONG + '":1}]', None),
    "a failing handler": ('[2,"%d","DataTransfer",{"vendorId":"x"}]', "the handler of DataTransfer failed"),
    "a failing hook": ('[2,"%d","FirmwareStatusNotification",{"status":"Idle"}]', "what runs after"),
    "a let through payload": ('[2,"%d","MeterValues",{"connectorId":"' + LONG + '"}]', "let through"),
}
WAYS = {"one connection": TIMES, "a connection each": 1}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", MESSAGES)
def test_messages(kind: str, way: str) -> None:
    message, text = MESSAGES[kind]
    options: dict[str, Any] = {
        "validation": Validation(inbound_actions={"MeterValues": "warn"}),
        "limits": Limits(malformed_messages=None),
    }

    def fail(payload: Any, metadata: Any) -> Any:
        raise ValueError(LONG)

    with under_flood(**options) as (cs, lines):
        cs.on("DataTransfer")(fail)
        cs.on("FirmwareStatusNotification")(lambda payload, metadata: {})
        cs.after("FirmwareStatusNotification")(fail)
        cs.on("MeterValues")(lambda payload, metadata: {})
        each = WAYS[way]
        for start in range(0, TIMES, each):
            with upgraded(cs) as peer:
                for number in range(start, start + each):
                    peer.send_text(message.replace("%d", str(number)))
                fence(peer)
                peer.send_close()
                peer.wait_for_end()
            gone(cs)
        assert server_of(cs).context.executor.wait_idle(DEADLINE)
        told = [line for line in lines.lines if "onnected" not in line]
        assert 1 <= len(told) <= MOST, told
        assert text is None or text in told[0]
        floods(lines, "connected from")


def fence(peer: Peer) -> None:
    """Wait until all before was handled."""
    peer.send_text('[2,"fence","Heartbeat",{}]')
    while json.loads(peer.read_text())[1] != "fence":
        pass


def test_answers_that_come_late_or_are_dropped() -> None:
    expired, release = Recorder(), threading.Event()

    def slow(payload: Any, metadata: Any) -> Any:
        assert release.wait(DEADLINE)
        return {"idTagInfo": {"status": "Accepted"}}

    with under_flood(timeouts=Timeouts(handler=0.05, close=1.0), observers=[expired]) as (cs, lines):
        cs.on("Authorize")(slow)
        with upgraded(cs) as peer:
            for number in range(TIMES):
                peer.send_text(f'[2,"{number}","Authorize",{{"idTag":"x"}}]')
            for _ in range(TIMES):
                assert json.loads(peer.read_text())[2] == "InternalError"
            release.set()
            for _ in range(TIMES):
                cs.submit_request("flood", "ClearCache", timeout=0.001).exception(DEADLINE)
        gone(cs)
        assert server_of(cs).context.executor.wait_idle(DEADLINE)
        # Of two kinds: one or two while their handler hangs, the others while they wait for their turn.
        floods(lines, "was answered with InternalError", 2 * MOST)
        floods(lines, "late answer")


def test_answers_to_requests_that_timed_out() -> None:
    with under_flood(request_timeout=0.001) as (cs, lines):
        with upgraded(cs) as peer:
            for _ in range(TIMES):
                cs.submit_request("flood", "ClearCache")
                message = json.loads(peer.read_text())
                while server_of(cs).context.registry.connected["flood"]._engine._outstanding is not None:
                    peer.sock.getpeername()
                peer.send_text(f'[3,"{message[1]}",{{"status":"Accepted"}}]')
                fence(peer)
        gone(cs)
        floods(lines, "after its timeout")


def test_answers_to_requests_that_were_given_up() -> None:
    with under_flood() as (cs, lines):
        with upgraded(cs) as peer:
            for _ in range(TIMES):
                future = cs.submit_request("flood", "ClearCache", timeout=0.001, queue_timeout=DEADLINE)
                message = json.loads(peer.read_text())
                assert isinstance(future.exception(DEADLINE), RequestTimeoutError)
                peer.send_text(f'[3,"{message[1]}",{{"status":"Accepted"}}]')
                fence(peer)
        gone(cs)
        floods(lines, "after its caller had given up")


def test_floods_of_calls_that_come_and_go() -> None:
    turns, started = threading.Semaphore(0), threading.Semaphore(0)

    def authorize(payload: Any, metadata: Any) -> Any:
        started.release()
        assert turns.acquire(timeout=DEADLINE)
        return {"idTagInfo": {"status": "Accepted"}}

    with under_flood(limits=Limits(queued_calls=1)) as (cs, lines):
        cs.on("Authorize")(authorize)
        with upgraded(cs) as peer:
            for flood in range(TIMES):
                for number in range(3):
                    peer.send_text(f'[2,"{flood}-{number}","Authorize",{{"idTag":"x"}}]')
                    if number == 0:
                        assert started.acquire(timeout=DEADLINE)
                assert json.loads(peer.read_text())[0] == 4
                turns.release(2)
                assert [json.loads(peer.read_text())[0] for _ in range(2)] == [3, 3]
                assert started.acquire(timeout=DEADLINE)
        gone(cs)
        floods(lines, "faster than they are handled")


# Functions of the application that fail each time.


def fail(*arguments: Any) -> Any:
    raise ValueError(LONG)


HOOKS: dict[str, tuple[dict[str, Any], str]] = {
    "an observer": ({"observers": [fail]}, "observer failed on MessageReceived"),
    "raw data": ({"on_raw_socket_data": fail}, "on_raw_socket_data failed"),
    "raw messages": ({"on_raw_websocket_data": fail}, "on_raw_websocket_data failed"),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_functions_that_fail(hook: str) -> None:
    options, text = HOOKS[hook]
    with under_flood(**options) as (cs, lines):
        for _ in range(TIMES):
            with upgraded(cs) as peer:
                for number in range(5):
                    heartbeat(peer, str(number))
        gone(cs)
        # The bytes before the upgrade count for the address, those after it for the identity.
        floods(lines, text, 2 * (MOST + 3))


def test_listeners_that_fail() -> None:
    with under_flood() as (cs, lines):
        cs.add_connection_listener(fail)
        for _ in range(TIMES):
            with upgraded(cs) as peer:
                heartbeat(peer, "1")
            gone(cs)
        assert server_of(cs).context.executor.wait_idle(DEADLINE)
        floods(lines, "fail", MOST + 1)


def test_refusals_of_answers_with_a_function_that_fails() -> None:
    with under_flood(on_call_result_error=fail) as (cs, lines):
        with upgraded(cs, Sec_WebSocket_Protocol="ocpp2.1") as peer:
            heartbeat(peer, "1")
            for _ in range(TIMES):
                peer.send_text(f'[5,"1","FormatViolation","{LONG}",{{}}]')
            heartbeat(peer, "2")
        gone(cs)
        assert server_of(cs).context.executor.wait_idle(DEADLINE)
        floods(lines, "on_call_result_error failed")
        floods(lines, "it cannot use the answer")


def test_many_identities_and_a_bystander(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from ocppsync import throttled_log

    monkeypatch.setattr(throttled_log, "_PER_MINUTE", 10)
    with besieged(caplog) as siege:
        for number in range(TIMES):
            with siege.attacker(f"attacker-{number}") as attacker:
                attacker.send_text("hello")
                heartbeat(attacker, "1")
        siege.events.wait_until(lambda items: sum(status == "disconnected" for _, status in items) >= TIMES)
        # Ten, and the 16th and 32nd.
        assert len(siege.said("attacker-")) == 12

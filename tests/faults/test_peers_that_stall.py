"""Peers that do not read, vanish, or take their time: nobody else waits for them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from bystander import besieged, heartbeat
from wire import DEADLINE, TEXT, Peer, dial, frame, request

from ocppsync import OCPPRequestError, RequestTimeoutError, Timeouts

RESET = b"\1\0\0\0\0\0\0\0"
"""SO_LINGER of no seconds: closing resets the connection."""
CLEAR = '[3,"%s",{"status":"Accepted"}]'


class Proxy:
    """A network between a charge point and the central system, which can stop to carry anything without a sign."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._carrying = True
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()

    def _run(self) -> None:
        # Ends: `close` wakes it.
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._port))
        with near, far, selectors.DefaultSelector() as selector:
            for source, sink in ((near, far), (far, near), (self._woken, None)):
                selector.register(source, selectors.EVENT_READ, sink)
            while self._carrying:
                for key, _ in selector.select():
                    if key.data is None:
                        self._carrying = False
                    elif self._carrying:
                        key.data.sendall(key.fileobj.recv(65536))  # type: ignore[union-attr]
            self._woken.recv(1)
            self._woken.recv(1)

    def stop_carrying(self) -> None:
        """Lose all that comes from now on, in silence."""
        self._wake.send(b"x")

    def close(self) -> None:
        self._wake.close()
        self._thread.join(DEADLINE)
        for sock in (self._listener, self._woken):
            sock.close()


@contextlib.contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    opened = Proxy(port)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.slow
def test_peers_that_read_no_answers_hold_no_handler_threads(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, handler_threads=4) as siege:
        siege.cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted", "data": "x" * 400_000})
        attackers = [siege.attacker(f"attacker-{number}", receive_buffer=2048) for number in range(5)]
        calls = b"".join(frame(TEXT, f'[2,"{number}","DataTransfer",{{"vendorId":"x"}}]') for number in range(20))
        for attacker in attackers:
            attacker.send(calls)  # at once: the connection may be given up before the last of them is handled
        siege.bystanders.serve_on(20)
        for number, attacker in enumerate(attackers):
            siege.wait_gone(f"attacker-{number}")
            attacker.sock.close()
            assert len(siege.said(f"attacker-{number} does not read the answers to what it sends")) == 1


def test_a_peer_that_reads_no_requests(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, timeouts=Timeouts(write=0.3)) as siege:
        with siege.attacker(receive_buffer=2048):
            payload = {"vendorId": "x", "data": "y" * 8_000_000}
            with pytest.raises(OCPPRequestError) as failed:
                siege.cs.send_request("attacker", "DataTransfer", payload)
            assert failed.value.delivery == "unknown"
            siege.wait_gone()
        siege.wait_said("attacker does not read")
        assert len(siege.said("attacker does not read")) == 1


@pytest.mark.parametrize("moment", ["in the head", "in a frame", "while its CALL is handled", "while it is asked"])
def test_a_peer_that_resets_the_connection(caplog: pytest.LogCaptureFixture, moment: str) -> None:
    started, release = threading.Event(), threading.Event()

    def authorize(payload: Any, metadata: Any) -> Any:
        started.set()
        assert release.wait(DEADLINE)
        return {"idTagInfo": {"status": "Accepted"}}

    asked: Future[Any] | None = None
    with besieged(caplog) as siege:
        siege.cs.on("Authorize")(authorize)
        with dial(siege.port) as attacker:
            attacker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            attacker.send(request("/attacker")[:40])
            if moment != "in the head":
                attacker.send(request("/attacker")[40:])
                assert attacker.read_response().status == 101
            if moment == "in a frame":
                attacker.send(b"\x81\xfe\x10")
            elif moment == "while its CALL is handled":
                attacker.send_text('[2,"1","Authorize",{"idTag":"x"}]')
                assert started.wait(DEADLINE)
            elif moment == "while it is asked":
                asked = siege.cs.submit_request("attacker", "ClearCache")
                attacker.read_text()
        if moment != "in the head":
            siege.wait_gone()
        release.set()
        if asked is not None:
            with pytest.raises(OCPPRequestError) as failed:
                asked.result(DEADLINE)
            assert failed.value.delivery == "unknown"
        siege.bystanders.serve_on()
        assert siege.said("attacker") == []


def test_a_peer_whose_network_falls_silent(caplog: pytest.LogCaptureFixture) -> None:
    with (
        besieged(caplog, websocket_ping_interval=None) as siege,
        proxy(siege.port) as network,
        dial(network.port) as attacker,
    ):
        attacker.upgrade("/attacker")
        heartbeat(attacker, "1")
        network.stop_carrying()
        with pytest.raises(RequestTimeoutError):
            siege.cs.send_request("attacker", "ClearCache", timeout=0.3)
        # Its next connection takes over from the one that nobody knows to be dead.
        with siege.attacker() as again:
            heartbeat(again, "1")
            asked = siege.cs.submit_request("attacker", "ClearCache")
            again.send_text(CLEAR % again.read_text().split('"')[1])
            assert asked.result(DEADLINE) == {"status": "Accepted"}
        assert len(siege.said("attacker connected again")) == 1


@pytest.mark.slow
def test_pings_find_a_network_that_fell_silent(caplog: pytest.LogCaptureFixture) -> None:
    # The bystanders answer no pings, but their Heartbeats are signs of life enough, also on a busy machine.
    with (
        besieged(caplog, websocket_ping_interval=2.0) as siege,
        proxy(siege.port) as network,
        dial(network.port) as attacker,
    ):
        attacker.upgrade("/attacker")
        asked = siege.cs.submit_request("attacker", "ClearCache")
        attacker.read_text()
        network.stop_carrying()
        siege.wait_gone()
        assert asked.exception(DEADLINE) is not None
        assert len(siege.said("attacker does not answer pings")) == 1


def drip(peer: Peer, data: bytes) -> int:
    """Write byte by byte, as fast as the other end lets it; return how many went before it closed."""
    gone = 0
    peer.sock.settimeout(0.02)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for gone in range(len(data)):
            peer.send(data[gone : gone + 1])
            with contextlib.suppress(TimeoutError):
                peer.sock.recv(1, socket.MSG_PEEK)
                break
    return gone


@pytest.mark.slow
def test_peers_that_drip_their_handshake(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, timeouts=Timeouts(handshake=1.0)) as siege:
        peers = [dial(siege.port) for _ in range(20)]
        dripping = [threading.Thread(target=drip, args=(peer, request("/attacker"))) for peer in peers]
        for thread in dripping:
            thread.start()
        for thread in dripping:
            thread.join(DEADLINE)
        for peer in peers:
            assert peer.read_response().status == 408
            peer.sock.close()
        said = siege.said("HTTP 408")
        assert len(said) == 5
        assert said[-1].endswith("(16 so far)")


def test_a_peer_that_drips_its_message_is_cut_off_when_it_is_idle(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes are no message: whoever never finishes one is idle all the same."""
    # The bystanders must not be idle, however busy the machine is.
    with besieged(caplog, timeouts=Timeouts(idle=2.0)) as siege:
        with siege.attacker() as attacker:
            assert drip(attacker, b"\x81\xfe\x10\0\0\0\0\0" + b"[" * 1000) < 1000
        siege.wait_gone()
        assert len(siege.said("attacker sent nothing for 2 s")) == 1


def test_a_peer_that_answers_no_close(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, timeouts=Timeouts(close=0.2)) as siege, siege.attacker() as attacker:
        assert siege.cs.close_connection("attacker")
        assert attacker.read_close()[0] == 1000
        siege.wait_gone()
        attacker.wait_for_end()


def test_peers_that_fall_silent_before_they_say_anything(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, timeouts=Timeouts(handshake=1.0)) as siege:
        peers = [dial(siege.port) for _ in range(50)]
        for peer in peers:
            assert peer.read_response().status == 408
            peer.sock.close()

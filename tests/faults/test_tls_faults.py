"""TLS on threads: long messages both ways while pings fly, and peers that are slow, plain or gone."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from typing import Any

import pytest
from bystander import besieged, heartbeat
from certificates import Authority
from support import Recorder
from wire import DEADLINE, TEXT, Peer, accept, dial, frame, listening, request

from ocppsync import CentralSystem, ChargePoint, HandshakeError, Limits
from ocppsync.central_system import Timeouts, server_of
from ocppsync.wire.transport import Transport


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.slow
@pytest.mark.parametrize("size", [10 * 2**10, 100 * 2**10, 2**20 - 200])
def test_long_messages_both_ways_while_pings_fly(authority: Authority, size: int) -> None:
    """Each end reads, answers, asks and pings at once, all over one TLS connection; the frame makes it 1 MiB."""

    def echo(payload: Any, metadata: Any) -> Any:
        return {"status": "Accepted", "data": payload["data"]}

    server = CentralSystem(0, host="127.0.0.1", ssl_context=authority.server_context())
    client = ChargePoint(
        "CP1",
        url=f"wss://localhost:{server.port}",
        ssl_context=authority.client_context(),
        enforce_registration=False,
    )
    server.on("DataTransfer")(echo)
    client.on("DataTransfer")(echo)
    payload = {"vendorId": "Acme", "data": "x" * size}
    done = threading.Event()
    end = time.monotonic() + 1.5
    with server, client:
        ours, theirs = client._connection, server_of(server).context.registry.connected.get("CP1")
        assert ours is not None
        assert theirs is not None
        # Far more often than the timer would; every pong goes out between two messages, or in the midst of one's bytes.
        pinging = [threading.Thread(target=keep_pinging, args=(one._transport, done)) for one in (ours, theirs)]
        for thread in pinging:
            thread.start()
        try:
            while time.monotonic() < end:
                asked = [client.submit_request("DataTransfer", payload) for _ in range(3)]
                asked += [server.submit_request("CP1", "DataTransfer", payload) for _ in range(3)]
                for future in asked:
                    assert future.result(4 * DEADLINE) == {"status": "Accepted", "data": payload["data"]}
        finally:
            done.set()
            for thread in pinging:
                thread.join(DEADLINE)
        assert client.connected
        assert server.charge_points == ["CP1"]


def keep_pinging(transport: Transport, done: threading.Event) -> None:
    while not done.wait(0.005):
        transport.ping()


def secure(authority: Authority) -> dict[str, Any]:
    """The options of a central system with TLS, and of its bystanders."""
    return {
        "ssl_context": authority.server_context(),
        "dialling": {"ssl_context": authority.client_context()},
    }


def client_hello(authority: Authority) -> bytes:
    """The first bytes of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("sent", [0, 1, 5, 100], ids=lambda sent: f"{sent} bytes")
def test_slow_tls_handshakes_hold_up_nobody(authority: Authority, caplog: pytest.LogCaptureFixture, sent: int) -> None:
    hello = client_hello(authority)
    with besieged(caplog, timeouts=Timeouts(handshake=1.5), **secure(authority)) as siege:
        peers = [dial(siege.port) for _ in range(30)]
        for peer in peers:
            peer.send(hello[:sent])
        with siege.attacker(ssl_context=authority.client_context()) as quick:
            heartbeat(quick, "1")
        for peer in peers:
            peer.wait_for_end()
            peer.sock.close()


class Dripping:
    """A TLS connection to a server, or from a client, that sends its next record a byte at a time.

    Args:
        peer: the bare connection.
        context: for the TLS handshake.
        server: whether it is the server's end.
    """

    def __init__(self, peer: Peer, context: ssl.SSLContext, *, server: bool = False) -> None:
        self._peer = peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server else "localhost"
        self._engine = context.wrap_bio(self._incoming, self._outgoing, server_side=server, server_hostname=name)
        while True:
            try:
                self._engine.do_handshake()
            except ssl.SSLWantReadError:
                peer.send(self._outgoing.read())
                self._incoming.write(peer.sock.recv(65536))
            else:
                break
        peer.send(self._outgoing.read())

    def send(self, data: bytes) -> None:
        """Write a whole record."""
        self._engine.write(data)
        self._peer.send(self._outgoing.read())

    def drip(self, ended: threading.Event) -> None:
        """Write the bytes of a record until ``ended``; the record is never complete."""
        self._engine.write(bytes(16_000))
        record, deadline = self._outgoing.read()[:-1], time.monotonic() + DEADLINE
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for byte in record:
                assert time.monotonic() < deadline, "the other end reads for ever"
                self._peer.send(bytes([byte]))
                if ended.wait(0.02):
                    return


@pytest.mark.parametrize("sent", [b"", b"GET /attacker HTTP/1.1\r\n\r\n"], ids=["request", "after a refusal"])
def test_a_record_that_is_never_complete_ends_the_handshake(
    authority: Authority, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    """Each of its bytes comes in time, so the time for all of them has to be limited."""
    with besieged(caplog, timeouts=Timeouts(handshake=0.5), **secure(authority)) as siege, dial(siege.port) as peer:
        attacker = Dripping(peer, authority.client_context())
        if sent:
            attacker.send(sent)
        attacker.drip(threading.Event())


def test_a_server_whose_record_is_never_complete(authority: Authority) -> None:
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        with accept(listener) as peer:
            Dripping(peer, authority.server_context(), server=True).drip(ended)

    with listening() as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        port = listener.getsockname()[1]
        cp = ChargePoint("CP1", url=f"wss://localhost:{port}", ssl_context=authority.client_context())
        try:
            with pytest.raises(HandshakeError, match="did not answer the handshake in time"):
                cp.connect(timeout=0.5)
        finally:
            ended.set()
            server.join(2 * DEADLINE)


def test_slow_tls_handshakes_are_limited_too(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, limits=Limits(handshakes=2), **secure(authority)) as siege:
        peers = [dial(siege.port) for _ in range(6)]
        # The first two are under way; there is no TLS yet in which to tell the others why.
        ended = Recorder()
        threads = [threading.Thread(target=note_end, args=(peer, ended)) for peer in peers]
        for thread in threads:
            thread.start()
        ended.wait(4)
        for peer in peers:
            peer.sock.shutdown(2)
        for thread in threads:
            thread.join(DEADLINE)
        for peer in peers:
            peer.sock.close()
        assert len(siege.said("2 handshakes in progress")) == 1


def note_end(peer: Peer, ended: Recorder) -> None:
    peer.wait_for_end()
    ended(peer)


def test_plain_http_on_the_tls_port_is_one_line(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, **secure(authority)) as siege:
        with dial(siege.port) as attacker:
            attacker.send(request("/attacker"))
            attacker.wait_for_end()
            address = attacker.address
        siege.wait_said(address)
        assert siege.said(address) == [
            f"TLS handshake with {address} failed: the peer speaks plain HTTP (ws), and this port is TLS (wss)"
        ]


def test_tls_on_the_plain_port_is_one_line(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog) as siege:
        with dial(siege.port) as attacker:
            attacker.send(client_hello(authority))
            attacker.wait_for_end()
            address = attacker.address
        siege.wait_said(address)
        assert siege.said(address) == [
            f"WebSocket handshake with {address} failed: the peer speaks TLS (wss), but this port is plain (ws)"
        ]


def test_garbage_inside_tls(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are no TLS record, once the connection stands, end it and nothing else."""
    with besieged(caplog, **secure(authority)) as siege:
        attacker = siege.attacker(ssl_context=authority.client_context())
        heartbeat(attacker, "1")
        with socket.socket(fileno=attacker.sock.detach()) as bare:
            bare.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
            siege.wait_gone()


@pytest.mark.slow
def test_a_peer_that_does_not_read_over_tls(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog, handler_threads=2, growth=192 * 1024 * 1024, **secure(authority)) as siege:
        siege.cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted", "data": "x" * 400_000})
        attackers = [
            siege.attacker(f"attacker-{number}", ssl_context=authority.client_context(), receive_buffer=2048)
            for number in range(3)
        ]
        calls = b"".join(frame(TEXT, f'[2,"{number}","DataTransfer",{{"vendorId":"x"}}]') for number in range(20))
        for attacker in attackers:
            attacker.send(calls)  # at once: the connection may be given up before the last of them is handled
        for number, attacker in enumerate(attackers):
            siege.wait_gone(f"attacker-{number}")
            attacker.sock.close()


def test_a_message_split_into_many_records(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    with (
        besieged(caplog, **secure(authority)) as siege,
        siege.attacker(ssl_context=authority.client_context()) as slow,
    ):
        for byte in frame(TEXT, '[2,"1","Heartbeat",{}]'):
            slow.send(bytes([byte]))
        assert json.loads(slow.read_text())[:2] == [3, "1"]

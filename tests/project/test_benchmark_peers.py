"""The servers that the benchmarks compare answer what `load.py` sends, however it arrives; no value is measured."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"
DEADLINE = 30.0
SAMPLE = {"value": "1234567", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
VALUE = {"timestamp": "2026-01-01T12:00:00Z", "sampledValue": [SAMPLE]}
EVENT = {
    "eventType": "Updated",
    "timestamp": "2026-01-01T12:00:00Z",
    "triggerReason": "MeterValuePeriodic",
    "seqNo": 12,
    "transactionInfo": {"transactionId": "7"},
}
CALLS: dict[str, tuple[str, str, Any]] = {
    # name: protocol, action, payload
    "Heartbeat": ("ocpp1.6", "Heartbeat", {}),
    "MeterValues": ("ocpp1.6", "MeterValues", {"connectorId": 1, "meterValue": [VALUE]}),
    "MeterValues of 60 kB": ("ocpp1.6", "MeterValues", {"connectorId": 1, "meterValue": [VALUE] * 440}),
    "TransactionEvent": ("ocpp2.0.1", "TransactionEvent", EVENT),
}


def masked(text: bytes) -> bytes:
    """Return the frame of a message, with a random mask."""
    size, key = len(text), os.urandom(4)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(text))


@pytest.fixture(scope="module", params=["bare_threads.py", "ours.py"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    command = [sys.executable, str(PEERS / request.param)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.kill()


class Charger:
    """A connection to a server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = sock.makefile("rb")

    def upgrade(self, protocol: str) -> None:
        self.sock.sendall(
            b"GET /CP1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Protocol: %s\r\n\r\n" % protocol.encode()
        )
        head = list(iter(self._reader.readline, b"\r\n"))
        assert head[0].startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n" in [line.lower() for line in head]

    def read(self) -> Any:
        first, size = self._reader.read(2)
        assert first == 0x81
        if size == 126:
            size = int.from_bytes(self._reader.read(2), "big")
        return json.loads(self._reader.read(size))


@contextlib.contextmanager
def charger(port: int, protocol: str) -> Iterator[Charger]:
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one = Charger(sock)
        one.upgrade(protocol)
        yield one
        one._reader.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["whole", "in pieces", "together"])
@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_answered(port: int, name: str, way: str) -> None:
    protocol, action, payload = CALLS[name]
    ids = [str(uuid.uuid4()) for _ in range(3)]
    frames = [masked(json.dumps([2, message_id, action, payload]).encode()) for message_id in ids]
    with charger(port, protocol) as one:
        answers = []
        for frame in [b"".join(frames)] if way == "together" else frames:
            step = 1 + len(frame) // 400 if way == "in pieces" else len(frame)
            for start in range(0, len(frame), step):
                one.sock.sendall(frame[start : start + step])
            if way != "together":
                answers.append(one.read())
        while len(answers) < len(ids):
            answers.append(one.read())
    assert sorted((kind, message_id) for kind, message_id, _ in answers) == sorted(
        (3, message_id) for message_id in ids
    )
    expected = {"MeterValues": set(), "Heartbeat": {"currentTime"}, "TransactionEvent": {"idTokenInfo"}}[action]
    assert all(set(answer) == expected for _, _, answer in answers)


# The frames of the bare threads.


@pytest.fixture(scope="module")
def bare_threads() -> Any:
    spec = importlib.util.spec_from_file_location("bare_threads", PEERS / "bare_threads.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("size", [10, 125, 126, 127, 128, 1000, 0xFFFF])
def test_a_frame_is_taken_when_it_is_complete(bare_threads: Any, size: int) -> None:
    text = os.urandom(size)
    frame = masked(text)
    ends = {*range(20), *range(len(frame) - 20, len(frame))} if size > 1000 else range(len(frame))
    assert all(bare_threads._split(frame[:end]) is None for end in ends)
    assert bare_threads._split(frame) == (text, b"")
    assert bare_threads._split(frame + b"the next") == (text, b"the next")


@pytest.mark.parametrize("frame", [b"\x01\x81aaaabcd", b"\x82\x85aaaabcdef", b"\x81\xff" + bytes(12)])
def test_a_frame_that_load_does_not_send_ends_the_connection(bare_threads: Any, frame: bytes) -> None:
    with pytest.raises(ConnectionError):
        bare_threads._split(frame)


def test_an_invalid_payload_ends_the_connection_of_the_bare_threads(bare_threads: Any) -> None:
    ours, theirs = socket.socketpair()
    calls: Any = bare_threads.SimpleQueue()
    with ours:
        ours.sendall(
            b"GET / HTTP/1.1\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
            + masked(b'[2,"1","MeterValues",{"connectorId":1}]')
            + masked(b'[2,"2","MeterValues",{"connectorId":2}]')
        )
        bare_threads._read(theirs, {"MeterValues": lambda payload: payload["connectorId"] == 1}, calls)
        assert calls.get_nowait()[1] == "1"
        assert calls.empty()
        assert theirs.fileno() == -1

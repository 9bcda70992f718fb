"""What the threads alone allow: a server with the threads of ocppsync, and none of its layers.

    python benchmarks/peers/bare_threads.py

A reader thread for each connection takes frames out of what it receives, unmasks them, parses the JSON, checks the
payload with ocppsync's compiled predicate, and puts the CALL into a queue. Sixteen threads take CALLs from the queue,
call a handler, make JSON of its answer as ocppsync does, and write it. There are no limits, deadlines, repeated CALLs
or checks of answers, and only what `load.py` sends is understood: a connection that sends anything else is closed.
Prints its port once it listens.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

from ocppsync import utc_now
from ocppsync.json_text import write
from ocppsync.validation.predicates import Predicate
from ocppsync.validation.validators import validator

_HANDLER_THREADS = 16
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_WHOLE_TEXT = 0x81
_VERSIONS = {"Heartbeat": "1.6", "MeterValues": "1.6", "TransactionEvent": "2.0.1"}
_HANDLERS: Mapping[str, Callable[[Any], Any]] = {
    "Heartbeat": lambda payload: {"currentTime": utc_now()},
    "MeterValues": lambda payload: {},
    "TransactionEvent": lambda payload: {"idTokenInfo": {"status": "Accepted"}},
}

Call = tuple[socket.socket, str, str, Any]
"""The connection of a CALL, its message id, its action and its payload."""


def _upgrade(sock: socket.socket) -> bytes:
    """Answer the handshake; return what the client has sent after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _receive(sock)
    head, _, rest = data.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    accept = base64.b64encode(hashlib.sha1(fields[b"Sec-WebSocket-Key"] + _GUID).digest())  # noqa: S324 (RFC 6455)
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n" % (accept, fields[b"Sec-WebSocket-Protocol"])
    )
    return rest


def _receive(sock: socket.socket) -> bytes:
    data = sock.recv(4096)
    if not data:
        raise ConnectionError("the client has closed the connection")
    return data


def _split(data: bytes) -> tuple[bytes, bytes] | None:
    """Return the unmasked payload of the first frame and what follows it, or None if the frame is incomplete."""
    if len(data) < 8:
        return None  # no CALL is that short
    size, start = data[1] & 0x7F, 6
    if data[0] != _WHOLE_TEXT or size == 127:
        raise ConnectionError("the client sent a frame that load.py does not send")
    if size == 126:
        size, start = data[2] << 8 | data[3], 8
    end = start + size
    if len(data) < end:
        return None
    # As one large integer, as ocppsync does it.
    key = (data[start - 4 : start] * (size // 4 + 1))[:size]
    number = int.from_bytes(data[start:end], "little") ^ int.from_bytes(key, "little")
    return number.to_bytes(size, "little"), data[end:]


def _read(sock: socket.socket, predicates: Mapping[str, Predicate], calls: SimpleQueue[Call]) -> None:
    with sock, contextlib.suppress(ConnectionError):
        data = _upgrade(sock)
        while True:
            while (found := _split(data)) is None:
                data += _receive(sock)
            text, data = found
            _, message_id, action, payload = json.loads(text.decode())
            if not predicates[action](payload):
                raise ConnectionError("the client sent an invalid payload")
            calls.put((sock, message_id, action, payload))


def _handle(calls: SimpleQueue[Call]) -> None:
    while True:
        sock, message_id, action, payload = calls.get()
        data = write([3, message_id, _HANDLERS[action](payload)]).encode()
        size = len(data)
        head = bytes((_WHOLE_TEXT, size)) if size < 126 else struct.pack("!BBH", _WHOLE_TEXT, 126, size)
        with contextlib.suppress(OSError):  # the client has left
            sock.sendall(head + data)


def main() -> None:
    """Serve until the process is killed."""
    predicates = {action: validator(version).predicate(action, "request") for action, version in _VERSIONS.items()}
    calls: SimpleQueue[Call] = SimpleQueue()
    for _ in range(_HANDLER_THREADS):
        threading.Thread(target=_handle, args=(calls,), daemon=True).start()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            sock, _ = listening.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_read, args=(sock, predicates, calls), daemon=True).start()


if __name__ == "__main__":
    main()

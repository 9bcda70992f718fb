"""What the threads alone allow: a server with the threads of ocppsync, and none of its layers.

    python benchmarks/peers/bare_threads.py

A reader thread for each connection reads a whole frame, parses its JSON, checks the payload with ocppsync's compiled
predicate and puts it into a queue. Sixteen threads take the CALLs from it, call a handler, and write the answer. There
are no limits, deadlines, repeats, order or checks of the answer, and only what the load generator sends is understood.
Prints its port once it listens.
"""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import socket
import threading
from typing import Any

from ocppsync import utc_now
from ocppsync.validation.predicates import Predicate
from ocppsync.validation.validators import validator

_HANDLER_THREADS = 16
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ANSWERS = {
    "Heartbeat": lambda: {"currentTime": utc_now()},
    "MeterValues": lambda: {},
    "TransactionEvent": lambda: {"idTokenInfo": {"status": "Accepted"}},
}
_VERSIONS = {"Heartbeat": "1.6", "MeterValues": "1.6", "TransactionEvent": "2.0.1"}
_calls: queue.SimpleQueue[tuple[socket.socket, str, str]] = queue.SimpleQueue()


def _predicates() -> dict[str, Predicate]:
    return {action: validator(version).predicate(action, "request") for action, version in _VERSIONS.items()}


def _upgrade(sock: socket.socket) -> bytes:
    """Answer the handshake; return what came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(4096)
    head, _, rest = data.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    accept = base64.b64encode(hashlib.sha1(fields[b"Sec-WebSocket-Key"] + _GUID).digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\nSec-WebSocket-Protocol: "
        + fields[b"Sec-WebSocket-Protocol"]
        + b"\r\n\r\n"
    )
    return rest


def _read(sock: socket.socket, predicates: dict[str, Predicate]) -> None:
    data = _upgrade(sock)
    while True:
        data = data or sock.recv(4096)
        if not data:
            return
        size, start = data[1] & 0x7F, 6
        if size == 126:
            size, start = data[2] << 8 | data[3], 8
        while len(data) < start + size:
            data += sock.recv(4096)
        key = int.from_bytes(data[start - 4 : start] * (size // 4 + 1), "big") >> 8 * (-size % 4 or 4)
        text = (int.from_bytes(data[start : start + size], "big") ^ key).to_bytes(size, "big").decode()
        data = data[start + size :]
        _, message_id, action, payload = json.loads(text)
        if predicates[action](payload):
            _calls.put((sock, message_id, action))


def _handle() -> None:
    while True:
        sock, message_id, action = _calls.get()
        answer = json.dumps([3, message_id, _ANSWERS[action]()], separators=(",", ":")).encode()
        size = len(answer)
        head = bytes((0x81, size)) if size < 126 else bytes((0x81, 126, size >> 8, size & 0xFF))
        sock.send(head + answer)


def main() -> None:
    """Serve until the process is killed."""
    predicates = _predicates()
    for _ in range(_HANDLER_THREADS):
        threading.Thread(target=_handle, daemon=True).start()
    listener: Any = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_read, args=(sock, predicates), daemon=True).start()


if __name__ == "__main__":
    main()

"""The load generator's ceiling: a minimal server, so that the load generator is what is measured.

    python benchmarks/peers/echo_raw.py [--answer PAYLOAD]

One thread, epoll, no library. It relies on two properties of `load.py`: each message arrives in one piece, with a zero
mask. The answer to a CALL has the copied message id and a fixed payload. Prints its port.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import select
import socket

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _upgrade(head: bytes) -> bytes:
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    accept = base64.b64encode(hashlib.sha1(fields[b"Sec-WebSocket-Key"] + _GUID).digest())  # noqa: S324 (RFC 6455)
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n" % (accept, fields[b"Sec-WebSocket-Protocol"])
    )


def _serve(listening: socket.socket, answer: bytes) -> None:
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    # [3,"<36 characters>",<answer>]
    head, tail = bytes((0x81, 43 + len(answer))) + b"[3,", b"," + answer + b"]"
    while True:
        for number, _ in poll.poll():
            sock = connections.get(number)
            if sock is None:
                sock, _ = listening.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            try:
                data = sock.recv(4096)
                if data.startswith(b"GET "):
                    sock.send(_upgrade(data))
                elif data:
                    start = data.find(b"[2,") + 3
                    sock.send(head + data[start : start + 38] + tail)
            except ConnectionError:
                data = b""
            if not data:
                connections.pop(number).close()


def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer", default="{}")
    answer = parser.parse_args().answer.encode()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        print(listening.getsockname()[1], flush=True)
        _serve(listening, answer)


if __name__ == "__main__":
    main()

"""An upper bound: threads and simple-websocket, without parsing or validation.

    python benchmarks/peers/echo_simple_websocket.py [--answer PAYLOAD]

One thread accepts connections. Each connection has a thread that answers through the library's own ``Server``, and one
that ``Server`` starts to read. The answer to a CALL has the copied message id and a fixed payload. Prints its port.
"""

from __future__ import annotations

import argparse
import socket
import threading

import simple_websocket


class _Server(simple_websocket.Server):
    def __init__(self, sock: socket.socket, fields: dict[str, str]) -> None:
        environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in fields.items()}
        super().__init__({**environ, "werkzeug.socket": sock}, subprotocols=["ocpp1.6", "ocpp2.0.1"])


def _read_head(sock: socket.socket) -> dict[str, str]:
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(4096)
        if not data:
            raise ConnectionError("the client closed the connection during the handshake")
        head += data
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)


def _handle(sock: socket.socket, answer: str) -> None:
    websocket = _Server(sock, _read_head(sock))
    while True:
        try:
            call = websocket.receive()
            assert isinstance(call, str)
            # [2,"<36 characters>",
            websocket.send(f"[3,{call[3:41]},{answer}]")
        except (simple_websocket.ConnectionClosed, OSError):
            return


def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer", default="{}")
    answer = parser.parse_args().answer
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            sock, _ = listening.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_handle, args=(sock, answer), daemon=True).start()


if __name__ == "__main__":
    main()

"""Many charge points in one process that ask as fast as they are answered: raw frames, one thread, no library.

    python benchmarks/load.py PORT --connections 100 --seconds 5 --message meter-values

Prints the answers a second. The other end is any server that speaks OCPP 1.6 on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import selectors
import socket
import struct
import sys
import time

MESSAGES = {
    "heartbeat": ("Heartbeat", {}),
    "meter-values": (
        "MeterValues",
        {
            "connectorId": 1,
            "transactionId": 7,
            "meterValue": [
                {
                    "timestamp": "2026-01-01T12:00:00Z",
                    "sampledValue": [
                        {"value": "1234567", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
                        {
                            "value": "7321",
                            "measurand": "Power.Active.Import",
                            "unit": "W",
                            "context": "Sample.Periodic",
                        },
                        {"value": "31.8", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
                    ],
                }
            ],
        },
    ),
}


class Charger:
    """One connection that has one CALL outstanding."""

    def __init__(self, port: int, name: str, protocol: str, action: str, payload: object) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET /{name} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {protocol}\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.sock.recv(4096)
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise SystemExit(f"the server refused: {head[:80]!r}")
        self._number = 0
        self._rest = json.dumps([action, payload])[1:].encode()
        self.answers = 0
        self._buffer = b""

    def ask(self) -> None:
        """Send the next CALL."""
        self._number += 1
        text = b'[2,"%d",' % self._number + self._rest
        # Masked with zeros: it costs nothing here, and the server the same as any other mask.
        head = (
            struct.pack("!BB", 0x81, 0x80 | len(text))
            if len(text) < 126
            else struct.pack("!BBH", 0x81, 0xFE, len(text))
        )
        self.sock.sendall(head + b"\0\0\0\0" + text)

    def read(self) -> bool:
        """Read what is there; return whether an answer is complete."""
        self._buffer += self.sock.recv(65536)
        while len(self._buffer) >= 2:
            opcode, length, offset = self._buffer[0] & 15, self._buffer[1] & 127, 2
            if length == 126:
                length, offset = int.from_bytes(self._buffer[2:4], "big"), 4
            if len(self._buffer) < offset + length:
                return False
            text, self._buffer = self._buffer[offset : offset + length], self._buffer[offset + length :]
            if opcode == 1:
                if not text.startswith(b"[3,"):
                    raise SystemExit(f"no CALLRESULT: {text[:200]!r}")
                self.answers += 1
                return True
        return False


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--message", choices=MESSAGES, default="meter-values")
    parser.add_argument("--protocol", default="ocpp1.6")
    options = parser.parse_args()
    action, payload = MESSAGES[options.message]
    selector = selectors.DefaultSelector()
    chargers = [
        Charger(options.port, f"CP{number}", options.protocol, action, payload) for number in range(options.connections)
    ]
    for charger in chargers:
        selector.register(charger.sock, selectors.EVENT_READ, charger)
        charger.ask()
    began = time.monotonic()
    while (now := time.monotonic()) < began + options.seconds:
        for key, _ in selector.select(timeout=1):
            if key.data.read():
                key.data.ask()
    answers = sum(charger.answers for charger in chargers)
    print(f"{answers / (now - began):.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

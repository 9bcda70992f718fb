"""Many charge points in one process, on raw sockets, with epoll, one thread and no library.

    python benchmarks/fleet.py PORT stay --chargers 1000 --at-once 50
    python benchmarks/fleet.py PORT handshakes --at-once 50 --seconds 3

``stay`` connects chargers, ``--at-once`` at a time; each sends a BootNotification. After the last answer, it prints how
long that took and how many chargers had to try again. Then it answers every CALL at once until its standard input ends.
``handshakes`` upgrades connections for ``--seconds`` seconds, resets each one (RST, no Close) after its 101, and prints
the rate a second and, with ``--server-pid``, the server's CPU time for each in microseconds. A reset leaves no port in
TIME_WAIT; otherwise the ports would soon run out.

The server can be any OCPP 1.6 server on 127.0.0.1. The output is a line of JSON.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import json
import os
import select
import socket
import ssl
import struct
import sys
import time
from collections import deque
from typing import Literal

from processes import allow_many_sockets, cpu_seconds
from wire import CLOSE, PING, PONG, TEXT, frame_head, split_frame, trusting_context

BOOT = b'[2,"boot","BootNotification",{"chargePointVendor":"Acme","chargePointModel":"One"}]'
# One key for all connections: servers check only its length.
UPGRADE = (
    "GET /{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PAUSE = 0.2
"""Seconds until a charger tries again after a refused connection."""
_RESET = struct.pack("ii", 1, 0)
_TOTAL_RETRANSMISSIONS = 100
"""Offset of this unsigned int in the kernel's struct tcp_info."""


class Charger:
    """One charge point, and the stage of its connection."""

    __slots__ = ("booted", "buffer", "name", "refusals", "sock", "stage")

    sock: socket.socket

    def __init__(self, name: str) -> None:
        self.name = name
        self.stage: Literal["connecting", "securing", "upgrading", "open"] = "connecting"
        self.buffer = b""
        self.booted = False
        self.refusals = 0

    def send(self, text: bytes, opcode: int = TEXT) -> None:
        """Send a frame."""
        self.send_bytes(frame_head(len(text), opcode) + text)

    def send_bytes(self, data: bytes) -> None:
        """Send all data at once; it must fit into the send buffer, since chargers send little."""
        if self.sock.send(data) != len(data):
            raise SystemExit(f"{self.name}: the server does not read: the send buffer is full")

    def read(self) -> bool:
        """Read the available data into the buffer; return whether there was any."""
        try:
            data = self.sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the server has closed the connection")
        self.buffer += data
        return True

    def frame(self) -> tuple[int, bytes] | None:
        """Return the opcode and payload of the next frame, or None if it is incomplete."""
        found = split_frame(self.buffer)
        if found is None:
            return None
        opcode, text, self.buffer = found
        return opcode, text

    def retransmitted(self) -> bool:
        """Return whether the kernel had to retransmit because the server's backlog was full."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANSMISSIONS + 4)
        return any(info[_TOTAL_RETRANSMISSIONS:])


class Fleet:
    """Runs connections from the SYN to the last frame; subclasses handle the upgrade and the messages."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self._address = ("127.0.0.1", port)
        self._context = context
        self._epoll = select.epoll()
        self._chargers: dict[int, Charger] = {}
        self._refused: deque[tuple[float, Charger]] = deque()

    def on_open(self, charger: Charger) -> None:
        """Handle the 101."""
        raise NotImplementedError

    def on_message(self, charger: Charger, text: bytes) -> None:
        """Handle a message."""
        raise NotImplementedError

    def connect(self, charger: Charger) -> None:
        """Send the SYN."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        charger.sock, charger.stage, charger.buffer = sock, "connecting", b""
        self._chargers[sock.fileno()] = charger
        self._epoll.register(sock, select.EPOLLOUT)

    def reset(self, charger: Charger) -> None:
        """Reset the connection (RST)."""
        del self._chargers[charger.sock.fileno()]
        charger.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        charger.sock.close()

    def run_once(self, timeout: float = 1.0) -> None:
        """Start due retries and process events; wait up to ``timeout`` seconds for one."""
        while self._refused and self._refused[0][0] <= time.monotonic():
            self.connect(self._refused.popleft()[1])
        for number, _ in self._epoll.poll(min(timeout, PAUSE) if self._refused else timeout):
            charger = self._chargers.get(number)
            if charger is None:
                continue  # the event is for standard input
            try:
                self._advance(charger)
            except OSError as error:
                self._retry_later(charger, error)

    def _retry_later(self, charger: Charger, error: OSError) -> None:
        if charger.booted:
            raise SystemExit(f"{charger.name} lost its connection: {error}")
        self.reset(charger)
        charger.refusals += 1
        self._refused.append((time.monotonic() + PAUSE, charger))

    def _advance(self, charger: Charger) -> None:
        if charger.stage == "open":
            while charger.read():
                self._handle_frames(charger)
                if self._context is None:
                    return  # epoll reports more data on the socket, but not data inside the TLS object
        elif charger.stage == "upgrading":
            self._finish_upgrade(charger)
        else:
            self._start_upgrade(charger)

    def _start_upgrade(self, charger: Charger) -> None:
        if charger.stage == "connecting":
            if code := charger.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
            charger.stage = "securing"
            if self._context is not None:
                charger.sock = self._context.wrap_socket(charger.sock, do_handshake_on_connect=False)
        if isinstance(charger.sock, ssl.SSLSocket):
            try:
                charger.sock.do_handshake()
            except ssl.SSLWantReadError:
                self._epoll.modify(charger.sock, select.EPOLLIN)
                return
        charger.send_bytes(UPGRADE.format(name=charger.name).encode())
        charger.stage = "upgrading"
        self._epoll.modify(charger.sock, select.EPOLLIN)

    def _finish_upgrade(self, charger: Charger) -> None:
        charger.read()
        head, end, rest = charger.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionRefusedError(errno.ECONNREFUSED, head[:60])
        charger.stage, charger.buffer = "open", rest
        self.on_open(charger)
        if rest:
            self._handle_frames(charger)

    def _handle_frames(self, charger: Charger) -> None:
        while (frame := charger.frame()) is not None:
            opcode, text = frame
            if opcode == TEXT:
                self.on_message(charger, text)
            elif opcode == PING:
                charger.send(text, PONG)
            elif opcode == CLOSE:
                raise ConnectionResetError(errno.ECONNRESET, f"the server sent Close {text!r}")


class StayingFleet(Fleet):
    """Connects chargers that stay and answer."""

    def connect_all(self, count: int, at_once: int) -> dict[str, float]:
        """Connect ``count`` chargers; return the seconds until all have booted, and how many tried again."""
        self._not_connected = (Charger(f"CP{number}") for number in range(count))
        self._booted = self._tried_again = 0
        began = time.monotonic()
        for charger in itertools.islice(self._not_connected, at_once):
            self.connect(charger)
        while self._booted < count:
            self.run_once()
        return {"seconds": time.monotonic() - began, "tried_again": self._tried_again}

    def answer(self) -> None:
        """Answer every CALL until standard input ends."""
        self._epoll.register(sys.stdin, select.EPOLLIN)
        stdin = select.poll()
        stdin.register(sys.stdin, select.POLLIN)
        while not stdin.poll(0):
            self.run_once()

    def on_open(self, charger: Charger) -> None:
        charger.send(BOOT)

    def on_message(self, charger: Charger, text: bytes) -> None:
        if text.startswith(b"[2,"):
            charger.send(b'[3,"%b",{"status":"Unlocked"}]' % text.split(b'"', 2)[1])
        elif text.startswith(b'[3,"boot",') and not charger.booted:
            charger.booted = True
            self._booted += 1
            self._tried_again += charger.refusals > 0 or charger.retransmitted()
            for next_charger in itertools.islice(self._not_connected, 1):
                self.connect(next_charger)
        else:
            raise SystemExit(f"{charger.name}: unexpected message {text[:200]!r}")


class PassingFleet(Fleet):
    """Connects chargers that leave after the upgrade."""

    def measure(self, at_once: int, seconds: float, server_pid: int | None) -> dict[str, float]:
        """Return the handshakes a second, after a warm-up, and the server's CPU time for each in microseconds."""
        self._numbers = itertools.count()
        self._done = 0
        for _ in range(at_once):
            self._connect_next()
        while self._done < at_once:
            self.run_once()
        used = cpu_seconds(server_pid) if server_pid is not None else 0.0
        began, before = time.monotonic(), self._done
        while (now := time.monotonic()) < began + seconds or self._done == before:
            self.run_once()
        done = self._done - before
        cpu = {"cpu": 1e6 * (cpu_seconds(server_pid) - used) / done} if server_pid is not None else {}
        return {"rate": done / (now - began), **cpu}

    def _connect_next(self) -> None:
        self.connect(Charger(f"CP{next(self._numbers)}"))

    def on_open(self, charger: Charger) -> None:
        self._done += 1
        self.reset(charger)
        self._connect_next()


def main() -> int:
    """Run the fleet; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("what", choices=("stay", "handshakes"))
    parser.add_argument("--chargers", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--server-pid", type=int, metavar="PID", help="the server's process: measure its CPU time too")
    options = parser.parse_args()
    allow_many_sockets()
    context = trusting_context() if options.tls else None
    if options.what == "handshakes":
        found = PassingFleet(options.port, context).measure(options.at_once, options.seconds, options.server_pid)
        print(json.dumps(found))
        return 0
    fleet = StayingFleet(options.port, context)
    print(json.dumps(fleet.connect_all(options.chargers, options.at_once)), flush=True)
    fleet.answer()
    return 0


if __name__ == "__main__":
    sys.exit(main())

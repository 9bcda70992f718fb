"""Many charge points in one process, on raw sockets: epoll, one thread, no library.

    python benchmarks/fleet.py PORT stay --chargers 1000 --at-once 50
    python benchmarks/fleet.py PORT handshakes --at-once 50 --seconds 3

``stay`` connects chargers, so many at once, each of which sends a BootNotification. When the last has its answer, it
prints how long that took and how many had to try again. Then it answers every CALL at once until its standard input
ends. ``handshakes`` upgrades connections and resets each of them (RST, no Close) as soon as it has its 101, for so many
seconds, and prints how many that were a second. A reset leaves no port in TIME_WAIT; there would soon be none left.

The other end is any server that speaks OCPP 1.6 on 127.0.0.1. What is printed is a line of JSON.
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

from processes import allow_many_sockets
from wire import CLOSE, PING, PONG, TEXT, frame_head, split_frame, trusting_context

BOOT = b'[2,"boot","BootNotification",{"chargePointVendor":"Acme","chargePointModel":"One"}]'
# All with the same key, for no server looks for more than its length.
UPGRADE = (
    "GET /{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PAUSE = 0.2
"""Seconds after which a charger whose connection was refused tries again."""
_RESET = struct.pack("ii", 1, 0)
_TOTAL_RETRANSMISSIONS = 100
"""Where they stand in the kernel's struct tcp_info, as an unsigned int."""


class Charger:
    """One charge point, and how far it has come."""

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
        self.put(frame_head(len(text), opcode) + text)

    def put(self, data: bytes) -> None:
        """Write what has to fit into the socket's buffer, as nobody here sends much."""
        if self.sock.send(data) != len(data):
            raise SystemExit(f"{self.name} could not send all at once")

    def read(self) -> bool:
        """Take in what has come; return whether there was anything."""
        try:
            data = self.sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the server has closed the connection")
        self.buffer += data
        return True

    def frame(self) -> tuple[int, bytes] | None:
        """Return the opcode and the payload of the next frame, if it is complete."""
        found = split_frame(self.buffer)
        if found is None:
            return None
        opcode, text, self.buffer = found
        return opcode, text

    def retransmitted(self) -> bool:
        """Return whether the kernel had to send something again, because the server's backlog was full."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANSMISSIONS + 4)
        return any(info[_TOTAL_RETRANSMISSIONS:])


class Fleet:
    """Brings connections from the first SYN to the last frame; what then is to be done is for those derived from it."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self._address = ("127.0.0.1", port)
        self._context = context
        self._epoll = select.epoll()
        self._chargers: dict[int, Charger] = {}
        self._refused: deque[tuple[float, Charger]] = deque()

    def opened(self, charger: Charger) -> None:
        """Do what comes after the 101."""
        raise NotImplementedError

    def heard(self, charger: Charger, text: bytes) -> None:
        """Do what a message asks for."""
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
        """End the connection at once."""
        del self._chargers[charger.sock.fileno()]
        charger.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        charger.sock.close()

    def turn(self, timeout: float = 1.0) -> None:
        """Do what is due, or wait a little for it."""
        while self._refused and self._refused[0][0] <= time.monotonic():
            self.connect(self._refused.popleft()[1])
        for number, _ in self._epoll.poll(min(timeout, PAUSE) if self._refused else timeout):
            charger = self._chargers.get(number)
            if charger is None:
                continue  # standard input
            try:
                self._advance(charger)
            except OSError as error:
                self._lost(charger, error)

    def _lost(self, charger: Charger, error: OSError) -> None:
        if charger.booted:
            raise SystemExit(f"{charger.name} lost its connection: {error}")
        self.reset(charger)
        charger.refusals += 1
        self._refused.append((time.monotonic() + PAUSE, charger))

    def _advance(self, charger: Charger) -> None:
        if charger.stage == "open":
            while charger.read():
                self._hear(charger)
                if self._context is None:
                    return  # epoll tells of the rest, as it does not of what TLS holds
        elif charger.stage == "upgrading":
            self._finish_upgrade(charger)
        else:
            self._begin(charger)

    def _begin(self, charger: Charger) -> None:
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
        charger.put(UPGRADE.format(name=charger.name).encode())
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
        self.opened(charger)
        if rest:
            self._hear(charger)

    def _hear(self, charger: Charger) -> None:
        while (frame := charger.frame()) is not None:
            opcode, text = frame
            if opcode == TEXT:
                self.heard(charger, text)
            elif opcode == PING:
                charger.send(text, PONG)
            elif opcode == CLOSE:
                raise ConnectionResetError(errno.ECONNRESET, f"the server sent Close {text!r}")


class Staying(Fleet):
    """Connects chargers that stay and answer."""

    def gather(self, count: int, at_once: int) -> dict[str, float]:
        """Return what it took to bring all of them in."""
        self._coming = (Charger(f"CP{number}") for number in range(count))
        self._booted = self._tried_again = 0
        began = time.monotonic()
        for charger in itertools.islice(self._coming, at_once):
            self.connect(charger)
        while self._booted < count:
            self.turn()
        return {"seconds": time.monotonic() - began, "tried_again": self._tried_again}

    def answer(self) -> None:
        """Answer every CALL until standard input ends."""
        self._epoll.register(sys.stdin, select.EPOLLIN)
        stdin = select.poll()
        stdin.register(sys.stdin, select.POLLIN)
        while not stdin.poll(0):
            self.turn()

    def opened(self, charger: Charger) -> None:
        charger.send(BOOT)

    def heard(self, charger: Charger, text: bytes) -> None:
        if text.startswith(b"[2,"):
            charger.send(b'[3,"%b",{"status":"Unlocked"}]' % text.split(b'"', 2)[1])
        elif text.startswith(b'[3,"boot",') and not charger.booted:
            charger.booted = True
            self._booted += 1
            self._tried_again += charger.refusals > 0 or charger.retransmitted()
            for newcomer in itertools.islice(self._coming, 1):
                self.connect(newcomer)
        else:
            raise SystemExit(f"{charger.name} did not expect {text[:200]!r}")


class Passing(Fleet):
    """Connects chargers that go as soon as they are in."""

    def measure(self, at_once: int, seconds: float) -> dict[str, float]:
        """Return the handshakes a second, after some to warm up."""
        self._numbers = itertools.count()
        self._done = 0
        for _ in range(at_once):
            self._connect_next()
        while self._done < at_once:
            self.turn()
        began, before = time.monotonic(), self._done
        while (now := time.monotonic()) < began + seconds or self._done == before:
            self.turn()
        return {"rate": (self._done - before) / (now - began)}

    def _connect_next(self) -> None:
        self.connect(Charger(f"CP{next(self._numbers)}"))

    def opened(self, charger: Charger) -> None:
        self._done += 1
        self.reset(charger)
        self._connect_next()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("what", choices=("stay", "handshakes"))
    parser.add_argument("--chargers", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    allow_many_sockets()
    context = trusting_context() if options.tls else None
    if options.what == "handshakes":
        print(json.dumps(Passing(options.port, context).measure(options.at_once, options.seconds)))
        return 0
    fleet = Staying(options.port, context)
    print(json.dumps(fleet.gather(options.chargers, options.at_once)), flush=True)
    fleet.answer()
    return 0


if __name__ == "__main__":
    sys.exit(main())

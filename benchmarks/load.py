"""A load generator: many charge points in one process, with raw frames, one thread and no library.

    python benchmarks/load.py PORT --message MeterValues --connections 10 100 --seconds 5
    python benchmarks/load.py PORT --message MeterValues --connections 10000 --seconds 5 --every 30

Without ``--every``, each charge point sends its next CALL when the last one is answered (a closed loop). With it, each
sends a CALL every so many seconds, answered or not (a fixed rate); a latency counts from the time when the CALL was
due, not from the time when it could be sent. Prints one line of JSON for each number of connections. With
``--server-pid``, it has the CPU time of the server for each answer in microseconds, measured like the rate, after the
warm-up. The server can be any OCPP server on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import select
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence

from messages import MESSAGES, Message
from processes import cpu_seconds
from wire import PING, PONG, TEXT, frame_head, split_frame, trusting_context

_BATCH = 64
"""Handshakes in progress at once: below the backlog of every server."""
_ANSWER_TIMEOUT = 30.0
"""Seconds to wait for an answer before the measurement fails."""
_EPOLL_SLACK = 0.002
"""Seconds that epoll may be late; shorter waits poll in a loop."""
_WHOLE_TEXT = 0x80 | TEXT
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError)


class LoadError(Exception):
    """The server did something wrong; the text says what."""


class Frame:
    """The frame of a message, without its message id."""

    def __init__(self, message: Message) -> None:
        rest = f'",{json.dumps([message.action, message.payload], separators=(",", ":"))[1:]}'.encode()
        self.start = frame_head(4 + 36 + len(rest)) + b'[2,"'
        self.end = rest


class Charger:
    """One connection with at most one outstanding CALL."""

    __slots__ = ("_buffer", "_expected", "_frame", "_number", "_recv", "_send", "due", "sock")

    def __init__(self, sock: socket.socket, frame: Frame) -> None:
        self.sock = sock
        self._recv, self._send = sock.recv, sock.send
        self._frame = frame
        self._number = 0
        self._expected = b""
        self._buffer = b""
        #: When the outstanding CALL was due; 0 if there is none.
        self.due = 0.0

    def ask(self) -> None:
        """Send the next CALL."""
        self._number += 1
        message_id = b"%08x-6f0e-4c1b-9f57-0d3a3c1e5b11" % self._number
        self._expected = b'[3,"%s",' % message_id
        frame = self._frame.start + message_id + self._frame.end
        if self._send(frame) != len(frame):
            raise LoadError("the server does not read: the send buffer is full")

    def read(self) -> bool:
        """Read the available data; return whether the answer is complete."""
        try:
            data = self._recv(4096)
        except _NOTHING_YET:
            return False
        # Fast path: nearly always the data is exactly the answer.
        if len(data) > 4 and data[0] == _WHOLE_TEXT and not self._buffer:
            length, offset = data[1], 2
            if length == 126:
                length, offset = data[2] << 8 | data[3], 4
            if len(data) == offset + length and data.startswith(self._expected, offset):
                return True
        return self._read_frames(data)

    def _read_frames(self, data: bytes) -> bool:
        if not data:
            raise LoadError("the server closed a connection")
        self._buffer += data
        answered = False
        while (frame := split_frame(self._buffer)) is not None:
            opcode, text, self._buffer = frame
            if opcode == PING:
                self._send(frame_head(len(text), PONG) + text)
            elif opcode != PONG:
                if opcode != TEXT or not text.startswith(self._expected):
                    raise LoadError(f"expected an answer that starts with {self._expected!r}, got {text[:200]!r}")
                answered = True
        return answered


class Fleet:
    """All connections to a server.

    Attributes:
        answers: how many answers `run` and `pace` have counted, all together.
    """

    def __init__(self, port: int, message: Message, *, tls: bool) -> None:
        self._port = port
        self._message = message
        self._frame = Frame(message)
        self._tls = trusting_context() if tls else None
        self._poll = select.epoll()
        self._chargers: dict[int, Charger] = {}
        self.answers = 0

    def grow(self, size: int) -> None:
        """Connect until there are ``size`` connections."""
        while (missing := size - len(self._chargers)) > 0:
            first = len(self._chargers)
            batch = [self._open(f"CP{first + number:05d}") for number in range(min(_BATCH, missing))]
            for sock in batch:
                _finish_upgrade(sock)
                sock.setblocking(False)
                self._poll.register(sock, select.EPOLLIN)
                self._chargers[sock.fileno()] = Charger(sock, self._frame)
            self._read_pending()

    def _read_pending(self) -> None:
        """Read outstanding answers and reply to pings on the connections that are already open."""
        for number, _ in self._poll.poll(0):
            charger = self._chargers[number]
            if charger.read():
                charger.due = 0.0

    def _open(self, name: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=_ANSWER_TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock)
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(
            f"GET /{name} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {self._message.protocol}\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        return sock

    # Closed loop.

    def ask_all(self) -> None:
        """Send a CALL on every connection without an outstanding one."""
        for charger in self._chargers.values():
            if not charger.due:
                charger.due = 1.0
                charger.ask()

    def run(self, seconds: float) -> float:
        """Send the next CALL on each connection after each answer; return the answers a second."""
        poll, chargers, answers = self._poll.poll, self._chargers, 0
        began = now = last = time.perf_counter()
        # At least one answer, however slow the server is: the rate must not be 0.
        while now < began + seconds or not answers:
            for number, _ in poll(1.0):
                charger = chargers[number]
                if charger.read():
                    answers += 1
                    charger.ask()
                    last = now
            now = time.perf_counter()
            if now - last > _ANSWER_TIMEOUT:
                raise LoadError(f"no answer from the server for {_ANSWER_TIMEOUT:g} s")
        self.answers += answers
        return answers / (now - began)

    # Fixed rate.

    def pace(self, every: float, seconds: float) -> list[float]:
        """Send a CALL on each connection every ``every`` seconds, in turn; return the latencies in seconds."""
        chargers = list(self._chargers.values())
        latencies: list[float] = []
        step, count = every / len(chargers), int(seconds * len(chargers) / every)
        began, sent = time.perf_counter(), 0
        while len(latencies) < count:
            now = time.perf_counter()
            while sent < count and (due := began + sent * step) <= now:
                charger = chargers[sent % len(chargers)]
                if charger.due:
                    raise LoadError(f"a CALL was not answered in {every:g} s")
                charger.due = due
                charger.ask()
                sent += 1
            if now > began + seconds + _ANSWER_TIMEOUT:
                raise LoadError(f"{count - len(latencies)} CALLs were not answered")
            latencies += self._answers_until(began + sent * step if sent < count else now + 1.0)
        self.answers += count
        return latencies

    def _answers_until(self, due: float) -> Iterator[float]:
        wait = due - time.perf_counter() - _EPOLL_SLACK
        for number, _ in self._poll.poll(max(0.0, wait)):
            charger = self._chargers[number]
            if charger.read():
                yield time.perf_counter() - charger.due
                charger.due = 0.0


def _finish_upgrade(sock: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(4096)
        if not data:
            raise LoadError("the server closed a connection during the handshake")
        head += data
    if b" 101 " not in head.partition(b"\r\n")[0]:
        raise LoadError(f"the server refused the upgrade: {head[:80]!r}")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _load(fleet: Fleet, every: float | None, seconds: float) -> dict[str, float]:
    if every is None:
        return {"rate": fleet.run(seconds)}
    latencies = fleet.pace(every, seconds)
    return {name: percentile(latencies, share) for name, share in (("p50", 0.5), ("p99", 0.99)) if latencies}


def _measure(fleet: Fleet, every: float | None, seconds: float, server_pid: int | None) -> dict[str, float]:
    if server_pid is None:
        return _load(fleet, every, seconds)
    answers, used = fleet.answers, cpu_seconds(server_pid)
    found = _load(fleet, every, seconds)
    found["cpu"] = 1e6 * (cpu_seconds(server_pid) - used) / (fleet.answers - answers)
    return found


def _measurements(options: argparse.Namespace) -> Iterator[tuple[int, float, float]]:
    """Yield each number of connections, and the seconds of its warm-up and its measurement."""
    for number, connections in enumerate(options.connections):
        warm_up, seconds = (some[min(number, len(some) - 1)] for some in (options.warm_up, options.seconds))
        yield connections, warm_up, seconds


def main() -> int:
    """Run the load; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--message", choices=MESSAGES, default="MeterValues")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[100], help="numbers of connections, in increasing order"
    )
    several = "; several: one for each number of connections"
    parser.add_argument("--seconds", type=float, nargs="+", default=[5.0], help="seconds of each measurement" + several)
    parser.add_argument("--warm-up", type=float, nargs="+", default=[0.5], help="seconds before each" + several)
    parser.add_argument("--every", type=float, help="seconds between two CALLs of a charger: a fixed rate")
    parser.add_argument("--tls", action="store_true", help="use TLS, without verifying the certificate")
    parser.add_argument("--server-pid", type=int, metavar="PID", help="the server's process: measure its CPU time too")
    options = parser.parse_args()
    fleet = Fleet(options.port, MESSAGES[options.message], tls=options.tls)
    try:
        for connections, warm_up, seconds in _measurements(options):
            fleet.grow(connections)
            if options.every is None:
                fleet.ask_all()
            if warm_up:
                _load(fleet, options.every, warm_up)
            found = _measure(fleet, options.every, seconds, options.server_pid)
            print(json.dumps({"connections": connections, **found}), flush=True)
    except (LoadError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A raw peer for either role: a socket, the HTTP upgrade by hand, and WebSocket frames of any shape, right or wrong."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

from support import DEADLINE, wait_until

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": "ocpp1.6",
}
"""The headers of a request that is in order."""
_FIN_WAIT_1 = 4


class Frame(NamedTuple):
    """A WebSocket frame as it was read."""

    opcode: int
    payload: bytes
    fin: bool = True
    reserved: int = 0
    masked: bool = False


class Response(NamedTuple):
    """An HTTP response as it was read."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: str

    def header(self, name: str) -> str | None:
        """The header's only value, or None."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, values
        return values[0] if values else None


def request(path: str = "/CP1", method: str = "GET", /, **changes: str | None) -> bytes:
    """Return an upgrade request that is in order, but for ``changes``.

    Args:
        path: as it goes into the request line.
        method: the method.
        changes: headers by name, ``_`` for ``-``: to add, to replace, or to leave out (None).
    """
    fields: dict[str, str | None] = dict(UPGRADE)
    for changed, value in changes.items():
        name = changed.replace("_", "-")
        fields[next((known for known in fields if known.lower() == name.lower()), name)] = value
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """Return a frame; ``length`` is what its header says, right or not, and ``reserved`` the three bits as a number."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data) if length is None else length
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if size < 126:
        head += bytes([masked << 7 | size])
    elif size < 65536:
        head += struct.pack("!BH", masked << 7 | 126, size)
    else:
        head += struct.pack("!BQ", masked << 7 | 127, size)
    if not masked:
        return head + data
    key = os.urandom(4)
    return head + key + mask(data, key)


def mask(data: bytes, key: bytes) -> bytes:
    """Return ``data`` masked, or unmasked, with the four bytes of ``key``."""
    stream = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")


def close_payload(code: int, reason: str = "") -> bytes:
    """Return what a Close frame holds."""
    return struct.pack("!H", code) + reason.encode()


def accept_token(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


class Peer:
    """One end of a connection, by hand.

    Args:
        sock: a connected socket, plain or TLS.
        masked: whether its frames are masked, as a client's must be.
    """

    def __init__(self, sock: socket.socket, *, masked: bool = True) -> None:
        self.sock = sock
        self.masked = masked
        self._buffer = b""
        sock.settimeout(DEADLINE)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    @property
    def address(self) -> str:
        """Its own end as the log of the other end names it."""
        host, port = self.sock.getsockname()[:2]
        return f"{host}:{port}"

    # Bytes.

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.sock.sendall(data)

    def read(self, size: int, *, within: float = DEADLINE) -> bytes:
        """Read exactly so many bytes; raises EOFError when the stream ends before."""
        deadline = time.monotonic() + within
        while len(self._buffer) < size:
            self._more(deadline)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def read_until(self, end: bytes) -> bytes:
        """Read up to and with ``end``."""
        deadline = time.monotonic() + DEADLINE
        while end not in self._buffer:
            self._more(deadline)
        return self.read(self._buffer.index(end) + len(end))

    def read_rest(self, *, within: float = DEADLINE) -> bytes:
        """Read until the other end closes; raises ConnectionResetError when it does so roughly."""
        deadline = time.monotonic() + within
        with contextlib.suppress(EOFError):
            while True:
                self._more(deadline)
        data, self._buffer = self._buffer, b""
        return data

    def wait_for_end(self, *, within: float = DEADLINE) -> None:
        """Read until the connection has ended, roughly or not; raises TimeoutError when it stands."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            self.read_rest(within=within)

    def hang_up(self) -> None:
        """End the stream; return when the system of the other end knows."""
        self.sock.shutdown(socket.SHUT_WR)
        # Until its FIN is acknowledged: the first byte of Linux's struct tcp_info is the state.
        wait_until(lambda: self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _FIN_WAIT_1)

    def _more(self, deadline: float) -> None:
        self.sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.sock.recv(65536)
        except ssl.SSLEOFError:
            data = b""
        finally:
            self.sock.settimeout(DEADLINE)
        if not data:
            raise EOFError(f"the stream ended; unread: {self._buffer[:100]!r}")
        self._buffer += data

    # HTTP.

    def read_response(self) -> Response:
        """Read a response, with as much of a body as its Content-Length announces."""
        status_line, *lines = self.read_until(b"\r\n\r\n").decode("latin-1").rstrip("\r\n").split("\r\n")
        version, status, reason = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        response = Response(int(status), reason, fields, "")
        return response._replace(body=self.read(int(response.header("Content-Length") or 0)).decode())

    def ask(self, data: bytes) -> Response:
        """Write a request and read its response."""
        self.send(data)
        return self.read_response()

    def upgrade(self, path: str = "/CP1", **changes: str | None) -> Response:
        """Open the WebSocket; see `request` for the arguments."""
        response = self.ask(request(path, **changes))
        assert response.status == 101, response
        assert response.header("Sec-WebSocket-Accept") == accept_token(KEY)
        return response

    def answer_upgrade(self, *, extra: bytes = b"", **changes: str | None) -> str:
        """As the server: read the request, answer 101, and write ``extra`` in the same go; return the request."""
        head = self.read_until(b"\r\n\r\n").decode("latin-1")
        fields = {name.lower(): value.strip() for name, _, value in map(_split, head.split("\r\n")[1:-2])}
        answer: dict[str, str | None] = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_token(fields["sec-websocket-key"]),
            "Sec-WebSocket-Protocol": "ocpp1.6",
        }
        answer.update({name.replace("_", "-"): value for name, value in changes.items()})
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer.items() if value is not None)
        self.send(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode() + extra)
        return head

    # Frames.

    def send_frame(self, opcode: int, payload: bytes | str = b"", *, fin: bool = True, reserved: int = 0) -> None:
        """Write one frame."""
        self.send(frame(opcode, payload, fin=fin, reserved=reserved, masked=self.masked))

    def send_text(self, text: str) -> None:
        """Write a message."""
        self.send_frame(TEXT, text)

    def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Write a Close."""
        self.send_frame(CLOSE, close_payload(code, reason))

    def read_frame(self, *, within: float = DEADLINE) -> Frame:
        """Read one frame, whatever its shape."""
        first, second = self.read(2, within=within)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self.read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.read(8))
        masked = bool(second & 0x80)
        key = self.read(4) if masked else b"\0\0\0\0"
        payload = mask(self.read(size), key)
        return Frame(first & 0xF, payload, bool(first & 0x80), first >> 4 & 0x7, masked)

    def read_text(self) -> str:
        """Read one unfragmented text frame."""
        got = self.read_frame()
        assert (got.opcode, got.fin, got.reserved) == (TEXT, True, 0), got
        return got.payload.decode()

    def read_close(self, *, within: float = DEADLINE) -> tuple[int, str]:
        """Read up to a Close, and return its code and its reason; 1005 when it holds none."""
        while (got := self.read_frame(within=within)).opcode != CLOSE:
            pass
        if not got.payload:
            return 1005, ""
        return struct.unpack("!H", got.payload[:2])[0], got.payload[2:].decode()


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def dial(
    port: int | None,
    *,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str = "localhost",
    receive_buffer: int | None = None,
    source: str = "",
) -> Peer:
    """Connect to a port of this machine.

    Args:
        port: where to.
        ssl_context: for TLS.
        server_hostname: the name that the server must prove.
        receive_buffer: bytes that the system may keep unread (it doubles the number); a small one makes writers wait.
        source: which of its own addresses to come from; on Linux all of 127.0.0.0/8 are.
    """
    assert port is not None
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(DEADLINE)
        if source:
            sock.bind((source, 0))
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ssl_context is not None:
            sock = ssl_context.wrap_socket(sock, server_hostname=server_hostname)
    except BaseException:
        sock.close()
        raise
    return Peer(sock)


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A listening socket, for playing the server; `accept` takes from it."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(DEADLINE)
        yield sock


def accept(listener: socket.socket, *, ssl_context: ssl.SSLContext | None = None) -> Peer:
    """Accept the next connection, as a server, whose frames are not masked."""
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if ssl_context is not None:
        sock = ssl_context.wrap_socket(sock, server_side=True)
    return Peer(sock, masked=False)

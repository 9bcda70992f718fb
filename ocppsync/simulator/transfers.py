"""Downloads and uploads over HTTP, bounded in size and time, and ended at once by the cancellation of their job.

Only http and https; redirects are not followed, so that a server cannot lead to another scheme or host.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from .jobs import Job

__all__ = ["MAX_BYTES", "MAX_SECONDS", "Download", "TransferError", "download", "upload"]

MAX_BYTES = 64 * 1024 * 1024
"""The longest file that is downloaded."""
MAX_SECONDS = 300.0
"""The longest time that one attempt takes."""

_CHUNK = 64 * 1024
_HEAD = 1024
_PORTS: Mapping[str, int] = {"http": 80, "https": 443}


class TransferError(Exception):
    """A transfer failed.

    Attributes:
        text: why, without anything that the server has sent, and without secrets.
        http_status: the status that the server answered, if it was that.
    """

    def __init__(self, text: str, http_status: int | None = None) -> None:
        super().__init__(text, http_status)
        self.text = text
        self.http_status = http_status


@dataclass(frozen=True)
class Download:
    """A downloaded file, which is not kept as a whole."""

    size: int
    """Its length in bytes."""
    head: bytes
    """Its first 1024 bytes."""
    sha256: bytes
    """The digest of the whole file."""


def download(url: str, job: Job, ssl_context: ssl.SSLContext | None = None) -> Download:
    """Download a file with GET.

    Raises:
        TransferError: it failed, the file is too long, or the job was cancelled.
    """
    head, digest, size = b"", hashlib.sha256(), 0
    with _response("GET", url, None, {}, job, ssl_context) as response:
        if response.status != 200:
            raise TransferError(f"the server answered {response.status}, not 200", response.status)
        while chunk := response.read(_CHUNK):
            size += len(chunk)
            if size > MAX_BYTES:
                raise TransferError(f"the file has more than {MAX_BYTES} bytes")
            head = (head + chunk)[:_HEAD] if len(head) < _HEAD else head
            digest.update(chunk)
        if response.length:  # bytes that were announced and did not come
            raise TransferError("the connection broke")
    return Download(size, head, digest.digest())


def upload(url: str, content: bytes, job: Job, ssl_context: ssl.SSLContext | None = None) -> None:
    """Upload a text with PUT.

    Raises:
        TransferError: it failed, or the job was cancelled.
    """
    with _response("PUT", url, content, {"Content-Type": "text/plain; charset=utf-8"}, job, ssl_context) as response:
        if not 200 <= response.status < 300:
            raise TransferError(f"the server answered {response.status}, not 2xx", response.status)


@contextlib.contextmanager
def _response(
    method: str, url: str, body: bytes | None, headers: dict[str, str], job: Job, ssl_context: ssl.SSLContext | None
) -> Iterator[http.client.HTTPResponse]:
    """Send a request, and yield the response; any fault in between becomes a TransferError."""
    parts = _parts(url)
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    deadline = time.monotonic() + MAX_SECONDS
    try:
        with _connected(parts, deadline, job, ssl_context) as sock:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port or _PORTS[parts.scheme])
            connection.sock = _Bounded(sock, deadline)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body, {**headers, "Connection": "close"})
            yield connection.getresponse()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TransferError("it was cancelled" if job.cancelled else _reason(error)) from error


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise TransferError("the location is not a valid URL") from None
    if parts.scheme not in _PORTS:
        raise TransferError(f"the scheme {parts.scheme[:20]!r} is not supported; supported: http, https")
    if not valid:
        raise TransferError("the location is not a valid URL")
    return parts


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    if isinstance(error, TimeoutError):
        return f"it took more than {MAX_SECONDS:.0f} seconds"
    if isinstance(error, socket.gaierror):
        return "the host is unknown"
    if isinstance(error, ConnectionRefusedError):
        return "the server refused the connection"
    invalid = isinstance(error, (ValueError, http.client.InvalidURL))
    return "the location is not a valid URL" if invalid else "the connection broke"


@contextlib.contextmanager
def _connected(
    parts: SplitResult, deadline: float, job: Job, ssl_context: ssl.SSLContext | None
) -> Iterator[socket.socket]:
    """Yield a connected socket, over TLS for https; a cancelled job shuts it down."""
    host = parts.hostname or ""
    addresses = socket.getaddrinfo(host, parts.port or _PORTS[parts.scheme], type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _, address) in enumerate(addresses, 1):
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket(family, kind, protocol))
            sock.settimeout(_left(deadline))
            with job.on_cancel(lambda sock=sock: _shut_down(sock)):  # type: ignore[misc]
                try:
                    sock.connect(address)
                except OSError:
                    if number < len(addresses) and not job.cancelled:
                        continue
                    raise
            if parts.scheme == "https":
                context = ssl_context or ssl.create_default_context()
                # The handshake is in the block below, so that it can be cancelled.
                sock = stack.enter_context(
                    context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
                )
            with job.on_cancel(lambda sock=sock: _shut_down(sock)):  # type: ignore[misc]
                if isinstance(sock, ssl.SSLSocket):
                    sock.do_handshake()
                yield sock
                return


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not `SSLSocket.shutdown`, which changes the object under the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Bounded(io.RawIOBase):
    """The socket of an http.client connection that keeps a deadline, however slowly the server sends."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), _CHUNK):
            self._sock.settimeout(_left(self._deadline))
            self._sock.sendall(view[start : start + _CHUNK])

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        """Do nothing: the socket is closed where it was opened, and http.client closes before it has read all."""

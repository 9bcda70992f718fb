"""Bytes over a TCP connection, plain or TLS: one thread reads and blocks, any thread writes whole messages."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..faults.interrupts import raise_interrupt
from ..throttled_log import LogThrottle, ThrottledLog
from .addresses import rate_limit_key

_logger = logging.getLogger(__name__)
_LINGER = 1.0
"""Seconds that a peer has to read the last bytes before its connection is closed."""

_LONGEST_POLL = 1_000_000.0
"""Seconds that one poll may wait; the system takes no more than 24 days."""

# Only Linux has it: the peer writes no more, also if unread bytes came before.
_PEER_CLOSED = getattr(select, "POLLRDHUP", 0)
# A flag of each write; the socket itself stays blocking for the reader. With a timeout of its own, writes would wait.
_DONT_WAIT = socket.MSG_DONTWAIT


def has_ended(sock: socket.socket) -> bool:
    """Return whether the peer of a socket has closed its end, or the connection has broken; does not wait."""
    poll = select.poll()
    try:
        poll.register(sock, select.POLLIN | _PEER_CLOSED)
    except ValueError:
        return True  # this end is closed
    found = dict(poll.poll(0)).get(sock.fileno(), 0)
    if found & (_PEER_CLOSED | select.POLLHUP | select.POLLERR | select.POLLNVAL):
        return True
    if not found:
        return False
    try:
        return not sock.recv(1, socket.MSG_PEEK | _DONT_WAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


class Stream:
    """A plain TCP connection.

    One thread reads. Any thread writes whole messages: `put`, under `lock`, hands them to the socket at once. What the
    socket does not take waits in the write buffer, which `flush` and `flush_nowait` write. So messages go out whole and
    in order, whichever thread writes them, and threads that must not wait (a reader, the timer) never do.

    Args:
        sock: a connected socket; the stream owns it from now on.
        write_timeout: seconds that one `flush` may take before the connection is given up.
        on_data: called with each piece of data after it was read, on the reading thread.
        throttle: counts what peers cause, for the log; None: counts for this connection alone.
    """

    secure = False
    """Whether it is TLS."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        write_timeout: float,
        on_data: Callable[[bytes], object] | None = None,
        throttle: LogThrottle | None = None,
    ) -> None:
        self._socket = sock
        self._write_timeout = write_timeout
        self._on_data = on_data
        self._throttle = throttle or LogThrottle()
        self._unread = b""
        sock.settimeout(None)
        self._read_timeout: float | None = None
        self._receive: Callable[[int], bytes] = sock.recv
        self.lock = threading.Lock()
        """Guards the write buffer, and the socket while bytes are handed to it, which does not wait."""
        # One buffer, not a queue of pieces: a flood of pongs must cost no more than its bytes.
        self._waiting = bytearray()
        self._lost = False  # whether buffered bytes were dropped
        self._flushing = False  # whether a thread of its own is in `flush`
        self._flusher: threading.Thread | None = None  # the last of these threads
        self.aborted = False
        """Whether the connection was given up; bytes that are buffered from now on are dropped."""
        # `close` must not release a file descriptor that a `flush` waits for, or that `abort` is about to shut down.
        self._wait_lock = threading.Lock()
        self._end_lock = threading.Lock()
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = sock.getpeername()
        self.remote_address: tuple[str, int] = (str(address[0]), int(address[1])) if address else ("", 0)
        self.name = f"{self.remote_address[0]}:{self.remote_address[1]}"
        """The name of the connection in the log and in thread names."""
        self.peer = self.name
        """The name of the peer, in log lines about what it did."""
        self.log_fields: Mapping[str, object] | None = None
        """The attributes of log records about the connection, once the charge point is known."""

    def __repr__(self) -> str:
        state = "aborted" if self.aborted else "open"
        host, port = self.remote_address
        return f"<{type(self).__name__} {host}:{port} {state} backlog={self.backlog}>"

    @property
    def peer_certificate(self) -> Mapping[str, Any] | None:
        """The verified certificate of the peer, or None."""
        return None

    def warn(self, logger: logging.Logger, text: str, *args: object) -> None:
        """Log what the peer did, throttled; the text begins with a ``%s`` for its name."""
        ThrottledLog(self.peer, self.log_fields, self._throttle).about(logger, text, *args)

    # Reading, on one thread.

    @property
    def peer_has_left(self) -> bool:
        """Whether the peer has closed its end, or the connection has broken; does not wait."""
        return has_ended(self._socket)

    def set_read_timeout(self, seconds: float | None) -> None:
        """Let each `recv` raise TimeoutError after this many seconds; None: no timeout."""
        self._read_timeout = seconds
        self._receive = self._socket.recv if seconds is None else self._receive_in_time

    def recv(self, size: int) -> bytes:
        """Wait for data and return at most ``size`` bytes; ``b""`` at the end of the stream.

        Raises:
            OSError: the connection broke; TimeoutError after the read timeout.
        """
        if self._unread:
            data, self._unread = self._unread[:size], self._unread[size:]
            return data
        data = self._receive(size)
        if data and self._on_data is not None:
            try:
                self._on_data(data)
            except BaseException as error:
                raise_interrupt(error)
                # Before its identity is known, it has a new name for each connection.
                who = self.name if self.log_fields else rate_limit_key(self.remote_address[0])
                text, fields = "%s: on_raw_socket_data failed", self.log_fields
                self._throttle.log(_logger, who, "raw", text, self.name, level=logging.ERROR, extra=fields, error=error)
        return data

    def _receive_in_time(self, size: int) -> bytes:
        return self._read_socket(size, self._read_deadline())

    def _read_deadline(self) -> float | None:
        return None if self._read_timeout is None else time.monotonic() + self._read_timeout

    def _read_socket(self, size: int, deadline: float | None) -> bytes:
        if deadline is not None and not self._wait(select.POLLIN, deadline):
            raise TimeoutError("the peer sends nothing")
        return self._socket.recv(size)

    def unread(self, data: bytes) -> None:
        """Put bytes back; the next `recv` returns them."""
        self._unread = data + self._unread

    # Writing, on any thread.

    def buffer(self, data: bytes) -> None:
        """Append bytes to the write buffer; never waits, never fails."""
        with self.lock:
            self._waiting += data

    @property
    def backlog(self) -> int:
        """How many bytes are buffered."""
        return len(self._waiting)

    def put(self, data: bytes) -> bool:
        """Write bytes behind what is buffered, as far as the socket takes them now, and buffer the rest; never waits.

        The caller holds `lock`. If False is returned, it calls `flush_rest` once it has let go of it.

        Raises:
            OSError: the connection broke; the stream is aborted.
        """
        assert self.lock.locked()
        # Without a copy into the buffer, which is nearly always empty.
        sent = 0 if self._waiting else self._send(data)
        if sent == len(data):
            return True
        self._waiting += memoryview(data)[sent:]
        return False

    def flush(self) -> None:
        """Write everything that is buffered.

        Raises:
            OSError: the connection broke; TimeoutError if the peer does not read for the write timeout. In both cases
                the stream is aborted, since half a message may have been written.
        """
        deadline = time.monotonic() + self._write_timeout
        while not self._drain():
            with self._wait_lock:
                writable = self._wait(select.POLLOUT, deadline)
            if not writable:
                with self.lock:
                    self._give_up()
                raise TimeoutError("the peer does not read")

    def flush_nowait(self) -> None:
        """Write what the socket takes without waiting; a thread of its own writes the rest.

        Raises:
            OSError: the connection broke; the stream is aborted.
        """
        if not self._drain():
            self.flush_rest()

    def flush_rest(self) -> None:
        """Have a thread of its own write what is buffered.

        Raises:
            OSError: the thread cannot be started; the stream is aborted.
        """
        with self.lock:
            if self._flushing:
                return
            self._flushing = True
        flusher = threading.Thread(target=self._write_rest, name=f"ocppsync-flush-{self.name}", daemon=True)
        try:
            flusher.start()
            self._flusher = flusher
        except RuntimeError as error:
            with self.lock:
                self._give_up()
            raise OSError(f"cannot start a thread that writes what the peer does not read at once: {error}") from error

    def _write_rest(self) -> None:
        # Ends: `flush` is bounded by the write timeout and by `abort`.
        finished = False
        while not finished:
            try:
                self.flush()
            except OSError as error:
                if isinstance(error, TimeoutError):
                    self.warn(_logger, "%s does not read; its connection is aborted")
                return
            with self.lock:
                # A thread that buffers after this look finds _flushing false, and starts the next thread.
                finished = not self._waiting
                self._flushing = not finished

    def _drain(self) -> bool:
        """Write what is buffered; return False if the socket takes no more now."""
        with self.lock:
            while self._waiting or self._lost:
                sent = self._send(self._waiting)
                if not sent:
                    return False
                del self._waiting[:sent]
            return True

    def _send(self, data: bytes | bytearray) -> int:
        assert self.lock.locked()
        # Only with bytes left: once all are out, the peer may read them and leave before this look.
        if self.aborted:
            self._give_up()
            raise ConnectionAbortedError("the connection was aborted")
        try:
            return self._socket.send(data, _DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        assert self.lock.locked()
        self.abort()
        self._waiting = bytearray()
        self._lost = True

    def _wait(self, event: int, deadline: float) -> bool:
        """Wait until the socket is ready, or its connection has ended; return False at the deadline."""
        poll = select.poll()
        try:
            poll.register(self._socket, event)
        except ValueError:
            return True  # it was closed, as the next attempt to use it says
        remaining = min(deadline - time.monotonic(), _LONGEST_POLL)
        return remaining > 0 and bool(poll.poll(remaining * 1000))

    # Ending.

    def finish_writing(self) -> None:
        """Shut the writing side of the socket down; reading goes on."""
        self._shut(socket.SHUT_WR)

    def linger(self) -> None:
        """Let the peer read the last bytes, for a second at most; only for the reading thread."""
        # Closing with unread bytes would reset the connection, and the peer would lose what was written last.
        with contextlib.suppress(OSError):
            if not self.backlog:
                self.finish_writing()
            deadline = time.monotonic() + _LINGER
            while (remaining := deadline - time.monotonic()) > 0:
                self.set_read_timeout(remaining)
                if not self.recv(4096):
                    break

    def abort(self) -> None:
        """End the connection at once, from any thread; a blocked `recv` or `flush` returns."""
        self.aborted = True
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        with self._end_lock, contextlib.suppress(OSError):
            self._socket.shutdown(how)

    def close(self) -> None:
        """Close the socket when no other thread uses it any more; only for the reading thread."""
        self.abort()
        with self._wait_lock, self.lock, self._end_lock:
            self._socket.close()
        if self._flusher is not None:
            self._flusher.join(_LINGER)  # it has ended but for its last lines; only a filter of the log may keep it
        self._receive = self._socket.recv  # a method of its own would keep the stream until garbage is collected


class TLSStream(Stream):
    """A TLS connection over a plain one.

    The TLS engine works on memory buffers, under a lock of its own; the socket carries its output. So one thread can
    wait for data while others write, which `ssl.SSLSocket` does not allow.

    Args:
        context: the TLS context.
        server_hostname: for a client: the name that the server's certificate must have; None for a server.
    """

    secure = True

    def __init__(
        self,
        sock: socket.socket,
        *,
        context: ssl.SSLContext,
        server_hostname: str | None = None,
        write_timeout: float,
        on_data: Callable[[bytes], object] | None = None,
        throttle: LogThrottle | None = None,
    ) -> None:
        super().__init__(sock, write_timeout=write_timeout, on_data=on_data, throttle=throttle)
        self._receive = self._decrypt
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls_lock = threading.Lock()  # one thread calls the TLS engine; never held over I/O
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )

    @property
    def peer_certificate(self) -> Mapping[str, Any] | None:
        """The verified certificate of the peer, or None."""
        with self._tls_lock:
            return self._tls.getpeercert() or None

    def handshake(self, deadline: float) -> None:
        """Agree on keys with the peer.

        Raises:
            OSError: the handshake failed (`ssl.SSLError` says why); TimeoutError at the deadline.
        """
        while True:
            try:
                with self._tls_lock:
                    self._tls.do_handshake()
                    only_tickets = self._tls.server_side and self._tls.version() == "TLSv1.3"
            except ssl.SSLWantReadError:
                self._push_tls()
                try:
                    self._feed(16384, deadline)
                except TimeoutError:
                    raise TimeoutError("the TLS handshake took too long") from None
            except ssl.SSLError:
                # Send the alert that tells the peer why.
                with contextlib.suppress(OSError):
                    self._push_tls()
                raise
            else:
                # The client of a TLS 1.3 server waits for nothing more: what is left are session tickets, which go out
                # with the answer to its request, in one write, or before a read that waits for the request.
                if not only_tickets:
                    self._push_tls()
                return

    def set_read_timeout(self, seconds: float | None) -> None:
        """Let each `recv` raise TimeoutError after so many seconds, whatever has come until then; None: no timeout."""
        self._read_timeout = seconds

    def _feed(self, size: int, deadline: float | None = None) -> None:
        data = self._read_socket(size, deadline)
        with self._tls_lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _decrypt(self, size: int) -> bytes:
        # One for all reads from the socket: a peer may send a record a byte at a time, or many without any data.
        deadline = self._read_deadline()
        while True:
            try:
                with self._tls_lock:
                    return self._tls.read(size)
            except ssl.SSLWantReadError:
                # The engine has read everything; only now is its own answer to that sent.
                self._push_tls()
                self._feed(max(size, 16384), deadline)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def buffer(self, data: bytes) -> None:
        """Encrypt bytes and append them to the write buffer."""
        with self.lock:
            self._waiting += self._encrypt(data)

    def put(self, data: bytes) -> bool:
        """Encrypt bytes and write them; see `Stream.put`."""
        return super().put(self._encrypt(data))

    def _encrypt(self, data: bytes) -> bytes:
        assert self.lock.locked()  # records go out in the order in which they were made
        with self._tls_lock:
            try:
                self._tls.write(data)
            except ssl.SSLError:
                self._give_up()
                raise
            return self._outgoing.read()

    def _push_tls(self) -> None:
        # The engine's own messages: handshake, alerts, key updates.
        with self._tls_lock:
            if not self._outgoing.pending:
                return
        with self.lock, self._tls_lock:
            self._waiting += self._outgoing.read()
        self.flush_nowait()

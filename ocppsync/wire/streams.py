"""Bytes over a TCP connection, plain or TLS: whole, bounded writes from any thread beside one blocking reader."""

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

_logger = logging.getLogger(__name__)

# Each write says for itself that it must not wait, so that the reader's recv can stay a plain blocking one.
_DONT_WAIT = socket.MSG_DONTWAIT


class Stream:
    """A plain TCP connection.

    One thread reads. Any thread writes, in two steps: `buffer` appends bytes to what is to go out and never waits;
    `flush` and `flush_nowait` write it. So whole messages keep their order whoever writes them, and a thread that must
    not wait (a reader, the timer) never has to.

    Args:
        sock: a connected socket; the stream owns it from now on.
        write_timeout: seconds that one `flush` may take before the peer counts as gone.
        on_data: called with every piece that was read, on the reading thread.
    """

    secure = False
    """Whether it is TLS."""

    def __init__(
        self, sock: socket.socket, *, write_timeout: float, on_data: Callable[[bytes], object] | None = None
    ) -> None:
        self._socket = sock
        self._write_timeout = write_timeout
        self._on_data = on_data
        self._unread = b""
        self._write_lock = threading.Lock()  # serialises the writes to the socket, held while they wait
        self._writing = memoryview(b"")  # what is being written; changed under the write lock alone, as is the next
        self._lost = False  # whether something that was put never went out
        # Guards the two below, and the moment in which what waits becomes what is written; never held over I/O. One
        # buffer, not a queue of pieces: a flood of pongs must cost its bytes and no more.
        self._queue_lock = threading.Lock()
        self._waiting = bytearray()
        self._flushing = False
        self.aborted = False
        """Whether the connection was given up: what is put from now on goes nowhere."""
        self._end_lock = threading.Lock()  # keeps abort from a socket number that close has given back
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = sock.getpeername()
        self.remote_address: tuple[str, int] = (str(address[0]), int(address[1])) if address else ("", 0)
        self.name = f"{self.remote_address[0]}:{self.remote_address[1]}"
        """The connection's name, for the log and for the thread of `flush_nowait`."""
        self.peer = self.name
        """The peer, in log lines about what it did."""
        self.log_fields: Mapping[str, object] | None = None
        """The attributes of log records about the connection, once more is known of the peer."""

    def __repr__(self) -> str:
        state = "aborted" if self.aborted else "open"
        host, port = self.remote_address
        return f"<{type(self).__name__} {host}:{port} {state} backlog={self.backlog}>"

    @property
    def peer_certificate(self) -> Mapping[str, Any] | None:
        """The verified certificate of the peer, where there is one."""
        return None

    # Reading: by one thread.

    def set_read_timeout(self, seconds: float | None) -> None:
        """Let `recv` raise TimeoutError after so many seconds; None lets it wait for ever."""
        self._socket.settimeout(seconds)

    def recv(self, size: int) -> bytes:
        """Wait for bytes and return at most ``size`` of them; ``b""`` at the end of the stream.

        Raises:
            OSError: the connection broke; TimeoutError when the read timeout passed.
        """
        if self._unread:
            data, self._unread = self._unread[:size], self._unread[size:]
            return data
        data = self._receive(size)
        if data and self._on_data is not None:
            try:
                self._on_data(data)
            except Exception:
                _logger.exception("%s: on_raw_socket_data failed", self.name, extra=self.log_fields)
        return data

    def unread(self, data: bytes) -> None:
        """Give bytes back, for the next `recv`."""
        self._unread = data + self._unread

    def _receive(self, size: int) -> bytes:
        return self._socket.recv(size)

    # Writing: by any thread.

    def buffer(self, data: bytes) -> None:
        """Append bytes to what goes out next; never waits, never fails."""
        with self._queue_lock:
            self._waiting += data

    @property
    def backlog(self) -> int:
        """Bytes that wait to be written."""
        # Without the lock where nothing waits, as mostly: what waits is set as written before it is taken from there.
        if not self._waiting and not self._writing:
            return 0
        with self._queue_lock:
            return len(self._waiting) + len(self._writing)

    def flush(self) -> None:
        """Write all that was put.

        Raises:
            OSError: the connection broke; TimeoutError when the peer does not read for the write timeout. Either way
                the stream is aborted, since half a message may be out.
        """
        deadline = time.monotonic() + self._write_timeout
        while True:
            if not self._write_lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                self.abort()
                raise TimeoutError("the peer does not read")
            try:
                self._drain(deadline)
            finally:
                self._write_lock.release()
            if not self.backlog:
                return

    def flush_nowait(self) -> None:
        """Write what can be written without waiting; the rest follows from a thread of its own.

        Raises:
            OSError: the connection broke; the stream is aborted.
        """
        if self._flush_now():
            return
        with self._queue_lock:
            if self._flushing:
                return
            self._flushing = True
        try:
            threading.Thread(target=self._flush_rest, name=f"ocppsync-flush-{self.name}", daemon=True).start()
        except RuntimeError as error:
            self.abort()
            raise OSError(f"no thread for what the peer does not read at once: {error}") from error

    def _flush_now(self) -> bool:
        # Looks again after each release: what another thread put meanwhile counted on this one to write it.
        while self.backlog or self._lost:
            if not self._write_lock.acquire(blocking=False):
                return True
            try:
                if not self._drain(None):
                    return False
            finally:
                self._write_lock.release()
        return True

    def _flush_rest(self) -> None:
        # Ends: flush is bounded by the write timeout, and by abort.
        finished = False
        while not finished:
            try:
                self.flush()
            except OSError as error:
                if isinstance(error, TimeoutError):
                    _logger.warning("%s does not read; its connection is aborted", self.peer, extra=self.log_fields)
                return
            with self._queue_lock:
                # Whoever puts after this look finds the mark gone, and starts the next thread.
                finished = not self._waiting and not self._writing
                self._flushing = not finished

    def _drain(self, deadline: float | None) -> bool:
        assert self._write_lock.locked()
        try:
            while self._take_waiting():
                sent = self._send(self._writing)
                self._writing = self._writing[sent:]
                if not self._writing and not self._waiting:
                    return True
                if sent > 0:
                    continue
                if deadline is None:
                    return False
                self._wait_writable(deadline)
        except OSError:
            self.abort()
            self._writing = memoryview(b"")
            self._lost = True
            raise
        return True

    def _take_waiting(self) -> bool:
        with self._queue_lock:
            if not self._writing and self._waiting:
                self._writing, self._waiting = memoryview(self._waiting), bytearray()
        # Not where all is out: a peer may read what it waited for and leave, and the connection end before this look.
        if self.aborted and (self._writing or self._lost):
            raise ConnectionAbortedError("the connection was aborted")
        return bool(self._writing)

    def _send(self, view: memoryview) -> int:
        try:
            return self._socket.send(view, _DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            return 0

    def _wait_writable(self, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not poll.poll(remaining * 1000):
            raise TimeoutError("the peer does not read")

    # Ending.

    def finish_writing(self) -> None:
        """Tell the peer that nothing more comes; reading goes on."""
        self._shut(socket.SHUT_WR)

    def abort(self) -> None:
        """End the connection both ways at once, from any thread: a blocked `recv` or `flush` returns."""
        self.aborted = True
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        with self._end_lock, contextlib.suppress(OSError):
            self._socket.shutdown(how)

    def close(self) -> None:
        """Give the socket back, once no other thread writes; only the reading thread may."""
        self.abort()
        with self._write_lock, self._end_lock:
            self._socket.close()


class TLSStream(Stream):
    """A TLS connection over a plain one.

    The TLS engine works on memory, under a lock of its own, and the socket below carries ready bytes: so a thread can
    wait to read while others write, which one `ssl.SSLSocket` does not allow.

    Args:
        context: the TLS context.
        server_hostname: for the client side: the name that the server must prove; None for the server side.
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
    ) -> None:
        super().__init__(sock, write_timeout=write_timeout, on_data=on_data)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls_lock = threading.Lock()  # serialises the calls of the TLS engine; never held over I/O
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )

    @property
    def peer_certificate(self) -> Mapping[str, Any] | None:
        """The verified certificate of the peer, where there is one."""
        with self._tls_lock:
            return self._tls.getpeercert() or None

    def handshake(self, deadline: float) -> None:
        """Agree on keys with the peer.

        Raises:
            OSError: it failed (`ssl.SSLError` says why), or TimeoutError at the deadline.
        """
        while True:
            try:
                with self._tls_lock:
                    self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._push_tls()
                try:
                    self._feed(16384, deadline)
                except TimeoutError:
                    raise TimeoutError("the TLS handshake took too long") from None
            except ssl.SSLError:
                # The alert that tells the peer why is still to go out.
                with contextlib.suppress(OSError):
                    self._push_tls()
                raise
            else:
                self._push_tls()
                return

    def _feed(self, size: int, deadline: float | None = None) -> None:
        if deadline is not None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self._socket.settimeout(remaining)
        data = self._socket.recv(size)
        with self._tls_lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _receive(self, size: int) -> bytes:
        while True:
            try:
                with self._tls_lock:
                    return self._tls.read(size)
            except ssl.SSLWantReadError:
                # Everything that came is read now; only here does the engine's own answer to it go out.
                self._push_tls()
                self._feed(max(size, 16384))
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def buffer(self, data: bytes) -> None:
        """Encrypt bytes and append them to what goes out next."""
        with self._tls_lock:
            self._tls.write(data)
            super().buffer(self._outgoing.read())

    def _push_tls(self) -> None:
        # What the engine itself has to say: handshake messages, alerts, key updates.
        with self._tls_lock:
            if not self._outgoing.pending:
                return
            super().buffer(self._outgoing.read())
        self.flush_nowait()

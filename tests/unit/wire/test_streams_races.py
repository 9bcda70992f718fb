"""Streams where a second thread comes into the middle of what a first one does."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from certificates import Authority
from ends import dial_us, flushers, plain, wait_for_no_flusher
from interleaved import MeetingLock, once, watch_field
from wire import DEADLINE, Peer

from ocppsync.wire.streams import Stream, TLSStream

BIG = b"0123456789abcdef" * 65536
"""1 MiB, which small socket buffers do not hold."""


def new_lock(monkeypatch: pytest.MonkeyPatch, stream: Stream, name: str) -> MeetingLock:
    """Put a lock in the place of one of the stream's."""
    lock = MeetingLock()
    monkeypatch.setattr(stream, name, lock)
    return lock


# Two that write.


def test_what_is_put_while_another_thread_lets_go_of_the_socket_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own thread cannot write just then, and counts on the other to look again."""
    for write in ("flush", "flush_nowait"):
        with plain() as (stream, peer):
            lock = new_lock(monkeypatch, stream, "_write_lock")

            def write_more(stream: Stream = stream) -> None:
                stream.buffer(b"second")
                stream.flush_nowait()

            lock.before_release = write_more
            stream.buffer(b"first ")
            getattr(stream, write)()
            assert stream.backlog == 0
            assert peer.read(12) == b"first second"


class _BuffersAfterSend:
    """The socket of a stream; after the first write, more bytes are buffered."""

    def __init__(self, stream: Stream, more: bytes) -> None:
        self._socket = stream._socket
        self._more = once(lambda: stream.buffer(more))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def send(self, data: memoryview, flags: int) -> int:
        sent = self._socket.send(data, flags)
        self._more()
        return sent


def test_what_is_put_while_the_last_bytes_go_out_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with plain() as (stream, peer):
        monkeypatch.setattr(stream, "_socket", _BuffersAfterSend(stream, b"second"))
        monkeypatch.setattr(threading.Thread, "start", no_more)
        stream.buffer(b"first ")
        stream.flush_nowait()
        assert peer.read(12) == b"first second"


class _Waiting(bytearray):
    """Bytes that wait, and call the test at what is done with them."""

    on_append: Callable[[], object] = staticmethod(lambda: None)
    on_length: Callable[[], object] = staticmethod(lambda: None)

    def __iadd__(self, data: Any) -> _Waiting:  # type: ignore[override, misc]
        self.on_append()
        super().__iadd__(data)
        return self

    def __bool__(self) -> bool:
        return super().__len__() > 0

    def __len__(self) -> int:
        length = super().__len__()
        self.on_length()
        return length


def test_what_is_put_while_another_thread_takes_what_waits_goes_out_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain() as (stream, peer):
        lock, waiting = new_lock(monkeypatch, stream, "_queue_lock"), _Waiting(b"first ")
        flushed: list[Future[Any]] = []
        waiting.on_append = once(lambda: flushed.append(lock.let_in(stream.flush)))
        stream._waiting = waiting
        stream.buffer(b"second")
        flushed[0].result(DEADLINE)
        stream.flush()
        assert peer.read(12) == b"first second"


def test_what_waits_is_taken_with_all_that_was_put(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain() as (stream, peer):
        lock, done = new_lock(monkeypatch, stream, "_queue_lock"), []
        stream.buffer(b"first ")
        watch_field(stream, "_waiting", before_set=once(lambda: done.append(lock.let_in(stream.buffer, b"second"))))
        stream.flush()
        done[0].result(DEADLINE)
        stream.flush()
        assert peer.read(12) == b"first second"


def test_the_backlog_counts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain(small=True) as (stream, peer):
        lock, waiting, done = new_lock(monkeypatch, stream, "_queue_lock"), _Waiting(BIG), []
        waiting.on_length = once(lambda: done.append(lock.let_in(stream.flush_nowait)))
        stream._waiting = waiting
        assert stream.backlog == len(BIG)
        done[0].result(DEADLINE)
        assert peer.read(len(BIG)) == BIG
        wait_for_no_flusher()


def test_the_backlog_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another thread takes what waits between the looks at both: a `flush` would return too early."""
    with plain(small=True) as (stream, peer):
        lock, done = new_lock(monkeypatch, stream, "_queue_lock"), []
        stream.buffer(BIG)
        watch_field(stream, "_writing", after_get=once(lambda: done.append(lock.let_in(stream.flush_nowait))))
        assert stream.backlog > 0
        done[0].result(DEADLINE)
        assert peer.read(len(BIG)) == BIG
        wait_for_no_flusher()


# The thread for the rest.


def test_two_threads_that_leave_a_rest_start_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain(small=True) as (stream, peer):
        lock, done = new_lock(monkeypatch, stream, "_queue_lock"), []
        stream.buffer(BIG)
        watch_field(stream, "_flushing", after_get=once(lambda: done.append(lock.let_in(stream.flush_nowait))))
        stream.flush_nowait()
        done[0].result(DEADLINE)
        assert len(flushers()) == 1
        assert peer.read(len(BIG)) == BIG
        wait_for_no_flusher()


def test_a_rest_beside_a_thread_that_has_not_begun_starts_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain(small=True) as (stream, peer):
        lock, begin = new_lock(monkeypatch, stream, "_write_lock"), threading.Event()

        def hold_the_thread_up() -> None:
            if threading.current_thread() in flushers():
                assert begin.wait(DEADLINE)

        lock.before_acquire = hold_the_thread_up
        for _ in range(2):
            stream.buffer(BIG)
            stream.flush_nowait()
        assert len(flushers()) == 1
        begin.set()
        assert peer.read(2 * len(BIG)) == 2 * BIG
        wait_for_no_flusher()


def test_what_is_put_while_the_thread_for_the_rest_ends_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain(small=True) as (stream, peer):
        lock, done = new_lock(monkeypatch, stream, "_queue_lock"), []

        def write_more() -> None:
            stream.buffer(BIG)
            stream.flush_nowait()

        def let_in_at_the_end(flushing: bool) -> None:
            if not flushing and not done:
                done.append(lock.let_in(write_more))

        watch_field(stream, "_flushing", before_set=let_in_at_the_end)
        stream.buffer(BIG)
        stream.flush_nowait()
        assert peer.read(2 * len(BIG)) == 2 * BIG
        done[0].result(DEADLINE)
        wait_for_no_flusher()


# The end.


def test_a_flush_after_all_is_out_is_no_error_though_the_connection_has_ended() -> None:
    with plain() as (stream, peer):
        stream.buffer(b"last words")
        stream.flush()
        stream.abort()
        stream.flush()
        stream.flush_nowait()
        assert peer.read_rest() == b"last words"


def test_a_flush_that_gets_no_turn_gives_up_the_connection() -> None:
    with plain(write_timeout=0.05) as (stream, _):
        with stream._write_lock, pytest.raises(TimeoutError, match="does not read"):  # as a thread holds it that waits
            stream.flush()
        assert stream.aborted


def test_a_flush_without_time_does_not_wait(background: Callable[..., Future[Any]]) -> None:
    with plain(small=True, write_timeout=0) as (stream, _):
        stream.buffer(BIG)
        flushing = background(stream.flush)
        try:
            assert isinstance(flushing.exception(DEADLINE), TimeoutError)
        finally:
            stream.abort()


class _Socket(socket.socket):
    """A real socket that tells a test when its system is about to be called."""

    before: Callable[[str], object] = staticmethod(lambda name: None)

    def send(self, *args: Any) -> int:
        self.before("send")
        return super().send(*args)

    def shutdown(self, how: int) -> None:
        self.before("shutdown")
        super().shutdown(how)

    def close(self) -> None:
        self.before("close")
        super().close()


def new_socket(stream: Stream) -> _Socket:
    """Put such a socket in the place of the stream's."""
    sock = _Socket(fileno=stream._socket.detach())
    stream._socket = sock
    return sock


def test_close_does_not_take_the_socket_from_a_thread_that_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may have given its number to another connection by then, which would get the bytes."""
    with plain() as (stream, _):
        sock, lock, done = new_socket(stream), new_lock(monkeypatch, stream, "_write_lock"), []
        numbers: list[int] = []

        def close_it(name: str) -> None:
            if name == "send":
                done.append(lock.let_in(stream.close))
                numbers.append(sock.fileno())

        sock.before = close_it
        stream.buffer(b"abc")
        with pytest.raises(OSError, match="pipe"):
            stream.flush()
        done[0].result(DEADLINE)
        assert numbers != [-1]
        assert sock.fileno() == -1


def test_close_does_not_take_the_socket_from_a_thread_that_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain() as (stream, _):
        sock, lock, done = new_socket(stream), new_lock(monkeypatch, stream, "_end_lock"), []
        numbers: list[int] = []

        def close_it(name: str) -> None:
            if name == "shutdown" and not done:
                done.append(None)
                done.append(lock.let_in(stream.close))
                numbers.append(sock.fileno())

        sock.before = close_it
        stream.abort()
        done[1].result(DEADLINE)
        assert numbers != [-1]
        assert sock.fileno() == -1


def test_an_abort_waits_for_a_close_and_ends_no_other_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain() as (stream, _):
        sock, lock, done = new_socket(stream), new_lock(monkeypatch, stream, "_end_lock"), []
        numbers: list[int] = []

        def abort_it(name: str) -> None:
            if name == "close":
                done.append(lock.let_in(stream.abort))
            elif done or sock.fileno() == -1:
                numbers.append(sock.fileno())

        sock.before = abort_it
        stream.close()
        done[0].result(DEADLINE)
        assert numbers == [-1], "only when the number is gone for good"


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


class _Engine:
    """One of the parts of the TLS engine, which OpenSSL lets one thread use at a time.

    Args:
        part: the real one.
        lock: has to be held where it is used.
        after: called with the name of what was used.
    """

    def __init__(self, part: Any, lock: Any, after: Callable[[str], object] = lambda name: None) -> None:
        self._part = part
        self._lock = lock
        self._after = after

    def __getattr__(self, name: str) -> Any:
        assert self._lock.locked(), f"{name} without the lock"
        found = getattr(self._part, name)
        if not callable(found):
            return found

        def call(*args: Any) -> Any:
            try:
                return found(*args)
            finally:
                self._after(name)

        return call


@contextlib.contextmanager
def secure(
    authority: Authority, background: Callable[..., Future[Any]], prepare: Callable[[TLSStream], object] | None = None
) -> Iterator[tuple[TLSStream, Peer]]:
    """The server's end of a TLS connection, which ``prepare`` may change before the handshake, and the raw peer."""
    dialled, sock = dial_us(background, authority.client_context(), small=False)
    stream = TLSStream(sock, context=authority.server_context(), write_timeout=DEADLINE)
    try:
        if prepare is not None:
            prepare(stream)
        stream.handshake(time.monotonic() + DEADLINE)
        stream.set_read_timeout(None)
        with dialled.result(DEADLINE) as peer:
            yield stream, peer
    finally:
        stream.close()


def test_tls_one_thread_at_a_time_is_in_the_engine(
    authority: Authority, background: Callable[..., Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch_the_engine(stream: TLSStream) -> None:
        for name in ("_tls", "_incoming", "_outgoing"):
            monkeypatch.setattr(stream, name, _Engine(getattr(stream, name), stream._tls_lock))

    with secure(authority, background, watch_the_engine) as (stream, peer):
        reading = background(stream.recv, 3)
        peer.send(b"abc")
        assert reading.result(DEADLINE) == b"abc"
        stream.buffer(b"def")
        stream.flush()
        assert peer.read(3) == b"def"
        assert stream.peer_certificate is None
        assert isinstance(peer.sock, ssl.SSLSocket)
        socket.socket.shutdown(peer.sock, socket.SHUT_WR)
        assert stream.recv(1) == b""


def test_tls_records_go_out_in_the_order_in_which_they_were_made(
    authority: Authority, background: Callable[..., Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is encrypted with its number in the row."""
    with secure(authority, background) as (stream, peer):
        lock, done = new_lock(monkeypatch, stream, "_tls_lock"), []
        put_more = once(lambda: done.append(lock.let_in(stream.buffer, b"second")))
        monkeypatch.setattr(stream, "_outgoing", _Engine(stream._outgoing, lock, put_more))
        stream.buffer(b"first ")
        done[0].result(DEADLINE)
        stream.flush()
        assert peer.read(12) == b"first second"


def test_tls_a_handshake_past_its_deadline_reads_no_more(
    authority: Authority, background: Callable[..., Future[Any]]
) -> None:
    dialled, sock = dial_us(background, authority.client_context(), small=False)
    stream = TLSStream(sock, context=authority.server_context(), write_timeout=DEADLINE)
    with pytest.raises(TimeoutError, match="TLS handshake took too long"):
        stream.handshake(time.monotonic() - 1)
    stream.close()
    assert dialled.exception(DEADLINE) is not None


def test_tls_what_came_is_read_though_nothing_can_be_written_any_more(
    authority: Authority, background: Callable[..., Future[Any]]
) -> None:
    with secure(authority, background) as (stream, peer):
        peer.send(b"last words")
        assert select.select([stream._socket], [], [], DEADLINE)[0]
        stream.buffer(b"never read")
        stream.abort()
        with pytest.raises(ConnectionAbortedError):
            stream.flush()
        assert stream.recv(10) == b"last words"

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
from ends import dial_us, flushers, plain, wait_for_no_flusher, write
from interleaved import Made, MeetingLock, watch_field
from wire import DEADLINE, Peer

from ocppsync.wire.streams import Stream, TLSStream

BIG = b"0123456789abcdef" * 65536
"""1 MiB, which small socket buffers do not hold."""


def new_lock(monkeypatch: pytest.MonkeyPatch, stream: Stream, name: str) -> MeetingLock:
    """Put a lock in the place of one of the stream's."""
    lock = MeetingLock()
    monkeypatch.setattr(stream, name, lock)
    return lock


class _Socket(socket.socket):
    """A real socket that tells a test when its system is about to be called."""

    before: Callable[[str], object] = staticmethod(lambda name: None)

    def send(self, data: Any, *args: Any) -> int:
        with memoryview(data):  # as the system holds it
            self.before("send")
        return super().send(data, *args)

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


# Two that write.


def put(stream: Stream, data: bytes) -> None:
    write(stream, data)


def buffer_and_flush(stream: Stream, data: bytes) -> None:
    stream.buffer(data)
    stream.flush()


def buffer_and_flush_nowait(stream: Stream, data: bytes) -> None:
    stream.buffer(data)
    stream.flush_nowait()


WAYS = [put, buffer_and_flush, buffer_and_flush_nowait]
"""How a thread writes."""


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_what_is_written_while_another_thread_writes_goes_out_behind_it_and_needs_no_thread(
    monkeypatch: pytest.MonkeyPatch,
    first: Callable[[Stream, bytes], None],
    second: Callable[[Stream, bytes], None],
) -> None:
    def no_more(thread: threading.Thread) -> None:
        if thread.name.startswith("ocppsync-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    with plain() as (stream, peer):
        monkeypatch.setattr(threading.Thread, "start", no_more)
        sock, lock, done = new_socket(stream), new_lock(monkeypatch, stream, "lock"), Made()
        sock.before = done.let_in(lock, second, stream, b"second")
        first(stream, b"first ")
        done.result()
        assert stream.backlog == 0
        assert peer.read(12) == b"first second"


def test_what_is_buffered_while_the_system_reads_what_waits_waits_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer cannot grow meanwhile."""
    with plain() as (stream, peer):
        sock, lock, done = new_socket(stream), new_lock(monkeypatch, stream, "lock"), Made()
        stream.buffer(b"first ")
        sock.before = done.let_in(lock, stream.buffer, b"second")
        stream.flush()
        done.result()
        stream.flush()
        assert peer.read(12) == b"first second"


def test_what_is_put_while_a_write_fails_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain() as (stream, _):
        sock, lock, done = new_socket(stream), new_lock(monkeypatch, stream, "lock"), Made()
        let_in = done.let_in(lock, write, stream, b"second")

        def break_the_connection(name: str) -> None:
            if name == "send":
                let_in()
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

        sock.before = break_the_connection
        with pytest.raises(OSError, match="pipe"):
            write(stream, b"first")
        with pytest.raises(ConnectionAbortedError):
            done.result()
        assert stream.backlog == 0


# The thread for the rest.


def test_two_threads_that_leave_a_rest_start_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in (put, buffer_and_flush_nowait):
        with plain(small=True) as (stream, peer):
            lock, done = new_lock(monkeypatch, stream, "lock"), Made()
            watch_field(stream, "_flushing", after_get=done.let_in(lock, way, stream, b"second"))
            way(stream, BIG)
            done.result()
            assert len(flushers()) == 1
            assert peer.read(len(BIG) + 6) == BIG + b"second"
            wait_for_no_flusher()


def test_a_rest_beside_a_thread_that_has_not_begun_starts_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain(small=True) as (stream, peer):
        lock, begin = new_lock(monkeypatch, stream, "lock"), threading.Event()

        def hold_the_thread_up() -> None:
            if threading.current_thread() in flushers():
                assert begin.wait(DEADLINE)

        lock.before_acquire = hold_the_thread_up
        for way in WAYS[::2]:
            way(stream, BIG)
        assert len(flushers()) == 1
        begin.set()
        assert peer.read(2 * len(BIG)) == 2 * BIG
        wait_for_no_flusher()


@pytest.mark.parametrize("way", [put, buffer_and_flush_nowait])
def test_what_is_put_while_the_thread_for_the_rest_ends_has_another(
    monkeypatch: pytest.MonkeyPatch, way: Callable[[Stream, bytes], None]
) -> None:
    with plain(small=True) as (stream, peer):
        lock, done = new_lock(monkeypatch, stream, "lock"), Made()
        write_more = done.let_in(lock, way, stream, BIG)
        watch_field(stream, "_flushing", before_set=lambda flushing: flushing or write_more())
        way(stream, BIG)
        assert peer.read(2 * len(BIG)) == 2 * BIG
        done.result()
        wait_for_no_flusher()


def test_after_a_thread_for_the_rest_failed_nothing_seems_to_go_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other thread starts then, so everything has to fail."""
    with plain(small=True) as (stream, _):
        write(stream, BIG)
        stream.abort()
        wait_for_no_flusher()
        assert stream._flushing
        for way in WAYS:
            with pytest.raises(ConnectionAbortedError):
                way(stream, b"more")
        assert stream.backlog == 0


# The end.


def test_a_flush_after_all_is_out_is_no_error_though_the_connection_has_ended() -> None:
    with plain() as (stream, peer):
        stream.buffer(b"last words")
        stream.flush()
        stream.abort()
        stream.flush()
        stream.flush_nowait()
        assert peer.read_rest() == b"last words"


def test_a_flush_without_time_does_not_wait(background: Callable[..., Future[Any]]) -> None:
    with plain(small=True, write_timeout=0) as (stream, _):
        stream.buffer(BIG)
        flushing = background(stream.flush)
        try:
            assert isinstance(flushing.exception(DEADLINE), TimeoutError)
        finally:
            stream.abort()


def test_close_does_not_take_the_socket_from_a_thread_that_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may have given its number to another connection by then, which would get the bytes."""
    with plain() as (stream, _):
        sock, lock, done = new_socket(stream), new_lock(monkeypatch, stream, "lock"), []
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


def test_close_does_not_take_the_socket_from_a_thread_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, background: Callable[..., Future[Any]]
) -> None:
    """It would wait for another connection, which may have its number by then, and report that its peer hangs."""
    with plain(small=True) as (stream, _):
        lock, done, wait = new_lock(monkeypatch, stream, "_wait_lock"), Made(), stream._wait
        close, numbers = done.let_in(lock, stream.close), []

        def close_before(event: int, deadline: float) -> bool:
            close()
            numbers.append(stream._socket.fileno())
            return wait(event, deadline)

        monkeypatch.setattr(stream, "_wait", close_before)
        stream.buffer(BIG)
        flushing = background(stream.flush)
        assert isinstance(flushing.exception(DEADLINE), ConnectionAbortedError)
        done.result()
        assert numbers != [-1]
        assert stream._socket.fileno() == -1


def test_a_wait_for_a_socket_that_was_closed_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain(small=True) as (stream, _):
        wait = stream._wait

        def close_first(event: int, deadline: float) -> bool:
            stream._socket.close()
            stream.aborted = True
            return wait(event, deadline)

        monkeypatch.setattr(stream, "_wait", close_first)
        stream.buffer(BIG)
        with pytest.raises(ConnectionAbortedError):
            stream.flush()


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


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_tls_records_go_out_in_the_order_in_which_they_were_made(
    authority: Authority,
    background: Callable[..., Future[Any]],
    monkeypatch: pytest.MonkeyPatch,
    first: Callable[[Stream, bytes], None],
    second: Callable[[Stream, bytes], None],
) -> None:
    """Each is encrypted with its number in the row."""
    with secure(authority, background) as (stream, peer):
        lock, done = new_lock(monkeypatch, stream, "lock"), Made()
        write_more = done.let_in(lock, second, stream, b"second")
        monkeypatch.setattr(stream, "_outgoing", _Engine(stream._outgoing, stream._tls_lock, write_more))
        first(stream, b"first ")
        done.result()
        assert peer.read(12) == b"first second"


def test_tls_what_the_engine_has_to_say_goes_out_in_the_order_in_which_it_was_made(
    authority: Authority, background: Callable[..., Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with secure(authority, background) as (stream, peer):
        with stream._tls_lock:
            stream._tls.write(b"first ")  # stands for a message of its own
        lock, done = new_lock(monkeypatch, stream, "lock"), Made()
        write_more = done.let_in(lock, write, stream, b"second")
        monkeypatch.setattr(stream, "_outgoing", _Engine(stream._outgoing, stream._tls_lock, write_more))
        stream._push_tls()
        done.result()
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

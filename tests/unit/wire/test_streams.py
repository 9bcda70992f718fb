"""Bytes over real sockets, plain and TLS: whole, bounded writes beside a blocking reader."""

from __future__ import annotations

import contextlib
import gc
import logging
import re
import select
import socket
import ssl
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, Kind
from ends import dial_us, flushers, plain, wait_for_no_flusher, write
from intruder import LingeringThread
from support import wait_until
from wire import DEADLINE, Peer, accept, dial, listening

from ocppsync.wire import streams
from ocppsync.wire.streams import Stream, TLSStream

BIG = b"0123456789abcdef" * 65536
"""1 MiB, which small socket buffers do not hold."""


# Reading.


def test_recv_returns_what_came_and_nothing_at_the_end() -> None:
    with plain() as (stream, peer):
        peer.send(b"hello")
        assert stream.recv(4) == b"hell"
        assert stream.recv(4) == b"o"
        peer.sock.shutdown(socket.SHUT_WR)
        assert stream.recv(4) == b""


def test_what_was_given_back_is_read_again_first() -> None:
    with plain() as (stream, peer):
        peer.send(b"d")
        stream.unread(b"c")
        stream.unread(b"ab")
        assert [stream.recv(2), stream.recv(2), stream.recv(2)] == [b"ab", b"c", b"d"]


def test_the_hook_sees_every_byte_once_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[bytes] = []

    def hook(data: bytes) -> None:
        seen.append(data)
        raise LookupError("of the application")

    with plain(on_data=hook) as (stream, peer):
        peer.send(b"abc")
        stream.unread(stream.recv(3))
        assert stream.recv(3) == b"abc"
    assert seen == [b"abc"]
    assert [record.getMessage() for record in caplog.records] == [f"{stream.name}: on_raw_socket_data failed"]


def test_the_read_timeout() -> None:
    with plain() as (stream, _):
        stream.set_read_timeout(0.01)
        with pytest.raises(TimeoutError):
            stream.recv(1)


def test_it_knows_its_peer() -> None:
    with plain() as (stream, peer):
        assert stream.remote_address == peer.sock.getsockname()
        assert stream.peer_certificate is None
        stream.buffer(b"abc")
        assert repr(stream) == f"<Stream {peer.address} open backlog=3>"
        stream.abort()
        assert repr(stream) == f"<Stream {peer.address} aborted backlog=3>"


def test_a_peer_that_has_gone_already_is_an_error() -> None:
    with listening() as listener:
        peer = dial(listener.getsockname()[1])
        sock, _ = listener.accept()
        with sock:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.sock.close()
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
            with pytest.raises(OSError, match="not connected"):
                Stream(sock, write_timeout=1)


# Writing.


def test_flush_writes_everything_in_order(background: Callable[..., Future[Any]]) -> None:
    with plain(small=True) as (stream, peer):
        got = background(peer.read, len(BIG) + 3)
        stream.buffer(b"abc")
        stream.buffer(BIG)
        assert stream.backlog == len(BIG) + 3
        stream.flush()
        assert stream.backlog == 0
        assert got.result(DEADLINE) == b"abc" + BIG


class _Sent(socket.socket):
    """A real socket that keeps what it was asked to send."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=sock.detach())
        self.asked: list[Any] = []

    def send(self, data: Any, *args: Any) -> int:
        self.asked.append(data)
        return super().send(data, *args)


def test_put_hands_its_bytes_to_the_socket_without_a_copy() -> None:
    with plain() as (stream, peer):
        stream._socket = sock = _Sent(stream._socket)
        assert write(stream, data := b"hello")
        assert len(sock.asked) == 1
        assert sock.asked[0] is data
        assert stream.backlog == 0
        assert peer.read(5) == b"hello"


def test_put_writes_nothing_before_what_waits() -> None:
    with plain() as (stream, peer):
        stream._socket = sock = _Sent(stream._socket)
        stream.buffer(b"first ")
        with stream.lock:
            assert not stream.put(b"second")
        assert not sock.asked
        assert stream.backlog == 12
        stream.flush_rest()
        assert peer.read(12) == b"first second"
        wait_for_no_flusher()
        assert write(stream, b"third"), "the next one goes straight to the socket again"
        assert peer.read(5) == b"third"


def test_put_leaves_what_the_socket_does_not_take_to_one_thread() -> None:
    with plain(small=True) as (stream, peer):
        assert not write(stream, BIG)
        assert 0 < stream.backlog < len(BIG)
        for number in range(10):
            assert not write(stream, b"%d" % number)
        assert [thread.name for thread in flushers()] == [f"ocppsync-flush-{peer.address}"]
        assert peer.read(len(BIG) + 10) == BIG + b"0123456789"
        wait_for_no_flusher()
        assert not write(stream, BIG)
        assert peer.read(len(BIG)) == BIG, "the next time needs another thread"
        wait_for_no_flusher()


@pytest.mark.parametrize("read", [False, True])
def test_the_thread_that_wrote_the_rest_has_ended_when_close_returns(
    read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plain(small=True) as (stream, peer):
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Thread", LingeringThread)
            assert not write(stream, BIG)
        (flusher,) = flushers()
        assert isinstance(flusher, LingeringThread)
        if read:
            assert peer.read(len(BIG)) == BIG
            assert flusher.lingers.wait(DEADLINE)
        stream.close()
        assert not flusher.is_alive()


def test_what_waited_takes_no_memory_once_it_is_out() -> None:
    with plain(small=True) as (stream, peer):
        write(stream, BIG)
        write(stream, BIG)
        assert sys.getsizeof(stream._waiting) > len(BIG)
        assert peer.read(2 * len(BIG)) == 2 * BIG
        wait_for_no_flusher()
        assert sys.getsizeof(stream._waiting) < 200


def test_put_after_an_abort_fails() -> None:
    with plain() as (stream, peer):
        stream.abort()
        with pytest.raises(ConnectionAbortedError):
            write(stream, b"x")
        assert stream.backlog == 0
        assert peer.read_rest() == b""


def test_put_into_a_broken_connection_fails_and_gives_the_stream_up() -> None:
    with plain() as (stream, peer):
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.sock.close()
        wait_until_it_has_left(stream)
        with pytest.raises(OSError, match=r"reset|pipe"):
            write(stream, b"x")
        assert stream.aborted
        assert stream.backlog == 0
        stream.buffer(b"nobody writes it")
        for flush in (stream.flush, stream.flush_nowait):
            with pytest.raises(ConnectionAbortedError):
                flush()
        assert stream.backlog == 0


@pytest.mark.parametrize("secure", [False, True])
def test_nothing_but_the_wait_for_the_socket_waits(
    background: Callable[..., Future[Any]], tmp_path: Path, *, secure: bool
) -> None:
    """While a thread waits until its peer reads, others write on, and the reader reads."""
    authority = Authority(tmp_path)
    context = authority.client_context() if secure else None
    dialled, sock = dial_us(background, context, small=True)
    stream = Stream(sock, write_timeout=DEADLINE)
    if secure:
        stream = TLSStream(sock, context=authority.server_context(), write_timeout=DEADLINE)
        stream.handshake(time.monotonic() + DEADLINE)
    with dialled.result(DEADLINE) as peer:
        stream.buffer(BIG)
        flushing = background(stream.flush)
        wait_until(stream._wait_lock.locked)
        for number in range(10):
            assert background(write, stream, b"%d" % number).result(DEADLINE) is False
        peer.send(b"hello")
        assert background(stream.recv, 5).result(DEADLINE) == b"hello"
        assert not flushing.done()
        assert peer.read(len(BIG) + 10) == BIG + b"0123456789"
        flushing.result(DEADLINE)
        wait_for_no_flusher()
    stream.close()


def test_a_write_does_not_wait_while_reads_have_a_timeout(background: Callable[..., Future[Any]]) -> None:
    """A socket with a timeout of its own waits in `send`, whatever its flags."""
    with listening() as listener, dial(listener.getsockname()[1], receive_buffer=4096) as peer:
        sock, _ = listener.accept()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.settimeout(3 * DEADLINE)
        stream = Stream(sock, write_timeout=3 * DEADLINE)
        for _ in range(2):
            assert background(write, stream, BIG).result(DEADLINE) is False
            stream.set_read_timeout(3 * DEADLINE)
        assert background(write, stream, BIG).result(DEADLINE) is False
        peer.send(b"x")
        assert stream.recv(1) == b"x"
        stream.abort()
        wait_for_no_flusher()
        stream.close()


def test_threads_that_write_at_once_lose_nothing(background: Callable[..., Future[Any]]) -> None:
    def write_lines(letter: bytes) -> None:
        for _ in range(300):
            line = letter * 99 + b"\n"
            if letter.isdigit():
                write(stream, line)
                continue
            stream.buffer(line)
            stream.flush() if letter.isupper() else stream.flush_nowait()

    with plain(small=True) as (stream, peer):
        got = background(peer.read, 12 * 300 * 100)
        for done in [background(write_lines, bytes([letter])) for letter in b"ABCDefgh0123"]:
            done.result(DEADLINE)
        lines = got.result(DEADLINE).splitlines()
        assert sorted(lines) == sorted(bytes([letter]) * 99 for letter in b"ABCDefgh0123" for _ in range(300))
        wait_for_no_flusher()


def test_flush_gives_up_on_a_peer_that_does_not_read(background: Callable[..., Future[Any]]) -> None:
    with plain(small=True, write_timeout=0.2) as (stream, peer):
        reading = background(stream.recv, 1)
        stream.buffer(BIG)
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="does not read"):
            stream.flush()
        assert 0.2 <= time.monotonic() - began < 2
        assert reading.result(DEADLINE) == b"", "a reader must not go on waiting"
        assert stream.backlog == 0, "what nobody will write must not be kept"
        assert BIG.startswith(peer.read_rest())


def test_flush_behind_another_that_waits_is_bounded_too(background: Callable[..., Future[Any]]) -> None:
    with plain(small=True, write_timeout=0.2) as (stream, _):
        stream.buffer(BIG)
        flushes = [background(stream.flush) for _ in range(5)]
        assert all(isinstance(flush.exception(2), OSError) for flush in flushes)


def test_after_the_end_everything_fails_at_once() -> None:
    with plain() as (stream, _):
        stream.abort()
        stream.buffer(b"x")
        for write in (stream.flush, stream.flush_nowait):
            with pytest.raises(ConnectionAbortedError):
                write()


def test_flush_soon_does_not_wait_and_the_rest_follows_in_order() -> None:
    with plain(small=True) as (stream, peer):
        began = time.monotonic()
        stream.buffer(BIG)
        stream.flush_nowait()
        stream.buffer(b"the end")
        stream.flush_nowait()
        assert time.monotonic() - began < 0.5
        assert stream.backlog > 0
        assert [thread.name for thread in flushers()] == [f"ocppsync-flush-{peer.address}"]
        assert peer.read(len(BIG) + 7) == BIG + b"the end"
        wait_for_no_flusher()
        stream.buffer(BIG)
        stream.flush_nowait()
        assert peer.read(len(BIG)) == BIG, "the next time needs another thread"
        wait_for_no_flusher()


def test_flush_soon_needs_no_thread_while_the_peer_reads() -> None:
    with plain() as (stream, peer):
        for _ in range(100):
            stream.buffer(b"abc")
            stream.flush_nowait()
        assert not flushers()
        assert stream.backlog == 0
        assert peer.read(300) == b"abc" * 100


def test_what_is_left_by_flush_soon_gives_up_in_time(caplog: pytest.LogCaptureFixture) -> None:
    with plain(small=True, write_timeout=0.1) as (stream, peer):
        stream.buffer(BIG)
        stream.flush_nowait()
        wait_for_no_flusher()
        assert stream.recv(1) == b""
        assert [record.getMessage() for record in caplog.records] == [
            f"{peer.address} does not read; its connection is aborted"
        ]


def test_an_abort_is_not_logged_as_a_peer_that_does_not_read(caplog: pytest.LogCaptureFixture) -> None:
    with plain(small=True) as (stream, _):
        stream.buffer(BIG)
        stream.flush_nowait()
        stream.abort()
        wait_for_no_flusher()
    assert not caplog.records


def test_without_a_thread_for_the_rest_the_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with plain(small=True) as (stream, _):
        monkeypatch.setattr(threading.Thread, "start", no_more)
        stream.buffer(BIG)
        with pytest.raises(OSError, match="can't start new thread"):
            stream.flush_nowait()
        assert stream.recv(1) == b""
        assert stream.backlog == 0, "what nobody will write must not be kept"
        with pytest.raises(ConnectionAbortedError):
            stream.flush()


def test_a_crowd_of_small_pieces_costs_its_bytes() -> None:
    with plain(small=True) as (stream, _):
        stream.buffer(BIG)
        stream.flush_nowait()
        tracemalloc.start()
        try:
            for _ in range(200_000):
                stream.buffer(b"\x8a\x00")
            # A list of them would take eight bytes for each at least, and the bytes themselves wait behind the others.
            assert stream.backlog > 400_000
            assert tracemalloc.get_traced_memory()[0] < 1.3 * (len(BIG) + 400_000)
        finally:
            tracemalloc.stop()


# Ending.


def test_abort_wakes_a_reader_and_a_writer(background: Callable[..., Future[Any]]) -> None:
    with plain(small=True) as (stream, peer):
        reading = background(stream.recv, 1)
        stream.buffer(BIG)
        writing = background(stream.flush)
        peer.read(1)  # so the writer has begun
        stream.abort()
        assert reading.result(DEADLINE) == b""
        assert isinstance(writing.exception(DEADLINE), OSError)


def test_close_ends_a_write_that_waits_and_then_gives_the_socket_back(
    background: Callable[..., Future[Any]],
) -> None:
    with plain(small=True, write_timeout=3 * DEADLINE) as (stream, peer):
        stream.buffer(BIG)
        writing = background(stream.flush)
        peer.read(1)
        background(stream.close).result(DEADLINE)
        assert isinstance(writing.exception(DEADLINE), OSError)
        stream.abort()
        with pytest.raises(OSError, match="Bad file descriptor"):
            stream.recv(1)


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_closed_stream_is_gone_without_a_collection_of_garbage(
    background: Callable[..., Future[Any]], tmp_path: Path, *, encrypted: bool
) -> None:
    """A flood of handshakes must not keep its TLS engines until then."""
    authority = Authority(tmp_path)

    def use(stream: Stream) -> weakref.ref[Stream]:
        if isinstance(stream, TLSStream):
            stream.handshake(time.monotonic() + DEADLINE)
        stream.set_read_timeout(DEADLINE)
        with dialled.result(DEADLINE) as peer:
            peer.send(b"x")
            assert stream.recv(1) == b"x"
        stream.close()
        return weakref.ref(stream)

    dialled, sock = dial_us(background, authority.client_context() if encrypted else None, small=False)
    gc.collect()
    gc.disable()
    try:
        if encrypted:
            left = use(TLSStream(sock, context=authority.server_context(), write_timeout=1))
        else:
            left = use(Stream(sock, write_timeout=1))
        assert left() is None
    finally:
        gc.enable()


def wait_until_it_has_left(stream: Stream) -> None:
    deadline = time.monotonic() + DEADLINE
    while not stream.peer_has_left:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("unread", [b"", b"unread"])
@pytest.mark.parametrize("rdhup", [True, False])
def test_it_sees_that_its_peer_has_closed(
    unread: bytes, rdhup: bool, background: Callable[..., Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not rdhup:
        monkeypatch.setattr(streams, "_PEER_CLOSED", 0)  # as on other systems than Linux
    with plain() as (stream, peer):
        assert not stream.peer_has_left
        peer.send(b"x" + unread)
        assert stream.recv(1) == b"x"
        stream.set_read_timeout(DEADLINE)
        assert not stream.peer_has_left
        peer.sock.close()
        if rdhup or not unread:
            wait_until_it_has_left(stream)
        assert stream.recv(10) == unread, "it has read nothing"


def test_it_sees_that_its_connection_is_broken() -> None:
    with plain() as (stream, peer):
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.sock.close()
        wait_until_it_has_left(stream)
    with plain() as (stream, _):
        stream.abort()
        assert stream.peer_has_left
        stream.close()
        assert stream.peer_has_left
    with socket.socket() as sock:
        pass
    assert streams.has_ended(sock)


def test_a_slow_peer_gets_the_last_bytes(
    background: Callable[..., Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_LINGER", DEADLINE)
    with plain(small=True) as (stream, peer):
        stream.buffer(BIG)
        stream.flush_nowait()
        lingering = background(stream.linger)
        assert peer.read(len(BIG)) == BIG
        peer.sock.close()
        lingering.result(DEADLINE)


def test_finish_writing_ends_one_way_only() -> None:
    with plain() as (stream, peer):
        stream.buffer(b"abc")
        stream.flush()
        stream.finish_writing()
        assert peer.read_rest() == b"abc"
        peer.send(b"still read")
        assert stream.recv(10) == b"still read"


# TLS.


@pytest.fixture(scope="module", params=["ec", "rsa"])
def authority(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    kind: Kind = request.param
    return Authority(tmp_path_factory.mktemp(kind), kind)


@contextlib.contextmanager
def secure(
    authority: Authority, background: Callable[..., Future[Any]], *, small: bool = False, **contexts: ssl.SSLContext
) -> Iterator[tuple[TLSStream, Peer]]:
    """The server's end of a TLS connection, and the raw peer at its other end."""
    server = contexts.get("server") or authority.server_context()
    client = contexts.get("client") or authority.client_context()
    dialled, sock = dial_us(background, client, small=small)
    stream = TLSStream(sock, context=server, write_timeout=DEADLINE)
    try:
        stream.handshake(time.monotonic() + DEADLINE)
        stream.set_read_timeout(None)
        with dialled.result(DEADLINE) as peer:
            yield stream, peer
    finally:
        stream.close()


@contextlib.contextmanager
def accepted(listener: socket.socket, context: ssl.SSLContext, **options: Any) -> Iterator[TLSStream]:
    sock, _ = listener.accept()
    stream = TLSStream(sock, context=context, write_timeout=DEADLINE, **options)
    try:
        yield stream
    finally:
        stream.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_carries_bytes_both_ways(
    authority: Authority, background: Callable[..., Future[Any]], version: ssl.TLSVersion
) -> None:
    client = authority.client_context()
    client.minimum_version = client.maximum_version = version
    with secure(authority, background, client=client) as (stream, peer):
        assert isinstance(peer.sock, ssl.SSLSocket)
        assert peer.sock.version() == version.name.replace("_", ".")
        peer.send(b"hello")
        assert stream.recv(5) == b"hello"
        stream.buffer(b"good ")
        stream.buffer(b"day")
        stream.flush()
        assert peer.read(8) == b"good day"
        assert stream.peer_certificate is None


class _Counted(socket.socket):
    """A socket that counts what is done with it."""

    sends = 0
    timeouts = 0

    def send(self, *args: Any) -> int:
        self.sends += 1
        return super().send(*args)

    def settimeout(self, value: float | None) -> None:
        self.timeouts += 1
        super().settimeout(value)


@pytest.mark.parametrize(("version", "sends"), [(ssl.TLSVersion.TLSv1_2, 2), (ssl.TLSVersion.TLSv1_3, 1)])
def test_tls_a_server_sends_its_tickets_with_the_first_answer(
    authority: Authority, background: Callable[..., Future[Any]], version: ssl.TLSVersion, sends: int
) -> None:
    client = authority.client_context()
    client.minimum_version = client.maximum_version = version
    dialled, sock = dial_us(background, client, small=False)
    sock.settimeout(None)
    counted = _Counted(fileno=sock.detach())
    stream = TLSStream(counted, context=authority.server_context(), write_timeout=DEADLINE)
    try:
        stream.handshake(time.monotonic() + DEADLINE)
        assert counted.sends == sends
        with dialled.result(DEADLINE) as peer:
            stream.buffer(b"answer")
            stream.flush()
            assert counted.sends == sends + 1
            assert peer.read(6) == b"answer"
            assert peer.sock.session.has_ticket
            peer.send(b"read")
            stream.set_read_timeout(DEADLINE)
            assert stream.recv(4) == b"read"
        assert counted.timeouts == 1, "it has none, and every wait has a deadline of its own"
    finally:
        stream.close()


def test_tls_the_longest_deadline_is_no_error(authority: Authority, background: Callable[..., Future[Any]]) -> None:
    with secure(authority, background) as (stream, peer):
        stream.set_read_timeout(1e9)
        peer.send(b"read")
        assert stream.recv(4) == b"read"


def test_tls_sees_that_its_peer_has_closed(authority: Authority, background: Callable[..., Future[Any]]) -> None:
    with secure(authority, background) as (stream, peer):
        assert not stream.peer_has_left
        peer.send(b"unread")
        assert not stream.peer_has_left
        peer.sock.close()
        wait_until_it_has_left(stream)
        assert stream.recv(10) == b"unread"


def test_tls_writes_while_a_reader_waits(authority: Authority, background: Callable[..., Future[Any]]) -> None:
    def read() -> bytes:
        got = b""
        while len(got) < len(BIG):
            got += stream.recv(16384)
        return got

    with secure(authority, background) as (stream, peer):
        reading = background(read)
        for _ in range(10):
            stream.buffer(BIG)
            writing = background(stream.flush)
            assert peer.read(len(BIG)) == BIG
            writing.result(DEADLINE)
        peer.send(BIG)
        assert reading.result(DEADLINE) == BIG


def test_tls_reads_a_record_in_pieces(authority: Authority, background: Callable[..., Future[Any]]) -> None:
    with secure(authority, background) as (stream, peer):
        peer.send(b"0123456789")
        assert [stream.recv(4), stream.recv(4), stream.recv(4)] == [b"0123", b"4567", b"89"]


def test_tls_flush_soon_leaves_the_rest_to_a_thread(
    authority: Authority, background: Callable[..., Future[Any]]
) -> None:
    with secure(authority, background, small=True) as (stream, peer):
        stream.buffer(BIG)
        stream.flush_nowait()
        assert stream.backlog > 0
        assert peer.read(len(BIG)) == BIG
        wait_for_no_flusher()


def test_tls_shows_the_certificate_of_a_client(authority: Authority, background: Callable[..., Future[Any]]) -> None:
    server = authority.server_context(client_certificates=True)
    client = authority.client_context(authority.issue("serial number 1", hosts=()))
    with secure(authority, background, server=server, client=client) as (stream, _):
        assert stream.peer_certificate is not None
        assert stream.peer_certificate["subject"] == ((("commonName", "serial number 1"),),)


def test_tls_as_the_client(authority: Authority, background: Callable[..., Future[Any]]) -> None:
    with listening() as listener:
        accepting = background(accept, listener, ssl_context=authority.server_context())
        with socket.create_connection(listener.getsockname(), timeout=DEADLINE) as sock:
            stream = TLSStream(
                sock, context=authority.client_context(), server_hostname="localhost", write_timeout=DEADLINE
            )
            stream.handshake(time.monotonic() + DEADLINE)
            with accepting.result(DEADLINE) as peer:
                peer.send(b"hello")
                assert stream.recv(5) == b"hello"
            certificate = stream.peer_certificate
            assert certificate is not None
            assert ("DNS", "localhost") in certificate["subjectAltName"]
            stream.close()


def test_tls_answers_a_server_that_asks_for_a_certificate_later(
    authority: Authority, background: Callable[..., Future[Any]]
) -> None:
    """What the engine has to say to what came goes out though nothing is put."""
    server = authority.server_context(client_certificates=True)
    client = authority.client_context(authority.issue("serial number 2", hosts=()))
    server.post_handshake_auth = client.post_handshake_auth = True
    with listening() as listener:
        accepting = background(accept, listener, ssl_context=server)
        with socket.create_connection(listener.getsockname(), timeout=DEADLINE) as sock:
            stream = TLSStream(sock, context=client, server_hostname="localhost", write_timeout=DEADLINE)
            stream.handshake(time.monotonic() + DEADLINE)
            with accepting.result(DEADLINE) as peer:
                assert isinstance(peer.sock, ssl.SSLSocket)
                reading = background(stream.recv, 1)
                peer.sock.verify_client_post_handshake()
                peer.sock.do_handshake()
                deadline = time.monotonic() + DEADLINE
                peer.sock.settimeout(0.05)
                while not (certificate := peer.sock.getpeercert()) and time.monotonic() < deadline:
                    with contextlib.suppress(TimeoutError):
                        peer.sock.recv(1)
                assert certificate
                assert certificate["subject"] == ((("commonName", "serial number 2"),),)
            assert reading.result(DEADLINE) == b""
            stream.close()


def test_tls_refuses_a_server_of_another_authority(
    authority: Authority, background: Callable[..., Future[Any]], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, name="Another CA")
    with listening() as listener:
        accepting = background(accept, listener, ssl_context=stranger.server_context())
        with socket.create_connection(listener.getsockname(), timeout=DEADLINE) as sock:
            stream = TLSStream(sock, context=authority.client_context(), server_hostname="localhost", write_timeout=1)
            with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
                stream.handshake(time.monotonic() + DEADLINE)
            assert re.search("UNKNOWN_CA|unknown ca", str(accepting.exception(DEADLINE))), "the alert says why"
            stream.close()


def test_tls_names_a_client_that_speaks_plainly(authority: Authority) -> None:
    with listening() as listener, dial(listener.getsockname()[1]) as peer:
        peer.send(b"GET / HTTP/1.1\r\n\r\n")
        with (
            accepted(listener, authority.server_context()) as stream,
            pytest.raises(ssl.SSLError, match="HTTP_REQUEST"),
        ):
            stream.handshake(time.monotonic() + DEADLINE)


def test_tls_handshake_ends_at_its_deadline(authority: Authority, background: Callable[..., Future[Any]]) -> None:
    gone = threading.Event()

    def drip(peer: Peer) -> None:
        hello = ssl.MemoryBIO()
        client = authority.client_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        with contextlib.suppress(OSError):
            for byte in hello.read():
                peer.send(bytes([byte]))
                if gone.wait(0.02):
                    return

    with listening() as listener, dial(listener.getsockname()[1]) as peer:
        dripping = background(drip, peer)
        with accepted(listener, authority.server_context()) as stream:
            began = time.monotonic()
            with pytest.raises(TimeoutError, match="TLS handshake took too long"):
                stream.handshake(began + 0.2)
            assert 0.2 <= time.monotonic() - began < 2
        gone.set()
        dripping.result(DEADLINE)


@pytest.mark.parametrize("polite", [True, False])
def test_tls_ends_with_the_peer(authority: Authority, background: Callable[..., Future[Any]], *, polite: bool) -> None:
    with secure(authority, background) as (stream, peer):
        assert isinstance(peer.sock, ssl.SSLSocket)
        peer.send(b"last words")
        if polite:
            with contextlib.suppress(ssl.SSLError):
                peer.sock.settimeout(0)
                peer.sock.unwrap()
        else:
            socket.socket.shutdown(peer.sock, socket.SHUT_WR)
        assert stream.recv(100) == b"last words"
        assert stream.recv(100) == b""


def test_tls_garbage_after_the_handshake_is_an_error(
    authority: Authority, background: Callable[..., Future[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with secure(authority, background) as (stream, peer):
        socket.socket.send(peer.sock, b"\x00" * 100)
        with pytest.raises(ssl.SSLError):
            stream.recv(1)


def test_tls_put_into_a_broken_engine_gives_the_stream_up(
    authority: Authority, background: Callable[..., Future[Any]]
) -> None:
    with secure(authority, background) as (stream, peer):
        socket.socket.send(peer.sock, b"\x00" * 100)
        with pytest.raises(ssl.SSLError):
            stream.recv(1)
        assert not stream.aborted
        with pytest.raises(ssl.SSLError):
            write(stream, b"never written")
        assert stream.aborted
        assert stream.backlog == 0


def test_tls_put_keeps_the_order_of_what_waits(authority: Authority, background: Callable[..., Future[Any]]) -> None:
    with secure(authority, background, small=True) as (stream, peer):
        stream.buffer(b"first ")
        assert not write(stream, BIG)
        assert not write(stream, b" last")
        assert peer.read(11 + len(BIG)) == b"first " + BIG + b" last"
        wait_for_no_flusher()
        # What the peer has read takes room in the small buffer until the system of this end knows.
        assert stream._wait(select.POLLOUT, time.monotonic() + DEADLINE)
        assert write(stream, b"at once")
        assert peer.read(7) == b"at once"

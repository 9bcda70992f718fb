"""The WebSocket where a second thread, or the end, comes into the middle of what is done."""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from ends import BIG, MIB, Connected, End, open_connection, plain, wait_for_no_flusher
from interleaved import Made, MeetingLock, once, watch_field
from support import Recorder, wait_until
from wire import BINARY, CONTINUATION, DEADLINE, PING, TEXT, frame

from ocppsync.threads.timer import Timer
from ocppsync.wire import websocket
from ocppsync.wire.http import RefusalError, send_refusal
from ocppsync.wire.streams import Stream
from ocppsync.wire.transport import TransportClosedError
from ocppsync.wire.websocket import WebSocket


@pytest.fixture
def connected(timer: Timer, background: Callable[..., Future[Any]]) -> Connected:
    return functools.partial(open_connection, timer, background)


def new_lock(monkeypatch: pytest.MonkeyPatch, end: End) -> MeetingLock:
    """Put a lock in the place of the one that orders the frames."""
    lock = MeetingLock()
    monkeypatch.setattr(end.websocket._stream, "lock", lock)
    monkeypatch.setattr(end.websocket, "_lock", lock)
    return lock


def fail_to_start_flushers(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name.startswith("ocppsync-flush-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)


def abort_before_put(monkeypatch: pytest.MonkeyPatch, end: End) -> None:
    """Let the connection end when a frame was made and comes to its stream."""
    stream = end.websocket._stream
    put = stream.put

    def abort_first(data: bytes) -> bool:
        stream.abort()
        return put(data)

    monkeypatch.setattr(stream, "put", abort_first)


# Two that write.


def test_nothing_goes_out_behind_a_close(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected() as (end, peer):
        lock, stream, done = new_lock(monkeypatch, end), end.websocket._stream, Made()
        put, close = stream.put, done.let_in(lock, end.websocket.close, 1001)

        def put_after_a_close(data: bytes) -> bool:
            close()
            return put(data)

        monkeypatch.setattr(stream, "put", put_after_a_close)
        end.websocket.send_nowait("last words")
        assert peer.read_text() == "last words"
        assert peer.read_close() == (1001, "")
        done.result()


@pytest.mark.parametrize("waiting", [b"", frame(TEXT, "waits", masked=False)])
def test_frames_go_out_in_the_order_in_which_they_were_made(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, waiting: bytes
) -> None:
    """Whether they go straight to the socket, or behind what waits."""
    with connected() as (end, peer):
        lock, done = new_lock(monkeypatch, end), Made()
        send_more, make = done.let_in(lock, end.websocket.send_nowait, "second"), websocket.whole_frame

        def make_it_slowly(opcode: int, data: bytes, *, masked: bool) -> bytes:
            data = make(opcode, data, masked=masked)
            send_more()
            return data

        monkeypatch.setattr(websocket, "whole_frame", make_it_slowly)
        end.websocket._stream.buffer(waiting)
        end.websocket.send_nowait("first")
        texts = [peer.read_text() for _ in range(3 if waiting else 2)]
        assert texts[-2:] == ["first", "second"]
        done.result()
        wait_for_no_flusher()


def test_nobody_waits_while_a_thread_waits_for_the_socket(
    connected: Connected, background: Callable[..., Future[Any]]
) -> None:
    with connected(small=True) as (end, peer):
        end.websocket.send_nowait(BIG)
        wait_until(end.websocket._stream._wait_lock.locked)
        background(end.websocket.send_nowait, "behind it").result(DEADLINE)
        assert background(end.websocket.ping).result(DEADLINE)
        peer.send_text("still heard")
        assert end.messages.wait() == ["still heard"]
        background(end.websocket.close, 1001).result(DEADLINE)
        assert end.closings.wait() == [True]
        assert end.websocket._stream.backlog > 0
        assert peer.read_text() == BIG
        assert peer.read_text() == "behind it"
        assert peer.read_frame().opcode == PING
        assert peer.read_close() == (1001, "")


def test_of_two_closes_one_is_sent_and_reported(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected() as (end, peer):
        lock, done = new_lock(monkeypatch, end), []
        close = once(lambda: done.append(lock.let_in(end.websocket.close, 1008, "also")))
        watch_field(end.websocket, "_closing", after_get=close)
        end.websocket.close(1001, "we stop")
        done[0].result(DEADLINE)
        assert peer.read_close() == (1001, "we stop")
        assert end.closings.items == [True]
        assert (end.websocket.close_code, end.websocket.close_reason) == (1001, "we stop")


# Our Close during theirs.


def test_our_close_is_out_before_the_end_though_theirs_comes_first(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits behind a message, and its thread has nobody write it when the reader is through with theirs."""
    with connected() as (end, peer):
        stream = end.websocket._stream
        flush_rest = stream.flush_rest

        def come_late() -> None:
            peer.send_close(1000)
            assert end.ended.wait(DEADLINE)
            flush_rest()

        monkeypatch.setattr(stream, "flush_rest", come_late)
        stream.buffer(frame(TEXT, "waits", masked=False))
        end.websocket.close(1001, "we stop")
        assert peer.read_text() == "waits"
        assert peer.read_close() == (1001, "we stop")
        assert peer.read_rest() == b""
        assert end.wait_for_end() == 1001
        wait_for_no_flusher()


def test_our_close_while_theirs_is_read_is_the_only_one(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected() as (end, peer):
        lock, done = new_lock(monkeypatch, end), []
        close = once(lambda: done.append(lock.let_in(end.websocket.close, 1001)))
        with lock:
            wsproto = end.websocket._wsproto()

        def close_while_wsproto_looks(state: object) -> None:
            if end.websocket._events is not None:
                close()

        watch_field(wsproto, "_state", after_get=close_while_wsproto_looks)
        peer.send_close(1000)
        peer.read_close()
        assert peer.read_rest() == b""
        assert end.ended.wait(DEADLINE)
        done[0].result(DEADLINE)


def test_an_end_while_their_close_is_answered_is_an_end(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected() as (end, peer):
        abort_before_put(monkeypatch, end)
        peer.send_close(3000)
        assert end.wait_for_end() == 3000


# The connection ends while something is sent.


def test_what_the_socket_refused_was_not_written(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected() as (end, peer):
        abort_before_put(monkeypatch, end)
        with pytest.raises(TransportClosedError, match="broke") as caught:
            end.websocket.send_nowait("hello?")
        assert not caught.value.written
        assert not end.websocket.ping()
        assert peer.read_rest() == b""
        assert end.wait_for_end() == 1006


def test_what_was_begun_when_the_connection_ended_may_have_gone_out(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(small=True) as (end, peer):
        fail_to_start_flushers(monkeypatch)
        with pytest.raises(TransportClosedError, match="can't start new thread") as caught:
            end.websocket.send_nowait(BIG)
        assert caught.value.written
        assert peer.read_rest()
        assert end.wait_for_end() == 1006


def test_what_comes_after_the_connection_has_ended_is_not_put(connected: Connected) -> None:
    with connected() as (end, _):
        end.websocket._stream.buffer(b"waits")
        end.websocket._stream.abort()
        with pytest.raises(TransportClosedError) as caught:
            end.websocket.send_nowait("too late")
        assert not caught.value.written
        assert not end.websocket.ping()
        end.websocket.close(1001)
        assert end.websocket._stream.backlog == len(b"waits")
        assert end.wait_for_end() == 1006


def test_what_has_no_room_behind_what_a_peer_does_not_read_ends_the_connection(connected: Connected) -> None:
    with connected(small=True) as (end, _):
        with pytest.raises(TransportClosedError, match="does not read") as caught:
            for _ in range(10):
                end.websocket.send_nowait(BIG)
        assert caught.value.written, "a thread that writes what waits may have come to it"
        assert end.wait_for_end() == 1006


def test_too_much_that_waits_when_the_connection_has_ended_is_not_reported(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread that ended it has reported why."""
    with connected(small=True) as (end, _):
        stream = end.websocket._stream
        put = stream.put

        def end_behind_it(data: bytes) -> bool:
            stream._waiting += bytes(2 * MIB)
            written = put(data)
            stream.abort()
            return written

        monkeypatch.setattr(stream, "put", end_behind_it)
        end.websocket.send_nowait("x")
        assert end.wait_for_end() == 1006
        wait_for_no_flusher()
        assert not caplog.records


def test_a_close_that_could_not_go_out_ends_the_connection_all_the_same(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected() as (end, peer):
        abort_before_put(monkeypatch, end)
        end.websocket.close(1001)
        assert end.closings.wait() == [True]
        assert peer.read_rest() == b""
        assert end.wait_for_end() == 1006, "the code of a Close that nobody sent is not reported"


def test_a_close_whose_rest_cannot_go_out_is_reported_all_the_same(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected() as (end, _):
        fail_to_start_flushers(monkeypatch)
        end.websocket._stream.buffer(frame(TEXT, "waits", masked=False))
        end.websocket.close(1001)
        assert end.closings.wait() == [True]
        assert end.wait_for_end() == 1001


def test_an_end_before_the_answer_to_the_handshake_is_left_to_receive(connected: Connected) -> None:
    with connected() as (end, _):
        end.websocket._stream.buffer(b"the answer")
        end.websocket.abort()
        end.websocket.open()
        assert end.wait_for_end() == 1006


# Before the answer to the handshake.


def opening(stream: Stream) -> WebSocket:
    return WebSocket(
        stream, client=False, subprotocol=None, deflate=None, max_message_size=1000, name="CP1", answer=b"the answer,"
    )


def test_no_frame_comes_into_the_refusal_in_place_of_the_answer_to_the_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with plain() as (stream, peer):
        ours = opening(stream)

        def send_first(stream: Stream, refusal: RefusalError) -> bool:
            with pytest.raises(TransportClosedError) as caught:
                ours.send_nowait("too late")
            assert not caught.value.written
            return send_refusal(stream, refusal)

        monkeypatch.setattr(websocket, "send_refusal", send_first)
        peer.sock.shutdown(socket.SHUT_WR)
        assert ours.refuse(RefusalError(500, "no"), 1011)
        answer = peer.read_rest()
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert answer.endswith(b"500 Internal Server Error\n")


def test_the_answer_to_the_handshake_comes_before_a_frame_of_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain(small=True) as (stream, peer):
        ours, lock, done, put = opening(stream), MeetingLock(), Made(), stream.put
        monkeypatch.setattr(stream, "lock", lock)
        monkeypatch.setattr(ours, "_lock", lock)
        send = done.let_in(lock, ours.send_nowait, "first")

        def send_before(data: bytes) -> bool:
            send()
            return put(data)

        monkeypatch.setattr(stream, "put", send_before)
        ours.open()
        done.result()
        assert peer.read(18) == b"the answer,\x81\x05first"
        stream.buffer(b"waits,")  # as what the socket did not take
        ours.open()
        assert peer.read(6) == b"waits,"


# A connection that is given up.


class _GivesUp(Recorder):
    """Messages of which the first is one too many for the end that reads them."""

    def __init__(self, end: End) -> None:
        super().__init__()
        self._end = end

    def __call__(self, *item: Any) -> None:
        super().__call__(*item)
        self._end.websocket.fail(1008, "enough")


def test_giving_up_leaves_what_waits_before_the_close_its_way(connected: Connected) -> None:
    with connected(small=True) as (end, peer):
        end.websocket.send_nowait(BIG)
        peer.send_frame(BINARY, b"\0")
        end.closings.wait()
        assert peer.read_text() == BIG
        assert peer.read_close() == (1003, "OCPP messages are text")


def test_messages_behind_the_one_that_was_too_many_are_dropped(connected: Connected) -> None:
    with connected() as (end, peer):
        end.messages = _GivesUp(end)
        peer.send(frame(TEXT, "one too many") + frame(TEXT, "another"))
        assert peer.read_close() == (1008, "enough")
        peer.send_close(1008)
        peer.sock.close()
        assert end.wait_for_end() == 1008
        assert end.messages.items == ["one too many"]


def test_what_is_dropped_is_not_kept(connected: Connected) -> None:
    with connected() as (end, peer):
        end.messages = _GivesUp(end)
        peer.send_text("one too many")
        assert peer.read_close() == (1008, "enough")
        for _ in range(100):
            peer.send_text("another")
        peer.send(frame(TEXT, "half of one")[:-1])
        peer.sock.close()
        assert end.wait_for_end() == 1008
        assert end.messages.items == ["one too many"]
        assert end.websocket._frames.buffer == b""


def test_half_a_message_is_not_kept_when_the_other_half_will_not_be_read(connected: Connected) -> None:
    with connected() as (end, peer):
        peer.send(frame(TEXT, "half", fin=False) + frame(CONTINUATION, "", fin=False) + frame(BINARY, b"\0"))
        assert peer.read_close()[0] == 1002
        peer.sock.close()
        assert end.wait_for_end() == 1002
        assert end.websocket._parts == b""

"""The WebSocket over real connections against a raw peer: messages whole, ends in time, nothing without bounds."""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from certificates import Authority
from ends import BIG, MIB, Connected, flushers, open_connection
from support import Recorder
from wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEADLINE,
    PING,
    PONG,
    TEXT,
    Frame,
    close_payload,
    dial,
    frame,
)

from ocppsync import CentralSystem, ChargePoint
from ocppsync.threads.timer import Timer
from ocppsync.wire.transport import TransportClosedError


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def connected(timer: Timer, background: Callable[..., Future[Any]]) -> Connected:
    return functools.partial(open_connection, timer, background)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# Threads.


def test_each_connection_takes_one_thread() -> None:
    names = [f"CP{number}" for number in range(5)]
    before = threading.enumerate()
    with CentralSystem(0, host="127.0.0.1") as cs, contextlib.ExitStack() as peers:
        events = Recorder()
        cs.add_connection_listener(events)
        for name in names:
            peers.enter_context(dial(cs.port)).upgrade(f"/{name}")
        peers.enter_context(ChargePoint("ours", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False))
        events.wait(6)
        threads = [thread.name for thread in threading.enumerate() if thread not in before]
        readers = sorted(name for name in threads if name.startswith("ocppsync-reader"))
        assert readers == sorted(f"ocppsync-reader-{name}" for name in [*names, "ours", "ours"])
        assert all(name.startswith("ocppsync-") for name in threads), threads


# MessageSet that come along with the handshake.


def test_a_message_in_the_segment_of_the_request_is_delivered_at_once(connected: Connected) -> None:
    with connected(extra=frame(TEXT, "early") + frame(TEXT, "also early")) as (end, _):
        assert end.messages.wait(2) == ["early", "also early"]


def test_half_a_message_in_the_segment_of_the_request(connected: Connected) -> None:
    data = frame(TEXT, "early")
    with connected(extra=data[:5]) as (end, peer):
        peer.send(data[5:])
        assert end.messages.wait() == ["early"]


# Whole messages, in order, from many threads.


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_many_senders_keep_every_message_whole_and_in_order(
    connected: Connected, background: Callable[..., Future[Any]], authority: Authority, *, secure: bool
) -> None:
    senders, each = 20, 200
    # More must not wait for the peer, or the connection is given up.
    unread = threading.Semaphore(5)

    def write(sender: int) -> None:
        sizes = random.Random(sender)
        for number in range(each):
            unread.acquire()
            end.websocket.send_nowait(f"{sender} {number} " + "x" * sizes.randrange(50_000))

    tls = {"ssl_context": authority.server_context(), "client_context": authority.client_context()} if secure else {}
    with connected(**tls) as (end, peer):
        writing = [background(write, sender) for sender in range(senders)]
        came: dict[int, list[str]] = {sender: [] for sender in range(senders)}
        pings = pongs = 0
        while sum(map(len, came.values())) < senders * each or pongs < pings:
            got = peer.read_frame()
            if got.opcode == PONG:
                assert got == Frame(PONG, str(pongs).encode())
                pongs += 1
                continue
            assert got._replace(payload=b"") == Frame(TEXT, b"")
            sender, number, body = got.payload.decode().split(" ")
            came[int(sender)].append(f"{number} {len(body)} {set(body)}")
            unread.release()
            peer.send_frame(PING, str(pings))
            pings += 1
        for done in writing:
            done.result(DEADLINE)
        assert pongs == senders * each
        for sender, messages in came.items():
            sizes = random.Random(sender)
            expected = [(number, sizes.randrange(50_000)) for number in range(each)]
            assert messages == [f"{number} {size} { {'x'} if size else set() }" for number, size in expected]


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_a_message_of_1_mib_both_ways_while_pings_fly(
    connected: Connected, background: Callable[..., Future[Any]], authority: Authority, *, secure: bool
) -> None:
    tls = {"ssl_context": authority.server_context(), "client_context": authority.client_context()} if secure else {}
    with connected(small=True, **tls) as (end, peer):
        for _ in range(50):
            peer.send_frame(PING, b"before")
        peer.send(frame(TEXT, BIG))
        sending = background(end.websocket.send_nowait, BIG)
        for _ in range(50):
            peer.send_frame(PING, b"after")
        got = [peer.read_frame() for _ in range(101)]
        sending.result(DEADLINE)
        assert [one.payload for one in got if one.opcode == PONG] == [b"before"] * 50 + [b"after"] * 50
        assert [one.payload for one in got if one.opcode == TEXT] == [BIG.encode()]
        assert end.messages.wait() == [BIG]


def test_a_pong_behind_a_long_message_that_the_peer_takes_slowly_is_no_reason_to_give_up(connected: Connected) -> None:
    with connected(small=True) as (end, peer):
        end.websocket.send_nowait(BIG)
        for _ in range(3):
            peer.send_frame(PING, b"still there?")
        messages = [peer.read_frame() for _ in range(4)]
        assert sorted(len(got.payload) for got in messages) == [12] * 3 + [MIB]


# A peer that stops reading.


def test_a_peer_that_does_not_read_ends_in_time_and_harms_no_other(connected: Connected) -> None:
    with connected(small=True, write_timeout=0.3) as (end, _), connected() as (other, other_peer):
        began = time.monotonic()
        end.websocket.send_nowait(BIG)
        for number in range(20):
            other_peer.send_text(str(number))
            other.websocket.send_nowait(str(number))
            assert other_peer.read_text() == str(number)
        assert not end.ended.is_set(), "the others must have been served meanwhile"
        assert end.wait_for_end() == 1006
        assert 0.3 <= time.monotonic() - began < 2
        assert other.messages.wait(20) == [str(number) for number in range(20)]


def test_post_and_ping_never_wait_and_the_rest_follows_in_order(connected: Connected) -> None:
    with connected(small=True) as (end, peer):
        began = time.monotonic()
        end.websocket.send_nowait(BIG)
        assert end.websocket.ping()
        end.websocket.send_nowait("the end")
        assert time.monotonic() - began < 0.5
        (flusher,) = flushers()
        assert flusher.name == "ocppsync-flush-CP1"
        assert peer.read_text() == BIG
        assert peer.read_frame() == Frame(PING, b"")
        assert peer.read_text() == "the end"
        flusher.join(DEADLINE)
        assert not flushers()
        end.websocket.send_nowait("and on")
        assert peer.read_text() == "and on"


def test_a_long_call_and_a_long_answer_may_wait_at_once_and_pings_behind_them(connected: Connected) -> None:
    with connected(small=True) as (end, peer):
        for _ in range(2):
            end.websocket.send_nowait(BIG)
        assert end.websocket.ping()
        for _ in range(2):
            assert peer.read_text() == BIG
        assert peer.read_frame() == Frame(PING, b"")


def test_a_post_that_nobody_reads_ends_the_connection(connected: Connected, caplog: pytest.LogCaptureFixture) -> None:
    with connected(small=True, write_timeout=0.2) as (end, _):
        end.websocket.send_nowait(BIG)
        assert end.wait_for_end() == 1006
        with pytest.raises(TransportClosedError):
            end.websocket.send_nowait("more")
        for flusher in flushers():
            flusher.join(DEADLINE)
        assert warnings(caplog) == ["CP1 does not read; its connection is aborted"]


def test_a_flood_of_pings_from_a_peer_that_never_reads_is_cut_off(
    connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    flood = b"".join(frame(PING, b"x" * 125) for _ in range(100))
    with connected(small=True) as (end, peer):
        tracemalloc.start()
        try:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                for _ in range(1000):
                    peer.send(flood)
            assert end.ended.is_set() or end.wait_for_end() == 1006
            assert tracemalloc.get_traced_memory()[1] < 2 * MIB
        finally:
            tracemalloc.stop()
        assert warnings(caplog) == ["CP1 does not read the answers to what it sends; its connection is aborted"]


# Too big.


def test_a_message_of_just_the_limit_passes(connected: Connected) -> None:
    exact = ["x" * 1000, "é" * 500, "€" * 333, "𝄞" * 250]
    with connected(max_message_size=1000) as (end, peer):
        for text in exact:
            peer.send_text(text)
        peer.send(frame(TEXT, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 400))
        assert end.messages.wait(5) == [*exact, "x" * 1000]


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"x" * 1001),
        frame(TEXT, "é" * 501),
        frame(TEXT, b"x" * 1001, length=10_000_000),
        frame(TEXT, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 401),
        frame(TEXT, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 401, length=10_000_000),
        frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * 1000,
    ],
    ids=["bytes", "not characters", "announced", "fragmented", "announced fragment", "many fragments"],
)
def test_a_message_over_the_limit_closes_with_1009(
    connected: Connected, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    with connected(max_message_size=1000) as (end, peer):
        peer.send(data)
        assert peer.read_close() == (1009, "the limit is 1000 bytes")
        assert peer.read_rest() == b""
        peer.sock.close()
        assert end.wait_for_end() == 1009
        assert end.messages.items == []
        assert warnings(caplog) == ["CP1 sent a message of more than 1000 bytes"]


def test_a_peer_that_is_still_writing_can_read_why(connected: Connected) -> None:
    with connected(max_message_size=1000) as (end, peer):
        peer.send(frame(TEXT, b"x" * 8 * MIB))
        assert peer.read_close()[0] == 1009
        assert peer.read_rest() == b""
        peer.send_close(1009)
        peer.sock.close()
        assert end.wait_for_end() == 1009


def test_a_peer_that_writes_on_for_ever_is_cut_off(connected: Connected) -> None:
    with connected(max_message_size=1000, close_timeout=0.2) as (end, peer):
        peer.sock.settimeout(1)
        # Where our window was shut at the end, its system may not hear for a minute that nobody is there any more.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
            while not end.ended.is_set():
                peer.sock.sendall(frame(TEXT, b"x" * 65536))
        assert end.wait_for_end() == 1009


# What breaks the protocol.


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(BINARY, b"[2]"), 1003, id="binary"),
        pytest.param(frame(BINARY, b"[2", fin=False), 1003, id="binary fragment"),
        pytest.param(frame(TEXT, b"\xff"), 1007, id="no UTF-8"),
        pytest.param(frame(TEXT, b"\xe2\x82"), 1007, id="UTF-8 cut off"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="surrogate"),
        pytest.param(frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"("), 1007, id="no UTF-8 over fragments"),
        pytest.param(frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b""), 1007, id="UTF-8 cut off by the end"),
        pytest.param(frame(TEXT, b"x", masked=False), 1002, id="unmasked"),
        pytest.param(frame(PING, b"", masked=False), 1002, id="unmasked ping"),
        pytest.param(frame(TEXT, b"x", reserved=4), 1002, id="first reserved bit"),
        pytest.param(frame(TEXT, b"x", reserved=2), 1002, id="second reserved bit"),
        pytest.param(frame(TEXT, b"x", reserved=1), 1002, id="third reserved bit"),
        pytest.param(frame(PING, b"x", reserved=4), 1002, id="reserved bit of a ping"),
        pytest.param(frame(0x3, b"x"), 1002, id="bad opcode"),
        pytest.param(frame(0xB, b"x"), 1002, id="bad control opcode"),
        pytest.param(frame(PING, b"x", fin=False), 1002, id="fragmented ping"),
        pytest.param(frame(CLOSE, b"", fin=False), 1002, id="fragmented close"),
        pytest.param(frame(PING, b"x" * 126), 1002, id="long ping"),
        pytest.param(frame(TEXT, b"x", length=2**63), 1002, id="length of 2**63"),
        pytest.param(b"\x81\xfe\x00\x05\0\0\0\0hello", 1002, id="length in too many bytes"),
        pytest.param(frame(CONTINUATION, b"x"), 1002, id="continuation of nothing"),
        pytest.param(frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), 1002, id="message within a message"),
        pytest.param(frame(CLOSE, b"\x03"), 1002, id="close with one byte"),
        pytest.param(frame(CLOSE, close_payload(999)), 1002, id="close code too low"),
        *(pytest.param(frame(CLOSE, close_payload(n)), 1002, id=str(n)) for n in (1004, 1005, 1006, 1015, 1016, 2999)),
        pytest.param(frame(CLOSE, close_payload(5000)), 1002, id="close code too high"),
        pytest.param(frame(CLOSE, close_payload(1000) + b"\xff"), 1007, id="close reason that is no UTF-8"),
    ],
)
def test_what_breaks_the_protocol_closes_with_its_code(
    connected: Connected, caplog: pytest.LogCaptureFixture, data: bytes, code: int
) -> None:
    with connected() as (end, peer):
        peer.send(frame(TEXT, "before") + data + frame(TEXT, "after"))
        assert peer.read_close()[0] == code
        assert peer.read_rest() == b""
        peer.sock.close()
        assert end.wait_for_end() == code
        assert end.messages.items == ["before"]
        assert len(warnings(caplog)) == (code != 1003)


def test_text_may_be_fragmented_anywhere(connected: Connected) -> None:
    text = "é€𝄞 and 1"
    data = text.encode()
    with connected() as (end, peer):
        peer.send_frame(TEXT, b"", fin=False)
        for index in range(len(data)):
            peer.send_frame(CONTINUATION, data[index : index + 1], fin=False)
            peer.send_frame(CONTINUATION, b"", fin=False)
            peer.send_frame(PING, str(index))
            peer.send_frame(PONG, b"unasked for")
        peer.send_frame(CONTINUATION, b"")
        peer.send_frame(TEXT, b"")
        assert end.messages.wait(2) == [text, ""]
        assert [peer.read_frame() for _ in data] == [Frame(PONG, str(index).encode()) for index in range(len(data))]


def test_frames_may_come_byte_by_byte(connected: Connected) -> None:
    with connected() as (end, peer):
        for byte in frame(TEXT, "x" * 200) + frame(PING, "y"):
            peer.send(bytes([byte]))
        assert peer.read_frame() == Frame(PONG, b"y")
        assert end.messages.wait() == ["x" * 200]


# The end.


@pytest.mark.parametrize(
    ("payload", "code"), [(close_payload(n, "why"), n) for n in (1000, 1001, 1014, 3000, 4999)] + [(b"", 1005)]
)
def test_a_close_of_the_peer_is_answered_with_its_code(connected: Connected, payload: bytes, code: int) -> None:
    with connected() as (end, peer):
        peer.send_text("last words")
        peer.send_frame(CLOSE, payload)
        assert peer.read_close() == (code, "why" if payload else "")
        assert peer.read_rest() == b"", "the server closes first"
        assert end.wait_for_end() == code
        assert end.websocket.close_reason == ("why" if payload else "")
        assert end.messages.items == ["last words"]
        assert end.closings.items == []


def test_our_close_ends_with_the_answer(connected: Connected) -> None:
    with connected() as (end, peer):
        end.websocket.close(1001, "we stop")
        end.websocket.close(1000, "again")
        assert peer.read_close() == (1001, "we stop")
        peer.send_text("was on its way")
        peer.send_close(1001)
        assert peer.read_rest() == b""
        assert end.wait_for_end() == 1001
        assert end.websocket.close_reason == "we stop"
        assert end.messages.items == ["was on its way"]
        assert end.closings.items == [True]


def test_after_our_close_a_silent_peer_is_cut_off_in_time(connected: Connected) -> None:
    with connected(close_timeout=0.3) as (end, peer):
        began = time.monotonic()
        end.websocket.close(1001)
        assert peer.read_close() == (1001, "")
        assert peer.read_rest() == b""
        assert 0.25 <= time.monotonic() - began < 2
        assert end.wait_for_end() == 1001


def test_after_our_close_a_peer_that_does_not_read_is_cut_off_in_time(connected: Connected) -> None:
    with connected(small=True, close_timeout=0.3) as (end, _):
        end.websocket.send_nowait(BIG)
        began = time.monotonic()
        end.websocket.close(1001)
        assert end.wait_for_end() == 1001
        assert time.monotonic() - began < 2


def test_both_close_at_once(connected: Connected) -> None:
    with connected() as (end, peer):
        peer.send_close(1000)
        end.websocket.close(1001)
        sent = peer.read_close()[0]
        assert peer.read_rest() == b"", "one Close is enough"
        assert end.wait_for_end() in {1000, sent}


def test_abort_from_another_thread_ends_receive(connected: Connected) -> None:
    with connected() as (end, peer):
        end.websocket.abort()
        assert end.wait_for_end() == 1006
        assert peer.read_rest() == b""


@pytest.mark.parametrize("rough", [False, True])
def test_an_end_without_a_close_is_1006(connected: Connected, *, rough: bool) -> None:
    with connected() as (end, peer):
        peer.send(frame(TEXT, "half a message")[:7])
        if rough:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.sock.close()
        assert end.wait_for_end() == 1006
        assert end.websocket.close_reason == ""


def test_after_the_end_nothing_is_sent(connected: Connected) -> None:
    with connected() as (end, peer):
        peer.send_close()
        assert end.wait_for_end() == 1000
        with pytest.raises(TransportClosedError) as caught:
            end.websocket.send_nowait("too late")
        assert not caught.value.written
        assert not end.websocket.ping()
        end.websocket.close(1001)
        assert end.websocket.close_code == 1000


def test_after_our_close_nothing_is_sent(connected: Connected) -> None:
    with connected() as (end, peer):
        end.websocket.close()
        with pytest.raises(TransportClosedError):
            end.websocket.send_nowait("too late")
        assert peer.read_close() == (1000, "")


@pytest.mark.parametrize(("reason", "sent"), [("é" * 100, "é" * 61), ("no \ud800", "no ?")], ids=["long", "surrogate"])
def test_a_reason_that_does_not_fit_is_made_to_fit(connected: Connected, reason: str, sent: str) -> None:
    with connected() as (end, peer):
        end.websocket.close(1008, reason)
        assert peer.read_close() == (1008, sent)


def test_last_heard_moves_with_everything_that_comes(connected: Connected) -> None:
    with connected() as (end, peer):
        before = end.websocket.last_heard
        peer.send_frame(PING)
        assert peer.read_frame() == Frame(PONG, b"")
        assert before < end.websocket.last_heard <= time.monotonic()


def test_it_shows_its_state(connected: Connected) -> None:
    with connected() as (end, peer):
        assert repr(end.websocket) == f"<WebSocket CP1 OPEN <Stream {peer.address} open backlog=0>>"
        peer.send_close()
        end.wait_for_end()
        assert repr(end.websocket) == f"<WebSocket CP1 CLOSED <Stream {peer.address} aborted backlog=0>>"

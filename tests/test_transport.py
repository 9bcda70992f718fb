"""The WebSocket over real connections against a raw peer: messages whole, ends in time, nothing without bounds."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from certificates import Authority
from support import Recorder
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.sync.client import connect as websockets_connect
from wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEADLINE,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    Response,
    accept,
    close_payload,
    dial,
    frame,
    listening,
    request,
)

from ocppsync import CentralSystem, ChargePoint, HandshakeError, upgrade
from ocppsync.channel import TransportClosedError
from ocppsync.doorkeeper import Doorkeeper
from ocppsync.forwarded import ClientAddress
from ocppsync.handshake import Gate
from ocppsync.limits import Limits
from ocppsync.reception import Reception
from ocppsync.streams import Stream, TLSStream
from ocppsync.timer import Timer
from ocppsync.transport import WebSocket

SMALL = 4096
"""A socket buffer that fills at once."""
MIB = 1024 * 1024
BIG = "0123456789abcdef" * (MIB // 16)
"""1 MiB: the longest message by default, and more than small buffers hold."""


@pytest.fixture
def background() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a function on a thread of its own and returns its future."""
    with ThreadPoolExecutor(32) as pool:
        yield pool.submit


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer("test-timer")
    yield timer
    timer.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


class End:
    """One of our WebSockets with the thread that reads it, as a connection has."""

    def __init__(
        self, websocket: WebSocket, timer: Timer, close_timeout: float, answer: Response | None = None
    ) -> None:
        self.websocket = websocket
        self.answer = answer
        self.messages = Recorder()
        self.closings = Recorder()
        self.ended = threading.Event()
        self._timer = timer
        self._close_timeout = close_timeout
        websocket.on_closing = self._closing
        threading.Thread(target=self._read, name="test-reader", daemon=True).start()

    def _closing(self) -> None:
        self.closings(True)
        self._timer.call_later(self._close_timeout, self.websocket.abort)

    def _read(self) -> None:
        while (text := self.websocket.receive()) is not None:
            self.messages(text)
        self.websocket.abort()
        self.websocket.release()
        self.ended.set()

    def wait_for_end(self) -> int | None:
        assert self.ended.wait(DEADLINE)
        return self.websocket.close_code


Connected = Callable[..., contextlib.AbstractContextManager[tuple[End, Peer]]]


@pytest.fixture
def connected(timer: Timer, background: Callable[..., Future[Any]]) -> Connected:
    """Open a connection: our end, past its handshake, and the raw peer.

    Options: those of `Reception`; ``small`` buffers between the ends; ``extra`` bytes that the peer sends with its
    request, and ``changes`` of the request's headers; ``close_timeout``; ``client_context`` for TLS.
    """

    @contextlib.contextmanager
    def connected(
        *,
        small: bool = False,
        extra: bytes = b"",
        changes: dict[str, str | None] | None = None,
        client_context: ssl.SSLContext | None = None,
        compression: bool = False,
        close_timeout: float = DEADLINE,
        **options: Any,
    ) -> Iterator[tuple[End, Peer]]:
        settings: dict[str, Any] = {
            "doorkeeper": Doorkeeper(Limits()),
            "client_address": ClientAddress(()),
            "max_handshakes": None,
            "max_handshakes_per_address": None,
            "ssl_context": None,
            "handshake_timeout": DEADLINE,
            "max_header_size": 16384,
            "max_message_size": MIB,
            "write_timeout": DEADLINE,
            "on_raw_socket_data": None,
        }
        reception = Reception(Gate(protocols=("ocpp1.6",), compression=compression), **{**settings, **options})
        with listening() as listener:
            port = listener.getsockname()[1]
            dialled = background(dial, port, ssl_context=client_context, receive_buffer=SMALL if small else None)
            sock, _ = listener.accept()
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        received = background(reception.receive, sock)
        with dialled.result(DEADLINE) as peer:
            peer.send(request(**(changes or {})) + extra)
            visitor = received.result(DEADLINE)
            visitor.websocket.open()
            answer = peer.read_response()
            assert answer.status == 101
            end = End(visitor.websocket, timer, close_timeout, answer)
            try:
                yield end, peer
            finally:
                end.websocket.abort()
                assert end.ended.wait(DEADLINE)

    return connected


def flushers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ocppsync-flush-")]


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
        peers.enter_context(ChargePoint("ours", url=f"ws://127.0.0.1:{cs.port}", registration_gate=False))
        events.wait(6)
        threads = [thread.name for thread in threading.enumerate() if thread not in before]
        readers = sorted(name for name in threads if name.startswith("ocppsync-reader"))
        assert readers == sorted(f"ocppsync-reader-{name}" for name in [*names, "ours", "ours"])
        assert all(name.startswith("ocppsync-") for name in threads), threads


# Messages that come along with the handshake.


def test_a_message_in_the_segment_of_the_request_is_delivered_at_once(connected: Connected) -> None:
    with connected(extra=frame(TEXT, "early") + frame(TEXT, "also early")) as (end, _):
        assert end.messages.wait(2) == ["early", "also early"]


def test_half_a_message_in_the_segment_of_the_request(connected: Connected) -> None:
    data = frame(TEXT, "early")
    with connected(extra=data[:5]) as (end, peer):
        peer.send(data[5:])
        assert end.messages.wait() == ["early"]


def test_a_message_in_the_segment_of_the_answer_is_delivered_at_once(
    our_client: Callable[..., contextlib.AbstractContextManager[tuple[End, Peer, str]]],
) -> None:
    with our_client(extra=frame(TEXT, "early", masked=False)) as (end, _, _):
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
            end.websocket.post(f"{sender} {number} " + "x" * sizes.randrange(50_000))

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
        sending = background(end.websocket.post, BIG)
        for _ in range(50):
            peer.send_frame(PING, b"after")
        got = [peer.read_frame() for _ in range(101)]
        sending.result(DEADLINE)
        assert [one.payload for one in got if one.opcode == PONG] == [b"before"] * 50 + [b"after"] * 50
        assert [one.payload for one in got if one.opcode == TEXT] == [BIG.encode()]
        assert end.messages.wait() == [BIG]


def test_a_pong_behind_a_long_message_that_the_peer_takes_slowly_is_no_reason_to_give_up(connected: Connected) -> None:
    with connected(small=True) as (end, peer):
        end.websocket.post(BIG)
        for _ in range(3):
            peer.send_frame(PING, b"still there?")
        messages = [peer.read_frame() for _ in range(4)]
        assert sorted(len(got.payload) for got in messages) == [12] * 3 + [MIB]


# A peer that stops reading.


def test_a_peer_that_does_not_read_ends_in_time_and_harms_no_other(connected: Connected) -> None:
    with connected(small=True, write_timeout=0.3) as (end, _), connected() as (other, other_peer):
        began = time.monotonic()
        end.websocket.post(BIG)
        for number in range(20):
            other_peer.send_text(str(number))
            other.websocket.post(str(number))
            assert other_peer.read_text() == str(number)
        assert not end.ended.is_set(), "the others must have been served meanwhile"
        assert end.wait_for_end() == 1006
        assert 0.3 <= time.monotonic() - began < 2
        assert other.messages.wait(20) == [str(number) for number in range(20)]


def test_post_and_ping_never_wait_and_the_rest_follows_in_order(connected: Connected) -> None:
    with connected(small=True) as (end, peer):
        began = time.monotonic()
        end.websocket.post(BIG)
        assert end.websocket.ping()
        end.websocket.post("the end")
        assert time.monotonic() - began < 0.5
        (flusher,) = flushers()
        assert flusher.name == "ocppsync-flush-CP1"
        assert peer.read_text() == BIG
        assert peer.read_frame() == Frame(PING, b"")
        assert peer.read_text() == "the end"
        flusher.join(DEADLINE)
        assert not flushers()
        end.websocket.post("and on")
        assert peer.read_text() == "and on"


def test_a_long_call_and_a_long_answer_may_wait_at_once_and_pings_behind_them(connected: Connected) -> None:
    with connected(small=True) as (end, peer):
        for _ in range(2):
            end.websocket.post(BIG)
        assert end.websocket.ping()
        for _ in range(2):
            assert peer.read_text() == BIG
        assert peer.read_frame() == Frame(PING, b"")


def test_a_post_that_nobody_reads_ends_the_connection(connected: Connected, caplog: pytest.LogCaptureFixture) -> None:
    with connected(small=True, write_timeout=0.2) as (end, _):
        end.websocket.post(BIG)
        assert end.wait_for_end() == 1006
        with pytest.raises(TransportClosedError):
            end.websocket.post("more")
        for flusher in flushers():
            flusher.join(DEADLINE)
        assert warnings(caplog) == ["CP1 does not read; its connection is given up"]


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
        assert warnings(caplog) == ["CP1 makes us write and does not read; its connection is given up"]


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
        pytest.param(frame(CLOSE, close_payload(1005)), 1002, id="close code that may not be sent"),
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
    ("payload", "code"), [(close_payload(n, "why"), n) for n in (1000, 1001, 3000, 4999)] + [(b"", 1005)]
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
        end.websocket.post(BIG)
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
            end.websocket.post("too late")
        assert not caught.value.written
        assert not end.websocket.ping()
        end.websocket.close(1001)
        assert end.websocket.close_code == 1000


def test_after_our_close_nothing_is_sent(connected: Connected) -> None:
    with connected() as (end, peer):
        end.websocket.close()
        with pytest.raises(TransportClosedError):
            end.websocket.post("too late")
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


# Compression.

OFFER = {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"}


def deflate(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def test_compression_is_refused_unless_it_is_switched_on() -> None:
    with CentralSystem(0, host="127.0.0.1") as cs, dial(cs.port) as peer:
        assert peer.upgrade(**OFFER).header("Sec-WebSocket-Extensions") is None
        peer.send(frame(TEXT, deflate(b'[2,"1","Heartbeat",{}]'), reserved=4))
        assert peer.read_close()[0] == 1002


def test_compression_with_another_library() -> None:
    with CentralSystem(0, host="127.0.0.1", compression=True) as cs:
        cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted", "data": payload["data"]})
        url = f"ws://127.0.0.1:{cs.port}/CP1"
        with websockets_connect(url, subprotocols=["ocpp1.6"], compression="deflate", close_timeout=1) as peer:
            assert [type(extension) for extension in peer.protocol.extensions] == [PerMessageDeflate]
            for number in range(3):
                text = f'[2,"{number}","DataTransfer",{{"vendorId":"x","data":"{"é" * 10_000}"}}]'
                peer.send([text[:5000], text[5000:5001], text[5001:]] if number else text)
                assert peer.recv(DEADLINE) == f'[3,"{number}",{{"status":"Accepted","data":"{"é" * 10_000}"}}]'


def test_compression_with_ourselves() -> None:
    seen: list[bytes] = []
    with CentralSystem(0, host="127.0.0.1", compression=True, on_raw_socket_data=seen.append) as cs:
        cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted", "data": payload["data"]})
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", registration_gate=False, compression=True) as cp:
            for _ in range(3):
                payload: Any = {"vendorId": "x", "data": "é" * 10_000}
                assert cp.send_request("DataTransfer", payload) == {"status": "Accepted", "data": "é" * 10_000}
    assert 0 < sum(map(len, seen)) < 5000


def test_a_peer_that_ends_its_deflate_stream_with_each_message(connected: Connected) -> None:
    with connected(compression=True, changes=OFFER) as (end, peer):
        for number in range(3):
            compressor = zlib.compressobj(wbits=-15)
            # A final block, and the empty byte that RFC 7692 §7.2.3.5 appends to it.
            data = compressor.compress(str(number).encode() * 100) + compressor.flush(zlib.Z_FINISH) + b"\0"
            peer.send_frame(TEXT, data, reserved=4)
            assert end.messages.wait(number + 1)[number] == str(number) * 100


def test_a_ping_between_the_fragments_of_a_compressed_message(connected: Connected) -> None:
    text = "".join(map(str, range(1000)))
    data = deflate(text.encode())
    with connected(compression=True, changes=OFFER) as (end, peer):
        peer.send_frame(TEXT, data[:100], fin=False, reserved=4)
        peer.send_frame(PING, b"hello?")
        assert peer.read_frame() == Frame(PONG, b"hello?")
        peer.send_frame(CONTINUATION, data[100:])
        assert end.messages.wait() == [text]


def test_a_compressed_control_frame_breaks_the_protocol(connected: Connected) -> None:
    with connected(compression=True, changes=OFFER) as (_, peer):
        peer.send_frame(PING, b"x", reserved=4)
        assert peer.read_close()[0] == 1002


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; é",
    ],
)
def test_an_offer_that_makes_no_sense_is_declined(connected: Connected, offer: str) -> None:
    with connected(compression=True, changes={"Sec_WebSocket_Extensions": offer}) as (end, peer):
        assert end.answer is not None
        assert end.answer.header("Sec-WebSocket-Extensions") is None
        peer.send_text("plain")
        assert end.messages.wait() == ["plain"]


def test_a_deflated_bomb_is_defused(connected: Connected) -> None:
    compressor = zlib.compressobj(wbits=-15)
    block = compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    with connected(compression=True, changes=OFFER, max_message_size=MIB) as (end, peer):
        tracemalloc.start()
        try:
            peer.send(frame(TEXT, block * 1024, reserved=4))
            assert peer.read_close()[0] == 1009
            # One slice inflated, as bytes and as text, beside what was kept up to the limit.
            assert tracemalloc.get_traced_memory()[1] < 12 * MIB
        finally:
            tracemalloc.stop()
        peer.sock.close()
        assert end.wait_for_end() == 1009


def test_what_comes_after_the_end_of_a_deflate_stream_counts_as_well(connected: Connected) -> None:
    compressor = zlib.compressobj(wbits=-15)
    ended = compressor.compress(b"x") + compressor.flush(zlib.Z_FINISH)
    with connected(compression=True, changes=OFFER, max_message_size=10_000) as (end, peer):
        peer.send_frame(TEXT, ended, fin=False, reserved=4)
        for _ in range(10):
            peer.send_frame(CONTINUATION, bytes(1000), fin=False)
        assert peer.read_close()[0] == 1009
        peer.sock.close()
        assert end.wait_for_end() == 1009


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_deflated_message_of_just_the_limit_passes_and_one_byte_more_does_not(
    connected: Connected, pieces: int
) -> None:
    def send(peer: Peer, text: bytes) -> None:
        data = deflate(text)
        size = -(-len(data) // pieces)
        slices = [data[start : start + size] for start in range(0, len(data), size)]
        for index, piece in enumerate(slices):
            last = index == len(slices) - 1
            peer.send_frame(CONTINUATION if index else TEXT, piece, fin=last, reserved=0 if index else 4)

    fits = b"\xc3\xa9" * 5000
    with connected(compression=True, changes=OFFER, max_message_size=10_000) as (end, peer):
        for count in (1, 2):
            send(peer, fits)
            assert end.messages.wait(count) == [fits.decode()] * count
        send(peer, fits + b"x")
        assert peer.read_close() == (1009, "the limit is 10000 bytes")
        peer.sock.close()
        assert end.wait_for_end() == 1009
        assert len(end.messages.items) == 2


def test_what_is_deflated_in_one_context_is_read_in_it(connected: Connected) -> None:
    compressor = zlib.compressobj(wbits=-15)
    noise = random.Random(1).randbytes(2000).hex()
    sizes = []
    with connected(compression=True, changes=OFFER) as (end, peer):
        for count in (1, 2, 3):
            data = compressor.compress(noise.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
            sizes.append(len(data))
            peer.send_frame(TEXT, data.removesuffix(b"\0\0\xff\xff"), reserved=4)
            assert end.messages.wait(count) == [noise] * count
    assert sizes[1] < sizes[0] / 10, "the later ones lean on the first"


@pytest.mark.parametrize(
    "offer", ["permessage-deflate", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"]
)
def test_many_threads_that_send_deflated_at_once(
    connected: Connected, background: Callable[..., Future[Any]], offer: str
) -> None:
    texts = [f"{number} " + "x" * (number * 37 % 3000) for number in range(200)]
    start = threading.Barrier(8)

    def send(end: End, own: list[str]) -> None:
        start.wait(DEADLINE)
        for text in own:
            end.websocket.post(text)

    with connected(compression=True, changes={"Sec_WebSocket_Extensions": offer}) as (end, peer):
        assert end.answer is not None
        assert "server_no_context_takeover" in (end.answer.header("Sec-WebSocket-Extensions") or "")
        sending = [background(send, end, texts[number::8]) for number in range(8)]
        received = []
        for _ in texts:
            data = read_deflated(peer)
            received.append(zlib.decompressobj(wbits=-15).decompress(data + b"\0\0\xff\xff").decode())
        for future in sending:
            future.result(DEADLINE)
    assert sorted(received) == sorted(texts)


def read_deflated(peer: Peer) -> bytes:
    """Return the payload of a whole compressed message of ours."""
    first, length = peer.read(2)
    assert first == 0x80 | 0x40 | TEXT
    if length == 126:
        length = int.from_bytes(peer.read(2), "big")
    return peer.read(length)


@pytest.mark.parametrize(
    ("subprotocol", "compression", "compressed"),
    [
        ("ocpp1.6", None, False),
        ("ocpp2.0.1", None, True),
        ("ocpp2.1", None, True),
        ("ocpp1.6", True, True),
        ("ocpp2.1", False, False),
    ],
)
def test_compression_follows_the_version_unless_it_is_told_otherwise(
    subprotocol: str, compression: bool | None, compressed: bool
) -> None:
    with CentralSystem(0, host="127.0.0.1", compression=compression) as cs:
        url = f"ws://127.0.0.1:{cs.port}/CP1"
        with websockets_connect(url, subprotocols=[subprotocol], compression="deflate", close_timeout=1) as peer:
            assert bool(peer.protocol.extensions) is compressed
        with dial(cs.port) as bare:
            answer = bare.upgrade(Sec_WebSocket_Protocol=subprotocol)
            assert answer.header("Sec-WebSocket-Extensions") is None, "nobody compresses who did not offer it"


@pytest.mark.parametrize(
    ("protocols", "compression", "offered"),
    [
        (["ocpp1.6"], None, False),
        (["ocpp2.0.1"], None, True),
        (["ocpp2.1", "ocpp1.6"], None, True),
        (["ocpp1.6"], True, True),
        (["ocpp2.1"], False, False),
    ],
)
def test_our_client_offers_compression_with_2_x_unless_it_is_told_otherwise(
    protocols: list[str], compression: bool | None, offered: bool
) -> None:
    offers = Recorder()

    def authorize(request: Any, charge_point_id: str) -> bool:
        offers("permessage-deflate" in request.headers.get("sec-websocket-extensions", ""))
        return True

    with CentralSystem(0, host="127.0.0.1", authorize=authorize, compression=True) as cs:
        cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted", "data": payload["data"]})
        url = f"ws://127.0.0.1:{cs.port}"
        options: Any = {"protocols": protocols, "compression": compression, "registration_gate": False}
        with ChargePoint("CP1", url=url, **options) as cp:
            for _ in range(2):
                answer: Any = cp.send_request("DataTransfer", {"vendorId": "x", "data": "é" * 10_000})
                assert answer["data"] == "é" * 10_000
    assert offers.items == [offered]


def test_our_client_defuses_a_bomb_too() -> None:
    with CentralSystem(0, host="127.0.0.1", compression=True) as cs:
        events = Recorder()
        cs.add_connection_listener(events)
        cp = ChargePoint(
            "CP1", url=f"ws://127.0.0.1:{cs.port}", protocols=["ocpp2.1"], max_message_size=10_000, close_timeout=0.2
        )
        with cp:
            events.wait(1)
            cs.submit_request("CP1", "DataTransfer", {"vendorId": "x", "data": "0" * 20_000})
            assert cp.wait_closed(DEADLINE)
        assert events.wait(2)[1] == ("CP1", "disconnected")


def test_many_threads_that_send_in_one_context(background: Callable[..., Future[Any]]) -> None:
    seen = Recorder()
    with CentralSystem(0, host="127.0.0.1", max_queued_calls=1000) as cs:
        cs.on("NotifyPeriodicEventStream")(lambda payload, metadata: seen((payload["id"], payload["pending"])))
        url = f"ws://127.0.0.1:{cs.port}"
        with ChargePoint("CP1", url=url, protocols=["ocpp2.1"], registration_gate=False) as cp:

            def send(sender: int) -> None:
                for number in range(40):
                    data: Any = [{"t": number / 8, "v": str(number) * number}]
                    stream: Any = {"id": sender, "pending": number, "basetime": "2025-01-31T12:00:00Z", "data": data}
                    cp.send("NotifyPeriodicEventStream", stream)

            for future in [background(send, sender) for sender in range(8)]:
                future.result(DEADLINE)
            items = seen.wait(320)
    assert [[number for sender, number in items if sender == wanted] for wanted in range(8)] == [list(range(40))] * 8


# Our client.


@pytest.fixture
def our_client(
    timer: Timer, background: Callable[..., Future[Any]]
) -> Callable[..., contextlib.AbstractContextManager[tuple[End, Peer, str]]]:
    """Open a connection from our side: our end, the raw server's, and the request that it read."""

    @contextlib.contextmanager
    def our_client(
        *,
        extra: bytes = b"",
        changes: dict[str, str | None] | None = None,
        close_timeout: float = DEADLINE,
        **options: Any,
    ) -> Iterator[tuple[End, Peer, str]]:
        with listening() as listener:
            connecting = background(connect, listener.getsockname()[1], **options)
            with accept(listener) as peer:
                head = peer.answer_upgrade(extra=extra, **(changes or {}))
                end = End(connecting.result(DEADLINE), timer, close_timeout)
                try:
                    yield end, peer, head
                finally:
                    end.websocket.abort()
                    assert end.ended.wait(DEADLINE)

    return our_client


OurClient = Callable[..., contextlib.AbstractContextManager[tuple[End, Peer, str]]]


def connect(
    port: int, *, timeout: float = DEADLINE, context: ssl.SSLContext | None = None, **options: Any
) -> WebSocket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    stream: Stream = Stream(sock, write_timeout=DEADLINE)
    if context is not None:
        stream = TLSStream(sock, context=context, server_hostname="localhost", write_timeout=DEADLINE)
        stream.handshake(time.monotonic() + DEADLINE)
    settings: dict[str, Any] = {
        "host": f"127.0.0.1:{port}",
        "target": "/CP1?a=b",
        "subprotocols": ["ocpp1.6"],
        "headers": [],
        "compression": False,
        "max_message_size": MIB,
        "name": "CP1",
    }
    try:
        return upgrade.connect(stream, deadline=time.monotonic() + timeout, **{**settings, **options})
    except BaseException:
        stream.close()
        raise


def test_our_client_asks_as_it_should(our_client: OurClient) -> None:
    headers = [("Authorization", "Basic eA=="), ("X-Text", "é")]
    with our_client(headers=headers, subprotocols=["ocpp1.6", "other"]) as (end, peer, head):
        request_line, *lines = head.rstrip().split("\r\n")
        assert request_line == "GET /CP1?a=b HTTP/1.1"
        fields = dict(line.split(": ", 1) for line in lines)
        key = fields.pop("Sec-WebSocket-Key")
        assert len(key) == 24
        assert fields.pop("Upgrade").lower() == "websocket"
        assert fields == {
            "Host": f"127.0.0.1:{peer.sock.getsockname()[1]}",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": "ocpp1.6, other",
            "Authorization": "Basic eA==",
            "X-Text": "é",
        }
        assert end.websocket.subprotocol == "ocpp1.6"


def test_our_client_masks_and_answers(our_client: OurClient) -> None:
    with our_client() as (end, peer, _):
        end.websocket.post("hello")
        assert peer.read_frame() == Frame(TEXT, b"hello", masked=True)
        peer.send_frame(PING, b"x")
        assert peer.read_frame() == Frame(PONG, b"x", masked=True)
        peer.send_close(1001, "bye")
        assert peer.read_frame() == Frame(CLOSE, close_payload(1001, "bye"), masked=True)
        assert peer.read_rest() == b""
        assert end.wait_for_end() == 1001


def test_our_client_takes_no_masked_frame(our_client: OurClient) -> None:
    with our_client() as (end, peer, _):
        peer.send(frame(TEXT, "x", masked=True))
        assert peer.read_close()[0] == 1002
        peer.sock.close()
        assert end.wait_for_end() == 1002


def test_our_client_does_without_a_subprotocol_in_the_answer(our_client: OurClient) -> None:
    with our_client(changes={"Sec_WebSocket_Protocol": None}) as (end, _, _):
        assert end.websocket.subprotocol is None


def test_our_client_does_without_compression_in_the_answer(our_client: OurClient) -> None:
    with our_client(compression=True) as (end, peer, head):
        assert "Sec-WebSocket-Extensions: permessage-deflate" in head
        peer.send_text("plain")
        assert end.messages.wait() == ["plain"]


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec_WebSocket_Accept": "bm90IHRoaXMgb25l"},
        {"Sec_WebSocket_Protocol": "ocpp9.9"},
        {"Sec_WebSocket_Protocol": "ocpp1.6, ocpp2.0.1"},
        {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits=x"},
        {"Sec_WebSocket_Extensions": "x-unheard-of"},
        {"Upgrade": "h2c"},
        {"Connection": "close"},
    ],
    ids=str,
)
def test_our_client_refuses_an_answer_that_is_not_right(our_client: OurClient, changes: dict[str, str]) -> None:
    with pytest.raises(HandshakeError, match="the handshake failed: "), our_client(changes=changes, compression=True):
        pass


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nwho?", 404, "HTTP 404: who?"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401, "HTTP 401$"),
        (
            b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
            500,
            "HTTP 500: abcd$",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000, 200, "HTTP 200: x{200}$"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\ncut", 403, "HTTP 403: cut$"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 301, "HTTP 301$"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", 100, "HTTP 100$"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", None, "the handshake failed: Bad HTTP message"),
        (b"HTTP/1.1 101 " + b"x" * 100_000, None, "the handshake failed: Bad HTTP message"),
        (b"", None, "closed the connection during the handshake"),
    ],
    ids=["404", "401", "chunked", "long body", "body cut off", "301", "100", "no HTTP", "endless", "nothing"],
)
def test_our_client_says_why_it_was_refused(
    background: Callable[..., Future[Any]], answer: bytes, status: int | None, text: str
) -> None:
    with listening() as listener:
        connecting = background(connect, listener.getsockname()[1])
        with accept(listener) as peer:
            peer.read_until(b"\r\n\r\n")
            with contextlib.suppress(OSError):  # it may hang up before the end
                peer.send(answer)
                peer.sock.shutdown(socket.SHUT_WR)
            with pytest.raises(HandshakeError, match=text) as caught:
                connecting.result(DEADLINE)
            assert caught.value.status == status


def test_our_client_does_not_wait_for_ever(background: Callable[..., Future[Any]]) -> None:
    with listening() as listener:
        began = time.monotonic()
        connecting = background(connect, listener.getsockname()[1], timeout=0.2)
        with accept(listener) as peer:
            peer.send(b"HTTP/1.1 101 ")
            with pytest.raises(HandshakeError, match="did not answer the handshake in time"):
                connecting.result(DEADLINE)
            assert 0.2 <= time.monotonic() - began < 2


@pytest.mark.parametrize("headers", [[("X-Bad", "a\r\nb: c")], [("X-Bad", "€")], [("é", "x")]], ids=["CRLF", "€", "é"])
def test_our_client_sends_no_header_that_is_none(
    background: Callable[..., Future[Any]], headers: list[tuple[str, str]]
) -> None:
    with listening() as listener:
        connecting = background(connect, listener.getsockname()[1], headers=headers)
        with accept(listener) as peer:
            assert peer.read_rest() == b""
            with pytest.raises(HandshakeError, match="the handshake failed: "):
                connecting.result(DEADLINE)


def test_our_client_over_tls(background: Callable[..., Future[Any]], authority: Authority, timer: Timer) -> None:
    with listening() as listener:
        connecting = background(connect, listener.getsockname()[1], context=authority.client_context())
        with accept(listener, ssl_context=authority.server_context()) as peer:
            peer.answer_upgrade(extra=frame(TEXT, BIG, masked=False))
            end = End(connecting.result(DEADLINE), timer, DEADLINE)
            assert end.messages.wait() == [BIG]
            end.websocket.post(BIG)
            assert peer.read_text() == BIG
            peer.send_close()
            assert end.wait_for_end() == 1000

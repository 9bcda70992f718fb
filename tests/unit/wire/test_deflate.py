"""permessage-deflate over real connections: what others compress is read, bounded, and what we compress they read."""

from __future__ import annotations

import functools
import random
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from ends import MIB, OFFER, WRONG_PARAMETERS, Connected, End, deflate, open_connection
from hypothesis import given, settings
from hypothesis import strategies as st
from support import Recorder
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.sync.client import connect as websockets_connect
from wire import (
    CONTINUATION,
    DEADLINE,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    dial,
    frame,
)

from ocppsync import CentralSystem, ChargePoint, Limits, Timeouts
from ocppsync.threads.timer import Timer
from ocppsync.wire.deflate import Deflate


@pytest.fixture
def connected(timer: Timer, background: Callable[..., Future[Any]]) -> Connected:
    return functools.partial(open_connection, timer, background)


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
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False, compression=True) as cp:
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


@pytest.mark.parametrize("offer", ["permessage-deflate; server_max_window_bits=99", "permessage-deflate; é"])
def test_an_offer_that_makes_no_sense_is_declined(connected: Connected, offer: str) -> None:
    with connected(compression=True, changes={"Sec_WebSocket_Extensions": offer}) as (end, peer):
        assert end.answer is not None
        assert end.answer.header("Sec-WebSocket-Extensions") is None
        peer.send_text("plain")
        assert end.messages.wait() == ["plain"]


# Offers and their answers.


def agree(offers: str) -> str | None:
    """Return our server's answer to a header."""
    return Deflate(MIB, no_context_takeover=True).agree(offers)


@pytest.mark.parametrize("wrong", WRONG_PARAMETERS)
def test_an_offer_with_a_wrong_parameter_is_declined_alone(wrong: str) -> None:
    offer = f"permessage-deflate; {wrong}"
    assert agree(offer) is None
    assert agree(f"client_no_context_takeover, {offer}, x-unheard-of") is None
    right = "permessage-deflate; server_max_window_bits=10"
    answer = "permessage-deflate; server_max_window_bits=10; server_no_context_takeover"
    assert agree(f"{offer}, {right}") == agree(f"{right}, {offer}") == answer


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("", None),
        ("x-unheard-of", None),
        ("permessage-deflated", None),
        ("permessage-deflate", "permessage-deflate; server_no_context_takeover"),
        (" permessage-deflate\t;client_max_window_bits", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        (
            "permessage-deflate; client_max_window_bits = 10; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=10",
        ),
        (
            "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=9; server_no_context_takeover",
        ),
        # The client's own window of 8 needs no answer; one of 8 for us cannot be kept.
        ("permessage-deflate; client_max_window_bits=8", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; server_max_window_bits=8", None),
        (
            "permessage-deflate; server_max_window_bits=8; client_no_context_takeover, permessage-deflate",
            "permessage-deflate; server_no_context_takeover",
        ),
        # What a declined offer asks for does not count, nor do later ones.
        (
            "permessage-deflate; client_no_context_takeover; x, permessage-deflate, permessage-deflate; "
            "client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover",
        ),
        # A comma inside quotes separates nothing.
        ('x-unheard-of; a="b, permessage-deflate"', None),
        ('x-unheard-of; a="\\", permessage-deflate', None),
        ('x-unheard-of; a="b\\", permessage-deflate; c', None),
        ('x-unheard-of; a="b, c", permessage-deflate', "permessage-deflate; server_no_context_takeover"),
        ('x-unheard-of; a="b\\", c", permessage-deflate', "permessage-deflate; server_no_context_takeover"),
    ],
)
def test_each_offer_is_judged_by_itself(offers: str, answer: str | None) -> None:
    assert agree(offers) == answer


@settings(max_examples=200)
@given(st.text(alphabet='permsgdflat-=;, "\\x10', max_size=60))
def test_an_answer_repeats_only_what_may_be_offered(tail: str) -> None:
    answer = agree(f"permessage-deflate; {tail}, permessage-deflate; server_max_window_bits=10;{tail}")
    assert answer is None or answer.startswith("permessage-deflate; server_")


def test_a_hostile_list_of_offers_takes_linear_time() -> None:
    for offers in ('"' * 16_000, '"\\' * 8_000, 'a="' * 5_000, "permessage-deflate;" * 800, "," * 16_000):
        assert agree(offers) is None


# Messages again.


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


def test_data_after_the_end_of_a_deflate_stream_counts(connected: Connected) -> None:
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
            end.websocket.send_nowait(text)

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
def test_compression_depends_on_the_version_by_default(
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
def test_our_client_offers_compression_with_2_x_by_default(
    protocols: list[str], compression: bool | None, offered: bool
) -> None:
    offers = Recorder()

    def authorize(request: Any, charge_point_id: str) -> bool:
        offers("permessage-deflate" in request.headers.get("sec-websocket-extensions", ""))
        return True

    with CentralSystem(0, host="127.0.0.1", authorize=authorize, compression=True) as cs:
        cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted", "data": payload["data"]})
        url = f"ws://127.0.0.1:{cs.port}"
        options: Any = {"protocols": protocols, "compression": compression, "enforce_registration": False}
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
            "CP1",
            url=f"ws://127.0.0.1:{cs.port}",
            protocols=["ocpp2.1"],
            limits=Limits(message_size=10_000),
            timeouts=Timeouts(close=0.2),
        )
        with cp:
            events.wait(1)
            cs.submit_request("CP1", "DataTransfer", {"vendorId": "x", "data": "0" * 20_000})
            assert cp.wait_closed(DEADLINE)
        assert events.wait(2)[1] == ("CP1", "disconnected")


def test_many_threads_that_send_in_one_context(background: Callable[..., Future[Any]]) -> None:
    seen = Recorder()
    with CentralSystem(0, host="127.0.0.1", limits=Limits(queued_calls=1000)) as cs:
        cs.on("NotifyPeriodicEventStream")(lambda payload, metadata: seen((payload["id"], payload["pending"])))
        url = f"ws://127.0.0.1:{cs.port}"
        with ChargePoint("CP1", url=url, protocols=["ocpp2.1"], enforce_registration=False) as cp:

            def send(sender: int) -> None:
                for number in range(40):
                    data: Any = [{"t": number / 8, "v": str(number) * number}]
                    stream: Any = {"id": sender, "pending": number, "basetime": "2025-01-31T12:00:00Z", "data": data}
                    cp.send("NotifyPeriodicEventStream", stream)

            for future in [background(send, sender) for sender in range(8)]:
                future.result(DEADLINE)
            items = seen.wait(320)
    assert [[number for sender, number in items if sender == wanted] for wanted in range(8)] == [list(range(40))] * 8

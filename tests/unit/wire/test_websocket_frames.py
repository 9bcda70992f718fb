"""Whole text messages and pings past wsproto: what it would have made of the same bytes, however they are split."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire import frame
from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import Ping, Pong, TextMessage

from ocppsync.wire.websocket_frames import PING, PONG, TEXT, Control, FrameReader, mask, whole_frame

LIMIT = 70_000
TEXTS = ["", "x", "é" * 62, "x" * 125, "x" * 126, "€" * 1000, "x" * 65535, "x" * 65536, "𝄞" * 17500]


def read(reader: FrameReader, *pieces: bytes) -> list[str | Control | bytes]:
    found = []
    for piece in pieces:
        got = reader.next(piece)
        while got is not None:
            found.append(got)
            got = reader.next()
    return found


@pytest.mark.parametrize("text", TEXTS, ids=len)
@pytest.mark.parametrize("masked", [True, False])
def test_a_text_comes_out_as_it_went_in(text: str, masked: bool) -> None:
    reader = FrameReader(masked=masked, limit=LIMIT)
    assert read(reader, whole_frame(TEXT, text.encode(), masked=masked) * 2) == [text, text]


@pytest.mark.parametrize("text", TEXTS, ids=len)
def test_wsproto_reads_what_is_written(text: str) -> None:
    for kind, masked in ((ConnectionType.SERVER, True), (ConnectionType.CLIENT, False)):
        peer = Connection(kind)
        peer.receive_data(whole_frame(TEXT, text.encode(), masked=masked) + whole_frame(PING, b"p", masked=masked))
        *parts, ping = peer.events()
        assert "".join(part.data for part in parts if isinstance(part, TextMessage)) == text
        assert isinstance(ping, Ping)
        assert ping.payload == b"p"


def test_masks_differ_from_frame_to_frame() -> None:
    assert len({whole_frame(TEXT, b"hello", masked=True) for _ in range(20)}) > 1


@given(data=st.binary(max_size=300), key=st.binary(min_size=4, max_size=4))
def test_masking_is_what_the_specification_says(data: bytes, key: bytes) -> None:
    assert mask(data, key) == bytes(byte ^ key[index % 4] for index, byte in enumerate(data))


def test_pings_and_pongs() -> None:
    reader = FrameReader(masked=True, limit=LIMIT)
    assert read(reader, frame(PING, b"abc") + frame(PONG) + frame(1, "x")) == [
        Control(PING, b"abc"),
        Control(PONG),
        "x",
    ]


@pytest.mark.parametrize("size", [2, 200, 65536])
def test_a_text_comes_out_whole_wherever_its_frame_is_cut(size: int) -> None:
    text = "x" * size
    data = frame(1, text)
    for cut in range(1, 20 if size > 20 else len(data)):
        assert read(FrameReader(masked=True, limit=LIMIT), data[:cut], data[cut:]) == [text]


def test_what_follows_in_a_message_of_wsprotos_is_its_too_though_it_looks_like_a_text() -> None:
    odd, inner = frame(1, b"12345678", fin=False), frame(1, "x")
    assert read(FrameReader(masked=True, limit=LIMIT), odd[:-8], inner) == [odd[:-8], inner]


def test_a_close_is_wsprotos_and_what_follows_as_well() -> None:
    close, after = frame(8, b"\x03\xe8"), frame(1, "x")
    assert read(FrameReader(masked=True, limit=LIMIT), close + after) == [close, after]


@pytest.mark.parametrize(
    "odd",
    [
        frame(1, "x", fin=False),
        frame(0, "x"),
        frame(2, "x"),
        frame(3, "x"),
        frame(1, "x", reserved=4),
        frame(PING, "x", reserved=1),
        frame(PING, "x", fin=False),
        frame(PING, "x" * 126),
        frame(1, "x", masked=False),
        frame(1, b"\xff"),
        frame(1, b"\xed\xa0\x80"),
        frame(1, "x" * (LIMIT + 1)),
        frame(1, length=2**63),
        b"\x81\xfe\x00\x7d" + b"\0\0\0\0" + b"x" * 125,
        b"\x81\xff\0\0\0\0\0\0\xff\xff" + b"\0\0\0\0" + b"x" * 65535,
    ],
    ids=[
        "fragment",
        "continuation",
        "binary",
        "unknown",
        "compressed",
        "ping with a reserved bit",
        "fragmented ping",
        "long ping",
        "unmasked",
        "not UTF-8",
        "surrogate",
        "too long",
        "endless",
        "length of two bytes for one",
        "length of eight bytes for two",
    ],
)
def test_anything_else_is_wsprotos_with_all_that_follows(odd: bytes) -> None:
    reader = FrameReader(masked=True, limit=LIMIT)
    after = frame(1, "after")
    got = read(reader, frame(1, "before") + odd + after)
    assert got[0] == "before"
    assert b"".join(got[1:]) == odd + after  # type: ignore[arg-type]


def test_a_client_takes_no_masked_frames() -> None:
    masked = frame(1, "x")
    assert read(FrameReader(masked=False, limit=LIMIT), masked) == [masked]


@pytest.mark.parametrize("opcode", [PING, PONG, 8])
def test_a_control_frame_passes_once_it_is_whole(opcode: int) -> None:
    reader = FrameReader(masked=True, limit=LIMIT)
    data = frame(opcode, b"hello")
    for index in range(len(data) - 1):
        assert read(reader, data[index : index + 1]) == []
    (whole,) = read(reader, data[-1:])
    assert whole == (data if opcode == 8 else Control(opcode, b"hello"))


PARTS = st.one_of(
    st.builds(lambda text: frame(1, text), st.text(max_size=200)),
    st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    st.builds(lambda data: frame(1, data), st.binary(max_size=10)),
    st.builds(
        lambda opcode, data, fin, masked: frame(opcode, data, fin=fin, masked=masked),
        st.integers(0, 15),
        st.binary(max_size=130),
        st.booleans(),
        st.booleans(),
    ),
    st.binary(max_size=5),
)


@example(parts=[frame(8), frame(1)], cuts=[])
@example(parts=[b"\x81\x93" + bytes(4) + b"\xff"], cuts=[])
@example(parts=[frame(1, "x", fin=False), frame(PING), frame(0, "y"), frame(1, "z")], cuts=[3, 9])
@given(parts=st.lists(PARTS, max_size=8), cuts=st.lists(st.integers(0, 500), max_size=5))
def test_together_they_read_what_wsproto_reads_alone(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    alone = Connection(ConnectionType.SERVER)
    alone.receive_data(stream)
    reader, judge = FrameReader(masked=True, limit=LIMIT), Connection(ConnectionType.SERVER)
    found: list[Any] = []
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in itertools.pairwise(edges):
        for got in read(reader, stream[start:end]):
            if isinstance(got, bytes):
                judge.receive_data(got)
                found += seen(judge)
            else:
                found.append(got if isinstance(got, str) else ("ping" if got.opcode == PING else "pong", got.payload))
    if reader.buffer and judge.state is ConnectionState.OPEN:
        # Our reader waits for the whole frame; wsproto judges the part that has come.
        judge.receive_data(bytes(reader.buffer))
        found += seen(judge)
    assert joined(found) == joined(seen(alone))


def seen(judge: Connection) -> list[Any]:
    """What wsproto tells, as far as somebody could tell the difference."""
    found: list[Any] = []
    for event in judge.events():
        if isinstance(event, TextMessage):
            found.append((event.data, event.message_finished))
        elif isinstance(event, (Ping, Pong)):
            found.append((type(event).__name__.lower(), bytes(event.payload)))
        else:
            found.append((type(event).__name__, getattr(event, "code", None)))
    return found


def joined(found: list[Any]) -> list[Any]:
    """Texts whole, wherever wsproto has cut them; one that was never finished counts for nothing."""
    result: list[Any] = []
    text = ""
    for item in found:
        if isinstance(item, str):
            result.append(item)
        elif isinstance(item[1], bool):
            text += item[0]
            if item[1]:
                result.append(text)
                text = ""
        elif item[0] != "BytesMessage" or item not in result[-1:]:  # wsproto gives it out as it comes, in pieces
            result.append(item)
    return result

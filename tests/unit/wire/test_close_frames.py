"""Close codes: what may be received may be sent, and the other way round (RFC 6455 §7.4)."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from ends import OFFER, Connected, open_connection
from wire import CLOSE, close_payload, frame
from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection

from ocppsync import CentralSystem, ChargePoint
from ocppsync.testing import FakeChargePoint
from ocppsync.threads.timer import Timer
from ocppsync.wire.close_frames import CloseFrames
from ocppsync.wire.transport import CloseCode, check_close_code, is_close_code

ON_THE_WIRE = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
CODES = [*range(900, 5100), 0, 1, 65535]


@pytest.fixture
def connected(timer: Timer, background: Callable[..., Future[Any]]) -> Connected:
    return functools.partial(open_connection, timer, background)


def received(code: int) -> int | None:
    """Return the code of a Close that is read; None if it breaks the protocol."""
    codes = CloseFrames()
    wsproto = Connection(ConnectionType.SERVER, [codes])
    wsproto.receive_data(frame(CLOSE, close_payload(code, "why")))
    (event,) = wsproto.events()
    assert isinstance(event, CloseConnection)
    if wsproto.state is ConnectionState.OPEN:
        assert event.code == CloseCode.PROTOCOL_ERROR
        assert str(code) in (event.reason or "")
        return None
    assert event.reason == "why"
    return codes.code


def may_be_sent(code: int) -> bool:
    try:
        check_close_code(code)
    except ValueError:
        return False
    return True


def test_one_table_serves_both_ways() -> None:
    assert {code for code in CODES if is_close_code(code)} == ON_THE_WIRE
    assert {code for code in CODES if may_be_sent(code)} == ON_THE_WIRE
    assert {code for code in CODES if received(code) == code} == ON_THE_WIRE
    assert {code for code in CODES if received(code) is not None} == ON_THE_WIRE


@pytest.mark.parametrize("code", [-1, 2**16, 2**70, 1000.0, 3000.5, "1000", None])
def test_what_is_no_code_is_not_sent(code: Any) -> None:
    assert not may_be_sent(code)


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1015, 2999, 5000, 70000])
def test_no_end_sends_a_code_that_must_not_be_sent(code: int) -> None:
    with CentralSystem(0, host="127.0.0.1") as cs, ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}") as cp:
        for close in (
            functools.partial(cs.close_connection, "CP1"),
            functools.partial(cs.close_connection, "nobody"),
            cp.close,
            cp.disconnect,
            FakeChargePoint(cs, "CP2").close,
        ):
            with pytest.raises(ValueError, match=f"{code} is not a valid close code: expected 1000 to 1003, 1007"):
                close(code)
        assert cp.connected


def test_a_close_on_a_compressed_connection(connected: Connected) -> None:
    with connected(compression=True, changes=OFFER) as (end, peer):
        peer.send_frame(CLOSE, struct.pack("!H", 1014) + b"bad gateway")
        assert peer.read_close() == (1014, "bad gateway")
        assert end.wait_for_end() == 1014


def test_a_ping_is_no_close(connected: Connected) -> None:
    with connected(compression=True, changes=OFFER) as (_, peer):
        peer.send_frame(0x1, b"", fin=False)  # wsproto reads from here on
        peer.send_frame(0x9, close_payload(1005))
        assert peer.read_frame().payload == close_payload(1005)

"""How our client begins a WebSocket with a raw server, and what it then does."""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from certificates import Authority
from ends import BIG, WRONG_PARAMETERS, End, OurClient, connect, deflate, open_our_client
from wire import (
    CLOSE,
    DEADLINE,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    accept,
    accept_token,
    close_payload,
    frame,
    listening,
)

from ocppsync import HandshakeError
from ocppsync.threads.timer import Timer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def our_client(timer: Timer, background: Callable[..., Future[Any]]) -> OurClient:
    return functools.partial(open_our_client, timer, background)


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


def test_a_message_in_the_segment_of_the_answer_is_delivered_at_once(our_client: OurClient) -> None:
    with our_client(extra=frame(TEXT, "early", masked=False)) as (end, _, _):
        assert end.messages.wait() == ["early"]


def test_a_close_in_the_segment_of_the_answer_is_read_like_any_other(our_client: OurClient) -> None:
    with our_client(extra=frame(TEXT, "bye", masked=False) + frame(CLOSE, close_payload(1014), masked=False)) as (
        end,
        peer,
        _,
    ):
        assert peer.read_close() == (1014, "")
        assert end.wait_for_end() == 1014
        assert end.messages.items == ["bye"]


@pytest.mark.parametrize("end_of_line", ["\r\n", "\n"])
def test_the_end_of_the_answer_is_found_where_h11_finds_it(
    background: Callable[..., Future[Any]], timer: Timer, end_of_line: str
) -> None:
    with listening() as listener:
        connecting = background(connect, listener.getsockname()[1])
        with accept(listener) as peer:
            answer = raw_answer(peer, ["Sec-WebSocket-Protocol: ocpp1.6"]).replace("\r\n", end_of_line)
            peer.send(answer.encode() + frame(TEXT, "early", masked=False))
            end = End(connecting.result(DEADLINE), timer, DEADLINE)
            assert end.messages.wait() == ["early"]
            end.websocket.abort()
            assert end.ended.wait(DEADLINE)


def raw_answer(peer: Peer, lines: list[str]) -> str:
    """Read a request and return the 101 for it, with more lines."""
    key = peer.read_until(b"\r\n\r\n").decode().partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
    head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    return "\r\n".join([*head, f"Sec-WebSocket-Accept: {accept_token(key)}", *lines, "", ""])


def test_our_client_masks_and_answers(our_client: OurClient) -> None:
    with our_client() as (end, peer, _):
        end.websocket.send_nowait("hello")
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
        *({"Sec_WebSocket_Extensions": f"permessage-deflate; {wrong}"} for wrong in WRONG_PARAMETERS),
        {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"},
        {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits=8"},
        {"Sec_WebSocket_Extensions": "permessage-deflate, permessage-deflate"},
        {"Sec_WebSocket_Extensions": "permessage-deflate, x-unheard-of"},
        {"Sec_WebSocket_Extensions": "x-unheard-of"},
        {"Upgrade": "h2c"},
        {"Connection": "close"},
    ],
    ids=str,
)
def test_our_client_refuses_an_answer_that_is_not_right(our_client: OurClient, changes: dict[str, str]) -> None:
    with pytest.raises(HandshakeError, match="the handshake failed: "), our_client(changes=changes, compression=True):
        pass


def test_our_client_refuses_an_answer_with_two_headers_of_extensions(background: Callable[..., Future[Any]]) -> None:
    with listening() as listener:
        connecting = background(connect, listener.getsockname()[1], compression=True)
        with accept(listener) as peer:
            lines = ["Sec-WebSocket-Extensions: x-unheard-of", "sec-websocket-extensions: permessage-deflate"]
            peer.send(raw_answer(peer, lines).encode())
            with pytest.raises(HandshakeError, match="the handshake failed: "):
                connecting.result(DEADLINE)


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "; server_no_context_takeover",
        "; client_no_context_takeover;server_no_context_takeover",
        "; server_max_window_bits=8",
        "; client_max_window_bits=9; server_max_window_bits=9",
        ";client_max_window_bits = 15",
    ],
)
def test_our_client_takes_an_answer_that_is_right(our_client: OurClient, parameters: str) -> None:
    changes = {"Sec_WebSocket_Extensions": f"permessage-deflate{parameters}"}
    with our_client(changes=changes, compression=True) as (end, peer, _):
        for count in (1, 2):
            peer.send_frame(TEXT, deflate(b"compressed" * 9), reserved=4)
            assert end.messages.wait(count) == ["compressed" * 9] * count
        end.websocket.send_nowait("compressed" * 9)
        assert peer.read_frame().reserved == 4


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


def test_our_client_over_tls(background: Callable[..., Future[Any]], authority: Authority, timer: Timer) -> None:
    with listening() as listener:
        connecting = background(connect, listener.getsockname()[1], context=authority.client_context())
        with accept(listener, ssl_context=authority.server_context()) as peer:
            peer.answer_upgrade(extra=frame(TEXT, BIG, masked=False))
            end = End(connecting.result(DEADLINE), timer, DEADLINE)
            assert end.messages.wait() == [BIG]
            end.websocket.send_nowait(BIG)
            assert peer.read_text() == BIG
            peer.send_close()
            assert end.wait_for_end() == 1000

"""A charge point's URL, with its identity in it (J16 §3.1.1)."""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from certificates import Authority
from wire import listening

from ocppsync import CentralSystem, ChargePoint, HandshakeError
from ocppsync.wire import endpoint as endpoint_module
from ocppsync.wire.endpoint import Endpoint, open_websocket
from ocppsync.wire.http import identity_of
from ocppsync.wire.streams import TLSStream


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "host_header", "target"),
    [
        ("ws://example", False, "example", 80, "example", "/CP1"),
        ("ws://example/", False, "example", 80, "example", "/CP1"),
        ("ws://example:9000", False, "example", 9000, "example:9000", "/CP1"),
        ("wss://example", True, "example", 443, "example", "/CP1"),
        ("wss://example:9000/ocpp", True, "example", 9000, "example:9000", "/ocpp/CP1"),
        ("WS://example/ocpp/", False, "example", 80, "example", "/ocpp/CP1"),
        ("ws://example/a/b//", False, "example", 80, "example", "/a/b/CP1"),
        ("ws://127.0.0.1:1/x", False, "127.0.0.1", 1, "127.0.0.1:1", "/x/CP1"),
        ("ws://[::1]:9000/x", False, "::1", 9000, "[::1]:9000", "/x/CP1"),
        ("ws://example/x?key=a%20b&c", False, "example", 80, "example", "/x/CP1?key=a%20b&c"),
        ("ws://example?a=/?", False, "example", 80, "example", "/CP1?a=/?"),
        ("ws://example/a%20b%2Fc", False, "example", 80, "example", "/a%20b%2Fc/CP1"),
        ("ws://example/a b/ü?q=ü x", False, "example", 80, "example", "/a%20b/%C3%BC/CP1?q=%C3%BC%20x"),
        ("ws://user:word@example:9000/x", False, "example", 9000, "example:9000", "/x/CP1"),
    ],
)
def test_urls(url: str, secure: bool, host: str, port: int, host_header: str, target: str) -> None:
    endpoint = Endpoint(url, "CP1")
    assert (endpoint.secure, endpoint.host, endpoint.port) == (secure, host, port)
    assert (endpoint.host_header, endpoint.target) == (host_header, target)
    assert endpoint.url == f"{'wss' if secure else 'ws'}://{host_header}{target}"
    path, _, query = target.partition("?")
    request = endpoint.http_request
    assert (request.method, request.path, request.query) == ("GET", path, query)
    assert (dict(request.headers), request.remote_address) == ({}, (host, port))
    assert target.isascii()
    assert " " not in target


@pytest.mark.parametrize(
    ("identity", "segment"),
    [
        ("CP1", "CP1"),
        ("RDAM 123", "RDAM%20123"),
        ("RDAM|123", "RDAM%7C123"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a+b", "a+b"),
        ("*-_=:+@.~", "*-_=:+@.~"),
        ("Säule", "S%C3%A4ule"),
        ("\U0001f50c", "%F0%9F%94%8C"),
        ("/", "%2F"),
    ],
)
def test_identities_are_encoded_so_that_the_other_end_reads_them(identity: str, segment: str) -> None:
    endpoint = Endpoint("ws://example/ocpp?x=/y", identity)
    assert endpoint.target == f"/ocpp/{segment}?x=/y"
    assert identity_of(endpoint.http_request.path) == identity


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example",
        "example:9000",
        "//example",
        "http://example",
        "https://example",
        "ws:example",
        "ws://",
        "ws:///path",
        "ws://:9000",
        "ws://example/#part",
        "ws://a..b:9000",
        "ws://.example",
        f"ws://{'a' * 64}.example",
        "ws://example:0",
        "ws://example:65536",
        "ws://example:port",
        "ws://[::1",
    ],
)
def test_what_is_no_url(url: Any) -> None:
    with pytest.raises(ValueError):
        Endpoint(url, "CP1")


def test_a_url_of_another_kind_is_named() -> None:
    with pytest.raises(ValueError, match=r"invalid URL 'http://example': expected one such as ws://host:port/path"):
        Endpoint("http://example", "CP1")


def test_an_identity_is_needed() -> None:
    with pytest.raises(ValueError, match="identity"):
        Endpoint("ws://example", "")


@pytest.mark.parametrize("identity", ["", "CP1\n", "\x1b[2J", "\ud83d", "x" * 256])
def test_an_identity_that_no_central_system_takes_is_refused(identity: str) -> None:
    with pytest.raises(ValueError, match="the identity of the charge point") as caught:
        Endpoint("ws://127.0.0.1", identity)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("identity", ["x" * 48, "RDAM|123", "azAZ09*-_=+|@."])
def test_an_identity_of_2x(identity: str) -> None:
    assert Endpoint("ws://127.0.0.1", identity, any_identity=False).charge_point_id == identity


@pytest.mark.parametrize(
    ("identity", "fault"),
    [
        ("x" * 49, "has 49 characters; OCPP 2.0.1 and 2.1 allow 48"),
        *((f"CP{odd}1", f"contains {odd!r}; OCPP 2.0.1 and 2.1 allow letters") for odd in ":/ %~ä#?\U0001f50c"),
        ("CP1\n", "contains control characters"),
        ("", "is empty"),
    ],
)
def test_what_is_no_identity_of_2x(identity: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"the identity of the charge point {fault}")):
        Endpoint("ws://127.0.0.1", identity, any_identity=False)


@pytest.mark.parametrize(
    "url",
    ["http://user:s3cret@host/?s3cret", "ws://user:s3/c?r#et@host:x/", "ws://host/?token=s3cret#part"],
)
def test_an_error_shows_no_credentials_of_a_url(url: str) -> None:
    with pytest.raises(ValueError, match="invalid URL") as caught:
        Endpoint(url, "CP1")
    assert "s3" not in str(caught.value)


def addresses_of(sockets: Sequence[socket.socket]) -> Callable[..., list[Any]]:
    """Return a replacement of `socket.getaddrinfo` for a host with these addresses."""
    found = [(sock.family, sock.type, sock.proto, "", sock.getsockname()) for sock in sockets]
    return lambda *_: found


def test_all_addresses_of_a_host_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Silent(socket.socket):
        """Its other end never answers."""

        def connect(self, address: object) -> None:
            nonlocal now
            now += self.gettimeout() or math.inf
            raise TimeoutError

    with listening() as listener, monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", addresses_of([listener] * 3))
        patch.setattr(socket, "socket", Silent)
        patch.setattr(endpoint_module, "time", SimpleNamespace(monotonic=lambda: now))
        with pytest.raises(HandshakeError, match="cannot connect to example:80"):
            open_websocket(
                Endpoint("ws://example", "CP1"),
                deadline=6.0,
                subprotocols=["ocpp1.6"],
                write_timeout=1.0,
                max_message_size=1000,
                name="CP1",
            )
    assert now == pytest.approx(6.0)


def test_the_next_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed, CentralSystem(0, host="127.0.0.1") as cs:
        found = [*addresses_of([closed])(), (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", cs.port))]
        closed.close()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        with ChargePoint("CP1", url="ws://example"):
            assert cs.charge_points == ["CP1"]


def test_an_interrupt_during_the_tls_handshake_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed: list[socket.socket] = []

    def interrupt(stream: TLSStream, deadline: float) -> None:
        closed.append(stream._socket)
        raise KeyboardInterrupt

    monkeypatch.setattr(TLSStream, "handshake", interrupt)
    with listening() as listener:
        context = Authority(tmp_path).client_context()
        cp = ChargePoint("CP1", url=f"wss://localhost:{listener.getsockname()[1]}", ssl_context=context)
        with pytest.raises(KeyboardInterrupt):
            cp.connect()
    assert closed[0].fileno() == -1

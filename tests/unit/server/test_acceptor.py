"""The opening handshake over real sockets: who is let in, what the others are answered, and what the log says."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from certificates import Authority
from ends import acceptor_options
from support import Recorder
from wire import DEADLINE, PING, TEXT, Frame, Response, close_payload, dial, frame, listening, request

from ocppsync import Limits, Timeouts
from ocppsync.server import acceptor as acceptor_module
from ocppsync.server.acceptor import Acceptor, UpgradedConnection
from ocppsync.server.admission import AdmissionPolicy
from ocppsync.server.listener import Listener
from ocppsync.wire import streams


class Door:
    """A acceptor behind a listener on a free port, and what became of its visitors."""

    def __init__(self, gate: AdmissionPolicy, settings: dict[str, Any]) -> None:
        self.acceptor = Acceptor(gate, **settings)
        self.outcomes = Recorder()
        """A `UpgradedConnection` or None for every connection whose handshake is over."""
        self._listener = Listener("127.0.0.1", 0)
        self.port = self._listener.port
        self._listener.start(self._receive)

    def _receive(self, sock: socket.socket) -> None:
        threading.Thread(target=self._accept, args=(sock,), name="test-desk").start()

    def _accept(self, sock: socket.socket) -> None:
        visitor = self.acceptor.accept(sock)
        self.outcomes(visitor)
        if visitor is not None:
            visitor.websocket.open()

    def close(self) -> None:
        self._listener.close()
        self.acceptor.close()
        for visitor in self.outcomes.items:
            if visitor is not None:
                visitor.websocket.abort()
                visitor.websocket.release()

    def ask(self, data: bytes) -> Response:
        """Send a request, read the answer, and see the connection closed after it."""
        with dial(self.port) as peer:
            response = peer.ask(data)
            assert peer.read_rest() == b""
        return response

    def visit(self, data: bytes) -> UpgradedConnection:
        """Send a request that is let in, and return who came."""
        with dial(self.port) as peer:
            assert peer.ask(data).status == 101
            return cast(UpgradedConnection, self.outcomes.wait()[0])


Doors = Callable[..., contextlib.AbstractContextManager[Door]]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Doors]:
    """Opens a desk. Options: those of `AdmissionPolicy` and of `Acceptor`."""
    # A peer that has read why it was refused, and stays, is waited for so long.
    monkeypatch.setattr(streams, "_LINGER", 0.2)
    caplog.set_level(logging.INFO, "ocppsync")
    before = threading.enumerate()

    @contextlib.contextmanager
    def desk(**options: Any) -> Iterator[Door]:
        limits: Limits = options.pop("limits", Limits())
        limits = replace(limits, handshakes=None, handshakes_per_address=None, message_size=1000)
        timeouts = replace(options.pop("timeouts", Timeouts(handshake=DEADLINE)), write=DEADLINE)
        settings = acceptor_options(limits=limits, timeouts=timeouts)
        known = ("limiter", "client_address", "ssl_context", "on_raw_socket_data", "observe")
        settings |= {name: options.pop(name) for name in known if name in options}
        opened = Door(AdmissionPolicy(**{"protocols": ("ocpp1.6",), **options}), settings)
        try:
            yield opened
        finally:
            opened.close()

    yield desk
    for thread in threading.enumerate():
        if thread not in before:
            thread.join(DEADLINE)
            assert not thread.is_alive(), f"{thread} was left behind"


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """The log lines, with the peer's port as ``PORT``."""
    texts = [record.getMessage() for record in caplog.records if record.levelno >= level]
    return [re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text) for text in texts]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


# Those who are let in.


def test_a_request_is_upgraded(desk: Doors) -> None:
    with desk() as opened, dial(opened.port) as peer:
        response = peer.upgrade("/ocpp/CP%201?token=x", X_More="yes")
        headers = dict(response.headers)
        assert headers.pop("Upgrade").lower() == "websocket"
        assert headers == {
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "Sec-WebSocket-Protocol": "ocpp1.6",
        }
        assert (response.reason, response.body) == ("Switching Protocols", "")
        visitor = opened.outcomes.wait()[0]
        assert (visitor.decision.charge_point_id, visitor.decision.subprotocol) == ("CP 1", "ocpp1.6")
        seen = visitor.http_request
        assert (seen.method, seen.path, seen.query) == ("GET", "/ocpp/CP%201", "token=x")
        assert seen.headers["x-more"] == "yes"
        assert seen.remote_address == peer.sock.getsockname()
        peer.send_text("hello")
        assert visitor.websocket.receive() == "hello"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(Connection=None), id="no Connection header"),
        pytest.param(request(Connection="keep-alive, UPGRADE"), id="Connection with more"),
        pytest.param(request(Upgrade="h2c, WebSocket"), id="Upgrade with more"),
        pytest.param(request("ws://anyhost:9000/CP1?a=b"), id="absolute form"),
        pytest.param(request("/CP1/"), id="trailing slash"),
        pytest.param(request(X_Latin="é"), id="Latin-1"),
        pytest.param(request().replace(b"Host: ", b"Host:"), id="no space after the colon"),
        pytest.param(request().replace(b"Host: ", b"hOST: \t "), id="more space after the colon"),
    ],
)
def test_unusual_requests_are_upgraded(desk: Doors, data: bytes) -> None:
    with desk() as opened:
        assert opened.visit(data).decision.charge_point_id == "CP1"


@pytest.mark.parametrize(
    ("offer", "options", "chosen", "announced"),
    [
        ("other, ocpp1.6", {}, "ocpp1.6", "ocpp1.6"),
        ("other", {}, None, None),
        (None, {}, None, None),
        (None, {"default_protocol": "ocpp1.6"}, "ocpp1.6", None),
        ("other", {"default_protocol": "ocpp1.6"}, None, None),
    ],
)
def test_the_subprotocol(
    desk: Doors, offer: str | None, options: dict[str, str], chosen: str | None, announced: str | None
) -> None:
    with desk(**options) as opened, dial(opened.port) as peer:
        response = peer.upgrade(Sec_WebSocket_Protocol=offer)
        assert response.header("Sec-WebSocket-Protocol") == announced
        assert opened.outcomes.wait()[0].decision.subprotocol == chosen


def test_authorize_decides_before_the_upgrade(desk: Doors) -> None:
    asked = Recorder()
    decide = threading.Event()

    def authorize(http_request: Any, charge_point_id: str) -> bool:
        asked(charge_point_id, http_request.basic_credentials)
        return decide.wait(DEADLINE)

    with desk(authorize=authorize) as opened, dial(opened.port) as peer:
        peer.send(request(Authorization="Basic Q1AxOnNlY3JldA=="))
        assert asked.wait() == [("CP1", (b"CP1", b"secret"))]
        peer.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            peer.sock.recv(1)
        decide.set()
        assert peer.read_response().status == 101


def test_a_message_behind_the_request_stays_in_the_stream(desk: Doors) -> None:
    with desk() as opened, dial(opened.port) as peer:
        peer.send(request() + frame(TEXT, "early") + frame(PING, "x"))
        assert opened.outcomes.wait()[0].websocket.receive() == "early"


# Those who are not.

CLOSING = [("Connection", "close")]
UPGRADE = [("Connection", "Upgrade, close"), ("Upgrade", "websocket")]
NO_KEY = "the Sec-WebSocket-Key header is missing or is not 16 bytes in base64"
NO_IDENTITY = "the path has no charge point identity"


@pytest.mark.parametrize(
    ("data", "status", "reason", "headers"),
    [
        pytest.param(
            request("/CP1", "POST"), 405, "the method is POST, expected GET", [*CLOSING, ("Allow", "GET")], id="POST"
        ),
        pytest.param(request(Upgrade=None), 426, "plain HTTP, not a WebSocket", UPGRADE, id="plain GET"),
        pytest.param(
            request(Sec_WebSocket_Version="8"),
            426,
            "the WebSocket version is not 13",
            [*UPGRADE, ("Sec-WebSocket-Version", "13")],
            id="old version",
        ),
        pytest.param(
            request(Sec_WebSocket_Version=None),
            426,
            "the WebSocket version is not 13",
            [*UPGRADE, ("Sec-WebSocket-Version", "13")],
            id="no version",
        ),
        pytest.param(
            request(Upgrade="h2c"), 400, "the Upgrade header does not contain 'websocket'", CLOSING, id="other upgrade"
        ),
        pytest.param(
            request(Connection="close"),
            400,
            "the Connection header does not contain 'Upgrade'",
            CLOSING,
            id="no upgrade",
        ),
        pytest.param(request(Host=None), 400, "expected exactly one Host header", CLOSING, id="no Host"),
        pytest.param(
            request().replace(b"Host: ", b"Host: b\r\nhost: "),
            400,
            "expected exactly one Host header",
            CLOSING,
            id="two Hosts",
        ),
        pytest.param(request(Sec_WebSocket_Key=None), 400, NO_KEY, CLOSING, id="no key"),
        pytest.param(request(Sec_WebSocket_Key="c2hvcnQ="), 400, NO_KEY, CLOSING, id="short key"),
        pytest.param(request(Sec_WebSocket_Key="not base64 at all"), 400, NO_KEY, CLOSING, id="bad key"),
        pytest.param(request("/"), 404, NO_IDENTITY, CLOSING, id="no identity"),
        pytest.param(request("/ocpp//"), 404, NO_IDENTITY, CLOSING, id="empty identity"),
        pytest.param(request("/%ff"), 400, "the identity in the path is not UTF-8", CLOSING, id="identity no UTF-8"),
        pytest.param(
            request("/CP1%0d%0aSet-Cookie:%20x"),
            400,
            "the identity in the path contains control characters",
            CLOSING,
            id="CRLF in the identity",
        ),
        pytest.param(
            request("/CP1%00"),
            400,
            "the identity in the path contains control characters",
            CLOSING,
            id="NUL in the identity",
        ),
    ],
)
def test_the_body_of_a_refusal_is_only_its_status(
    desk: Doors,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
    status: int,
    reason: str,
    headers: list[tuple[str, str]],
) -> None:
    with desk() as opened:
        response = opened.ask(data)
        body = f"{status} {response.reason}\n"
        content = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        assert (response.status, response.body) == (status, body)
        assert sorted(response.headers) == sorted([*headers, *content])
        path = data.split(b" ", 2)[1].decode()
        assert lines(caplog) == [f"refused 127.0.0.1:PORT {path} with HTTP {status}: {reason}"]
        assert opened.outcomes.wait() == [None]


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"GET /CP1 HTTP/1.0\r\n\r\n", 505, "unsupported HTTP version 'HTTP/1.0'; expected HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\n", 505, "unsupported HTTP version 'HTTP/2.0'; expected HTTP/1.1"),
        (b"GET /CP1 SMTP\r\n\r\n", 400, "unsupported HTTP version 'SMTP'; expected HTTP/1.1"),
        (b"\r\n\r\n", 400, "invalid HTTP request line: 0 characters"),
        (b"GET /CP1\r\n\r\n", 400, "invalid HTTP request line: 'GET /CP1'"),
        (b"GET /CP 1 HTTP/1.1\r\n\r\n", 400, "invalid HTTP request line: 'GET /CP'"),
        (b"GET /\x1b[31m HTTP/1.1\r\n\r\n", 400, r"invalid HTTP request line: 'GET /\x1b[31m'"),
        (b"GET /\rSet-Cookie:x HTTP/1.1\r\n\r\n", 400, r"invalid HTTP request line: 'GET /\rSet-Cookie:x'"),
        (b"GET /CP\xc3\xa9 HTTP/1.1\r\n\r\n", 400, "invalid HTTP request line: 'GET /CPÃ©'"),
        (b"GET CP1 HTTP/1.1\r\n\r\n", 400, "no path in the request line: 'CP1'"),
        (b"GET ftp://host/CP1 HTTP/1.1\r\n\r\n", 400, "no path in the request line: 'ftp://host/CP1'"),
        (request(X_Bad="a\nb"), 400, "line 8 of the request is not a valid HTTP header"),
        (request(X_Bad="a\rb"), 400, "line 8 of the request is not a valid HTTP header"),
        (request(X_Bad="a\0b"), 400, "line 8 of the request is not a valid HTTP header"),
        (request().replace(b"Host:", b"Host :"), 400, "line 2 of the request is not a valid HTTP header"),
        (request().replace(b"Host:", b"Host"), 400, "line 2 of the request is not a valid HTTP header"),
        (request().replace(b"Host:", b":"), 400, "line 2 of the request is not a valid HTTP header"),
        (request(Authorization="Basic\r\n c2VjcmV0"), 400, "line 9 of the request is not a valid HTTP header"),
    ],
)
def test_an_invalid_request_is_refused_before_authorize(
    desk: Doors, caplog: pytest.LogCaptureFixture, data: bytes, status: int, reason: str
) -> None:
    with desk(authorize=lambda http_request, charge_point_id: pytest.fail("authorize was called")) as opened:
        assert opened.ask(data).status == status
        assert lines(caplog) == [f"refused 127.0.0.1:PORT - with HTTP {status}: {reason}"]


@pytest.mark.parametrize(
    "line",
    [
        b"GET /CP1?token=s3cret",
        b"GET /CP1?token=s3cret HTTP/1.0",
        b"GET /CP1?token=s3cret HTTP/1.1 ",
        b"GET /CP1?token= s3cret",
        b"GET /CP1?token= s3cret HTTP/1.1",
        b"GET  /CP1?token=s3cret HTTP/1.1",
        b"GET\t/CP1?token=s3cret HTTP/1.1",
        b"GET /\xff?token=s3cret HTTP/1.1",
        b"GET ?token=s3cret HTTP/1.1",
        b"GET CP1?token=s3cret HTTP/1.1",
        b"get /CP1?token=s3cret",
        b"s3cret",
        b"POST /CP1?token=s3cret HTTP/1.1",
        b"GET ftp://user:s3cret@host/CP1 HTTP/1.1",
        b"GET http://user:s3cret@host/CP1?token=s3cret HTTP/1.1",
        b"GET http://user:s3/cret@host/?s3cret HTTP/1.0",
        b"Authorization: Basic s3cret",
        b"GET /CP1 HTTP/1.1 Authorization: s3cret",
    ],
)
def test_a_request_line_is_logged_without_its_query(desk: Doors, caplog: pytest.LogCaptureFixture, line: bytes) -> None:
    refused = Recorder()
    with desk(authorize=lambda http_request, charge_point_id: False, observe=refused) as opened:
        opened.ask(request().replace(request().partition(b"\r\n")[0], line))
        assert "s3" not in str(refused.wait())
    assert "s3" not in caplog.text
    assert "refused" in caplog.text


@pytest.mark.parametrize(
    ("verdict", "status", "phrase", "challenge"),
    [
        (False, 401, "Unauthorized", 'Basic realm="ocpp"'),
        (401, 401, "Unauthorized", 'Basic realm="ocpp"'),
        (403, 403, "Forbidden", None),
        (404, 404, "Not Found", None),
        (429, 429, "Too Many Requests", None),
        (503, 503, "Service Unavailable", None),
        (499, 499, "Refused", None),
    ],
)
def test_authorize_refuses(
    desk: Doors, caplog: pytest.LogCaptureFixture, verdict: Any, status: int, phrase: str, challenge: str | None
) -> None:
    with desk(authorize=lambda http_request, charge_point_id: verdict) as opened:
        response = opened.ask(request("/ocpp/CP1?token=secret", Authorization="Basic c2VjcmV0"))
        assert (response.status, response.reason, response.body) == (status, phrase, f"{status} {phrase}\n")
        assert response.header("WWW-Authenticate") == challenge
        assert lines(caplog) == [f"refused 127.0.0.1:PORT /ocpp/CP1 with HTTP {status}: authorize refused 'CP1'"]


@pytest.mark.parametrize("verdict", [None, "yes", 0, 1, 101, 200, 399, 600, 404.0], ids=repr)
def test_an_invalid_result_of_authorize_refuses(desk: Doors, caplog: pytest.LogCaptureFixture, verdict: Any) -> None:
    with desk(authorize=lambda http_request, charge_point_id: verdict) as opened:
        assert opened.ask(request()).status == 500
        assert lines(caplog) == [
            "authorize must return True, False or an HTTP status from 400 to 599, "
            f"not {verdict if isinstance(verdict, int) else type(verdict).__name__}",
            "refused 127.0.0.1:PORT /CP1 with HTTP 500: "
            "authorize returned neither a bool nor an HTTP status from 400 to 599",
        ]


@pytest.mark.parametrize("hook", ["authorize", "identify"])
def test_a_hook_that_raises_refuses_and_the_reason_is_only_logged(
    desk: Doors, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    def fail(*_: object) -> Any:
        raise LookupError("secret of the database")

    with desk(**{hook: fail}) as opened:
        response = opened.ask(request())
        assert (response.status, response.body) == (500, "500 Internal Server Error\n")
        assert "secret" not in str(response.headers)
        assert lines(caplog)[-1] == f"refused 127.0.0.1:PORT /CP1 with HTTP 500: {hook} raised an exception"
        assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize(("identity", "status"), [(None, 404), ("", 404), (7, 500)])
def test_identify_returns_the_identity(desk: Doors, identity: Any, status: int) -> None:
    with desk(identify=lambda http_request: identity) as opened:
        assert opened.ask(request()).status == status
    with desk(identify=lambda http_request: http_request.query) as opened:
        assert opened.visit(request("/?CP2")).decision.charge_point_id == "CP2"


def test_no_common_subprotocol_can_be_refused(desk: Doors, caplog: pytest.LogCaptureFixture) -> None:
    with desk(refuse_unknown_protocol=True) as opened:
        assert opened.ask(request(Sec_WebSocket_Protocol="ocpp2.0.1, x")).status == 400
        assert lines(caplog) == [
            "refused 127.0.0.1:PORT /CP1 with HTTP 400: "
            "no common subprotocol: the client offered ['ocpp2.0.1', 'x']; supported: ['ocpp1.6']"
        ]


def test_a_refused_peer_that_still_writes_can_read_the_response(desk: Doors) -> None:
    with desk(limits=Limits(header_size=1000)) as opened, dial(opened.port) as peer:
        peer.send(b"GET /CP1 HTTP/1.1\r\nX: " + b"x" * 300_000)
        assert peer.read_response().status == 431
        assert peer.read_rest() == b""


def test_a_refused_peer_that_stays_is_disconnected(desk: Doors) -> None:
    with desk() as opened, dial(opened.port) as peer:
        assert peer.ask(request(Upgrade=None)).status == 426
        began = time.monotonic()
        assert opened.outcomes.wait() == [None]
        assert time.monotonic() - began < 2


# Bounds.


@pytest.mark.parametrize("more", [0, 1])
def test_the_size_of_the_head_is_bounded(desk: Doors, caplog: pytest.LogCaptureFixture, more: int) -> None:
    size = len(request(X=""))
    data = request(X="x" * (1000 - size + len("\r\n\r\n") + more))
    with desk(limits=Limits(header_size=1000)) as opened:
        if not more:
            assert opened.visit(data).decision.charge_point_id == "CP1"
            return
        assert opened.ask(data).status == 431
        assert lines(caplog) == ["refused 127.0.0.1:PORT - with HTTP 431: the request head is larger than 1000 bytes"]


def test_a_silent_peer_is_refused_after_the_timeout(desk: Doors, caplog: pytest.LogCaptureFixture) -> None:
    with desk(timeouts=Timeouts(handshake=0.2)) as opened, dial(opened.port) as peer:
        began = time.monotonic()
        assert peer.read_response().status == 408
        assert 0.15 <= time.monotonic() - began < 2
        assert peer.read_rest() == b""
        assert lines(caplog) == ["refused 127.0.0.1:PORT - with HTTP 408: the request did not arrive in time"]


def test_a_peer_that_sends_slowly_is_refused_after_the_timeout(desk: Doors) -> None:
    with desk(timeouts=Timeouts(handshake=0.3)) as opened, dial(opened.port) as peer:
        began = time.monotonic()
        peer.sock.settimeout(0.02)
        for byte in request():
            peer.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                if peer.sock.recv(1, socket.MSG_PEEK):
                    break
        assert peer.read_response().status == 408
        assert 0.25 <= time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "the peer closed the connection"), (b"GET", "the peer closed the connection in the request head")],
)
def test_a_peer_that_disconnects_leaves_one_log_line(
    desk: Doors, caplog: pytest.LogCaptureFixture, data: bytes, said: str
) -> None:
    with desk() as opened:
        with dial(opened.port) as peer:
            peer.send(data)
        assert opened.outcomes.wait() == [None]
        assert lines(caplog) == [f"WebSocket handshake with 127.0.0.1:PORT failed: {said}"]
        assert lines(caplog, logging.WARNING) == []


def test_a_peer_that_resets_leaves_one_log_line(desk: Doors, caplog: pytest.LogCaptureFixture) -> None:
    with desk() as opened:
        with dial(opened.port) as peer:
            peer.send(b"GET")
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert opened.outcomes.wait() == [None]
        assert len(lines(caplog)) == 1
        assert lines(caplog, logging.WARNING) == []


def test_a_peer_that_disconnects_before_its_handshake(desk: Doors, caplog: pytest.LogCaptureFixture) -> None:
    with desk() as opened, listening() as listener:
        with dial(listener.getsockname()[1]) as peer:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock, _ = listener.accept()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert opened.acceptor.accept(sock) is None
        assert sock.fileno() == -1
        (line,) = lines(caplog)
        assert line.startswith("a connection ended before its handshake: ")


def test_close_aborts_handshakes_in_progress(desk: Doors) -> None:
    with desk() as opened, dial(opened.port) as one, dial(opened.port) as other:
        one.send(b"GET /CP1")
        other.send(request(Upgrade=None))
        assert other.read_response().status == 426
        began = time.monotonic()
        opened.acceptor.close()
        assert opened.outcomes.wait(2) == [None, None]
        assert time.monotonic() - began < 2
        assert one.read_rest() == b""
        with dial(opened.port) as late:
            late.wait_for_end()
        assert opened.outcomes.wait(3) == [None] * 3


def test_an_error_in_a_handshake_does_not_affect_others(
    desk: Doors, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk() as opened:
        with monkeypatch.context() as patch, dial(opened.port) as peer:
            patch.setattr(acceptor_module.upgrade, "accept", lambda *_, **__: 1 / 0)
            assert peer.ask(request()).status == 500
            peer.wait_for_end()
        assert lines(caplog) == ["unexpected error in the handshake with 127.0.0.1:PORT"]
        with dial(opened.port) as peer:
            peer.upgrade()


# The hook for raw bytes.


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_the_hook_gets_every_byte_after_tls(desk: Doors, authority: Authority, *, secure: bool) -> None:
    seen: list[bytes] = []
    server, client = (authority.server_context(), authority.client_context()) if secure else (None, None)
    with (
        desk(on_raw_socket_data=seen.append, ssl_context=server) as opened,
        dial(opened.port, ssl_context=client) as peer,
    ):
        peer.upgrade()
        hello = frame(TEXT, "hello")
        peer.send(hello)
        assert opened.outcomes.wait()[0].websocket.receive() == "hello"
        assert b"".join(seen) == request() + hello


def test_a_hook_that_raises_is_logged_and_changes_nothing(desk: Doors, caplog: pytest.LogCaptureFixture) -> None:
    def fail(data: bytes) -> None:
        raise LookupError("of the application")

    with desk(on_raw_socket_data=fail) as opened, dial(opened.port) as peer:
        peer.upgrade()
        assert set(lines(caplog)) == {"127.0.0.1:PORT: on_raw_socket_data failed"}


# TLS.


def test_an_upgrade_over_tls(desk: Doors, authority: Authority) -> None:
    server = authority.server_context(client_certificates=True)
    client = authority.client_context(authority.issue("SN1", hosts=()))
    with desk(ssl_context=server) as opened, dial(opened.port, ssl_context=client) as peer:
        peer.upgrade()
        visitor = opened.outcomes.wait()[0]
        assert visitor.http_request.peer_certificate["subject"] == ((("commonName", "SN1"),),)
        peer.send_text("hello")
        assert visitor.websocket.receive() == "hello"
        visitor.websocket.send_nowait("good day")
        assert peer.read_text() == "good day"


def test_a_refusal_over_tls(desk: Doors, authority: Authority) -> None:
    with (
        desk(ssl_context=authority.server_context()) as opened,
        dial(opened.port, ssl_context=authority.client_context()) as peer,
    ):
        assert peer.ask(request(Upgrade=None)).status == 426
        assert peer.read_rest() == b""


def test_a_client_that_does_not_trust_the_certificate(
    desk: Doors, authority: Authority, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, name="Another CA").client_context()
    with desk(ssl_context=authority.server_context()) as opened:
        with pytest.raises(ssl.SSLCertVerificationError):
            dial(opened.port, ssl_context=stranger)
        assert opened.outcomes.wait() == [None]
        assert lines(caplog, logging.WARNING) == ["TLS handshake with 127.0.0.1:PORT failed: TLSV1_ALERT_UNKNOWN_CA"]


def test_a_client_without_a_required_certificate(
    desk: Doors, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with desk(ssl_context=authority.server_context(client_certificates=True)) as opened:
        with (
            contextlib.suppress(ConnectionResetError, BrokenPipeError),
            pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
            dial(opened.port, ssl_context=authority.client_context()) as peer,
        ):
            peer.ask(request())
        assert opened.outcomes.wait() == [None]
        assert lines(caplog) == ["TLS handshake with 127.0.0.1:PORT failed: PEER_DID_NOT_RETURN_A_CERTIFICATE"]


def test_plain_http_on_the_tls_port(desk: Doors, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    with desk(ssl_context=authority.server_context()) as opened, dial(opened.port) as peer:
        peer.send(request())
        peer.wait_for_end()
        assert opened.outcomes.wait() == [None]
        assert lines(caplog, logging.WARNING) == [
            "TLS handshake with 127.0.0.1:PORT failed: the peer speaks plain HTTP (ws), and this port is TLS (wss)"
        ]


def test_tls_on_the_plain_port(desk: Doors, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    with desk() as opened:
        with pytest.raises(OSError, match=r"EOF|reset|Broken pipe"):
            dial(opened.port, ssl_context=authority.client_context())
        assert opened.outcomes.wait() == [None]
        assert lines(caplog, logging.WARNING) == [
            "WebSocket handshake with 127.0.0.1:PORT failed: the peer speaks TLS (wss), but this port is plain (ws)"
        ]


def test_a_slow_tls_handshake_delays_no_other_and_times_out(
    desk: Doors, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        desk(ssl_context=authority.server_context(), timeouts=Timeouts(handshake=1.0)) as opened,
        dial(opened.port) as silent,
    ):
        began = time.monotonic()
        with dial(opened.port, ssl_context=authority.client_context()) as quick:
            quick.upgrade()
            assert time.monotonic() - began < 1
        silent.wait_for_end()
        assert 0.9 <= time.monotonic() - began < 3
        outcomes = opened.outcomes.wait(2)
        assert [outcome is None for outcome in outcomes] == [False, True]
        assert lines(caplog) == [
            "lost the connection of 127.0.0.1:PORT during the handshake: the TLS handshake took too long"
        ]


def test_a_peer_that_disconnects_in_the_tls_handshake(
    desk: Doors, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with desk(ssl_context=authority.server_context()) as opened:
        dial(opened.port).sock.close()
        assert opened.outcomes.wait() == [None]
        assert lines(caplog) == ["TLS handshake with 127.0.0.1:PORT failed: the peer closed the connection"]
        assert lines(caplog, logging.WARNING) == []


def test_a_peer_that_ends_tls_without_close_notify(desk: Doors, authority: Authority) -> None:
    with desk(ssl_context=authority.server_context()) as opened:
        with dial(opened.port, ssl_context=authority.client_context()) as peer:
            peer.upgrade()
            websocket = opened.outcomes.wait()[0].websocket
        assert websocket.receive() is None
        assert websocket.close_code == 1006


def test_close_over_tls(desk: Doors, authority: Authority) -> None:
    with (
        desk(ssl_context=authority.server_context()) as opened,
        dial(opened.port, ssl_context=authority.client_context()) as peer,
    ):
        peer.upgrade()
        websocket = opened.outcomes.wait()[0].websocket
        peer.send_close(1000, "bye")
        assert websocket.receive() is None
        assert peer.read_frame() == Frame(0x8, close_payload(1000, "bye"))
        websocket.abort()
        assert peer.read_rest() == b""

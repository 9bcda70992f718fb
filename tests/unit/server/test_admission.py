"""The opening handshake from the request's bytes to a verdict, and the refusals (J16 §3)."""

from __future__ import annotations

import http
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import DEADLINE

from ocppsync.server.admission import AdmissionPolicy, UpgradeDecision
from ocppsync.wire.http import (
    DisconnectedError,
    Headers,
    HttpRequest,
    RefusalError,
    check_upgrade,
    identity_of,
    offered_protocols,
    read_request,
    refusal_response,
)
from ocppsync.wire.streams import Stream

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = {
    "Host": "example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": "ocpp1.6",
}
GET = b"GET /CP1 HTTP/1.1\r\n"
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade, close"}


def request(path: str = "/CP1", method: str = "GET", **changes: str | None) -> HttpRequest:
    """Return an upgrade request that is in order but for the changes; None leaves a header out."""
    fields = {**FIELDS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    headers = Headers(tuple((name, value) for name, value in fields.items() if value is not None))
    return HttpRequest(method, path, "", headers, ("127.0.0.1", 1))


def refusal(decide: Callable[[], object]) -> RefusalError:
    with pytest.raises(RefusalError) as error:
        decide()
    assert str(error.value) == error.value.reason != ""
    return error.value


# Identity (J16 §3.1.1).


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/CP1", "CP1"),
        ("/CP1/", "CP1"),
        ("/ocpp/CP1", "CP1"),
        ("/ocpp/1.6/CP1/", "CP1"),
        ("//CP1", "CP1"),
        ("CP1", "CP1"),
        ("/ocppj/RDAM%20123", "RDAM 123"),
        ("/ocppj/RDAM%7C123", "RDAM|123"),
        ("/ocpp/a%2Fb", "a/b"),
        ("/ocpp/a%2fb/", "a/b"),
        ("/a%2F", "a/"),
        ("/%2F", "/"),
        ("/%2e%2E", ".."),
        ("/a%252Fb", "a%2Fb"),
        ("/a+b", "a+b"),
        ("/a:b@c", "a:b@c"),
        ("/S%C3%A4ule", "Säule"),
        ("/%F0%9F%94%8C", "\U0001f50c"),
        ("/100%", "100%"),
        ("/100%zz", "100%zz"),
        ("/%20", " "),
    ],
)
def test_the_identity_is_the_last_segment_split_first_and_then_decoded(path: str, identity: str) -> None:
    assert identity_of(path) == identity
    assert AdmissionPolicy(["ocpp1.6"]).admit(request(path)).charge_point_id == identity


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("", 404),
        ("/", 404),
        ("//", 404),
        ("/CP1//", 404),
        ("/%FF", 400),
        ("/%C3", 400),
        ("/%ED%A0%80", 400),
        ("/CP%00", 400),
        ("/CP1%0d%0aforged", 400),
        ("/CP%1B", 400),
        ("/CP%7F", 400),
        ("/CP%C2%85", 400),
        ("/CP%E2%80%A8", 400),
    ],
)
def test_a_path_without_a_usable_identity(path: str, status: int) -> None:
    assert refusal(lambda: identity_of(path)).status == status
    assert refusal(lambda: AdmissionPolicy(["ocpp1.6"]).admit(request(path))).status == status


# The upgrade request (RFC 6455 §4.2.1).


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Upgrade": "WebSocket"},
        {"Upgrade": "h2c, websocket"},
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "UPGRADE"},
        {"Connection": None},
        {"Host": ""},
        {"Sec_WebSocket_Protocol": None},
    ],
)
def test_a_valid_request(changes: dict[str, str | None]) -> None:
    assert check_upgrade(request(**changes)) == KEY


@pytest.mark.parametrize(
    ("asked", "status", "headers"),
    [
        (request(method="POST"), 405, {"Allow": "GET"}),
        (request(method="HEAD"), 405, {"Allow": "GET"}),
        (request(method="get"), 405, {"Allow": "GET"}),
        (request(Upgrade=None), 426, UPGRADE),
        (request(Upgrade=None, Connection=None), 426, UPGRADE),
        (request(Upgrade="h2c"), 400, {}),
        (request(Upgrade="websockets"), 400, {}),
        (request(Upgrade=""), 400, {}),
        (request(Connection="keep-alive"), 400, {}),
        (request(Connection="Upgraded"), 400, {}),
        (request(Host=None), 400, {}),
        (request(host="example", Host="example"), 400, {}),
        (request(Sec_WebSocket_Version=None), 426, {"Sec-WebSocket-Version": "13", **UPGRADE}),
        (request(Sec_WebSocket_Version="8"), 426, {"Sec-WebSocket-Version": "13", **UPGRADE}),
        (request(Sec_WebSocket_Version="13, 8"), 426, {"Sec-WebSocket-Version": "13", **UPGRADE}),
        (request(Sec_WebSocket_Key=None), 400, {}),
        (request(Sec_WebSocket_Key=""), 400, {}),
        (request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25j"), 400, {}),
        (request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZSE="), 400, {}),
        (request(Sec_WebSocket_Key=KEY.rstrip("=")), 400, {}),
        (request(Sec_WebSocket_Key=KEY + "!"), 400, {}),
        (request(Sec_WebSocket_Key="é" * 24), 400, {}),
    ],
)
def test_an_invalid_request(asked: HttpRequest, status: int, headers: dict[str, str]) -> None:
    refused = refusal(lambda: check_upgrade(asked))
    assert (refused.status, dict(refused.headers)) == (status, headers)


# Subprotocol (J16 §3.1.3, §3.2).


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (None, []),
        ("", []),
        (" , ", []),
        ("ocpp1.6", ["ocpp1.6"]),
        ("ocpp2.0.1, ocpp1.6", ["ocpp2.0.1", "ocpp1.6"]),
        ("ocpp2.0.1,ocpp1.6 ,\tother", ["ocpp2.0.1", "ocpp1.6", "other"]),
    ],
)
def test_the_subprotocols_that_a_client_names(header: str | None, names: list[str]) -> None:
    assert offered_protocols(request(Sec_WebSocket_Protocol=header)) == names


def test_repeated_lines_are_one_list() -> None:
    headers = Headers((("Sec-WebSocket-Protocol", "a"), ("sec-websocket-protocol", "b, c")))
    assert offered_protocols(HttpRequest("GET", "/", "", headers, ("", 0))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("offered", "default", "chosen"),
    [
        ("ocpp1.6", None, "ocpp1.6"),
        ("ocpp2.0.1, ocpp1.6", None, "ocpp2.0.1"),
        ("ocpp1.6, ocpp2.0.1", None, "ocpp1.6"),
        ("ocpp0.1, ocpp2.0.1", None, "ocpp2.0.1"),
        ("ocpp0.1", None, None),
        ("ocpp0.1", "ocpp1.6", None),
        ("OCPP1.6", None, None),
        (None, None, None),
        (None, "ocpp1.6", "ocpp1.6"),
    ],
)
def test_the_first_of_the_clients_list_that_is_served(offered: Any, default: Any, chosen: Any) -> None:
    asked = request(Sec_WebSocket_Protocol=offered)
    admitted = AdmissionPolicy(["ocpp1.6", "ocpp2.0.1"], default).admit(asked)
    assert admitted == UpgradeDecision("CP1", chosen, KEY, "", announce=offered is not None)
    strict = AdmissionPolicy(["ocpp1.6", "ocpp2.0.1"], default, refuse_unknown_protocol=True)
    if chosen is None:
        assert refusal(lambda: strict.admit(asked)).status == 400
    else:
        assert strict.admit(asked) == admitted


@pytest.mark.parametrize(("compression", "extensions"), [(False, ""), (True, "permessage-deflate; x=1")])
def test_extensions_are_passed_on_where_compression_is_wanted(compression: bool, extensions: str) -> None:
    asked = request(Sec_WebSocket_Extensions="permessage-deflate; x=1")
    assert AdmissionPolicy(["ocpp1.6"], compression=compression).admit(asked).extensions == extensions
    assert AdmissionPolicy(["ocpp1.6"], compression=compression).admit(request()).extensions == ""
    assert AdmissionPolicy(["ocpp1.6"]).admit(asked).extensions == "", "by default it is not"


# authorize and identify.


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (True, None),
        (False, 401),
        (401, 401),
        (http.HTTPStatus.UNAUTHORIZED, 401),
        (400, 400),
        (403, 403),
        (404, 404),
        (503, 503),
        (599, 599),
        (200, 500),
        (101, 500),
        (302, 500),
        (399, 500),
        (600, 500),
        (0, 500),
        (1, 500),
        (-404, 500),
        (404.0, 500),
        (None, 500),
        ("CP1", 500),
        ([], 500),
    ],
)
def test_authorize_decides(verdict: Any, status: int | None, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    def authorize(*args: Any) -> Any:
        seen.append(args)
        return verdict

    asked = request("/ocpp/CP%201")
    gate = AdmissionPolicy(["ocpp1.6"], authorize=authorize)
    if status is None:
        assert gate.admit(asked).charge_point_id == "CP 1"
    else:
        refused = refusal(lambda: gate.admit(asked))
        challenge = (("WWW-Authenticate", 'Basic realm="ocpp"'),) if status == 401 else ()
        assert (refused.status, refused.headers) == (status, challenge)
    assert seen == [(asked, "CP 1")]
    wrong = "authorize must return True, False or an HTTP status from 400 to 599"
    assert (wrong in caplog.text) == (status == 500)


@pytest.mark.parametrize("hook", ["authorize", "identify"])
def test_an_exception_in_a_hook_refuses(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any) -> Any:
        raise RefusalError(200, "let me in")

    refused = refusal(lambda: AdmissionPolicy(["ocpp1.6"], **{hook: fail}).admit(request()))
    assert (refused.status, refused.headers) == (500, ())
    assert f"{hook} raised an exception" in caplog.text
    assert "let me in" in caplog.text
    assert "let me in" not in refusal_response(refused).decode()


@pytest.mark.parametrize(("path", "identity"), [("/", "X"), ("/CP1", "X"), ("/%FF", "a/b")])
def test_identify_overrides_the_path(path: str, identity: str) -> None:
    seen: list[Any] = []

    def identify(asked: HttpRequest) -> str:
        seen.append(asked)
        return identity

    def authorize(asked: HttpRequest, charge_point_id: str) -> bool:
        return charge_point_id == identity

    asked = request(path)
    assert AdmissionPolicy(["ocpp1.6"], authorize=authorize, identify=identify).admit(asked).charge_point_id == identity
    assert seen == [asked]


@pytest.mark.parametrize(
    "identity",
    [
        "CP1\n",
        "CP1\r\n2026 CRITICAL forged",
        "\x1b[2JCP1",
        "\x00",
        "\x85",
        "\u2028",
        "\u202eCP1",
        "CP1\u200f",
        "\u061cCP1",
        "\ud83d",
        "x" * 256,
    ],
)
def test_an_identity_from_identify_is_checked(identity: str, caplog: pytest.LogCaptureFixture) -> None:
    gate = AdmissionPolicy(["ocpp1.6"], identify=lambda asked: identity)
    refused = refusal(lambda: gate.admit(request()))
    assert refused.status == 500
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "identify returned" in record.getMessage()
    assert "return None to refuse a charge point" in record.getMessage()
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 400


@pytest.mark.parametrize("identity", ["x" * 255, "Ladesäule 1", "CP|1", "a/b", "\u4e2d\u6587"])
def test_other_identities_are_taken(identity: str) -> None:
    gate = AdmissionPolicy(["ocpp1.6"], identify=lambda asked: identity)
    assert gate.admit(request()).charge_point_id == identity


@pytest.mark.parametrize(("length", "status"), [(255, None), (256, 400), (10_000, 400)])
def test_the_length_of_an_identity_in_a_path_is_limited(length: int, status: int | None) -> None:
    gate = AdmissionPolicy(["ocpp1.6"])
    if status is None:
        assert len(gate.admit(request("/" + "x" * length)).charge_point_id) == length
    else:
        refused = refusal(lambda: gate.admit(request("/" + "x" * length)))
        assert refused.status == status
        assert len(refused.reason) < 200


@pytest.mark.parametrize("identity", [None, ""])
def test_an_identity_unknown_to_identify_gets_404(identity: Any) -> None:
    gate = AdmissionPolicy(
        ["ocpp1.6"], identify=lambda asked: identity, authorize=lambda *_: pytest.fail("asked in vain")
    )
    assert refusal(lambda: gate.admit(request())).status == 404


@pytest.mark.parametrize("identity", [5, b"CP1", True, ["CP1"]])
def test_an_identity_is_text(identity: Any, caplog: pytest.LogCaptureFixture) -> None:
    gate = AdmissionPolicy(
        ["ocpp1.6"], identify=lambda asked: identity, authorize=lambda *_: pytest.fail("asked in vain")
    )
    assert refusal(lambda: gate.admit(request())).status == 500
    assert f"identify must return the identity as str, or None, not {type(identity).__name__}" in caplog.text


def test_the_order_of_the_checks() -> None:
    gate = AdmissionPolicy(["ocpp1.6"], refuse_unknown_protocol=True, authorize=lambda *_: 403)
    wrong: dict[str, Any] = {"Upgrade": None, "Sec_WebSocket_Protocol": "other"}
    assert refusal(lambda: gate.admit(request("/", **wrong))).status == 426
    del wrong["Upgrade"]
    assert refusal(lambda: gate.admit(request("/", **wrong))).status == 404
    assert refusal(lambda: gate.admit(request("/CP1", **wrong))).status == 403
    gate = AdmissionPolicy(["ocpp1.6"], refuse_unknown_protocol=True, authorize=lambda *_: True)
    assert refusal(lambda: gate.admit(request("/CP1", **wrong))).status == 400


# Reading the request.


@pytest.fixture
def pair() -> Iterator[tuple[Stream, socket.socket]]:
    ours, theirs = socket.socketpair()
    stream = Stream(ours, write_timeout=DEADLINE)
    yield stream, theirs
    stream.close()
    theirs.close()


def read(stream: Stream, seconds: float = DEADLINE, max_header_size: int = 4096) -> HttpRequest:
    return read_request(stream, deadline=time.monotonic() + seconds, max_header_size=max_header_size)


def test_a_request_is_read_and_what_follows_is_left(pair: Any) -> None:
    stream, peer = pair
    peer.sendall(b"GET /ocpp/CP%201?a=b?c HTTP/1.1\r\nHost: x\r\nX-One:  1 \r\nx-one:\t2\r\nEmpty:\r\n\r\n\x81\x00more")
    asked = read(stream)
    assert (asked.method, asked.path, asked.query) == ("GET", "/ocpp/CP%201", "a=b?c")
    assert dict(asked.headers) == {"host": "x", "x-one": "1, 2", "empty": ""}
    assert (asked.remote_address, asked.peer_certificate) == (stream.remote_address, None)
    assert stream.recv(100) == b"\x81\x00more"


def test_a_request_may_come_byte_by_byte(pair: Any) -> None:
    stream, peer = pair
    text = GET + b"Host: x\r\n\r\nrest"

    def dribble() -> None:
        for index in range(len(text)):
            peer.sendall(text[index : index + 1])

    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    writer = threading.Thread(target=dribble)
    writer.start()
    assert dict(read(stream).headers) == {"host": "x"}
    writer.join(DEADLINE)
    rest = b""
    while len(rest) < 4:
        rest += stream.recv(100)
    assert rest == b"rest"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("//a//b", "//a//b", ""),
        ("/a?", "/a", ""),
        ("http://example/ocpp/CP1?a", "/ocpp/CP1", "a"),
        ("WSS://example:9000/CP1", "/CP1", ""),
        ("https://example", "/", ""),
        ("ws://example?a=/b", "/", "a=/b"),
        ("/http://example/CP1", "/http://example/CP1", ""),
    ],
)
def test_targets(pair: Any, target: str, path: str, query: str) -> None:
    stream, peer = pair
    peer.sendall(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    asked = read(stream)
    assert (asked.path, asked.query) == (path, query)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"hello", 400),
        (b"GET /CP1", 400),
        (b"GET  /CP1 HTTP/1.1", 400),
        (b"GET /CP1 HTTP/1.1 ", 400),
        (b"GET /C P1 HTTP/1.1", 400),
        (b"GET /CP\t1 HTTP/1.1", 400),
        (b"GET /CP\xe4 HTTP/1.1", 400),
        (b"GET /CP1\n HTTP/1.1", 400),
        (b"G(T /CP1 HTTP/1.1", 400),
        (b" /CP1 HTTP/1.1", 400),
        (b"GET CP1 HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET example:80 HTTP/1.1", 400),
        (b"GET ftp://example/CP1 HTTP/1.1", 400),
        (b"GET ?http://example/CP1 HTTP/1.1", 400),
        (b"GET /CP1 http/1.1", 400),
        (b"GET /CP1 HTTP", 400),
        (b"GET /CP1 HTTP/1.0", 505),
        (b"GET /CP1 HTTP/2", 505),
        (b"GET /CP1 HTTP/1.10", 505),
        (GET + b"no colon", 400),
        (GET + b": no name", 400),
        (GET + b"Name : x", 400),
        (GET + b"Na me: x", 400),
        (GET + b"N\xe4me: x", 400),
        (GET + b"Name: x\r\n folded", 400),
        (GET + b"Name: x\ny", 400),
        (GET + b"Name: x\ry", 400),
        (GET + b"Name: x\0y", 400),
        (GET + b"Name: x\x7fy", 400),
        (GET + b"\r\nName: x", None),
    ],
)
def test_malformed_heads(pair: Any, head: bytes, status: int | None) -> None:
    stream, peer = pair
    peer.sendall(head + b"\r\n\r\n")
    if status is None:
        assert dict(read(stream).headers) == {}, "a blank line ends the head"
    else:
        assert refusal(lambda: read(stream)).status == status


def test_a_bad_header_is_named_by_its_line_alone(pair: Any) -> None:
    stream, peer = pair
    peer.sendall(GET + b"Host: x\r\nAuthorization Basic c2VjcmV0\r\n\r\n")
    assert refusal(lambda: read(stream)).reason == "line 3 of the request is not a valid HTTP header"


def test_values_may_hold_any_byte_but_controls(pair: Any) -> None:
    stream, peer = pair
    peer.sendall(GET + b'Name: "a\tb" \xe4\xff ~\r\n\r\n')
    assert read(stream).headers["name"] == '"a\tb" \xe4\xff ~'


def test_the_head_is_bounded_however_much_follows(pair: Any) -> None:
    stream, peer = pair
    head = GET + b"A: b"
    peer.sendall(head + b"\r\n\r\n" + b"y" * 1000)
    assert read(stream, max_header_size=len(head)).headers["a"] == "b"
    peer.sendall(b"\r\n" + head + b"\r\n\r\n")
    assert refusal(lambda: read(stream, max_header_size=999)).status == 431


def test_a_head_is_too_large_once_its_end_cannot_come_in_time(pair: Any) -> None:
    stream, peer = pair
    peer.sendall(b"x" * 103)  # 100 and three that may belong to the end
    assert refusal(lambda: read(stream, 0.05, max_header_size=100)).status == 408
    peer.sendall(b"x" * 104)
    assert refusal(lambda: read(stream, 0.05, max_header_size=100)).status == 431


def test_an_endless_head_is_cut_off(pair: Any) -> None:
    stream, peer = pair
    peer.sendall(GET + b"A: b\r\n" * 2000)
    assert refusal(lambda: read(stream)).status == 431


@pytest.mark.parametrize("sent", [b"", GET, GET + b"Host: x\r\n\r"])
def test_the_time_is_bounded(pair: Any, sent: bytes) -> None:
    stream, peer = pair
    peer.sendall(sent)
    begun = time.monotonic()
    assert refusal(lambda: read(stream, 0.05)).status == 408
    assert 0.05 <= time.monotonic() - begun < DEADLINE


def test_the_time_is_bounded_for_the_whole_head(pair: Any) -> None:
    stream, peer = pair
    begun, done = time.monotonic(), threading.Event()

    def dribble() -> None:
        peer.sendall(GET)
        while not done.wait(0.01):
            peer.sendall(b"A: b\r\n")

    writer = threading.Thread(target=dribble)
    writer.start()
    try:
        assert refusal(lambda: read(stream, 0.1, 10**6)).status == 408
    finally:
        done.set()
        writer.join(DEADLINE)
    assert time.monotonic() - begun < DEADLINE


def test_no_time_left_is_too_late_for_what_is_there(pair: Any) -> None:
    stream, peer = pair
    peer.sendall(GET + b"\r\n")
    assert refusal(lambda: read(stream, -1)).status == 408


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"", "the peer closed the connection"),
        (GET, "the peer closed the connection in the request head"),
        (b"\x16\x03\x01\x02\x00", "the peer speaks TLS (wss), but this port is plain (ws)"),
    ],
)
def test_peers_that_cannot_be_answered(pair: Any, sent: bytes, text: str) -> None:
    stream, peer = pair
    peer.sendall(sent)
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(DisconnectedError) as error:
        read(stream)
    assert str(error.value) == text
    assert error.value.level == (logging.WARNING if "TLS" in text else logging.INFO)


def test_a_connection_that_breaks(pair: Any) -> None:
    stream, peer = pair
    stream.buffer(b"unread")
    stream.flush()
    peer.close()
    with pytest.raises(DisconnectedError, match=r"the connection broke: .*reset"):
        read(stream)


# Refusing.


@pytest.mark.parametrize(
    ("status", "headers", "phrase"),
    [
        (400, (), "Bad Request"),
        (401, (("WWW-Authenticate", 'Basic realm="ocpp"'),), "Unauthorized"),
        (404, (), "Not Found"),
        (405, (("Allow", "GET"),), "Method Not Allowed"),
        (426, tuple(UPGRADE.items()), "Upgrade Required"),
        (431, (), "Request Header Fields Too Large"),
        (500, (), "Internal Server Error"),
        (505, (), "HTTP Version Not Supported"),
        (499, (), "Refused"),
        (599, (), "Refused"),
    ],
)
def test_refusals_on_the_wire(status: int, headers: Any, phrase: str) -> None:
    text = refusal_response(RefusalError(status, "a secret reason", headers)).decode("ascii")
    head, _, body = text.partition("\r\n\r\n")
    status_line, *lines = head.split("\r\n")
    assert status_line == f"HTTP/1.1 {status} {phrase}"
    assert body == f"{status} {phrase}\n"
    fields = dict(line.split(": ", 1) for line in lines)
    assert len(fields) == len(lines)
    assert fields.pop("Content-Length") == str(len(body))
    assert fields.pop("Content-Type") == "text/plain; charset=utf-8"
    assert fields == {"Connection": "close", **dict(headers)}
    assert "close" in fields["Connection"]
    assert "secret" not in text


def test_a_plain_get_is_told_to_upgrade() -> None:
    refused = refusal(lambda: AdmissionPolicy(["ocpp1.6"]).admit(request(Upgrade=None, Connection=None)))
    head = refusal_response(refused).decode()
    assert head.startswith("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n")


@pytest.mark.parametrize(
    ("offered", "default", "compression", "passed"),
    [
        ("ocpp1.6", None, None, False),
        ("ocpp2.0.1", None, None, True),
        ("ocpp2.1", None, None, True),
        ("ocpp1.6, ocpp2.1", None, None, False),
        (None, "ocpp2.1", None, True),
        (None, "ocpp1.6", None, False),
        ("ocpp0.1", None, None, False),
        ("ocpp1.6", None, True, True),
        ("ocpp2.1", None, False, False),
    ],
)
def test_compression_by_version(offered: Any, default: Any, compression: bool | None, passed: bool) -> None:
    asked = request(Sec_WebSocket_Protocol=offered, Sec_WebSocket_Extensions="permessage-deflate")
    gate = AdmissionPolicy(["ocpp1.6", "ocpp2.0.1", "ocpp2.1"], default, compression=compression)
    assert gate.admit(asked).extensions == ("permessage-deflate" if passed else "")

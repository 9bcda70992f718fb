"""What breaks HTTP, WebSocket or OCPP-J, each once against a whole central system.

It costs its sender an error or the connection, and nobody else a thing.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from bystander import SECRET, besieged, heartbeat
from wire import BINARY, CLOSE, CONTINUATION, PING, TEXT, dial, frame, request

EURO = "€".encode()
BROKEN = [b"\xe2\x28\xa1", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xff"]
"""A bad continuation, half a surrogate pair, an overlong form, beyond Unicode, and no UTF-8 at all."""


def split(data: bytes, at: int) -> bytes:
    return frame(TEXT, data[:at], fin=False) + frame(CONTINUATION, data[at:])


FRAMES: list[tuple[str, bytes, int]] = [
    ("a length of 2^63", b"\x81\xff" + (2**63).to_bytes(8, "big"), 1002),
    ("a length of 2^64 - 1", b"\x81\xff" + b"\xff" * 8, 1002),
    ("a length of 2^62", b"\x81\xff" + (2**62).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 2_000_000, 1009),
    ("a long form for a short length", b"\x81\xfe\0\5\0\0\0\0hello", 1002),
    *((f"the reserved bits {bits}", frame(TEXT, "hello", reserved=bits), 1002) for bits in (1, 2, 4, 7)),
    *((f"the opcode {code}", frame(code, "hello"), 1002) for code in (3, 7, 11, 15)),
    ("no mask", frame(TEXT, '[2,"1","Heartbeat",{}]', masked=False), 1002),
    ("a ping without a mask", frame(PING, "x", masked=False), 1002),
    ("a fragmented ping", frame(PING, "x", fin=False), 1002),
    ("a fragmented Close", frame(CLOSE, b"\3\xe8", fin=False), 1002),
    ("a ping of 126 bytes", frame(PING, "x" * 126), 1002),
    ("a message between fragments", frame(TEXT, "[2,", fin=False) + frame(TEXT, "[]"), 1002),
    ("a binary message between fragments", frame(TEXT, "[2,", fin=False) + frame(BINARY, "[]"), 1002),
    ("a continuation of nothing", frame(CONTINUATION, "[]"), 1002),
    ("a binary message", frame(BINARY, "[]"), 1003),
    ("a Close of one byte", frame(CLOSE, b"\3"), 1002),
    ("a Close with a code that is none", frame(CLOSE, b"\0\1"), 1002),
    ("a Close whose reason is no UTF-8", frame(CLOSE, b"\3\xe8\xff"), 1007),
    *((f"no UTF-8: {data.hex()}", frame(TEXT, b'["' + data + b'"]'), 1007) for data in BROKEN),
    *(
        (f"no UTF-8: {data.hex()}, split at {at}", split(b'["' + data + b'"]', at), 1007)
        for data in BROKEN
        for at in range(len(data) + 5)
    ),
    *((f"half a character, split at {at}", split(EURO[:2], at), 1007) for at in range(3)),
    ("a message over the limit", frame(TEXT, "x" * 1_100_000), 1009),
    ("fragments over the limit", frame(TEXT, "x" * 600_000, fin=False) + frame(CONTINUATION, "x" * 600_000), 1009),
]


@pytest.mark.parametrize(("data", "code"), [pytest.param(*case, id=name) for name, *case in FRAMES])
def test_frames_that_break_the_protocol(caplog: pytest.LogCaptureFixture, data: bytes, code: int) -> None:
    with besieged(caplog) as siege:
        with siege.attacker() as attacker:
            attacker.send(data + frame(TEXT, '[2,"after","Heartbeat",{}]'))
            assert attacker.read_close()[0] == code
        siege.wait_gone()
        assert len(siege.said("attacker")) <= 1


def test_fragments_of_nothing_and_pings_between_them_are_in_order(caplog: pytest.LogCaptureFixture) -> None:
    call = b'[2,"\xe2\x82\xac","Heartbeat",{}]'
    with besieged(caplog) as siege, siege.attacker() as attacker:
        attacker.send(frame(TEXT, fin=False))
        for byte in call:
            attacker.send(frame(CONTINUATION, fin=False) + frame(PING) + frame(CONTINUATION, bytes([byte]), fin=False))
        attacker.send(frame(CONTINUATION))
        while (got := attacker.read_frame()).opcode != TEXT:
            pass
        assert json.loads(got.payload)[:2] == [3, "€"]


def deflated(data: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(TEXT, deflated(b" " * 64 * 1024 * 1024), reserved=4), 1009, id="64 MiB in 64 KiB"),
        pytest.param(
            frame(TEXT, deflated(b" " * 9_000_000)[:500], reserved=4, fin=False)
            + frame(CONTINUATION, deflated(b" " * 9_000_000)[500:]),
            1009,
            id="in fragments",
        ),
        pytest.param(frame(TEXT, b"\xff" * 100, reserved=4), 1007, id="no deflate"),
        pytest.param(frame(TEXT, deflated(b"\xff"), reserved=4), 1007, id="no UTF-8"),
        pytest.param(frame(PING, deflated(b"x"), reserved=4), 1002, id="a ping"),
        pytest.param(frame(TEXT, b"[", fin=False) + frame(CONTINUATION, b"x", reserved=4), 1002, id="a continuation"),
    ],
)
def test_deflated_messages(caplog: pytest.LogCaptureFixture, data: bytes, code: int) -> None:
    with besieged(caplog) as siege:
        with dial(siege.port) as attacker:
            attacker.upgrade(
                "/attacker", Sec_WebSocket_Protocol="ocpp2.1", Sec_WebSocket_Extensions="permessage-deflate"
            )
            attacker.send(data)
            assert attacker.read_close()[0] == code
        siege.wait_gone()


# JSON, in 1.6: what is answered, or None for what is not.

TOO_LONG = "x" * 300
MESSAGES: list[tuple[str, str, list[Any] | None]] = [
    ("deep arrays", "[" * 500_000, None),
    ("deep objects", '{"a":' * 100_000, None),
    ("a deep payload", '[2,"1","Heartbeat",' + "[" * 500 + "]" * 500 + "]", [4, "1", "FormationViolation"]),
    ("10^6 digits", '[2,"1","Heartbeat",{"a":' + "9" * 1_000_000 + "}]", None),
    ("10^6 digits as an id", "[2," + "9" * 1_000_000 + ',"Heartbeat",{}]', None),
    ("a number that is infinite", '[2,"1","Heartbeat",{"a":1e999}]', [4, "1", "FormationViolation"]),
    (
        "an infinite meter",
        '[2,"1","StartTransaction",{"connectorId":1,"idTag":"x","meterStart":1e999,"timestamp":"2026-01-01T00:00:00Z"}]',
        [4, "1", "TypeConstraintViolation"],
    ),
    ("NaN", '[2,"1","Heartbeat",{"a":NaN}]', None),
    ("a key twice", '[2,"1","Heartbeat",{"a":1,"a":2}]', [4, "1", "FormationViolation"]),
    ("60 000 keys", f"[2,{json.dumps({str(n): 0 for n in range(60_000)})}]", None),
    ("NUL in the id", '[2,"\\u0000","Heartbeat",{}]', [3, "\0"]),
    ("bare NUL in the id", '[2,"\0","Heartbeat",{}]', None),
    ("escape sequences in the id", '[2,"\\u001b[2J","Heartbeat",{}]', [3, "\x1b[2J"]),
    ("line ends in the action", '[2,"1","Heart\\r\\nbeat",{}]', [4, "1", "NotImplemented"]),
    ("half a surrogate pair as id", '[2,"\\ud800","Heartbeat",{}]', [3, "\ud800"]),
    ("an id of 300", f'[2,"{TOO_LONG}","Heartbeat",{{}}]', None),
    ("an action of 10^6", '[2,"1","' + "x" * 1_000_000 + '",{}]', [4, "1", "NotImplemented"]),
    ("nothing", "", None),
    ("white space", " " * 1000, None),
    ("a byte order mark", '\ufeff[2,"1","Heartbeat",{}]', None),
    ("a secret in a payload", f'[2,"1","Heartbeat",{{"{SECRET}":1}}', None),
    ("a prototype", '[2,"1","__class__",{"__proto__":1}]', [4, "1", "NotImplemented"]),
]


@pytest.mark.parametrize(("text", "answer"), [pytest.param(*case, id=name) for name, *case in MESSAGES])
def test_messages_that_are_no_ocpp(caplog: pytest.LogCaptureFixture, text: str, answer: list[Any] | None) -> None:
    with besieged(caplog) as siege, siege.attacker() as attacker:
        siege.cs.on("StartTransaction")(lambda payload, metadata: pytest.fail("it is not valid"))
        attacker.send_text(text)
        attacker.send_text('[2,"after","Heartbeat",{}]')
        if answer is not None:
            assert json.loads(attacker.read_text())[: len(answer)] == answer
        assert json.loads(attacker.read_text())[:2] == [3, "after"]
        assert max(map(len, siege.said("attacker")), default=0) < 1000
        assert not any(control in line for line in siege.said("attacker") for control in "\0\r\n\x1b")


# HTTP.

KEY_LINE = b"Sec-WebSocket-Version: 13\r\n"


def with_line(line: bytes) -> bytes:
    return request("/attacker").replace(KEY_LINE, KEY_LINE + line + b"\r\n")


HEADS: list[tuple[str, bytes, int]] = [
    ("two Hosts", with_line(b"Host: elsewhere"), 400),
    ("two Upgrades", with_line(b"Upgrade: h2c"), 101),
    ("two keys", with_line(b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA=="), 400),
    ("two versions", with_line(b"Sec-WebSocket-Version: 8"), 426),
    ("a bare LF in a value", with_line(b"X: a\nSet-Cookie: b"), 400),
    ("a bare CR in a value", with_line(b"X: a\rSet-Cookie: b"), 400),
    ("NUL in a value", with_line(b"X: a\0b"), 400),
    ("a folded line", with_line(b"Authorization: Basic\r\n " + SECRET.encode()), 400),
    ("a body", with_line(b"Content-Length: 5"), 101),
    ("chunks", with_line(b"Transfer-Encoding: chunked"), 101),
    ("10 000 headers", with_line(b"\r\n".join([b"X: y"] * 10_000)), 431),
    ("a head without end", b"GET /attacker HTTP/1.1\r\nX: " + b"x" * 200_000, 431),
    ("control characters in the path", request("/att%0d%0aacker"), 400),
    ("NUL in the path", request("/attacker%00"), 400),
    ("escape sequences in the path", request("/%1b[2J"), 400),
    ("line separators in the path", request("/%e2%80%a8"), 400),
    ("no UTF-8 in the path", request("/%c0%ae"), 400),
    ("no identity", request("/"), 404),
    ("dots", request("/../../etc/passwd"), 101),
    ("encoded dots", request("/%2e%2e%2fetc%2fpasswd"), 101),
    ("a whole URL", request("http://elsewhere/attacker"), 101),
    ("a path of 255", request("/" + "x" * 255), 101),
    ("a path of 10 000", request("/" + "x" * 10_000), 400),
    ("an old HTTP", request("/attacker").replace(b"HTTP/1.1", b"HTTP/0.9"), 505),
    ("another protocol", b"\x16\x03\x01\0\x05hello", 0),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400),
]


@pytest.mark.parametrize(("data", "status"), [pytest.param(*case, id=name) for name, *case in HEADS])
def test_requests_that_are_not_in_order(caplog: pytest.LogCaptureFixture, data: bytes, status: int) -> None:
    with besieged(caplog) as siege:
        with dial(siege.port) as attacker:
            attacker.send(data)
            if not status:
                attacker.wait_for_end()
            else:
                assert attacker.read_response().status == status
            if status == 101:
                assert [name for name in siege.cs.charge_points if not name.startswith("bystander")] != []
        if status != 101:
            assert len(siege.said(attacker_line(status))) == 1


def attacker_line(status: int) -> str:
    return f"with HTTP {status}:" if status else "the peer speaks TLS (wss)"


def test_dots_are_part_of_the_identity_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog) as siege, dial(siege.port) as attacker:
        attacker.upgrade("/ocpp/%2e%2e%2f%2e%2e%2fetc")
        heartbeat(attacker, "1")
        assert "../../etc" in siege.cs.charge_points


def test_a_body_is_taken_for_frames(caplog: pytest.LogCaptureFixture) -> None:
    """A request that hides behind another has no chance: after the head there is WebSocket and nothing else."""
    with besieged(caplog) as siege:
        with dial(siege.port) as attacker:
            attacker.send(with_line(b"Content-Length: 30") + request("/smuggled"))
            assert attacker.read_response().status == 101
            assert attacker.read_close()[0] == 1002
        siege.wait_gone()
        assert "smuggled" not in siege.cs.charge_points


def test_the_log_names_the_address_and_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog) as siege, dial(siege.port) as attacker:
        assert attacker.ask(request("/attacker", Upgrade=None, Authorization=f"Basic {SECRET}")).status == 426
        assert siege.said(attacker.address) != []

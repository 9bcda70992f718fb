"""Peers that write control characters and long texts wherever the log may show them."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from bystander import besieged
from support import DEADLINE, Recorder, serving
from wire import Peer, accept, dial, listening, request

from ocppsync import ChargePoint, HandshakeError, utc_now

EVIL = "x\r\n2026-01-01 CRITICAL forged \x1b[2J\x9b\u202e"
LONG = EVIL + "x" * 20_000
"""An action or a text in a message; longer than any line may be."""
_MAX_LINE = 1500


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Look at all that was logged, at every level."""
    caplog.set_level(logging.DEBUG, "ocppsync")
    yield
    records = caplog.get_records("call")
    assert records
    for record in records:
        line = record.getMessage()
        assert line.isprintable(), line[:200]
        assert len(line) < _MAX_LINE, line[:200]


MESSAGES: list[Any] = [
    [2, "1", LONG, {}],
    [2, "2", EVIL, {}],
    [2, "2", EVIL, {}],
    [2, LONG, "Heartbeat", {}],
    [2, EVIL, "Heartbeat", {LONG: LONG}],
    [2, "5", "Heartbeat", {EVIL: EVIL}],
    [3, LONG, {}],
    [4, EVIL, EVIL, EVIL, {}],
    [4, LONG, LONG, LONG, {LONG: LONG}],
    [5, LONG, LONG, LONG, {}],
    [6, EVIL, LONG, {}],
    [int("9" * 4000), EVIL],
    [LONG, LONG],
    LONG,
]


def send_all(peer: Peer) -> None:
    """Send them, wait until they are handled, and leave."""
    for message in MESSAGES:
        peer.send_text(json.dumps(message))
    peer.send_text('[2,"last","BootNotification",{"chargePointVendor":"x","chargePointModel":"x"}]')
    while '"last"' not in peer.read_text():
        pass
    peer.send_close(1000, EVIL)
    peer.wait_for_end()


def test_a_charge_point(caplog: pytest.LogCaptureFixture) -> None:
    with besieged(caplog) as siege:
        with siege.attacker() as peer:
            send_all(peer)
        siege.wait_gone()


def test_a_charge_point_that_is_not_registered() -> None:
    """Whatever it sends is refused in its turn, and stays in the memory of answers until then."""
    boots = Recorder()
    with serving() as cs, dial(cs.port) as peer:

        @cs.on("BootNotification")
        def boot(payload: Any, metadata: Any) -> Any:
            boots(payload)
            return {"status": "Rejected", "currentTime": utc_now(), "interval": 300}

        peer.upgrade()
        peer.send_text('[2,"first","BootNotification",{"chargePointVendor":"x","chargePointModel":"x"}]')
        assert '"first"' in peer.read_text()
        send_all(peer)
        assert len(boots.items) == 2


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/" + quote(EVIL), {}),
        ("/" + "x" * 10_000, {}),
        ("/" + "%41" * 4000, {}),
        ("/CP1", {"Sec_WebSocket_Protocol": "\x9b2J, " + "x" * 10_000}),
        ("/CP1", {"Sec_WebSocket_Protocol": "\x9b2J", "Upgrade": "\x9b2J" + "x" * 10_000}),
        ("/CP1", {"Authorization": "\x9b2J" + "x" * 10_000}),
        ("/CP1", {"X_Forwarded_For": "fe80::1%\x9b2J" + "x" * 10_000}),
        ("/CP1", {"Forwarded": 'for="[fe80::1%\x9b2J]"'}),
        ("/\x9b2J", {}),
    ],
)
def test_a_request(path: str, changes: Any, caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {"refuse_unknown_protocol": True, "trusted_proxies": ["127.0.0.1"]}
    with serving(authorize=lambda *_: 403, **options) as cs, dial(cs.port) as peer:
        assert peer.ask(request(path, **changes)).status >= 400
        peer.wait_for_end()


def test_an_identity_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    def identify(http_request: Any) -> str:
        return EVIL if http_request.path == "/forge" else str(http_request.path[1:])

    with besieged(caplog, identify=identify) as siege:
        with dial(siege.port) as peer:
            assert peer.ask(request("/forge")).status == 500
            peer.wait_for_end()
        assert len(siege.said("identify returned")) == 1
        assert siege.cs.charge_points == ["bystander-0", "bystander-1", "bystander-2"]


def test_a_central_system(caplog: pytest.LogCaptureFixture) -> None:
    """Its answers, and its refusals, are in the errors of the charge point as well."""
    cp = ChargePoint("CP1", enforce_registration=False, url="ws://127.0.0.1:1")
    cp.close()
    for answer in (
        f"HTTP/1.1 403 Forbidden\r\nContent-Length: 20000\r\n\r\n{LONG}",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: \x9b2J" + "x" * 10_000 + "\r\n\r\n",
    ):
        with listening() as listener:
            cp = ChargePoint("CP1", url=f"ws://127.0.0.1:{listener.getsockname()[1]}", enforce_registration=False)
            errors = Recorder()

            def connect(cp: ChargePoint = cp, errors: Recorder = errors) -> None:
                try:
                    cp.connect(DEADLINE)
                except HandshakeError as error:
                    errors(str(error))

            thread = threading.Thread(target=connect)
            thread.start()
            with accept(listener) as server:
                server.read_until(b"\r\n\r\n")
                server.send(answer.encode("latin-1", "replace"))
                (text,) = errors.wait()
            thread.join(DEADLINE)
            cp.close()
            assert text.isprintable()
            assert len(text) < _MAX_LINE
    logging.getLogger("ocppsync.test").info("looked at")

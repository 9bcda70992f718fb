"""The charge point's end: connecting, refusals, requests both ways, the end of the connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support import BOOT, DEADLINE, Recorder, accept_boots, serving

from ocppsync import (
    CallErrorReceived,
    ChargePoint,
    ConnectionLostError,
    HandshakeError,
    NotConnectedError,
    RequestTimeoutError,
    Timeouts,
    ValidationError,
)


@pytest.fixture
def central_system() -> Iterator[Any]:
    with serving() as cs:
        accept_boots(cs)
        yield cs


def url(cs: Any) -> str:
    return f"ws://127.0.0.1:{cs.port}/ocpp"


def test_both_directions(central_system: Any) -> None:
    with ChargePoint("CP|1", url=url(central_system), enforce_registration=False) as cp:
        cp.on("Reset")(lambda payload, metadata: {"status": "Accepted"})
        assert cp.send_request("BootNotification", BOOT)["status"] == "Accepted"  # type: ignore[typeddict-item]
        assert central_system.send_request("CP|1", "Reset", {"type": "Soft"}) == {"status": "Accepted"}
        with pytest.raises(CallErrorReceived) as error:
            cp.send_request("Heartbeat")
        assert error.value.code == "NotSupported"


def test_the_single_handler_and_its_metadata(central_system: Any) -> None:
    seen = Recorder()

    def handler(request: Any, metadata: Any) -> Any:
        seen((request.action, request.payload, metadata.charge_point_id))
        return {"status": "Accepted"}

    with ChargePoint("CP1", handler, url(central_system)):
        assert central_system.send_request("CP1", "ClearCache") == {"status": "Accepted"}
    assert seen.items == [("ClearCache", {}, "CP1")]


def test_after_runs_once_the_answer_is_out(central_system: Any) -> None:
    done = Recorder()
    with ChargePoint("CP1", url=url(central_system), enforce_registration=False) as cp:
        cp.on("TriggerMessage")(lambda payload, metadata: {"status": "Accepted"})
        cp.after("TriggerMessage")(lambda payload, metadata: done(cp.send_request("BootNotification", BOOT)))  # type: ignore[arg-type]
        answer = central_system.send_request("CP1", "TriggerMessage", {"requestedMessage": "BootNotification"})
        assert answer == {"status": "Accepted"}
        assert done.wait()[0]["status"] == "Accepted"


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_a_refusal_carries_its_status(status: int) -> None:
    with serving(authorize=lambda request, charge_point_id: status) as cs:
        cp = ChargePoint("CP1", url=url(cs), enforce_registration=False)
        with pytest.raises(HandshakeError, match=f"HTTP {status}") as error:
            cp.connect()
        assert error.value.status == status
        assert not cp.connected
        cp.close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(HandshakeError, match=f"cannot connect to 127.0.0.1:{port}") as error:
        ChargePoint("CP1", url=f"ws://127.0.0.1:{port}", enforce_registration=False).connect()
    assert error.value.status is None


def test_a_server_that_does_not_answer_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        cp = ChargePoint("CP1", url=f"ws://127.0.0.1:{server.getsockname()[1]}", enforce_registration=False)
        with pytest.raises(HandshakeError, match="in time"):
            cp.connect(timeout=0.2)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_a_server_that_is_no_central_system(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            sock, _ = server.accept()
            with sock:
                sock.recv(4096)
                sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(HandshakeError):
            ChargePoint("CP1", url=f"ws://127.0.0.1:{server.getsockname()[1]}", enforce_registration=False).connect(
                timeout=DEADLINE
            )
        thread.join(DEADLINE)


def test_no_common_subprotocol(central_system: Any) -> None:
    from websockets.sync.server import serve

    def ignore(websocket: Any) -> None:
        websocket.close()

    # A server that names no subprotocol.
    with serve(ignore, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        with pytest.raises(HandshakeError, match=r"named no subprotocol; ocpp1\.6 was offered"):
            ChargePoint("CP1", url=address).connect()
        with ChargePoint("CP1", url=address, default_protocol="ocpp1.6") as cp:
            assert cp.wait_closed(DEADLINE)


@pytest.mark.parametrize(
    ("address", "text"),
    [("http://x", "ws://"), ("x:9000", "ws://"), ("ws://", "ws://"), ("ws://x/#y", "ws://")],
)
def test_a_bad_url_is_named(address: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ChargePoint("CP1", url=address)


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="identity"):
        ChargePoint("")
    with pytest.raises(ValueError, match="websocket_ping_interval"):
        ChargePoint("CP1", websocket_ping_interval=-1)
    with pytest.raises(ValueError, match="ocpp3"):
        ChargePoint("CP1", protocols=["ocpp3"])
    with pytest.raises(ValueError, match="timeout"):
        ChargePoint("CP1").connect(timeout=0)


def test_requests_without_a_connection() -> None:
    cp = ChargePoint("CP1")
    with pytest.raises(NotConnectedError) as error:
        cp.send_request("Heartbeat")
    assert error.value.delivery == "not_sent"
    with pytest.raises(ValidationError):
        cp.send_request("Reset", {"type": "Soft"})  # type: ignore[call-overload]
    cp.close()


def test_the_listener_sees_the_end(central_system: Any) -> None:
    events = Recorder()
    cp = ChargePoint("CP1", url=url(central_system), enforce_registration=False)
    cp.add_connection_listener(events)
    cp.connect()
    assert events.wait(1) == ["connected"]
    central_system.close_connection("CP1", 4000)
    assert events.wait(2) == ["connected", "disconnected"]
    assert not cp.connected
    with pytest.raises(NotConnectedError):
        cp.send_request("BootNotification", BOOT)  # type: ignore[arg-type]
    # The same object connects again.
    cp.connect()
    assert cp.send_request("BootNotification", BOOT)["status"] == "Accepted"  # type: ignore[arg-type]
    cp.disconnect()
    assert not cp.connected
    cp.close()
    assert events.wait(4) == ["connected", "disconnected"] * 2


def test_connecting_twice_or_after_close_is_an_error(central_system: Any) -> None:
    cp = ChargePoint("CP1", url=url(central_system), enforce_registration=False)
    with cp, pytest.raises(RuntimeError, match="connected already"):
        cp.connect()
    with pytest.raises(RuntimeError, match="is closed"):
        cp.connect()
    assert "closed" in repr(cp)
    cp.close()


def test_a_central_system_that_vanishes_fails_the_requests() -> None:
    with serving() as cs:
        started, release = threading.Event(), threading.Event()

        @cs.on("BootNotification")
        def boot(payload: Any, metadata: Any) -> Any:
            started.set()
            release.wait(DEADLINE)
            return {}

        cp = ChargePoint("CP1", url=url(cs), enforce_registration=False).connect()
        future = cp.submit_request("BootNotification", BOOT)  # type: ignore[arg-type]
        with pytest.raises(RequestTimeoutError):
            cp.send_request("Heartbeat", timeout=0.05)
        assert started.wait(DEADLINE)
        cs.close_connection("CP1")
        assert isinstance(future.exception(DEADLINE), ConnectionLostError)
        release.set()
        cp.close()


def test_text_password_and_bytes_password() -> None:
    seen = Recorder()

    def authorize(request: Any, charge_point_id: str) -> bool:
        seen(request.basic_credentials)
        return True

    with serving(authorize=authorize) as cs:
        for password in ("pässword", b"\x00\xff:\x80"):
            ChargePoint("CP1", url=url(cs), enforce_registration=False, password=password).connect().close()
    assert seen.items == [(b"CP1", "pässword".encode()), (b"CP1", b"\x00\xff:\x80")]


def test_close_from_a_handler(central_system: Any) -> None:
    cp = ChargePoint("CP1", url=url(central_system), enforce_registration=False, timeouts=Timeouts(close=0.5))
    closed = threading.Event()

    @cp.on("Reset")
    def reset(payload: Any, metadata: Any) -> Any:
        cp.close()
        closed.set()
        return {"status": "Accepted"}

    cp.connect()
    with pytest.raises(ConnectionLostError):
        central_system.send_request("CP1", "Reset", {"type": "Hard"}, timeout=DEADLINE)
    assert closed.wait(DEADLINE)

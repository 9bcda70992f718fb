"""The charge point's end: connecting, refusals, requests both ways, the end of the connection."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from intruder import LingeringThread
from support import BOOT, DEADLINE, Recorder, WatchedLock, accept_boots, connected, serving, wait_until

from ocppsync import (
    CallErrorReceived,
    CentralSystem,
    ChargePoint,
    ConnectionLostError,
    HandshakeError,
    Lenient,
    NotConnectedError,
    RequestTimeoutError,
    Timeouts,
    ValidationError,
)
from ocppsync import charge_point as charge_point_module
from ocppsync.central_system import server_of
from ocppsync.charge_point import ChargePointState
from ocppsync.rpc.connection import Connection
from ocppsync.rpc.engine import Engine
from ocppsync.rpc.message_sets import MessageSets
from ocppsync.rpc.requester import Requester
from ocppsync.testing import FakeChargePoint
from ocppsync.threads.bounded import BoundedExecutor
from ocppsync.wire.websocket import WebSocket


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


def test_a_port_without_a_listener() -> None:
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer s3cr3t\n"),  # as read from a file
        ("Authorization", "Bearer s3cr3t\r\nX: y"),
        ("Authorization", " s3cr3t"),
        ("Authorization", "s3cr3t \u20ac"),
        ("Authorization", b"s3cr3t"),
        ("Authorization: s3cr3t", ""),
        ("", "s3cr3t"),
        (b"X", "s3cr3t"),
    ],
)
@pytest.mark.parametrize("kind", [ChargePoint, FakeChargePoint])
def test_a_bad_header_is_named_without_its_value(kind: Any, name: Any, value: Any) -> None:
    arguments = ("CP1",) if kind is ChargePoint else (CentralSystem(None), "CP1")
    with pytest.raises(ValueError, match=r"headers\[1\]") as error:
        kind(*arguments, headers=[("X-Site", "one two"), (name, value)])
    assert "s3cr3t" not in str(error.value)
    assert error.value.__context__ is None


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
    assert "CLOSED" in repr(cp)
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


def test_a_close_drops_the_calls_that_wait_also_those_of_a_lost_connection() -> None:
    with serving(request_timeout=0.01) as central_system:
        accept_boots(central_system)
        cp = ChargePoint("CP1", url=url(central_system), enforce_registration=False)
        handled, lost = Recorder(), threading.Event()

        @cp.on("ClearCache")
        def clear(payload: Any, metadata: Any) -> Any:
            handled(metadata.message_id)
            assert lost.wait(DEADLINE)
            cp.close()
            return {"status": "Accepted"}

        cp.connect()
        for _ in range(3):
            with pytest.raises(RequestTimeoutError):
                central_system.send_request("CP1", "ClearCache")
        wait_until(lambda: len(cp._calls._queue) == 3)
        central_system.close_connection("CP1")
        assert cp.wait_closed(DEADLINE)
        lost.set()
        wait_until(lambda: not any(one.name.startswith("ocppsync-handler-CP1") for one in threading.enumerate()))
        assert len(handled.items) == 1


# Identities.


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, True),
        ({"protocols": ["ocpp1.6"], "default_protocol": "ocpp1.6"}, True),
        ({"protocols": ["ocpp2.0.1"]}, False),
        ({"protocols": ["ocpp2.1"]}, False),
        ({"protocols": ["ocpp1.6", "ocpp2.0.1"]}, False),
        ({"default_protocol": "ocpp2.1"}, False),
        ({"protocols": ["ocpp2.0.1"], "lenient": Lenient(any_identity=True)}, True),
        ({"protocols": ["ocpp2.0.1"], "lenient": Lenient(numeric_ids=True)}, False),
    ],
)
def test_which_versions_restrict_identities(options: Any, allowed: bool) -> None:
    for identity in ("a:b", "x" * 49):
        if allowed:
            assert ChargePoint(identity, **options).charge_point_id == identity
        else:
            with pytest.raises(ValueError, match=r"OCPP 2\.0\.1 and 2\.1 allow .*a ChargePoint is given Lenient\(any"):
                ChargePoint(identity, **options)


# Two threads at once.


class Guarded(ChargePoint):
    """A charge point that fails where what its lock guards is changed without it."""

    watched: WatchedLock | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        guarded = {"_state", "_connection", "_readers", "_password", "_ssl_context"}
        assert name not in guarded or self.watched is None or self.watched.locked(), (
            f"{name} is changed without the lock"
        )
        super().__setattr__(name, value)

    def __getattribute__(self, name: str) -> Any:
        if name == "_readers":
            assert self.watched is None or self.watched.locked(), f"{name} is read without the lock"
        return super().__getattribute__(name)


def guarded(cs: Any, **options: Any) -> Any:
    cp: Any = Guarded("CP1", url=url(cs), enforce_registration=False, **options)
    lock = WatchedLock()
    cp._lock = lock
    cp.watched = lock
    return cp


def test_the_state_is_kept_under_the_lock(central_system: Any, caplog: pytest.LogCaptureFixture) -> None:
    cp = guarded(central_system)
    events = Recorder()
    cp.add_connection_listener(events)
    cp.set_credentials(password="another", ssl_context=ssl.create_default_context())
    cp.connect()
    cp.disconnect()
    assert cp.wait_closed(DEADLINE)
    cp.connect()
    cp.close()
    assert events.wait(4) == ["connected", "disconnected"] * 2
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_of_two_connects_at_once_one_fails() -> None:
    failures = Recorder()

    def authorize(request: Any, charge_point_id: str) -> bool:
        if not failures.items:
            try:
                cp.connect()
            except RuntimeError as error:
                failures(str(error))
            else:
                failures("none")
        return True

    with serving(authorize=authorize) as cs:
        cp = ChargePoint("CP1", url=url(cs), enforce_registration=False)
        with cp:
            assert failures.items == ["CP1 is connected already"]


def test_a_connect_may_follow_one_that_failed() -> None:
    answers = iter([403, True])
    with serving(authorize=lambda request, charge_point_id: next(answers)) as cs:
        cp = guarded(cs)
        with pytest.raises(HandshakeError):
            cp.connect()
        with cp:
            assert cp.connected


def test_a_close_while_it_connects_leaves_nothing() -> None:
    def authorize(request: Any, charge_point_id: str) -> bool:
        cp.close()
        return True

    with serving(authorize=authorize) as cs:
        events = connected(cs)
        cp = ChargePoint("CP1", url=url(cs), enforce_registration=False)
        with pytest.raises(HandshakeError, match="CP1 was closed while it connected"):
            cp.connect()
        assert not cp.connected
        assert events.wait(2) == [("CP1", "connected"), ("CP1", "disconnected")]


class Ended(Connection):
    """A connection that breaks at once."""

    def run(self) -> None:
        self.abort()
        super().run()


def test_a_connection_that_ends_at_once_is_not_kept(central_system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cp = guarded(central_system)

    class Quick(threading.Thread):
        """A thread that starts slowly: a reader is at the lock by then, or through."""

        watched = False

        def start(self) -> None:
            self.watched = self.name == "ocppsync-reader-CP1"
            super().start()
            if self.watched:
                assert cp.watched.busy.wait(DEADLINE)

        def run(self) -> None:
            super().run()
            if self.watched:
                cp.watched.busy.set()

    with monkeypatch.context() as patch:
        patch.setattr(charge_point_module, "Connection", Ended)
        patch.setattr(threading, "Thread", Quick)
        cp.connect()
    assert cp.wait_closed(DEADLINE)
    assert not cp.connected
    with cp.connect():
        assert cp.connected


def test_a_reader_that_cannot_start_gives_the_socket_back(central_system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unstartable(threading.Thread):
        def start(self) -> None:
            if self.name == "ocppsync-reader-CP1":
                raise RuntimeError("can't start new thread")
            super().start()

    events = connected(central_system)
    cp = ChargePoint("CP1", url=url(central_system), enforce_registration=False)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", Unstartable)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            cp.connect()
    assert not cp.connected
    assert events.wait(2) == [("CP1", "connected"), ("CP1", "disconnected")]
    with cp:
        assert cp.connected


@pytest.mark.parametrize("end", ["close", "disconnect"])
def test_the_thread_that_reads_may_end_the_connection(central_system: Any, end: str) -> None:
    failures = Recorder()

    def hook(text: str, metadata: Any) -> None:
        try:
            getattr(cp, end)()
        except RuntimeError as error:
            failures(error)

    cp = ChargePoint("CP1", url=url(central_system), enforce_registration=False, on_raw_websocket_data=hook)
    cp.connect()
    future = cp.submit_request("BootNotification", BOOT)  # type: ignore[arg-type]
    assert cp.wait_closed(DEADLINE)
    assert future.done()
    assert failures.items == []
    cp.close()


def test_no_thread_is_left_after_a_close(central_system: Any) -> None:
    names = ("ocppsync-handler-CP1", "ocppsync-timer-CP1")
    cp: Any = ChargePoint("CP1", url=url(central_system), enforce_registration=False)
    with cp:
        cp.on("ClearCache")(lambda payload, metadata: {"status": "Accepted"})
        assert central_system.send_request("CP1", "ClearCache") == {"status": "Accepted"}
        assert cp.send_request("BootNotification", BOOT)
        threads = [*cp._readers, *(thread for thread in threading.enumerate() if thread.name.startswith(names))]
        assert len(threads) >= 3
    assert not any(thread.is_alive() for thread in threads)


def test_the_threads_of_earlier_connections_have_ended_too_after_a_close(
    central_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "Thread", LingeringThread)
    cp: Any = ChargePoint("CP1", url=url(central_system), enforce_registration=False)
    readers = []
    for _ in range(3):
        cp.connect()
        readers.append(cp._readers[-1])
        assert central_system.close_connection("CP1")
        assert readers[-1].lingers.wait(DEADLINE)
    cp.close()
    assert [reader.is_alive() for reader in readers] == [False, False, False]


# What fails after the upgrade.


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (ChargePoint, "_version_of"),
        (ChargePoint, "_make_connection"),
        (MessageSets, "messages"),
        (charge_point_module, "Connection"),
        (threading.Thread, "start"),
        (BoundedExecutor, "submit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_connect_that_fails_after_the_upgrade_leaves_nothing(
    central_system: Any, owner: Any, name: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(owner, name)

    def fail(*args: Any, **options: Any) -> Any:
        subject = args[0] if args else None
        if isinstance(subject, threading.Thread) and subject.name != "ocppsync-reader-CP1":
            return original(*args, **options)
        if isinstance(subject, BoundedExecutor) and subject is not cp._events:
            return original(*args, **options)
        raise error

    events, told = connected(central_system), Recorder()
    cp = guarded(central_system, timeouts=Timeouts(close=1000))
    cp.add_connection_listener(told)
    with monkeypatch.context() as patch:
        if owner is MessageSets:
            patch.setattr(cp._end.message_sets, name, fail)
        else:
            patch.setattr(owner, name, fail)
        with pytest.raises(error):
            cp.connect()
        assert (cp.connected, cp._state) == (False, ChargePointState.DISCONNECTED)
        events.wait_until(lambda items: items.count(("CP1", "disconnected")) == 1)
        assert cp.wait_closed(DEADLINE)
    assert told.items == []
    with cp:
        assert cp.send_request("BootNotification", BOOT)["status"] == "Accepted"
    assert told.wait(2) == ["connected", "disconnected"]


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
@pytest.mark.parametrize(("owner", "name"), [(Engine, "open"), (Requester, "end"), (WebSocket, "receive")])
def test_a_reader_that_dies_leaves_no_connection(
    central_system: Any,
    owner: Any,
    name: str,
    error: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    original = getattr(owner, name)

    def fail(*args: Any) -> Any:
        if threading.current_thread().name != "ocppsync-reader-CP1" or server_of(central_system).owns_this_thread:
            return original(*args)
        raise error

    told = Recorder()
    cp = guarded(central_system)
    cp.add_connection_listener(told)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with contextlib.suppress(NotConnectedError):
            cp.connect()
            if name == "end":
                central_system.close_connection("CP1")
        assert told.wait(2) == ["connected", "disconnected"]
        assert cp.wait_closed(DEADLINE)
    assert cp._state is ChargePointState.DISCONNECTED
    assert "the reader failed" in caplog.text
    with cp:
        assert cp.connected


def test_a_socket_is_not_released_under_the_lock(central_system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []
    release = WebSocket.release

    def look_and_release(websocket: WebSocket) -> None:
        if threading.current_thread() is threading.main_thread():
            held.append(cp._lock.locked())
        release(websocket)

    monkeypatch.setattr(WebSocket, "release", look_and_release)

    class Unstartable(threading.Thread):
        def start(self) -> None:
            if self.name == "ocppsync-reader-CP1":
                raise RuntimeError("can't start new thread")
            super().start()

    cp = guarded(central_system)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", Unstartable)
        with pytest.raises(RuntimeError):
            cp.connect()
    assert held == [False]
    cp.close()


def test_a_connect_that_failed_does_not_end_the_next_connection(
    central_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Connection] = []

    def keep(connection: Connection) -> None:
        left.append(connection)

    def refuse(*_: Any) -> Any:
        raise RuntimeError

    told = Recorder()
    cp = guarded(central_system)
    cp.add_connection_listener(told)
    with monkeypatch.context() as patch:
        patch.setattr(BoundedExecutor, "submit", refuse)
        patch.setattr(Connection, "abort", keep)  # its reader goes on meanwhile
        with pytest.raises(RuntimeError):
            cp.connect()
    assert (cp.connected, cp._state) == (False, ChargePointState.DISCONNECTED)
    with cp._lock:
        (reader,) = cp._readers
    with cp:
        left[0].abort()
        reader.join(DEADLINE)
        assert cp.connected
        assert told.wait() == ["connected"]
    assert told.wait(2) == ["connected", "disconnected"]

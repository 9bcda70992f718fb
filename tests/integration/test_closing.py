"""The end: close from anywhere, with work in flight, and nothing left behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from support import BOOT, DEADLINE, Recorder, accept_boots, connected, raw, serving
from websockets.exceptions import ConnectionClosed
from wire import dial, request

from ocppsync import CentralSystem, ChargePoint, ConnectionLostError, Timeouts, utc_now
from ocppsync.central_system import server_of
from ocppsync.server.acceptor import Acceptor
from ocppsync.threads.pool import HandlerPool
from ocppsync.wire.websocket import WebSocket


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ocppsync")]


def test_close_tells_every_charge_point_and_leaves_no_thread() -> None:
    cs = CentralSystem(0, host="127.0.0.1").start()
    accept_boots(cs)
    events = connected(cs)
    with raw(cs, "A") as a, raw(cs, "B") as b:
        assert a.call("1", "BootNotification", BOOT)[0] == 3
        events.wait(2)
        cs.close()
        for peer in (a, b):
            with pytest.raises(ConnectionClosed) as closed:
                peer.websocket.recv(DEADLINE)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
    assert sorted(events.items[2:]) == [("A", "disconnected"), ("B", "disconnected")]
    assert cs.charge_points == []
    assert own_threads() == []


def test_pending_requests_fail_and_running_handlers_finish() -> None:
    started, release = threading.Event(), threading.Event()
    cs = CentralSystem(0, host="127.0.0.1").start()

    @cs.on("Heartbeat")
    def heartbeat(payload: Any, metadata: Any) -> Any:
        started.set()
        assert release.wait(DEADLINE)
        return {"currentTime": utc_now()}

    events = connected(cs)
    with raw(cs) as peer:
        events.wait(1)
        pending = cs.submit_request("CP1", "ClearCache")
        assert peer.read()[2] == "ClearCache"
        peer.send([2, "1", "Heartbeat", {}])
        assert started.wait(DEADLINE)
        closer = threading.Thread(target=cs.close)
        closer.start()
        release.set()
        assert peer.read()[:2] == [3, "1"]
        with pytest.raises(ConnectionClosed):
            peer.websocket.recv(DEADLINE)
        closer.join(DEADLINE)
        assert not closer.is_alive()
        assert isinstance(pending.exception(0), ConnectionLostError)
    assert own_threads() == []


def test_who_comes_in_while_it_closes_is_told_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, closing, told = threading.Event(), threading.Event(), threading.Event()
    let_in, close_reception = WebSocket.open, Acceptor.close

    def let_in_slowly(websocket: WebSocket) -> None:
        let_in(websocket)
        answered.set()
        assert closing.wait(DEADLINE)

    def close_and_say_so(acceptor: Acceptor) -> None:
        close_reception(acceptor)
        closing.set()

    monkeypatch.setattr(WebSocket, "open", let_in_slowly)
    monkeypatch.setattr(Acceptor, "close", close_and_say_so)
    cs = CentralSystem(0, host="127.0.0.1").start()
    # Keeps close() waiting for the pool, so that it has not come to the connections yet.
    cs.add_connection_listener(lambda charge_point_id, status: told.wait(DEADLINE))
    with raw(cs) as peer:
        assert answered.wait(DEADLINE)
        closer = threading.Thread(target=cs.close)
        closer.start()
        with pytest.raises(ConnectionClosed) as closed:
            peer.websocket.recv(DEADLINE)
        told.set()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        closer.join(DEADLINE)
    assert own_threads() == []


def test_a_handler_that_does_not_end_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    started, release = threading.Event(), threading.Event()
    cs = CentralSystem(0, host="127.0.0.1", timeouts=Timeouts(close=0.2)).start()

    @cs.on("Heartbeat")
    def heartbeat(payload: Any, metadata: Any) -> Any:
        started.set()
        release.wait(DEADLINE)
        return {"currentTime": utc_now()}

    with raw(cs) as peer:
        peer.send([2, "1", "Heartbeat", {}])
        assert started.wait(DEADLINE)
        before = time.monotonic()
        cs.close(grace=0.1)
        assert time.monotonic() - before < DEADLINE / 2
    assert "handlers still run" in caplog.text
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("ocppsync")]
    release.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert own_threads() == []


def test_a_silent_peer_does_not_hold_up_close() -> None:
    cs = CentralSystem(0, host="127.0.0.1", timeouts=Timeouts(close=0.3)).start()
    events = connected(cs)
    with raw(cs) as peer:
        events.wait(1)
        # It reads no more, so it never answers the Close.
        peer.websocket.recv_events = lambda: None  # type: ignore[method-assign]
        before = time.monotonic()
        cs.close()
        assert time.monotonic() - before < DEADLINE / 2
    assert own_threads() == []


@pytest.mark.parametrize("where", ["handler", "after", "listener", "callback", "raw hook"])
def test_close_from_anywhere(where: str) -> None:
    box: list[CentralSystem] = []
    closed = threading.Event()

    def close(*_: Any) -> None:
        box[0].close()
        closed.set()

    def handler(request: Any, metadata: Any) -> Any:
        if where == "handler":
            close()
        return {"currentTime": utc_now()}

    hook = close if where == "raw hook" else None
    cs = CentralSystem(0, handler, host="127.0.0.1", on_raw_websocket_data=hook, timeouts=Timeouts(close=0.5)).start()
    box.append(cs)
    if where == "after":
        cs.after("Heartbeat")(close)
    if where == "listener":
        cs.add_connection_listener(lambda charge_point_id, status: close() if status == "connected" else None)
    with raw(cs) as peer:
        if where == "callback":
            future: Future[Any] = cs.submit_request("CP1", "ClearCache")
            future.add_done_callback(close)
            peer.send([3, peer.read()[1], {"status": "Accepted"}])
        else:
            with contextlib.suppress(ConnectionClosed):  # the listener may have been quicker
                peer.send([2, "1", "Heartbeat", {}])
        assert closed.wait(DEADLINE)
    for thread in threading.enumerate():
        if thread.name.startswith("ocppsync"):
            thread.join(DEADLINE)
    assert own_threads() == []
    cs.close()


def test_close_from_within_a_handshake() -> None:
    def authorize(http_request: Any, charge_point_id: str) -> bool:
        cs.close()
        return True

    cs = CentralSystem(0, host="127.0.0.1", authorize=authorize, timeouts=Timeouts(close=0.5)).start()
    with dial(cs.port) as peer:
        peer.send(request())
        peer.wait_for_end()
    for thread in threading.enumerate():
        if thread.name.startswith("ocppsync"):
            thread.join(DEADLINE)
    assert own_threads() == []
    assert cs.charge_points == []


_FORK = """
import os
from ocppsync import CentralSystem, ChargePoint

cs = CentralSystem(0, host="127.0.0.1").start()
cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": "2026-01-01T00:00:00Z"})
point = ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False).connect()
child = os.fork()
if not child:
    cs.close()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(sorted(point.send_request("Heartbeat")))
point.close()
cs.close()
"""


def test_close_in_a_forked_process_leaves_the_connections_alone() -> None:
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "['currentTime']\n"), done.stderr


def test_close_twice_at_once_and_before_start() -> None:
    never_started = CentralSystem(0, host="127.0.0.1")
    never_started.close()
    never_started.close()
    with pytest.raises(RuntimeError, match="is closed"):
        never_started.start()
    cs = CentralSystem(0, host="127.0.0.1").start()
    threads = [threading.Thread(target=cs.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert own_threads() == []


def test_serve_forever_ends_with_close() -> None:
    cs = CentralSystem(0, host="127.0.0.1")
    server = threading.Thread(target=cs.serve_forever)
    server.start()
    with ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False) as cp:
        assert cp.connected
        cs.close()
        assert cp.wait_closed(DEADLINE)
    server.join(DEADLINE)
    assert not server.is_alive()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_serve_forever_ends_though_a_step_of_the_close_fails(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    cs = CentralSystem(0, host="127.0.0.1").start()
    server = threading.Thread(target=cs.serve_forever, daemon=True)
    server.start()
    monkeypatch.setattr(server_of(cs), "close", fail)
    # A second Ctrl-C ends the close; a fault is logged.
    with pytest.raises(KeyboardInterrupt) if error is KeyboardInterrupt else contextlib.nullcontext():
        cs.close()
    server.join(DEADLINE)
    assert not server.is_alive()
    cs.close()
    assert ("a fault while closing" in caplog.text) == (error is RuntimeError)
    server_of(cs).context.executor.close(DEADLINE)
    server_of(cs).context.timer.close()


def test_the_port_can_be_used_again_at_once() -> None:
    with serving() as cs, raw(cs):
        port = cs.port
    CentralSystem(port, host="127.0.0.1").close()


_SCRIPT = """
import os, socket, sys, threading
from ocppsync import CentralSystem, ChargePoint, ConnectionLostError, Timeouts

def descriptors():
    return sorted(os.readlink(f"/proc/self/fd/{fd}").split(":")[0] for fd in os.listdir("/proc/self/fd")
                  if os.path.islink(f"/proc/self/fd/{fd}"))

before = descriptors()
release, started = threading.Event(), threading.Semaphore(0)

def handler(request, metadata):
    started.release()
    release.wait(10)
    return {"currentTime": "2026-01-01T00:00:00Z"}

def silent(payload, metadata):
    started.release()
    release.wait(10)
    return {"status": "Accepted"}

cs = CentralSystem(0, handler, host="127.0.0.1", timeouts=Timeouts(close=0.5)).start()
half_open = socket.create_connection(("127.0.0.1", cs.port))  # a handshake that never comes
points = []
for number in range(10):
    url = f"ws://127.0.0.1:{cs.port}"
    point = ChargePoint(f"P{number}", url=url, enforce_registration=False, timeouts=Timeouts(close=0.5))
    point.on("ClearCache")(silent)
    points.append(point.connect())
up = [point.submit_request("Heartbeat") for point in points for _ in range(3)]
down = [cs.submit_request(point.charge_point_id, "ClearCache") for point in points for _ in range(3)]
for _ in range(20):
    assert started.acquire(timeout=10)
threading.Timer(0.3, release.set).start()
cs.close(grace=0.1)
for future in up + down:
    try:
        future.result(5)
    except ConnectionLostError:
        pass
for point in points:
    point.close()
half_open.close()
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(5)
left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
assert left == [], left
assert descriptors() == before, (before, descriptors())
print("nothing is left")
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_nothing_is_left_of_a_close_with_calls_in_flight() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "nothing is left"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("running", [True, False])
def test_ctrl_c_in_serve_forever_closes_cleanly(running: bool) -> None:
    script = (
        "from ocppsync import CentralSystem\n"
        "class Telling(CentralSystem):\n"
        "    def start(self):\n"
        "        print(super().start().port, flush=True)\n"
        "Telling(0, host='127.0.0.1').serve_forever()\n"
        "print('closed', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    point = ChargePoint("CP1", url=f"ws://127.0.0.1:{port}", enforce_registration=False)
    if running:
        point.connect()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, err) == (0, "closed\n", "")
    point.close()


def test_close_during_a_handshake() -> None:
    asked, release = threading.Event(), threading.Event()

    def authorize(request: Any, charge_point_id: str) -> bool:
        asked.set()
        return release.wait(DEADLINE)

    cs = CentralSystem(0, host="127.0.0.1", authorize=authorize, timeouts=Timeouts(close=0.3)).start()
    events = connected(cs)
    outcome = Recorder()
    point = ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False)

    def connect() -> None:
        try:
            point.connect(DEADLINE)
        except Exception as error:
            outcome(type(error).__name__)
        else:
            outcome("connected")

    client = threading.Thread(target=connect)
    client.start()
    assert asked.wait(DEADLINE)
    cs.close(grace=0.1)
    release.set()
    assert outcome.wait() == ["HandshakeError"]
    client.join(DEADLINE)
    assert events.items == []
    point.close()
    for thread in threading.enumerate():
        if thread.name.startswith("ocppsync"):
            thread.join(DEADLINE)
    assert own_threads() == []


_AT_EXIT = """
import atexit, sys, threading
from ocppsync import CentralSystem, ChargePoint, Timeouts

cs = CentralSystem(0, host="127.0.0.1", timeouts=Timeouts(close=1)).start()
atexit.register(lambda: print("closed", [thread.name for thread in threading.enumerate() if "ocppsync" in thread.name]))
atexit.register(cs.close, {grace})
point = ChargePoint("CP1", url=f"ws://127.0.0.1:{{cs.port}}", enforce_registration=False).connect()
atexit.register(point.close)
started = threading.Event()

@cs.on("Heartbeat")
def heartbeat(payload, metadata):
    started.set()
    threading.Event().wait({hang})
    return {{"currentTime": "2026-01-01T00:00:00Z"}}

point.submit_request("Heartbeat")
assert started.wait(10)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("grace", "hang"), [(5, 0.1), (0.1, 3600)])
def test_close_at_exit(grace: float, hang: float) -> None:
    """Also where a handler never ends: its thread must not keep the interpreter."""
    script = _AT_EXIT.format(grace=grace, hang=hang)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("closed")
    assert ("handler" in done.stdout) == (hang == 3600)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_without_close_the_interpreter_ends_all_the_same() -> None:
    script = _AT_EXIT.format(grace=0.1, hang=3600).replace("atexit.register(cs.close, 0.1)", "")
    script = script.replace("atexit.register(point.close)", "")
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_calls_that_wait_when_it_closes_stay_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charge point sends them again after it has reconnected: an error would tell it not to."""
    handled, release = Recorder(), threading.Event()
    wait_idle = HandlerPool.wait_idle

    def release_and_wait(pool: HandlerPool, timeout: float) -> bool:
        release.set()
        return wait_idle(pool, timeout)

    # Where close waits for handlers, it has taken away what they were to do next.
    monkeypatch.setattr(HandlerPool, "wait_idle", release_and_wait)
    cs = CentralSystem(0, host="127.0.0.1").start()

    @cs.on("Heartbeat")
    def heartbeat(payload: Any, metadata: Any) -> Any:
        handled(metadata.message_id)
        assert release.wait(DEADLINE)
        return {"currentTime": utc_now()}

    with raw(cs) as peer:
        for number in range(5):
            peer.send([2, str(number), "Heartbeat", {}])
        handled.wait(1)
        closer = threading.Thread(target=cs.close)
        closer.start()
        assert peer.read()[:2] == [3, "0"]
        with pytest.raises(ConnectionClosed) as closed:
            peer.websocket.recv(DEADLINE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        closer.join(DEADLINE)
    assert handled.items == ["0"]
    assert own_threads() == []


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True])
def test_fifty_peers_that_do_not_read_do_not_hold_up_close(busy: bool) -> None:
    """The write timeout is longer than anybody should wait for the end."""
    cs = CentralSystem(0, host="127.0.0.1", timeouts=Timeouts(close=0.5, write=60)).start()
    cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted", "data": "x" * 100_000})
    events = connected(cs)
    peers = []
    for number in range(50):
        peers.append(dial(cs.port, receive_buffer=2048))
        peers[-1].upgrade(f"/CP{number}")
    events.wait(50)
    if busy:
        for number, peer in enumerate(peers):
            for call in range(3):
                peer.send_text(f'[2,"{call}","DataTransfer",{{"vendorId":"x"}}]')
            cs.submit_request(f"CP{number}", "DataTransfer", {"vendorId": "x", "data": "y" * 1_000_000})
    before = time.monotonic()
    cs.close(grace=0.5)
    assert time.monotonic() - before < DEADLINE
    assert len([status for _, status in events.wait(100) if status == "disconnected"]) == 50
    for peer in peers:
        peer.sock.close()
    for thread in threading.enumerate():
        if thread.name.startswith("ocppsync"):
            thread.join(DEADLINE)
    assert own_threads() == []


@pytest.mark.parametrize("sent", [b"", b"GET /CP1 HTTP/1.1\r\n", b"\x16\x03\x01"])
def test_handshakes_that_are_under_way_end_with_it(sent: bytes) -> None:
    cs = CentralSystem(0, host="127.0.0.1", timeouts=Timeouts(handshake=DEADLINE * 10)).start()
    with dial(cs.port) as peer:
        peer.send(sent)
        cs.close()
        peer.wait_for_end()
    assert own_threads() == []


@pytest.mark.parametrize("end", ["central system", "charge point"])
def test_requests_end_even_if_a_hook_holds_the_reader_up(end: str) -> None:
    """After `close` no timer runs, and only the reader would end them."""
    held, go_on = threading.Event(), threading.Event()

    def hold(text: str, metadata: Any) -> None:
        held.set()
        assert go_on.wait(DEADLINE)

    options: dict[str, Any] = {"on_raw_websocket_data": hold, "timeouts": Timeouts(close=0.1)}
    with (
        serving(**(options if end == "central system" else {})) as cs,
        ChargePoint(
            "CP1",
            url=f"ws://127.0.0.1:{cs.port}",
            enforce_registration=False,
            **(options if end == "charge point" else {}),
        ) as cp,
    ):
        try:
            if end == "central system":
                cp.submit_request("Heartbeat")
                assert held.wait(DEADLINE)
                futures = [cs.submit_request("CP1", "ClearCache") for _ in range(2)]
                cs.close()
            else:
                cs.submit_request("CP1", "ClearCache")
                assert held.wait(DEADLINE)
                futures = [cp.submit_request("Heartbeat") for _ in range(2)]
                cp.close()
            errors = [future.exception(0) for future in futures]
            assert [getattr(error, "delivery", None) for error in errors] == ["unknown", "not_sent"]
            assert all(isinstance(error, ConnectionLostError) for error in errors)
        finally:
            go_on.set()

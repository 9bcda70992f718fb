"""Each call between an admitted request and the running connection fails: the peer is told, all is given back."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from support import DEADLINE, Recorder, admit, connected, inside, threads
from wire import Peer, dial, listening, request

from ocppsync import CentralSystem, Passwords, SecurityProfiles, Timeouts, hash_password
from ocppsync.central_system import server_of
from ocppsync.rpc.connection import Connection
from ocppsync.rpc.engine import Engine
from ocppsync.rpc.message_sets import MessageSets
from ocppsync.rpc.requester import Requester
from ocppsync.server import serving as serving_module
from ocppsync.server.acceptor import Acceptor
from ocppsync.server.admission import AdmissionPolicy
from ocppsync.server.registry import Registry
from ocppsync.server.serving import ConnectionServer
from ocppsync.testing.memory import memory_pair
from ocppsync.threads.bounded import BoundedExecutor
from ocppsync.threads.timer import Timer
from ocppsync.wire import streams
from ocppsync.wire.transport import CloseCode
from ocppsync.wire.websocket import WebSocket

Background = Callable[..., Future[Any]]
SECRET = "what nobody may read"
BEFORE: list[tuple[Any, str]] = [
    (Acceptor, "upgrade"),
    (ConnectionServer, "_open_and_run"),
    (ConnectionServer, "_make_connection"),
    (Registry, "record"),
    (SecurityProfiles, "connected"),
    (SecurityProfiles, "checks"),
    (MessageSets, "messages"),
    (serving_module, "Connection"),
    (Registry, "add"),
    (WebSocket, "open"),
]
"""What is called before the 101."""
AFTER: list[tuple[Any, str]] = [
    (Engine, "open"),
    (Connection, "_schedule_ping"),
    (Connection, "_check_idleness"),
    (WebSocket, "receive"),
    (Connection, "run"),
]
"""What is called after it."""


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_LINGER", 0.05)


@contextlib.contextmanager
def central_system(**options: Any) -> Iterator[tuple[CentralSystem, Recorder]]:
    told = Recorder()
    security = SecurityProfiles(
        passwords=Passwords({}, hasher=functools.partial(hash_password, n=2)), minimum_profile=0
    )
    with CentralSystem(0, host="127.0.0.1", security=security, observers=[told], **options) as cs:
        yield cs, told


@contextlib.contextmanager
def over(way: str, cs: CentralSystem, background: Background) -> Iterator[Peer]:
    """Have an upgrade request admitted over the port of the central system, or by another server."""
    if way == "over its own port":
        with dial(cs.port) as peer:
            peer.send(request())
            yield peer
        return
    with listening() as listener, dial(listener.getsockname()[1]) as peer:
        served = background(server_of(cs).serve_socket, listener.accept()[0], admit(cs))
        yield peer
        peer.wait_for_end()
        served.result(DEADLINE)


def wait_for_threads(cs: CentralSystem) -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("ocppsync-reader"):
            thread.join(DEADLINE)
    assert (inside(cs), threads(server_of(cs)), cs.charge_points) == ("0", "0", [])


def works(cs: CentralSystem) -> None:
    with dial(cs.port) as peer:
        peer.upgrade()
        peer.send_text('[2,"1","Heartbeat",{}]')
        assert peer.read_text().startswith('[4,"1","NotSupported"')


def failing(error: type[BaseException]) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error(SECRET)

    return fail


def assert_logged(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert SECRET not in line.getMessage()
    assert line.exc_info is not None


Broken = Callable[..., contextlib.AbstractContextManager[tuple[Peer, list[str]]]]


@pytest.fixture
def broken(background: Background, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Broken:
    """Opens a connection during which a function fails: the peer, and, once it has ended, the events that were told."""

    @contextlib.contextmanager
    def open_one(owner: Any, name: str, error: type[BaseException], way: str) -> Iterator[tuple[Peer, list[str]]]:
        events: list[str] = []
        with central_system() as (cs, told):
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, failing(error))
                with over(way, cs, background) as peer:
                    yield peer, events
                wait_for_threads(cs)
            events += [type(event).__name__ for event in told.items]
            assert_logged(caplog)
            works(cs)

    return open_one


ERRORS = pytest.mark.parametrize("error", [RuntimeError, SystemExit])
WAYS = pytest.mark.parametrize("way", ["over its own port", "over another server"])


@ERRORS
@WAYS
@pytest.mark.parametrize(("owner", "name"), BEFORE, ids=[name for _, name in BEFORE])
def test_what_fails_before_the_101_is_answered_with_500(
    owner: Any, name: str, way: str, error: type[BaseException], broken: Broken
) -> None:
    with broken(owner, name, error, way) as (peer, events):
        answer = peer.read_response()
        assert (answer.status, answer.body) == (500, "500 Internal Server Error\n")
        peer.wait_for_end()
    assert events == ["Refused"]


@ERRORS
@WAYS
@pytest.mark.parametrize(("owner", "name"), AFTER, ids=[name for _, name in AFTER])
def test_what_fails_after_the_101_ends_in_a_close(
    owner: Any, name: str, way: str, error: type[BaseException], broken: Broken
) -> None:
    with broken(owner, name, error, way) as (peer, events):
        assert peer.read_response().status == 101
        assert peer.read_close() == (CloseCode.INTERNAL_ERROR, "")
        peer.wait_for_end()
    assert "Refused" not in events


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
@pytest.mark.parametrize("name", ["record", "add", "remove"])
def test_what_fails_in_memory_ends_in_a_close(
    name: str, error: type[BaseException], background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CentralSystem(None) as cs:
        ours, theirs = memory_pair("CP1")
        theirs.send_nowait('[2,"1","Heartbeat",{}]')
        with monkeypatch.context() as patch:
            patch.setattr(Registry, name, failing(error))
            served = background(server_of(cs).serve_transport, ours, admit(cs))
            if name == "remove":
                theirs.close()
            served.result(DEADLINE)
        assert ours.released
        assert (inside(cs), threads(server_of(cs))) == ("0", "0")


@pytest.mark.parametrize("name", ["supersede", "close"])
def test_the_previous_connection_ends_though_it_cannot_be_replaced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with central_system() as (cs, _), dial(cs.port) as earlier:
        events = connected(cs)
        earlier.upgrade()
        events.wait()
        with monkeypatch.context() as patch:
            patch.setattr(Connection, name, failing(RuntimeError))
            with dial(cs.port) as later:
                assert later.ask(request()).status == 500
                later.wait_for_end()
            earlier.wait_for_end()
            events.wait(2)
        wait_for_threads(cs)
        assert events.items == [("CP1", "connected"), ("CP1", "disconnected")]
        works(cs)


def test_requests_to_a_connection_that_could_not_be_served_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    futures: list[Future[Any]] = []

    def ask_and_fail(websocket: WebSocket) -> None:
        futures.append(cs.submit_request("CP1", "ClearCache", timeout=1000))
        raise RuntimeError

    with central_system() as (cs, _), monkeypatch.context() as patch:
        patch.setattr(WebSocket, "open", ask_and_fail)
        with dial(cs.port) as peer:
            # The request was written, and before it the answer to the handshake.
            assert peer.ask(request()).status == 101
            assert "ClearCache" in peer.read_text()
            assert peer.read_close()[0] == CloseCode.INTERNAL_ERROR
        assert "could not be served" in str(futures[0].exception(DEADLINE))
        wait_for_threads(cs)


def test_without_a_thread_for_the_timer_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with central_system() as (cs, _), monkeypatch.context() as patch:
        patch.setattr(Timer, "call_at", failing(RuntimeError))
        with dial(cs.port) as peer:
            assert peer.ask(request()).status == 500
            peer.wait_for_end()
        with dial(cs.port) as peer:
            assert peer.ask(request(Sec_WebSocket_Protocol=None)).status == 101
            assert peer.read_close()[0] == CloseCode.PROTOCOL_ERROR
            peer.wait_for_end()
        wait_for_threads(cs)


def test_without_a_thread_for_the_timer_a_close_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with central_system(websocket_ping_interval=None, timeouts=Timeouts(close=1000)) as (cs, _), dial(cs.port) as peer:
        peer.upgrade()
        with monkeypatch.context() as patch:
            patch.setattr(Timer, "call_at", failing(RuntimeError))
            assert cs.close_connection("CP1")
            peer.wait_for_end()
            wait_for_threads(cs)
    assert SECRET not in caplog.text
    assert "without waiting for the peer's Close" in caplog.text


@pytest.mark.parametrize("part", ["ocppsync-timer", "ocppsync-accept"])
def test_a_start_that_fails_leaves_nothing_behind(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(part):
            raise RuntimeError("can't start new thread")
        start(thread)

    before = set(threading.enumerate())
    cs = CentralSystem(0, host="127.0.0.1")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            cs.start()
        cs.close()
        again = CentralSystem(0, host="127.0.0.1")
        with pytest.raises(RuntimeError, match="can't start new thread"):
            again.start()
    assert set(threading.enumerate()) <= before
    with again:
        works(again)


def test_listeners_that_cannot_be_called_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with central_system() as (cs, _):
        events = connected(cs)
        with monkeypatch.context() as patch:
            patch.setattr(BoundedExecutor, "submit", failing(RuntimeError))
            with dial(cs.port) as peer:
                assert peer.ask(request()).status == 500
                peer.wait_for_end()
            wait_for_threads(cs)
        works(cs)
        assert events.wait(2) == [("CP1", "connected"), ("CP1", "disconnected")]


@pytest.mark.parametrize("step", ["end", "refuse", "abort", "release"])
def test_the_end_of_a_connection_takes_every_step(
    step: str, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = Requester if step == "end" else WebSocket
    original = getattr(owner, step)

    def do_and_fail(*args: Any) -> Any:
        original(*args)
        raise RuntimeError(SECRET)

    with central_system() as (cs, told):
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, do_and_fail)
            with dial(cs.port) as peer:
                peer.upgrade()
                peer.send_close()
                peer.wait_for_end()
            wait_for_threads(cs)
        told.wait_until(lambda events: type(events[-1]).__name__ == "Closed")


@pytest.mark.parametrize(("owner", "name"), [(Registry, "record"), (Engine, "open")])
def test_what_ends_the_program_is_not_kept_from_it(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with central_system() as (cs, _), monkeypatch.context() as patch:
        ours, _ = memory_pair("CP1")
        admitted = admit(cs)
        patch.setattr(owner, name, failing(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            server_of(cs).serve_transport(ours, admitted)  # on the main thread
        assert ours.released
        assert (inside(cs), threads(server_of(cs))) == ("0", "0")


def test_many_faults_are_logged_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with central_system() as (cs, _):
        for owner, name in ((Registry, "record"), (AdmissionPolicy, "admit")):
            caplog.clear()
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, failing(SystemExit))
                for _ in range(7):
                    with dial(cs.port) as peer:
                        assert peer.ask(request()).status == 500
                    wait_for_threads(cs)
            assert len([record for record in caplog.records if record.exc_info]) == 3


def test_a_connection_without_a_stream_is_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with central_system() as (cs, _):
        with monkeypatch.context() as patch, listening() as listener, dial(listener.getsockname()[1]) as peer:
            patch.setattr(Acceptor, "_open_stream", failing(SystemExit))
            sock, _ = listener.accept()
            server_of(cs).start_reader(sock)
            peer.wait_for_end()
            wait_for_threads(cs)
            assert sock.fileno() == -1
        assert_logged(caplog)
        works(cs)


def test_an_identity_whose_end_could_not_be_told_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    with central_system() as (cs, _):
        with monkeypatch.context() as patch, dial(cs.port) as peer:
            peer.upgrade()
            cs.add_connection_listener(lambda *_: None)
            patch.setattr(BoundedExecutor, "submit", failing(RuntimeError))
            peer.send_close()
            peer.wait_for_end()
            wait_for_threads(cs)
        assert list(server_of(cs).context.registry._disconnected) == ["CP1"]

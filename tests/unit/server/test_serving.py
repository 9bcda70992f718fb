"""The threads that serve charge points: arrivals during a close, what a close waits for, what is given back."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from intruder import Intruder, LingeringThread
from support import DEADLINE, Recorder, admit, connected, inside, raw, threads
from websockets.exceptions import ConnectionClosed
from wire import dial, listening, request

from ocppsync import CentralSystem, Limits, Passwords, SecurityProfiles, Timeouts, hash_password
from ocppsync.central_system import server_of
from ocppsync.rpc.connection import Connection
from ocppsync.server.admission import Credentials
from ocppsync.server.registry import Registry
from ocppsync.testing.inline import Clock
from ocppsync.testing.memory import MemoryTransport, memory_pair
from ocppsync.threads.pool import HandlerPool
from ocppsync.wire.http import RefusalError
from ocppsync.wire.transport import CloseCode

Background = Callable[..., Future[Any]]


@contextlib.contextmanager
def served(cs: CentralSystem, background: Background, text: str) -> Iterator[tuple[Future[Any], MemoryTransport]]:
    """Serve a charge point that has sent a text on another thread; yield the future and the charge point's end."""
    ours, theirs = memory_pair("CP1")
    theirs.send_nowait(text)
    ended = background(server_of(cs).serve_transport, ours, admit(cs))
    try:
        yield ended, theirs
    finally:
        ours.abort()
        ended.result(DEADLINE)


# During a close.


def test_a_charge_point_that_connects_after_close_is_not_served(background: Background) -> None:
    told: list[object] = []
    with CentralSystem(None, observers=[told.append]) as cs:
        admitted = admit(cs)
        server_of(cs).drain()
        ours, theirs = memory_pair("CP1")
        ended = background(server_of(cs).serve_transport, ours, admitted)
        try:
            ended.result(DEADLINE / 2)
        finally:
            came = theirs.receive_now()
            ours.abort()
        assert came is None
        assert (theirs.ended, theirs.close_code) == (True, CloseCode.ABNORMAL)
        assert ours.released
        assert inside(cs) == "0"
    assert told == []


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("far", "code"), [("draining", CloseCode.GOING_AWAY), ("aborting", CloseCode.ABNORMAL)])
def test_a_charge_point_that_close_did_not_find_is_closed_as_well(
    background: Background, far: str, code: int, known: bool
) -> None:
    handled: list[str] = []
    # A close that waited for the thread it is called on would take so long.
    with CentralSystem(None, timeouts=Timeouts(close=DEADLINE)) as cs:
        cs.on("Heartbeat")(lambda payload, metadata: handled.append(metadata.message_id))
        serving = server_of(cs)
        make_connection = serving._make_connection

        def close_meanwhile(*arguments: Any) -> Connection:
            # Then the registry knows the charge point before it drains, or only after that.
            connection = make_connection(*arguments) if known else None
            serving.drain()
            if far == "aborting":
                serving.close()
            return connection or make_connection(*arguments)

        serving._make_connection = close_meanwhile  # type: ignore[method-assign]
        serving._check_open = lambda: None  # type: ignore[method-assign]  # the close begins just after that look
        began = time.monotonic()
        with served(cs, background, '[2,"1","Heartbeat",{}]') as (ended, theirs):
            assert background(theirs.receive).result(DEADLINE / 2) is None
            assert theirs.close_code == code
            ended.result(DEADLINE / 2)
        assert time.monotonic() - began < DEADLINE / 2
    assert handled == []


def test_a_charge_point_is_not_let_in_after_a_close_that_did_not_wait_for_the_application(
    background: Background, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ocppsync")
    asked, answer, told = threading.Event(), threading.Event(), Recorder()

    def store(charge_point_id: str, profile: int) -> None:
        asked.set()
        assert answer.wait(DEADLINE)

    security = SecurityProfiles(
        passwords=Passwords({}, hasher=functools.partial(hash_password, n=2)),
        minimum_profile=0,
        on_profile_raised=store,
    )
    options: dict[str, Any] = {"timeouts": Timeouts(close=0.05), "observers": [told], "security": security}
    with CentralSystem(None, journal=tmp_path / "journal", **options) as cs:
        serving, admitted = server_of(cs), admit(cs)
        admitted = replace(admitted, decision=replace(admitted.decision, credentials=Credentials(profile=2)))
        ours, theirs = memory_pair("CP1")
        ended = background(serving.serve_transport, ours, admitted)
        assert asked.wait(DEADLINE)
        cs.close(grace=0.0)
        answer.set()
        ended.result(DEADLINE)
        assert theirs.receive_now() is None
        assert (ours.released, theirs.ended, inside(cs)) == (True, True, "0")
    assert told.items == []
    assert (tmp_path / "journal").read_text() == ""
    assert "CP1 was not let in: the central system is closing" in caplog.text


def test_a_second_close_does_not_go_back() -> None:
    with CentralSystem(None, timeouts=Timeouts(close=0.05)) as cs:
        serving = server_of(cs)
        serving.close()
        assert "ABORTING" in repr(serving)
        serving.drain()
        assert "ABORTING" in repr(serving)


# What a close waits for.


@pytest.mark.parametrize("peer", ["polite", "silent"])
def test_the_threads_of_the_readers_have_ended_when_close_returns(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cs = CentralSystem(0, host="127.0.0.1", timeouts=Timeouts(close=3 * DEADLINE if peer == "polite" else 0.05))
    # By this clock no Close is ever overdue: a silent peer goes by the end of `close` alone.
    cs.start(executor=HandlerPool(2, "ocppsync-handler"), timer=Clock())
    events = connected(cs)
    monkeypatch.setattr(threading, "Thread", LingeringThread)
    with dial(cs.port) as charge_point:
        charge_point.upgrade()
        events.wait()
        closer = threading.Thread(target=cs.close, name="test-closer")
        closer.start()
        assert charge_point.read_close()[0] == CloseCode.GOING_AWAY
        if peer == "polite":
            charge_point.send_close(CloseCode.GOING_AWAY)
        closer.join(DEADLINE)
        assert not closer.is_alive()
        readers = [thread for thread in threading.enumerate() if thread.name.startswith("ocppsync-reader")]
        try:
            assert readers == []
        finally:
            for thread in readers:
                thread.join(DEADLINE)
    assert threads(server_of(cs)) == "0"


def test_the_thread_of_a_connection_that_ended_before_has_ended_too_when_close_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with CentralSystem(0, host="127.0.0.1") as cs:
        monkeypatch.setattr(threading, "Thread", LingeringThread)
        readers = []
        for identity in "AB":
            with dial(cs.port) as charge_point:
                charge_point.upgrade(f"/{identity}")
                (reader,) = named(f"ocppsync-reader-{identity}")
            assert reader.lingers.wait(DEADLINE)
            readers.append(reader)
    assert [reader.is_alive() for reader in readers] == [False, False]


def test_threads_that_have_ended_are_not_kept() -> None:
    with CentralSystem(0, host="127.0.0.1") as cs:
        readers = []
        for identity in "ABCD":
            with dial(cs.port) as charge_point:
                charge_point.upgrade(f"/{identity}")
                (reader,) = named(f"ocppsync-reader-{identity}")
            reader.join(DEADLINE)
            readers.append(weakref.ref(reader))
            del reader
        assert [reader() for reader in readers[:3]] == [None, None, None]


def named(name: str) -> list[Any]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_close_does_not_wait_for_the_end_of_a_thread_of_another_server(background: Background) -> None:
    go_on = threading.Event()
    with CentralSystem(None) as cs:
        events = connected(cs)
        ours, theirs = memory_pair("CP1")
        admitted = admit(cs)

        def serve_and_stay() -> None:
            server_of(cs).serve_transport(ours, admitted)
            go_on.wait(DEADLINE)

        lent = background(serve_and_stay)
        events.wait()
        try:
            closing = background(cs.close)
            assert background(theirs.receive).result(DEADLINE / 2) is None
            closing.result(DEADLINE / 2)
            assert not lent.done()
        finally:
            ours.abort()
            go_on.set()


def test_a_reader_that_does_not_end_delays_close_only_until_the_timeout(background: Background) -> None:
    with CentralSystem(0, host="127.0.0.1", timeouts=Timeouts(handshake=DEADLINE * 10)) as cs, dial(cs.port) as peer:
        peer.send(b"GET /CP1 HTTP/1.1\r\n")
        serving = server_of(cs)
        with listening() as listener, dial(listener.getsockname()[1]):
            serving.start_reader(listener.accept()[0])
            try:
                background(serving._wait, time.monotonic()).result(DEADLINE / 2)
            finally:
                serving.context.acceptor.close()


class _Threads(dict[threading.Thread, bool]):
    """Has the other thread come while this one looks at those that are there."""

    def __init__(self, come: Callable[[], object]) -> None:
        super().__init__({threading.Thread(): False, threading.Thread(): False})
        self._come = come

    def keys(self) -> Any:
        def visit() -> Iterator[threading.Thread]:
            for thread in self:
                yield thread
                self._come()

        return set(visit())


@pytest.mark.parametrize("way", ["over its own port", "over another server"])
def test_a_charge_point_may_connect_while_close_iterates_over_the_threads(way: str) -> None:
    with CentralSystem(None) as cs, listening() as listener:
        serving = server_of(cs)

        def come() -> None:
            if way == "over its own port":
                serving.start_reader(sock)
            else:
                server_of(cs).serve_transport(ours, admitted)

        ours, theirs = memory_pair("CP1")
        theirs.abort()
        admitted = admit(cs)
        dial(listener.getsockname()[1]).sock.close()
        sock, _ = listener.accept()
        intruder = Intruder(come)
        serving._changed = threading.Condition(intruder.lock)
        serving._serving = _Threads(intruder.come)
        with contextlib.closing(sock):
            serving._wait(time.monotonic())
            intruder.result()
            for thread in threading.enumerate():
                if thread.name.startswith("ocppsync-reader"):
                    thread.join(DEADLINE)
        assert threads(serving) == "2"
        serving._serving.clear()


def test_close_lets_charge_points_answer_before_it_aborts_them(background: Background) -> None:
    seen: list[str] = []
    with CentralSystem(None) as cs:
        events = connected(cs)
        serving = server_of(cs)
        wait = serving._wait
        ours, theirs = memory_pair("CP1")

        def look_and_wait(deadline: float) -> None:
            seen.append(repr(ours).split()[2])
            wait(deadline)

        serving._wait = look_and_wait  # type: ignore[method-assign]
        ended = background(server_of(cs).serve_transport, ours, admit(cs))
        events.wait()
        answered = background(theirs.receive)
        cs.close()
        assert answered.result(DEADLINE) is None
        ended.result(DEADLINE)
    assert seen[0] == "closing"


def test_a_charge_point_without_a_protocol_has_time_to_answer_the_close(background: Background) -> None:
    cs, clock = CentralSystem(None), Clock()
    cs.start(executor=HandlerPool(2, "ocppsync-handler"), timer=clock)
    with cs:
        ours, theirs = memory_pair("CP1")
        ended = background(server_of(cs).serve_transport, ours, admit(cs, protocol="ocpp0.9"))
        try:
            assert ours.wait_idle(DEADLINE)
            assert not ours.released
            assert theirs.receive() is None
            ended.result(DEADLINE)
            assert (ours.released, theirs.close_code) == (True, CloseCode.PROTOCOL_ERROR)
            left = [handle.task for _, _, handle in clock._heap if handle.task is not None]
            assert (ours.abort, ()) not in left
        finally:
            ours.abort()


# What is given back.


def test_a_reader_that_cannot_start_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ours, theirs = socket.socketpair()
    with CentralSystem(None) as cs, ours, theirs:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                server_of(cs).start_reader(ours)
        assert threads(server_of(cs)) == "0"


def test_a_connection_without_a_thread_is_closed_and_the_next_one_is_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start

    def refuse_readers(thread: threading.Thread) -> None:
        if thread.name.startswith("ocppsync-reader"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with CentralSystem(0, host="127.0.0.1") as cs:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse_readers)
            with dial(cs.port) as peer:
                peer.wait_for_end()
        with dial(cs.port) as peer:
            peer.upgrade()
    assert "dropped a new connection" in caplog.text


def test_the_slot_is_free_before_listeners_see_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    remove = Registry.remove
    seen: list[object] = []

    def look_and_remove(registry: Registry, connection: Any) -> None:
        seen.append(inside(cs))
        remove(registry, connection)
        seen.append(cs.charge_points)

    monkeypatch.setattr(Registry, "remove", look_and_remove)
    with CentralSystem(None, limits=Limits(connections=1)) as cs:
        ours, theirs = memory_pair("CP1")
        admitted = admit(cs)
        with pytest.raises(RefusalError, match="1 connections already"):
            admit(cs, "CP2")
        theirs.close()
        server_of(cs).serve_transport(ours, admitted)
    assert seen == ["0", []]


def test_what_a_charge_point_has_left_behind_is_not_handled_during_a_close(background: Background) -> None:
    begun, go_on, handled = threading.Event(), threading.Event(), []

    def transfer(request: Any, metadata: Any) -> dict[str, str]:
        begun.set()
        assert go_on.wait(DEADLINE)
        handled.append(request.payload["data"])
        return {"status": "Accepted"}

    with CentralSystem(0, transfer, host="127.0.0.1") as cs:
        events = connected(cs)
        with dial(cs.port) as peer:
            peer.upgrade()
            for number in (1, 2):
                peer.send_text(f'[2,"{number}","DataTransfer",{{"vendorId":"v","data":"{number}"}}]')
            peer.send_text('[2,"3","Unknown",{}]')
            assert begun.wait(DEADLINE)
            assert peer.read_text().startswith('[4,"3"'), "all three were read"
        events.wait_until(lambda items: ("CP1", "disconnected") in items)
        calls = server_of(cs).context.registry.record("CP1").calls
        closing = background(cs.close)
        deadline = time.monotonic() + DEADLINE
        while not calls.closed:
            assert time.monotonic() < deadline
        go_on.set()
        closing.result(DEADLINE)
    assert handled == ["1"]


def test_a_thread_of_another_server_gets_its_name_back(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    this = threading.current_thread()
    # Not the name that it has: an earlier test may have left that of a reader, where the guard is gone.
    monkeypatch.setattr(this, "name", "test-lent")

    def look(text: str, metadata: Any) -> None:
        assert server_of(cs).owns_this_thread, "a close from here must not wait for it"
        names.append(this.name)

    with CentralSystem(None, on_raw_websocket_data=look) as cs:
        ours, theirs = memory_pair("CP1")
        theirs.send_nowait('[2,"1","Heartbeat",{}]')
        theirs.close()
        server_of(cs).serve_transport(ours, admit(cs))
        assert (names, this.name) == (["ocppsync-reader-CP1"], "test-lent")
        assert threads(server_of(cs)) == "0"


def test_a_charge_point_without_a_protocol_releases_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    with CentralSystem(0, host="127.0.0.1") as cs, dial(cs.port) as peer:
        assert peer.ask(request(Sec_WebSocket_Protocol=None)).status == 101
        assert peer.read_close()[0] == 1002
        peer.send_close(1002)
        peer.wait_for_end()
    assert inside(cs) == "0"


def test_a_silent_charge_point_without_a_protocol_is_aborted() -> None:
    with CentralSystem(0, host="127.0.0.1", timeouts=Timeouts(close=0.1)) as cs, dial(cs.port) as peer:
        assert peer.ask(request(Sec_WebSocket_Protocol=None)).status == 101
        assert peer.read_close()[0] == 1002
        peer.wait_for_end()


def test_a_charge_point_that_disconnects_before_it_is_served_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ocppsync.server.serving")
    with CentralSystem(None) as cs, listening() as listener:
        admitted = admit(cs)
        with dial(listener.getsockname()[1]) as peer:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock, _ = listener.accept()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        server_of(cs).serve_socket(sock, admitted)
        assert sock.fileno() == -1
        assert (inside(cs), threads(server_of(cs))) == ("0", "0")
    assert "CP1 disconnected" in caplog.text


def test_a_new_connection_replaces_the_previous_one() -> None:
    with CentralSystem(0, host="127.0.0.1") as cs:
        events = connected(cs)
        with raw(cs) as earlier:
            events.wait()
            outstanding = cs.submit_request("CP1", "ClearCache", timeout=1000)
            assert earlier.read()[2] == "ClearCache"
            with dial(cs.port) as later:
                later.upgrade()
                error = outstanding.exception(DEADLINE)
                assert "another connection of the same identity has taken over" in str(error)
                assert cs.charge_points == ["CP1"]
                with pytest.raises(ConnectionClosed) as closed:
                    earlier.websocket.recv(DEADLINE)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == CloseCode.POLICY_VIOLATION
        events.wait(2)
    assert events.items == [("CP1", "connected"), ("CP1", "disconnected")]


@pytest.mark.parametrize("moment", ["before its security is noted", "at the last moment"])
def test_an_attempt_that_was_overtaken_is_refused(moment: str, background: Background) -> None:
    noted: list[int] = []

    class Security(SecurityProfiles):
        def connected(self, charge_point_id: str, credentials: Credentials) -> None:
            noted.append(credentials.profile)

    security = Security(passwords=Passwords({}, hasher=functools.partial(hash_password, n=2)), minimum_profile=0)
    with CentralSystem(None, security=security) as cs, contextlib.ExitStack() as stack:
        events = connected(cs)
        older, newer = admit(cs), admit(cs)
        ours, theirs = memory_pair("CP1")
        serving = server_of(cs)
        make_connection = serving._make_connection

        def overtake() -> None:
            transport, peer = memory_pair("CP1")
            ended = background(serving.serve_transport, transport, newer)
            stack.callback(ended.result, DEADLINE)
            stack.callback(peer.abort)
            events.wait()

        def make_and_overtake(*arguments: Any) -> Connection:
            connection = make_connection(*arguments)
            serving._make_connection = make_connection  # type: ignore[method-assign]
            overtake()
            return connection

        if moment == "at the last moment":
            serving._make_connection = make_and_overtake  # type: ignore[method-assign]
        else:
            overtake()
        serving.serve_transport(ours, older)
        assert theirs.receive() is None
        assert theirs.close_code == CloseCode.POLICY_VIOLATION
        assert noted == [0] * (2 if moment == "at the last moment" else 1)
        assert events.items == [("CP1", "connected")]
        assert cs.close_connection("CP1")

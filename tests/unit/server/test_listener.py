"""The listening socket over real connections, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from intruder import LingeringThread
from support import Recorder
from wire import DEADLINE, dial

from ocppsync.server import listener as listener_module
from ocppsync.server.listener import Listener


def run(script: str, *arguments: str) -> None:
    """Run a script in a process of its own, which must end well and print ``done``."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stdout + done.stderr


def dropping(sockets: Recorder) -> Callable[[socket.socket], None]:
    """Return what records that a socket came, and closes it."""

    def drop(sock: socket.socket) -> None:
        sockets(sock.getpeername())
        sock.close()

    return drop


def test_it_accepts_on_a_thread_of_its_own_once_started() -> None:
    sockets, threads = Recorder(), Recorder()

    def accepted(sock: socket.socket) -> None:
        threads(threading.current_thread().name)
        assert sock.getblocking()
        dropping(sockets)(sock)

    listener = Listener("127.0.0.1", 0)
    try:
        with dial(listener.port) as early:
            assert not sockets.items
            listener.start(accepted)
            assert sockets.wait() == [early.sock.getsockname()]
            with dial(listener.port) as late:
                assert sockets.wait(2)[1] == late.sock.getsockname()
        assert threads.items == [f"ocppsync-accept-{listener.port}"] * 2
    finally:
        listener.close()


def test_a_busy_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use$") as caught:
            Listener("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign requested address"):
        Listener("192.0.2.1", 0)


def test_the_port_can_be_listened_on_again_at_once() -> None:
    sockets = Recorder()
    listener = Listener("127.0.0.1", 0)
    listener.start(dropping(sockets))
    with dial(listener.port) as peer:
        sockets.wait()
        assert peer.read_rest() == b"", "the server closed first, so the old connection lingers"
        listener.close()
        again = Listener("127.0.0.1", listener.port)
        again.close()


def test_close_ends_a_thread_that_waits_and_refuses_connections() -> None:
    listener = Listener("127.0.0.1", 0)
    listener.start(dropping(Recorder()))
    began = time.monotonic()
    listener.close()
    listener.close()
    assert time.monotonic() - began < 1
    assert f"ocppsync-accept-{listener.port}" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(ConnectionRefusedError):
        dial(listener.port)


def test_the_thread_has_ended_when_close_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", LingeringThread)
        listener = Listener("127.0.0.1", 0)
        listener.start(dropping(Recorder()))
    listener.close()
    assert listener._thread is not None
    assert not listener._thread.is_alive()


def test_close_without_start() -> None:
    listener = Listener("127.0.0.1", 0)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        dial(listener.port)


def test_close_from_its_own_thread() -> None:
    closed = threading.Event()

    def close(sock: socket.socket) -> None:
        sock.close()
        listener.close()
        closed.set()

    listener = Listener("127.0.0.1", 0)
    listener.start(close)
    dial(listener.port).sock.close()
    assert closed.wait(DEADLINE)


def test_a_connection_that_cannot_be_handed_over_is_dropped_alone(caplog: pytest.LogCaptureFixture) -> None:
    sockets = Recorder()

    def fail_once(sock: socket.socket) -> None:
        dropping(sockets)(sock) if caplog.records else threading.Thread(target=1 / 0).start()

    listener = Listener("127.0.0.1", 0)
    listener.start(fail_once)
    try:
        with dial(listener.port) as first:
            assert first.read_rest() == b""
        with dial(listener.port) as second:
            assert sockets.wait() == [second.sock.getsockname()]
        assert [record.getMessage() for record in caplog.records] == ["dropped a new connection: division by zero"]
    finally:
        listener.close()


def test_ipv6() -> None:
    sockets = Recorder()
    listener = Listener("::1", 0)
    listener.start(dropping(sockets))
    try:
        with socket.create_connection(("::1", listener.port), timeout=DEADLINE):
            assert sockets.wait()[0][0] == "::1"
    finally:
        listener.close()


def test_it_recovers_from_a_lack_of_file_descriptors() -> None:
    run(
        """
        import logging, os, resource, socket, threading, time
        from support import Recorder
        from ocppsync.server.listener import Listener

        class Handler(logging.Handler):
            def emit(self, record):
                logged(record.getMessage())

        logged, sockets = Recorder(), Recorder()
        logging.getLogger("ocppsync").addHandler(Handler())
        listener = Listener("127.0.0.1", 0)
        listener.start(lambda sock: (sockets(sock.getpeername()), sock.close()))
        peers = [socket.socket() for _ in range(3)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        filling = []
        try:
            while True:
                filling.append(os.dup(0))
        except OSError:
            pass
        began, cpu = time.monotonic(), time.process_time()
        for peer in peers:
            peer.connect(("127.0.0.1", listener.port))
        assert "cannot accept connections" in logged.wait(2)[0], logged.items
        assert time.process_time() - cpu < 0.5 * (time.monotonic() - began), "it must not spin"
        assert not sockets.items
        for descriptor in filling:
            os.close(descriptor)
        sockets.wait(3)
        for peer in peers:
            peer.close()
        listener.close()
        print("done")
        """
    )


class _Faulty:
    """A listening socket that does something else first where it is to accept.

    Args:
        real: the socket.
        instead: is called with it in `accept`; what it raises comes out.
    """

    def __init__(self, real: socket.socket, instead: Callable[[socket.socket], object]) -> None:
        self._real = real
        self._instead = instead

    def accept(self) -> Any:
        self._instead(self._real)
        return self._real.accept()

    def fileno(self) -> int:
        return self._real.fileno()

    def close(self) -> None:
        self._real.close()


@contextlib.contextmanager
def faulty(instead: Callable[[socket.socket], object], sockets: Recorder) -> Iterator[Listener]:
    listener = Listener("127.0.0.1", 0)
    listener._socket = _Faulty(listener._socket, instead)  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    listener.start(dropping(sockets))
    try:
        yield listener
    finally:
        listener.close()


def test_a_connection_that_ends_before_it_is_accepted_blocks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone, sockets = Recorder(), Recorder()

    def take_away(real: socket.socket) -> None:
        if not gone.items:
            sock, address = real.accept()
            sock.close()
            gone(address)

    with faulty(take_away, sockets) as listener:
        with dial(listener.port):
            gone.wait()
        closing = threading.Thread(target=listener.close, name="test-closer")
        closing.start()
        closing.join(DEADLINE / 2)
        held_up = closing.is_alive()
        if held_up:
            dial(listener.port).sock.close()  # or the test would never end
            closing.join(DEADLINE)
    assert not held_up
    assert sockets.items == []
    assert caplog.records == []


_POLL = select.poll


class _Poll:
    """A poll that notes how long it may wait."""

    def __init__(self, waits: list[float | None]) -> None:
        self._real = _POLL()
        self._waits = waits

    def register(self, *arguments: Any) -> None:
        self._real.register(*arguments)

    def poll(self, timeout: float | None = None) -> Any:
        self._waits.append(timeout)
        return self._real.poll(timeout)


def test_a_persistent_error_is_waited_out_and_logged_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float | None] = []
    monkeypatch.setattr(listener_module, "_PAUSE", 0.001)
    monkeypatch.setattr(listener_module.select, "poll", lambda: _Poll(waits))
    attempts, sockets = Recorder(), Recorder()

    def lack(real: socket.socket) -> None:
        attempts(None)
        if len(attempts.items) not in (10, 12):
            raise OSError(errno.EMFILE, "Too many open files")

    with faulty(lack, sockets) as listener:
        with dial(listener.port):
            sockets.wait()
        with dial(listener.port):
            sockets.wait(2)
    logged = [record.getMessage().partition(" failures in a row")[0].rpartition("(")[2] for record in caplog.records]
    assert logged == ["1", "2", "4", "8", "1"]
    assert [wait for wait in waits if wait is not None] == [1.0] * 10


def test_a_socket_that_was_accepted_blocks_whatever_the_default() -> None:
    timeouts = Recorder()

    def accepted(sock: socket.socket) -> None:
        timeouts((sock.gettimeout(),))
        sock.close()

    listener = Listener("127.0.0.1", 0)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5)
    listener.start(accepted)
    try:
        dial(listener.port).sock.close()
        assert timeouts.wait() == [(None,)]
    finally:
        socket.setdefaulttimeout(before)
        listener.close()


def test_a_thread_that_has_closed_its_listener_polls_no_other_descriptors() -> None:
    others: list[socket.socket] = []
    closed = threading.Event()

    def close(sock: socket.socket) -> None:
        sock.close()
        numbers = {listener._socket.fileno(), listener._wake_reader.fileno()}
        listener.close()
        # The system gives out the lowest numbers first: those that have just become free.
        while not numbers <= {other.fileno() for other in others} and len(others) < 100:
            others.extend(socket.socketpair())  # on which nothing ever comes
        closed.set()

    listener = Listener("127.0.0.1", 0)
    listener.start(close)
    try:
        dial(listener.port).sock.close()
        assert closed.wait(DEADLINE)
        assert listener._thread is not None
        listener._thread.join(DEADLINE)
        assert not listener._thread.is_alive()
    finally:
        for other in others:
            other.close()


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    run(
        """
        import contextlib, os, ssl, sys, threading
        from pathlib import Path
        from certificates import Authority
        from support import Recorder
        from wire import BINARY, dial, request
        from ocppsync import CentralSystem, ChargePoint, ConnectionLostError, HandshakeError, Timeouts

        def descriptors():
            return sorted(os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.exists())

        def visits(cs, context):
            events = Recorder()
            cs.add_connection_listener(events)

            def reach(**options):
                return dial(cs.port, ssl_context=context, **options)

            for number in range(3):
                with reach() as peer:  # a polite one
                    peer.upgrade()
                    peer.send_close()
                    peer.read_rest()
                with reach() as peer:  # one that hangs up
                    peer.upgrade()
                with reach() as peer:  # a rude one
                    peer.upgrade()
                    peer.send_frame(BINARY, "x")
                    peer.read_close()
                with reach() as peer:  # a refused one
                    assert peer.ask(request(Upgrade=None)).status == 426
                with dial(cs.port) as peer:  # a silent one
                    pass
                with dial(cs.port) as peer:  # one with the wrong protocol
                    peer.send(b"\\x16\\x03 GET / HTTP/1.1\\r\\n\\r\\n")
                    peer.wait_for_end()
            with reach(receive_buffer=4096) as peer:  # one that does not read
                peer.upgrade("/deaf")
                events.wait_until(lambda items: ("deaf", "connected") in items)
                waiting = cs.submit_request("deaf", "DataTransfer", {"vendorId": "x", "data": "x" * 8_000_000})
                assert isinstance(waiting.exception(10), ConnectionLostError)
            staying = [reach() for _ in range(3)]
            for number, peer in enumerate(staying):
                peer.upgrade(f"/stays{number}")
            waiting = [dial(cs.port) for _ in range(3)]
            return [*staying, *waiting]

        authority = Authority(Path(sys.argv[1]))
        server, client = authority.server_context(), authority.client_context()
        options = dict(host="127.0.0.1", timeouts=Timeouts(write=0.2, close=0.2))
        options["authorize"] = lambda request, name: name != "nobody"

        def everything():
            for context in (None, server):
                with CentralSystem(0, ssl_context=context, **options) as cs:
                    peers = visits(cs, client if context else None)
                    url = f"{'wss' if context else 'ws'}://localhost:{cs.port}"
                    with ChargePoint("ours", url=url, ssl_context=client if context else None):
                        pass
                    with contextlib.suppress(HandshakeError):
                        ChargePoint("nobody", url=url, ssl_context=client if context else None).connect()
                for peer in peers:
                    peer.sock.close()

        everything()  # what is loaded and kept once
        before = descriptors()
        everything()
        left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        assert not left, left
        assert descriptors() == before, (before, descriptors())
        print("done")
        """,
        str(tmp_path),
    )

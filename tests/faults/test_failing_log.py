"""A log that fails at every line, such as a filter that needs another thread's context, costs only its lines."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bystander import SECRET, besieged
from support import DEADLINE, Recorder, serving
from wire import dial, request

from ocppsync import ChargePoint, Limits, Passwords, SecurityProfiles, Timeouts, hash_password
from ocppsync.faults.log_lines import log_line
from ocppsync.threads.bounded import BoundedExecutor
from ocppsync.threads.pool import HandlerPool
from ocppsync.threads.timer import Timer

ERRORS = pytest.mark.parametrize("error", [RuntimeError, SystemExit])


class FailingHandler(logging.Handler):
    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()  # the text fits its arguments
        raise self._error(SECRET)


@contextlib.contextmanager
def failing_log(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Have every line of the library fail; yields what has reached `threading.excepthook`."""
    failed = Recorder()
    logger, handler = logging.getLogger("ocppsync"), FailingHandler(error)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "excepthook", lambda hooked: failed(hooked.exc_type, hooked.thread.name))
        patch.setattr(logger, "level", logging.DEBUG)
        logger.addHandler(handler)
        try:
            yield failed
        finally:
            logger.removeHandler(handler)


def fail(*_: object) -> Any:
    raise ValueError(SECRET)


@ERRORS
def test_a_log_that_fails_costs_no_charge_point_anything(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    profiles = SecurityProfiles(
        passwords=Passwords({}, hasher=functools.partial(hash_password, n=2)), minimum_profile=0
    )
    limits, timeouts = Limits(malformed_messages=3), Timeouts(handler=0.2, close=0.2)
    with (
        failing_log(error, monkeypatch) as failed,
        besieged(caplog, security=profiles, limits=limits, may_fail=True, timeouts=timeouts) as siege,
    ):
        release = threading.Event()
        siege.cs.on("Authorize")(fail)
        siege.cs.on("DataTransfer")(lambda payload, metadata: release.wait(DEADLINE))
        for path, status in {"/a%00b": 400, "/x": 401}.items():
            with dial(siege.port) as peer:
                peer.send(request(path, Authorization="Basic eDp5") if status == 401 else request(path))
                assert peer.read_response().status == status
                peer.wait_for_end()
        with dial(siege.port) as peer:
            peer.send(b"\0\0\r\n\r\n")
            assert peer.read_response().status == 400
            peer.wait_for_end()
        with siege.attacker() as attacker:
            attacker.send_text('[2,"1","Authorize",{"idTag":"x"}]')
            assert attacker.read_text().startswith('[4,"1","InternalError"')
            attacker.send_text('[2,"2","DataTransfer",{"vendorId":"x"}]')
            assert attacker.read_text().startswith('[4,"2","InternalError"')
            attacker.send_text('[3,"nobody",{}]')
            for _ in range(4):
                attacker.send_text("[")
            attacker.wait_for_end()
        release.set()
        siege.wait_gone()
        with siege.attacker("other"), siege.attacker("other") as newer:
            newer.send_text('[2,"1","Heartbeat",{}]')
            assert newer.read_text().startswith('[3,"1"')
    assert {kind for kind, _ in failed.items} == {error}
    assert len(failed.items) > 10


@ERRORS
def test_a_log_that_fails_stops_no_listener(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("ocppsync-reader"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with failing_log(error, monkeypatch) as failed, serving() as cs:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with dial(cs.port) as peer:
                peer.wait_for_end()
        # Nor does a fault of the system itself, such as too few descriptors.
        with monkeypatch.context() as patch:
            faults = iter([OSError(24, "Too many open files")])
            accept = socket.socket.accept

            def once(sock: socket.socket) -> Any:
                for fault in faults:
                    raise fault
                return accept(sock)

            patch.setattr(socket.socket, "accept", once)
            with dial(cs.port) as peer:
                peer.upgrade()
        with dial(cs.port) as peer:
            peer.upgrade("/other")
    assert any(name.startswith("ocppsync-accept") for _, name in failed.items), failed.items


@ERRORS
def test_a_log_that_fails_stops_no_timer_and_no_pool(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    timer, pool = Timer("test-timer"), HandlerPool(1, "test-pool")
    bounded, done = BoundedExecutor(pool), Recorder()
    with failing_log(error, monkeypatch) as failed:
        timer.call_later(0, fail)
        timer.call_later(0, done, "timer")
        pool.submit(fail)
        pool.submit(done, "pool")
        bounded.submit(fail)
        bounded.submit(done, "bounded")
        timer.aside.start(fail)
        assert sorted(done.wait(3)) == ["bounded", "pool", "timer"]
        failed.wait(4)
        timer.close()
        assert pool.close(DEADLINE)
        assert "running=0" in repr(bounded)


@ERRORS
def test_a_log_that_fails_ends_no_charge_point(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as cs, failing_log(error, monkeypatch) as failed:
        cs.on("Authorize")(fail)
        told = Recorder()
        cp = ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False)
        cp.add_connection_listener(told)
        for _ in range(2):
            cp.connect()
            assert cs.close_connection("CP1")
            told.wait_until(lambda items: items.count("disconnected") == items.count("connected") > 0)
            told.items.clear()
        cp.close()
        assert failed.items


def test_a_log_that_fails_fails_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with failing_log(RuntimeError, monkeypatch) as failed, serving(journal=str(full)) as cs, dial(cs.port) as peer:
        peer.upgrade()
        peer.send_text('[2,"1","Heartbeat",{}]')
        assert peer.read_text().startswith('[4,"1","NotSupported"')
    assert failed.items


def test_a_fault_of_the_hook_itself_costs_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with failing_log(RuntimeError, monkeypatch):
        monkeypatch.setattr(threading, "excepthook", fail)
        log_line(logging.getLogger("ocppsync.test"), logging.INFO, "x")


def test_on_the_main_thread_an_exit_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    with failing_log(SystemExit, monkeypatch), pytest.raises(SystemExit):
        log_line(logging.getLogger("ocppsync.test"), logging.INFO, "x")

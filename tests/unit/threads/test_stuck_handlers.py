"""What the log says of handlers that hang."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lone import Lone
from support import DEADLINE, RawChargePoint, accept_boots, connected, raw, serving
from websockets.exceptions import ConnectionClosedOK

from ocppsync import CentralSystem, RequestTimeoutError, Timeouts, utc_now
from ocppsync.central_system import server_of
from ocppsync.testing.inline import Clock
from ocppsync.threads.pool import HandlerPool
from ocppsync.threads.stuck_handlers import StuckHandlerDetector
from ocppsync.threads.timer import Timer


class Said(logging.Handler):
    """The lines of a logger, for a test to wait on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._changed = threading.Condition()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.lines.append(record.getMessage())
            self._changed.notify_all()

    def wait(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.lines) >= count, DEADLINE), self.lines
            return list(self.lines)


@pytest.fixture
def said() -> Iterator[Said]:
    handler = Said()
    logger = logging.getLogger("ocppsync.threads.stuck_handlers")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


STUCK = 0.1


@contextlib.contextmanager
def handling(watch: StuckHandlerDetector, peer: str, action: str, asked_at: float = 0.0) -> Iterator[None]:
    """Have this thread handle a CALL."""
    watch.running[threading.get_ident()] = SimpleNamespace(peer=peer, action=action, asked_at=asked_at)
    yield
    del watch.running[threading.get_ident()]


class Office:
    """Two handler threads and their watch, which is quick to complain."""

    def __init__(self) -> None:
        self.pool = HandlerPool(2, "test-handler")
        self.timer = Timer("test-timer")
        self.watch = StuckHandlerDetector(self.pool, self.timer, stuck_after=STUCK)
        self.looked = threading.Semaphore(0)
        self.release = threading.Semaphore(0)
        self._running = threading.Semaphore(0)

    def hang_all(self) -> None:
        """Have both threads run a handler that hangs."""
        for number in range(2):
            self.pool.submit(self._handle, f"CP{number}")
        for _ in range(2):
            assert self._running.acquire(timeout=DEADLINE)

    def let_go(self) -> None:
        self.release.release(2)
        assert self.pool.wait_idle(DEADLINE)

    def _handle(self, charge_point_id: str) -> None:
        with handling(self.watch, charge_point_id, "Authorize"):
            self._look_into_the_database()

    def _look_into_the_database(self) -> None:
        self._running.release()
        assert self.release.acquire(timeout=DEADLINE)

    def wait_for_looks(self, count: int = 3) -> None:
        """Wait until the watch must have looked so many times."""
        done = threading.Event()
        self.timer.call_later(0.05 * count, done.set)
        assert done.wait(DEADLINE)


@pytest.fixture
def office() -> Iterator[Office]:
    opened = Office()
    yield opened
    opened.release.release(100)
    opened.timer.close()
    assert opened.pool.close(DEADLINE)


def test_busy_threads_are_told_once_and_again_after_they_were_free(office: Office, said: Said) -> None:
    office.watch.start()
    for times in (1, 2):
        office.hang_all()
        lines = said.wait(times)
        office.wait_for_looks()
        assert len(said.lines) == times
        office.let_go()
        office.wait_for_looks()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("all handler threads are busy for 0.1 s: Authorize of CP")
        assert line.count("_look_into_the_database") == 2
        assert "\n" not in line


def test_what_is_no_handler_of_an_action_keeps_threads_busy_too(office: Office, said: Said) -> None:
    office.watch.start()
    for _ in range(2):
        office.pool.submit(office.release.acquire, True, DEADLINE)
    assert said.wait(1)[0].endswith(": none of them runs a handler of an action")


def test_threads_that_get_on_are_not_stuck(office: Office, said: Said) -> None:
    office.watch.start()
    longest, end = 0.0, time.monotonic() + 3 * STUCK
    while (began := time.monotonic()) < end:
        office.hang_all()
        office.let_go()
        longest = max(longest, time.monotonic() - began)
    office.pool.submit(office.release.acquire, True, DEADLINE)
    office.wait_for_looks(5)
    # On a machine that stood still for so long, they were stuck indeed.
    assert said.lines == [] or longest > STUCK


def test_the_stack_of_a_thread(office: Office) -> None:
    office.hang_all()
    handler = next(thread for thread in threading.enumerate() if thread.name == "test-handler-1")
    stack = office.watch.stack_of(handler.ident or 0)
    here = re.escape(Path(__file__).name)
    assert re.search(rf"{here}:\d+ _handle > .*{here}:\d+ _look_into_the_database", stack)
    assert stack.count(" > ") <= 5
    office.let_go()
    assert office.watch.stack_of(-1) == "(ended)"


class _ReusedFrame:
    """A frame of a thread that went on while the frame was read: CPython has put something else there."""

    f_code = 7
    f_lineno = 1
    f_back = None


def test_a_stack_that_changes_while_it_is_read_is_no_failure(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_current_frames", lambda: {1: _ReusedFrame()})
    assert office.watch.stack_of(1) == "(changing)"


def test_a_call_is_answered_at_its_deadline_though_the_stack_of_its_handler_changes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "_current_frames", lambda: {threading.get_ident(): _ReusedFrame()})
    with Lone(timeouts=Timeouts(handler=5)) as lone:
        lone.router.on("Heartbeat")(lambda payload, metadata: lone.clock.advance(5))
        lone.say([2, "1", "Heartbeat", {}])
        lone.clock.advance(0)
        assert [answer[:3] for answer in lone.came()] == [[4, "1", "InternalError"]]
    assert "after 5 s: its handler is at (changing)" in caplog.text


def test_a_request_from_elsewhere_is_nobodys_fault(office: Office, said: Said) -> None:
    office.watch.warn_possible_deadlock("CP1", "Reset")
    with handling(office.watch, "CP2", "Authorize"):
        office.watch.warn_possible_deadlock("CP1", "Reset")
    office.watch.warn_possible_deadlock("CP2", "Reset")
    assert said.lines == []


def test_a_handler_that_waits_for_its_own_charge_point_gets_a_hint(said: Said) -> None:
    """Many stations answer nothing before they have the answer to what they asked."""
    with serving(request_timeout=0.2) as cs:
        accept_boots(cs)

        @cs.on("Heartbeat")
        def heartbeat(payload: Any, metadata: Any) -> Any:
            with pytest.raises(RequestTimeoutError):
                cs.send_request(metadata.charge_point_id, "ClearCache")
            return {"currentTime": utc_now()}

        with raw(cs) as peer:
            peer.send([2, "1", "Heartbeat", {}])
            assert peer.read()[2] == "ClearCache"
            assert peer.read()[:2] == [3, "1"]
    assert said.lines == [
        "CP1 did not answer ClearCache, for which the handler of its own Heartbeat waits; it may wait for that answer "
        "first: send the request from a function that runs after('Heartbeat')"
    ]


# The deadline of a handler, end to end.


class Hanging:
    """A handler that hangs until it is told not to."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer
        self.calls: list[Any] = []
        self.started = threading.Semaphore(0)
        self.release = threading.Semaphore(0)
        self.done = threading.Semaphore(0)

    def __call__(self, payload: Any, metadata: Any) -> Any:
        self.calls.append(metadata.message_id)
        self.started.release()
        assert self.release.acquire(timeout=DEADLINE)
        self.done.release()
        return self.answer()


def heartbeat() -> Any:
    return {"currentTime": utc_now()}


@contextlib.contextmanager
def on_a_clock() -> Iterator[tuple[CentralSystem, Clock]]:
    """A central system whose handlers have threads and a minute, on a clock that the test moves."""
    cs, clock = CentralSystem(0, host="127.0.0.1", websocket_ping_interval=None, timeouts=Timeouts(handler=60)), Clock()
    cs.start(executor=HandlerPool(4, "ocppsync-handler"), timer=clock)
    with cs:
        yield cs, clock


def wait_until_all_is_read(peer: RawChargePoint) -> None:
    """Wait until the reader has been through all that was sent: it answers this itself."""
    assert peer.call("unknown", "Nothing", {})[:3] == [4, "unknown", "NotImplemented"]


def test_a_handler_that_hangs_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    hanging = Hanging(heartbeat)
    with on_a_clock() as (cs, clock):
        cs.on("Heartbeat")(hanging)
        with raw(cs) as peer:
            peer.send([2, "1", "Heartbeat", {}])
            assert hanging.started.acquire(timeout=DEADLINE)
            clock.advance(59)
            peer.send([2, "2", "Heartbeat", {}])
            wait_until_all_is_read(peer)
            clock.advance(1)
            assert peer.read() == [4, "1", "InternalError", "it took too long", {}]
            # Its own answer is dropped, and the next CALL has a thread and an answer as ever.
            hanging.release.release(2)
            assert peer.read()[:2] == [3, "2"]
        assert hanging.calls == ["1", "2"]
    assert caplog.text.count("the late answer to its Heartbeat is dropped") == 1
    (line,) = [record.getMessage() for record in caplog.records if "InternalError" in record.getMessage()]
    assert line.startswith("CP1: its Heartbeat was answered with InternalError after 60 s: its handler is at ")
    assert "test_stuck_handlers.py" in line
    assert "\n" not in line


def test_calls_behind_a_handler_that_hangs_are_answered_too_and_not_handled(caplog: pytest.LogCaptureFixture) -> None:
    hanging = Hanging(heartbeat)
    with on_a_clock() as (cs, clock):
        cs.on("Heartbeat")(hanging)
        with raw(cs) as peer:
            for number in range(3):
                peer.send([2, str(number), "Heartbeat", {}])
            assert hanging.started.acquire(timeout=DEADLINE)
            wait_until_all_is_read(peer)
            clock.advance(60)
            assert [peer.read()[:3] for _ in range(3)] == [[4, str(n), "InternalError"] for n in range(3)]
            hanging.release.release(2)
            assert peer.call("3", "Heartbeat", {})[0] == 3
        assert hanging.calls == ["0", "3"]
    assert caplog.text.count("it waits for its turn") == 2


def test_calls_that_a_close_has_left_waiting_stay_unanswered(caplog: pytest.LogCaptureFixture) -> None:
    """Also where it grants the running handlers more time than a handler has: the charge point sends them again."""
    hanging = Hanging(heartbeat)
    with on_a_clock() as (cs, clock):
        cs.on("Heartbeat")(hanging)
        with raw(cs) as peer:
            for number in range(3):
                peer.send([2, str(number), "Heartbeat", {}])
            assert hanging.started.acquire(timeout=DEADLINE)
            wait_until_all_is_read(peer)
            (connection,) = server_of(cs).context.registry.connections()
            server_of(cs).drain()  # as close() begins
            clock.advance(60)
            assert peer.read() == [4, "0", "InternalError", "it took too long", {}]
            hanging.release.release()
            connection.close(1001)
            with pytest.raises(ConnectionClosedOK):
                peer.read()
        assert hanging.calls == ["0"]
    assert "it waits for its turn" not in caplog.text


def test_a_repeat_after_the_deadline_is_handled_anew() -> None:
    hanging = Hanging(lambda: {"status": "Accepted"})
    with on_a_clock() as (cs, clock):
        cs.on("DataTransfer")(hanging)
        with raw(cs) as peer:
            peer.send([2, "1", "DataTransfer", {"vendorId": "A"}])
            assert hanging.started.acquire(timeout=DEADLINE)
            clock.advance(60)
            assert peer.read()[0] == 4
            hanging.release.release(2)
            assert peer.call("1", "DataTransfer", {"vendorId": "A"})[0] == 3
            # That answer is the one that is kept.
            assert peer.call("1", "DataTransfer", {"vendorId": "A"})[0] == 3
        assert hanging.calls == ["1", "1"]


def test_a_boot_that_was_accepted_too_late_is_no_registration() -> None:
    verdicts = iter(["Pending", "Accepted", "Accepted"])
    hanging = Hanging(lambda: {"status": next(verdicts), "currentTime": utc_now(), "interval": 5})
    boot = {"chargePointVendor": "Acme", "chargePointModel": "One"}
    with on_a_clock() as (cs, clock):
        cs.on("BootNotification")(hanging)
        cs.on("Heartbeat")(lambda payload, metadata: heartbeat())
        with raw(cs) as peer:
            hanging.release.release()
            assert peer.call("1", "BootNotification", boot)[2]["status"] == "Pending"
            assert hanging.started.acquire(timeout=DEADLINE)
            peer.send([2, "2", "BootNotification", boot])
            assert hanging.started.acquire(timeout=DEADLINE)
            clock.advance(60)
            assert peer.read()[:2] == [4, "2"]
            hanging.release.release()
            assert peer.call("3", "Heartbeat", {})[:3] == [4, "3", "SecurityError"], "nobody has told it Accepted"
            hanging.release.release()
            assert peer.call("4", "BootNotification", boot)[2]["status"] == "Accepted"
            assert peer.call("5", "Heartbeat", {})[0] == 3


def test_the_answer_to_a_handler_that_hangs_goes_to_the_newer_connection() -> None:
    start = {"connectorId": 1, "idTag": "x", "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}
    hanging = Hanging(lambda: {"transactionId": 1, "idTagInfo": {"status": "Accepted"}})
    with on_a_clock() as (cs, clock):
        cs.on("StartTransaction")(hanging)
        with raw(cs) as earlier:
            earlier.send([2, "1", "StartTransaction", start])
            assert hanging.started.acquire(timeout=DEADLINE)
            with raw(cs) as later:
                later.send([2, "1", "StartTransaction", start])
                wait_until_all_is_read(later)
                clock.advance(60)
                assert later.read()[:3] == [4, "1", "InternalError"]
                hanging.release.release()


def test_without_a_bound_a_handler_takes_its_time() -> None:
    hanging = Hanging(heartbeat)
    with serving(timeouts=Timeouts(handler=None)) as cs:
        cs.on("Heartbeat")(hanging)
        with raw(cs) as peer:
            peer.send([2, "1", "Heartbeat", {}])
            assert hanging.started.acquire(timeout=DEADLINE)
            hanging.release.release()
            assert peer.read()[:2] == [3, "1"]


def test_close_does_not_wait_for_deadlines() -> None:
    hanging = Hanging(heartbeat)
    before = time.monotonic()
    with serving(timeouts=Timeouts(handler=DEADLINE * 10)) as cs:
        cs.on("Heartbeat")(hanging)
        events = connected(cs)
        with raw(cs) as peer:
            events.wait()
            peer.send([2, "1", "Heartbeat", {}])
            assert hanging.started.acquire(timeout=DEADLINE)
            hanging.release.release()
            assert peer.read()[:2] == [3, "1"]
    assert time.monotonic() - before < DEADLINE

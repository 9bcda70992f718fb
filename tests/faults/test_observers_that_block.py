"""Observers that block where the timer is at work, beside charge points whose pings and deadlines must go on."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from bystander import Siege, besieged
from support import Recorder, serving
from wire import DEADLINE, PING, Peer, dial

from ocppsync import ChargePoint, RequestTimeoutError, Timeouts
from ocppsync.central_system import server_of
from ocppsync.events import Closed, HandlerFailed, MessageReceived, MessageSent, TimedOut

SOON = 0.05


class Blocker:
    """An observer that is held up by each event of one kind of one charge point."""

    def __init__(self, kind: type, then: Callable[[Any], object] | None = None) -> None:
        self._kind = kind
        self._then = then
        self.entered = threading.Event()
        self.release = threading.Event()
        self.told = Recorder()

    def __call__(self, event: Any) -> None:
        if isinstance(event, self._kind) and event.charge_point_id == "attacker":
            self.entered.set()
            assert self.release.wait(2 * DEADLINE)
        if getattr(event, "charge_point_id", "") == "attacker":
            self.told(event)


def others_go_on(siege: Siege) -> None:
    """A charge point beside: its requests time out, its handlers have deadlines, and it is pinged."""
    with siege.attacker("beside") as beside:
        with pytest.raises(RequestTimeoutError):
            siege.cs.send_request("beside", "ClearCache", timeout=SOON)
        assert next_text(beside)[2] == "ClearCache"
        server = server_of(siege.cs).context
        connection: Any = server.registry.connected["beside"]
        server.timer.call_later(0, connection._ping)
        assert beside.read_frame().opcode == PING
        beside.send_text('[2,"slow","Authorize",{"idTag":"x"}]')
        assert next_text(beside)[:3] == [4, "slow", "InternalError"]
    siege.bystanders.serve_on()


@contextlib.contextmanager
def slow_handler(siege: Siege) -> Any:
    release = threading.Event()
    siege.cs.on("Authorize")(lambda payload, metadata: release.wait(2 * DEADLINE))
    yield
    release.set()


def next_text(peer: Peer) -> Any:
    return json.loads(peer.read_text())


OPTIONS: dict[str, Any] = {"timeouts": Timeouts(handler=4 * SOON, close=2.0), "may_fail": True}
IMPATIENT = {**OPTIONS, "request_timeout": SOON}


def test_an_observer_that_blocks_on_a_timeout_stops_no_ping_and_no_deadline(caplog: pytest.LogCaptureFixture) -> None:
    blocker = Blocker(TimedOut)
    with besieged(caplog, observers=[blocker], **IMPATIENT) as siege, slow_handler(siege), siege.attacker() as attacker:
        first = siege.cs.submit_request("attacker", "ClearCache")
        second = siege.cs.submit_request("attacker", "Reset", {"type": "Soft"}, timeout=2 * DEADLINE)
        assert isinstance(first.exception(DEADLINE), RequestTimeoutError)
        assert blocker.entered.wait(DEADLINE)
        others_go_on(siege)
        # The charge point itself is served, too.
        assert next_text(attacker)[2] == "ClearCache"
        message_id = next_text(attacker)[1]
        attacker.send_text(f'[3,"{message_id}",{{"status":"Accepted"}}]')
        assert second.result(DEADLINE) == {"status": "Accepted"}
        assert not any(isinstance(event, TimedOut) for event in blocker.told.items)
        attacker.send_close()
        attacker.wait_for_end()
        blocker.release.set()
        blocker.told.wait_until(lambda items: isinstance(items[-1], Closed))
    kinds = [type(event) for event in blocker.told.items if not isinstance(event, HandlerFailed)]
    # As it happened: ClearCache is sent, Reset is sent when it times out, the answer, the end.
    assert kinds[1:] == [MessageSent, MessageSent, TimedOut, MessageReceived, Closed]


@pytest.mark.parametrize("event", [HandlerFailed, MessageSent])
def test_an_observer_that_blocks_on_what_happens_at_a_deadline(caplog: pytest.LogCaptureFixture, event: Any) -> None:
    """A handler that took too long, and the answer that is sent for it."""
    blocker = Blocker(event)
    with besieged(caplog, observers=[blocker], **OPTIONS) as siege, slow_handler(siege), siege.attacker() as attacker:
        attacker.send_text('[2,"1","Authorize",{"idTag":"x"}]')
        assert next_text(attacker)[:3] == [4, "1", "InternalError"]
        assert blocker.entered.wait(DEADLINE)
        others_go_on(siege)
        blocker.release.set()


def test_an_observer_may_send_requests_at_a_timeout(caplog: pytest.LogCaptureFixture) -> None:
    # Such as to ask once more. Each waits for an answer, and has a deadline of its own on the timer.
    answers = Recorder()

    def ask(event: Any) -> None:
        if isinstance(event, TimedOut) and event.charge_point_id == "attacker" and event.action == "ClearCache":
            answers(siege.cs.send_request("attacker", "Reset", {"type": "Soft"}, timeout=2 * DEADLINE))
            with pytest.raises(RequestTimeoutError):
                siege.cs.send_request("attacker", "Reset", {"type": "Soft"}, timeout=SOON)
            answers("timed out")

    with besieged(caplog, observers=[ask], **IMPATIENT) as siege, slow_handler(siege), siege.attacker() as attacker:
        siege.cs.submit_request("attacker", "ClearCache")
        assert next_text(attacker)[2] == "ClearCache"
        attacker.send_text(f'[3,"{next_text(attacker)[1]}",{{"status":"Accepted"}}]')
        assert answers.wait(2) == [{"status": "Accepted"}, "timed out"]
        others_go_on(siege)


def heartbeat_after_texts(peer: Peer) -> None:
    """Be answered, after requests that are left unanswered."""
    peer.send_text('[2,"h","Heartbeat",{}]')
    while next_text(peer)[:2] != [3, "h"]:
        pass


def test_on_the_thread_of_the_timer_nobody_waits_for_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    # Nothing of the application runs there but the handlers of `logging`.
    errors = Recorder()
    with besieged(caplog, **OPTIONS) as siege, slow_handler(siege), siege.attacker():
        future = siege.cs.submit_request("attacker", "ClearCache", timeout=DEADLINE)

        def attempt(function: Callable[..., Any], *args: Any) -> None:
            try:
                errors(function(*args))
            except RuntimeError as error:
                errors(str(error))

        timer = server_of(siege.cs).context.timer
        timer.call_later(0, attempt, siege.cs.send_request, "attacker", "Reset", {"type": "Soft"})
        timer.call_later(0, attempt, siege.cs.submit_request, "attacker", "Reset", {"type": "Soft"})
        timer.call_later(0, attempt, future.result, DEADLINE)
        timer.call_later(0, attempt, future.exception)
        errors.wait(4)
        others_go_on(siege)
    text = "this thread runs the pings and timeouts of all connections"
    assert errors.items == [
        f"cannot send Reset: {text}; send it on another thread",
        f"cannot send Reset: {text}; send it on another thread",
        f"cannot wait for the answer to ClearCache: {text}",
        f"cannot wait for the answer to ClearCache: {text}",
    ]


def test_on_the_reader_nobody_waits_for_an_answer_that_it_reads(caplog: pytest.LogCaptureFixture) -> None:
    futures: list[Future[Any]] = []
    errors = Recorder()

    def observer(event: Any) -> None:
        if isinstance(event, MessageReceived) and event.message_id == "h":
            for wait in (futures[0].result, futures[0].exception):
                try:
                    wait()
                except RuntimeError as error:
                    errors(str(error))

    with besieged(caplog, observers=[observer]) as siege, siege.attacker() as attacker:
        futures.append(siege.cs.submit_request("attacker", "ClearCache"))
        heartbeat_after_texts(attacker)
    reason = "this thread reads the answer, and runs raw-data hooks and observers"
    assert errors.items == [f"cannot wait for the answer to ClearCache: {reason}"] * 2


def test_the_timer_of_a_charge_point_goes_on_as_well(caplog: pytest.LogCaptureFixture) -> None:
    entered, release = threading.Event(), threading.Event()

    def block(event: Any) -> None:
        if isinstance(event, TimedOut):
            entered.set()
            assert release.wait(2 * DEADLINE)

    never = threading.Event()
    with besieged(caplog, may_fail=True) as siege:
        siege.cs.on("Authorize")(lambda payload, metadata: never.wait(2 * DEADLINE))
        url = f"ws://127.0.0.1:{siege.port}"
        with ChargePoint("attacker", url=url, observers=[block], enforce_registration=False) as charge_point:
            for _ in range(2):
                with pytest.raises(RequestTimeoutError):
                    charge_point.send_request("Authorize", {"idTag": "x"}, timeout=SOON)
            assert entered.wait(DEADLINE)
            release.set()
            never.set()


def test_a_blocked_observer_is_left_behind_at_the_close() -> None:
    blocker = Blocker(TimedOut)
    with serving(observers=[blocker]) as cs, dial(cs.port) as attacker:
        attacker.upgrade("/attacker")
        cs.submit_request("attacker", "ClearCache", timeout=SOON)
        assert blocker.entered.wait(DEADLINE)
        attacker.send_close()
        attacker.wait_for_end()
        cs.close()
        blocker.release.set()
        blocker.told.wait_until(lambda items: isinstance(items[-1], Closed))

"""Random schedules: charge points come, take over, call, cancel, drop and go, while the locks pause at random.

What each thread does comes from a seed, so that every run does the same; how the threads meet is up to the machine.
OCPPSYNC_FUZZ_SECONDS and OCPPSYNC_FUZZ_SEED change how long it takes and what it does; a failure names the seed and the
number of its case, and tells where the threads are that hang. With OCPPSYNC_FUZZ_LINES there are pauses between lines
as well: that finds more, but a thread that is traced is not the one that runs elsewhere, and Python 3.11 may crash.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from random import Random

import pytest
from parties import CLASS_STATIONS, RAW_STATIONS, REPEATER, begin
from pauses import pausing
from schedules import (
    BOUND,
    SHORT_PING,
    Asked,
    Ledger,
    RecordingTimer,
    Settings,
    World,
    answer_of,
    patient,
    stacks,
)
from support import comes_true

from ocppsync import (
    CallErrorReceived,
    CentralSystem,
    ChargePoint,
    ConnectionLostError,
    NotConnectedError,
    OCPPRequestError,
    QueueFullError,
    RequestTimeoutError,
    central_system,
    charge_point,
)
from ocppsync.threads.timer import TimerHandle

SECONDS = float(os.environ.get("OCPPSYNC_FUZZ_SECONDS", "20"))
SEED = os.environ.get("OCPPSYNC_FUZZ_SEED", "ocppsync")
LINES = "OCPPSYNC_FUZZ_LINES" in os.environ


def cases() -> Iterator[str]:
    end = time.monotonic() + SECONDS
    for number in itertools.count(1):
        if time.monotonic() > end:
            return
        yield f"{SEED}-{number}"


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_whatever_meets_each_request_ends_once_and_nothing_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.ERROR, "ocppsync")
    answered = 0
    for case in cases():
        before = set(threading.enumerate())
        ledger = run(case, monkeypatch)
        for thread in set(threading.enumerate()) - before:
            thread.join(BOUND)
            if thread.is_alive():
                ledger.fault(f"{thread.name} is left{stacks()}")
        assert ledger.faults == [], f"{case}:\n" + "\n".join(ledger.faults)
        assert [record.getMessage() for record in caplog.records] == [], case
        answered += sum(asked.future.exception() is None for asked in ledger.asked if not asked.cancelled)
    assert answered > 0


def run(case: str, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    chance = Random(case)
    settings = Settings.drawn(chance)
    timers: list[RecordingTimer] = []

    def make_timer(name: str) -> RecordingTimer:
        timers.append(RecordingTimer(name))
        return timers[-1]

    with pausing(chance, lines=LINES) as pauses, monkeypatch.context() as patch:
        for module in (central_system, charge_point):
            patch.setattr(module, "Timer", make_timer)
        world = World(case, settings, pauses)
        try:
            begin(world)
            come_to_rest(world, timers[0])
        finally:
            world.cs.close(grace=BOUND)
        if settings.drains:
            with world.open() as another:
                carry_requests(world, another)
    for fault in (*faults_of_requests(world), *faults_of_events(world), *faults_of_timers(world, timers)):
        world.ledger.fault(fault)
    return world.ledger


def come_to_rest(world: World, timer: RecordingTimer) -> None:
    """Let everything end but the central system, and try that where it was not closed."""
    for thread in world.threads:
        thread.join(2 * BOUND)
        if thread.is_alive():
            world.ledger.fault(f"{thread.name} hangs{stacks()}")
    for link in world.links:
        link.drop()
    for point in world.points:
        point.close()
    if world.settings.drains:
        return
    if not comes_true(lambda: not world.cs.charge_points, within=BOUND):
        world.ledger.fault(f"{world.cs.charge_points} never went{stacks()}")
    if not comes_true(lambda: not forgotten(world, timer.appointments()), within=BOUND):
        world.ledger.fault(f"appointments are left: {forgotten(world, timer.appointments())}")
    carry_requests(world, world.cs)


def carry_requests(world: World, cs: CentralSystem) -> None:
    """Make sure that a new connection carries requests both ways, at last where the settings leave little time."""
    if not comes_true(lambda: carries_requests(cs), within=BOUND):
        world.ledger.fault(f"a new connection carries no requests{stacks()}")


def carries_requests(cs: CentralSystem) -> bool:
    name, payload = CLASS_STATIONS[0], {"vendorId": "com.example", "data": "new"}
    with ChargePoint(name, url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False) as point:
        point.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted"})
        try:
            point.send_request("DataTransfer", payload, timeout=BOUND)
            cs.send_request(name, "DataTransfer", payload, timeout=BOUND)
        except (CallErrorReceived, ConnectionLostError, NotConnectedError):
            return False
    return True


# What may not be.


def faults_of_requests(world: World) -> Iterator[str]:
    for asked in world.ledger.asked:
        fault = fault_of(world, asked)
        if fault is not None:
            yield f"{asked.nonce}: {fault}"


def fault_of(world: World, asked: Asked) -> str | None:
    handled = world.ledger.handled[asked.nonce]
    if not comes_true(asked.future.done, within=BOUND):
        return f"it hangs{stacks()}"
    if not comes_true(lambda: asked.called_back, within=BOUND) or len(asked.called_back) > 1:
        return f"its callback ran {len(asked.called_back)} times"
    if handled > 1:
        return f"it was handled {handled} times"
    try:
        error = asked.future.exception()
    except CancelledError:
        return None if asked.cancelled and not handled else "it was cancelled, and yet it was not, or was handled"
    if asked.cancelled:
        return "it was not cancelled"
    if error is None:
        fine = handled and not asked.nonce.startswith("refuse") and asked.future.result() == answer_of(asked.nonce)
        return None if fine else f"it was answered with {asked.future.result()!s:.100}"
    if isinstance(error, OCPPRequestError) and error.delivery == "not_sent" and handled:
        return f"it was handled, and yet not sent: {error!r}"
    return None if excused(world.settings, asked, error) else repr(error)


def excused(settings: Settings, asked: Asked, error: BaseException) -> bool:
    if isinstance(error, CallErrorReceived):
        return settings.forgives or (asked.nonce.startswith("refuse") and error.description == asked.nonce)
    if isinstance(error, RequestTimeoutError):
        return not patient(asked.nonce)
    if isinstance(error, QueueFullError):
        return asked.by_central_system and settings.crowded
    return isinstance(error, (ConnectionLostError, NotConnectedError))


def faults_of_events(world: World) -> Iterator[str]:
    """A charge point comes and goes in turn."""
    for name in (*CLASS_STATIONS, *RAW_STATIONS, REPEATER):
        statuses = [status for who, status in world.events.items if who == name]
        if statuses != (["connected", "disconnected"] * len(statuses))[: len(statuses)]:
            yield f"{name}: {statuses}"


def faults_of_timers(world: World, timers: list[RecordingTimer]) -> Iterator[str]:
    for number, timer in enumerate(timers):
        left = forgotten(world, timer.left)
        # A charge point's close leaves what is not handled yet, and its deadline.
        if number > 0:
            left = [name for name in left if name != "IncomingCalls._look"]
        if left:
            yield f"{timer!r} was closed with {left}"


def forgotten(world: World, handles: list[TimerHandle]) -> list[str]:
    """Return the names of the appointments that were to be cancelled."""
    tasks = [handle.task for handle in handles]
    names = [getattr(task[0], "__qualname__", repr(task[0])) for task in tasks if task is not None]
    # The first two stand as long as their central system. The others may be made just as a connection ends, and come
    # to nothing then.
    allowed = {"StuckHandlerDetector._check", "Registry._expire", "WebSocket.abort"}
    if world.settings.ping_interval == SHORT_PING:
        allowed.add("Connection._ping")
    return [name for name in names if name not in allowed]

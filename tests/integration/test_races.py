"""Two threads in the same place: what happens where one comes into the middle of what another does."""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import DEADLINE, Recorder, raw, serving

from ocppsync import CentralSystem, ChargePoint, SecurityProfiles, utc_now
from ocppsync.events import Closed, MessageReceived, MessageSent
from ocppsync.journal import Journal
from ocppsync.rpc.message_sets import MessageSets
from ocppsync.rpc.registration import Registration
from ocppsync.rpc.router import Router
from ocppsync.server.admission import Credentials
from ocppsync.testing import fake_charge_point
from ocppsync.testing.inline import Clock
from ocppsync.threads.pool import HandlerPool
from ocppsync.validation import catalogue
from ocppsync.validation import validators as validation

THREADS = 8


def at_once(functions: list[Callable[[], Any]]) -> list[Any]:
    """Call each on a thread of its own, all at the same time; return what they return, or the ValueErrors."""
    barrier = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        barrier.wait(DEADLINE)
        try:
            return function()
        except ValueError as error:
            return error

    with ThreadPoolExecutor(len(functions)) as threads:
        return [future.result(DEADLINE) for future in [threads.submit(run, function) for function in functions]]


# The deadline of a request.


def test_a_deadline_that_passes_while_the_answer_is_taken_changes_nothing() -> None:
    clock = Clock()

    def pass_the_deadline(event: object) -> None:
        # On the reader, which has the answer to the first request, and writes the next before it gives it out.
        if isinstance(event, MessageSent) and event.action == "ClearCache":
            clock.advance(30)

    cs = CentralSystem(None, observers=[pass_the_deadline], websocket_ping_interval=None)
    cs.start(executor=HandlerPool(2, "test-handler"), timer=clock)
    with cs, fake_charge_point(cs) as cp:
        cp.expect("Reset", {"status": "Accepted"})
        cp.expect("ClearCache", {"status": "Accepted"})
        first = cs.submit_request("CP1", "Reset", {"type": "Soft"}, timeout=30)
        second = cs.submit_request("CP1", "ClearCache", queue_timeout=1000)
        assert first.result(DEADLINE) == {"status": "Accepted"}
        assert second.result(DEADLINE) == {"status": "Accepted"}
        assert cp.connected


# The answer to a repeated CALL.


def test_a_repeat_that_is_read_late_over_an_older_connection_does_not_take_the_answer_along() -> None:
    held, begun, read_on, go_on = (threading.Event() for _ in range(4))
    told = Recorder()

    def hold_the_first(text: str, metadata: Any) -> None:
        # On the reader of the older connection: what came over it is looked at after it was sent again.
        if not held.is_set():
            held.set()
            assert read_on.wait(DEADLINE)

    call = [2, "1", "StartTransaction", {"connectorId": 1, "idTag": "a", "meterStart": 0, "timestamp": utc_now()}]
    answer = {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}
    with serving(on_raw_websocket_data=hold_the_first, observers=[told]) as cs:

        @cs.on("StartTransaction")
        def start(payload: Any, metadata: Any) -> Any:
            begun.set()
            assert go_on.wait(DEADLINE)
            return answer

        with raw(cs) as older:
            older.send(call)
            assert held.wait(DEADLINE)
            with raw(cs) as newer:
                newer.send(call)
                assert begun.wait(DEADLINE)
                read_on.set()
                told.wait_until(lambda items: any(isinstance(event, Closed) for event in items))
                go_on.set()
                assert newer.read() == [3, "1", answer]


# The first task of a thread.


def test_the_first_task_of_a_thread_knows_whose_thread_it_is() -> None:
    pool = HandlerPool(2, "test-pool")
    begun, owned = threading.Event(), threading.Event()

    class _Slow(threading.Thread):
        """A thread whose first task is through before whoever starts it goes on."""

        def start(self) -> None:
            super().start()
            if self.name == "test-pool-2":
                assert begun.wait(DEADLINE)

    def ask() -> None:
        if pool.owns_this_thread:
            owned.set()
        begun.set()

    go_on = threading.Event()
    pool.submit(go_on.wait, DEADLINE)
    # As if it were meant for a thread that is free but has not come for it yet: the new one takes it.
    pool._tasks.put((ask, ()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "Thread", _Slow)
        pool.submit(lambda: None)
    go_on.set()
    assert owned.is_set()
    assert pool.close(DEADLINE)


# What all share.


def test_a_bundle_and_its_validator_are_made_once() -> None:
    for made, clear in ((catalogue.catalogue, catalogue._read), (validation.validator, validation._create)):
        clear.cache_clear()
        assert len(set(map(id, at_once([functools.partial(made, "2.0.1")] * THREADS)))) == 1


def test_one_handler_is_registered_of_many_at_once() -> None:
    for _ in range(20):
        router = Router(MessageSets("central_system", ["ocpp1.6"]))
        registered = at_once(
            [functools.partial(router.on("Heartbeat"), lambda payload, metadata: None) for _ in range(THREADS)]
        )
        assert sum(isinstance(outcome, ValueError) for outcome in registered) == THREADS - 1


def test_every_hook_of_many_at_once_is_kept() -> None:
    router = Router(MessageSets("central_system", ["ocpp1.6"]))
    hooks = at_once(
        [functools.partial(router.after("Heartbeat"), lambda payload, metadata: None) for _ in range(THREADS)]
    )
    assert set(router.routes("1.6")["Heartbeat"].hooks) == set(hooks)


def test_no_trigger_of_many_at_once_is_forgotten() -> None:
    accepted = {"status": "Accepted"}
    wanted = [f"Action{number}" for number in range(THREADS)]
    for _ in range(20):
        registration = Registration()
        registration.on_boot_response({"status": "Pending"})
        at_once(
            [
                functools.partial(
                    registration.on_trigger_accepted, "TriggerMessage", {"requestedMessage": action}, accepted
                )
                for action in wanted
            ]
        )
        assert all(map(registration.was_asked_for, wanted))


def test_the_highest_profile_of_two_connections_at_once_is_the_minimum() -> None:
    for _ in range(50):
        told = Recorder()
        security = SecurityProfiles(minimum_profile=0, on_profile_raised=told)
        at_once([functools.partial(security.connected, "CP1", Credentials(profile)) for profile in (1, 2, 3)])
        assert security.minimum_of("CP1") == 3
        assert ("CP1", 3) in told.items


def test_many_threads_write_whole_lines_while_the_journal_is_begun_anew(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(tmp_path / "wire.jsonl", max_bytes=5_000, backups=60)
    numbers = range(100)

    def write(name: str) -> None:
        for number in numbers:
            text = f'[2,"{number}","Heartbeat",{{}}]'
            journal(MessageReceived(name, "1.6", "CALL", str(number), "Heartbeat", text, None))

    names = [f"CP{number}" for number in range(THREADS)]
    at_once([functools.partial(write, name) for name in names])
    journal.close()
    lines = [json.loads(line) for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    found = sorted((line["charge_point"], int(json.loads(line["text"])[1])) for line in lines)
    assert found == [(name, number) for name in names for number in numbers]
    assert capfd.readouterr().err == "", "logging reports there what it cannot write"


def test_an_observed_connection_carries_requests_both_ways_at_once() -> None:
    told = Recorder()
    with serving(observers=[told]) as cs:
        cs.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted"})
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False) as cp:
            cp.on("DataTransfer")(lambda payload, metadata: {"status": "Accepted"})
            count = 100
            futures = [cp.submit_request("DataTransfer", {"vendorId": "a"}) for _ in range(count)]
            futures += [cs.submit_request("CP1", "DataTransfer", {"vendorId": "a"}) for _ in range(count)]
            assert [future.result(DEADLINE)["status"] for future in futures] == ["Accepted"] * 2 * count
    answers = [
        event for event in told.items if isinstance(event, (MessageReceived, MessageSent)) and event.kind != "CALL"
    ]
    assert len(answers) == 2 * count
    assert all(event.action == "DataTransfer" and event.seconds is not None for event in answers)


def test_a_listener_may_close_what_has_just_connected(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as cs:
        for _ in range(20):
            cp = ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}")
            cp.add_connection_listener(lambda status, cp=cp: cp.close())  # type: ignore[misc]
            cp.connect()
            assert cp.wait_closed(DEADLINE)
            cp.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []

"""What observers and the journal are told of a connection, at its very beginning, at its end and in a takeover."""

from __future__ import annotations

import collections
import contextlib
import json
import threading
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
from bystander import besieged, heartbeat
from support import DEADLINE, Recorder, raw, serving

from ocppsync import ChargePoint
from ocppsync.events import Closed, Connected, MessageReceived, MessageSent
from ocppsync.journal import read_journal
from ocppsync.rpc.connection import Connection


def by_connection(items: list[Any]) -> dict[tuple[str, int], list[type]]:
    """The types of the events of each connection, in the order in which they were told."""
    found = collections.defaultdict(list)
    for event in items:
        found[event.charge_point_id, event.connection].append(type(event))
    return found


def closed_count(items: list[Any]) -> int:
    return sum(isinstance(event, Closed) for event in items)


@pytest.mark.parametrize("end", ["central system", "charge point"])
def test_a_request_that_is_sent_before_the_reader_runs_is_told_after_the_opening(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, sent = Recorder(), threading.Event()
    run = Connection.run

    def run_late(connection: Connection) -> None:
        # Only that of the end which is observed: the other one must answer.
        if connection._context.events is not None:
            assert sent.wait(DEADLINE)
        run(connection)

    monkeypatch.setattr(Connection, "run", run_late)
    observers = {"central system": [events]} if end == "central system" else {}
    with serving(lambda request, metadata: {"status": "Accepted"}, observers=observers.get(end, ())) as cs:
        cp = ChargePoint(
            "CP1",
            lambda request, metadata: {"status": "Accepted"},
            url=f"ws://127.0.0.1:{cs.port}",
            enforce_registration=False,
            observers=[events] if end == "charge point" else (),
        )
        answers = Recorder()

        def ask(*change: str) -> None:
            if change[-1] != "connected":
                return
            if end == "central system":
                future: Any = cs.submit_request("CP1", "Reset", {"type": "Soft"})
            else:
                future = cp.submit_request("DataTransfer", {"vendorId": "x"})
            future.add_done_callback(answers)
            sent.set()

        (cs if end == "central system" else cp).add_connection_listener(ask)
        with cp:
            answers.wait()
    events.wait_until(closed_count)
    assert [type(event) for event in events.items] == [Connected, MessageSent, MessageReceived, Closed]


def test_an_answer_after_the_end_is_not_told() -> None:
    events, begun = Recorder(), threading.Event()
    with serving(observers=[events]) as cs:

        @cs.on("Heartbeat")
        def heartbeat(payload: Any, metadata: Any) -> Any:
            begun.set()
            events.wait_until(closed_count)
            return {"currentTime": "2026-01-01T00:00:00Z"}

        with raw(cs) as peer:
            peer.send([2, "1", "Heartbeat", {}])
            assert begun.wait(DEADLINE)
    assert [type(event) for event in events.items] == [Connected, MessageReceived, Closed]


def test_a_connection_that_is_taken_over_keeps_its_messages(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, events = tmp_path / "wire.jsonl", Recorder()
    working, taken_over = threading.Event(), threading.Event()
    with besieged(caplog, journal=path, observers=[events]) as siege:

        @siege.cs.on("DataTransfer")
        def work(payload: Any, metadata: Any) -> Any:
            working.set()
            assert taken_over.wait(DEADLINE)
            return {"status": "Accepted"}

        with siege.attacker("twice") as old:
            heartbeat(old, "1")
            old.send_text('[2,"2","DataTransfer",{"vendorId":"x"}]')
            assert working.wait(DEADLINE)
            # The queue of the identity is busy: a CALL of the new connection waits behind that of the old one.
            with siege.attacker("twice") as new:
                new.send_text('[2,"3","Heartbeat",{}]')
                taken_over.set()
                assert new.read_frame().payload.startswith(b'[3,"3"')
                heartbeat(new, "4")
        events.wait_until(lambda items: closed_count(of("twice", items)) == 2)
    first, second = by_connection(of("twice", events.items)).values()
    assert (first[0], first[-1]) == (second[0], second[-1]) == (Connected, Closed)
    older, newer = [session for session in read_journal(path) if session.charge_point_id == "twice"]
    assert older.connection is not None and newer.connection is not None and older.connection < newer.connection
    assert [entry.text for entry in older.entries if entry.direction == "in"] == [
        '[2,"1","Heartbeat",{}]',
        '[2,"2","DataTransfer",{"vendorId":"x"}]',
    ]
    assert [entry.text[:7] for entry in newer.entries if entry.direction == "in"] == ['[2,"3",', '[2,"4",']


def of(name: str, items: list[Any]) -> list[Any]:
    return [event for event in items if event.charge_point_id == name]


def test_chargers_that_are_asked_while_they_come_and_go_are_told_apart(tmp_path: Path) -> None:
    path, events = tmp_path / "wire.jsonl", Recorder()
    rounds, names = 8, [f"CP{number}" for number in range(4)]
    with serving(lambda request, metadata: {"status": "Accepted"}, journal=path, observers=[events]) as cs:
        stopped = threading.Event()

        def ask() -> None:
            while not stopped.is_set():
                for name in names:
                    wait([cs.submit_request(name, "ClearCache")], 0.001)

        def come_and_go(name: str) -> None:
            with contextlib.ExitStack() as kept:
                for number in range(rounds):
                    # Every second one takes over from the one before.
                    peer = kept.enter_context(raw(cs, name))
                    peer.send([2, f"{name}-{number}", "DataTransfer", {"vendorId": "x"}])
                    while (message := peer.read())[0] == 2:
                        peer.send([3, message[1], {"status": "Accepted"}])
                    if number % 2:
                        kept.close()

        asking = threading.Thread(target=ask, daemon=True)
        comers = [threading.Thread(target=come_and_go, args=(name,), daemon=True) for name in names]
        for thread in (asking, *comers):
            thread.start()
        for thread in comers:
            thread.join(3 * DEADLINE)
        stopped.set()
        asking.join(DEADLINE)
        events.wait_until(lambda items: closed_count(items) == rounds * len(names))
    told = by_connection(events.items)
    assert {(kinds[0], kinds[-1]) for kinds in told.values()} == {(Connected, Closed)}
    assert {(kinds.count(Connected), kinds.count(Closed)) for kinds in told.values()} == {(1, 1)}
    sessions = read_journal(path)
    assert len(sessions) == len(told) == rounds * len(names)
    for session in sessions:
        messages = [(entry.direction, json.loads(entry.text)) for entry in session.entries]
        calls = {(direction, message[1]) for direction, message in messages if message[0] == 2}
        answered = {
            ("out" if direction == "in" else "in", message[1]) for direction, message in messages if message[0] != 2
        }
        assert answered <= calls

"""Who is connected, who is told, and what is remembered."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ocppsync import Limits, Timeouts
from ocppsync.request import ConnectionMetadata
from ocppsync.rpc.answer_memory import AnswerMemory
from ocppsync.rpc.connection import Connection, ConnectionSettings
from ocppsync.rpc.message_sets import MessageSets
from ocppsync.rpc.registration import MessagePolicy
from ocppsync.rpc.router import Router
from ocppsync.server import registry as registry_module
from ocppsync.server.registry import Registry
from ocppsync.threads.pool import HandlerPool
from ocppsync.threads.timer import Timer
from ocppsync.wire import upgrade
from ocppsync.wire.http import Headers, HttpRequest
from ocppsync.wire.streams import Stream

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SETTINGS = ConnectionSettings(
    request_timeout=1,
    reject_invalid_requests=True,
    websocket_ping_interval=None,
    limits=Limits(queued_calls=1),
    timeouts=Timeouts(close=1),
)


class Later:
    """An executor that runs its tasks when the test says so, on the test's own thread."""

    def __init__(self) -> None:
        self.tasks: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        self.tasks.append((function, args))
        return True

    def run(self) -> None:
        while self.tasks:
            function, args = self.tasks.popleft()
            function(*args)


@pytest.fixture
def connect() -> Iterator[Callable[[str], Connection]]:
    """Make connections that have never been read from: what they carry is not the subject."""
    ours, theirs = socket.socketpair()
    stream = Stream(ours, write_timeout=1)
    websocket = upgrade.accept(
        stream, key=KEY, subprotocol="ocpp1.6", extensions="", max_message_size=1000, name="test"
    )
    pool, timer, message_sets = HandlerPool(1, "test"), Timer("test"), MessageSets("central_system")

    def make(charge_point_id: str = "CP1") -> Connection:
        request = HttpRequest("GET", f"/{charge_point_id}", "", Headers(), stream.remote_address)
        return Connection(
            websocket,
            ConnectionMetadata(charge_point_id, "1.6", request),
            SETTINGS,
            router=Router(message_sets),
            messages=message_sets.messages("1.6"),
            gate=MessagePolicy(),
            executor=pool,
            timer=timer,
            answers=AnswerMemory(),
        )

    yield make
    stream.close()
    theirs.close()


@pytest.fixture
def executor() -> Later:
    return Later()


@pytest.fixture
def registry(executor: Later) -> Registry:
    return Registry(executor)


@pytest.fixture
def told(registry: Registry) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    registry.add_listener(lambda *change: told.append(change))
    return told


# Who is connected.


def test_a_connection_can_be_found_until_it_is_removed(registry: Registry, connect: Any) -> None:
    one, two = connect("B"), connect("A")
    assert registry.get("B") is None
    assert registry.add(one) is None
    assert registry.add(two) is None
    assert (registry.get("B"), registry.get("A"), registry.get("b")) == (one, two, None)
    assert registry.connections() == [one, two]
    assert registry.charge_points() == ["A", "B"]
    registry.remove(one)
    assert registry.get("B") is None
    assert registry.connections() == [two]
    assert registry.charge_points() == ["A"]
    assert repr(registry) == "<Registry connected=1 remembered=2>"


def test_the_newest_connection_counts_and_an_old_one_removes_only_itself(registry: Registry, connect: Any) -> None:
    old, new = connect(), connect()
    registry.add(old)
    assert registry.add(new) is old
    assert registry.connections() == [new]
    registry.remove(old)
    assert registry.get("CP1") is new
    registry.remove(new)
    assert registry.get("CP1") is None
    registry.remove(new)
    assert registry.connections() == []


def test_what_was_never_added_can_be_removed(registry: Registry, connect: Any, executor: Later) -> None:
    registry.remove(connect())
    assert not executor.tasks


# Who is told.


def test_listeners_see_each_change_once(registry: Registry, connect: Any, executor: Later, told: Any) -> None:
    first, second, third = connect(), connect(), connect()
    registry.add(first)
    registry.add(second)
    registry.remove(first)
    registry.remove(second)
    registry.remove(second)
    registry.add(third)
    assert told == [], "they run on the executor"
    executor.run()
    assert told == [("CP1", "connected"), ("CP1", "disconnected"), ("CP1", "connected")]


def test_each_charge_point_has_changes_of_its_own(registry: Registry, connect: Any, executor: Later, told: Any) -> None:
    one, two = connect("A"), connect("B")
    registry.add(one)
    registry.remove(one)
    registry.add(two)
    executor.tasks.popleft()[0]()
    executor.tasks.popleft()[0]()
    assert told == [("A", "connected"), ("B", "connected")], "one that is busy does not hold up the other"
    executor.run()
    assert told[2:] == [("A", "disconnected")]


def test_every_listener_is_told_even_where_another_fails(
    registry: Registry, connect: Any, executor: Later, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    def fail(charge_point_id: str, status: str) -> None:
        seen.append("first")
        raise SystemExit("the reason")

    registry.add_listener(fail)
    registry.add_listener(lambda *change: seen.append(change))
    registry.add(connect())
    executor.run()
    assert seen == ["first", ("CP1", "connected")]
    assert "the reason" in caplog.text


def test_listeners_can_be_added_and_removed(registry: Registry, connect: Any, executor: Later) -> None:
    seen: list[Any] = []

    def listener(charge_point_id: str, status: str) -> None:
        seen.append(status)
        registry.remove_listener(listener)
        registry.add_listener(lambda *change: seen.append("another"))

    registry.add_listener(listener)
    connection = connect()
    registry.add(connection)
    executor.run()
    registry.remove(connection)
    executor.run()
    assert seen == ["connected", "another"]
    with pytest.raises(ValueError):
        registry.remove_listener(listener)


def test_a_listener_that_was_added_twice_is_removed_once(
    registry: Registry, connect: Any, executor: Later, told: Any
) -> None:
    def listener(*change: str) -> None:
        told.append(change[1:])

    registry.add_listener(listener)
    registry.add_listener(listener)
    registry.remove_listener(listener)
    registry.add(connect())
    executor.run()
    assert told == [("CP1", "connected"), ("connected",)]


# What is remembered.


def test_answers_and_registration_outlive_the_connection(registry: Registry, connect: Any) -> None:
    station = registry.station("CP1")
    connection = connect()
    registry.add(connection)
    assert registry.station("CP1") is station
    registry.remove(connection)
    assert registry.station("CP1") is station
    other = registry.station("CP2")
    assert other.answers is not station.answers
    assert other.registration is not station.registration


def test_only_so_many_absent_ones_are_remembered(
    registry: Registry, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_REMEMBERED", 3)
    present = connect("present")
    registry.add(present)
    names = [f"CP{number}" for number in range(5)]
    memories = {}
    for name in names:
        memories[name] = registry.station(name)
        connection = connect(name)
        registry.add(connection)
        registry.remove(connection)
    assert repr(registry) == "<Registry connected=1 remembered=4>"
    again = connect("CP2")
    registry.add(again)
    registry.remove(again)  # now the one that was away for the shortest time
    another = connect("CP5")
    registry.add(another)
    registry.remove(another)
    kept = [name for name in names if registry.station(name) is memories[name]]
    assert kept == ["CP2", "CP4"]
    assert registry.get("present") is present

"""Which charge points are connected, what listeners are told, and what is remembered."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from contexts import make_context
from incoming import incoming
from interleaved import Made, watch_field, with_lock
from support import DEADLINE, WatchedLock

from ocppsync.limits import Limits
from ocppsync.rpc.answer_memory import KEPT_SECONDS, CallKind
from ocppsync.rpc.connection import Connection
from ocppsync.rpc.incoming import IncomingCall
from ocppsync.rpc.shares import Shares
from ocppsync.server import registry as registry_module
from ocppsync.server.registry import Registry
from ocppsync.testing.inline import Clock
from ocppsync.threads.pool import HandlerPool
from ocppsync.threads.timer import Timer
from ocppsync.wire import upgrade
from ocppsync.wire.streams import Stream

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Later:
    """An executor that runs its tasks when the test says so, on the test's own thread."""

    def __init__(self) -> None:
        self.tasks: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        self.tasks.append((function, args))
        return True

    def before_wait(self, future: Future[Any]) -> None:
        raise AssertionError("nothing waits here")

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
    pool, timer = HandlerPool(1, "test"), Timer("test")

    def make(charge_point_id: str = "CP1") -> Connection:
        return Connection(websocket, make_context(charge_point_id, executor=pool, timer=timer))

    yield make
    stream.close()
    theirs.close()


@pytest.fixture
def executor() -> Later:
    return Later()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(executor: Later, clock: Clock) -> Registry:
    return Registry(Shares(executor, 16, Limits()), clock)


@pytest.fixture
def told(registry: Registry) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    registry.listeners.add(lambda *change: told.append(change))
    return told


# Connections.


def test_a_connection_can_be_found_until_it_is_removed(registry: Registry, connect: Any) -> None:
    one, two = connect("B"), connect("A")
    assert registry.connected.get("B") is None
    assert registry.add(one) is None
    assert registry.add(two) is None
    assert (registry.connected.get("B"), registry.connected.get("A"), registry.connected.get("b")) == (one, two, None)
    assert registry.connections() == [one, two]
    assert registry.charge_points() == ["A", "B"]
    registry.remove(one)
    assert registry.connected.get("B") is None
    assert registry.connections() == [two]
    assert registry.charge_points() == ["A"]
    assert repr(registry) == "<Registry connected=1 remembered=2>"


def test_the_newest_connection_counts_and_an_old_one_removes_only_itself(registry: Registry, connect: Any) -> None:
    old, new = connect(), connect()
    registry.add(old)
    assert registry.add(new) is old
    assert registry.connections() == [new]
    registry.remove(old)
    assert registry.connected.get("CP1") is new
    registry.remove(new)
    assert registry.connected.get("CP1") is None
    registry.remove(new)
    assert registry.connections() == []


def test_what_was_never_added_can_be_removed(registry: Registry, connect: Any, executor: Later) -> None:
    registry.remove(connect())
    assert not executor.tasks


# Listeners.


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


def test_every_listener_is_called_even_if_another_fails(
    registry: Registry, connect: Any, executor: Later, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    def fail(charge_point_id: str, status: str) -> None:
        seen.append("first")
        raise SystemExit("the reason")

    registry.listeners.add(fail)
    registry.listeners.add(lambda *change: seen.append(change))
    registry.add(connect())
    executor.run()
    assert seen == ["first", ("CP1", "connected")]
    assert "the reason" in caplog.text


def test_listeners_can_be_added_and_removed(registry: Registry, connect: Any, executor: Later) -> None:
    seen: list[Any] = []

    def listener(charge_point_id: str, status: str) -> None:
        seen.append(status)
        registry.listeners.remove(listener)
        registry.listeners.add(lambda *change: seen.append("another"))

    registry.listeners.add(listener)
    connection = connect()
    registry.add(connection)
    executor.run()
    registry.remove(connection)
    executor.run()
    assert seen == ["connected", "another"]
    with pytest.raises(ValueError):
        registry.listeners.remove(listener)


def test_a_listener_that_was_added_twice_is_removed_once(
    registry: Registry, connect: Any, executor: Later, told: Any
) -> None:
    def listener(*change: str) -> None:
        told.append(change[1:])

    registry.listeners.add(listener)
    registry.listeners.add(listener)
    registry.listeners.remove(listener)
    registry.add(connect())
    executor.run()
    assert told == [("CP1", "connected"), ("connected",)]


def test_without_listeners_nothing_runs(registry: Registry, connect: Any, executor: Later) -> None:
    registry.add(connect())
    assert not executor.tasks


# What is remembered.


def test_answers_and_registration_outlive_the_connection(registry: Registry, connect: Any) -> None:
    station = registry.record("CP1")
    connection = connect()
    registry.add(connection)
    assert registry.record("CP1") is station
    registry.remove(connection)
    assert registry.record("CP1") is station
    other = registry.record("CP2")
    assert other.calls is not station.calls
    assert other.registration is not station.registration


def test_the_number_of_remembered_disconnected_identities_is_limited(
    registry: Registry, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_MAX_REMEMBERED", 3)
    present = connect("present")
    registry.add(present)
    names = [f"CP{number}" for number in range(5)]
    memories = {}
    for name in names:
        memories[name] = registry.record(name)
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
    kept = [name for name in names if registry.record(name) is memories[name]]
    assert kept == ["CP2", "CP4"]
    assert registry.connected.get("present") is present


def test_identities_that_never_connected_are_forgotten_as_well(
    registry: Registry, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_MAX_REMEMBERED", 3)
    for number in range(5):
        registry.record(f"CP{number}")
    connection = connect("last")
    registry.add(connection)
    registry.remove(connection)
    assert repr(registry) == "<Registry connected=0 remembered=3>"


# What is forgotten with time.


def unanswered() -> IncomingCall:
    """Return a CALL that gets no answer."""
    return incoming('[2,"1","Heartbeat",{}]', received_by=SimpleNamespace(handle=lambda call: None))


def keep_answer(registry: Registry, charge_point_id: str, size: int = 100) -> None:
    """Have the answer to a CALL of a charge point remembered."""
    memory = registry.record(charge_point_id).calls._memory
    call = incoming('[2,"1","Heartbeat",{}]', asked_at=registry._timer.now())
    memory.remember(call)
    memory.finish(call, "y" * size)


def test_a_charge_point_is_forgotten_a_while_after_its_connection(
    registry: Registry, connect: Any, clock: Clock
) -> None:
    connection = connect()
    registry.add(connection)
    clock.advance(2 * KEPT_SECONDS)
    keep_answer(registry, "CP1")
    registry.remove(connection)
    clock.advance(KEPT_SECONDS - 1)
    assert registry.record("CP1").calls.answered("1") == "Heartbeat"
    clock.advance(KEPT_SECONDS - 1)
    assert repr(registry) == "<Registry connected=0 remembered=1>", "it was just asked for"
    clock.advance(1)
    assert repr(registry) == "<Registry connected=0 remembered=0>"
    assert repr(clock).endswith("appointments=0>")


def test_each_is_forgotten_in_its_turn(registry: Registry, clock: Clock) -> None:
    for name in ("CP1", "CP2", "CP3"):
        registry.record(name)
        clock.advance(10)
    clock.advance(KEPT_SECONDS - 30)
    assert repr(registry) == "<Registry connected=0 remembered=2>"
    clock.advance(20)
    assert repr(registry) == "<Registry connected=0 remembered=0>"
    registry.record("CP4")
    clock.advance(KEPT_SECONDS)
    assert repr(registry) == "<Registry connected=0 remembered=0>"


def test_one_that_was_asked_for_again_keeps_no_other_from_being_forgotten(registry: Registry, clock: Clock) -> None:
    registry.record("CP1")
    registry.record("CP2")
    clock.advance(10)
    registry.record("CP1")
    clock.advance(KEPT_SECONDS - 10)
    assert repr(registry) == "<Registry connected=0 remembered=1>"


def test_one_that_is_connected_is_not_forgotten(registry: Registry, connect: Any, clock: Clock) -> None:
    record = registry.record("CP1")
    registry.add(connect())
    keep_answer(registry, "CP1")
    clock.advance(3 * KEPT_SECONDS)
    assert registry.record("CP1") is record
    assert record.connection is not None


def test_one_that_must_not_send_yet_is_remembered_without_its_answers(registry: Registry, clock: Clock) -> None:
    keep_answer(registry, "CP1")
    record = registry.record("CP1")
    record.registration.on_boot_response({"status": "Pending"})
    clock.advance(2 * KEPT_SECONDS)
    assert registry.record("CP1") is record
    assert "answered=0" in repr(record.calls)
    record.registration.on_boot_response({"status": "Accepted"})
    clock.advance(2 * KEPT_SECONDS)
    assert repr(registry) == "<Registry connected=0 remembered=0>"


def test_one_for_which_something_still_runs_is_remembered(registry: Registry, executor: Later, clock: Clock) -> None:
    record = registry.record("CP1")
    for begin in (lambda: record.calls.receive(unanswered()), lambda: record.share.others.submit(lambda: None)):
        assert begin()
        clock.advance(2 * KEPT_SECONDS)
        assert registry.record("CP1") is record
        executor.run()
    clock.advance(2 * KEPT_SECONDS)
    assert repr(registry) == "<Registry connected=0 remembered=0>"


@pytest.mark.parametrize("end", ["time", "number"])
def test_what_is_forgotten_gives_its_bytes_back(
    executor: Later, clock: Clock, connect: Any, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    limits = Limits(answer_bytes_total=20_000)
    registry = Registry(Shares(executor, 16, limits), clock, limits)
    keep_answer(registry, "CP1", 27_000)
    keep_answer(registry, "CP2", 27_000)
    assert [registry.record(name).calls.answered("1") for name in ("CP1", "CP2")] == ["Heartbeat", None]
    if end == "time":
        clock.advance(KEPT_SECONDS)
    else:
        monkeypatch.setattr(registry_module, "_MAX_REMEMBERED", 0)
        connection = connect("CP3")
        registry.add(connection)
        registry.remove(connection)
    keep_answer(registry, "CP2", 27_000)
    assert registry.record("CP2").calls.answered("1") == "Heartbeat"


def test_nothing_is_forgotten_by_time_once_a_close_has_begun(registry: Registry, connect: Any, clock: Clock) -> None:
    registry.record("CP1")
    connection = connect("CP2")
    registry.add(connection)
    registry.drain()
    assert not clock.jump()
    registry.remove(connection)
    assert not clock.jump()


def test_one_that_goes_during_a_close_is_not_forgotten_by_time(registry: Registry, connect: Any, clock: Clock) -> None:
    connection = connect()
    registry.add(connection)
    clock.advance(KEPT_SECONDS)
    registry.drain()
    registry.remove(connection)
    assert not clock.jump()


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_handled_for_those_that_come_before_a_close_or_after_it(registry: Registry, when: str) -> None:
    if when == "before":
        registry.record("CP1")
    registry.drain()
    assert registry.record("CP1").calls.receive(unanswered())[0] is CallKind.DROPPED


# A charge point that connects again and again.


def test_changes_that_nobody_looks_at_are_left_out_in_pairs(
    registry: Registry, connect: Any, executor: Later, told: Any
) -> None:
    for _ in range(1_000):
        connection = connect()
        registry.add(connection)
        registry.remove(connection)
    last = connect()
    registry.add(last)
    executor.run()
    assert told == [("CP1", "connected"), ("CP1", "disconnected")] * 49 + [("CP1", "connected")]


# Two threads at once.


class Torn(dict[str, Any]):
    """A dict that lets something happen in the middle of its use.

    Attributes:
        midway: called once, at the next look, change or walk.
    """

    midway: Callable[[], object] | None = None

    def _interrupt(self) -> None:
        midway, self.midway = self.midway, None
        if midway is not None:
            midway()

    def get(self, key: str, default: Any = None) -> Any:
        found = super().get(key, default)
        self._interrupt()
        return found

    def __setitem__(self, key: str, value: Any) -> None:
        self._interrupt()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._interrupt()
        super().__delitem__(key)

    def _walk(self, items: Iterator[Any]) -> Iterator[Any]:
        yield next(items)
        self._interrupt()
        yield from items

    def __iter__(self) -> Iterator[Any]:
        return self._walk(super().__iter__())

    def values(self) -> Any:
        return self._walk(iter(super().values()))


class TornList(list[Any]):
    """A list that lets something happen while it is copied: ``midway``, once."""

    midway: Callable[[], object] | None = None

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        midway, self.midway = self.midway, None
        if midway is not None:
            midway()


class Meeting:
    """A registry that two threads use: the second begins in the middle of what the first does."""

    def __init__(self, registry: Any) -> None:
        self.lock = registry._lock = WatchedLock()
        self.records = registry._records = Torn()
        self.connected = registry.connected = Torn()
        self.second: Future[Any] = Future()

    def begin(self, function: Callable[..., object], *args: Any) -> Callable[[], None]:
        def midway() -> None:
            self.second = self.lock.meanwhile(lambda: function(*args))

        return midway


@pytest.fixture
def meeting(registry: Registry) -> Meeting:
    return Meeting(registry)


def test_two_threads_get_the_same_record(registry: Registry, meeting: Meeting) -> None:
    meeting.records.midway = meeting.begin(registry.record, "CP1")
    assert registry.record("CP1") is meeting.second.result(DEADLINE)


def test_one_of_two_connections_at_once_replaces_the_other(
    registry: Registry, meeting: Meeting, connect: Any, executor: Later, told: Any
) -> None:
    one, other = connect(), connect()
    meeting.connected.midway = meeting.begin(registry.add, other)
    assert registry.add(one) is None
    assert meeting.second.result(DEADLINE) is one
    assert registry.connected.get("CP1") is registry.record("CP1").connection is other
    executor.run()
    assert told == [("CP1", "connected")]


def test_a_connection_added_while_another_is_removed_stays(
    registry: Registry, meeting: Meeting, connect: Any, executor: Later, told: Any
) -> None:
    one, other = connect(), connect()
    registry.add(one)
    meeting.connected.midway = meeting.begin(registry.add, other)
    registry.remove(one)
    assert meeting.second.result(DEADLINE) is None
    assert registry.connected.get("CP1") is other
    executor.run()
    assert told == [("CP1", "connected"), ("CP1", "disconnected"), ("CP1", "connected")]


def test_one_that_connects_just_as_it_is_forgotten_is_connected(registry: Registry, connect: Any, clock: Clock) -> None:
    connection, made = connect(), Made()
    registry.record("CP1")
    add, looks = made.let_in(with_lock(registry), registry.add, connection), []

    def add_at_the_second_look(value: object) -> None:
        looks.append(value)
        if len(looks) == 2:
            add()

    watch_field(registry, "_disconnected", after_get=add_at_the_second_look)
    clock.advance(KEPT_SECONDS)
    made.result()
    clock.advance(2 * KEPT_SECONDS)
    assert registry.record("CP1").connection is connection
    registry.remove(connection)
    clock.advance(2 * KEPT_SECONDS)
    assert repr(registry) == "<Registry connected=0 remembered=0>"


def test_a_connection_added_during_a_listing_is_in_the_next_one(
    registry: Registry, meeting: Meeting, connect: Any
) -> None:
    first, second, third = connect("A"), connect("B"), connect("C")
    registry.add(first)
    meeting.connected.midway = meeting.begin(registry.add, second)
    assert registry.connections() == [first]
    meeting.second.result(DEADLINE)
    meeting.connected.midway = meeting.begin(registry.add, third)
    assert registry.charge_points() == ["A", "B"]
    meeting.second.result(DEADLINE)
    assert registry.charge_points() == ["A", "B", "C"]


def test_neither_of_two_listeners_added_at_once_is_lost(
    registry: Any, meeting: Meeting, connect: Any, executor: Later
) -> None:
    told: list[str] = []

    def listener(name: str) -> Callable[..., object]:
        return lambda *change: told.append(name)

    gone = listener("gone")
    listeners: Any = registry.listeners
    listeners._lock = meeting.lock
    listeners._listeners = TornList([gone])
    registry.listeners._listeners.midway = meeting.begin(registry.listeners.add, listener("first"))
    registry.listeners.add(listener("second"))
    meeting.second.result(DEADLINE)
    registry.listeners._listeners = TornList(registry.listeners._listeners)
    registry.listeners._listeners.midway = meeting.begin(registry.listeners.add, listener("third"))
    registry.listeners.remove(gone)
    meeting.second.result(DEADLINE)
    registry.add(connect())
    executor.run()
    assert told == ["second", "first", "third"]

"""Handshakes at once: which make room, which keep their place, and what a close meets in the middle."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from interleaved import Made, MeetingLock, watch_field
from intruder import Intruder

from ocppsync.limits import Limits
from ocppsync.server.handshakes import Handshakes
from ocppsync.wire.streams import Stream

HERE, THERE = "192.0.2.1", "192.0.2.2"
LIMITS = ["handshakes", "handshakes_per_address"]


class Door(Handshakes):
    """Handshakes with a clock of the test's own, and streams for them.

    Args:
        stack: closes what is opened.
        limits: the limits of handshakes; there are none beside these.
    """

    def __init__(self, stack: contextlib.ExitStack, **limits: int) -> None:
        unlimited: dict[str, int | None] = {"handshakes": None, "handshakes_per_address": None}
        super().__init__(Limits(**{**unlimited, **limits}), lambda: self.now)
        self.now = 1000.0
        self.warnings: list[str] = []
        self._stack = stack

    def stream(self) -> Stream:
        ours, theirs = socket.socketpair()
        self._stack.enter_context(theirs)
        stream = Stream(ours, write_timeout=1)
        self._stack.callback(stream.close)
        return stream

    def knock(
        self, stream: Stream | None = None, address: str = HERE, seconds: float = 0.0, **options: bool
    ) -> Stream | None:
        """Begin a handshake after so many seconds; return its stream, or None if there is no room."""
        self.now += seconds
        stream = stream or self.stream()
        room, warning = self.begin(stream, address, **options)
        if warning is not None:
            self.warnings.append(warning)
        return stream if room else None

    def let_in(self, count: int, address: str = HERE, seconds: float = 0.0, **options: bool) -> list[Stream]:
        """Begin so many handshakes, for all of which there is room."""
        streams = [self.knock(None, address, seconds, **options) for _ in range(count)]
        assert None not in streams
        return [stream for stream in streams if stream is not None]

    @property
    def counts(self) -> tuple[int, int, int, dict[str, int]]:
        return len(self._reading), len(self._deciding), len(self._leaving), dict(self._by_address)


@pytest.fixture
def door() -> Iterator[Callable[..., Door]]:
    with contextlib.ExitStack() as stack:
        yield lambda **limits: Door(stack, **limits)


@pytest.mark.parametrize("limit", LIMITS)
def test_the_oldest_slow_handshakes_are_aborted_first(door: Callable[..., Door], limit: str) -> None:
    opened = door(**{limit: 2})
    streams = opened.let_in(4, seconds=2)
    assert [stream.aborted for stream in streams] == [True, True, False, False]
    assert opened.counts == (2, 0, 2, {HERE: 2})
    for stream in streams:
        opened.end(stream)  # also of those that have given way
    assert opened.counts == (0, 0, 0, {})
    assert repr(opened) == "<Handshakes reading=0 deciding=0 refused=0 leaving=0>"


@pytest.mark.parametrize("limit", LIMITS)
def test_the_new_handshake_is_refused_if_none_is_slow(door: Callable[..., Door], limit: str) -> None:
    opened = door(**{limit: 1})
    (first,) = opened.let_in(1)
    assert opened.knock(seconds=1) is None
    assert not first.aborted
    assert opened.counts == (1, 0, 0, {HERE: 1})
    opened.end(first)
    opened.let_in(1)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_handshake_that_waits_for_us_keeps_its_place(door: Callable[..., Door], limit: str) -> None:
    opened = door(**{limit: 2})
    first, second = opened.let_in(2)
    assert opened.decide(first)
    third = opened.knock(seconds=100)
    assert third is not None
    assert opened.decide(third)
    assert [stream.aborted for stream in (first, second, third)] == [False, True, False]
    assert not opened.decide(second), "it has given way, and must not cost a decision"
    for _ in range(3):
        assert opened.knock(seconds=100) is None
    assert opened.counts == (0, 2, 1, {HERE: 2})
    opened.end(second)
    assert opened.knock() is None, "its place is taken"
    opened.end(first)
    opened.let_in(1)
    assert opened.knock() is None


def test_the_places_of_an_address_are_its_own(door: Callable[..., Door]) -> None:
    opened = door(handshakes=4, handshakes_per_address=2)
    (other,) = opened.let_in(1, THERE)
    first, second = opened.let_in(2, HERE, seconds=5)
    opened.let_in(2, HERE, seconds=5)
    assert [stream.aborted for stream in (other, first, second)] == [False, True, True]
    opened.let_in(1, THERE)
    assert opened.counts == (4, 0, 2, {HERE: 2, THERE: 2})


def test_the_limit_of_an_address_is_not_for_those_behind_a_proxy(door: Callable[..., Door]) -> None:
    opened = door(handshakes=4, handshakes_per_address=2)
    opened.let_in(4, HERE, shared=True)
    assert opened.counts == (4, 0, 0, {HERE: 4})
    assert opened.knock(shared=True) is None
    assert opened.warnings[0].startswith("4 handshakes in progress; ")


def test_no_more_are_aborted_than_threads_may_be_left(door: Callable[..., Door]) -> None:
    """Their threads end soon, but perhaps later than the next handshakes come."""
    opened = door(handshakes=3)
    streams = opened.let_in(6, seconds=2)
    assert [stream.aborted for stream in streams] == [True] * 3 + [False] * 3
    assert opened.knock(seconds=2) is None
    opened.end(streams[0])
    opened.let_in(1)
    assert streams[3].aborted
    assert opened.counts == (3, 0, 3, {HERE: 3})


@pytest.mark.parametrize("limit", LIMITS)
def test_the_limit_is_told_once_and_again_after_the_count_has_fallen(door: Callable[..., Door], limit: str) -> None:
    opened = door(**{limit: 4})
    streams = [opened.stream() for _ in range(12)]

    def come(first: int, last: int) -> int:
        for stream in streams[first:last]:
            assert opened.knock(stream, seconds=2)
        return len(opened.warnings)

    def go(first: int, last: int) -> None:
        for stream in streams[first:last]:
            opened.end(stream)

    assert come(0, 6) == 1
    go(0, 2)
    go(4, 5)  # room for one: that is not calm
    assert come(6, 8) == 1
    go(2, 8)
    assert come(8, 12) == 1
    assert come(4, 5) == 2


def test_the_warning_says_who_is_waited_for(door: Callable[..., Door]) -> None:
    opened = door(handshakes=3, handshakes_per_address=2)
    first, second = opened.let_in(2)
    assert opened.knock() is None
    assert opened.decide(first)
    assert opened.decide(second)
    opened.let_in(1, THERE)
    assert opened.knock(address=THERE) is None
    how = "slow ones are aborted for new ones, otherwise new ones are refused"
    assert opened.warnings == [
        f"2 handshakes of {HERE} in progress; {how}",
        f"3 handshakes in progress, 2 of them wait for passwords to be checked or for the application; {how}",
    ]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_refused_one_makes_room_at_once(door: Callable[..., Door], limit: str) -> None:
    opened = door(**{limit: 3})
    slow, *others = opened.let_in(3)
    assert opened.decide(others[0])
    for stream in others:  # one after the decision, and one whose request was wrong
        opened.refuse(stream)
    new = opened.let_in(2, seconds=2)
    assert [stream.aborted for stream in (slow, *others, *new)] == [False, True, True, False, False]
    opened.refuse(others[0])  # has made room already
    assert repr(opened) == "<Handshakes reading=3 deciding=0 refused=0 leaving=2>"
    opened.refuse(slow)
    opened.end(slow)
    assert opened.counts == (2, 0, 2, {HERE: 2})


def test_the_refused_of_other_addresses_make_no_room_at_the_limit_of_one(door: Callable[..., Door]) -> None:
    opened = door(handshakes_per_address=1)
    (other,) = opened.let_in(1, THERE)
    opened.refuse(other)
    opened.let_in(1, HERE)
    assert opened.knock() is None
    assert not other.aborted


# Whose handshakes make room.


def test_a_few_addresses_do_not_keep_the_others_out(door: Callable[..., Door]) -> None:
    """Slow handshakes from three addresses, and one charge point that takes longer than others."""
    opened = door(handshakes=6, handshakes_per_address=2)
    attackers = [f"192.0.2.{number}" for number in (11, 12, 13)]
    for attacker in attackers:
        opened.let_in(2, attacker)
    charge_point = opened.knock(address=HERE, seconds=2)
    assert charge_point is not None
    for number in range(12):
        # As fast as they like: it is the only slow one, or the slowest.
        opened.knock(address=attackers[number % 3], seconds=0.0 if number < 6 else 2.0)
        for stream in list(opened._leaving):
            opened.end(stream)
    assert not charge_point.aborted
    assert opened.decide(charge_point)


def test_the_address_with_the_most_handshakes_makes_room_first(door: Callable[..., Door]) -> None:
    opened = door(handshakes=5)
    (first,) = opened.let_in(1, THERE)
    many = opened.let_in(3, "192.0.2.11")
    two = opened.let_in(1, "192.0.2.12")
    opened.let_in(1, HERE, seconds=2)
    assert [stream.aborted for stream in (first, *many, *two)] == [False, True, False, False, False]
    # Then they have two, one and one; of one address, nobody makes room for the second of another.
    assert opened.knock(address="192.0.2.11") is not None
    assert many[1].aborted
    opened.let_in(1, "192.0.2.13")
    assert many[2].aborted
    assert opened.knock(address="192.0.2.11") is None
    assert not first.aborted


def test_of_equal_addresses_the_oldest_makes_room(door: Callable[..., Door]) -> None:
    opened = door(handshakes=2)
    (first,), (second,) = opened.let_in(1, "192.0.2.11"), opened.let_in(1, "192.0.2.12")
    opened.let_in(1, HERE, seconds=2)
    assert [first.aborted, second.aborted] == [True, False]


def test_an_address_that_is_proven_goes_first(door: Callable[..., Door]) -> None:
    opened = door(handshakes=3)
    known = opened.let_in(2, HERE, proven=True)
    (stranger,) = opened.let_in(1, THERE)
    assert opened.knock(address="192.0.2.11", seconds=0.5) is None
    known += opened.let_in(1, HERE, proven=True)  # though the stranger is not slow
    assert stranger.aborted
    # A stranger gets no place of theirs, however slow they are, and however many.
    assert opened.knock(address="192.0.2.11", seconds=100) is None
    assert [stream.aborted for stream in known] == [False] * 3
    # Among them, the rule is the same as among strangers.
    opened.let_in(1, THERE, proven=True)
    assert [stream.aborted for stream in known] == [True, False, False]


def test_a_proven_address_takes_the_place_of_a_stranger_before_that_of_another(door: Callable[..., Door]) -> None:
    opened = door(handshakes=4)
    known = opened.let_in(3, "192.0.2.11", proven=True)
    (stranger,) = opened.let_in(1, THERE)
    opened.let_in(1, HERE, proven=True, seconds=5)
    assert [stream.aborted for stream in (*known, stranger)] == [False, False, False, True]


# Closing.


def test_a_close_aborts_handshakes_in_each_phase_and_all_later_ones(door: Callable[..., Door]) -> None:
    opened = door()
    streams = opened.let_in(3)
    assert opened.decide(streams[0])
    opened.refuse(streams[1])
    opened.close()
    streams += opened.let_in(1)
    assert [stream.aborted for stream in streams] == [True] * 4


class _Handshakes(dict[Stream, Any]):
    """Has another thread come while this one looks at all of them."""

    come: Callable[[], object]

    def __iter__(self) -> Iterator[Stream]:
        for stream in super().__iter__():
            yield stream
            self.come()


def test_a_handshake_that_begins_during_close_is_aborted(door: Callable[..., Door]) -> None:
    opened = door()
    streams, late = opened.let_in(2), opened.stream()
    intruder = Intruder(lambda: opened.knock(late))
    handshakes = _Handshakes(opened._reading)
    handshakes.come = intruder.come
    opened._lock, opened._reading = intruder.lock, handshakes
    opened.close()
    assert intruder.result()
    assert [stream.aborted for stream in (*streams, late)] == [True] * 3


# Two threads in the same place.


def meet(opened: Door, visit: Callable[[], object], field: str) -> Made:
    """Have another thread come when this one next looks at a field."""
    made = Made()
    opened._lock = lock = MeetingLock()  # type: ignore[assignment]
    watch_field(opened, field, after_get=made.let_in(lock, visit))
    return made


def test_the_last_place_goes_to_one_of_two_at_once(door: Callable[..., Door]) -> None:
    opened = door(handshakes=1)
    made = meet(opened, opened.knock, "_reading")
    assert opened.knock() is not None
    assert made.result() is None


def test_a_handshake_counts_while_its_decision_begins(door: Callable[..., Door]) -> None:
    opened = door(handshakes=1)
    (stream,) = opened.let_in(1)
    made = meet(opened, opened.knock, "_deciding")
    assert opened.decide(stream)
    assert made.result() is None


def test_a_handshake_counts_while_it_is_refused(door: Callable[..., Door]) -> None:
    opened = door(handshakes=1)
    (stream,) = opened.let_in(1)
    made = meet(opened, opened.knock, "_refused")
    opened.refuse(stream)
    assert made.result() is not None
    assert stream.aborted
    assert opened.counts[0] == 1
    assert opened._refused == {}


def test_a_handshake_that_ends_while_another_begins_is_counted_once(door: Callable[..., Door]) -> None:
    opened = door(handshakes_per_address=2)
    (stream,) = opened.let_in(1)
    made = meet(opened, opened.knock, "_by_address")
    opened.end(stream)
    assert made.result() is not None
    assert opened.counts == (1, 0, 0, {HERE: 1})

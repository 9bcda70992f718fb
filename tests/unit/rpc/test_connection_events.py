"""Of what is told about one connection, its opening is first and its end last, whichever threads tell it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from interleaved import Made, MeetingLock, once, watch_field

from ocppsync.errors import Delivery
from ocppsync.events import Closed, Connected, Event, MessageSent, TimedOut
from ocppsync.rpc.connection_events import ConnectionEvents

OPENED = Connected("CP1", "1.6", "127.0.0.1", 1)
CLOSED = Closed("CP1", "1.6", 1000, 1.0, 1)
DELIVERY: Delivery = "unknown"
FAILED = TimedOut("CP1", "Reset", 1.0, DELIVERY, 1)


def message(number: int) -> MessageSent:
    return MessageSent("CP1", "1.6", "CALL", str(number), "Reset", "", None, 1)


class Observer:
    """Notes what it is told, once it is through with it.

    Attributes:
        during: called while it is told an event of that type, once.
    """

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.during: dict[type, Callable[..., object]] = {}

    def __call__(self, event: Event) -> None:
        self.during.get(type(event), lambda: None)()
        self.told.append(event)


def test_what_happens_before_and_while_the_opening_is_told_comes_after_it() -> None:
    observer = Observer()
    events = ConnectionEvents(observer)
    events.tell(message(1))
    observer.during[Connected] = once(lambda: events.tell(message(2)))
    # While the first ones are told, and nobody waits for them.
    observer.during[MessageSent] = once(lambda: events.tell(message(3)))
    assert observer.told == []
    events.open(OPENED)
    events.tell(message(4))
    events.close(CLOSED)
    assert observer.told == [OPENED, *map(message, (1, 2, 3, 4)), CLOSED]


def test_what_comes_as_the_last_early_event_was_told_does_not_overtake_it() -> None:
    observer = Observer()
    events = ConnectionEvents(observer)
    lock: Any = MeetingLock()
    events._lock = lock
    lock.before_acquire = once(lambda: lock.let_in(events.tell, message(1)))
    events.open(OPENED)
    assert observer.told == [OPENED, message(1)]


def test_the_end_is_told_after_what_another_thread_is_telling() -> None:
    observer = Observer()
    events = ConnectionEvents(observer)
    events.open(OPENED)
    observer.during[MessageSent] = once(lambda: events.close(CLOSED))
    events.tell(message(1))
    events.tell(FAILED)
    assert observer.told == [OPENED, message(1), CLOSED, FAILED]


def test_the_last_of_several_threads_tells_the_end() -> None:
    observer = Observer()
    events = ConnectionEvents(observer)
    events.open(OPENED)
    # The second begins and is through while the first is at work.
    observer.during[MessageSent] = once(lambda: (events.tell(message(2)), events.close(CLOSED), events.tell(FAILED)))
    events.tell(message(1))
    assert observer.told == [OPENED, message(2), FAILED, message(1), CLOSED]


def test_the_end_is_told_though_an_observer_fails() -> None:
    observer = Observer()
    events = ConnectionEvents(observer)
    events.open(OPENED)

    def leave() -> None:
        events.close(CLOSED)
        raise SystemExit

    observer.during[MessageSent] = leave
    with pytest.raises(SystemExit):
        events.tell(message(1))
    assert observer.told == [OPENED, CLOSED]


def test_no_message_follows_the_end_but_failures_may() -> None:
    observer = Observer()
    events = ConnectionEvents(observer)
    events.open(OPENED)
    events.close(CLOSED)
    events.tell(message(1))
    events.tell(FAILED)
    assert observer.told == [OPENED, CLOSED, FAILED]


def test_an_observer_that_leaves_at_the_opening_is_told_the_end() -> None:
    observer = Observer()
    events = ConnectionEvents(observer)

    def leave() -> None:
        raise SystemExit

    observer.during[Connected] = leave
    with pytest.raises(SystemExit):
        events.open(OPENED)
    events.tell(message(1))
    events.close(CLOSED)
    events.tell(message(2))
    assert observer.told == [CLOSED]
    assert repr(events) == "<ConnectionEvents early=0 telling=0 ended=True>"


# Each step under the lock, and what another thread could do in its middle without it.


@pytest.fixture
def lock() -> MeetingLock:
    return MeetingLock()


def opened(observer: Observer, lock: Any) -> ConnectionEvents:
    events = ConnectionEvents(observer)
    events.open(OPENED)
    events._lock = lock
    return events


def test_an_event_that_waits_for_the_opening_is_not_forgotten(lock: Any) -> None:
    class Early(list[Event]):
        def append(self, event: Event) -> None:
            opening.append(lock.let_in(events.open, OPENED))
            super().append(event)

    observer, opening = Observer(), Made()
    events = ConnectionEvents(observer)
    events._lock, events._early = lock, Early()
    events.tell(message(1))
    opening.result()
    assert observer.told == [OPENED, message(1)]


def test_the_end_cannot_come_while_a_thread_begins_to_tell(lock: Any) -> None:
    observer, closing = Observer(), Made()
    events = opened(observer, lock)
    watch_field(events, "_ended", after_get=closing.let_in(lock, events.close, CLOSED))
    events.tell(message(1))
    closing.result()
    assert observer.told == [OPENED, message(1), CLOSED]


def test_two_threads_that_are_through_at_once_tell_the_end_once(lock: Any) -> None:
    events, other = opened(Observer(), lock), Made()
    events._telling = 2
    events.close(CLOSED)
    watch_field(events, "_telling", after_get=other.let_in(lock, events._take_closed))
    assert events._take_closed() is None
    assert other.result() is CLOSED


def test_a_thread_that_is_through_as_the_end_is_noted_tells_it(lock: Any) -> None:
    observer, other = Observer(), Made()
    events = opened(observer, lock)
    events._telling = 1
    watch_field(events, "_telling", after_get=other.let_in(lock, events._take_closed))
    events.close(CLOSED)
    assert other.result() is CLOSED
    assert observer.told == [OPENED]

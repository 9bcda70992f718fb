"""Observers of one connection: in order, and never on the timer's thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support import DEADLINE, Recorder

from ocppsync.events import Event, MessageReceived, TimedOut
from ocppsync.rpc import connection_observer
from ocppsync.rpc.connection_observer import ConnectionObserver
from ocppsync.threads.timer import Timer


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer("test-timer")
    yield timer
    timer.close()


class Held:
    """An observer that is held up by each `TimedOut`, until it is released."""

    def __init__(self) -> None:
        self.told = Recorder()
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self, event: Any) -> None:
        if isinstance(event, TimedOut):
            self.entered.set()
            assert self.release.wait(DEADLINE)
        self.told(what(event), threading.current_thread().name)

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.told.items]


def what(event: Any) -> str:
    return event.message_id if isinstance(event, MessageReceived) else event.action


def timed_out(action: str) -> Event:
    return TimedOut("CP1", action, 1.0, "unknown")


def came(message_id: str, text: str = "") -> Event:
    return MessageReceived("CP1", "1.6", "CALL", message_id, "Heartbeat", text, None)


def test_what_happens_on_other_threads_is_told_there(timer: Timer) -> None:
    held = Held()
    ConnectionObserver(held, timer)(came("1"))
    assert held.told.items == [("1", threading.current_thread().name)]


def test_the_timer_goes_on_while_an_observer_blocks_and_the_order_is_kept(timer: Timer) -> None:
    held, went_on = Held(), Recorder()
    observe = ConnectionObserver(held, timer)
    timer.call_later(0, observe, timed_out("Reset"))
    timer.call_later(0, observe, timed_out("ClearCache"))
    timer.call_later(0, went_on, "went on")
    went_on.wait()
    assert held.entered.wait(DEADLINE)
    observe(came("1"))  # does not wait, and is not told before
    assert held.order == []
    held.release.set()
    held.told.wait(3)
    assert held.order == ["Reset", "ClearCache", "1"]
    assert {thread for _, thread in held.told.items} == {"test-timer-aside"}
    timer.aside.join(DEADLINE)
    observe(came("2"))
    assert held.told.items[-1] == ("2", threading.current_thread().name)


def test_one_connection_does_not_hold_up_another(timer: Timer) -> None:
    held, other = Held(), Recorder()
    timer.call_later(0, ConnectionObserver(held, timer), timed_out("Reset"))
    assert held.entered.wait(DEADLINE)
    timer.call_later(0, ConnectionObserver(other, timer), timed_out("Reset"))
    other.wait()
    held.release.set()


def test_a_thread_of_the_connection_waits_when_too_much_waits(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_observer, "_ROOM", 5000)
    held, went_on = Held(), Recorder()
    observe = ConnectionObserver(held, timer)
    timer.call_later(0, observe, timed_out("Reset"))
    assert held.entered.wait(DEADLINE)
    observe(came("1", "x" * 5000))
    reader = threading.Thread(target=observe, args=(came("2"),), daemon=True)
    reader.start()
    # The timer never waits.
    timer.call_later(0, observe, timed_out("ClearCache"))
    timer.call_later(0, went_on, "went on")
    went_on.wait()
    held.release.set()
    reader.join(DEADLINE)
    assert not reader.is_alive()
    held.told.wait(4)
    assert held.order == ["Reset", "1", "ClearCache", "2"]


def test_an_observer_that_causes_events_does_not_wait_for_itself(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_observer, "_ROOM", 0)
    told = Recorder()

    def observer(event: Any) -> None:
        if isinstance(event, TimedOut):
            observe(came("1"))
            observe(came("2"))
        told(what(event))

    observe = ConnectionObserver(observer, timer)
    timer.call_later(0, observe, timed_out("Reset"))
    assert told.wait(3) == ["Reset", "1", "2"]


def test_an_observer_that_exits_does_not_end_the_telling(timer: Timer, caplog: pytest.LogCaptureFixture) -> None:
    told = Recorder()

    def observer(event: Any) -> None:
        told(what(event))
        if event.action == "Reset":
            raise SystemExit

    observe = ConnectionObserver(observer, timer)
    timer.call_later(0, observe, timed_out("Reset"))
    timer.call_later(0, observe, timed_out("ClearCache"))
    assert told.wait(2) == ["Reset", "ClearCache"]

"""One connection: what it leaves behind, its pings and its patience."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lone import Lone

from ocppsync import ConnectionLostError, NotConnectedError, Timeouts
from ocppsync.events import Closed
from ocppsync.testing.inline import Clock, InlineExecutor
from ocppsync.threads.timer import TimerHandle


class LateClock(Clock):
    """A clock that lets something happen just as an appointment is made.

    Attributes:
        before: called once before the next appointment is made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], object] | None = None

    def call_at(self, when: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        before, self.before = self.before, None
        if before is not None:
            before()
        return super().call_at(when, function, *args)


def no_thread() -> None:
    """Do what the system does when it lets no thread start."""
    raise RuntimeError("can't start new thread")


# The end.


def test_no_appointment_outlives_the_connection() -> None:
    with Lone(websocket_ping_interval=10, timeouts=Timeouts(idle=20)) as lone:
        lone.connection.close(1000)
        assert repr(lone.clock) == "<Clock 0 s appointments=3>", "a ping, the idleness, and the end of its patience"
        lone.drop()
        assert not lone.clock.jump()


def test_a_close_after_the_end_makes_no_appointment() -> None:
    with Lone() as lone:
        lone.drop()
        lone.connection.close(1000)
        assert repr(lone.clock) == "<Clock 0 s appointments=0>"


def test_a_close_at_the_very_end_leaves_no_appointment() -> None:
    with Lone() as lone:
        call_later = lone.clock.call_later

        def end_before(*arguments: Any) -> Any:
            # The reader cancels its appointments just before another thread makes this one.
            lone.drop()
            return call_later(*arguments)

        lone.clock.call_later = end_before  # type: ignore[method-assign]
        lone.connection.close(1000)
        assert not lone.clock.jump()


def test_a_thread_may_ask_once_it_reads_no_more() -> None:
    # The system gives the ident of a thread that has ended to another.
    lone = Lone()
    lone.peer.abort()
    lone.connection.run()
    assert isinstance(lone.ask().exception(0), NotConnectedError)


def test_the_thread_that_reads_may_not_ask() -> None:
    failures: list[Exception] = []

    def hook(text: str, metadata: Any) -> None:
        try:
            lone.ask()
        except RuntimeError as error:
            failures.append(error)

    with Lone(on_raw_websocket_data=hook) as lone:
        lone.say([3, "1", {}])
        assert len(failures) == 1


def test_what_waits_fails_before_the_end_is_told() -> None:
    told: list[bool] = []
    with Lone(observe=lambda event: told.append(future.done()) if isinstance(event, Closed) else None) as lone:
        future = lone.ask()
        lone.drop()
        assert told == [True]
        assert isinstance(future.exception(0), ConnectionLostError)
        assert lone.transport.released


class FailingExecutor(InlineExecutor):
    """Can take nothing on, for the system lets no thread start."""

    def submit(self, function: Callable[..., object], *args: Any) -> bool:
        raise RuntimeError("can't start new thread")


def test_a_reader_that_fails_ends_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    with Lone(executor=FailingExecutor(Clock())) as lone:
        lone.router.on("Heartbeat")(lambda payload, metadata: {})
        future = lone.ask()
        lone.came()
        lone.say([2, "1", "Heartbeat", {}])
        lone.join()
        assert isinstance(future.exception(0), ConnectionLostError)
        assert lone.came() == []
        assert lone.peer.ended, "it is told, and does not wait"
        assert repr(lone.context.share).endswith(" bytes=0>")
    assert "the reader failed" in caplog.text


@pytest.mark.parametrize("settings", [{"websocket_ping_interval": 10}, {"timeouts": Timeouts(idle=20)}])
def test_a_timer_without_a_thread_ends_the_connection(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    clock = LateClock()
    clock.before = no_thread
    with Lone(clock=clock, **settings) as lone:
        lone.join()
        assert lone.transport.released
        assert isinstance(lone.ask().exception(0), NotConnectedError)
        assert lone.came() == []
        assert lone.peer.ended
    assert "can't start new thread" in caplog.text


def test_the_time_for_a_close_is_bounded() -> None:
    with Lone() as lone:
        lone.connection.close(1000)
        lone.clock.advance(4)
        lone.settle()
        assert not lone.transport.released
        lone.clock.advance(1)
        lone.join()


# Pings and idleness.


def test_no_ping_follows_one_that_comes_with_the_end() -> None:
    def vanish() -> None:
        lone.peer.on_arrival = None
        lone.drop()

    with Lone(websocket_ping_interval=10) as lone:
        lone.peer.on_arrival = vanish  # as the ping arrives
        lone.clock.advance(10)
        lone.join()
        assert not lone.clock.jump()


def test_a_ping_that_was_agreed_on_just_before_the_end_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    clock = LateClock()
    with Lone(clock=clock, websocket_ping_interval=10) as lone:
        clock.advance(1)
        clock.before = lone.drop  # as the second ping is agreed on, before the first was answered
        clock.advance(9)
        lone.join()
        clock.advance(10)
        assert not clock.jump()
    assert "does not answer pings" not in caplog.text


def test_a_peer_that_answers_no_ping_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with Lone(websocket_ping_interval=10) as lone:
        lone.clock.advance(10)
        lone.came()
        lone.settle()
        lone.clock.advance(10)
        lone.settle()
        assert not lone.transport.released, "it has answered the first"
        lone.clock.advance(10)
        lone.join()
    assert "CP1 does not answer pings" in caplog.text


def test_idleness_that_is_looked_at_just_after_the_end_is_none(caplog: pytest.LogCaptureFixture) -> None:
    clock = LateClock()
    with Lone(clock=clock, timeouts=Timeouts(idle=20)) as lone:
        clock.advance(5)
        lone.say([3, "1", {}])
        clock.before = lone.drop  # as the next look is agreed on
        clock.advance(15)
        lone.join()
        clock.advance(20)
        assert not clock.jump()
    assert "sent nothing for" not in caplog.text

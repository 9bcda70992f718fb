"""Who may check a password when, and who is told that it takes too long."""

from __future__ import annotations

import contextlib
import threading
import types
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from interleaved import Made, MeetingLock, watch_field
from support import DEADLINE, Recorder, wait_until

from ocppsync.security import hash_line
from ocppsync.security.hash_line import HashLine
from ocppsync.wire.http import DisconnectedError, RefusalError


def here() -> bool:
    return False


def gone() -> bool:
    return True


class Waiter:
    """A thread that wants a turn; it gives it back when told to.

    Attributes:
        outcome: what came of it, once it has given its turn back or has got none.
    """

    def __init__(self, line: HashLine, has_gone: Callable[[], bool] | None = None) -> None:
        self.has_turn = threading.Event()
        self.outcome: Future[None] = Future()
        self._finish = threading.Event()
        threading.Thread(target=self._run, args=(line, has_gone), name="test-waiter", daemon=True).start()

    def _run(self, line: HashLine, has_gone: Callable[[], bool] | None) -> None:
        try:
            with line.turn(has_gone):
                self.has_turn.set()
                assert self._finish.wait(DEADLINE)
        except BaseException as error:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(None)

    def finish(self) -> None:
        self._finish.set()
        self.outcome.result(DEADLINE)


def waiters(line: HashLine, *peers: Callable[[], bool] | None) -> list[Waiter]:
    """Let threads come one after the other, each when the one before it is in the line."""
    came = []
    for number, has_gone in enumerate(peers, 1):
        came.append(Waiter(line, has_gone))
        wait_until(lambda number=number: len(line._waiting) == number)
    return came


def test_turns_are_taken_in_the_order_of_arrival() -> None:
    line = HashLine(0.1, at_once=2)
    first, second = Waiter(line), Waiter(line, here)
    assert first.has_turn.wait(DEADLINE)
    assert second.has_turn.wait(DEADLINE)
    third, fourth = waiters(line, here, None)
    assert not third.has_turn.is_set()
    second.finish()
    assert third.has_turn.wait(DEADLINE)
    assert not fourth.has_turn.is_set()
    first.finish()
    assert fourth.has_turn.wait(DEADLINE)
    third.finish()
    fourth.finish()
    assert repr(line).startswith("<HashLine waiting=0 free=2 ")


def test_a_peer_that_has_gone_gives_its_turn_to_the_next() -> None:
    line = HashLine(0.1, at_once=1)
    with line.turn():
        *left, stays = waiters(line, gone, gone, here)
    assert stays.has_turn.wait(DEADLINE)
    for waiter in left:
        with pytest.raises(DisconnectedError, match="hung up"):
            waiter.outcome.result(DEADLINE)
        assert not waiter.has_turn.is_set()
    stays.finish()
    with pytest.raises(DisconnectedError), line.turn(gone):
        pytest.fail("it had its turn")
    assert "waiting=0 free=1" in repr(line)


def test_a_hopeless_line_is_not_joined_by_those_who_can_be_refused() -> None:
    line = HashLine(4.0, at_once=2, patience=5.0)
    with line.turn(), line.turn(here):
        others = waiters(line, here, here)  # 2 s, 4 s
        with pytest.raises(RefusalError, match=r"^2 passwords wait to be checked, which takes 6\.0 s$") as refused:
            line.turn(here).__enter__()
        assert (refused.value.status, dict(refused.value.headers)) == (503, {"Retry-After": "6"})
        others.append(Waiter(line))  # cannot be refused
        wait_until(lambda: len(line._waiting) == 3)
    for waiter in others:
        waiter.finish()
    with line.turn(here):
        pass


def test_the_time_of_a_check_is_measured() -> None:
    now = [0.0]
    line = HashLine(1.0, at_once=1, clock=lambda: now[0])
    for _ in range(50):
        with contextlib.suppress(DisconnectedError), line.turn(gone):
            pass  # is no check
        with line.turn(here):
            now[0] += 3.0
    assert "seconds=3" in repr(line)


def test_a_check_that_raises_gives_its_turn_back() -> None:
    line = HashLine(0.1, at_once=1)
    with pytest.raises(ZeroDivisionError), line.turn():
        raise ZeroDivisionError
    with line.turn():
        pass


@pytest.mark.parametrize("too_late", [False, True])
def test_a_wait_that_is_interrupted_leaves_the_line(monkeypatch: pytest.MonkeyPatch, too_late: bool) -> None:
    line = HashLine(0.1, at_once=1)

    class Interrupted(threading.Event):
        def wait(self, timeout: Any = None) -> bool:
            if too_late:
                held.close()
                assert super().wait(DEADLINE)
            raise KeyboardInterrupt

    held = contextlib.ExitStack()
    held.enter_context(line.turn())
    monkeypatch.setattr(hash_line, "threading", types.SimpleNamespace(Event=Interrupted))
    with pytest.raises(KeyboardInterrupt), line.turn():
        pytest.fail("it had its turn")
    held.close()
    assert "waiting=0 free=1" in repr(line)


# Two threads in the same place.


def guarded(line: HashLine) -> MeetingLock:
    line._lock = lock = MeetingLock()  # type: ignore[assignment]
    return lock


def test_the_last_free_turn_is_taken_by_one_of_two_threads() -> None:
    line, both, most = HashLine(0.1, at_once=1), Recorder(), []
    lock, second = guarded(line), Made()

    def take() -> None:
        with line.turn():
            both(None)
            most.append(line._free)

    watch_field(line, "_free", after_get=second.let_in(lock, take))
    with line.turn():
        assert both.items == []
    second.result()
    assert most == [0]
    assert "waiting=0 free=1" in repr(line)


def test_a_thread_that_comes_while_another_leaves_is_not_forgotten() -> None:
    line, second = HashLine(0.1, at_once=1), Made()
    lock = guarded(line)

    def take() -> None:
        with line.turn():
            pass

    held = line.turn()
    held.__enter__()
    watch_field(line, "_waiting", after_get=second.let_in(lock, take))
    held.__exit__(None, None, None)
    second.result()


def test_a_wait_that_is_interrupted_while_its_turn_comes_passes_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    line, leaves = HashLine(0.1, at_once=1), Made()

    class Interrupted(threading.Event):
        def wait(self, timeout: Any = None) -> bool:
            come, looks = leaves.let_in(lock, held.__exit__, None, None, None), iter([lambda: None])
            # Between the look whether it still waits and the next step.
            watch_field(line, "_waiting", after_get=lambda _: next(looks, come)())
            raise KeyboardInterrupt

    lock = guarded(line)
    held = line.turn()
    held.__enter__()
    monkeypatch.setattr(hash_line, "threading", types.SimpleNamespace(Event=Interrupted))
    with pytest.raises(KeyboardInterrupt), line.turn():
        pytest.fail("it had its turn")
    leaves.result()
    assert "waiting=0 free=1" in repr(line)

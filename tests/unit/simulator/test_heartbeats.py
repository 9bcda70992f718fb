"""When the Heartbeats of a simulated charge point are due."""

from __future__ import annotations

import math
import time

import pytest

from ocppsync.simulator.heartbeats import Heartbeats


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_they_are_due_once_in_each_interval(clock: list[float]) -> None:
    heartbeats = Heartbeats(lambda: 30)
    heartbeats.restart()
    assert heartbeats.next_at == 1030
    clock[0] = 1029.9
    assert not heartbeats.are_due()
    clock[0] = 1031.0
    assert heartbeats.are_due()
    assert not heartbeats.are_due()
    assert heartbeats.next_at == 1061


def test_the_interval_may_change(clock: list[float]) -> None:
    interval = [0]
    heartbeats = Heartbeats(lambda: interval[0])
    heartbeats.restart()
    assert heartbeats.next_at == math.inf
    clock[0] = 1e9
    assert not heartbeats.are_due(), "0 sends none"
    interval[0] = 10
    assert heartbeats.are_due()


def test_an_interval_that_no_float_can_hold_is_never_over(clock: list[float]) -> None:
    heartbeats = Heartbeats(lambda: 10**400)
    heartbeats.restart()
    assert not heartbeats.are_due()
    assert heartbeats.next_at > 10**9

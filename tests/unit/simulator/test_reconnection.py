"""A simulated charge point gets back to its central system."""

from __future__ import annotations

import logging
from random import Random

import pytest

from ocppsync import HandshakeError
from ocppsync.simulator.reconnection import Reconnection
from ocppsync.simulator.waiting import Waiting


class Pauses(Waiting):
    """Waits only in name; stops after so many waits."""

    def __init__(self, stops_after: int | None = None) -> None:
        super().__init__(1.0)
        self.seconds: list[float] = []
        self._stops_after = stops_after

    def pause(self, seconds: float, **options: object) -> None:
        self.seconds.append(seconds)
        self.stopping = len(self.seconds) == self._stops_after


class Attempts:
    """Fails as told, then connects."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        if self.failures:
            raise self.failures.pop(0)


def reconnection(attempts: Attempts, pauses: Pauses, extra: float = 0.0) -> Reconnection:
    return Reconnection("CP1", attempts, pauses, lambda: (2.0, 3, extra), Random(1))


def test_the_pauses_double_as_often_as_the_settings_say(caplog: pytest.LogCaptureFixture) -> None:
    attempts, pauses = Attempts(*[HandshakeError("refused")] * 5), Pauses()
    assert reconnection(attempts, pauses).run()
    assert attempts.count == 6
    assert pauses.seconds == [2, 4, 8, 16, 16, 16]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 5
    assert caplog.messages[0] == "CP1: refused; a vehicle is charging, so it tries again"


def test_each_pause_has_a_random_part() -> None:
    pauses = Pauses()
    for _ in range(20):
        reconnection(Attempts(), pauses, extra=5.0).pause(0)
    random = Random(1)
    assert pauses.seconds[0] == 2 + random.uniform(0, 5.0)
    assert all(2 <= seconds <= 7 for seconds in pauses.seconds)


def test_a_stop_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    attempts, pauses = Attempts(*[HandshakeError("refused")] * 9), Pauses(stops_after=3)
    assert not reconnection(attempts, pauses).run()
    assert attempts.count == 3
    assert len(caplog.records) == 2, "the one that the stop made fail is no news"
    pauses.stopping = True
    assert not reconnection(attempts, pauses).run()
    assert attempts.count == 3


def test_a_close_is_a_failure() -> None:
    attempts, pauses = Attempts(RuntimeError("closed")), Pauses()
    assert reconnection(attempts, pauses).run()
    assert attempts.count == 2

"""What peers cause in the log: few lines, and none too long."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

import pytest
from intruder import Intruder

from ocppsync import throttled_log
from ocppsync.throttled_log import LogThrottle, ThrottledLog

LOGGER = logging.getLogger("ocppsync.test")


class Watch:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_kind_is_logged_at_powers_of_two(caplog: pytest.LogCaptureFixture) -> None:
    throttled = ThrottledLog("CP1")
    for number in range(1, 1001):
        throttled.log(LOGGER, "stray", "a stray answer to %r", number)
    throttled.log(LOGGER, "repeat", "repeated")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:3] == [
        "CP1: a stray answer to 1",
        "CP1: a stray answer to 2 (2 so far)",
        "CP1: a stray answer to 4 (4 so far)",
    ]
    assert lines[9] == "CP1: a stray answer to 512 (512 so far)"
    assert len(lines) == 11


def test_each_peer_counts_separately_and_keeps_the_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    throttle = LogThrottle()
    for peer in ("CP1", "CP2"):
        ThrottledLog(peer, throttle=throttle).log(LOGGER, "repeat", "repeated", level=logging.INFO)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "CP1: repeated"),
        ("INFO", "CP2: repeated"),
    ]


def test_a_count_outlives_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    throttle = LogThrottle()
    for connection in range(4):
        ThrottledLog("CP1", {"connection": connection}, throttle).about(LOGGER, "%s went away", level=logging.ERROR)
    assert caplog.messages == ["CP1 went away", "CP1 went away (2 so far)", "CP1 went away (4 so far)"]
    assert [vars(record)["connection"] for record in caplog.records] == [0, 1, 3]


def test_what_happens_now_and_then_is_logged_each_time(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    throttle = LogThrottle(watch)
    for _ in range(4):
        throttle.log(LOGGER, "CP1", "away", "away")
        watch.now += 60
    assert caplog.messages == ["away"] * 4
    # But not as long as it does not stop.
    for _ in range(100):
        throttle.log(LOGGER, "CP1", "away", "away")
        watch.now += 59
    assert len(caplog.messages) == 4 + 7


def test_many_peers_together_are_throttled_as_well(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    throttle = LogThrottle(watch)
    for number in range(5000):
        throttle.log(LOGGER, f"CP{number}", "away", "away")
    assert len(caplog.messages) == 1000 + 3  # and the 1024th, 2048th, 4096th
    throttle.log(LOGGER, "CP1", "another kind", "here")
    watch.now += 60
    throttle.log(LOGGER, "CP9999", "away", "away")
    assert len(caplog.messages) == 1003 + 2


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttled_log, "_MAX_REMEMBERED", 3)
    throttle = LogThrottle()
    assert [throttle.due(who, "kind") for who in "ABCA"] == [1, 1, 1, 2]
    assert [throttle.due(who, "kind") for who in "DA"] == [1, 0]
    assert throttle.due("B", "kind") == 1  # it was forgotten


def test_what_no_handler_wants_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    throttle = LogThrottle()
    caplog.set_level(logging.ERROR, LOGGER.name)
    throttle.log(LOGGER, "CP1", "kind", "unheard")
    caplog.set_level(logging.INFO, LOGGER.name)
    throttle.log(LOGGER, "CP1", "kind", "heard")
    assert caplog.messages == ["heard"]


def test_exceptions_of_other_types_and_places_are_other_kinds(caplog: pytest.LogCaptureFixture) -> None:
    throttle = LogThrottle()

    def fail(how: int) -> None:
        if how == 0:
            raise ValueError("zero")
        if how == 1:
            raise ValueError("one")
        raise KeyError("two")

    for how in (0, 0, 0, 1, 2):
        try:
            fail(how)
        except Exception as error:
            throttle.log(LOGGER, "CP1", "handler", "it failed", error=error)
    assert caplog.messages == ["it failed", "it failed (2 so far)", "it failed", "it failed"]
    assert [vars(record)["exc_info"][0] for record in caplog.records] == [ValueError] * 3 + [KeyError]


def test_long_arguments_are_cut_and_escaped(caplog: pytest.LogCaptureFixture) -> None:
    ThrottledLog("N" * 200).log(LOGGER, "kind", "%s %.40r %s %d", "x" * 2000, "y" * 2000, "a\nb", 7)
    (line,) = caplog.messages
    assert line.startswith("N" * 200 + ": x")
    assert "x... (2000 characters) 'yyy" in line
    assert line.endswith(r" a\nb 7")
    assert len(line) < 1000


def test_a_long_exception_is_shortened(caplog: pytest.LogCaptureFixture) -> None:
    throttle = LogThrottle()
    for text in ("secret " + "x" * 100_000, "\n".join("y" * 100_000)):
        try:
            raise ValueError(text)
        except ValueError as error:
            throttle.log(LOGGER, "CP1", text[:3], "it failed", error=error)
    assert len(caplog.messages) == 2
    for record in caplog.records:
        written = logging.Formatter().format(record)
        assert "Traceback" in written
        assert "test_throttled_log.py" in written
        assert len(written) < 10_000


def test_an_exception_is_printable(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("\x1b[2J\u202e")
    except ValueError as error:
        LogThrottle().log(LOGGER, "CP1", "kind", "it failed", error=error)
    (record,) = caplog.records
    written = logging.Formatter().format(record)
    assert written.rstrip("\n").endswith("ValueError: \\x1b[2J\\u202e")


def test_two_threads_count_together() -> None:
    throttle = LogThrottle()
    intruder = Intruder(lambda: throttle.due("CP1", "kind"))

    class Counts(OrderedDict[Any, Any]):
        def pop(self, key: Any, default: Any = None) -> Any:
            before = super().pop(key, default)
            intruder.come()
            return before

    throttle._lock, throttle._counts = intruder.lock, Counts()
    assert {throttle.due("CP1", "kind"), intruder.result()} == {1, 2}

"""Repeated faults of one peer in the log."""

from __future__ import annotations

import logging

import pytest

from ocppsync.throttled_log import ThrottledLog

LOGGER = logging.getLogger("ocppsync.test")


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


def test_each_log_counts_separately_and_keeps_the_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for peer in ("CP1", "CP2"):
        ThrottledLog(peer).log(LOGGER, "repeat", "repeated", level=logging.INFO)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "CP1: repeated"),
        ("INFO", "CP2: repeated"),
    ]

"""What the log says of a peer that does the same again and again."""

from __future__ import annotations

import logging

import pytest

from ocppsync.throttled_log import ThrottledLog

LOGGER = logging.getLogger("ocppsync.test")


def test_the_first_of_each_kind_is_told_and_then_ever_fewer(caplog: pytest.LogCaptureFixture) -> None:
    throttled = ThrottledLog("CP1")
    for number in range(1, 1001):
        throttled.log(LOGGER, "stray", "a stray answer to %r", number)
    throttled.log(LOGGER, "repeat", "repeated")
    told = [record.getMessage() for record in caplog.records]
    assert told[:3] == [
        "CP1: a stray answer to 1",
        "CP1: a stray answer to 2 (2 like this by now)",
        "CP1: a stray answer to 4 (4 like this by now)",
    ]
    assert told[9] == "CP1: a stray answer to 512 (512 like this by now)"
    assert len(told) == 11


def test_each_peer_has_its_own_and_the_level_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for peer in ("CP1", "CP2"):
        ThrottledLog(peer).log(LOGGER, "repeat", "repeated", level=logging.INFO)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "CP1: repeated"),
        ("INFO", "CP2: repeated"),
    ]

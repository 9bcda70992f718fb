"""Texts of peers for log lines: escaped, and cut."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ocppsync.errors import CallErrorReceived
from ocppsync.events import HandlerFailed, LoggingObserver, MessageReceived, Refused
from ocppsync.faults.printable import shown, shown_all
from ocppsync.throttled_log import ThrottledLog

EVIL = "x\r\n2026-01-01 CRITICAL forged \x1b[2J\x9b\u202e\ud83d"
LONG = EVIL + "x" * 1_000_000


def test_a_text_is_escaped_and_cut() -> None:
    assert shown("Ladesäule 1") == "Ladesäule 1"
    assert shown("a\nb\x1b") == "a\\nb\\x1b"
    assert shown("abcdef", 3) == "abc... (6 characters)"
    assert shown("abc", 3) == "abc"
    assert shown(EVIL).isprintable()


def test_the_arguments_of_a_log_line() -> None:
    error = ValueError("a\nb")
    assert shown_all(["a\nb", 7, error, None]) == ("a\\nb", 7, "a\\nb", None)


def call_error() -> str:
    known: dict[str, Any] = {"charge_point_id": "CP1", "action": "Reset", "message_id": "1"}
    error = CallErrorReceived(code="GenericError", raw_code=LONG, description=LONG, details={}, **known)
    assert (error.raw_code, error.description) == (LONG, LONG)
    return str(error)


def test_the_text_of_a_callerror() -> None:
    assert call_error().isprintable()
    assert len(call_error()) < 1500


@pytest.mark.parametrize(
    "event",
    [
        MessageReceived("CP1", "1.6", "CALL", "1", LONG, "", None),
        Refused("127.0.0.1", LONG, 401, LONG),
        HandlerFailed("CP1", LONG, RuntimeError(LONG)),
    ],
)
def test_the_lines_of_the_logging_observer(event: Any, caplog: pytest.LogCaptureFixture) -> None:
    LoggingObserver(logging.getLogger("test"), logging.ERROR)(event)
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 1500


def test_the_lines_about_the_faults_of_a_peer(caplog: pytest.LogCaptureFixture) -> None:
    throttled = ThrottledLog("CP1")
    for _ in range(2):
        throttled.log(logging.getLogger("test"), "kind", "it sent %s: %s", LONG, ValueError(LONG))
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 1500

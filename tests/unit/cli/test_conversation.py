"""The output of a conversation: one line per message, in columns, without control characters of a peer."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocppsync.cli.conversation import Conversation, LogLines

NAMES = [
    *("key", "value", "meterValue", "sampledValue", "unit", "unitOfMeasure", "multiplier", "component", "variable"),
    *("name", "evse", "id", "variableAttribute", "attributeStatus", "idToken", "type", "transactionInfo", "reportData"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(NAMES), inner),
)


def shown(stream: io.StringIO) -> list[str]:
    """Return the lines without the time."""
    lines = stream.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    return [line[9:] for line in lines]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setenv("COLUMNS", "60")
    return io.StringIO()


# Lines.


@given(JSON)
def test_any_payload_can_be_shown(payload: Any) -> None:
    stream = io.StringIO()
    for verbose in (False, True):
        Conversation(stream, verbose=verbose).request("CP1", True, "DataTransfer", payload)
    lines = stream.getvalue().split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


def test_messages_are_aligned_and_answers_indented(stream: io.StringIO) -> None:
    conversation = Conversation(stream)
    conversation.connection("CP1", "connected")
    conversation.request("CP1", True, "Heartbeat", {})
    conversation.answer("CP1", False, "Heartbeat", {"a": 1})
    conversation.request("CP1", False, "Reset", {"type": "Soft"})
    conversation.error("CP1", True, "Reset", "no answer")
    conversation.connection("CP1", "disconnected")
    assert shown(stream) == [
        "CP1    + connected",
        "CP1    > Heartbeat            {}",
        "CP1    <   Heartbeat          a=1",
        "CP1    < Reset                type=Soft",
        "CP1    >   Reset              no answer",
        "CP1    - disconnected",
    ]
    assert (conversation.messages, list(conversation.charge_points)) == (4, ["CP1"])


def test_the_version_is_shown_if_given(stream: io.StringIO) -> None:
    Conversation(stream).connection("CP1", "connected", "2.0.1")
    assert shown(stream) == ["CP1    + connected with OCPP 2.0.1"]


def test_the_column_of_identities_grows_up_to_a_limit(stream: io.StringIO) -> None:
    conversation = Conversation(stream)
    for name in ("CP1", "CP-LONGER", "CP-MUCH-LONGER"):
        conversation.connection(name, "connected")
    assert shown(stream) == ["CP1    + connected", "CP-LONGER + connected", "CP-MUCH-L… + connected"]


@pytest.mark.parametrize("name", ["CP1", "CP-MUCH-LONGER-THAN-THAT", "充電器充電器充電器"])
def test_a_message_fits_the_width(stream: io.StringIO, name: str) -> None:
    Conversation(stream).request(name, True, "DataTransfer", {"data": "充電器" * 50, "vendorId": "x" * 100})
    assert len(re.sub(r"[充電器]", "xx", stream.getvalue().rstrip("\n"))) in (59, 60)


def test_a_narrow_width_still_shows_some_of_the_payload(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    Conversation(stream).request("CP1", True, "DataTransfer", {"vendorId": "x" * 100})
    assert stream.getvalue().endswith("vendorId=xx…\n")


def test_a_verbose_conversation_shows_whole_payloads(stream: io.StringIO) -> None:
    payload = {"data": "é" * 200, "key": "AuthorizationKey", "value": "s3cret"}
    Conversation(stream, verbose=True).request("CP1", True, "DataTransfer", payload)
    assert json.loads(stream.getvalue().split(maxsplit=4)[4]) == {**payload, "value": "***"}


@pytest.mark.parametrize("verbose", [True, False])
def test_further_fields_are_masked(stream: io.StringIO, verbose: bool) -> None:
    payload = {"idToken": {"idToken": "04A1", "type": "ISO14443"}, "idTag": "04A1"}
    Conversation(stream, verbose=verbose, mask=["idTag", "idToken"]).request("CP1", True, "Authorize", payload)
    assert "04A1" not in stream.getvalue()
    assert "ISO14443" in stream.getvalue()


def test_control_characters_of_a_peer_are_escaped(stream: io.StringIO) -> None:
    conversation, evil = Conversation(stream), "\x1b[2J\x9b\r\n\u202e"
    conversation.connection(evil, "connected")
    conversation.request(evil, True, evil, {evil: evil, "meterValue": [{evil: evil}]})
    conversation.answer(evil, False, "Heartbeat", evil)
    conversation.error(evil, False, "Heartbeat", evil)
    conversation.notice("!", evil, "warning")
    lines = stream.getvalue().split("\n")
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)


def test_a_unicode_stream_gets_arrows() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    conversation = Conversation(stream)
    conversation.request("CP1", True, "Heartbeat", {})
    conversation.answer("CP1", False, "Heartbeat", {})
    assert [line.split()[2] for line in raw.getvalue().decode().splitlines()] == ["→", "←"]


def test_a_muted_conversation_shows_only_what_is_said(stream: io.StringIO) -> None:
    conversation = Conversation(stream)
    conversation.mute()
    conversation.request("CP1", True, "Heartbeat", {})
    conversation.notice("!", "too late", "warning")
    conversation.say("Goodbye")
    assert stream.getvalue() == "Goodbye\n"


def test_a_write_error_is_reported_once() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    errors: list[OSError] = []
    conversation = Conversation(Gone(), on_lost=errors.append)
    conversation.say("one")
    conversation.say("two")
    assert [type(error) for error in errors] == [BrokenPipeError]


def test_lines_of_many_threads_stay_whole(stream: io.StringIO) -> None:
    conversation = Conversation(stream)

    def send_many(name: str) -> None:
        for _ in range(50):
            conversation.request(name, True, "Heartbeat", {})

    threads = [threading.Thread(target=send_many, args=(f"CP{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = shown(stream)
    assert len(lines) == conversation.messages == 200
    assert {re.sub(r"\d", "N", line) for line in lines} == {"CPN    > Heartbeat            {}"}


# The log.


@pytest.mark.parametrize(
    ("verbose", "lines"),
    [
        (False, ["! refused: \\x1b", "! it failed: ZeroDivisionError: division by zero"]),
        (
            True,
            [
                ". ocppsync.test: detail 1",
                "! ocppsync.test: refused: \\x1b",
                "! ocppsync.test: it failed: ZeroDivisionError: division by zero",
            ],
        ),
    ],
)
def test_the_log_is_shown_one_line_per_record(stream: io.StringIO, verbose: bool, lines: list[str]) -> None:
    handler = LogLines(Conversation(stream), verbose=verbose)
    logger = logging.Logger("ocppsync.test")
    logger.addHandler(handler)
    logger.debug("detail %d", 1)
    logger.warning("refused: %s", "\x1b")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logger.exception("it failed")
    assert shown(stream) == lines

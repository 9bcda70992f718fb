"""Who may send what before BootNotification was accepted: both ends, all versions (C16 §4.2; 2/201 B01-B03)."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.registration import Registration

ACCEPTED = {"status": "Accepted"}
ODD: list[Any] = [None, [], "Accepted", 5, {}, {"status": None}, {"status": []}, {"status": {}}, {"status": "accepted"}]


def registered(status: str) -> Registration:
    registration = Registration()
    if status != "unknown":
        registration.booted({"status": status.capitalize()})
    assert registration.status == status
    return registration


@pytest.mark.parametrize("status", ["unknown", "pending", "rejected", "accepted"])
@pytest.mark.parametrize("answer", ODD)
def test_an_answer_that_is_none_changes_nothing(status: str, answer: Any) -> None:
    registration = registered(status)
    registration.booted(answer)
    assert registration.status == status


@pytest.mark.parametrize(
    "payload", [None, [], "x", {}, {"requestedMessage": None}, {"requestedMessage": ["Heartbeat"]}]
)
@pytest.mark.parametrize("answer", [*ODD, ACCEPTED])
def test_an_odd_trigger_brings_nothing(payload: Any, answer: Any) -> None:
    registration = registered("pending")
    registration.asked("TriggerMessage", payload, answer)
    assert not registration.was_asked_for("Heartbeat")

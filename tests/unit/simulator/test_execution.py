"""What was accepted is carried out after its answer; nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support import Recorder, connected, serving

from ocppsync import CentralSystem, ChargePoint, Request
from ocppsync.answers import ChargePointAnswers
from ocppsync.simulator.execution import Execution


@pytest.fixture
def effects() -> Recorder:
    return Recorder()


@pytest.fixture
def cs(effects: Recorder) -> Iterator[CentralSystem]:
    """A central system to which a charge point has connected that notes what it carries out."""
    answers = ChargePointAnswers({"ReserveNow": {"status": "Faulted"}, "UpdateFirmware": {}})
    actions = ("ClearCache", "ReserveNow", "UpdateFirmware")
    execution = Execution(answers, {action: lambda payload, action=action: effects(action) for action in actions})
    with serving() as cs:
        charge_point = ChargePoint("CP1", execution, f"ws://127.0.0.1:{cs.port}", protocols=["ocpp1.6"])
        execution.watch(charge_point)
        came = connected(cs)
        with charge_point.connect():
            came.wait()
            yield cs


def test_what_was_accepted_is_carried_out(cs: CentralSystem, effects: Recorder) -> None:
    assert cs.send_request("CP1", "ClearCache") == {"status": "Accepted"}
    effects.wait()
    update: Any = {"location": "http://127.0.0.1", "retrieveDate": "2026-01-01T00:00:00Z"}
    assert cs.send_request("CP1", "UpdateFirmware", update) == {}
    assert effects.wait(2) == ["ClearCache", "UpdateFirmware"]


def test_what_was_refused_is_not(cs: CentralSystem, effects: Recorder) -> None:
    reservation: Any = {"connectorId": 1, "expiryDate": "2026-01-01T00:00:00Z", "idTag": "A", "reservationId": 1}
    assert cs.send_request("CP1", "ReserveNow", reservation) == {"status": "Faulted"}
    assert cs.send_request("CP1", "ClearCache") == {"status": "Accepted"}
    assert effects.wait() == ["ClearCache"]


def test_what_was_accepted_over_an_earlier_connection_is_forgotten() -> None:
    execution = Execution(ChargePointAnswers(), {"ClearCache": lambda payload: None})
    metadata: Any = type("Metadata", (), {"message_id": "1"})
    execution(Request("ClearCache", {}), metadata)
    assert execution._accepted == {"1"}
    execution.forget()
    assert execution._accepted == set()

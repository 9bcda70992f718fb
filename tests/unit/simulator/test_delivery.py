"""Messages about transactions are sent again after a failure."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ocppsync import CallErrorReceived, ConnectionLostError, NotConnectedError, RequestTimeoutError
from ocppsync.answers import ChargePointAnswers, ChargingStationAnswers, StationState
from ocppsync.simulator.delivery import Delivery

IN_VAIN: Any = {"charge_point_id": "CP1", "action": "StopTransaction", "message_id": "1", "delivery": "unknown"}
TIMEOUT = RequestTimeoutError("no answer", **IN_VAIN)
OFFLINE = NotConnectedError("not connected", **{**IN_VAIN, "delivery": "not_sent"})


def refused(code: str) -> CallErrorReceived:
    names: Any = {name: IN_VAIN[name] for name in ("charge_point_id", "action", "message_id")}
    return CallErrorReceived(**names, code=code, raw_code=code, description="", details={})


class Line:
    """Fails as told, then answers; waits only in name. It connects again so many times."""

    def __init__(self, *failures: Exception, state: StationState | None = None, connections: int = 0) -> None:
        self.failures = list(failures)
        self.sent: list[Any] = []
        self.waits: list[float] = []
        self.connections = connections
        answers = state or ChargePointAnswers()
        self.delivery = Delivery("CP1", self.send, self.waits.append, self.reconnect, answers)

    def reconnect(self) -> bool:
        self.connections -= 1
        return self.connections >= 0

    def send(self, action: Any, payload: Any) -> Any:
        self.sent.append((action, payload))
        if self.failures:
            raise self.failures.pop(0)
        return {"n": len(self.sent)}


@pytest.mark.parametrize("how", ["send", "post"])
@pytest.mark.parametrize("state", [ChargePointAnswers(), ChargingStationAnswers()])
def test_a_failure_is_repeated_after_growing_waits(how: str, state: StationState) -> None:
    line = Line(refused("InternalError"), TIMEOUT, state=state)
    assert getattr(line.delivery, how)("StopTransaction", {"a": 1}) == {"n": 3}
    assert line.sent == [("StopTransaction", {"a": 1})] * 3
    assert line.waits == [60, 120], "the interval times the number of earlier transmissions"


def test_the_settings_say_how_often() -> None:
    state = ChargePointAnswers()
    state.configuration["transactionmessageattempts"].value = "4"
    state.configuration["transactionmessageretryinterval"].value = "5"
    line = Line(*[TIMEOUT] * 9, state=state)
    assert line.delivery.post("MeterValues", {}) is None
    assert (len(line.sent), line.waits) == (4, [5, 10, 15])
    state.configuration["transactionmessageattempts"].value = "0"
    assert line.delivery.post("MeterValues", {}) is None
    assert len(line.sent) == 5, "it is sent at least once"


def test_the_last_failure_is_raised_or_the_message_discarded(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RequestTimeoutError):
        Line(*[TIMEOUT] * 3).delivery.send("StartTransaction", {})
    assert not caplog.records
    assert Line(*[TIMEOUT] * 3).delivery.post("StopTransaction", {"idTag": "SECRET"}) is None
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "CP1: no answer; the message is discarded")


@pytest.mark.parametrize("failure", [OFFLINE, refused("SecurityError")])
@pytest.mark.parametrize("how", ["send", "post"])
def test_without_connection_or_registration_there_is_no_attempt(failure: Exception, how: str) -> None:
    line = Line(failure)
    with pytest.raises(type(failure)):
        getattr(line.delivery, how)("StopTransaction", {})
    assert (len(line.sent), line.waits) == (1, [])


LOST = ConnectionLostError("the connection ended", **IN_VAIN)


@pytest.mark.parametrize("how", ["send", "post"])
@pytest.mark.parametrize("failure", [OFFLINE, LOST])
def test_a_lost_connection_is_no_attempt_and_the_message_goes_over_the_next_one(failure: Exception, how: str) -> None:
    line = Line(failure, failure, failure, failure, connections=4)
    assert getattr(line.delivery, how)("MeterValues", {"a": 1}) == {"n": 5}
    assert line.sent == [("MeterValues", {"a": 1})] * 5
    assert (line.waits, line.connections) == ([], 0)


def test_attempts_are_counted_over_connections() -> None:
    line = Line(TIMEOUT, LOST, TIMEOUT, LOST, TIMEOUT, connections=9)
    assert line.delivery.post("MeterValues", {}) is None
    assert (len(line.sent), line.waits) == (5, [60, 120])


def test_an_event_that_met_a_lost_connection_is_marked_as_offline() -> None:
    event = {"eventType": "Updated", "offline": False}
    line = Line(TIMEOUT, LOST, TIMEOUT, connections=1)
    line.delivery.post("TransactionEvent", event)
    assert [payload["offline"] for _, payload in line.sent] == [False, False, True, True]
    assert event == {"eventType": "Updated", "offline": False}

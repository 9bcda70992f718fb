"""Observers get the events of both ends; their errors have no effect."""

from __future__ import annotations

import dataclasses
import logging
import threading
import typing
from typing import Any

import pytest
from support import BOOT, DEADLINE, Recorder, accept_boots, raw, serving

from ocppsync import ChargePoint, HandshakeError, RequestTimeoutError, Timeouts, ValidationError
from ocppsync.events import (
    Closed,
    Connected,
    Event,
    HandlerFailed,
    LoggingObserver,
    MessageReceived,
    MessageSent,
    Refused,
    TimedOut,
    ValidationFailed,
    observed_by,
)


def test_observers_get_the_events_of_a_connection_in_order() -> None:
    events = Recorder()
    with serving(observers=[events]) as cs:
        accept_boots(cs)
        with raw(cs, subprotocols=["ocpp2.0.1"]) as peer:
            boot = {"reason": "PowerUp", "chargingStation": {"model": "One", "vendorName": "Acme"}}
            assert peer.call("1", "BootNotification", boot)[0] == 3
            future = cs.submit_request("CP1", "ClearCache")
            message_id = peer.read()[1]
            peer.send([4, message_id, "InternalError", "", {}])
            assert future.exception(DEADLINE) is not None
            peer.send("[2")
            events.wait(6)
    connected, *messages, _ = events.wait(8)
    assert connected == Connected("CP1", "2.0.1", "127.0.0.1", 1)
    assert {event.connection for event in events.items} == {1}
    found = [(type(event), event.kind, event.message_id, event.action) for event in messages[:5]]
    assert found == [
        (MessageReceived, "CALL", "1", "BootNotification"),
        (MessageSent, "CALLRESULT", "1", "BootNotification"),
        (MessageSent, "CALL", message_id, "ClearCache"),
        (MessageReceived, "CALLERROR", message_id, "ClearCache"),
        (MessageReceived, "malformed", "", ""),
    ]
    assert [event.seconds is not None for event in messages[:5]] == [False, True, False, True, False]
    assert all(0 <= event.seconds < DEADLINE for event in messages if event.seconds is not None)
    assert messages[4].text == "[2"
    closed = events.items[-1]
    assert isinstance(closed, Closed)
    assert (closed.charge_point_id, closed.version, closed.code) == ("CP1", "2.0.1", 1000)
    assert 0 < closed.seconds < DEADLINE


def of(events: Recorder, kind: type) -> list[Any]:
    return [event for event in events.items if isinstance(event, kind)]


def test_a_refused_connection_is_reported() -> None:
    events = Recorder()
    with serving(observers=[events], authorize=lambda http_request, charge_point_id: 403) as cs:
        with pytest.raises(HandshakeError):
            ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}/ocpp").connect()
        assert events.wait(1) == [Refused("127.0.0.1", "/ocpp/CP1", 403, "authorize refused 'CP1'")]


def test_failures_are_reported() -> None:
    events = Recorder()
    failure = RuntimeError("a secret")
    with serving(observers=[events]) as cs:

        @cs.on("Heartbeat")
        def heartbeat(payload: Any, metadata: Any) -> Any:
            raise failure

        @cs.on("MeterValues")
        def meter_values(payload: Any, metadata: Any) -> Any:
            return {"wrong": 1}

        with raw(cs) as peer:
            assert peer.call("1", "Heartbeat", {})[2] == "InternalError"
            values = {
                "connectorId": 1,
                "meterValue": [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}],
            }
            assert peer.call("2", "MeterValues", values)[2] == "InternalError"
            assert peer.call("3", "MeterValues", {})[2] == "ProtocolError"
            with pytest.raises(RequestTimeoutError):
                cs.send_request("CP1", "ClearCache", timeout=0.05)
            with pytest.raises(ValidationError):
                cs.send_request("CP1", "Reset", {"type": "Warm"})  # type: ignore[call-overload]
    first, second = of(events, HandlerFailed)
    assert (first.charge_point_id, first.action, first.error) == ("CP1", "Heartbeat", failure)
    assert (second.action, type(second.error)) == ("MeterValues", ValidationError)
    inbound, outbound = of(events, ValidationFailed)
    assert (inbound.action, inbound.direction, inbound.error.errors[0].keyword) == (
        "MeterValues",
        "inbound",
        "required",
    )
    assert (outbound.action, outbound.direction) == ("Reset", "outbound")
    assert of(events, TimedOut) == [TimedOut("CP1", "ClearCache", 0.05, "unknown", 1)]
    assert {event.connection for event in events.items} == {1}


def test_a_handler_timeout_is_reported_as_a_failure() -> None:
    events, release = Recorder(), threading.Event()
    with serving(observers=[events], timeouts=Timeouts(handler=0.05)) as cs:
        cs.on("Heartbeat")(lambda payload, metadata: release.wait(DEADLINE))
        with raw(cs) as peer:
            assert peer.call("1", "Heartbeat", {})[2] == "InternalError"
            events.wait_until(lambda items: bool(of(events, HandlerFailed)))
            release.set()
    assert isinstance(of(events, HandlerFailed)[0].error, TimeoutError)


def test_a_charge_point_has_observers_too() -> None:
    events = Recorder()
    with serving() as cs:
        accept_boots(cs)
        with ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", observers=[events]) as cp:
            cp.send_request("BootNotification", {**BOOT})  # type: ignore[typeddict-item]
        events.wait(4)
    assert [type(event) for event in events.items] == [Connected, MessageSent, MessageReceived, Closed]


def test_an_observer_that_raises_has_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    events = Recorder()

    def fail(event: Any) -> None:
        raise RuntimeError("observer")

    with serving(observers=[fail, events]) as cs:
        accept_boots(cs)
        with raw(cs) as peer:
            assert peer.call("1", "BootNotification", BOOT)[0] == 3
    assert {type(event) for event in events.items} >= {Connected, MessageReceived, MessageSent}
    assert "observer failed on MessageReceived" in caplog.text


def test_without_observers_there_is_none_to_call() -> None:
    assert observed_by([]) is None


def test_the_logging_observer_omits_the_texts(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("site.ocpp")
    with caplog.at_level(logging.INFO, "site.ocpp"):
        observer = LoggingObserver(logger)
        observer(MessageReceived("CP1", "1.6", "CALL", "1", "Authorize", '[2,"1","Authorize",{"idTag":"T"}]', None))
        observer(MessageSent("CP1", "1.6", "CALLRESULT", "1", "Authorize", "[3]", 0.25))
        observer(Closed("CP1", "1.6", 1000, 3.5, 2))
    assert [record.getMessage() for record in caplog.records] == [
        "CP1 -> CALL Authorize",
        "CP1 <- CALLRESULT Authorize after 0.250 s",
        "Closed(charge_point_id='CP1', version='1.6', code=1000, seconds=3.5, connection=2)",
    ]
    caplog.clear()
    LoggingObserver(logger, logging.DEBUG)(Closed("CP1", "1.6", 1000, 3.5))
    assert caplog.records == []


def test_an_event_is_frozen() -> None:
    closed = Closed("CP1", "1.6", 1000, 3.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        closed.code = 1001  # type: ignore[misc]
    kinds = typing.get_args(Event)
    assert len(kinds) == 8
    assert all(kind.__dataclass_params__.frozen for kind in kinds)

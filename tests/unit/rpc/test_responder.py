"""What becomes of what the peer sends: validation in three modes, lenience, SENDs, and who is not registered."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from support import BOOT, DEADLINE, RawChargePoint, Recorder, connected, raw, serving

from ocppsync import CentralSystem, InvalidResponseError, ValidationError, utc_now
from ocppsync.lenient import Lenient, Validation

HEARTBEAT = {"currentTime": "2025-01-31T12:00:00Z"}
SUBPROTOCOLS = {"1.6": "ocpp1.6", "2.0.1": "ocpp2.0.1", "2.1": "ocpp2.1"}
OVERLONG = {"vendorId": "x" * 300}
STREAM = {
    "id": 1,
    "pending": 0,
    "basetime": "2025-01-31T12:00:00Z",
    "data": [{"t": 0.5, "v": "1"}],
}


@contextlib.contextmanager
def met(version: str = "1.6", handler: Any = None, **options: Any) -> Iterator[tuple[CentralSystem, RawChargePoint]]:
    """A central system and a raw charge point that is connected to it."""
    with serving(handler, **options) as cs:
        events = connected(cs)
        with raw(cs, subprotocols=[SUBPROTOCOLS[version]]) as peer:
            events.wait(1)
            yield cs, peer


# Validation.

REFUSED = [4, "1", "PropertyConstraintViolation"]
ACCEPTED = [3, "1", {"status": "Accepted"}]


@pytest.mark.parametrize(
    ("options", "answer", "told"),
    [
        ({}, REFUSED, None),
        ({"validation": Validation(inbound="warn")}, ACCEPTED, True),
        ({"validation": Validation(inbound="off")}, ACCEPTED, False),
        ({"validation": Validation(inbound="off", inbound_actions={"DataTransfer": "strict"})}, REFUSED, None),
        ({"validation": Validation(inbound_actions={"DataTransfer": "warn"})}, ACCEPTED, True),
        ({"validation": Validation(inbound_actions={"Heartbeat": "warn"}, outbound="off")}, REFUSED, None),
        ({"reject_invalid_requests": False}, ACCEPTED, True),
        ({"reject_invalid_requests": False, "validation": Validation(inbound="off")}, ACCEPTED, False),
    ],
)
def test_a_request_that_breaks_its_schema(
    options: Any, answer: Any, told: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Recorder()
    with met(**options) as (cs, peer):

        @cs.on("DataTransfer")
        def transfer(payload: Any, metadata: Any) -> Any:
            seen((payload, metadata.validation_error))
            return {"status": "Accepted"}

        assert peer.call("1", "DataTransfer", OVERLONG)[:3] == answer
    if told is None:
        assert seen.items == []
        return
    [(payload, error)] = seen.items
    assert payload == OVERLONG
    assert isinstance(error, ValidationError) is told
    warned = "let through: DataTransfer request: vendorId" in caplog.text
    assert warned is (told and "reject_invalid_requests" not in options)


@pytest.mark.parametrize(
    ("validation", "taken"),
    [
        (None, False),
        (Validation(inbound="warn"), True),
        (Validation(inbound="off"), True),
        (Validation(inbound_actions={"ClearCache": "warn"}), True),
        (Validation(inbound_actions={"Reset": "warn"}, outbound="off"), False),
    ],
)
@pytest.mark.parametrize("answer", [{"status": "Perhaps"}, [], {"status": ["odd"]}])
def test_an_answer_that_breaks_its_schema(validation: Any, taken: bool, answer: Any) -> None:
    with met(validation=validation) as (cs, peer):
        future = cs.submit_request("CP1", "ClearCache")
        peer.send([3, peer.read()[1], answer])
        if taken:
            assert future.result(DEADLINE) == answer
        else:
            with pytest.raises(InvalidResponseError):
                future.result(DEADLINE)


@pytest.mark.parametrize(
    ("validation", "sent"),
    [
        (None, False),
        (Validation(outbound="warn"), True),
        (Validation(outbound="off"), True),
        (Validation(outbound_actions={"Reset": "off"}), True),
        (Validation(outbound="off", outbound_actions={"Reset": "strict"}), False),
        (Validation(inbound="off"), False),
    ],
)
def test_a_request_of_ours_that_breaks_its_schema(
    validation: Any, sent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    payload: Any = {"type": "Softly"}
    with met(validation=validation) as (cs, peer):
        if not sent:
            with pytest.raises(ValidationError, match="Reset request: type"):
                cs.submit_request("CP1", "Reset", payload)
            return
        cs.submit_request("CP1", "Reset", payload)
        assert peer.read()[2:] == ["Reset", payload]
    assert ("let through: Reset request" in caplog.text) is (validation.outbound == "warn")


@pytest.mark.parametrize(
    ("validation", "sent"),
    [
        (None, False),
        (Validation(outbound="warn"), True),
        (Validation(outbound="off"), True),
        (Validation(outbound_actions={"Heartbeat": "warn"}), True),
        (Validation(inbound="off"), False),
    ],
)
def test_an_answer_of_ours_that_breaks_its_schema(validation: Any, sent: bool) -> None:
    with met(validation=validation) as (cs, peer):
        cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": "now"})
        answer = peer.call("1", "Heartbeat", {})
        assert answer == ([3, "1", {"currentTime": "now"}] if sent else [4, "1", "InternalError", "internal error", {}])


@pytest.mark.parametrize("mode", ["strict", "warn", "off"])
def test_what_json_has_not_goes_out_in_no_mode(mode: Any) -> None:
    with met(validation=Validation(outbound=mode)) as (cs, peer):
        cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now} if payload == {} else None)
        assert peer.call("1", "Heartbeat", {})[:3] == [4, "1", "InternalError"]
        with pytest.raises(ValidationError):
            cs.submit_request("CP1", "DataTransfer", {"vendorId": "x", "data": b"bytes"})


@pytest.mark.parametrize("payload", [[], "x", 5, {"status": []}, {"vendorId": ["x"], "messageId": {}}])
def test_without_validation_anything_reaches_a_handler(payload: Any) -> None:
    seen = Recorder()
    with met(validation=Validation(inbound="off")) as (cs, peer):
        for action in ("BootNotification", "DataTransfer"):
            cs.on(action)(lambda payload, metadata: seen(payload) or {"status": "Accepted"})
        cs.on_data_transfer("com.example")(lambda payload, metadata: None)
        peer.send([2, "1", "BootNotification", payload])
        peer.send([2, "2", "DataTransfer", payload])
        # The answer to the boot breaks its own schema.
        assert sorted(peer.read()[:2] for _ in range(2)) == [[3, "2"], [4, "1"]]
    assert seen.items == [payload, payload]


# Lenience, against a station that needs it.


def metering(unit: Any) -> Any:
    sampled = {"value": "1", "unit": unit}
    return {"connectorId": 1, "meterValue": [{"timestamp": "2025-01-31T12:00:00Z", "sampledValue": [sampled]}]}


UNIT = "MeterValues.meterValue.sampledValue.unit"
VENDOR = {**BOOT, "chargePointVendor": "v" * 21}


@pytest.mark.parametrize(
    ("lenient", "action", "payload", "seen"),
    [
        (Lenient(strip_nulls=True), "BootNotification", {**BOOT, "iccid": None}, BOOT),
        (Lenient(max_lengths={"BootNotification.chargePointVendor": 21}), "BootNotification", VENDOR, VENDOR),
        (Lenient(spellings={UNIT: {"kilo": "kWh"}}), "MeterValues", metering("kilo"), metering("kWh")),
        (Lenient(any_case_enums=True), "MeterValues", metering("KWH"), metering("kWh")),
    ],
)
def test_a_request_that_is_tolerated(lenient: Lenient, action: str, payload: Any, seen: Any) -> None:
    with met() as (cs, peer):
        cs.on(action)(lambda payload, metadata: answer_to(action))
        assert peer.call("1", action, payload)[0] == 4
    requests, afterwards = Recorder(), Recorder()
    with met(lenient=lenient) as (cs, peer):
        cs.on(action)(lambda payload, metadata: requests(payload) or answer_to(action))
        cs.after(action)(lambda payload, metadata: afterwards(payload))
        assert peer.call("1", action, payload)[0] == 3
        assert requests.items == afterwards.wait(1) == [seen]


def answer_to(action: str) -> Any:
    return {"status": "Accepted", "currentTime": utc_now(), "interval": 60} if action == "BootNotification" else {}


@pytest.mark.parametrize(
    ("lenient", "answer"),
    [
        (Lenient(strip_nulls=True), {"status": "Accepted", "data": None}),
        (Lenient(any_case_enums=True), {"status": "ACCEPTED"}),
        (Lenient(spellings={"DataTransfer.status": {"OK": "Accepted"}}), {"status": "OK"}),
    ],
)
def test_an_answer_that_is_tolerated(lenient: Lenient, answer: Any) -> None:
    for switches in (None, lenient):
        with met(lenient=switches) as (cs, peer):
            future = cs.submit_request("CP1", "DataTransfer", {"vendorId": "x"})
            peer.send([3, peer.read()[1], answer])
            if switches:
                assert future.result(DEADLINE) == {"status": "Accepted"}
            else:
                with pytest.raises(InvalidResponseError):
                    future.result(DEADLINE)


def test_long_fractions_are_tolerated_in_2_x() -> None:
    status = {
        "timestamp": "2025-01-31T12:00:00.1234567Z",
        "connectorStatus": "Available",
        "evseId": 1,
        "connectorId": 1,
    }
    for lenient, kind in ((None, 4), (Lenient(long_fractions=True), 3)):
        with met("2.0.1", lenient=lenient) as (cs, peer):
            cs.on("StatusNotification")(lambda payload, metadata: {})
            assert peer.call("1", "StatusNotification", status)[0] == kind


def test_numeric_ids_are_tolerated_and_echoed() -> None:
    ids = Recorder()
    with met(lenient=Lenient(numeric_ids=True)) as (cs, peer):
        cs.on("DataTransfer")(lambda payload, metadata: ids(metadata.message_id) or {"status": "Accepted"})
        for _ in range(2):
            assert peer.ask([2, 7, "DataTransfer", {"vendorId": "A"}]) == [3, 7, {"status": "Accepted"}]
        assert peer.ask([2, 8, "Reset", {}])[:3] == [4, 8, "NotSupported"]
    assert ids.items == ["7"], "a repeat is answered from memory"


def test_numeric_ids_are_not_answered_otherwise() -> None:
    with met() as (cs, peer):
        cs.on("Heartbeat")(lambda payload, metadata: HEARTBEAT)
        peer.send([2, 7, "Heartbeat", {}])
        assert peer.call("7", "Heartbeat", {})[:2] == [3, "7"]


def test_short_call_errors_are_tolerated() -> None:
    for lenient, details in ((None, None), (Lenient(short_call_errors=True), {"details": "text"})):
        with met(lenient=lenient) as (cs, peer):
            future = cs.submit_request("CP1", "ClearCache")
            peer.send([4, peer.read()[1], "NotSupported", "", "text"])
            error = future.exception(DEADLINE)
            assert getattr(error, "details", None) == details


# SENDs (4/21 §4.2.4).


def test_a_send_reaches_its_handler_and_is_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    seen = Recorder()
    with met("2.1") as (cs, peer), caplog.at_level(logging.WARNING):
        cs.on("Heartbeat")(lambda payload, metadata: HEARTBEAT)

        @cs.on("NotifyPeriodicEventStream")
        def stream(payload: Any, metadata: Any) -> Any:
            seen((payload["id"], metadata.message_id))
            if payload["id"] == 3:
                raise RuntimeError("a secret")
            return {"dropped": True}

        for message in (
            [6, "1", "NotifyPeriodicEventStream", STREAM],
            [6, "2", "NotifyPeriodicEventStream", {}],
            [6, "3", "NotifyPeriodicEventStream", {**STREAM, "id": 3}],
            [6, "4", "Heartbeat", {}],
            [6, "5", "Bogus", {}],
            [6, "x" * 37, "NotifyPeriodicEventStream", STREAM],
        ):
            peer.send(message)
        assert peer.call("last", "Heartbeat", {})[:2] == [3, "last"]
        assert peer.call("6", "NotifyPeriodicEventStream", STREAM)[:3] == [4, "6", "NotSupported"]
    assert seen.items == [(1, "1"), (3, "3")]
    assert "its SEND NotifyPeriodicEventStream is dropped" in caplog.text
    assert "its SEND 'Heartbeat' is dropped" in caplog.text


def test_a_send_goes_to_the_single_handler_too() -> None:
    seen = Recorder()
    with met("2.1", lambda request, metadata: seen((request.action, request.version))) as (_, peer):
        peer.send([6, "1", "NotifyPeriodicEventStream", STREAM])
        assert seen.wait(1) == [("NotifyPeriodicEventStream", "2.1")]


# Who is not registered.


def test_a_pending_station_is_let_in_bit_by_bit(caplog: pytest.LogCaptureFixture) -> None:
    status, seen = ["Pending"], Recorder()
    boot = {"reason": "PowerUp", "chargingStation": {"model": "One", "vendorName": "Acme"}}
    with met("2.1") as (cs, peer):
        cs.on("BootNotification")(lambda *_: {"status": status[0], "currentTime": utc_now(), "interval": 60})
        cs.on("Heartbeat")(lambda *_: HEARTBEAT)
        cs.on("NotifyPeriodicEventStream")(lambda payload, metadata: seen(payload))
        assert peer.call("1", "Heartbeat", {})[0] == 3, "nobody has seen it booting"
        peer.call("2", "BootNotification", boot)
        refused = [4, "3", "SecurityError", "the BootNotification was not accepted", {}]
        assert peer.call("3", "Heartbeat", {}) == refused
        peer.send([6, "4", "NotifyPeriodicEventStream", STREAM])
        future = cs.submit_request("CP1", "TriggerMessage", {"requestedMessage": "Heartbeat"})
        peer.send([3, peer.read()[1], {"status": "Accepted"}])
        assert future.result(DEADLINE) == {"status": "Accepted"}
        assert peer.call("3", "Heartbeat", {})[0] == 3, "it was asked for, and a refusal is not remembered"
        status[0] = "Accepted"
        peer.call("5", "BootNotification", boot)
        peer.send([6, "6", "NotifyPeriodicEventStream", {**STREAM, "id": 6}])
        assert seen.wait(1) == [{**STREAM, "id": 6}]
    assert "its NotifyPeriodicEventStream is dropped: the charge point is not registered" in caplog.text

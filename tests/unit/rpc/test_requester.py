"""What goes out beside the requests of test_requests.py: SENDs, versions, and who may not send yet."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from support import DEADLINE, RawChargePoint, Recorder, connected, raw, serving
from wire import dial

from ocppsync import (
    CentralSystem,
    ChargePoint,
    ConnectionLostError,
    NotConnectedError,
    NotRegisteredError,
    OCPPRequestError,
    RequestTimeoutError,
    Timeouts,
    ValidationError,
    VendorAction,
    VersionMismatchError,
    utc_now,
)

PING: Any = VendorAction("Ping", {"type": "object"}, None)
STREAM: Any = {"id": 1, "pending": 0, "basetime": "2025-01-31T12:00:00Z", "data": [{"t": 0.5, "v": "1"}]}
BOOT_2X: Any = {"reason": "PowerUp", "chargingStation": {"model": "One", "vendorName": "Acme"}}


@contextlib.contextmanager
def met(subprotocol: str = "ocpp2.1", **options: Any) -> Iterator[tuple[CentralSystem, RawChargePoint]]:
    """A central system and a raw charge point that is connected to it."""
    with serving(vendor_actions=[PING], **options) as cs:
        events = connected(cs)
        with raw(cs, subprotocols=[subprotocol]) as peer:
            events.wait(1)
            yield cs, peer


def charge_point(cs: CentralSystem, **options: Any) -> ChargePoint:
    settings: dict[str, Any] = {"protocols": ["ocpp2.1"], "vendor_actions": [PING], "enforce_registration": False}
    return ChargePoint("CP1", url=f"ws://127.0.0.1:{cs.port}", **{**settings, **options})


# SENDs (4/21 §4.2.4).


def test_a_send_does_not_wait_for_a_call_that_is_outstanding() -> None:
    with met() as (cs, peer):
        future = cs.submit_request("CP1", "Reset", {"type": "OnIdle"})
        call = peer.read()
        cs.send("CP1", PING, {"n": 1})
        cs.send("CP1", PING)
        sends = [peer.read(), peer.read()]
        assert [[kind, *rest] for kind, _, *rest in sends] == [[6, "Ping", {"n": 1}], [6, "Ping", {}]]
        assert len({call[1], *(message_id for _, message_id, *_ in sends)}) == 3, "each has an id of its own"
        peer.send([3, call[1], {"status": "Accepted"}])
        assert future.result(DEADLINE) == {"status": "Accepted"}


def test_a_charge_points_send_arrives() -> None:
    seen = Recorder()
    with serving(vendor_actions=[PING]) as cs:
        cs.on("NotifyPeriodicEventStream")(lambda payload, metadata: seen(payload))
        with charge_point(cs) as cp:
            cp.send("NotifyPeriodicEventStream", STREAM)
            assert seen.wait(1) == [STREAM]


@pytest.mark.parametrize("alive", [False, True])
def test_what_is_no_send_and_what_is_no_call(alive: bool) -> None:
    with met() as (cs, _), charge_point(cs) if alive else contextlib.nullcontext(charge_point(cs)) as cp:
        name = "CP1" if alive else "CP2"
        with pytest.raises(ValidationError, match="Reset gets an answer; send_request sends it"):
            cs.send(name, "Reset", {"type": "OnIdle"})  # type: ignore[call-overload]
        with pytest.raises(ValidationError, match="Ping gets no answer; send sends it"):
            cs.send_request(name, PING)
        with pytest.raises(ValidationError, match="Heartbeat gets an answer; send_request sends it"):
            cp.send("Heartbeat")  # type: ignore[call-overload]
        with pytest.raises(ValidationError, match="NotifyPeriodicEventStream gets no answer; send sends it"):
            cp.submit_request("NotifyPeriodicEventStream", STREAM)  # type: ignore[call-overload]
        with pytest.raises(ValidationError, match="a central system does not send NotifyPeriodicEventStream"):
            cs.send(name, "NotifyPeriodicEventStream", STREAM)  # type: ignore[call-overload]
        with pytest.raises(ValidationError, match="'Pong'") as error:
            cs.send(name, "Pong")  # type: ignore[call-overload]
        assert error.value.error_code == "NotImplemented"
        cp.close()


def test_a_send_that_breaks_its_schema_is_not_sent() -> None:
    with serving() as cs, charge_point(cs) as cp:
        for payload in ({}, {**STREAM, "id": "x"}, {**STREAM, "id": float("nan")}):
            with pytest.raises(ValidationError, match="NotifyPeriodicEventStream request"):
                cp.send("NotifyPeriodicEventStream", payload)


def test_a_send_without_a_connection() -> None:
    with serving(vendor_actions=[PING]) as cs:
        for send in (lambda: cs.send("CP1", PING), lambda: charge_point(cs).send("NotifyPeriodicEventStream", STREAM)):
            with pytest.raises(NotConnectedError) as error:
                send()
            assert (error.value.charge_point_id, error.value.delivery) == ("CP1", "not_sent")


def test_a_send_over_a_connection_that_is_being_closed_was_not_sent() -> None:
    with serving(vendor_actions=[PING], timeouts=Timeouts(close=0.2)) as cs, dial(cs.port) as peer:
        events = connected(cs)
        peer.upgrade(Sec_WebSocket_Protocol="ocpp2.1")
        events.wait(1)
        cs.close_connection("CP1")  # which this peer does not answer
        with pytest.raises(ConnectionLostError) as error:
            cs.send("CP1", PING)
        assert error.value.delivery == "not_sent"


def test_a_send_to_a_version_that_has_none() -> None:
    with met("ocpp2.0.1") as (cs, _), pytest.raises(ValidationError, match=r"OCPP 2\.0\.1 has no action 'Ping'"):
        cs.send("CP1", PING)


# Versions.


def test_another_version_than_the_connections_sends_nothing() -> None:
    with met("ocpp1.6") as (cs, peer):
        text = "Reset to CP1: it is for OCPP 2.1, but the connection uses 1.6"
        with pytest.raises(VersionMismatchError, match=text):
            cs.send_request("CP1", "Reset", {"type": "OnIdle"}, version="2.1")
        future = cs.submit_request("CP1", "Reset", {"type": "bogus"}, version="2.0.1")  # type: ignore[call-overload]
        error = future.exception(DEADLINE)
        assert isinstance(error, VersionMismatchError)
        assert (error.delivery, error.message_id, error.action) == ("not_sent", None, "Reset")
        with pytest.raises(VersionMismatchError):
            cs.send("CP1", PING, version="2.1")
        right = cs.submit_request("CP1", "Reset", {"type": "Soft"}, version="1.6")
        call = peer.read()
        assert call[2:] == ["Reset", {"type": "Soft"}], "the first that was written"
        peer.send([3, call[1], {"status": "Accepted"}])
        assert right.result(DEADLINE) == {"status": "Accepted"}


@pytest.mark.parametrize("version", ["2.0.1", "2.1", "2.0", "ocpp1.6", ""])
@pytest.mark.parametrize("alive", [False, True])
def test_a_version_that_is_not_served_is_an_error_of_the_program(version: Any, alive: bool) -> None:
    with met("ocpp1.6", protocols=["ocpp1.6"]) as (cs, _):
        name = "CP1" if alive else "CP2"
        for call in (cs.send_request, cs.submit_request, cs.send):
            with pytest.raises(ValueError, match=rf"unsupported OCPP version '{version}'; supported: 1\.6"):
                call(name, "Reset", {"type": "Soft"}, version=version)


def test_without_a_connection_the_version_is_still_looked_at() -> None:
    with serving() as cs:
        with pytest.raises(ValidationError, match=r"OCPP 2\.1 has no action 'RemoteStopTransaction'"):
            cs.send_request("CP1", "RemoteStopTransaction", {"transactionId": 1}, version="2.1")  # type: ignore[call-overload]
        with pytest.raises(NotConnectedError):
            cs.send_request("CP1", "RequestStopTransaction", {"transactionId": "1"})


def test_a_charge_point_has_its_version_too() -> None:
    with serving() as cs:
        cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
        with charge_point(cs, protocols=["ocpp1.6", "ocpp2.1"]) as cp:
            assert cp.send_request("Heartbeat", version="1.6")
            with pytest.raises(VersionMismatchError, match=r"it is for OCPP 2\.1, but the connection uses 1\.6"):
                cp.send_request("Heartbeat", version="2.1")
            with pytest.raises(ValueError, match=r"unsupported OCPP version '2\.0\.1'"):
                cp.send_request("Heartbeat", version="2.0.1")


# Before the station is registered.


def test_a_station_that_was_not_accepted_sends_nothing() -> None:
    status = ["Pending"]
    with serving() as cs:
        cs.on("BootNotification")(lambda *_: {"status": status[0], "currentTime": utc_now(), "interval": 60})
        cs.on("Heartbeat")(lambda *_: {"currentTime": utc_now()})
        cs.on("NotifyPeriodicEventStream")(lambda *_: None)
        with charge_point(cs, enforce_registration=True) as cp:
            cp.on("TriggerMessage")(lambda *_: {"status": "Accepted"})
            for found in ("was not sent", "is pending"):
                errors: list[OCPPRequestError] = []
                for send in (
                    lambda: cp.send_request("Heartbeat"),
                    lambda: cp.submit_request("Heartbeat").result(DEADLINE),
                    lambda: cp.send("NotifyPeriodicEventStream", STREAM),
                ):
                    with pytest.raises(NotRegisteredError, match=found) as error:
                        send()
                    errors.append(error.value)
                assert {error.delivery for error in errors} == {"not_sent"}
                cp.send_request("BootNotification", BOOT_2X)
            cs.send_request("CP1", "TriggerMessage", {"requestedMessage": "Heartbeat"})
            assert cp.send_request("Heartbeat")
            status[0] = "Accepted"
            cp.send_request("BootNotification", BOOT_2X)
            cp.send("NotifyPeriodicEventStream", STREAM)


# While the connection is being closed.


def test_a_request_during_a_close_cuts_off_nothing_that_went_before_it() -> None:
    with serving(request_timeout=0.1) as cs, dial(cs.port, receive_buffer=65536) as peer:
        events = connected(cs)
        peer.upgrade()
        events.wait(1)
        # More than the system takes while the peer does not read; the Close waits behind it.
        data = "x" * 16_000_000
        with pytest.raises(RequestTimeoutError):
            cs.send_request("CP1", "DataTransfer", {"vendorId": "a", "data": data})
        cs.close_connection("CP1", 4000, "enough")
        with pytest.raises(ConnectionLostError) as lost:
            cs.send_request("CP1", "ClearCache")
        assert lost.value.delivery == "not_sent"
        assert json.loads(peer.read_text())[3]["data"] == data
        assert peer.read_close() == (4000, "enough")
        peer.send_close(4000)
        peer.wait_for_end()

"""The `ocpp` package at the other end where it has to speak OCPP 2.1.

Its last release for Python 3.10 does not, and this file is left out there (see conftest.py).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import payloads
import pytest
from foreign import CHARGE_POINT_ID, as_call, as_payload, as_result, linked, visiting
from support import DEADLINE, Recorder, connected, raw, serving

from ocppsync import VersionMismatchError

SIZES = {"minimal": payloads.minimal, "full": payloads.full}
ACCEPTED = {"status": "Accepted"}
ANY_VENDOR = {"vendorId": "com.example"}

# Without an answer.

STREAMED = "NotifyPeriodicEventStream"


@pytest.mark.parametrize("size", SIZES)
def test_the_package_gets_our_send_and_does_not_answer(size: str) -> None:
    # It knows no type 6, and drops the message; what follows finds it as it was.
    with linked("charge_point", version="2.1") as link:
        request = SIZES[size]("2.1", STREAMED, "request")
        received = Recorder()
        link.foreign.wire.hook = received
        link.foreign.handler = lambda action, fields: as_result("DataTransfer", ACCEPTED, "2.1")
        link.send(STREAMED, request)
        assert link.ask("DataTransfer", ANY_VENDOR) == ACCEPTED
        (kind, message_id, *sent), following = received.wait(2)
        assert (kind, sent) == (6, [STREAMED, request])
        assert len(message_id) == 36
        assert following[2] == "DataTransfer"
        assert link.foreign.wire.sent[-1] == [3, following[1], ACCEPTED]


@pytest.mark.parametrize("size", SIZES)
def test_we_take_a_send_and_do_not_answer(size: str) -> None:
    # The package cannot make one, so it goes over its wire by hand.
    with linked("central_system", version="2.1") as link:
        request = SIZES[size]("2.1", STREAMED, "request")
        handled = Recorder()

        def handler(request: Any, metadata: Any) -> Any:
            handled((request.action, request.payload, metadata.message_id))
            return ACCEPTED

        link.handler = handler
        received = len(link.foreign.wire.received)
        text = json.dumps([6, "stream-1", STREAMED, request])
        asyncio.run_coroutine_threadsafe(link.foreign.wire.send(text), link.foreign.loop).result(DEADLINE)
        assert as_payload(link.be_asked(as_call("DataTransfer", ANY_VENDOR, "2.1"))) == ACCEPTED
        assert handled.items[0] == (STREAMED, request, "stream-1")
        assert [frame[0] for frame in link.foreign.wire.received[received:]] == [3]


# Several versions at once.


def test_one_central_system_serves_three_versions_at_once() -> None:
    now = "2026-01-01T00:00:00Z"
    booted, old, new = Recorder(), Recorder(), Recorder()
    with serving() as cs:

        @cs.on("BootNotification")
        def boot(payload: Any, metadata: Any) -> Any:
            booted((metadata.charge_point_id, metadata.ocpp_version, sorted(payload)))
            return {**ACCEPTED, "currentTime": now, "interval": 300}

        @cs.on("StatusNotification", version="1.6")
        def old_status(payload: Any, metadata: Any) -> None:
            old((metadata.charge_point_id, payload["status"]))

        @cs.on("StatusNotification")
        def status(payload: Any, metadata: Any) -> None:
            new((metadata.charge_point_id, payload["connectorStatus"]))

        changes = connected(cs)
        with raw(cs, "A") as a, raw(cs, "B", subprotocols=["ocpp2.0.1"]) as b, visiting(cs, "2.1") as peer:
            changes.wait(3)
            assert cs.charge_points == ["A", "B", CHARGE_POINT_ID]
            extensions = [each.protocol.extensions for each in (a.websocket, b.websocket, peer.wire.websocket)]
            assert [[each.name for each in found] for found in extensions] == [
                [],
                ["permessage-deflate"],
                ["permessage-deflate"],
            ]

            def told(action: str, payload: dict[str, Any]) -> Any:
                asking = peer.ask(as_call(action, payload, "2.1"))
                return as_payload(asyncio.run_coroutine_threadsafe(asking, peer.loop).result(DEADLINE))

            answer = {**ACCEPTED, "currentTime": now, "interval": 300}
            station = {"reason": "PowerUp", "chargingStation": {"model": "One", "vendorName": "Acme"}}
            machine = {"chargePointVendor": "Acme", "chargePointModel": "One"}
            assert a.call("1", "BootNotification", machine) == [3, "1", answer]
            assert b.call("1", "BootNotification", station) == [3, "1", answer]
            assert told("BootNotification", station) == answer
            assert booted.items == [
                ("A", "1.6", ["chargePointModel", "chargePointVendor"]),
                ("B", "2.0.1", ["chargingStation", "reason"]),
                (CHARGE_POINT_ID, "2.1", ["chargingStation", "reason"]),
            ]
            # The payload of another version is none of this one's.
            assert a.call("2", "BootNotification", station)[2] == "ProtocolError"
            assert b.call("2", "BootNotification", machine)[2] == "OccurrenceConstraintViolation"

            state = {"timestamp": now, "connectorStatus": "Occupied", "evseId": 1, "connectorId": 1}
            assert a.call(
                "3", "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Faulted"}
            ) == [3, "3", {}]
            assert b.call("3", "StatusNotification", state) == [3, "3", {}]
            assert told("StatusNotification", state) == {}
            assert old.items == [("A", "Faulted")]
            assert new.items == [("B", "Occupied"), (CHARGE_POINT_ID, "Occupied")]

            for charge_point, wanted in (("A", "2.1"), ("B", "1.6"), (CHARGE_POINT_ID, "2.0.1")):
                reset = {"type": "Hard" if wanted == "1.6" else "OnIdle"}
                with pytest.raises(VersionMismatchError) as caught:
                    cs.send_request(charge_point, "Reset", reset, version=wanted)
                assert caught.value.delivery == "not_sent"
            asked = [
                cs.submit_request("A", "Reset", {"type": "Hard"}, version="1.6"),
                cs.submit_request("B", "Reset", {"type": "OnIdle"}, version="2.0.1"),
            ]
            peer.handler = lambda action, fields: as_result(action, ACCEPTED, "2.1")
            assert cs.send_request(CHARGE_POINT_ID, "Reset", {"type": "ImmediateAndResume"}, version="2.1") == ACCEPTED
            for point, reset in ((a, "Hard"), (b, "OnIdle")):
                kind, message_id, *rest = point.read()
                assert (kind, rest) == (2, ["Reset", {"type": reset}]), "the first that came"
                point.send([3, message_id, ACCEPTED])
            assert [future.result(DEADLINE) for future in asked] == [ACCEPTED, ACCEPTED]

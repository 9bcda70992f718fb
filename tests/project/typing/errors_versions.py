"""What a type checker must refuse where there is more than one version of OCPP, or a vendor's action; as errors.py."""

from __future__ import annotations

from typing import Any

from ocppsync import CentralSystem, ChargePoint, v16, v21, v201
from ocppsync.request import RequestMetadata
from ocppsync.vendor import VendorAction


def requests_of_a_central_system(cs: CentralSystem) -> None:
    cs.send_request("CP1", "Reset", {"kind": "OnIdle"}, version="2.0.1")  # E: a wrong field
    cs.send_request("CP1", "Reset", {"type": "OnIdle", "kind": 1}, version="2.0.1")  # E: one field too many
    cs.send_request("CP1", "Reset", {"type": "Soft"}, version="2.0.1")  # E: a value of another version's enumeration
    cs.send_request("CP1", "Reset", {"type": "ImmediateAndResume"}, version="2.0.1")  # E: a value of 2.1
    cs.send_request("CP1", "Reset", {"type": "OnIdle"})  # E: without a version it is that of 1.6
    cs.send_request("CP1", "Reset", {"type": "OnIdle"}, version=None)  # E: so it is with None
    cs.send_request("CP1", "Reset", {}, version="2.1")  # E: a missing field
    cs.send_request("CP1", "Reset", version="2.1")  # E: a missing payload
    cs.send_request("CP1", "Reset", {"type": "OnIdle"}, version="2.0")  # E: a wrong version
    cs.send_request("CP1", "GetTransactionStatus", version="1.6")  # E: not an action of 1.6
    cs.send_request("CP1", "ChangeConfiguration", {"key": "", "value": ""}, version="2.0.1")  # E: not of 2.0.1
    cs.send_request("CP1", "GetTariffs", {"evseId": 0}, version="2.0.1")  # E: not of 2.0.1
    cs.send_request("CP1", "TransactionEvent", {}, version="2.1")  # E: the wrong direction
    cs.send_request("CP1", "GetTariffs", {"evseId": "0"})  # E: a wrong type
    cs.send_request("CP1", "ClearVariableMonitoring", {"id": ["1"]})  # E: a wrong type, further in
    cs.submit_request("CP1", "Reset", {"type": "Soft"}, version="2.1")  # E: a value of another version's enumeration
    cs.send_request("CP1", "Reset", {"type": "OnIdle"}, version="2.1")["state"]  # E: a wrong field of the answer


def requests_of_a_charge_point(cp: ChargePoint) -> None:
    cp.send_request("Authorize", {"idTag": "T"}, version="2.0.1")  # E: a field of 1.6
    cp.send_request("StartTransaction", {}, version="2.0.1")  # E: not an action of 2.0.1
    cp.send_request("Heartbeat", {"currentTime": ""}, version="2.1")  # E: a wrong field
    cp.send_request("Reset", {"type": "OnIdle"}, version="2.1")  # E: the wrong direction


def what_is_not_answered(cs: CentralSystem, cp: ChargePoint, events: v21.NotifyPeriodicEventStreamRequest) -> None:
    cp.send_request("NotifyPeriodicEventStream", events)  # E: it has no answer
    cp.submit_request("NotifyPeriodicEventStream", events)  # E: it has no answer
    cp.send("NotifyPeriodicEventStream")  # E: a missing payload
    cp.send("NotifyPeriodicEventStream", events, version="2.0.1")  # E: not an action of 2.0.1
    cp.send("Heartbeat", {})  # E: it has an answer
    cs.send("CP1", "NotifyPeriodicEventStream", events)  # E: the wrong direction
    cs.after("NotifyPeriodicEventStream")  # E: nothing comes after it


def boot16(payload: v16.BootNotificationRequest, metadata: RequestMetadata) -> v16.BootNotificationResponse:
    return {"status": "Accepted", "currentTime": "", "interval": 300}


def boot201(payload: v201.BootNotificationRequest, metadata: RequestMetadata) -> v201.BootNotificationResponse:
    return {"status": "Accepted", "currentTime": "", "interval": 300}


def no_answer(payload: v201.BootNotificationRequest, metadata: RequestMetadata) -> None:
    """Answer nothing."""


def status201(payload: v201.StatusNotificationRequest, metadata: RequestMetadata) -> None:
    """Answer nothing, which is enough."""


def events21(payload: v21.NotifyPeriodicEventStreamRequest) -> None:
    """Take no metadata."""


def transfer16(payload: v16.DataTransferRequest, metadata: RequestMetadata) -> v16.DataTransferResponse:
    return {"status": "Accepted"}


def no_context_takeover(payload: v201.DataTransferRequest, metadata: RequestMetadata) -> None:
    """Answer nothing."""


def handlers(cs: CentralSystem, cp: ChargePoint) -> None:
    cs.on("BootNotification")(boot201)  # E: without a version it is that of 1.6
    cs.on("BootNotification", version="2.0.1")(boot16)  # E: a handler for 1.6
    cs.on("BootNotification", version="2.0.1")(no_answer)  # E: None where the answer has a required field
    cs.on("StatusNotification", version="2.0.1")(status201)
    cs.on("StatusNotification")(status201)  # E: without a version it is that of 1.6
    cs.after("BootNotification", version="2.1")(boot16)  # E: a handler for 1.6
    cs.on("StartTransaction", version="2.0.1")  # E: not an action of 2.0.1
    cs.on("TransactionEvent", version="1.6")  # E: not an action of 1.6
    cs.on("BatterySwap", version="2.0.1")  # E: not an action of 2.0.1
    cs.on("BootNotification", version="2.0")  # E: a wrong version
    cs.on("BootNotification", "2.0.1")  # E: the version by position
    cs.on("NotifyPeriodicEventStream")(events21)  # E: no metadata
    cs.on_data_transfer("V", version="2.0.1")(transfer16)  # E: a handler for 1.6
    cs.on_data_transfer("V", version="2.0.1")(no_context_takeover)  # E: None where the answer has a required field
    cs.on_data_transfer(1)  # E: a wrong vendor
    cp.on("Reset", version="2.0")  # E: a wrong version
    cp.on("NotifyPeriodicEventStream")  # E: the wrong direction

    @cs.on("Heartbeat", version="2.1")
    def heartbeat(payload: v21.HeartbeatRequest, metadata: RequestMetadata) -> v21.HeartbeatResponse:
        return {"time": ""}  # E: a wrong field in the answer


def number(payload: dict[str, Any], metadata: RequestMetadata) -> int:
    return 1


def vendors(cs: CentralSystem, cp: ChargePoint, light: VendorAction) -> None:
    cs.send_request("CP1", light, [1])  # E: no mapping
    cs.send_request("CP1", light, {}, version="2.0")  # E: a wrong version
    cs.send_request(light, {})  # E: no charge point id
    cs.on(light)(number)  # E: no answer to anything
    cp.after(light)(boot16)  # E: a handler of another action
    VendorAction("A", {}, {}, sender="csms")  # E: no such sender
    VendorAction("A", {}, {}, "both")  # E: the sender by position
    VendorAction("A", {}, {}, versions=["2.0"])  # E: a wrong version
    VendorAction("A", {})  # E: whether it has an answer must be said


def two(request: v16.CentralSystemRequest | v201.CentralSystemRequest, metadata: RequestMetadata) -> None:
    if request.version == "2.0.1":
        if request.action == "BootNotification":
            str(request.payload["chargePointModel"])  # E: a field of 1.6
    elif request.action == "BootNotification":
        str(request.payload["chargingStation"])  # E: a field of 2.0.1


def wrong_direction(request: v201.ChargePointRequest, metadata: RequestMetadata) -> None:
    """Take what a central system sends."""


def answers_a_number(request: v201.CentralSystemRequest, metadata: RequestMetadata) -> int:
    return 1


def single_handlers() -> None:
    CentralSystem(None, two)
    CentralSystem(None, wrong_direction)  # E: the handler of a charge point
    CentralSystem(None, answers_a_number)  # E: no mapping
    ChargePoint("CP1", two)  # E: the handler of a central system

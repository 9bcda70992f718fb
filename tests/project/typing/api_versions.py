"""What a type checker must know where there is more than one version of OCPP, or a vendor's action; never run."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Literal, cast

from typing_extensions import assert_type

from ocppsync import CentralSystem, ChargePoint, v16, v21, v201
from ocppsync.methods import CentralSystemHandler, ChargePointHandler
from ocppsync.request import Request, RequestMetadata
from ocppsync.vendor import VendorAction


def a_central_system_sends(cs: CentralSystem) -> None:
    # Without a version the oldest that has the action decides.
    assert_type(cs.send_request("CP1", "Reset", {"type": "Soft"}), v16.ResetResponse)
    assert_type(cs.send_request("CP1", "Reset", {"type": "Soft"}, version=None), v16.ResetResponse)
    assert_type(cs.send_request("CP1", "Reset", {"type": "Soft"}, version="1.6"), v16.ResetResponse)
    assert_type(cs.send_request("CP1", "Reset", {"type": "Immediate"}, version="2.0.1"), v201.ResetResponse)
    response = cs.send_request("CP1", "Reset", {"type": "ImmediateAndResume"}, timeout=5, version="2.1")
    assert_type(response, v21.ResetResponse)
    assert_type(response["status"], Literal["Accepted", "Rejected", "Scheduled"])
    wanted: v201.GetVariableDataType = {"component": {"name": "C"}, "variable": {"name": "V"}}
    values = cs.send_request("CP1", "GetVariables", {"getVariableData": [wanted]})
    assert_type(values, v201.GetVariablesResponse)
    for value in values["getVariableResult"]:
        assert_type(value.get("attributeValue"), str | None)
    assert_type(cs.send_request("CP1", "GetTransactionStatus"), v201.GetTransactionStatusResponse)
    assert_type(cs.send_request("CP1", "GetTransactionStatus", version="2.1"), v21.GetTransactionStatusResponse)
    assert_type(cs.send_request("CP1", "GetTariffs", {"evseId": 0}), v21.GetTariffsResponse)
    assert_type(cs.send_request("CP1", "GetTariffs", {"evseId": 0}, version="2.1"), v21.GetTariffsResponse)
    cs.send_request("CP1", "ClearCache", {"customData": {"vendorId": "V", "more": [1]}}, version="2.0.1")
    cs.send_request("CP1", "DataTransfer", {"vendorId": "V", "data": {"any": ["thing"]}}, version="2.0.1")
    assert_type(cs.submit_request("CP1", "ClearCache", version="2.1"), Future[v21.ClearCacheResponse])
    assert_type(
        cs.submit_request("CP1", "CostUpdated", {"totalCost": 1.5, "transactionId": "T"}).result(),
        v201.CostUpdatedResponse,
    )


def a_charge_point_sends(cp: ChargePoint) -> None:
    station: v201.ChargingStationType = {"vendorName": "V", "model": "M"}
    registration = cp.send_request(
        "BootNotification", {"chargingStation": station, "reason": "PowerUp"}, version="2.0.1"
    )
    assert_type(registration, v201.BootNotificationResponse)
    assert_type(registration.get("statusInfo"), v201.StatusInfoType | None)
    assert_type(cp.send_request("Heartbeat", version="2.1"), v21.HeartbeatResponse)
    assert_type(cp.submit_request("Heartbeat", {}, version="2.0.1"), Future[v201.HeartbeatResponse])
    chain: v201.Get15118EVCertificateRequest = {"iso15118SchemaVersion": "", "action": "Install", "exiRequest": ""}
    assert_type(cp.send_request("Get15118EVCertificate", chain), v201.Get15118EVCertificateResponse)


def a_charge_point_streams(cp: ChargePoint) -> None:
    events: v21.NotifyPeriodicEventStreamRequest = {"id": 1, "pending": 0, "basetime": "", "data": [{"t": 0, "v": "1"}]}
    cp.send("NotifyPeriodicEventStream", events)
    cp.send("NotifyPeriodicEventStream", {"id": 1, "pending": 0, "basetime": "", "data": []}, version="2.1")


class Boot:
    """A handler that is no function: it shows that the decorators give back what they got."""

    def __call__(
        self, payload: v201.BootNotificationRequest, metadata: RequestMetadata
    ) -> v201.BootNotificationResponse:
        return {"status": "Accepted", "currentTime": payload["chargingStation"]["model"], "interval": 300}


def handlers_of_a_central_system(cs: CentralSystem) -> None:
    assert_type(cs.on("BootNotification", version="2.0.1")(Boot()), Boot)
    assert_type(cs.after("BootNotification", version="2.0.1")(Boot()), Boot)

    @cs.on("BootNotification", version="1.6")
    def old(payload: v16.BootNotificationRequest, metadata: RequestMetadata) -> v16.BootNotificationResponse:
        return {"status": "Accepted", "currentTime": payload["chargePointModel"], "interval": 300}

    @cs.on("TransactionEvent")
    def event(payload: v201.TransactionEventRequest, metadata: RequestMetadata) -> v201.TransactionEventResponse:
        assert_type(payload["eventType"], Literal["Ended", "Started", "Updated"])
        return {"totalCost": 1}

    @cs.on("TransactionEvent", version="2.1")
    def later(payload: v21.TransactionEventRequest, metadata: RequestMetadata) -> None:
        assert_type(payload.get("evseSleep"), bool | None)

    @cs.on("Heartbeat", version="2.0.1")
    @cs.on("Heartbeat", version="2.1")
    @cs.on("Heartbeat")
    def heartbeat(payload: Mapping[str, object], metadata: RequestMetadata) -> Any:
        return {"currentTime": "2024-01-01T00:00:00Z"}

    @cs.on("NotifyPeriodicEventStream")
    def stream(payload: v21.NotifyPeriodicEventStreamRequest, metadata: RequestMetadata) -> int:
        # Nobody waits for what it returns.
        return len(payload["data"])

    @cs.on_data_transfer("V")
    def transfer(payload: v16.DataTransferRequest, metadata: RequestMetadata) -> v16.DataTransferResponse:
        assert_type(payload.get("data"), str | None)
        return {"status": "Accepted"}

    @cs.on_data_transfer("V", "M", version="2.0.1")
    def anything(payload: v201.DataTransferRequest, metadata: RequestMetadata) -> v201.DataTransferResponse:
        return {"status": "Accepted", "data": payload.get("data")}


def handlers_of_a_charge_point(cp: ChargePoint) -> None:
    @cp.on("Reset", version="2.1")
    def reset(payload: v21.ResetRequest, metadata: RequestMetadata) -> v21.ResetResponse:
        assert_type(payload["type"], Literal["Immediate", "OnIdle", "ImmediateAndResume"])
        return {"status": "Scheduled"}

    @cp.after("Reset", version="2.1")
    def restart(payload: v21.ResetRequest, metadata: RequestMetadata) -> int:
        assert_type(reset(payload=payload, metadata=metadata), v21.ResetResponse)
        return 0

    @cp.on_data_transfer("V", version="2.1")
    def transfer(payload: v21.DataTransferRequest, metadata: RequestMetadata) -> v21.DataTransferResponse:
        return {"status": "UnknownMessageId"}


def vendors(cs: CentralSystem, cp: ChargePoint, light: VendorAction) -> None:
    assert_type(cs.send_request("CP1", light, {"level": 3}, timeout=5, version="2.1"), dict[str, Any])
    assert_type(cs.submit_request("CP1", light), Future[dict[str, Any]])
    assert_type(cp.send_request(light, {"level": 3}), dict[str, Any])
    assert_type(cp.submit_request(light), Future[dict[str, Any]])
    cs.send("CP1", light, {"level": 3})
    cp.send(light, version="2.1")

    @cs.on(light)
    def on(payload: dict[str, Any], metadata: RequestMetadata) -> dict[str, str]:
        return {"status": payload["level"]}

    @cp.on(light, version="2.0.1")
    def quiet(payload: Mapping[str, Any], metadata: RequestMetadata) -> None:
        assert_type(on({}, metadata), dict[str, str])

    @cs.after(light)
    def after(payload: dict[str, Any], metadata: RequestMetadata) -> bool:
        return bool(payload)


def an_action_in_a_variable(cs: CentralSystem, action: Any, version: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", cs.send_request("CP1", action, {}, version=version))


# The single handler.


def one(request: v201.CentralSystemRequest, metadata: RequestMetadata) -> Mapping[str, object] | None:
    assert_type(request.version, Literal["2.0.1"])
    if request.action == "BootNotification":
        assert_type(request.payload, v201.BootNotificationRequest)
    if request.action == "Get15118EVCertificate":
        assert_type(request.payload["action"], Literal["Install", "Update"])
    return None


def two(
    request: v16.CentralSystemRequest | v201.CentralSystemRequest, metadata: RequestMetadata
) -> Mapping[str, object] | None:
    if request.version == "2.0.1":
        if request.action == "BootNotification":
            assert_type(request.payload, v201.BootNotificationRequest)
            assert_type(request.payload["chargingStation"]["model"], str)
        elif request.action == "Heartbeat":
            assert_type(request.payload, v201.HeartbeatRequest)
        return one(request, metadata)
    assert_type(request.version, Literal["1.6"])
    if request.action == "BootNotification":
        assert_type(request.payload, v16.BootNotificationRequest)
    return None


def three(
    request: v16.CentralSystemRequest | v201.CentralSystemRequest | v21.CentralSystemRequest, metadata: RequestMetadata
) -> Mapping[str, object] | None:
    if request.action == "Heartbeat":
        # Alike in all versions, or so the handler may think.
        return {"currentTime": metadata.charge_point_id}
    if request.version == "2.1":
        if request.action == "NotifyPeriodicEventStream":
            assert_type(request.payload["data"], list[v21.StreamDataElementType])
        return None
    return two(request, metadata)


def action_first(
    request: v16.ChargePointRequest | v21.ChargePointRequest, metadata: RequestMetadata
) -> v16.ResetResponse | v21.ResetResponse | None:
    if request.action == "Reset" and request.version == "2.1":
        assert_type(request.payload, v21.ResetRequest)
        return {"status": "Scheduled"}
    if request.action == "Reset":
        assert_type(request.payload, v16.ResetRequest)
        return {"status": "Accepted"}
    return None


def single_handlers(central_system: CentralSystemHandler, charge_point: ChargePointHandler) -> list[object]:
    return [
        CentralSystem(None, one),
        CentralSystem(None, two),
        CentralSystem(None, three),
        CentralSystem(None, central_system),
        ChargePoint("CP1", action_first),
        ChargePoint("CP1", charge_point),
    ]


def a_request_made_by_a_test() -> None:
    made = Request("Heartbeat", {"a": 1})
    assert_type(made.action, str)
    assert_type(made.payload, dict[str, int])


def actions(sent: v201.CentralSystemAction, received: v21.ChargePointAction) -> tuple[v201.Action, v21.Action]:
    return sent, received

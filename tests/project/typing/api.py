"""What a type checker must know about the public methods; never run, only checked (see test_typing.py)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, cast

from typing_extensions import assert_type

from ocppsync import CentralSystem, ChargePoint, Passwords, SecurityProfiles, ServerTLS, hash_password, v16
from ocppsync.errors import CallError
from ocppsync.request import Request, RequestMetadata


def a_central_system_sends(central_system: CentralSystem) -> None:
    response = central_system.send_request("CP1", "Reset", {"type": "Soft"}, timeout=30)
    assert_type(response, v16.ResetResponse)
    assert_type(response["status"], Literal["Accepted", "Rejected"])
    assert_type(central_system.send_request("CP1", "UnlockConnector", {"connectorId": 1}), v16.UnlockConnectorResponse)
    assert_type(central_system.send_request("CP1", "DataTransfer", {"vendorId": "V"}), v16.DataTransferResponse)
    assert_type(central_system.send_request("CP1", "ClearCache"), v16.ClearCacheResponse)
    assert_type(central_system.send_request("CP1", "ClearCache", {}), v16.ClearCacheResponse)
    assert_type(central_system.send_request("CP1", "ClearCache", timeout=None), v16.ClearCacheResponse)
    named = central_system.send_request(charge_point_id="CP1", action="GetConfiguration", payload={"key": ["A"]})
    assert_type(named, v16.GetConfigurationResponse)
    for setting in named.get("configurationKey", []):
        assert_type(setting, v16.KeyValue)
        assert_type(setting.get("value"), str | None)


def security_profiles() -> None:
    hashes = {"CP1": hash_password("x")}
    several: dict[str, list[str]] = {}
    serials: dict[str, str] = {}
    minimum: dict[str, int] = {}
    SecurityProfiles(passwords=Passwords(hashes), serial_number_of=serials, minimum_profile=minimum)
    SecurityProfiles(passwords=Passwords(several.get, on_change=lambda name, hashes: several.update({name: [*hashes]})))
    SecurityProfiles(serial_number_of=serials.get, minimum_profile=2, on_profile_raised=minimum.__setitem__)
    tls = ServerTLS([("server.pem", Path("server.key"))], client_ca="ca.pem", client_certificates="optional")
    CentralSystem(9000, ssl_context=tls)
    CentralSystem(9000, ssl_context=tls.context)


def a_central_system_submits(central_system: CentralSystem) -> None:
    future = central_system.submit_request("CP1", "Reset", {"type": "Hard"}, timeout=0.5)
    assert_type(future, Future[v16.ResetResponse])
    assert_type(future.result(), v16.ResetResponse)
    assert_type(central_system.submit_request("CP1", "GetLocalListVersion"), Future[v16.GetLocalListVersionResponse])


def a_charge_point_sends(charge_point: ChargePoint) -> None:
    registration = charge_point.send_request("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    assert_type(registration, v16.BootNotificationResponse)
    assert_type(registration["interval"], int)
    assert_type(charge_point.send_request("Heartbeat"), v16.HeartbeatResponse)
    assert_type(charge_point.send_request("DataTransfer", {"vendorId": "V"}, timeout=1), v16.DataTransferResponse)
    assert_type(charge_point.submit_request("Heartbeat", {}), Future[v16.HeartbeatResponse])
    assert_type(charge_point.submit_request("Authorize", {"idTag": "T"}), Future[v16.AuthorizeResponse])


def nested_payloads(central_system: CentralSystem, charge_point: ChargePoint) -> None:
    profile: v16.ChargingProfile = {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}, {"startPeriod": 60, "limit": 6.5}],
        },
    }
    central_system.send_request("CP1", "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile})
    sample: v16.SampledValue = {"value": "1.5", "measurand": "Energy.Active.Import.Register", "unit": "kWh"}
    values: list[v16.MeterValue] = [{"timestamp": "2024-01-01T00:00:00Z", "sampledValue": [sample]}]
    charge_point.send_request("MeterValues", {"connectorId": 1, "meterValue": values})


def an_action_in_a_variable(central_system: CentralSystem, action: str, payload: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", central_system.send_request("CP1", cast(Any, action), payload))


class Boot:
    """A handler that is no function: it shows that the decorators give back what they got."""

    def __call__(self, payload: v16.BootNotificationRequest, metadata: RequestMetadata) -> v16.BootNotificationResponse:
        return {"status": "Accepted", "currentTime": payload["chargePointModel"], "interval": 300}


def handlers_of_a_central_system(central_system: CentralSystem) -> None:
    assert_type(central_system.on("BootNotification")(Boot()), Boot)
    assert_type(central_system.after("BootNotification")(Boot()), Boot)

    @central_system.on("StartTransaction")
    def start(payload: v16.StartTransactionRequest, metadata: RequestMetadata) -> v16.StartTransactionResponse:
        assert_type(payload["meterStart"], int)
        return {"idTagInfo": {"status": "Accepted"}, "transactionId": payload["connectorId"]}

    @central_system.after("StartTransaction")
    def started(payload: v16.StartTransactionRequest, metadata: RequestMetadata) -> None:
        # A function that keeps its own type still knows the names of its parameters.
        assert_type(start(payload=payload, metadata=metadata), v16.StartTransactionResponse)

    @central_system.on("StatusNotification")
    def status(payload: v16.StatusNotificationRequest, metadata: RequestMetadata) -> None:
        assert_type(payload.get("info"), str | None)

    @central_system.on("MeterValues")
    def meter(payload: v16.MeterValuesRequest, metadata: RequestMetadata) -> v16.MeterValuesResponse:
        return {}

    @central_system.on("StopTransaction")
    def stop(payload: v16.StopTransactionRequest, metadata: RequestMetadata) -> v16.StopTransactionResponse | None:
        return {"idTagInfo": {"status": "Accepted"}} if "idTag" in payload else None

    @central_system.on("DataTransfer")
    def transfer(payload: v16.DataTransferRequest, metadata: RequestMetadata) -> v16.DataTransferResponse:
        return {"status": "UnknownVendorId"}

    @central_system.on("Heartbeat")
    def heartbeat(payload: Mapping[str, object], metadata: object) -> Any:
        return {"currentTime": "2024-01-01T00:00:00Z"}


def handlers_of_a_charge_point(charge_point: ChargePoint) -> None:
    @charge_point.on("Reset")
    def reset(payload: v16.ResetRequest, metadata: RequestMetadata) -> v16.ResetResponse:
        assert_type(payload["type"], Literal["Hard", "Soft"])
        return {"status": "Accepted" if payload["type"] == "Soft" else "Rejected"}

    @charge_point.after("Reset")
    def restart(payload: v16.ResetRequest, metadata: RequestMetadata) -> int:
        return 0

    @charge_point.on("UpdateFirmware")
    def update(payload: v16.UpdateFirmwareRequest, metadata: RequestMetadata) -> None:
        assert_type(payload["location"], str)

    @charge_point.on("DataTransfer")
    def transfer(payload: v16.DataTransferRequest, metadata: RequestMetadata) -> v16.DataTransferResponse:
        return {"status": "Accepted", "data": payload.get("data", "")}


def answer(request: v16.CentralSystemRequest, metadata: RequestMetadata) -> Mapping[str, object] | None:
    if request.action == "BootNotification":
        assert_type(request.payload, v16.BootNotificationRequest)
        accepted: v16.BootNotificationResponse = {"status": "Accepted", "currentTime": "", "interval": 300}
        return accepted
    if request.action == "StartTransaction":
        assert_type(request.payload["meterStart"], int)
        return {"idTagInfo": {"status": "Accepted"}, "transactionId": 1}
    if request.action == "Heartbeat":
        assert_type(request.payload, v16.HeartbeatRequest)
        return {"currentTime": metadata.charge_point_id}
    if request.action == "DataTransfer":
        assert_type(request.payload, v16.DataTransferRequest)
    elif request.action == "StopTransaction":
        assert_type(request.payload, v16.StopTransactionRequest)
    return None


def obey(request: v16.ChargePointRequest, metadata: RequestMetadata) -> v16.ResetResponse | v16.ClearCacheResponse:
    if request.action != "Reset":
        raise CallError("NotImplemented")
    assert_type(request.payload, v16.ResetRequest)
    return {"status": "Accepted"}


def log(request: Request, metadata: RequestMetadata) -> None:
    """A handler that looks at nothing but the action need not name the union."""
    assert_type(request.action, str)
    assert_type(request.payload, Any)


def single_handlers() -> CentralSystem:
    ChargePoint("CP1", obey)
    ChargePoint("CP1", log)
    CentralSystem(9000)
    CentralSystem(None, log)
    return CentralSystem(9000, answer)


def actions_by_direction(sent: v16.CentralSystemAction, received: v16.ChargePointAction) -> list[v16.Action]:
    return [sent, received, "DataTransfer"]

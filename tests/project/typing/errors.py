"""What a type checker must refuse: every line marked with the comment, and no other (see test_typing.py)."""

from __future__ import annotations

from ocppsync import CentralSystem, ChargePoint, v16
from ocppsync.request import RequestMetadata


def requests_of_a_central_system(cs: CentralSystem) -> None:
    cs.send_request("CP1", "Reset", {"kind": "Soft"})  # E: a wrong field
    cs.send_request("CP1", "Reset", {"type": "Soft", "kind": 1})  # E: one field too many
    cs.send_request("CP1", "Reset", {"type": "Medium"})  # E: a wrong enumeration value
    cs.send_request("CP1", "Reset", {})  # E: a missing field
    cs.send_request("CP1", "Reset")  # E: a missing payload
    cs.send_request("CP1", "Reset", None)  # E: None for a payload
    cs.send_request("CP1", "UnlockConnector", {"connectorId": "1"})  # E: a wrong type
    cs.send_request("CP1", "reset", {"type": "Soft"})  # E: an unknown action
    cs.send_request("CP1", "Authorize", {"idTag": "T"})  # E: the wrong direction
    cs.send_request(1, "ClearCache")  # E: a wrong charge point id
    cs.send_request("Reset", {"type": "Soft"})  # E: no charge point id
    cs.send_request("CP1", "Reset", {"type": "Soft"}, 30)  # E: the timeout by position
    cs.send_request("CP1", "Reset", {"type": "Soft"}, timeout="30")  # E: a wrong timeout
    cs.submit_request("CP1", "Reset", {"type": "Medium"})  # E: a wrong enumeration value
    cs.submit_request("CP1", "Heartbeat")  # E: the wrong direction


def requests_of_a_charge_point(cp: ChargePoint) -> None:
    cp.send_request("Heartbeat", {"currentTime": ""})  # E: a wrong field
    cp.send_request("Authorize", {})  # E: a missing field
    cp.send_request("FirmwareStatusNotification", {"status": "Done"})  # E: a wrong enumeration value
    cp.send_request("Reset", {"type": "Soft"})  # E: the wrong direction
    cp.submit_request("Boot")  # E: an unknown action
    cp.send_request("CP1", "Heartbeat")  # E: a charge point id


def an_action_in_a_str(cs: CentralSystem, action: str) -> None:
    cs.send_request("CP1", action, {"type": "Soft"})  # E: it must be Any to escape the check


def the_answers(cs: CentralSystem) -> None:
    cs.send_request("CP1", "Reset", {"type": "Soft"})["state"]  # E: a wrong field


def wrong_payload(payload: v16.ResetRequest, metadata: RequestMetadata) -> v16.BootNotificationResponse:
    return {"status": "Accepted", "currentTime": "", "interval": 300}


def wrong_answer(payload: v16.BootNotificationRequest, metadata: RequestMetadata) -> v16.StartTransactionResponse:
    return {"idTagInfo": {"status": "Accepted"}, "transactionId": 1}


def plain_dict(payload: v16.BootNotificationRequest, metadata: RequestMetadata) -> dict[str, object]:
    return {"status": "Accepted", "currentTime": "", "interval": 300}


def no_metadata(payload: v16.BootNotificationRequest) -> v16.BootNotificationResponse:
    return {"status": "Accepted", "currentTime": "", "interval": 300}


def no_answer(payload: v16.BootNotificationRequest, metadata: RequestMetadata) -> None:
    """Answer nothing."""


def perhaps(payload: v16.BootNotificationRequest, metadata: RequestMetadata) -> v16.BootNotificationResponse | None:
    return None


async def asynchronous(payload: v16.BootNotificationRequest, metadata: RequestMetadata) -> v16.BootNotificationResponse:
    return {"status": "Accepted", "currentTime": "", "interval": 300}


def handlers_of_a_central_system(cs: CentralSystem) -> None:
    cs.on("BootNotification")(wrong_payload)  # E:
    cs.on("BootNotification")(wrong_answer)  # E:
    cs.on("BootNotification")(plain_dict)  # E:
    cs.on("BootNotification")(no_metadata)  # E:
    cs.on("BootNotification")(no_answer)  # E:
    cs.on("BootNotification")(perhaps)  # E:
    cs.on("BootNotification")(asynchronous)  # E:
    cs.on("Reset")  # E: the wrong direction
    cs.on("Boot")  # E: an unknown action
    cs.after("BootNotification")(wrong_payload)  # E:
    cs.after("BootNotification")(no_metadata)  # E:
    cs.after("Reset")  # E: the wrong direction

    @cs.on("StatusNotification")  # E: a wrong answer where None would do
    def status(payload: v16.StatusNotificationRequest, metadata: RequestMetadata) -> int:
        return 1

    @cs.on("Heartbeat")
    def heartbeat(payload: v16.HeartbeatRequest, metadata: RequestMetadata) -> v16.HeartbeatResponse:
        return {"time": ""}  # E: a wrong field in the answer


def handlers_of_a_charge_point(cp: ChargePoint) -> None:
    cp.on("BootNotification")  # E: the wrong direction
    cp.after("BootNotification")  # E: the wrong direction

    @cp.on("Reset")  # E: None where the answer has a required field
    def reset(payload: v16.ResetRequest, metadata: RequestMetadata) -> None:
        """Answer nothing."""

    @cp.on("UpdateFirmware")
    def update(payload: v16.UpdateFirmwareRequest, metadata: RequestMetadata) -> None:
        str(payload["url"])  # E: a wrong field


def answer(request: v16.CentralSystemRequest, metadata: RequestMetadata) -> dict[str, object] | None:
    if request.action == "BootNotification":
        str(request.payload["idTag"])  # E: not a field of this request
    if request.action == "Authorize":
        str(request.payload["idTag"])
    str(request.payload["idTag"])  # E: not a field of every request
    return None


def wrong_direction(request: v16.ChargePointRequest, metadata: RequestMetadata) -> None:
    """Take what a central system sends."""


def answers_a_number(request: v16.CentralSystemRequest, metadata: RequestMetadata) -> int:
    return 1


def single_handlers() -> None:
    CentralSystem(None, answer)
    CentralSystem(None, wrong_direction)  # E: the handler of a charge point
    CentralSystem(None, answers_a_number)  # E: no mapping
    ChargePoint("CP1", answer)  # E: the handler of a central system

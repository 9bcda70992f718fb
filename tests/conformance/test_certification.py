"""Cases of OCPP 2.0.1 Part 6 that a central system carries with no application, or with a decision of it.

The charging station is bare text on a real connection. A case has the name of its test: TC_B_01_CSMS.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from support import DEADLINE, RawChargePoint, Recorder, connected, raw, serving
from websockets.exceptions import InvalidStatus

from ocppsync import CentralSystem, HttpRequest

NOW = "2026-01-01T00:00:00Z"
STATION = "CS001"
PASSWORD = "DEADBEEFDEADBEEF"
BOOT = {"reason": "PowerUp", "chargingStation": {"model": "One", "vendorName": "Acme"}}
STATUS = {"timestamp": NOW, "connectorStatus": "Available", "evseId": 1, "connectorId": 1}
EVENT = {
    "generatedAt": NOW,
    "seqNo": 0,
    "eventData": [
        {
            "eventId": 1,
            "timestamp": NOW,
            "trigger": "Delta",
            "actualValue": "Available",
            "eventNotificationType": "HardWiredNotification",
            "component": {"name": "Connector", "evse": {"id": 1, "connectorId": 1}},
            "variable": {"name": "AvailabilityState"},
        }
    ],
}


def answer_boots(cs: CentralSystem, *statuses: str) -> None:
    """Answer one BootNotification after the other with these; the last one counts for all that follow."""
    left = list(statuses)

    @cs.on("BootNotification", version="2.0.1")
    def boot(payload: Any, metadata: Any) -> Any:
        status: Any = left.pop(0) if len(left) > 1 else left[0]
        return {"status": status, "currentTime": NOW, "interval": 60}


def serve_the_rest(cs: CentralSystem) -> Recorder:
    """Answer what else the stations of these cases send; return a record of it."""
    seen = Recorder()

    @cs.on("StatusNotification", version="2.0.1")
    def status(payload: Any, metadata: Any) -> None:
        seen(("StatusNotification", payload))

    @cs.on("NotifyEvent", version="2.0.1")
    def event(payload: Any, metadata: Any) -> None:
        seen(("NotifyEvent", payload))

    @cs.on("TransactionEvent", version="2.0.1")
    def transaction(payload: Any, metadata: Any) -> None:
        seen(("TransactionEvent", payload))

    return seen


@contextlib.contextmanager
def station(cs: CentralSystem, **options: Any) -> Iterator[RawChargePoint]:
    options.setdefault("subprotocols", ["ocpp2.0.1"])
    changes = connected(cs)
    with raw(cs, STATION, **options) as websocket:
        changes.wait()
        yield websocket


def boots(point: RawChargePoint, message_id: str) -> str:
    """Boot; return the status in the answer."""
    kind, answered_id, payload = point.call(message_id, "BootNotification", BOOT)
    assert (kind, answered_id, payload["currentTime"], payload["interval"]) == (3, message_id, NOW, 60)
    return str(payload["status"])


# A: security.


def credentials(user: str, password: str) -> dict[str, str]:
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


def authorize(request: HttpRequest, charge_point_id: str) -> bool:
    return request.basic_credentials == (charge_point_id.encode(), PASSWORD.encode())


def test_tc_a_01_csms() -> None:
    """Right Basic credentials: the upgrade and the boot are accepted."""
    with serving(authorize=authorize) as cs:
        answer_boots(cs, "Accepted")
        serve_the_rest(cs)
        with station(cs, additional_headers=credentials(STATION, PASSWORD)) as point:
            assert point.websocket.subprotocol == "ocpp2.0.1"
            assert boots(point, "1") == "Accepted"
            assert point.call("2", "StatusNotification", STATUS) == [3, "2", {}]


def refused(cs: CentralSystem, **options: Any) -> Any:
    """Return the answer to an upgrade request that is refused."""
    options.setdefault("subprotocols", ["ocpp2.0.1"])
    with pytest.raises(InvalidStatus) as caught, raw(cs, STATION, **options):
        pass
    assert cs.charge_points == []
    return caught.value.response


@pytest.mark.parametrize("user", ["CS002", "", "cs001"])
def test_tc_a_02_csms(user: str) -> None:
    """The user name is not the identity: the upgrade is refused."""
    with serving(authorize=authorize) as cs:
        answer = refused(cs, additional_headers=credentials(user, PASSWORD))
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="ocpp"')


@pytest.mark.parametrize("headers", [credentials(STATION, PASSWORD[:-1]), credentials(STATION, ""), {}])
def test_tc_a_03_csms(headers: dict[str, str]) -> None:
    """The password is wrong, or there is none: the upgrade is refused."""
    with serving(authorize=authorize) as cs:
        answer = refused(cs, additional_headers=headers)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="ocpp"')


# B: provisioning.


def test_tc_b_01_csms() -> None:
    """Cold boot, accepted: the station then tells its state."""
    with serving() as cs:
        answer_boots(cs, "Accepted")
        seen = serve_the_rest(cs)
        with station(cs) as point:
            assert boots(point, "1") == "Accepted"
            assert point.call("2", "StatusNotification", STATUS) == [3, "2", {}]
            assert point.call("3", "NotifyEvent", EVENT) == [3, "3", {}]
        assert seen.items == [("StatusNotification", STATUS), ("NotifyEvent", EVENT)]


def test_tc_b_02_csms() -> None:
    """Cold boot, pending at first: the connection stays, the station is set up over it, and then is accepted."""
    wanted = [{"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "MessageTimeout"}}]
    found = {"getVariableResult": [{**wanted[0], "attributeStatus": "Accepted", "attributeValue": "30"}]}
    with serving() as cs:
        answer_boots(cs, "Pending", "Pending", "Accepted")
        serve_the_rest(cs)
        with station(cs) as point:
            assert boots(point, "1") == "Pending"
            future = cs.submit_request(STATION, "GetVariables", {"getVariableData": wanted}, version="2.0.1")
            _, message_id, action, payload = point.read()
            assert (action, payload) == ("GetVariables", {"getVariableData": wanted})
            point.send([3, message_id, found])
            assert future.result(DEADLINE) == found
            assert boots(point, "2") == "Pending"
            assert boots(point, "3") == "Accepted"
            assert point.call("4", "StatusNotification", STATUS) == [3, "4", {}]


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
@pytest.mark.parametrize(("action", "payload"), [("StatusNotification", STATUS), ("NotifyEvent", EVENT)])
def test_tc_b_30_csms(status: str, action: str, payload: Any) -> None:
    """A station that was not accepted tells its state: SecurityError."""
    with serving() as cs:
        answer_boots(cs, status)
        seen = serve_the_rest(cs)
        with station(cs) as point:
            assert boots(point, "1") == status
            kind, message_id, code, _, details = point.call("2", action, payload)
            assert (kind, message_id, code, details) == (4, "2", "SecurityError", {})
        assert seen.items == []


def test_tc_b_31_csms() -> None:
    """A pending station is told to boot before its time, and is accepted then."""
    with serving() as cs:
        answer_boots(cs, "Pending", "Accepted")
        serve_the_rest(cs)
        with station(cs) as point:
            assert boots(point, "1") == "Pending"
            future = cs.submit_request(STATION, "TriggerMessage", {"requestedMessage": "BootNotification"})
            _, message_id, action, payload = point.read()
            assert (action, payload) == ("TriggerMessage", {"requestedMessage": "BootNotification"})
            point.send([3, message_id, {"status": "Accepted"}])
            assert future.result(DEADLINE) == {"status": "Accepted"}
            again = {**BOOT, "reason": "Triggered"}
            assert point.call("2", "BootNotification", again)[2]["status"] == "Accepted"
            assert point.call("3", "StatusNotification", STATUS) == [3, "3", {}]


def test_tc_b_58_csms() -> None:
    """No common subprotocol: no upgrade; one of several: that one is chosen."""
    with serving(refuse_unknown_protocol=True) as cs:
        answer_boots(cs, "Accepted")
        assert refused(cs, subprotocols=["ocpp0.1"]).status_code == 400
        with station(cs, subprotocols=["ocpp0.1", "ocpp2.0.1"]) as point:
            assert point.websocket.response is not None
            assert point.websocket.response.headers["Sec-WebSocket-Protocol"] == "ocpp2.0.1"
            assert boots(point, "1") == "Accepted"


# E: transactions.


def transaction_event(event: str, reason: str, seq_no: int, transaction_id: str) -> dict[str, Any]:
    return {
        "eventType": event,
        "timestamp": NOW,
        "triggerReason": reason,
        "seqNo": seq_no,
        "transactionInfo": {"transactionId": transaction_id},
        "evse": {"id": 1, "connectorId": 1},
    }


def test_tc_e_53_csms() -> None:
    """Numbers that begin with 0 in each transaction: every TransactionEvent is answered."""
    sent = []
    with serving() as cs:
        answer_boots(cs, "Accepted")
        seen = serve_the_rest(cs)
        with station(cs) as point:
            assert boots(point, "1") == "Accepted"
            for transaction_id in ("T1", "T2"):
                steps = (("Started", "CablePluggedIn"), ("Updated", "ChargingStateChanged"), ("Ended", "EVDeparted"))
                for seq_no, (event, reason) in enumerate(steps):
                    payload = transaction_event(event, reason, seq_no, transaction_id)
                    sent.append(("TransactionEvent", payload))
                    message_id = f"{transaction_id}-{seq_no}"
                    assert point.call(message_id, "TransactionEvent", payload) == [3, message_id, {}]
        assert seen.items == sent


# F: remote control.


def test_tc_f_27_csms() -> None:
    """NotImplemented as the status of a TriggerMessage is a result like any other."""
    with serving() as cs:
        answer_boots(cs, "Accepted")
        serve_the_rest(cs)
        with station(cs) as point:
            assert boots(point, "1") == "Accepted"
            future = cs.submit_request(STATION, "TriggerMessage", {"requestedMessage": "LogStatusNotification"})
            point.send([3, point.read()[1], {"status": "NotImplemented"}])
            assert future.result(DEADLINE) == {"status": "NotImplemented"}
            assert point.call("2", "StatusNotification", STATUS) == [3, "2", {}]


# P: data of vendors.


@pytest.mark.parametrize("others", [False, True])
def test_tc_p_02_csms(others: bool) -> None:
    """DataTransfer of a vendor whom nobody knows, whether or not others are known."""
    with serving() as cs:
        answer_boots(cs, "Accepted")
        if others:
            cs.on_data_transfer("com.example")(lambda payload, metadata: {"status": "Accepted"})
        with station(cs) as point:
            assert boots(point, "1") == "Accepted"
            transfer = {"vendorId": "org.openchargealliance.costmsg", "messageId": "cost", "data": {"any": [1]}}
            assert point.call("2", "DataTransfer", transfer) == [3, "2", {"status": "UnknownVendorId"}]


def test_tc_p_03_csms() -> None:
    """A vendor's own data is let in wherever the message has a place for it."""
    custom = {"vendorId": "com.example", "deeper": {"still": [{"deeper": None}]}, "number": 1.5}
    status = {**STATUS, "customData": custom}
    event = transaction_event("Started", "CablePluggedIn", 0, "T1")
    event = {
        **event,
        "customData": custom,
        "transactionInfo": {**event["transactionInfo"], "customData": custom},
        "evse": {**event["evse"], "customData": custom},
    }
    with serving() as cs:
        answer_boots(cs, "Accepted")
        seen = serve_the_rest(cs)
        with station(cs) as point:
            assert boots(point, "1") == "Accepted"
            assert point.call("2", "StatusNotification", status) == [3, "2", {}]
            assert point.call("3", "TransactionEvent", event) == [3, "3", {}]
        assert seen.items == [("StatusNotification", status), ("TransactionEvent", event)]

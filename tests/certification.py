"""The charging station of the certification tests of OCPP 2.0.1 (Part 6 §3), and an application to test with it.

A case is a test with the case's id in its name. The station is bare text over TLS, with security profile 2. It checks
what holds in all cases: each message in either direction fits its schema, and each CALL gets its CALLRESULT.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import ssl
import uuid
from collections.abc import Iterator
from typing import Any

import jsonschema
from certificates import Authority
from support import DEADLINE, RawChargePoint, Recorder, basic, connected
from websockets.sync.client import connect

from ocppsync import (
    CentralSystem,
    Passwords,
    SecurityProfiles,
    ServerTLS,
    client_context,
    hash_password,
    message_schema,
)
from ocppsync.answers import CentralSystemAnswers

STATION = "CS001"
PASSWORD = "DEADBEEFDEADBEEF"
NOW = "2026-01-01T00:00:00Z"
BOOT = {"reason": "PowerUp", "chargingStation": {"model": "One", "vendorName": "Acme"}}
EVSES = (1, 2)
"""Each has a connector 1."""
EVSE = {"id": 1, "connectorId": 1}
VALID = {"idToken": "VALID1", "type": "ISO14443"}
INVALID = {"idToken": "INVALID1", "type": "ISO14443"}
ACCEPTED = {"status": "Accepted"}


class Application:
    """The default answers, but an unknown idToken is Invalid; records what the station sent."""

    def __init__(self) -> None:
        self.seen = Recorder()
        self._answers = CentralSystemAnswers()

    def __call__(self, request: Any, metadata: Any) -> Any:
        self.seen((request.action, request.payload))
        answer = self._answers(request, metadata)
        if request.payload.get("idToken") == INVALID:
            return {"idTokenInfo": {"status": "Invalid"}}
        return answer


@functools.cache
def _schema(action: str, kind: Any) -> Any:
    return jsonschema.Draft6Validator(message_schema(action, kind, "2.0.1"))


def check(action: str, kind: str, payload: Any) -> Any:
    """Return the payload, which must fit its schema."""
    _schema(action, kind).validate(payload)
    return payload


class Station:
    """The charging station of the test tool.

    Attributes:
        cs: the central system under test.
        application: what answers the station.
        sent: the action and the payload of each CALL that was answered with a CALLRESULT.
    """

    def __init__(self, cs: CentralSystem, application: Application, tls: ssl.SSLContext) -> None:
        self.cs = cs
        self.sent: list[tuple[str, Any]] = []
        self.application = application
        self._tls = tls
        self._changes = connected(cs)
        self._ids = (str(number) for number in itertools.count(1))
        self._connection = contextlib.ExitStack()

    def connect(self) -> None:
        header = {"Authorization": basic(STATION, PASSWORD.encode())}
        url = f"wss://localhost:{self.cs.port}/{STATION}"
        options: dict[str, Any] = {"ssl": self._tls, "additional_headers": header, "subprotocols": ["ocpp2.0.1"]}
        count = len(self._changes.items)
        websocket = connect(url, open_timeout=DEADLINE, close_timeout=1, **options)
        self._point = RawChargePoint(self._connection.enter_context(websocket))
        assert self._changes.wait(count + 1)[count:] == [(STATION, "connected")]

    def disconnect(self) -> None:
        count = len(self._changes.items)
        self._connection.close()
        assert self._changes.wait(count + 1)[count:] == [(STATION, "disconnected")]

    def call(self, action: str, payload: Any) -> Any:
        """Send a CALL, and return the payload of its CALLRESULT."""
        message_id = next(self._ids)
        kind, answered, *rest = self._point.call(message_id, action, check(action, "request", payload))
        assert (kind, answered, len(rest)) == (3, message_id, 1), rest
        self.sent.append((action, payload))
        return check(action, "response", rest[0])

    def refused(self, action: str, payload: Any) -> str:
        """Send a CALL, and return the code of its CALLERROR."""
        message_id = next(self._ids)
        kind, answered, code, _, details = self._point.call(message_id, action, check(action, "request", payload))
        assert (kind, answered, details) == (4, message_id, {})
        return str(code)

    def read(self, action: str) -> tuple[str, Any]:
        """Read the next message, which must be this CALL; return its id and payload."""
        kind, message_id, received, payload = self._point.read()
        assert (kind, received) == (2, action)
        return message_id, check(action, "request", payload)

    def answer(self, message_id: str, action: str, payload: Any) -> None:
        """Send a CALLRESULT."""
        self._point.send([3, message_id, check(action, "response", payload)])

    def asked(self, action: Any, payload: Any, answer: Any) -> Any:
        """Have the central system send a request, which must arrive as it is; answer it, and return what it got."""
        future = self.cs.submit_request(STATION, action, payload, version="2.0.1")
        message_id, received = self.read(action)
        assert received == payload
        self.answer(message_id, action, answer)
        result = future.result(DEADLINE)
        assert result == answer
        return result

    def boot(self, reason: str = "PowerUp") -> Any:
        answer = self.call("BootNotification", {**BOOT, "reason": reason})
        assert answer["interval"] >= 0
        return answer["status"]

    def booted(self) -> None:
        """The reusable state Booted."""
        assert self.boot() == "Accepted"
        for evse in EVSES:
            self.report_connector("Available", evse)

    def report_connector(self, status: str, evse: int = 1) -> None:
        """Report the state of a connector, in both of the ways that the tool may use."""
        assert self.call("StatusNotification", connector_status(status, evse)) == {}
        assert self.call("NotifyEvent", connector_event(status, evse)) == {}

    def check_all_arrived(self) -> None:
        """Check that the application saw what the station sent, in that order."""
        assert self.application.seen.items == self.sent

    def close(self) -> None:
        self._connection.close()


def connector_status(status: str, evse: int = 1) -> dict[str, Any]:
    return {"timestamp": NOW, "connectorStatus": status, "evseId": evse, "connectorId": 1}


def connector_event(status: str, evse: int = 1) -> dict[str, Any]:
    component = {"name": "Connector", "evse": {"id": evse, "connectorId": 1}}
    return event(component, "AvailabilityState", status)


def event(component: Any, variable: str, value: str, trigger: str = "Delta", **data: Any) -> dict[str, Any]:
    """Return a NotifyEvent with one event."""
    one = {
        "eventId": 1,
        "timestamp": NOW,
        "trigger": trigger,
        "actualValue": value,
        "eventNotificationType": "HardWiredNotification",
        "component": component,
        "variable": {"name": variable},
        **data,
    }
    return {"generatedAt": one["timestamp"], "seqNo": 0, "eventData": [one]}


def meter_value(context: str, timestamp: str = NOW, *, signed: bool = False) -> dict[str, Any]:
    sampled: dict[str, Any] = {"value": 0.0, "context": context}
    if signed:
        sampled["signedMeterValue"] = {
            "signedMeterData": "T0NNRnx7fQ==",
            "signingMethod": "ECDSA-secp256r1-SHA256",
            "encodingMethod": "OCMF",
            "publicKey": "MFkwEwYH",
        }
    return {"timestamp": timestamp, "sampledValue": [sampled]}


class Transaction:
    """A transaction of the station; its methods execute the reusable states of the cases."""

    def __init__(self, station: Station, evse: int = 1) -> None:
        self.id = str(uuid.uuid4())
        self.seq_no = 0
        self._station = station
        self._evse = evse
        self._done: set[str] = set()

    def event(
        self,
        trigger: str,
        kind: str = "Updated",
        *,
        state: str | None = None,
        stopped: str | None = None,
        seq_no: int | None = None,
        **fields: Any,
    ) -> Any:
        """Send a TransactionEvent; return its answer, which accepts the idToken if there is one."""
        if seq_no is None:
            seq_no, self.seq_no = self.seq_no, self.seq_no + 1
        info = {"transactionId": self.id}
        info |= {"chargingState": state} if state else {}
        info |= {"stoppedReason": stopped} if stopped else {}
        answer = self._station.call(
            "TransactionEvent",
            {
                "eventType": kind,
                "timestamp": NOW,
                "triggerReason": trigger,
                "seqNo": seq_no,
                "transactionInfo": info,
                **fields,
            },
        )
        if fields.get("idToken") == VALID:
            assert answer["idTokenInfo"]["status"] == "Accepted"
        return answer

    def authorized(self) -> None:
        """The reusable state Authorized."""
        authorize(self._station)
        self.event("Authorized", self._first_or_next(), idToken=VALID)
        self._done.add("authorized")

    def ev_connected(self, **fields: Any) -> None:
        """The reusable state EVConnectedPreSession."""
        self._station.report_connector("Occupied", self._evse)
        evse = {"id": self._evse, "connectorId": 1}
        self.event("CablePluggedIn", self._first_or_next(), state="EVConnected", evse=evse, **fields)
        self._done.add("connected")

    def energy_transfer_started(self) -> Transaction:
        """The reusable state EnergyTransferStarted."""
        if "authorized" not in self._done:
            self.authorized()
        if "connected" not in self._done:
            self.ev_connected()
        self.event("ChargingStateChanged", state="Charging")
        self._done.add("charging")
        return self

    def energy_transfer_suspended(self) -> None:
        """The reusable state EnergyTransferSuspended."""
        self._require("charging", self.energy_transfer_started)
        self.event("ChargingStateChanged", state="SuspendedEV")

    def stop_authorized(self) -> None:
        """The reusable state StopAuthorized."""
        self._require("charging", self.energy_transfer_started)
        self.event("StopAuthorized", idToken=VALID)
        self._done.add("stop authorized")

    def ev_connected_post_session(self) -> None:
        """The reusable state EVConnectedPostSession."""
        self._require("stop authorized", self.stop_authorized)
        self.event("ChargingStateChanged", state="EVConnected")
        self._done.add("post session")

    def ev_disconnected(self, **fields: Any) -> None:
        """The reusable state EVDisconnected."""
        self._require("post session", self.ev_connected_post_session)
        self._station.report_connector("Available", self._evse)
        self.event("EVCommunicationLost", "Ended", state="Idle", stopped="EVDisconnected", **fields)

    def _require(self, state: str, execute: Any) -> None:
        if state not in self._done:
            execute()

    def _first_or_next(self) -> str:
        return "Updated" if self.seq_no else "Started"


def authorize(station: Station) -> None:
    """Send an Authorize for the valid idToken, which must be accepted."""
    assert station.call("Authorize", {"idToken": VALID})["idTokenInfo"]["status"] == "Accepted"


@contextlib.contextmanager
def csms(authority: Authority, application: Application, **options: Any) -> Iterator[CentralSystem]:
    """A central system that requires security profile 2."""
    passwords = Passwords({STATION: functools.partial(hash_password, n=2)(PASSWORD)})
    options.setdefault("security", SecurityProfiles(passwords=passwords, minimum_profile=2))
    tls = ServerTLS([authority.issue()], client_ca=authority.certificate, client_certificates="optional")
    with CentralSystem(0, application, host="127.0.0.1", ssl_context=tls, **options) as cs:
        yield cs


@contextlib.contextmanager
def connected_station(authority: Authority, application: Application, **options: Any) -> Iterator[Station]:
    """A connected station that has not booted; at the end, the application must have seen all that it sent."""
    with csms(authority, application, **options) as cs:
        station = Station(cs, application, client_context(authority.certificate))
        with contextlib.closing(station):
            station.connect()
            yield station
        station.check_all_arrived()

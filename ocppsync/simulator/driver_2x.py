"""What a simulated charging station says in OCPP 2.0.1 and 2.1."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from ..answers.charging_station_2x import ChargingStationAnswers
from ..answers.table import Answer
from ..clock import utc_now
from .driver import Controls, Effects, EVDriver, Phase, Session, VersionDriver
from .meter import Meter

if TYPE_CHECKING:
    from ..v201 import (
        BootNotificationResponse,
        BootReasonEnumType,
        ChargingStateEnumType,
        ConnectorStatusEnumType,
        ReadingContextEnumType,
        TriggerReasonEnumType,
    )

__all__ = ["Driver2x"]

_STATUSES: Mapping[Phase, ConnectorStatusEnumType] = {
    "Available": "Available",
    "Unavailable": "Unavailable",
    "Preparing": "Occupied",
    "Charging": "Occupied",
    "Finishing": "Occupied",
}
# Why the event is sent that ends a transaction, by why it ends.
_TRIGGERS: Mapping[str, TriggerReasonEnumType] = {
    "DeAuthorized": "Deauthorized",
    "ImmediateReset": "ResetCommand",
    "Local": "StopAuthorized",
    "Other": "AbnormalCondition",
    "Remote": "RemoteStop",
}
# What TriggerMessage makes it send, where that does not depend on its state: nothing is ever under way.
_TRIGGERED: Mapping[str, Answer] = {
    "FirmwareStatusNotification": {"status": "Idle"},
    "Heartbeat": {},
    "LogStatusNotification": {"status": "Idle"},
}


class Driver2x(VersionDriver):
    """A charging station of one EVSE with one connector, which speaks OCPP 2.0.1 or 2.1; see `VersionDriver`.

    A transaction begins and ends with the authorization: TxStartPoint and TxStopPoint are Authorized (2/201 E01, E06).
    """

    connectors = (1,)

    def __init__(
        self,
        charge_point_id: str,
        send: Callable[[Any, Any], Any],
        meter: Meter,
        random: Random,
        answers: ChargingStationAnswers,
    ) -> None:
        super().__init__(charge_point_id, send, meter, random)
        self._answers: ChargingStationAnswers = answers
        self._boot_reason: BootReasonEnumType = "PowerUp"
        self._driver: EVDriver | None = None
        self._numbers = itertools.count()

    @property
    def heartbeat_interval(self) -> int:
        """Seconds between Heartbeats, as it is set; 0: none."""
        return int(self._answers.device_model["OCPPCommCtrlr", "HeartbeatInterval"].value)

    @heartbeat_interval.setter
    def heartbeat_interval(self, seconds: int) -> None:
        self._answers.device_model["OCPPCommCtrlr", "HeartbeatInterval"].value = str(seconds)

    @property
    def authorizes_remote_starts(self) -> bool:
        """Whether Authorize comes before a session that was started from afar."""
        return self._answers.device_model["AuthCtrlr", "AuthorizeRemoteStart"].value.lower() == "true"

    def effects(self, controls: Controls) -> Effects:
        """Return what it does after having agreed to a request."""
        return {
            "ChangeAvailability": lambda payload: controls.change_availability(
                payload["operationalStatus"] == "Operative"
            ),
            "GetBaseReport": self._report,
            "GetReport": self._report,
            "RequestStartTransaction": lambda payload: controls.signal(
                driver=EVDriver(payload["idToken"]["idToken"], payload["idToken"]["type"], payload["remoteStartId"])
            ),
            "RequestStopTransaction": lambda payload: controls.signal(interruption="Remote"),
            "Reset": lambda payload: self._reset(payload, controls),
            "SetVariables": lambda payload: controls.signal(),
            "TriggerMessage": lambda payload: self._trigger(payload, controls),
            "UpdateFirmware": lambda payload: self._send(
                "FirmwareStatusNotification", {"status": "DownloadFailed", "requestId": payload["requestId"]}
            ),
        }

    def boot(self) -> BootNotificationResponse:
        """Send BootNotification; return the answer."""
        model = self._answers.device_model
        answer: BootNotificationResponse = self._send(
            "BootNotification",
            {
                "reason": self._boot_reason,
                "chargingStation": {
                    "vendorName": model["ChargingStation", "VendorName"].value,
                    "model": model["ChargingStation", "Model"].value,
                    "serialNumber": self._charge_point_id[:25],
                    "firmwareVersion": "1.0",
                },
            },
        )
        if answer["status"] == "Accepted":
            self._boot_reason = "PowerUp"
        return answer

    def enter(self, phase: Phase) -> None:
        """Go over to a phase, and tell it where the central system can see it."""
        before, self.phase = self.phase, phase
        if phase == "Charging":
            self._send_event("Updated", "ChargingStateChanged", state="Charging")
        elif _STATUSES[phase] != _STATUSES[before]:
            self.report_status(1)

    def report_status(self, connector_id: int) -> None:
        """Send the status of a connector."""
        status = _STATUSES[self.phase]
        self._answers.show(status)
        self._send(
            "StatusNotification",
            {"evseId": 1, "connectorId": connector_id, "connectorStatus": status, "timestamp": utc_now()},
        )

    def authorize(self, driver: EVDriver) -> bool:
        """Send Authorize; return whether the driver is accepted."""
        return bool(self._send("Authorize", {"idToken": _token(driver)})["idTokenInfo"]["status"] == "Accepted")

    def begin(self, driver: EVDriver) -> bool:
        """Start a transaction, and let the answers know its id; return whether the driver is accepted."""
        self._numbers, self._driver = itertools.count(), driver
        transaction_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        remote = driver.remote_start_id is not None
        answer = self._send_event(
            "Started",
            "RemoteStart" if remote else "Authorized",
            transaction_id,
            {"remoteStartId": driver.remote_start_id} if remote else {},
            state="EVConnected",
            idToken=_token(driver),
            evse={"id": 1, "connectorId": 1},
            meterValue=[self._register("Transaction.Begin")],
        )
        self._answers.transaction_id = transaction_id
        return bool(answer.get("idTokenInfo", {"status": "Accepted"})["status"] == "Accepted")

    def report_meter(self) -> None:
        """Send what the meter shows, during a transaction."""
        self._send_event("Updated", "MeterValuePeriodic", meterValue=[self._meter_value("Sample.Periodic")])

    def end(self, session: Session) -> None:
        """Stop a transaction."""
        # Whose token it was that ended it is told where a driver did.
        token = {"idToken": _token(self._driver)} if self._driver is not None and session.reason == "Local" else {}
        self._send_event(
            "Ended",
            _TRIGGERS[session.reason],
            session.transaction_id,
            {"stoppedReason": session.reason},
            state="EVConnected",
            meterValue=[self._register("Transaction.End")],
            **token,
        )

    def _send_event(
        self,
        kind: str,
        trigger: TriggerReasonEnumType,
        transaction_id: int | str | None = None,
        information: Mapping[str, Any] | None = None,
        *,
        state: ChargingStateEnumType | None = None,
        **fields: Any,
    ) -> Any:
        transaction = {
            "transactionId": transaction_id or self._answers.transaction_id,
            # Which is needed only where it is another than before (2/201, TransactionType).
            **({} if state is None else {"chargingState": state}),
            **(information or {}),
        }
        event = {
            "eventType": kind,
            "timestamp": utc_now(),
            "triggerReason": trigger,
            "seqNo": next(self._numbers),
            "offline": False,
            "transactionInfo": transaction,
        }
        return self._send("TransactionEvent", {**event, **fields})

    # What was asked for.

    def _reset(self, payload: Any, controls: Controls) -> None:
        # The answer to OnIdle was Scheduled if a transaction runs, which then ends as its driver wants it to.
        if payload["type"] == "Immediate":
            self._boot_reason = "RemoteReset"
            controls.signal(interruption="ImmediateReset", resetting=True)
        else:
            self._boot_reason = "RemoteReset" if self._answers.transaction_id is None else "ScheduledReset"
            controls.signal(resetting=True)

    def _report(self, payload: Any) -> None:
        for part in self._answers.reports(payload):
            self._send("NotifyReport", part)

    def _trigger(self, payload: Any, controls: Controls) -> None:
        wanted = payload["requestedMessage"]
        if wanted == "BootNotification":
            self._boot_reason = "Triggered"
            controls.boot()
        elif wanted == "MeterValues":
            self._send("MeterValues", {"evseId": 1, "meterValue": [self._meter_value("Trigger")]})
        elif wanted == "StatusNotification":
            self.report_status(1)
        elif wanted == "TransactionEvent":
            self._send_event("Updated", "Trigger", meterValue=[self._meter_value("Trigger")])
        elif wanted in _TRIGGERED:
            self._send(wanted, _TRIGGERED[wanted])

    def _register(self, context: ReadingContextEnumType) -> Answer:
        value = self._meter_value(context)
        return {**value, "sampledValue": value["sampledValue"][:1]}

    def _meter_value(self, context: ReadingContextEnumType) -> Answer:
        samples = [
            {"value": value, "measurand": measurand, "unitOfMeasure": {"unit": unit}, "context": context}
            for measurand, value, unit in self._meter.readings()
        ]
        return {"timestamp": utc_now(), "sampledValue": samples}


def _token(driver: EVDriver) -> Answer:
    return {"idToken": driver.id_tag, "type": driver.kind}

"""The messages of a simulated charging station in OCPP 2.0.1 and 2.1."""

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
    "SuspendedEVSE": "Occupied",
    "Finishing": "Occupied",
    "Reserved": "Reserved",
}
# The triggerReason of the event that ends a transaction, by its stoppedReason.
_TRIGGERS: Mapping[str, TriggerReasonEnumType] = {
    "DeAuthorized": "Deauthorized",
    "ImmediateReset": "ResetCommand",
    "Local": "StopAuthorized",
    "Other": "AbnormalCondition",
    "Remote": "RemoteStop",
}


class Driver2x(VersionDriver):
    """A charging station with one EVSE and one connector, for OCPP 2.0.1 or 2.1; see `VersionDriver`.

    Authorization starts and ends a transaction: TxStartPoint and TxStopPoint are Authorized (2/201 E01, E06).
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
        self._sequence_numbers = itertools.count()

    @property
    def heartbeat_interval(self) -> int:
        """The configured seconds between Heartbeats; 0: no Heartbeats."""
        return int(self._answers.device_model["OCPPCommCtrlr", "HeartbeatInterval"].value)

    @heartbeat_interval.setter
    def heartbeat_interval(self, seconds: int) -> None:
        self._answers.device_model["OCPPCommCtrlr", "HeartbeatInterval"].value = str(seconds)

    @property
    def authorizes_remote_starts(self) -> bool:
        """Whether the charge point sends Authorize before a session that was started remotely."""
        return self._answers.device_model["AuthCtrlr", "AuthorizeRemoteStart"].value.lower() == "true"

    def effects(self, controls: Controls) -> Effects:
        """Return the functions that carry out accepted requests."""
        return {
            "ChangeAvailability": lambda payload: controls.change_availability(
                payload["operationalStatus"] == "Operative"
            ),
            "GetBaseReport": self._report,
            "GetReport": self._report,
            "RequestStartTransaction": lambda payload: controls.signal(
                driver=EVDriver(
                    payload["idToken"]["idToken"],
                    payload["idToken"]["type"],
                    payload["remoteStartId"],
                    charging_profile=payload.get("chargingProfile"),
                    group=payload.get("groupIdToken", {}).get("idToken"),
                )
            ),
            "RequestStopTransaction": lambda payload: controls.signal(interruption="Remote"),
            "Reset": lambda payload: self._reset(payload, controls),
            "SetVariables": lambda payload: controls.signal(),
            "TriggerMessage": lambda payload: self._trigger(payload, controls),
        }

    def install_firmware(self, version: str) -> None:
        """Report another firmware version from the next boot on, and that it is the reason for that."""
        super().install_firmware(version)
        self._boot_reason = "FirmwareUpdate"

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
                    "firmwareVersion": self.firmware_version,
                },
            },
        )
        if answer["status"] == "Accepted":
            self._boot_reason = "PowerUp"
        return answer

    def enter(self, phase: Phase) -> None:
        """Change to a phase, and report it if it changes a status of 2.x."""
        before, self.phase = self.phase, phase
        if phase in ("Charging", "SuspendedEVSE"):
            self._send_event("Updated", "ChargingStateChanged", state=phase)
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
        info = self._send("Authorize", {"idToken": _token(driver)})["idTokenInfo"]
        self.group = info.get("groupIdToken", {}).get("idToken")
        return bool(info["status"] == "Accepted")

    def begin(self, driver: EVDriver) -> bool:
        """Start a transaction, and store its id in the answers; return whether the driver is accepted."""
        self._sequence_numbers, self._driver = itertools.count(), driver
        transaction_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        remote = driver.remote_start_id is not None
        # Requests about the transaction may arrive before the answer to its first event.
        self._answers.transaction_id = transaction_id
        try:
            answer = self._send_event(
                "Started",
                "RemoteStart" if remote else "Authorized",
                transaction_id,
                {"remoteStartId": driver.remote_start_id} if remote else {},
                state="EVConnected",
                idToken=_token(driver),
                evse={"id": 1, "connectorId": 1},
                meterValue=[self._register("Transaction.Begin")],
                **({} if driver.reservation_id is None else {"reservationId": driver.reservation_id}),
            )
        except BaseException:
            self._answers.transaction_id = None
            raise
        return bool(answer.get("idTokenInfo", {"status": "Accepted"})["status"] == "Accepted")

    def change_rate(self, before: float, now: float) -> None:
        """Report that the limit has changed the current, in A, if by more than LimitChangeSignificance (in percent)."""
        significance = float(self._answers.device_model["SmartChargingCtrlr", "LimitChangeSignificance"].value)
        if abs(now - before) * 100 > before * significance:
            self._send_event("Updated", "ChargingRateChanged", meterValue=[self._meter_value("Other")])

    def report_meter(self) -> None:
        """Send the meter readings of the transaction."""
        self._send_event("Updated", "MeterValuePeriodic", meterValue=[self._meter_value("Sample.Periodic")])

    def end(self, session: Session) -> None:
        """Stop a transaction."""
        # The idToken of the driver, if the driver ended the transaction.
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
            # Required only after a change (2/201, TransactionType).
            **({} if state is None else {"chargingState": state}),
            **(information or {}),
        }
        event = {
            "eventType": kind,
            "timestamp": utc_now(),
            "triggerReason": trigger,
            "seqNo": next(self._sequence_numbers),
            "offline": False,
            "transactionInfo": transaction,
        }
        return self._send("TransactionEvent", {**event, **fields})

    # Accepted requests.

    def _reset(self, payload: Any, controls: Controls) -> None:
        # OnIdle was answered with Scheduled during a transaction, and waits until the driver ends it.
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
        requested = payload["requestedMessage"]
        if requested == "BootNotification":
            self._boot_reason = "Triggered"
            controls.boot()
        elif requested == "MeterValues":
            self._send("MeterValues", {"evseId": 1, "meterValue": [self._meter_value("Trigger")]})
        elif requested == "StatusNotification":
            self.report_status(1)
        elif requested == "TransactionEvent":
            self._send_event("Updated", "Trigger", meterValue=[self._meter_value("Trigger")])
        elif requested == "Heartbeat":
            self._send(requested, {})
        elif requested in ("FirmwareStatusNotification", "LogStatusNotification"):
            self._send(requested, controls.status_notification(requested))

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

"""The messages of a simulated charging station in OCPP 2.0.1 and 2.1."""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from ..answers.charging_station_2x import ChargingStationAnswers
from ..answers.local_authorization import token
from ..answers.table import Answer
from ..clock import utc_now
from .delivery import Delivery
from .driver import Controls, Effects, EVDriver, Phase, Session, VersionDriver
from .meter import Meter
from .timetable import Job

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
# The phases that begin with an event of their own: the chargingState changes.
_CHARGING_STATES: Mapping[Phase, ChargingStateEnumType] = {"Charging": "Charging", "SuspendedEVSE": "SuspendedEVSE"}
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
        delivery: Delivery,
        meter: Meter,
        random: Random,
        answers: ChargingStationAnswers,
    ) -> None:
        super().__init__(charge_point_id, send, delivery, meter, random, answers)
        self._answers: ChargingStationAnswers = answers
        self._boot_reason: BootReasonEnumType = "PowerUp"
        self._driver: EVDriver | None = None
        self._sequence_numbers = itertools.count()
        self._charging_state: ChargingStateEnumType = "EVConnected"
        # An entry for each TransactionEvent that was triggered and is not sent. Only the thread that charges makes
        # events: so they are sent in the order of their numbers, also after failures (2/201 E13.FR.02).
        self._triggered: deque[None] = deque()

    @property
    def back_off(self) -> tuple[float, int, float]:
        """The shortest wait before a new attempt to connect, how often it doubles, and the random part (4/201 §5.3)."""
        names = ("RetryBackOffWaitMinimum", "RetryBackOffRepeatTimes", "RetryBackOffRandomRange")
        minimum, repeats, extra = (int(self._answers.device_model["OCPPCommCtrlr", name].value) for name in names)
        return minimum, repeats, extra

    def send_triggered(self) -> None:
        """Send the TransactionEvents that were triggered (2/201 F06.FR.07)."""
        while self._triggered:
            self._triggered.popleft()
            self._send_event("Updated", "Trigger", **self._readings("MeterValuesSampledData", "Trigger"))

    def keep_heartbeat_interval(self, seconds: int) -> None:
        """Store the seconds between Heartbeats from the answer to BootNotification."""
        self._answers.device_model["OCPPCommCtrlr", "HeartbeatInterval"].value = str(seconds)

    def samples(self) -> Sequence[Job]:
        """Return what to do periodically from the start of a transaction (2/201 J02.FR.11)."""
        number, measurands = self._answers.number, self._answers.measurands
        return [
            Job(
                lambda: number("MeterValueSampleInterval"),
                lambda: self._send_readings("MeterValuesSampledData", "MeterValuePeriodic", "Sample.Periodic"),
            ),
            Job(
                lambda: number("SampledTxEndedInterval"),
                lambda: self._data.add(measurands("StopTxnSampledData"), "Sample.Periodic"),
            ),
        ]

    def aligned(self) -> Sequence[Job]:
        """Return what to do periodically from midnight (2/201 J01.FR.14, J01.FR.22)."""
        number = self._answers.number
        return [
            Job(lambda: number("ClockAlignedDataInterval"), self._align),
            Job(lambda: number("AlignedTxEndedInterval"), self._align_ended),
        ]

    def effects(self, controls: Controls) -> Effects:
        """Return the functions that carry out accepted requests."""
        return {
            "ChangeAvailability": lambda payload: controls.report_availability(),
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
        if phase in _CHARGING_STATES:
            self._send_event("Updated", "ChargingStateChanged", state=_CHARGING_STATES[phase])
        elif _STATUSES[phase] != _STATUSES[before]:
            self.report_status(1)

    def report_status(self, connector_id: int) -> None:
        """Send the status of a connector."""
        with self._reporting:
            status = _STATUSES[self.phase]
            self._answers.show(status)
            self._send(
                "StatusNotification",
                {"evseId": 1, "connectorId": connector_id, "connectorStatus": status, "timestamp": utc_now()},
            )

    def authorize(self, driver: EVDriver, *, ask: bool = False) -> bool:
        """Return whether the driver is accepted; see `VersionDriver.authorize`."""
        if not ask and self._answers.knows_as_accepted(_key(driver)):
            return True
        info = self._send("Authorize", {"idToken": _token(driver)})["idTokenInfo"]
        self.group = info.get("groupIdToken", {}).get("idToken")
        self._answers.learn(_key(driver), info)
        return bool(info["status"] == "Accepted")

    def begin(self, driver: EVDriver) -> bool:
        """Start a transaction, and store its id in the answers; return whether the driver is accepted."""
        self._sequence_numbers, self._driver = itertools.count(), driver
        self._triggered.clear()
        transaction_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        remote = driver.remote_start_id is not None
        self._data.begin(self._answers.measurands("StopTxnSampledData"))
        answer = self._send_event(
            "Started",
            "RemoteStart" if remote else "Authorized",
            transaction_id,
            {"remoteStartId": driver.remote_start_id} if remote else {},
            state="EVConnected",
            idToken=_token(driver),
            evse={"id": 1, "connectorId": 1},
            **({} if driver.reservation_id is None else {"reservationId": driver.reservation_id}),
            **self._readings("SampledTxStartedMeasurands", "Transaction.Begin"),
        )
        info = answer.get("idTokenInfo", {"status": "Accepted"})
        return bool(info["status"] == "Accepted")

    def change_rate(self, before: float, now: float) -> None:
        """Report that the limit has changed the current, in A, if by more than LimitChangeSignificance (in percent)."""
        significance = float(self._answers.device_model["SmartChargingCtrlr", "LimitChangeSignificance"].value)
        if abs(now - before) * 100 > before * significance:
            self._send_event("Updated", "ChargingRateChanged", **self._readings("MeterValuesSampledData", "Other"))

    def end(self, session: Session) -> None:
        """Stop a transaction."""
        self.send_triggered()
        # The idToken of the driver, if the driver ended the transaction.
        driver = {"idToken": _token(self._driver)} if self._driver is not None and session.reason == "Local" else {}
        data = self._data.end(self._answers.measurands("StopTxnSampledData"))
        self._send_event(
            "Ended",
            _TRIGGERS[session.reason],
            session.transaction_id,
            {"stoppedReason": session.reason},
            state="EVConnected",
            **({"meterValue": data} if data else {}),
            **driver,
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
    ) -> Mapping[str, Any]:
        """Send an event of the transaction, and return the answer; nothing if it was discarded, or if none runs."""
        transaction_id = transaction_id or self._answers.transaction_id
        if transaction_id is None:
            return {}
        if kind == "Started":
            # Requests about the transaction may arrive before the answer to this event.
            self._answers.transaction_id = transaction_id
        self._charging_state = state or self._charging_state
        reported = state or (self._charging_state if trigger == "Trigger" else None)
        transaction = {
            "transactionId": transaction_id,
            # Required after a change (2/201, TransactionType), and on request (F06.FR.07).
            **({} if reported is None else {"chargingState": reported}),
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
        if kind == "Ended":
            self._answers.transaction_id = None
        answer: Mapping[str, Any] = self._delivery.post("TransactionEvent", {**event, **fields}) or {}
        if "idToken" in fields and self._driver is not None:
            self._answers.learn(_key(self._driver), answer.get("idTokenInfo"))
        return answer

    # Meter values.

    def _send_readings(self, key: str, trigger: TriggerReasonEnumType, context: ReadingContextEnumType) -> None:
        readings = self._readings(key, context)
        if readings:
            self._send_event("Updated", trigger, **readings)

    def _align(self) -> None:
        if self._answers.transaction_id is not None:
            self._send_readings("MeterValuesAlignedData", "MeterValueClock", "Sample.Clock")
        else:
            self._send_meter_values(1, "Sample.Clock")

    def _align_ended(self) -> None:
        if self._answers.transaction_id is not None:
            self._data.add(self._answers.measurands("StopTxnAlignedData"), "Sample.Clock")

    def _send_meter_values(self, evse_id: int, context: ReadingContextEnumType) -> None:
        readings = self._readings("MeterValuesAlignedData", context)
        if readings:
            self._send("MeterValues", {"evseId": evse_id, **readings})

    def _readings(self, key: str, context: ReadingContextEnumType) -> Answer:
        value = self._meter_value(self._answers.measurands(key), context)
        return {} if value is None else {"meterValue": [value]}

    def _meter_value(self, measurands: Sequence[str], context: ReadingContextEnumType) -> Answer | None:
        samples = [
            {"value": value, "measurand": measurand, "unitOfMeasure": {"unit": unit}, "context": context}
            for measurand, value, unit in self._meter.readings(measurands)
        ]
        return {"timestamp": utc_now(), "sampledValue": samples} if samples else None

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
            # 2/201 F06.FR.06, F06.FR.11: without an EVSE, for all; 0 is the charging station.
            for evse_id in [payload["evse"]["id"]] if "evse" in payload else (0, 1):
                self._send_meter_values(evse_id, "Trigger")
        elif requested == "StatusNotification":
            self.report_status(1)
        elif requested == "TransactionEvent":
            self._triggered.append(None)
            controls.signal()
        elif requested == "Heartbeat":
            self._send(requested, {})
        elif requested in ("FirmwareStatusNotification", "LogStatusNotification"):
            self._send(requested, controls.status_notification(requested))


def _token(driver: EVDriver) -> Answer:
    return {"idToken": driver.id_tag, "type": driver.kind}


def _key(driver: EVDriver) -> tuple[str, ...]:
    return token(driver.id_tag, driver.kind)

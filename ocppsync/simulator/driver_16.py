"""The messages of a simulated charge point in OCPP 1.6."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from ..answers.availability import STATION
from ..answers.charge_point_16 import ChargePointAnswers
from ..answers.local_authorization import token
from ..answers.table import Answer
from ..clock import utc_now
from .delivery import Delivery
from .driver import Controls, Effects, EVDriver, Phase, Session, VersionDriver
from .meter import Meter
from .timetable import Job

if TYPE_CHECKING:
    from ..v16 import BootNotificationResponse, ChargePointErrorCode, ReadingContext

__all__ = ["Driver16"]

_STATUS_NOTIFICATIONS = ("DiagnosticsStatusNotification", "FirmwareStatusNotification", "LogStatusNotification")


class Driver16(VersionDriver):
    """A charge point with one connector, for OCPP 1.6; see `VersionDriver`."""

    connectors = (0, 1)

    def __init__(
        self,
        charge_point_id: str,
        send: Callable[[Any, Any], Any],
        delivery: Delivery,
        meter: Meter,
        random: Random,
        answers: ChargePointAnswers,
    ) -> None:
        super().__init__(charge_point_id, send, delivery, meter, random, answers)
        self._answers: ChargePointAnswers = answers
        self._reported_station = ""

    @property
    def is_resting(self) -> bool:
        """Whether the reported states of both connectors are those of a charge point at which no vehicle charges."""
        return super().is_resting and self._reported_station == self._station_status

    def rest(self) -> None:
        """Change to the resting phase, and report what has changed (C16 §5.2)."""
        if self._reported_station != self._station_status:
            self.report_status(0)
        if not super().is_resting:
            super().rest()

    def keep_heartbeat_interval(self, seconds: int) -> None:
        """Store the seconds between Heartbeats from the answer to BootNotification."""
        self._answers.configuration["heartbeatinterval"].value = str(seconds)

    def samples(self) -> Sequence[Job]:
        """Return what to do periodically from the start of a transaction (C16 §9.1.19)."""
        return [Job(lambda: self._answers.number("MeterValueSampleInterval"), self._sample)]

    def aligned(self) -> Sequence[Job]:
        """Return what to do periodically from midnight (C16 §9.1.5)."""
        return [Job(lambda: self._answers.number("ClockAlignedDataInterval"), self._align)]

    def effects(self, controls: Controls) -> Effects:
        """Return the functions that carry out accepted requests."""
        return {
            "ChangeAvailability": lambda payload: controls.report_availability(),
            "ChangeConfiguration": lambda payload: controls.signal(),
            "ExtendedTriggerMessage": lambda payload: self._trigger(payload, controls, extended=True),
            "RemoteStartTransaction": lambda payload: controls.signal(
                driver=EVDriver(payload["idTag"], charging_profile=payload.get("chargingProfile"))
            ),
            "RemoteStopTransaction": lambda payload: controls.signal(interruption="Remote"),
            "Reset": lambda payload: controls.signal(interruption=f"{payload['type']}Reset", resetting=True),
            "TriggerMessage": lambda payload: self._trigger(payload, controls),
            "UnlockConnector": lambda payload: controls.signal(interruption="UnlockCommand"),
        }

    def boot(self) -> BootNotificationResponse:
        """Send BootNotification; return the answer."""
        answer: BootNotificationResponse = self._send(
            "BootNotification",
            {
                "chargePointVendor": "ocppsync",
                "chargePointModel": "Simulator",
                "chargePointSerialNumber": self._charge_point_id[:25],
                "firmwareVersion": self.firmware_version,
            },
        )
        return answer

    def enter(self, phase: Phase) -> None:
        """Change to a phase, and report it."""
        self.phase = phase
        self.report_status(1)

    def report_status(self, connector_id: int, error: ChargePointErrorCode = "NoError") -> None:
        """Send the status of a connector."""
        with self._reporting:
            # C16 §4.9: connector 0 is the charge point itself, which has fewer states.
            status = self.phase if connector_id else self._station_status
            if not connector_id:
                self._reported_station = status
            payload = {"connectorId": connector_id, "status": status, "errorCode": error, "timestamp": utc_now()}
            self._send("StatusNotification", payload)

    def authorize(self, driver: EVDriver, *, ask: bool = False) -> bool:
        """Return whether the driver is accepted; see `VersionDriver.authorize`."""
        if not ask and self._answers.knows_as_accepted(token(driver.id_tag)):
            return True
        info = self._send("Authorize", {"idTag": driver.id_tag})["idTagInfo"]
        self.group = info.get("parentIdTag")
        self._answers.learn(token(driver.id_tag), info)
        return bool(info["status"] == "Accepted")

    def begin(self, driver: EVDriver) -> bool:
        """Start a transaction, and store its id in the answers; return whether the driver is accepted."""
        payload = {"connectorId": 1, "idTag": driver.id_tag, "meterStart": self._meter.register, "timestamp": utc_now()}
        if driver.reservation_id is not None:
            payload["reservationId"] = driver.reservation_id
        self._data.begin(self._answers.measurands("StopTxnSampledData"))
        answer = self._delivery.send("StartTransaction", payload)
        self._answers.transaction_id = answer["transactionId"]
        accepted = bool(answer["idTagInfo"]["status"] == "Accepted")
        self._answers.learn(token(driver.id_tag), answer["idTagInfo"])
        listed = self._answers.local_list.get(token(driver.id_tag))
        if listed is not None and listed.accepted is not accepted and self._answers.flag("LocalAuthListEnabled"):
            self.report_status(0, "LocalListConflict")  # C16 §3.5.2
        return accepted

    def end(self, session: Session) -> None:
        """Stop a transaction."""
        data = self._data.end(self._answers.measurands("StopTxnSampledData"))
        payload = {
            "transactionId": session.transaction_id,
            "idTag": session.id_tag,
            "meterStop": session.meter_stop,
            "timestamp": utc_now(),
            "reason": session.reason,
            **({"transactionData": data} if data else {}),
        }
        answer = self._delivery.post("StopTransaction", payload)
        self._answers.learn(token(session.id_tag), (answer or {}).get("idTagInfo"))

    @property
    def _station_status(self) -> Phase:
        return "Available" if self._answers.availability.is_operative(STATION) else "Unavailable"

    def _sample(self) -> None:
        self._data.add(self._answers.measurands("StopTxnSampledData"), "Sample.Periodic")
        self._send_meter_values("MeterValuesSampledData", "Sample.Periodic")

    def _align(self) -> None:
        if self._answers.transaction_id is not None:
            self._data.add(self._answers.measurands("StopTxnAlignedData"), "Sample.Clock")
        self._send_meter_values("MeterValuesAlignedData", "Sample.Clock")

    def _send_meter_values(self, key: str, context: ReadingContext) -> None:
        value = self._meter_value(self._answers.measurands(key), context)
        if value is not None:
            self._delivery.post("MeterValues", self._about_the_connector(value))

    def _about_the_connector(self, value: Answer) -> Answer:
        transaction_id = self._answers.transaction_id
        transaction = {} if transaction_id is None else {"transactionId": transaction_id}
        return {"connectorId": 1, **transaction, "meterValue": [value]}

    def _meter_value(self, measurands: Sequence[str], context: ReadingContext) -> Answer | None:
        samples = [
            {"value": f"{value}", "measurand": measurand, "unit": unit, "context": context}
            for measurand, value, unit in self._meter.readings(measurands)
        ]
        return {"timestamp": utc_now(), "sampledValue": samples} if samples else None

    # Accepted requests.

    def _trigger(self, payload: Any, controls: Controls, *, extended: bool = False) -> None:
        requested = payload["requestedMessage"]
        # C16 §5.17: without a connector, for all of them.
        connectors = [payload["connectorId"]] if "connectorId" in payload else self.connectors
        if requested == "BootNotification":
            controls.boot()
        elif requested == "MeterValues":
            for connector_id in connectors:
                self._trigger_meter_values(connector_id)
        elif requested == "StatusNotification":
            for connector_id in connectors:
                self.report_status(connector_id)
        elif requested == "Heartbeat":
            self._send(requested, {})
        elif requested in _STATUS_NOTIFICATIONS:
            # W16 §6.16: the extended message asks about the signed update.
            prefix = "Signed" if extended and requested == "FirmwareStatusNotification" else ""
            self._send(f"{prefix}{requested}", controls.status_notification(f"{prefix}{requested}"))

    def _trigger_meter_values(self, connector_id: int) -> None:
        value = self._meter_value(self._answers.measurands("MeterValuesSampledData"), "Trigger")
        if value is not None:
            # CE16 3.16: the values of connector 0 belong to no transaction.
            charge_point = {"connectorId": 0, "meterValue": [value]}
            self._send("MeterValues", self._about_the_connector(value) if connector_id else charge_point)

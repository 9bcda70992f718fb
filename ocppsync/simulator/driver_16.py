"""The messages of a simulated charge point in OCPP 1.6."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from ..answers.charge_point_16 import ChargePointAnswers
from ..clock import utc_now
from .driver import Controls, Effects, EVDriver, Phase, Session, VersionDriver
from .meter import Meter

if TYPE_CHECKING:
    from ..v16 import BootNotificationResponse, ReadingContext

__all__ = ["Driver16"]

_STATUS_NOTIFICATIONS = ("DiagnosticsStatusNotification", "FirmwareStatusNotification", "LogStatusNotification")


class Driver16(VersionDriver):
    """A charge point with one connector, for OCPP 1.6; see `VersionDriver`."""

    connectors = (0, 1)

    def __init__(
        self,
        charge_point_id: str,
        send: Callable[[Any, Any], Any],
        meter: Meter,
        random: Random,
        answers: ChargePointAnswers,
    ) -> None:
        super().__init__(charge_point_id, send, meter, random)
        self._answers: ChargePointAnswers = answers

    @property
    def heartbeat_interval(self) -> int:
        """The configured seconds between Heartbeats; 0: no Heartbeats."""
        return int(self._answers.configuration["heartbeatinterval"].value)

    @heartbeat_interval.setter
    def heartbeat_interval(self, seconds: int) -> None:
        self._answers.configuration["heartbeatinterval"].value = str(seconds)

    @property
    def authorizes_remote_starts(self) -> bool:
        """Whether the charge point sends Authorize before a session that was started remotely."""
        return self._answers.configuration["authorizeremotetxrequests"].value.lower() == "true"

    def effects(self, controls: Controls) -> Effects:
        """Return the functions that carry out accepted requests."""

        return {
            "ChangeAvailability": lambda payload: controls.change_availability(payload["type"] == "Operative"),
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

    def report_status(self, connector_id: int) -> None:
        """Send the status of a connector."""
        # C16 §6.47: connector 0 is the charge point itself, which has fewer states.
        status = self.phase if connector_id else "Available"
        payload = {"connectorId": connector_id, "status": status, "errorCode": "NoError", "timestamp": utc_now()}
        self._send("StatusNotification", payload)

    def authorize(self, driver: EVDriver) -> bool:
        """Send Authorize; return whether the driver is accepted."""
        info = self._send("Authorize", {"idTag": driver.id_tag})["idTagInfo"]
        self.group = info.get("parentIdTag")
        return bool(info["status"] == "Accepted")

    def begin(self, driver: EVDriver) -> bool:
        """Start a transaction, and store its id in the answers; return whether the driver is accepted."""
        payload = {"connectorId": 1, "idTag": driver.id_tag, "meterStart": self._meter.register, "timestamp": utc_now()}
        if driver.reservation_id is not None:
            payload["reservationId"] = driver.reservation_id
        answer = self._send("StartTransaction", payload)
        self._answers.transaction_id = answer["transactionId"]
        return bool(answer["idTagInfo"]["status"] == "Accepted")

    def report_meter(self) -> None:
        """Send the meter readings of the transaction."""
        self._send_meter_values("Sample.Periodic")

    def end(self, session: Session) -> None:
        """Stop a transaction."""
        payload = {
            "transactionId": session.transaction_id,
            "idTag": session.id_tag,
            "meterStop": session.meter_stop,
            "timestamp": utc_now(),
            "reason": session.reason,
        }
        self._send("StopTransaction", payload)

    def _trigger(self, payload: Any, controls: Controls, *, extended: bool = False) -> None:
        requested = payload["requestedMessage"]
        if requested == "BootNotification":
            controls.boot()
        elif requested == "MeterValues":
            self._send_meter_values("Trigger")
        elif requested == "StatusNotification":
            for connector_id in [payload["connectorId"]] if "connectorId" in payload else self.connectors:
                self.report_status(connector_id)
        elif requested == "Heartbeat":
            self._send(requested, {})
        elif requested in _STATUS_NOTIFICATIONS:
            # W16 §6.16: the extended message asks about the signed update.
            prefix = "Signed" if extended and requested == "FirmwareStatusNotification" else ""
            self._send(f"{prefix}{requested}", controls.status_notification(f"{prefix}{requested}"))

    def _send_meter_values(self, context: ReadingContext) -> None:
        transaction_id = self._answers.transaction_id
        transaction = {} if transaction_id is None else {"transactionId": transaction_id}
        samples = [
            {"value": f"{value}", "measurand": measurand, "unit": unit, "context": context}
            for measurand, value, unit in self._meter.readings()
        ]
        value = {"timestamp": utc_now(), "sampledValue": samples}
        self._send("MeterValues", {"connectorId": 1, **transaction, "meterValue": [value]})

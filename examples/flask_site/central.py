"""The central system of the site: stores what chargers report, and notifies open pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ocppsync import (
    CallErrorReceived,
    CentralSystem,
    NotConnectedError,
    OCPPRequestError,
    RequestMetadata,
    RequestTimeoutError,
    ValidationError,
    utc_now,
)
from ocppsync import v16 as ocpp
from store import Store
from updates import Updates

__all__ = ["Central"]

_SUCCESSFUL = frozenset({"Accepted", "Scheduled", "Unlocked", "RebootRequired"})


class Central:
    """The chargers of the site.

    Attributes:
        cs: the central system, to mount in the application.
        store: the database.
        updates: the changes that open pages wait for.
    """

    def __init__(self, store: Store, timeout: float) -> None:
        self.cs = CentralSystem(port=None, protocols=["ocpp1.6"], request_timeout=timeout)
        self._timeout = timeout
        self.store = store
        self.updates = Updates()
        self.cs.add_connection_listener(self._record_connection)
        self.cs.on("Authorize")(self._authorize)
        self.cs.on("BootNotification")(self._boot)
        self.cs.on("Heartbeat")(self._heartbeat)
        self.cs.on("MeterValues")(self._meter_values)
        self.cs.on("StartTransaction")(self._start)
        self.cs.on("StatusNotification")(self._status)
        self.cs.on("StopTransaction")(self._stop)

    def close(self) -> None:
        """End the streams of the pages and the connections of the chargers."""
        self.updates.close()
        self.cs.close()

    # Commands to a charger.

    def command(self, charger: str, action: Any, payload: Mapping[str, Any]) -> bool:
        """Send a request, store its outcome as text for the user, and return whether the charger accepted it."""
        good, answer = False, ""
        try:
            response: Any = self.cs.send_request(charger, action, payload, timeout=self._timeout)
            status = str(response.get("status", "Done"))
            good = status in _SUCCESSFUL or "status" not in response
            outcome = status if good else f"The charger declined: {status}."
            answer = json.dumps(response, indent=2) if response.keys() - {"status"} else ""
        except NotConnectedError:
            outcome = "Not connected; nothing was sent. Check the charger's power and network, then try again."
        except RequestTimeoutError as error:
            outcome = "No answer in time. It may still act: check its state first."
            if error.delivery == "not_sent":
                outcome = "No answer in time. Nothing was sent: earlier requests are still waiting."
        except CallErrorReceived as error:
            outcome = f"The charger cannot do this: {error.code}. {error.description}".strip()
        except ValidationError as error:
            outcome = f"Nothing was sent: {error.described()}"
        except OCPPRequestError as error:
            outcome = f"The request failed: {error}"
        self.store.add_command(charger, action, json.dumps(payload), good, outcome, answer)
        self.updates.notify(charger)
        return good

    # Messages from a charger.

    def _record_connection(self, charger: str, status: str) -> None:
        self.store.mark_seen(charger)
        self.updates.notify(charger)

    def _boot(self, payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> ocpp.BootNotificationResponse:
        self.store.boot(metadata.charge_point_id, payload["chargePointVendor"], payload["chargePointModel"])
        self.updates.notify(metadata.charge_point_id)
        return {"status": "Accepted", "currentTime": utc_now(), "interval": 60}

    def _authorize(self, payload: ocpp.AuthorizeRequest, metadata: RequestMetadata) -> ocpp.AuthorizeResponse:
        return {"idTagInfo": {"status": "Accepted"}}

    def _heartbeat(self, payload: ocpp.HeartbeatRequest, metadata: RequestMetadata) -> ocpp.HeartbeatResponse:
        self.store.mark_seen(metadata.charge_point_id)
        return {"currentTime": utc_now()}

    def _status(
        self, payload: ocpp.StatusNotificationRequest, metadata: RequestMetadata
    ) -> ocpp.StatusNotificationResponse:
        error = "" if payload["errorCode"] == "NoError" else payload["errorCode"]
        self.store.set_status(metadata.charge_point_id, payload["connectorId"], payload["status"], error)
        self.updates.notify(metadata.charge_point_id)
        return {}

    def _start(self, payload: ocpp.StartTransactionRequest, metadata: RequestMetadata) -> ocpp.StartTransactionResponse:
        session = self.store.start_session(
            metadata.charge_point_id,
            payload["connectorId"],
            payload["idTag"],
            payload["timestamp"],
            payload["meterStart"],
        )
        self.updates.notify(metadata.charge_point_id)
        return {"transactionId": session, "idTagInfo": {"status": "Accepted"}}

    def _meter_values(self, payload: ocpp.MeterValuesRequest, metadata: RequestMetadata) -> ocpp.MeterValuesResponse:
        session = payload.get("transactionId")
        for value in payload["meterValue"] if session is not None else ():
            energy = _reading(value, "Energy.Active.Import.Register")
            power = _reading(value, "Power.Active.Import")
            self.store.add_reading(session or 0, value["timestamp"], energy, power, _reading(value, "SoC"))
        self.updates.notify(metadata.charge_point_id)
        return {}

    def _stop(self, payload: ocpp.StopTransactionRequest, metadata: RequestMetadata) -> ocpp.StopTransactionResponse:
        self.store.stop_session(
            metadata.charge_point_id,
            payload["transactionId"],
            payload["timestamp"],
            payload["meterStop"],
            payload.get("reason", "Local"),
        )
        self.updates.notify(metadata.charge_point_id)
        return {}


def _reading(value: ocpp.MeterValue, measurand: str) -> float | None:
    """Return a reading of the whole connector in Wh, W or percent, converted from its unit; None if it has none."""
    for sample in value["sampledValue"]:
        # A reading without a measurand is the energy register (C16 §7.43).
        named = sample.get("measurand", "Energy.Active.Import.Register")
        if named == measurand and "phase" not in sample and sample.get("format") != "SignedData":
            factor = 1000 if sample.get("unit", "").startswith("k") else 1
            return float(sample["value"]) * factor
    return None

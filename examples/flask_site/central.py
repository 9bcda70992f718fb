"""The central system of the site: what chargers say goes into the store, and on to the pages that are open."""

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

_AGREED = frozenset({"Accepted", "Scheduled", "Unlocked", "RebootRequired"})


class Central:
    """The chargers of the site.

    Attributes:
        cs: the central system, to mount.
        store: what is remembered.
        updates: what pages wait for.
    """

    def __init__(self, store: Store, timeout: float) -> None:
        self.cs = CentralSystem(port=None, protocols=["ocpp1.6"], request_timeout=timeout)
        self.store = store
        self.updates = Updates()
        self.cs.add_connection_listener(self._note_connection)
        self.cs.on("Authorize")(self._authorize)
        self.cs.on("BootNotification")(self._boot)
        self.cs.on("Heartbeat")(self._heartbeat)
        self.cs.on("MeterValues")(self._meter_values)
        self.cs.on("StartTransaction")(self._start)
        self.cs.on("StatusNotification")(self._status)
        self.cs.on("StopTransaction")(self._stop)

    def close(self) -> None:
        """End the pages' streams and the chargers' connections."""
        self.updates.close()
        self.cs.close()

    # From a person to a charger.

    def command(self, charger: str, action: Any, payload: Mapping[str, Any]) -> bool:
        """Send a request, note what came of it in words that help, and return whether the charger agreed."""
        good, answer = False, ""
        try:
            response: Any = self.cs.send_request(charger, action, payload)
            status = str(response.get("status", "Done"))
            good = status in _AGREED or "status" not in response
            outcome = status if good else f"The charger declined: {status}."
            answer = json.dumps(response, indent=2) if response.keys() - {"status"} else ""
        except NotConnectedError:
            outcome = "Not connected, and nothing was sent. Check its power and network, then send it again."
        except RequestTimeoutError as error:
            acted = "It may still act on it: look at its state first." if error.delivery == "unknown" else ""
            outcome = f"No answer in time. {acted or 'Nothing was sent: earlier requests still wait.'}"
        except CallErrorReceived as error:
            outcome = f"The charger cannot do this: {error.code}. {error.description}".strip()
        except ValidationError as error:
            outcome = f"Nothing was sent: {error.described()}"
        except OCPPRequestError as error:
            outcome = f"It failed: {error}"
        self.store.add_command(charger, action, json.dumps(payload), good, outcome, answer)
        self.updates.tell(charger)
        return good

    # From a charger.

    def _note_connection(self, charger: str, status: str) -> None:
        self.store.see(charger)
        self.updates.tell(charger)

    def _boot(self, payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> ocpp.BootNotificationResponse:
        self.store.boot(metadata.charge_point_id, payload["chargePointVendor"], payload["chargePointModel"])
        self.updates.tell(metadata.charge_point_id)
        return {"status": "Accepted", "currentTime": utc_now(), "interval": 60}

    def _authorize(self, payload: ocpp.AuthorizeRequest, metadata: RequestMetadata) -> ocpp.AuthorizeResponse:
        return {"idTagInfo": {"status": "Accepted"}}

    def _heartbeat(self, payload: ocpp.HeartbeatRequest, metadata: RequestMetadata) -> ocpp.HeartbeatResponse:
        self.store.see(metadata.charge_point_id)
        return {"currentTime": utc_now()}

    def _status(
        self, payload: ocpp.StatusNotificationRequest, metadata: RequestMetadata
    ) -> ocpp.StatusNotificationResponse:
        error = "" if payload["errorCode"] == "NoError" else payload["errorCode"]
        self.store.set_status(metadata.charge_point_id, payload["connectorId"], payload["status"], error)
        self.updates.tell(metadata.charge_point_id)
        return {}

    def _start(self, payload: ocpp.StartTransactionRequest, metadata: RequestMetadata) -> ocpp.StartTransactionResponse:
        session = self.store.start_session(
            metadata.charge_point_id,
            payload["connectorId"],
            payload["idTag"],
            payload["timestamp"],
            payload["meterStart"],
        )
        self.updates.tell(metadata.charge_point_id)
        return {"transactionId": session, "idTagInfo": {"status": "Accepted"}}

    def _meter_values(self, payload: ocpp.MeterValuesRequest, metadata: RequestMetadata) -> ocpp.MeterValuesResponse:
        session = payload.get("transactionId")
        for value in payload["meterValue"] if session is not None else ():
            energy = _reading(value, "Energy.Active.Import.Register")
            power = _reading(value, "Power.Active.Import")
            self.store.add_reading(session or 0, value["timestamp"], energy, power, _reading(value, "SoC"))
        self.updates.tell(metadata.charge_point_id)
        return {}

    def _stop(self, payload: ocpp.StopTransactionRequest, metadata: RequestMetadata) -> ocpp.StopTransactionResponse:
        self.store.stop_session(
            metadata.charge_point_id,
            payload["transactionId"],
            payload["timestamp"],
            payload["meterStop"],
            payload.get("reason", "Local"),
        )
        self.updates.tell(metadata.charge_point_id)
        return {}


def _reading(value: ocpp.MeterValue, measurand: str) -> float | None:
    """Return a reading of the whole outlet in Wh, W or percent, whatever unit it came in."""
    for sample in value["sampledValue"]:
        # C16 §7.43: a reading that names no measurand is the energy register.
        named = sample.get("measurand", "Energy.Active.Import.Register")
        if named == measurand and "phase" not in sample and sample.get("format") != "SignedData":
            factor = 1000 if sample.get("unit", "").startswith("k") else 1
            return float(sample["value"]) * factor
    return None

"""A small application: it knows who may charge, counts what was charged, and notes which chargers are in trouble.

Its tests are beside it; ``python -m unittest discover examples/unit_tests`` runs them.
"""

import itertools
import sys
import threading
from collections import Counter

from ocppsync import CentralSystem, OCPPRequestError, RequestMetadata, utc_now
from ocppsync import v16 as ocpp


class Site:
    """What is known of the chargers and the cards."""

    def __init__(self, cards: set[str]) -> None:
        self.cards = cards
        self.lock = threading.Lock()  # guards all below: handlers run on several threads
        self.energy = Counter[str]()  # Wh by card
        self.sessions: dict[int, tuple[str, str, int]] = {}  # charger, card and meter by transaction
        self.troubled: dict[str, str] = {}  # why, by charger

    def note_trouble(self, charge_point_id: str, why: str) -> None:
        with self.lock:
            self.troubled[charge_point_id] = why

    def is_charging(self, charge_point_id: str) -> bool:
        with self.lock:
            return any(session[0] == charge_point_id for session in self.sessions.values())


def make_central_system(port: int | None, site: Site) -> CentralSystem:
    cs = CentralSystem(port)
    transaction_ids = itertools.count(1)

    @cs.on("BootNotification")
    def boot(payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> ocpp.BootNotificationResponse:
        known = payload["chargePointVendor"] == "Acme"
        return {"status": "Accepted" if known else "Rejected", "currentTime": utc_now(), "interval": 300}

    @cs.after("BootNotification")
    def set_up(payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> None:
        if payload["chargePointVendor"] != "Acme":
            return
        setting: ocpp.ChangeConfigurationRequest = {"key": "MeterValueSampleInterval", "value": "60"}
        try:
            answer = cs.send_request(metadata.charge_point_id, "ChangeConfiguration", setting, timeout=10)
        except OCPPRequestError as error:
            site.note_trouble(metadata.charge_point_id, type(error).__name__)
        else:
            if answer["status"] != "Accepted":
                site.note_trouble(metadata.charge_point_id, answer["status"])

    @cs.on("Authorize")
    def authorize(payload: ocpp.AuthorizeRequest, metadata: RequestMetadata) -> ocpp.AuthorizeResponse:
        return {"idTagInfo": {"status": "Accepted" if payload["idTag"] in site.cards else "Invalid"}}

    @cs.on("StartTransaction")
    def start(payload: ocpp.StartTransactionRequest, metadata: RequestMetadata) -> ocpp.StartTransactionResponse:
        card = payload["idTag"]
        if card not in site.cards:
            return {"transactionId": 0, "idTagInfo": {"status": "Invalid"}}
        with site.lock:
            transaction_id = next(transaction_ids)
            site.sessions[transaction_id] = metadata.charge_point_id, card, payload["meterStart"]
        return {"transactionId": transaction_id, "idTagInfo": {"status": "Accepted"}}

    @cs.on("StopTransaction")
    def stop(payload: ocpp.StopTransactionRequest, metadata: RequestMetadata) -> ocpp.StopTransactionResponse:
        with site.lock:
            _, card, meter_start = site.sessions.pop(payload["transactionId"])
            site.energy[card] += payload["meterStop"] - meter_start
        return {}

    def note_loss(charge_point_id: str, status: str) -> None:
        if status == "disconnected" and site.is_charging(charge_point_id):
            site.note_trouble(charge_point_id, "lost while charging")

    cs.add_connection_listener(note_loss)
    return cs


def reset_idle_chargers(cs: CentralSystem, site: Site) -> list[str]:
    """Reset every charger that does not charge; return those that agreed."""
    idle = [name for name in cs.charge_points if not site.is_charging(name)]
    futures = {name: cs.submit_request(name, "Reset", {"type": "Soft"}, timeout=20) for name in idle}
    agreed = []
    for name, future in futures.items():
        try:
            if future.result()["status"] == "Accepted":
                agreed.append(name)
        except OCPPRequestError as error:
            site.note_trouble(name, type(error).__name__)
    return agreed


if __name__ == "__main__":
    central_system = make_central_system(int(sys.argv[1]) if len(sys.argv) > 1 else 9000, Site({"04A1B2C3"}))
    print(f"Chargers may connect to port {central_system.port}", flush=True)
    central_system.serve_forever()

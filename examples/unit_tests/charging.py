"""A small application that authorizes cards, adds up their energy, and records problems of charge points.

Run its tests with ``python -m unittest discover examples/unit_tests``.
"""

import itertools
import sys
import threading
from collections import Counter

from ocppsync import CentralSystem, OCPPRequestError, RequestMetadata, utc_now
from ocppsync import v16 as ocpp


class Site:
    """The state of the site: cards, energy, transactions, problems."""

    def __init__(self, cards: set[str]) -> None:
        self.cards = cards
        self.lock = threading.Lock()  # guards the fields below: handlers run on several threads
        self.energy = Counter[str]()  # card: Wh
        self.sessions: dict[int, tuple[str, str, int]] = {}  # transaction: charge point, card and meter reading
        self.problems: dict[str, str] = {}  # charge point: reason

    def add_problem(self, charge_point_id: str, reason: str) -> None:
        with self.lock:
            self.problems[charge_point_id] = reason

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
    def configure(payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> None:
        if payload["chargePointVendor"] != "Acme":
            return
        setting: ocpp.ChangeConfigurationRequest = {"key": "MeterValueSampleInterval", "value": "60"}
        try:
            answer = cs.send_request(metadata.charge_point_id, "ChangeConfiguration", setting, timeout=10)
        except OCPPRequestError as error:
            site.add_problem(metadata.charge_point_id, type(error).__name__)
        else:
            if answer["status"] != "Accepted":
                site.add_problem(metadata.charge_point_id, answer["status"])

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

    def record_disconnection(charge_point_id: str, status: str) -> None:
        if status == "disconnected" and site.is_charging(charge_point_id):
            site.add_problem(charge_point_id, "disconnected while charging")

    cs.add_connection_listener(record_disconnection)
    return cs


def reset_idle_charge_points(cs: CentralSystem, site: Site) -> list[str]:
    """Reset every charge point without a transaction; return those that accepted."""
    idle = [name for name in cs.charge_points if not site.is_charging(name)]
    futures = {name: cs.submit_request(name, "Reset", {"type": "Soft"}, timeout=20) for name in idle}
    accepted = []
    for name, future in futures.items():
        try:
            if future.result()["status"] == "Accepted":
                accepted.append(name)
        except OCPPRequestError as error:
            site.add_problem(name, type(error).__name__)
    return accepted


if __name__ == "__main__":
    central_system = make_central_system(int(sys.argv[1]) if len(sys.argv) > 1 else 9000, Site({"04A1B2C3"}))
    print(f"Listening on port {central_system.port}", flush=True)
    central_system.serve_forever()

"""A central system that accepts every charge point and every card, and reads the configuration after a boot.

Run ``python examples/central_system.py [port]``; port 0 picks a free one. Stop it with Ctrl-C or SIGTERM.
"""

import itertools
import logging
import signal
import sys

from ocppsync import CentralSystem, OCPPRequestError, RequestMetadata, utc_now
from ocppsync import v16 as ocpp

# Handlers run on several threads. logging writes whole lines; print may mix them.
logging.basicConfig(format="%(message)s", stream=sys.stdout)
log = logging.getLogger("example")
log.setLevel(logging.INFO)

cs = CentralSystem(int(sys.argv[1]) if len(sys.argv) > 1 else 9000)
transaction_ids = itertools.count(1)


@cs.on("BootNotification")
def boot(payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> ocpp.BootNotificationResponse:
    log.info("%s: %s %s booted", metadata.charge_point_id, payload["chargePointVendor"], payload["chargePointModel"])
    return {"status": "Accepted", "currentTime": utc_now(), "interval": 300}


@cs.after("BootNotification")
def read_configuration(payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> None:
    try:
        answer = cs.send_request(metadata.charge_point_id, "GetConfiguration", {}, timeout=10)
    except OCPPRequestError as error:
        log.warning("%s", error)
        return
    for setting in answer.get("configurationKey", []):
        log.info("%s: %s = %s", metadata.charge_point_id, setting["key"], setting.get("value"))


@cs.on("Authorize")
def authorize(payload: ocpp.AuthorizeRequest, metadata: RequestMetadata) -> ocpp.AuthorizeResponse:
    return {"idTagInfo": {"status": "Accepted"}}


@cs.on("StartTransaction")
def start(payload: ocpp.StartTransactionRequest, metadata: RequestMetadata) -> ocpp.StartTransactionResponse:
    transaction_id = next(transaction_ids)
    log.info("%s: %s started transaction %d", metadata.charge_point_id, payload["idTag"], transaction_id)
    return {"transactionId": transaction_id, "idTagInfo": {"status": "Accepted"}}


@cs.on("MeterValues")
def meter_values(payload: ocpp.MeterValuesRequest, metadata: RequestMetadata) -> None:
    readings = [sample["value"] for value in payload["meterValue"] for sample in value["sampledValue"]]
    log.info("%s: %s", metadata.charge_point_id, ", ".join(readings))


@cs.on("StopTransaction")
def stop(payload: ocpp.StopTransactionRequest, metadata: RequestMetadata) -> ocpp.StopTransactionResponse:
    log.info("%s: transaction %d stopped", metadata.charge_point_id, payload["transactionId"])
    return {}


@cs.on("Heartbeat")
def heartbeat(payload: ocpp.HeartbeatRequest, metadata: RequestMetadata) -> ocpp.HeartbeatResponse:
    return {"currentTime": utc_now()}


@cs.on("StatusNotification")
def status(payload: ocpp.StatusNotificationRequest, metadata: RequestMetadata) -> None:
    log.info("%s: connector %d is %s", metadata.charge_point_id, payload["connectorId"], payload["status"])


if __name__ == "__main__":
    # Make SIGTERM raise KeyboardInterrupt, as Ctrl-C does; serve_forever then closes the central system.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log.info("Listening on port %d", cs.port)
    cs.serve_forever()

"""A central system that lets every charger charge, and reads its configuration once it has booted.

Run ``python examples/central_system.py [port]``; 0 picks a free one. Ctrl-C or SIGTERM ends it.
"""

import itertools
import signal
import sys

from ocppsync import CentralSystem, OCPPRequestError, RequestMetadata, utc_now
from ocppsync import v16 as ocpp

cs = CentralSystem(int(sys.argv[1]) if len(sys.argv) > 1 else 9000)
transaction_ids = itertools.count(1)


@cs.on("BootNotification")
def boot(payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> ocpp.BootNotificationResponse:
    print(f"{metadata.charge_point_id}: {payload['chargePointVendor']} {payload['chargePointModel']} boots", flush=True)
    return {"status": "Accepted", "currentTime": utc_now(), "interval": 300}


@cs.after("BootNotification")
def read_configuration(payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> None:
    try:
        answer = cs.send_request(metadata.charge_point_id, "GetConfiguration", {}, timeout=10)
    except OCPPRequestError as error:
        print(error, flush=True)
        return
    for setting in answer.get("configurationKey", []):
        print(f"{metadata.charge_point_id}: {setting['key']} = {setting.get('value')}", flush=True)


@cs.on("Authorize")
def authorize(payload: ocpp.AuthorizeRequest, metadata: RequestMetadata) -> ocpp.AuthorizeResponse:
    return {"idTagInfo": {"status": "Accepted"}}


@cs.on("StartTransaction")
def start(payload: ocpp.StartTransactionRequest, metadata: RequestMetadata) -> ocpp.StartTransactionResponse:
    transaction_id = next(transaction_ids)
    print(f"{metadata.charge_point_id}: transaction {transaction_id} of {payload['idTag']} starts", flush=True)
    return {"transactionId": transaction_id, "idTagInfo": {"status": "Accepted"}}


@cs.on("MeterValues")
def meter_values(payload: ocpp.MeterValuesRequest, metadata: RequestMetadata) -> None:
    readings = [sample["value"] for value in payload["meterValue"] for sample in value["sampledValue"]]
    print(f"{metadata.charge_point_id}: {', '.join(readings)}", flush=True)


@cs.on("StopTransaction")
def stop(payload: ocpp.StopTransactionRequest, metadata: RequestMetadata) -> ocpp.StopTransactionResponse:
    print(f"{metadata.charge_point_id}: transaction {payload['transactionId']} stops", flush=True)
    return {}


@cs.on("Heartbeat")
def heartbeat(payload: ocpp.HeartbeatRequest, metadata: RequestMetadata) -> ocpp.HeartbeatResponse:
    return {"currentTime": utc_now()}


@cs.on("StatusNotification")
def status(payload: ocpp.StatusNotificationRequest, metadata: RequestMetadata) -> None:
    print(f"{metadata.charge_point_id}: connector {payload['connectorId']} is {payload['status']}", flush=True)


if __name__ == "__main__":
    # SIGTERM does what Ctrl-C does, and serve_forever closes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"Chargers may connect to port {cs.port}", flush=True)
    cs.serve_forever()

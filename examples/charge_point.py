"""A charge point that boots, runs one transaction and disconnects.

Run ``python examples/charge_point.py [url [identity]]`` while a central system is running, such as ``ocppsync serve``.
"""

import sys

from ocppsync import ChargePoint, OCPPError, RequestMetadata, utc_now
from ocppsync import v16 as ocpp

URL = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9000"
IDENTITY = sys.argv[2] if len(sys.argv) > 2 else "CP1"
cp = ChargePoint(IDENTITY, url=URL)


@cp.on("GetConfiguration")
def configuration(payload: ocpp.GetConfigurationRequest, metadata: RequestMetadata) -> ocpp.GetConfigurationResponse:
    return {"configurationKey": [{"key": "NumberOfConnectors", "readonly": True, "value": "1"}]}


def charge() -> None:
    boot = cp.send_request("BootNotification", {"chargePointVendor": "Example", "chargePointModel": "One"})
    print("BootNotification:", boot)
    print("Authorize:", cp.send_request("Authorize", {"idTag": "04A1B2C3"}))
    started = cp.send_request(
        "StartTransaction", {"connectorId": 1, "idTag": "04A1B2C3", "meterStart": 1000, "timestamp": utc_now()}
    )
    print("StartTransaction:", started)
    for energy in (1500, 2000, 2500):
        value: ocpp.MeterValue = {"timestamp": utc_now(), "sampledValue": [{"value": str(energy), "unit": "Wh"}]}
        answer = cp.send_request(
            "MeterValues", {"connectorId": 1, "transactionId": started["transactionId"], "meterValue": [value]}
        )
        print("MeterValues:", answer)
    stopped = cp.send_request(
        "StopTransaction", {"transactionId": started["transactionId"], "meterStop": 2500, "timestamp": utc_now()}
    )
    print("StopTransaction:", stopped)


if __name__ == "__main__":
    try:
        with cp:  # connects, and closes at the end
            charge()
    except OCPPError as error:
        sys.exit(f"{IDENTITY}: {error}")

"""A central system whose main thread sends commands, while charge points come and go on threads of their own.

Run ``python examples/send_from_anywhere.py [port]``, and enter lines such as ``CP1 Reset {"type": "Soft"}``. The end of
the input, Ctrl-C or SIGTERM ends it.
"""

import json
import logging
import signal
import sys
from typing import Any

from ocppsync import (
    CallErrorReceived,
    CentralSystem,
    ConnectionStatus,
    NotConnectedError,
    OCPPError,
    Request,
    RequestMetadata,
    RequestTimeoutError,
    utc_now,
)

# Several threads have something to say here: logging keeps their lines whole, which print does not.
logging.basicConfig(format="%(message)s", stream=sys.stdout)
log = logging.getLogger("example")
log.setLevel(logging.INFO)


def handler(request: Request[str, Any], metadata: RequestMetadata) -> dict[str, Any] | None:
    """Answer every charge point; what is not known here gets the CALLERROR NotImplemented."""
    if request.action == "BootNotification":
        return {"status": "Accepted", "currentTime": utc_now(), "interval": 300}
    if request.action == "Heartbeat":
        return {"currentTime": utc_now()}
    return {} if request.action in ("StatusNotification", "MeterValues") else None


def tell(charge_point_id: str, status: ConnectionStatus) -> None:
    """Run by the library, on a thread of its pool."""
    log.info("%s %s", charge_point_id, status)


def send(cs: CentralSystem, line: str) -> str:
    """Send the command in a line, wait for its answer, and return that in words."""
    charge_point_id, action, payload = (*line.split(maxsplit=2), "", "")[:3]
    command: Any = action  # what is only known at run time is passed as Any
    try:
        answer = cs.send_request(charge_point_id, command, json.loads(payload or "{}"), timeout=10)
    except NotConnectedError:
        return f"{charge_point_id} is not connected; {', '.join(cs.charge_points) or 'nobody'} is"
    except RequestTimeoutError as error:
        return f"{charge_point_id} did not answer; it may have acted all the same ({error.delivery})"
    except CallErrorReceived as error:
        return f"{charge_point_id} declined: {error.code} {error.description}"
    except (OCPPError, ValueError) as error:
        return f"{error}"
    return f"{charge_point_id} answered {answer}"


def main() -> None:
    """Serve until the input ends."""
    with CentralSystem(int(sys.argv[1]) if len(sys.argv) > 1 else 9000, handler) as cs:
        cs.add_connection_listener(tell)
        log.info("Chargers may connect to port %d", cs.port)
        for line in sys.stdin:
            if line.strip():
                log.info("%s", send(cs, line))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        log.info("Goodbye")

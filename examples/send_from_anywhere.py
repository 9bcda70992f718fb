"""A central system that sends commands from the main thread, while other threads serve the charge points.

Run ``python examples/send_from_anywhere.py [port]``, and enter lines such as ``CP1 Reset {"type": "Soft"}``. Stop it
with the end of the input, Ctrl-C or SIGTERM.
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

# Several threads print here. logging writes whole lines; print may mix them.
logging.basicConfig(format="%(message)s", stream=sys.stdout)
log = logging.getLogger("example")
log.setLevel(logging.INFO)


def handler(request: Request[str, Any], metadata: RequestMetadata) -> dict[str, Any] | None:
    """Return the answer to a request; None answers other actions with CALLERROR NotImplemented."""
    if request.action == "BootNotification":
        return {"status": "Accepted", "currentTime": utc_now(), "interval": 300}
    if request.action == "Heartbeat":
        return {"currentTime": utc_now()}
    return {} if request.action in ("StatusNotification", "MeterValues") else None


def log_connection(charge_point_id: str, status: ConnectionStatus) -> None:
    """Log a charge point that connects or disconnects; runs on a handler thread."""
    log.info("%s %s", charge_point_id, status)


def send(cs: CentralSystem, line: str) -> str:
    """Send the command in a line, wait for the answer, and return the result as text."""
    charge_point_id, action, payload = (*line.split(maxsplit=2), "", "")[:3]
    command: Any = action  # Any, because type checkers cannot know the action
    try:
        answer = cs.send_request(charge_point_id, command, json.loads(payload or "{}"), timeout=10)
    except NotConnectedError:
        return f"{charge_point_id} is not connected; connected: {', '.join(cs.charge_points) or 'none'}"
    except RequestTimeoutError as error:
        effect = "nothing was sent" if error.delivery == "not_sent" else "it may have acted"
        return f"{charge_point_id} did not answer in time; {effect}"
    except CallErrorReceived as error:
        return f"{charge_point_id} answered with CALLERROR {error.code}: {error.description}"
    except (OCPPError, ValueError) as error:
        return f"{error}"
    return f"{charge_point_id} answered {answer}"


def main() -> None:
    """Serve until the input ends."""
    with CentralSystem(int(sys.argv[1]) if len(sys.argv) > 1 else 9000, handler) as cs:
        cs.add_connection_listener(log_connection)
        log.info("Listening on port %d", cs.port)
        for line in sys.stdin:
            if line.strip():
                log.info("%s", send(cs, line))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        log.info("Stopped")

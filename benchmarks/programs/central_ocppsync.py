"""A central system with ocppsync, for the scenarios that measure connections and requests.

    python benchmarks/programs/central_ocppsync.py [CERTIFICATE KEY]

Prints its port. For each line ``MEASUREMENT SECONDS`` on standard input, it measures, and prints a line of JSON with
the answers a second, and the microseconds of CPU time for each. It runs with any ocppsync since commit 3ca8414, for
the option ``--against`` of run.py.
"""

from __future__ import annotations

import itertools
import json
import logging
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ocppsync
from ocppsync import CentralSystem, Limits, utc_now

THREADS = 16
# All chargers connect from one address, and in a storm all at once. With the default limits, many would be refused, and
# the benchmark would measure their second attempt.
UNLIMITED = Limits(connections=None, connections_per_address=None, handshakes=None, handshakes_per_address=None)
HANDSHAKE_TIMEOUT = 120.0


def all_at_once(cs: CentralSystem, seconds: float) -> int:
    """Send to all chargers with futures, and again after the last answer; return how many answers came."""
    names = cs.charge_points
    end, answers = time.monotonic() + seconds, 0
    while time.monotonic() < end or not answers:
        futures = [cs.submit_request(name, "UnlockConnector", {"connectorId": 1}) for name in names]
        for future in futures:
            future.result()
        answers += len(names)
    return answers


def some_at_a_time(cs: CentralSystem, seconds: float) -> int:
    """Send to all chargers in turn from several threads; return how many answers came."""
    return _from_threads(cs, cs.charge_points, seconds)


def threads_to_one(cs: CentralSystem, seconds: float) -> int:
    """Send to one charger from several threads; return how many answers came."""
    return _from_threads(cs, cs.charge_points[:1], seconds)


def _from_threads(cs: CentralSystem, names: list[str], seconds: float) -> int:
    turns = itertools.cycle(names)  # next() is a single step of the interpreter, so it needs no lock
    end = time.monotonic() + seconds

    def work() -> int:
        answers = 0
        while time.monotonic() < end or not answers:
            cs.send_request(next(turns), "UnlockConnector", {"connectorId": 1})
            answers += 1
        return answers

    with ThreadPoolExecutor(THREADS) as executor:
        return sum(future.result() for future in [executor.submit(work) for _ in range(THREADS)])


MEASUREMENTS = {"all-at-once": all_at_once, "some-at-a-time": some_at_a_time, "threads-to-one": threads_to_one}


def measured(name: str, cs: CentralSystem, seconds: float) -> dict[str, float]:
    """Return the answers a second, and the microseconds of CPU time for each."""
    began, used = time.monotonic(), time.process_time()
    answers = MEASUREMENTS[name](cs, seconds)
    took, used = time.monotonic() - began, time.process_time() - used
    return {"rate": answers / took, "cpu": 1e6 * used / answers}


def handshake_timeout() -> dict[str, Any]:
    """Return the option for it; an older ocppsync has no Timeouts."""
    if hasattr(ocppsync, "Timeouts"):
        return {"timeouts": ocppsync.Timeouts(handshake=HANDSHAKE_TIMEOUT)}
    return {"handshake_timeout": HANDSHAKE_TIMEOUT}


def boot(payload: Any, metadata: Any) -> Any:
    """Accept a charge point."""
    return {"status": "Accepted", "currentTime": utc_now(), "interval": 300}


def main() -> int:
    """Serve, and measure on request, until standard input ends."""
    logging.disable(logging.CRITICAL)
    context = None
    if sys.argv[1:]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[1:3])
    cs = CentralSystem(
        0,
        host="127.0.0.1",
        protocols=["ocpp1.6"],
        limits=UNLIMITED,
        ssl_context=context,
        **handshake_timeout(),
    )
    cs.on("BootNotification")(boot)
    with cs:
        print(cs.port, flush=True)
        for line in sys.stdin:
            name, seconds = line.split()
            print(json.dumps(measured(name, cs, float(seconds))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

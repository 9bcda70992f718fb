"""A central system with `ocpp` and `websockets`, for the scenarios that measure connections and requests.

    python benchmarks/programs/central_ocpp.py [CERTIFICATE KEY]

Prints its port. For each line ``MEASUREMENT SECONDS`` on standard input, it measures, and prints a line of JSON with
the answers a second, and the microseconds of CPU time for each.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
import logging
import ssl
import sys
import time
from typing import Any

import websockets
from ocpp.routing import on  # type: ignore[import-untyped, unused-ignore]
from ocpp.v16 import ChargePoint, call, call_result  # type: ignore[import-untyped, unused-ignore]
from websockets.asyncio.server import ServerConnection, serve

TASKS = 16
# The same as in central_ocppsync.py.
BACKLOG = 1024
HANDSHAKE_TIMEOUT = 120.0


class Point(ChargePoint):  # type: ignore[misc, unused-ignore]
    """The central system's side of a charge point."""

    @on("BootNotification")  # type: ignore[untyped-decorator, unused-ignore]
    def boot(self, **fields: Any) -> Any:
        """Accept the charge point."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        return call_result.BootNotification(current_time=now, interval=300, status="Accepted")


Points = list[Point]


async def all_at_once(points: Points, seconds: float) -> int:
    """Send to all chargers at once, and again after the last answer; return how many answers came."""
    end, answers = time.monotonic() + seconds, 0
    while time.monotonic() < end or not answers:
        await asyncio.gather(*(_ask(point) for point in points))
        answers += len(points)
    return answers


async def some_at_a_time(points: Points, seconds: float) -> int:
    """Send to all chargers in turn from several tasks; return how many answers came."""
    turns = itertools.cycle(points)
    end = time.monotonic() + seconds

    async def work() -> int:
        answers = 0
        while time.monotonic() < end or not answers:
            await _ask(next(turns))
            answers += 1
        return answers

    return sum(await asyncio.gather(*(work() for _ in range(TASKS))))


async def threads_to_one(points: Points, seconds: float) -> int:
    """Send to one charger from several tasks; return how many answers came."""
    return await some_at_a_time(points[:1], seconds)


async def _ask(point: Point) -> None:
    answer = await point.call(call.UnlockConnector(connector_id=1))
    if answer is None or answer.status != "Unlocked":
        raise SystemExit(f"{point.id} answered {answer}")


MEASUREMENTS = {"all-at-once": all_at_once, "some-at-a-time": some_at_a_time, "threads-to-one": threads_to_one}


async def measured(name: str, points: Points, seconds: float) -> dict[str, float]:
    """Return the answers a second, and the microseconds of CPU time for each."""
    began, used = time.monotonic(), time.process_time()
    answers = await MEASUREMENTS[name](points, seconds)
    took, used = time.monotonic() - began, time.process_time() - used
    return {"rate": answers / took, "cpu": 1e6 * used / answers}


async def main() -> None:
    """Serve, and measure on request, until standard input ends."""
    logging.disable(logging.CRITICAL)
    points: Points = []

    async def handle(connection: ServerConnection) -> None:
        point = Point("CP", connection)
        points.append(point)
        try:
            await point.start()
        except websockets.ConnectionClosed:
            points.remove(point)

    context = None
    if sys.argv[1:]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[1:3])
    options: dict[str, Any] = {"backlog": BACKLOG, "open_timeout": HANDSHAKE_TIMEOUT, "ssl": context}
    if context is not None:
        options["ssl_handshake_timeout"] = HANDSHAKE_TIMEOUT
    async with serve(handle, "127.0.0.1", 0, subprotocols=[websockets.Subprotocol("ocpp1.6")], **options) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, seconds = line.split()
            print(json.dumps(await measured(name, points, float(seconds))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

"""A central system of the package `ocpp` on `websockets` for the scenarios that count connections and requests.

    python benchmarks/programs/central_ocpp.py [CERTIFICATE KEY]

Prints its port. For each line ``WHAT SECONDS`` on its standard input it measures the answers a second, and prints them.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
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
# As ocppsync has them.
BACKLOG = 1024
PATIENCE = 120.0


class Point(ChargePoint):  # type: ignore[misc, unused-ignore]
    """A charge point that is welcome."""

    @on("BootNotification")  # type: ignore[untyped-decorator, unused-ignore]
    def boot(self, **fields: Any) -> Any:
        """Let it in."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        return call_result.BootNotification(current_time=now, interval=300, status="Accepted")


Points = list[Point]


async def all_at_once(points: Points, seconds: float) -> float:
    """Ask all chargers at once, and again when the last has answered."""
    began, answers = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds or not answers:
        await asyncio.gather(*(_ask(point) for point in points))
        answers += len(points)
    return answers / (now - began)


async def some_at_a_time(points: Points, seconds: float) -> float:
    """Ask all chargers in turn, from some tasks."""
    turns = itertools.cycle(points)
    began = time.monotonic()

    async def work() -> int:
        answers = 0
        while time.monotonic() < began + seconds or not answers:
            await _ask(next(turns))
            answers += 1
        return answers

    answers = sum(await asyncio.gather(*(work() for _ in range(TASKS))))
    return answers / (time.monotonic() - began)


async def threads_to_one(points: Points, seconds: float) -> float:
    """Ask one charger from some tasks."""
    return await some_at_a_time(points[:1], seconds)


async def _ask(point: Point) -> None:
    answer = await point.call(call.UnlockConnector(connector_id=1))
    if answer is None or answer.status != "Unlocked":
        raise SystemExit(f"{point.id} answered {answer}")


MEASURES = {"all-at-once": all_at_once, "some-at-a-time": some_at_a_time, "threads-to-one": threads_to_one}


async def main() -> None:
    """Run it."""
    logging.disable(logging.CRITICAL)
    points: Points = []

    async def attend(connection: ServerConnection) -> None:
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
    options: dict[str, Any] = {"backlog": BACKLOG, "open_timeout": PATIENCE, "ssl": context}
    if context is not None:
        options["ssl_handshake_timeout"] = PATIENCE
    async with serve(attend, "127.0.0.1", 0, subprotocols=[websockets.Subprotocol("ocpp1.6")], **options) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, seconds = line.split()
            print(await MEASURES[what](points, float(seconds)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

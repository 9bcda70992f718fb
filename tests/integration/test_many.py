"""Five hundred charge points at once: every answer is right, and everything is gone afterwards."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import pytest
from support import connected, serving

from ocppsync import ChargePoint

pytestmark = pytest.mark.slow

CONNECTIONS = 500
CALLS = 20
DEADLINE = 100.0


def test_every_answer_is_right_with_500_connections() -> None:
    with serving() as cs:
        events = connected(cs)

        @cs.on("DataTransfer")
        def echo(payload: Any, metadata: Any) -> Any:
            return {"status": "Accepted", "data": f"{metadata.charge_point_id}:{payload['data']}"}

        def connect(number: int) -> ChargePoint:
            point = ChargePoint(
                f"P{number}", url=f"ws://127.0.0.1:{cs.port}", enforce_registration=False, handler_threads=1
            )

            @point.on("DataTransfer")
            def answer(payload: Any, metadata: Any) -> Any:
                return {"status": "Accepted", "data": f"{point.charge_point_id} got {payload.get('data')}"}

            return point.connect(DEADLINE)

        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            points = list(threads.map(connect, range(CONNECTIONS)))
        assert len(cs.charge_points) == CONNECTIONS
        # All calls of all charge points are under way together, and one of the central system's to each.
        up = [
            (f"P{number}:{call}", point.submit_request("DataTransfer", data, timeout=90))
            for call in range(CALLS)
            for data in [{"vendorId": "x", "data": str(call)}]
            for number, point in enumerate(points)
        ]
        down = [
            (f"P{number} got {number}", cs.submit_request(f"P{number}", "DataTransfer", data, timeout=90))
            for number in range(CONNECTIONS)
            for data in [{"vendorId": "x", "data": str(number)}]
        ]
        for expected, future in up + down:
            assert future.result(DEADLINE) == {"status": "Accepted", "data": expected}
        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            list(threads.map(ChargePoint.close, points))
        events.wait_until(lambda items: len(items) == 2 * CONNECTIONS)
        assert cs.charge_points == []

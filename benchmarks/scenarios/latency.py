"""Latency and CPU time of answers under the load of a large operator: each charger sends MeterValues every 30 s."""

from __future__ import annotations

from collections.abc import Iterator

from figures import CPU, Failure, Figure, Plan
from measuring import Measurement, Series, run_load, take_turns
from messages import MESSAGES
from servers import ECHO_WEBSOCKETS_ASYNCIO, VALIDATING, Peer, available_peers

NAME = "latency"
CHARGERS = 10_000
EVERY = 30.0
"""Seconds between two messages of one charger."""


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the median and the 99th percentile of the latencies in milliseconds, and the CPU time of each answer."""
    chargers, every = (20, 0.5) if plan.smoke else (CHARGERS, EVERY)
    peers = [*VALIDATING, ECHO_WEBSOCKETS_ASYNCIO]
    scenario = f"latency with {chargers} chargers"
    yield from take_turns(
        plan,
        {
            _latencies(plan, peer, chargers, every): [
                Series(scenario, "p50", peer.name, "ms", more_is_better=False),
                Series(scenario, "p99", peer.name, "ms", more_is_better=False),
                Series(f"{scenario}{CPU}", "", peer.name, "CPU µs/call", more_is_better=False),
            ]
            for peer in available_peers(plan, peers, MESSAGES["MeterValues"])
        },
    )


def _latencies(plan: Plan, peer: Peer, chargers: int, every: float) -> Measurement:
    # Rare slow answers need a longer measurement.
    seconds = 2 * plan.seconds
    options = ("--every", str(every), "--seconds", str(seconds), "--warm-up", str(seconds / 4))

    def measure() -> Iterator[float]:
        for found in run_load(plan, peer, "MeterValues", [chargers], options):
            yield 1_000 * found["p50"]
            yield 1_000 * found["p99"]
            yield found["cpu"]

    return measure

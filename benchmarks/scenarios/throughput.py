"""Validated CALLs a second that one core answers, and CPU time for each, by message and number of connections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from figures import Failure, Figure, Plan
from measuring import Measurement, rate_and_cpu, run_load, take_turns
from messages import MESSAGES
from servers import ECHO_RAW, ECHOES, VALIDATING, Peer, available_peers

NAME = "throughput"
CONNECTIONS = (1, 10, 100, 1_000, 5_000)


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the answers a second of every peer and every echo, and their CPU time."""
    few, many = ((5,), (1, 5)) if plan.smoke else ((100,), CONNECTIONS)
    for message, connections in (("Heartbeat", few), ("MeterValues", many), ("TransactionEvent", many)):
        yield from _compare(plan, message, connections, few)


def _compare(
    plan: Plan, message: str, connections: Sequence[int], of_ceiling: Sequence[int]
) -> Iterator[Figure | Failure]:
    measurements = {}
    for peer in available_peers(plan, [*VALIDATING, *ECHOES], MESSAGES[message]):
        numbers = of_ceiling if peer is ECHO_RAW else [one for one in connections if one <= peer.max_connections]
        measurements[_rates(plan, peer, message, numbers)] = [
            series for number in numbers for series in rate_and_cpu(f"validated {message}", variant(number), peer.name)
        ]
    return take_turns(plan, measurements)


def variant(connections: int) -> str:
    """Return the name of the variant with this number of connections."""
    return f"{connections} connection{'s' * (connections > 1)}"


def _rates(plan: Plan, peer: Peer, message: str, connections: Sequence[int]) -> Measurement:
    # Just-in-time compilers need a warm-up.
    options = ("--seconds", str(plan.seconds), "--warm-up", str(min(0.5, plan.seconds / 4)))

    def measure() -> Iterator[float]:
        for found in run_load(plan, peer, message, connections, options):
            yield found["rate"]
            yield found["cpu"]

    return measure

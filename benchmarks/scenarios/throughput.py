"""Validated CALLs a second that one core answers, by message and number of connections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from figures import Failure, Figure, Plan
from measuring import Measurement, Series, run_load, take_turns
from messages import MESSAGES
from servers import ECHO_RAW, ECHOES, VALIDATING, Peer, available_peers

NAME = "throughput"
CONNECTIONS = (1, 10, 100, 1_000, 5_000)


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the answers a second of every peer and every echo."""
    few, many = ((5,), (1, 5)) if plan.smoke else ((100,), CONNECTIONS)
    all_peers = [*VALIDATING, *ECHOES]
    yield from _compare(plan, all_peers, "Heartbeat", few)
    yield from _compare(plan, all_peers, "TransactionEvent", few)
    yield from _compare(plan, [peer for peer in all_peers if peer is not ECHO_RAW], "MeterValues", many)


def _compare(plan: Plan, peers: Sequence[Peer], message: str, connections: Sequence[int]) -> Iterator[Figure | Failure]:
    measurements = {}
    for peer in available_peers(peers, MESSAGES[message]):
        numbers = [number for number in connections if number <= peer.max_connections]
        series = [Series(f"validated {message}", variant(number), peer.name, "messages/s") for number in numbers]
        measurements[_rates(plan, peer, message, numbers)] = series
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

    return measure

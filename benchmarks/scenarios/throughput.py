"""How many validated CALLs a second one core answers, by message and by number of connections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from figures import Failure, Figure, Plan
from measuring import Measurement, Series, ask, take_turns
from messages import MESSAGES
from servers import ECHO_RAW, ECHOES, VALIDATING, Peer, able

NAME = "throughput"
CONNECTIONS = (1, 10, 100, 1_000, 5_000)


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the answers a second, of every peer and every ceiling."""
    few, many = ((5,), (1, 5)) if plan.smoke else ((100,), CONNECTIONS)
    everyone = [*VALIDATING, *ECHOES]
    yield from _compare(plan, everyone, "Heartbeat", few)
    yield from _compare(plan, everyone, "TransactionEvent", few)
    yield from _compare(plan, [peer for peer in everyone if peer is not ECHO_RAW], "MeterValues", many)


def _compare(plan: Plan, peers: Sequence[Peer], message: str, connections: Sequence[int]) -> Iterator[Figure | Failure]:
    measurements = {}
    for peer in able(peers, MESSAGES[message]):
        numbers = [number for number in connections if number <= peer.most_connections]
        series = [Series(f"validated {message}", variant(number), peer.name, "messages/s") for number in numbers]
        measurements[_rates(plan, peer, message, numbers)] = series
    return take_turns(plan, measurements)


def variant(connections: int) -> str:
    """Return how a number of connections is called."""
    return f"{connections} connection{'s' * (connections > 1)}"


def _rates(plan: Plan, peer: Peer, message: str, connections: Sequence[int]) -> Measurement:
    # Servers on just-in-time compilers need some time to get up to speed.
    options = ("--seconds", str(plan.seconds), "--warm-up", str(min(0.5, plan.seconds / 4)))

    def measure() -> Iterator[float]:
        for found in ask(plan, peer, message, connections, options):
            yield found["rate"]

    return measure

"""What TLS costs: the same load with and without."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from certificate import write_certificate
from figures import Failure, Figure, Plan
from measuring import Measurement, Series, ask, take_turns
from messages import MESSAGES
from servers import VALIDATING, Peer, able

NAME = "tls"
MESSAGE = "MeterValues"


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the answers a second of those that serve TLS here, plain and encrypted."""
    connections = 5 if plan.smoke else 100
    with tempfile.TemporaryDirectory() as directory:
        files = write_certificate(Path(directory))
        peers = [peer for peer in able(VALIDATING, MESSAGES[MESSAGE]) if peer.tls]
        yield from take_turns(
            plan,
            {
                _rate(plan, peer, connections, files if variant == "TLS" else ()): [
                    Series("TLS", variant, peer.name, "messages/s")
                ]
                for peer in peers
                for variant in ("plain", "TLS")
            },
        )


def _rate(plan: Plan, peer: Peer, connections: int, files: tuple[str, ...]) -> Measurement:
    options = ["--seconds", str(plan.seconds), "--warm-up", str(min(0.5, plan.seconds / 4))]

    def measure() -> Iterator[float]:
        for found in ask(
            plan,
            peer,
            MESSAGE,
            [connections],
            [*options, "--tls"] if files else options,
            ["--tls", *files] if files else (),
        ):
            yield found["rate"]

    return measure

"""The cost of TLS: the same load, plain and encrypted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from certificate import write_certificate
from figures import Failure, Figure, Plan
from measuring import Measurement, rate_and_cpu, run_load, take_turns
from messages import MESSAGES
from servers import VALIDATING, Peer, available_peers

NAME = "tls"
MESSAGE = "MeterValues"


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the answers a second and their CPU time, plain and encrypted, of the peers that support TLS here."""
    connections = 5 if plan.smoke else 100
    with tempfile.TemporaryDirectory() as directory:
        files = write_certificate(Path(directory))
        peers = [peer for peer in available_peers(plan, VALIDATING, MESSAGES[MESSAGE]) if peer.tls]
        yield from take_turns(
            plan,
            {
                _rate(plan, peer, connections, files if variant == "TLS" else ()): rate_and_cpu(
                    "TLS", variant, peer.name
                )
                for peer in peers
                for variant in ("plain", "TLS")
            },
        )


def _rate(plan: Plan, peer: Peer, connections: int, files: tuple[str, ...]) -> Measurement:
    options = ["--seconds", str(plan.seconds), "--warm-up", str(min(0.5, plan.seconds / 4))]

    def measure() -> Iterator[float]:
        for found in run_load(
            plan,
            peer,
            MESSAGE,
            [connections],
            [*options, "--tls"] if files else options,
            ["--tls", *files] if files else (),
        ):
            yield found["rate"]
            yield found["cpu"]

    return measure

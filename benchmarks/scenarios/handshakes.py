"""Handshakes a second, and a reconnect storm after an outage.

A handshake is the TCP connection, TLS (with a new session and an EC key, in the TLS variant), and the upgrade. 50 are
always in progress. Each connection is reset (RST, without a Close) after its 101, and another charger connects in its
place; both figures, the rate and the server's CPU time, include the cost of cleaning up. With TLS the load generator
works about as hard as the server, which limits the rate that can be measured.

In the storm, 5 000 chargers connect at the same moment, and each sends a BootNotification after the upgrade. The figure
is the seconds from the first SYN to the last answer. Both central systems listen with a backlog of 1024, beyond which
the kernel sends again after a second; a charger that is refused or reset tries again after 0.2 s. The limits of
ocppsync on connections and handshakes, and the handshake timeouts of both, are out of the way.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from central_systems import CentralSystem, central_system, fleet, installed, installed_peers, python
from figures import Failure, Figure, Plan
from measuring import Measurement, Series, rate_and_cpu, take_turns
from processes import running
from progress import say

NAME = "handshakes"
_MAX_STORMS = 3


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the handshakes a second, and the seconds of the storm."""
    peers = installed_peers(NAME, plan)
    yield from _handshakes(plan, peers)
    yield from _storms(plan, peers)


def _handshakes(plan: Plan, peers: Sequence[CentralSystem]) -> Iterator[Figure | Failure]:
    with tempfile.TemporaryDirectory() as directory:
        variants: dict[str, Sequence[str]] = {"plain": ()}
        if installed(NAME, "TLS", ["cryptography"]):
            from certificate import write_certificate  # needs cryptography

            variants["TLS"] = write_certificate(Path(directory))
        yield from take_turns(
            plan,
            {
                _rate(plan, peer, certificate): rate_and_cpu("handshakes", variant, peer.name, "handshakes/s")
                for variant, certificate in variants.items()
                for peer in peers
            },
        )


def _rate(plan: Plan, peer: CentralSystem, certificate: Sequence[str]) -> Measurement:
    options = ["--at-once", 5 if plan.smoke else 50, "--seconds", plan.seconds, *(["--tls"] if certificate else [])]

    def measure() -> Iterator[float]:
        with (
            central_system(plan, peer, certificate) as (server, port),
            running(
                python("fleet.py", port, "handshakes", *options, "--server-pid", server.pid), plan.load_core
            ) as load,
        ):
            found = json.loads(load.read())
            yield found["rate"]
            yield found["cpu"]

    return measure


def _storms(plan: Plan, peers: Sequence[CentralSystem]) -> Iterator[Figure | Failure]:
    chargers = 50 if plan.smoke else 5000
    yield from take_turns(
        dataclasses.replace(plan, repetitions=min(plan.repetitions, _MAX_STORMS)),
        {
            _storm(plan, peer, chargers): [
                Series("reconnect storm", f"{chargers} chargers", peer.name, "s", more_is_better=False)
            ]
            for peer in peers
        },
    )


def _storm(plan: Plan, peer: CentralSystem, chargers: int) -> Measurement:
    def measure() -> Iterator[float]:
        with central_system(plan, peer) as (_, port), fleet(plan, port, chargers, at_once=chargers) as took:
            say(f"reconnect storm, {peer.name}: {took['tried_again']:.0f} of {chargers} tried again")
            yield took["seconds"]

    return measure

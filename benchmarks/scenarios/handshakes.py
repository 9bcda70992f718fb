"""How fast charge points get in: handshakes a second, and the storm after an outage.

A handshake is the TCP connection, TLS with a new session and an elliptic key where there is TLS, and the upgrade. 50
are always under way. Each connection is reset (RST, without a Close) when its 101 is there, and a charger with another
name takes its place; what it costs to take leave of the one that has gone is in the figure. With TLS the load works
about as hard as the server, which bounds how fast one can be found to be.

In the storm 5 000 chargers connect at the same moment. Each sends a BootNotification once it is in. The figure is the
seconds from the first SYN to the last answer. Both listen with a backlog of 1024, beyond which the kernel sends again
after a second; who is refused or reset tries again after 0.2 s. The limits of ocppsync that guard against such a crowd
from one address, and the timeouts of both for a handshake, are out of the way.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from central_systems import central_system, fleet, installed, installed_peers, python
from figures import Failure, Figure, Plan
from measuring import Measurement, Series, take_turns
from processes import running
from progress import say

NAME = "handshakes"
_MAX_STORMS = 3


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Measure it."""
    peers = installed_peers(NAME)
    yield from _handshakes(plan, peers)
    yield from _storms(plan, peers)


def _handshakes(plan: Plan, peers: Sequence[str]) -> Iterator[Figure | Failure]:
    with tempfile.TemporaryDirectory() as directory:
        variants: dict[str, Sequence[str]] = {"plain": ()}
        if installed(NAME, "TLS", ["cryptography"]):
            from certificate import write_certificate  # which needs it

            variants["TLS"] = write_certificate(Path(directory))
        yield from take_turns(
            plan,
            {
                _rate(plan, peer, certificate): [Series("handshakes", variant, peer, "handshakes/s")]
                for variant, certificate in variants.items()
                for peer in peers
            },
        )


def _rate(plan: Plan, peer: str, certificate: Sequence[str]) -> Measurement:
    options = ["--at-once", 5 if plan.smoke else 50, "--seconds", plan.seconds, *(["--tls"] if certificate else [])]

    def measure() -> Iterator[float]:
        with (
            central_system(plan, peer, certificate) as (_, port),
            running(python("fleet.py", port, "handshakes", *options), plan.load_core) as passing,
        ):
            yield float(json.loads(passing.read())["rate"])

    return measure


def _storms(plan: Plan, peers: Sequence[str]) -> Iterator[Figure | Failure]:
    chargers = 50 if plan.smoke else 5000
    yield from take_turns(
        dataclasses.replace(plan, repetitions=min(plan.repetitions, _MAX_STORMS)),
        {
            _storm(plan, peer, chargers): [
                Series("reconnect storm", f"{chargers} chargers", peer, "s", more_is_better=False)
            ]
            for peer in peers
        },
    )


def _storm(plan: Plan, peer: str, chargers: int) -> Measurement:
    def measure() -> Iterator[float]:
        with central_system(plan, peer) as (_, port), fleet(plan, port, chargers, at_once=chargers) as took:
            say(f"reconnect storm, {peer}: {took['tried_again']:.0f} of {chargers} tried again")
            yield took["seconds"]

    return measure

"""A fleet that comes back at once: 5 000 connections that all send as soon as they are connected, and go on.

Each run starts a new server, and first measures it with 100 connections, after a warm-up. Then the others connect. As
soon as all have, each sends a CALL, and the next when that is answered. There is no warm-up here: the second figure
begins with the first of these CALLs. It is also given relative to the one with 100 connections of the same run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from figures import Failure, Figure, Plan
from measuring import Measurement, Series, rate_and_cpu, run_load, take_turns
from messages import MESSAGES
from servers import VALIDATING, Peer, available_peers

NAME = "comeback"
_MESSAGE = "MeterValues"
_RUNS = 5
_LONGER = 2
"""How many times longer the fleet is measured, so that each charger has its turn."""


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the answers a second and their CPU time, and the rate relative to that with few connections."""
    few, many = (2, 20) if plan.smoke else (100, 5_000)
    scenario = f"{many} connections that come back at once"
    relative = f"{scenario}, relative to {few} connections"
    yield from take_turns(
        plan if plan.smoke else dataclasses.replace(plan, repetitions=max(_RUNS, plan.repetitions)),
        {
            _rates(plan, peer, few, many): [
                *rate_and_cpu(scenario, "", peer.name),
                Series(relative, "", peer.name, "\N{MULTIPLICATION SIGN}"),
            ]
            for peer in available_peers(plan, VALIDATING, MESSAGES[_MESSAGE])
        },
    )


def _rates(plan: Plan, peer: Peer, few: int, many: int) -> Measurement:
    warm_up = min(0.5, plan.seconds / 4)
    options = [str(option) for option in ("--warm-up", warm_up, 0, "--seconds", plan.seconds, _LONGER * plan.seconds)]

    def measure() -> Iterator[float]:
        base, fleet = run_load(plan, peer, _MESSAGE, [few, many], options)
        yield fleet["rate"]
        yield fleet["cpu"]
        yield fleet["rate"] / base["rate"]

    return measure

"""Requests of a central system: answers a second, and CPU time for each; the chargers answer at once.

Each repetition starts a central system, and 1 000 chargers on raw sockets that share the other core. The central system
sends UnlockConnector; request and answer are validated:

* to all chargers at once, and again after the last answer: with futures of `submit_request`, or `asyncio.gather`;
* to all chargers in turn, from 16 threads with `send_request`, or from 16 tasks;
* to one charger, from 16 threads or tasks. A charger has one request at a time (J16 §4.1.1), so they take turns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from central_systems import CentralSystem, central_system, fleet, installed_peers
from figures import Failure, Figure, Plan
from measuring import Measurement, rate_and_cpu, take_turns

NAME = "requests"
_AT_ONCE = 50


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the answers a second of each peer, and the CPU time of each answer."""
    chargers = 20 if plan.smoke else 1000
    measures = {
        "all-at-once": ("send_request fan-out", f"{chargers} chargers at once"),
        "some-at-a-time": ("send_request fan-out", f"{chargers} chargers, 16 at a time"),
        "threads-to-one": ("send_request, 16 threads to one", ""),
    }
    yield from take_turns(
        plan,
        {
            _rates(plan, peer, chargers, list(measures)): [
                series
                for scenario, variant in measures.values()
                for series in rate_and_cpu(scenario, variant, peer.name, "answers/s")
            ]
            for peer in installed_peers(NAME, plan)
        },
    )


def _rates(plan: Plan, peer: CentralSystem, chargers: int, measures: list[str]) -> Measurement:
    def measure() -> Iterator[float]:
        with central_system(plan, peer) as (program, port), fleet(plan, port, chargers, _AT_ONCE):
            for measure_name in measures:
                program.ask(f"{measure_name} 0")
                found = json.loads(program.ask(f"{measure_name} {plan.seconds}"))
                yield found["rate"]
                yield found["cpu"]

    return measure

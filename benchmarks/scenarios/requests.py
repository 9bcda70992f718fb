"""How many answers a second a central system gets out of its chargers, which answer at once.

Each repetition starts a central system and 1 000 chargers on raw sockets, which share the other core. The central
system sends UnlockConnector, checked on its way as is the answer:

* to all chargers at once, and again when the last has answered: futures of `submit_request`, `asyncio.gather`;
* to all chargers in turn from 16 threads with `send_request`, and from 16 tasks;
* to one charger from 16 threads and tasks. It has one request at a time (J16 §4.1.1): this is how fast they take turns.
"""

from __future__ import annotations

from collections.abc import Iterator

from central_systems import central_system, fleet, installed_peers
from figures import Failure, Figure, Plan
from measuring import Measurement, Series, take_turns

NAME = "requests"
_AT_ONCE = 50


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Measure it."""
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
                Series(scenario, variant, peer, "answers/s") for scenario, variant in measures.values()
            ]
            for peer in installed_peers(NAME)
        },
    )


def _rates(plan: Plan, peer: str, chargers: int, measures: list[str]) -> Measurement:
    def measure() -> Iterator[float]:
        with central_system(plan, peer) as (program, port), fleet(plan, port, chargers, _AT_ONCE):
            for what in measures:
                program.ask(f"{what} 0")
                yield float(program.ask(f"{what} {plan.seconds}"))

    return measure

"""How long validation alone takes for a message, of ocppsync and of other validators with the same schemas.

A process of its own for each, on the server's core, makes the validators once, looks whether they take what is right
and refuse what is wrong, a date-time included, and then judges the same payload for some time. The TransactionEvent has
every object that one can have, and three values.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from central_systems import HERE, installed, running
from figures import Figure, Plan

NAME = "validation"
_PEERS = ("ocppsync", "jsonschema", "fastjsonschema", "jsonschema_rs")
_SHARE = 0.05
"""Of the seconds of a measurement: nothing here waits for anything, so that little time is enough."""


def run(plan: Plan) -> Iterator[Figure]:
    """Measure it."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    peers = [peer for peer in _PEERS if installed(NAME, peer, [peer])]
    for _ in range(plan.repetitions):
        for peer in peers:
            path = HERE / "programs" / "validators.py"
            with running(path, peer, plan.seconds * _SHARE, core=plan.server_core) as program:
                for variant, microseconds in json.loads(program.read()).items():
                    found[variant, peer].append(microseconds)
    for variant in dict.fromkeys(variant for variant, _ in found):
        for peer in peers:
            name, values = peer.replace("_", "-"), tuple(found[variant, peer])
            yield Figure("validation", variant, name, "µs", values, more_is_better=False)

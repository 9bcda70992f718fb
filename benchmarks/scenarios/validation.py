"""How long validation alone takes for a message, of ocppsync and of other validators with the same schemas.

A process of its own for each, on the server's core, makes the validators once, looks whether they take what is right
and refuse what is wrong, a date-time included, and then judges the same payload for some time. The TransactionEvent has
every object that one can have, and three values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from central_systems import installed, python
from figures import Failure, Figure, Plan
from measuring import Measurement, Series, take_turns
from messages import MESSAGES
from processes import running

NAME = "validation"
_PEERS = ("ocppsync", "jsonschema", "fastjsonschema", "jsonschema_rs")
_SHARE = 0.05
"""Of the seconds of a measurement: nothing here waits for anything, so that little time is enough."""


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Measure it."""
    yield from take_turns(
        plan,
        {
            _microseconds(plan, peer): [
                Series("validation", name, peer.replace("_", "-"), "µs", more_is_better=False) for name in MESSAGES
            ]
            for peer in _PEERS
            if installed(NAME, peer, [peer])
        },
    )


def _microseconds(plan: Plan, peer: str) -> Measurement:
    def measure() -> Iterator[float]:
        command = python("programs/validators.py", peer, plan.seconds * _SHARE)
        with running(command, plan.server_core) as program:
            for message in MESSAGES.values():
                version = message.protocol.removeprefix("ocpp")
                yield float(program.ask(json.dumps([version, message.action, message.payload])))

    return measure

"""Time of validation alone for each message, in ocppsync and in other validators with the same schemas.

Each validator runs in its own process, on the server's core. The process creates the validator once, checks that it
accepts valid payloads and rejects invalid ones (an invalid date-time included), and then validates the same payload
repeatedly. The TransactionEvent has every object that one can have, and three values.
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
_TIME_SHARE = 0.05
"""Share of the seconds of a measurement: nothing here waits, so a short time is enough."""


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the microseconds for each message and validator."""
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
        command = python("programs/validators.py", peer, plan.seconds * _TIME_SHARE)
        with running(command, plan.server_core) as program:
            for message in MESSAGES.values():
                version = message.protocol.removeprefix("ocpp")
                yield float(program.ask(json.dumps([version, message.action, message.payload])))

    return measure

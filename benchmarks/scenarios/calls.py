"""Python functions of ocppsync that a message passes, on all threads together: a count, the same on every machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from central_systems import installed, python
from figures import Failure, Figure, Plan
from measuring import Measurement, Series, take_turns
from processes import running
from servers import OURS, importing

NAME = "calls"
_MESSAGES = ("a CALL", "a send_request")


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the calls for a CALL and for a `send_request`."""
    if not installed(NAME, OURS.name, ["websockets"]):
        return
    releases: dict[str, Path | None] = {OURS.name: None}
    if plan.against is not None:
        releases[plan.against.name] = plan.against.path
    yield from take_turns(
        dataclasses.replace(plan, repetitions=1),  # the next count is the same
        {
            _count(plan, package): [
                Series("Python calls for a message", message, name, "calls", more_is_better=False)
                for message in _MESSAGES
            ]
            for name, package in releases.items()
        },
    )


def _count(plan: Plan, package: Path | None) -> Measurement:
    def measure() -> Iterator[float]:
        with running(python("programs/python_calls.py"), plan.server_core, importing(package)) as program:
            found = json.loads(program.read())
        for message in _MESSAGES:
            yield found[message]

    return measure

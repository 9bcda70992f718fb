"""Start time of a program that imports only its central system, compared with one that imports nothing.

Each start is a new process; a first one, which is not counted, compiles the files. A value is the median of several
starts, each from before the process is created until it has ended.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from central_systems import installed
from figures import Failure, Figure, Plan
from measuring import Measurement, Series, take_turns

NAME = "imports"
_OCPP = "from ocpp.v16 import ChargePoint; from websockets.asyncio.server import serve"
_PROGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    # peer: program, required modules
    "ocppsync": ("from ocppsync import CentralSystem", ()),
    "ocpp package": (_OCPP, ("ocpp", "websockets")),
    "empty interpreter": ("pass", ()),
}
_STARTS = 5


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the milliseconds of a start, for each peer."""
    peers = [peer for peer, (_, modules) in _PROGRAMS.items() if installed(NAME, peer, modules)]
    for peer in peers:
        _milliseconds(plan, peer)
    yield from take_turns(
        plan, {_time(plan, peer): [Series("import", "", peer, "ms", more_is_better=False)] for peer in peers}
    )


def _time(plan: Plan, peer: str) -> Measurement:
    def measure() -> Iterator[float]:
        yield statistics.median(_milliseconds(plan, peer) for _ in range(1 if plan.smoke else _STARTS))

    return measure


def _milliseconds(plan: Plan, peer: str) -> float:
    # The process pins itself: it may end before this process could pin it.
    program = f"import os; os.sched_setaffinity(0, {{{plan.server_core}}}); {_PROGRAMS[peer][0]}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return (time.perf_counter() - began) * 1e3

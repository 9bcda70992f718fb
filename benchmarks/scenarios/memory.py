"""How much memory of its own a central system needs for a connection on which nothing happens.

10 000 charge points connect, 50 at a time, and send a BootNotification each. Then the resident memory of the process
(VmRSS) is compared with what it was after one charge point had come and gone. The process shares next to nothing of
it with others, so that its PSS is the same.

A second figure adds what the kernel keeps for the process alone: its page tables (VmPTE), and a stack of 16 kB for each
of its threads. A thread for each connection costs more there than a single one for all. The sockets, whose buffers are
empty, are the same for everybody, and are not counted.
"""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from central_systems import central_system, fleet, installed_peers
from figures import Failure, Figure, Plan
from measuring import Measurement, Series, take_turns
from processes import Program, allow_many_sockets

NAME = "memory"
_MAX_REPETITIONS = 2
_SPARE = 500
"""Descriptors and threads for everything else."""
_MAPPINGS = 2
"""That a thread takes: its stack, and the guard page below."""
_KERNEL_STACK = 16
"""Of a thread, in kB, on the 64-bit systems that Linux runs on."""


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Measure it."""
    connections = 100 if plan.smoke else _possible(10_000)
    variants = f"{connections} connections", f"{connections} connections, with the kernel's part"
    yield from take_turns(
        dataclasses.replace(plan, repetitions=min(plan.repetitions, _MAX_REPETITIONS)),
        {
            _memory(plan, peer, connections): [
                Series("idle memory", variant, peer, "kB", more_is_better=False) for variant in variants
            ]
            for peer in installed_peers(NAME)
        },
    )


def _memory(plan: Plan, peer: str, connections: int) -> Measurement:
    """Yield the kB that a connection takes in the process, and with what the kernel keeps for it."""

    def measure() -> Iterator[float]:
        with central_system(plan, peer) as (program, port):
            with fleet(plan, port, 1, 1):
                pass
            before = _settled(program)
            with fleet(plan, port, connections, at_once=min(connections, 50)):
                after = _settled(program)
        resident, tables, threads = ((after[key] - before[key]) / connections for key in ("VmRSS", "VmPTE", "Threads"))
        yield resident
        yield resident + tables + threads * _KERNEL_STACK

    return measure


def _settled(program: Program) -> dict[str, int]:
    """Return the state of a process whose memory has come to rest."""
    state = _state(program)
    while True:
        time.sleep(0.3)
        previous, state = state, _state(program)
        if abs(state["VmRSS"] - previous["VmRSS"]) < 64 and state["Threads"] == previous["Threads"]:
            return state


def _state(program: Program) -> dict[str, int]:
    """Return the numbers of a process, those of its memory in kB."""
    lines = Path(f"/proc/{program.pid}/status").read_text(encoding="ascii").splitlines()
    entries = (line.partition(":")[::2] for line in lines)
    return {key: int(value.split()[0]) for key, value in entries if key in ("VmRSS", "VmPTE", "Threads")}


def _possible(wanted: int) -> int:
    """Return how many connections the system lets a process have that starts a thread for each."""
    bounds = {
        "RLIMIT_NOFILE": allow_many_sockets(),
        "RLIMIT_NPROC": resource.getrlimit(resource.RLIMIT_NPROC)[0],
        "threads-max": _setting("kernel/threads-max"),
        "pid_max": _setting("kernel/pid_max"),
        "max_map_count": _setting("vm/max_map_count") // _MAPPINGS,
        "pids.max": _most_in_group(),
    }
    name, bound = min(((name, bound) for name, bound in bounds.items() if bound != resource.RLIM_INFINITY), key=_second)
    if bound - _SPARE >= wanted:
        return wanted
    print(f"{NAME}: {bound - _SPARE} connections instead of {wanted}, for {name} is {bound}", file=sys.stderr)
    return bound - _SPARE


def _second(pair: tuple[str, int]) -> int:
    return pair[1]


def _setting(name: str) -> int:
    return int(Path("/proc/sys", name).read_text(encoding="ascii"))


def _most_in_group() -> int:
    """Return how many threads the control group of a container may have."""
    for file in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
        if Path(file).exists() and (text := Path(file).read_text(encoding="ascii").strip()) != "max":
            return int(text)
    return resource.RLIM_INFINITY

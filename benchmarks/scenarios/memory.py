"""Memory that a central system needs for an idle connection.

10 000 charge points connect, 50 at a time, and send a BootNotification each. The resident memory of the process (VmRSS)
is compared with its value after one charge point has connected and disconnected. The process shares next to no memory
with others, so its PSS is the same.

A second figure adds the kernel memory of the process: its page tables (VmPTE), and a stack of 16 kB for each thread. A
thread for each connection costs more there than one for all. The sockets, with empty buffers, cost every peer the same
and are not counted.
"""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from central_systems import CentralSystem, central_system, fleet, installed_peers
from figures import Failure, Figure, Plan
from measuring import Measurement, Series, take_turns
from processes import Program, allow_many_sockets

NAME = "memory"
_MAX_REPETITIONS = 2
_SPARE = 500
"""File descriptors and threads for everything else."""
_MAPPINGS_PER_THREAD = 2
"""The stack of a thread, and the guard page below."""
_KERNEL_STACK = 16
"""The kernel stack of a thread in kB, on 64-bit Linux."""


def run(plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the kB for each connection, of the process and with kernel memory."""
    connections = 100 if plan.smoke else _possible_connections(10_000)
    variants = f"{connections} connections", f"{connections} connections, with the kernel's part"
    yield from take_turns(
        dataclasses.replace(plan, repetitions=min(plan.repetitions, _MAX_REPETITIONS)),
        {
            _memory(plan, peer, connections): [
                Series("idle memory", variant, peer.name, "kB", more_is_better=False) for variant in variants
            ]
            for peer in installed_peers(NAME, plan)
        },
    )


def _memory(plan: Plan, peer: CentralSystem, connections: int) -> Measurement:
    """Yield the kB for each connection, first of the process, then with kernel memory."""

    def measure() -> Iterator[float]:
        with central_system(plan, peer) as (program, port):
            with fleet(plan, port, 1, 1):
                pass
            before = _stable_status(program)
            with fleet(plan, port, connections, at_once=min(connections, 50)):
                after = _stable_status(program)
        resident, tables, threads = ((after[key] - before[key]) / connections for key in ("VmRSS", "VmPTE", "Threads"))
        yield resident
        yield resident + tables + threads * _KERNEL_STACK

    return measure


def _stable_status(program: Program) -> dict[str, int]:
    """Return the status of a process, once its memory no longer changes."""
    status = _status(program)
    while True:
        time.sleep(0.3)
        previous, status = status, _status(program)
        if abs(status["VmRSS"] - previous["VmRSS"]) < 64 and status["Threads"] == previous["Threads"]:
            return status


def _status(program: Program) -> dict[str, int]:
    """Return the memory of a process in kB, and the number of its threads."""
    lines = Path(f"/proc/{program.pid}/status").read_text(encoding="ascii").splitlines()
    entries = (line.partition(":")[::2] for line in lines)
    return {key: int(value.split()[0]) for key, value in entries if key in ("VmRSS", "VmPTE", "Threads")}


def _possible_connections(wanted: int) -> int:
    """Return how many connections, at most ``wanted``, the system allows with a thread for each."""
    bounds = {
        "RLIMIT_NOFILE": allow_many_sockets(),
        "RLIMIT_NPROC": resource.getrlimit(resource.RLIMIT_NPROC)[0],
        "threads-max": _setting("kernel/threads-max"),
        "pid_max": _setting("kernel/pid_max"),
        "max_map_count": _setting("vm/max_map_count") // _MAPPINGS_PER_THREAD,
        "pids.max": _cgroup_max_threads(),
    }
    name, bound = min(((name, bound) for name, bound in bounds.items() if bound != resource.RLIM_INFINITY), key=_second)
    if bound - _SPARE >= wanted:
        return wanted
    print(f"{NAME}: {bound - _SPARE} connections instead of {wanted}: {name} is {bound}", file=sys.stderr)
    return bound - _SPARE


def _second(pair: tuple[str, int]) -> int:
    return pair[1]


def _setting(name: str) -> int:
    return int(Path("/proc/sys", name).read_text(encoding="ascii"))


def _cgroup_max_threads() -> int:
    """Return the maximum number of threads in the control group of a container."""
    for file in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
        if Path(file).exists() and (text := Path(file).read_text(encoding="ascii").strip()) != "max":
            return int(text)
    return resource.RLIM_INFINITY

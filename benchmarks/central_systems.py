"""Runs central systems and chargers for the scenarios that measure connections and requests."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from figures import Plan
from processes import Program, running
from servers import OCPP_PACKAGE, OURS

HERE = Path(__file__).resolve().parent
_PEERS: dict[str, tuple[str, tuple[str, ...]]] = {
    # peer: program, required modules
    OURS.name: ("programs/central_ocppsync.py", ()),
    OCPP_PACKAGE.name: ("programs/central_ocpp.py", ("ocpp", "websockets")),
}


def python(program: str, *arguments: object) -> list[str]:
    """Return the command that starts a Python program of the benchmarks."""
    return [sys.executable, str(HERE / program), *map(str, arguments)]


@contextlib.contextmanager
def central_system(plan: Plan, peer: str, certificate: Sequence[str] = ()) -> Iterator[tuple[Program, int]]:
    """Run the central system of a peer, and yield it and its port. ``certificate`` has the two files for TLS."""
    with running(python(_PEERS[peer][0], *certificate), plan.server_core) as program:
        yield program, int(program.read())


@contextlib.contextmanager
def fleet(plan: Plan, port: int, chargers: int, at_once: int) -> Iterator[dict[str, float]]:
    """Run chargers that answer CALLs. When all are connected, yield the result of `fleet.py`."""
    options = ("--chargers", chargers, "--at-once", at_once)
    with running(python("fleet.py", port, "stay", *options), plan.load_core) as program:
        yield json.loads(program.read())


def installed_peers(name: str) -> list[str]:
    """Return the peers that can run a scenario; report the others to standard error."""
    return [peer for peer, (_, modules) in _PEERS.items() if installed(name, peer, modules)]


def installed(name: str, peer: str, modules: Sequence[str]) -> bool:
    """Return whether a peer's modules are installed; report missing ones to standard error."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        print(f"{name}: skipping {peer}: not installed: {', '.join(missing)}", file=sys.stderr)
    return not missing

"""The central systems and the chargers of the scenarios that count connections and requests."""

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
    # peer: its program, and the modules that it needs
    OURS.name: ("programs/central_ocppsync.py", ()),
    OCPP_PACKAGE.name: ("programs/central_ocpp.py", ("ocpp", "websockets")),
}


def python(program: str, *arguments: object) -> list[str]:
    """Return how a program of the benchmarks is started."""
    return [sys.executable, str(HERE / program), *map(str, arguments)]


@contextlib.contextmanager
def central_system(plan: Plan, peer: str, certificate: Sequence[str] = ()) -> Iterator[tuple[Program, int]]:
    """Run the central system of a peer; the certificate and its key are for TLS. The other thing is its port."""
    with running(python(_PEERS[peer][0], *certificate), plan.server_core) as program:
        yield program, int(program.read())


@contextlib.contextmanager
def fleet(plan: Plan, port: int, chargers: int, at_once: int) -> Iterator[dict[str, float]]:
    """Run chargers that are all in by now, and answer; what comes is how long they took, as `fleet.py` has it."""
    options = ("--chargers", chargers, "--at-once", at_once)
    with running(python("fleet.py", port, "stay", *options), plan.load_core) as program:
        yield json.loads(program.read())


def installed_peers(name: str) -> list[str]:
    """Return the peers that can be run for a scenario; standard error tells of the others."""
    return [peer for peer, (_, modules) in _PEERS.items() if installed(name, peer, modules)]


def installed(name: str, peer: str, modules: Sequence[str]) -> bool:
    """Return whether a peer's modules are there; standard error tells if they are not."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        print(f"{name}: no {peer} here, for {' and '.join(missing)} is not installed", file=sys.stderr)
    return not missing

"""Runs central systems and chargers for the scenarios that measure connections and requests."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import Plan
from processes import Program, running
from servers import OCPP_PACKAGE, OURS, importing

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class CentralSystem:
    """A central system to measure."""

    #: The name of the peer.
    name: str
    program: str
    #: The modules that it requires.
    modules: tuple[str, ...] = ()
    #: The directory to import another ocppsync from.
    package: Path | None = None


_OURS = CentralSystem(OURS.name, "programs/central_ocppsync.py")
_OCPP_PACKAGE = CentralSystem(OCPP_PACKAGE.name, "programs/central_ocpp.py", ("ocpp", "websockets"))


def python(program: str, *arguments: object) -> list[str]:
    """Return the command that starts a Python program of the benchmarks."""
    return [sys.executable, str(HERE / program), *map(str, arguments)]


@contextlib.contextmanager
def central_system(plan: Plan, peer: CentralSystem, certificate: Sequence[str] = ()) -> Iterator[tuple[Program, int]]:
    """Run a central system, and yield it and its port. ``certificate`` has the two files for TLS."""
    with running(python(peer.program, *certificate), plan.server_core, importing(peer.package)) as program:
        yield program, int(program.read())


@contextlib.contextmanager
def fleet(plan: Plan, port: int, chargers: int, at_once: int) -> Iterator[dict[str, float]]:
    """Run chargers that answer CALLs. When all are connected, yield the result of `fleet.py`."""
    options = ("--chargers", chargers, "--at-once", at_once)
    with running(python("fleet.py", port, "stay", *options), plan.load_core) as program:
        yield json.loads(program.read())


def installed_peers(name: str, plan: Plan) -> list[CentralSystem]:
    """Return the peers that can run a scenario; report the others to standard error."""
    other = plan.against
    then = [CentralSystem(other.name, _OURS.program, package=other.path)] if other is not None else []
    return [peer for peer in (_OURS, *then, _OCPP_PACKAGE) if installed(name, peer.name, peer.modules)]


def installed(name: str, peer: str, modules: Sequence[str]) -> bool:
    """Return whether a peer's modules are installed; report missing ones to standard error."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        print(f"{name}: skipping {peer}: not installed: {', '.join(missing)}", file=sys.stderr)
    return not missing

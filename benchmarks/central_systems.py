"""Starts the programs of the scenarios that count connections and requests, each on its core, and talks to them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from figures import Plan
from fleet import raise_descriptor_limit

HERE = Path(__file__).resolve().parent
PATIENCE = 150.0
"""Seconds that a program may keep one waiting for a line."""
_PEERS: dict[str, tuple[str, tuple[str, ...]]] = {
    # peer: its program, and the modules that it needs
    "ocppsync": ("central_ocppsync.py", ()),
    "ocpp package": ("central_ocpp.py", ("ocpp", "websockets")),
}


class Program:
    """A Python program that prints lines, and may be told some.

    Attributes:
        pid: its process.
    """

    def __init__(self, path: Path, *arguments: object, core: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(path), *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self._name = path.name
        os.sched_setaffinity(self.pid, {core})

    def read(self) -> str:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise RuntimeError(f"{self._name} has ended, or said nothing for {PATIENCE:.0f} s")
        return line.strip()

    def ask(self, line: str) -> str:
        """Tell it a line, and return what it answers."""
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self.read()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def running(path: Path, *arguments: object, core: int) -> Iterator[Program]:
    """Run a program, and end it."""
    program = Program(path, *arguments, core=core)
    try:
        yield program
    finally:
        program.kill()


@contextlib.contextmanager
def central_system(plan: Plan, peer: str, certificate: Sequence[Path] = ()) -> Iterator[tuple[Program, int]]:
    """Run the central system of a peer; the certificate and its key are for TLS. The other thing is its port."""
    raise_descriptor_limit()  # which the program inherits
    path = HERE / "programs" / _PEERS[peer][0]
    with running(path, *certificate, core=plan.server_core) as program:
        yield program, int(program.read())


@contextlib.contextmanager
def fleet(plan: Plan, port: int, chargers: int, at_once: int) -> Iterator[dict[str, float]]:
    """Run chargers that are all in by now, and answer; what comes is how long they took, as `fleet.py` has it."""
    options = ("--chargers", chargers, "--at-once", at_once)
    with running(HERE / "fleet.py", port, "stay", *options, core=plan.load_core) as program:
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

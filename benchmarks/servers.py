"""The peers: how to start each server, and what it supports."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import Plan
from messages import Message
from processes import Program, ProgramError, running

PEERS = Path(__file__).resolve().parent / "peers"
_RPC = ("ocpp1.6", "ocpp2.0.1")


@dataclass(frozen=True)
class Peer:
    """A server to measure."""

    name: str
    #: File name in `PEERS`.
    program: str
    protocols: tuple[str, ...] = _RPC
    options: tuple[str, ...] = ()
    #: Answers without validating requests: an upper bound for the peers that do.
    echo: bool = False
    #: Can be started with the files of a certificate and its key.
    tls: bool = False
    #: Not measured with more connections: it would answer next to nothing.
    max_connections: int = 10_000
    #: The directory to import another ocppsync from.
    package: Path | None = None

    @property
    def available(self) -> bool:
        """Whether it can be started here."""
        return not self.program.endswith(".mjs") or (node() is not None and (PEERS / "node_modules").is_dir())

    def command(self, message: Message) -> list[str]:
        """Return the command that starts it."""
        interpreter = node() if self.program.endswith(".mjs") else sys.executable
        assert interpreter is not None
        options = [*self.options, *(["--answer", message.answer] if self.echo else [])]
        return [interpreter, str(PEERS / self.program), *options]


OURS = Peer("ocppsync", "ours.py", tls=True)
#: The setting that docs/performance.md recommends for thousands of busy connections.
OURS_PATIENT = Peer("ocppsync, switch interval 50 ms", "ours.py", options=("--switch-interval", "0.05"))
#: The threads of ocppsync without its layers: an upper bound for it, but not with thousands of busy connections.
BARE_THREADS = Peer("bare threads", "bare_threads.py")
OCPP_PACKAGE = Peer("ocpp package", "ocpp_package.py", tls=True)
TS_OCPP = Peer("ts-ocpp", "ts_ocpp.mjs", protocols=("ocpp1.6",))
OCPP_RPC = Peer("ocpp-rpc, strict", "ocpp_rpc.mjs")
ECHO_SIMPLE_WEBSOCKET = Peer("echo on simple-websocket", "echo_simple_websocket.py", echo=True, max_connections=1_000)
ECHO_WEBSOCKETS_SYNC = Peer("echo on websockets.sync", "echo_websockets_sync.py", echo=True, max_connections=1_000)
ECHO_WEBSOCKETS_ASYNCIO = Peer("echo on asyncio websockets", "echo_websockets_asyncio.py", echo=True)
ECHO_RAW = Peer("load generator's ceiling", "echo_raw.py", echo=True)

VALIDATING = (OURS, OURS_PATIENT, BARE_THREADS, OCPP_PACKAGE, TS_OCPP, OCPP_RPC)
ECHOES = (ECHO_SIMPLE_WEBSOCKET, ECHO_WEBSOCKETS_SYNC, ECHO_WEBSOCKETS_ASYNCIO, ECHO_RAW)


def available_peers(plan: Plan, peers: Sequence[Peer], message: Message) -> list[Peer]:
    """Return the peers that can be started here and support the message's OCPP version.

    Another ocppsync of the plan follows the installed one, so that the two are measured one right after the other.
    """
    found = [peer for peer in peers if peer.available and message.protocol in peer.protocols]
    if plan.against is not None and OURS in found:
        other = dataclasses.replace(OURS, name=plan.against.name, package=plan.against.path)
        found.insert(found.index(OURS) + 1, other)
    return found


def importing(package: Path | None) -> dict[str, str]:
    """Return the environment in which programs import ocppsync from a directory; None: the installed one."""
    inherited = os.environ.get("PYTHONPATH")
    return {} if package is None else {"PYTHONPATH": os.pathsep.join(filter(None, (str(package), inherited)))}


def node() -> str | None:
    """Return the path of Node.js, or None if it is not installed."""
    return shutil.which("node")


def install_node_peers() -> str | None:
    """Install the peers that run on Node.js; return why that is not possible, or None."""
    npm = shutil.which("npm")
    if node() is None or npm is None:
        return "Node.js or npm is not installed"
    command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=PEERS, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        shutil.rmtree(PEERS / "node_modules", ignore_errors=True)
        return f"npm install failed: {(done.stderr.strip() or 'no error text').splitlines()[0]}"
    return None


@contextlib.contextmanager
def serving(peer: Peer, message: Message, core: int, extra: Sequence[str] = ()) -> Iterator[tuple[Program, int]]:
    """Start a server on a core, yield it and its port, and kill it at the end.

    Raises:
        ProgramError: the server does not start.
    """
    with running([*peer.command(message), *extra], core, importing(peer.package)) as server:
        line = server.read()
        if not line.isdecimal():
            raise ProgramError(f"{peer.name} did not start: expected a port, got {line!r}")
        yield server, int(line)

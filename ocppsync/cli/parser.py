"""The command line: subcommands, options, and the conversion of their values."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import NoReturn

from .._version import __version__
from ..options import check_positive
from ..validation.catalogue import Version
from .demo_central_system import VERSIONS, VERSIONS_TEXT
from .replay import run_replay
from .serve import run_serve

__all__ = ["build_parser"]

_MAX_SIMULATED = 500


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; ``run`` in its result is the function that runs the subcommand."""
    parser = _Parser(prog="ocppsync", description="OCPP without asyncio.")
    parser.add_argument("--version", action="version", version=f"ocppsync {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="run a central system that accepts any charge point, and show the messages",
        description=f"Run a central system for OCPP {VERSIONS_TEXT} that accepts any charge point, and show the "
        "messages.",
    )
    serve.add_argument("--host", default="0.0.0.0", help="the address to listen on (default: all)")  # noqa: S104
    serve.add_argument("--port", type=_port, default=9000, help="0 picks a free port (default: 9000)")
    serve.add_argument("--simulate", type=_count, default=0, metavar="N", help="also run N simulated charge points")
    serve.add_argument(
        "--ocpp",
        type=_versions,
        default=",".join(VERSIONS),
        metavar="VERSIONS",
        help="the OCPP versions of the simulated charge points, assigned in turn (default: %(default)s)",
    )
    serve.add_argument(
        "--pace",
        type=_positive_number,
        default=1.0,
        metavar="X",
        help="how fast the simulated charge points run; 10 is ten times as fast (default: 1)",
    )
    serve.add_argument("--verbose", action="store_true", help="show whole payloads and the library's log")
    serve.add_argument("--journal", metavar="FILE", help="also write every message to a file, as lines of JSON")
    serve.add_argument(
        "--mask",
        action="append",
        default=[],
        metavar="FIELD",
        help="a field to show and write as ***, besides passwords and PINs, such as idTag",
    )
    serve.set_defaults(run=run_serve)
    replay = commands.add_parser(
        "replay",
        help="send the charge points' messages of a journal again, and show which answers differ",
        description="Send the charge points' messages of a journal to a central system, one connection after the "
        "other, and show which answers differ from the recorded ones. The exit status is 1 if any differs, or if "
        "nothing can be replayed.",
    )
    replay.add_argument("journal", metavar="FILE", help="a journal written by a central system")
    replay.add_argument("--url", default="ws://127.0.0.1:9000", help="the endpoint (default: %(default)s)")
    replay.add_argument("--ca", metavar="FILE", help="CA certificates to trust for a wss URL, as PEM")
    replay.add_argument("--charge-point", metavar="ID", help="replay only the connections of this charge point")
    replay.add_argument(
        "--ignore", action="append", default=[], metavar="FIELD", help="a field that may differ, besides currentTime"
    )
    replay.add_argument(
        "--timeout", type=_positive_number, default=10.0, metavar="S", help="seconds to wait (default: 10)"
    )
    replay.set_defaults(run=run_replay)
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid port: expected 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _MAX_SIMULATED:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid number: expected 0 to {_MAX_SIMULATED}")
    return int(text)


def _versions(text: str) -> tuple[Version, ...]:
    supported: Mapping[str, Version] = {version: version for version in VERSIONS}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in supported:
            raise argparse.ArgumentTypeError(f"unsupported OCPP version {name!r}; supported: {', '.join(VERSIONS)}")
    return tuple(supported[name] for name in names)


def _positive_number(text: str) -> float:
    try:
        check_positive(number=float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0") from None
    return float(text)

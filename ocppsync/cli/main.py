"""Entry point of the command ``ocppsync``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from .parser import build_parser

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 for success, 1 for a failure, 2 for wrong usage."""
    options = build_parser().parse_args(arguments)
    _escape_unencodable(sys.stdout, sys.stderr)
    try:
        status: int = options.run(options)
        return status
    except KeyboardInterrupt:
        # A second Ctrl-C, during shutdown.
        return 130


def _escape_unencodable(*streams: TextIO) -> None:
    # A character that the terminal cannot encode must not end the command.
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")

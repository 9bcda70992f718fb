"""Reports the progress of a run."""

from __future__ import annotations

import sys
import time

_BEGAN = time.monotonic()


def elapsed() -> float:
    """Return the seconds since the start of the run."""
    return time.monotonic() - _BEGAN


def say(text: str) -> None:
    """Print a line to standard error, with the time since the start."""
    minutes, seconds = divmod(int(elapsed()), 60)
    print(f"{minutes:3d}:{seconds:02d}  {text}", file=sys.stderr, flush=True)

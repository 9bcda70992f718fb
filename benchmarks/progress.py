"""What a run tells while it works."""

from __future__ import annotations

import sys
import time

_BEGAN = time.monotonic()


def elapsed() -> float:
    """Return the seconds since the run began."""
    return time.monotonic() - _BEGAN


def say(text: str) -> None:
    """Print a line with the time that has passed."""
    minutes, seconds = divmod(int(elapsed()), 60)
    print(f"{minutes:3d}:{seconds:02d}  {text}", file=sys.stderr, flush=True)

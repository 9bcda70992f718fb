"""Says so where an object is used in a process that was forked after another one had started it."""

from __future__ import annotations

import os

__all__ = ["check_process", "is_foreign"]


def is_foreign(process: int | None) -> bool:
    """Return whether an object was started in another process than this; ``process`` is None before its start."""
    return process is not None and process != os.getpid()


def check_process(process: int | None, what: str) -> None:
    """Check that an object is used in the process that started it, before any of its locks is taken.

    Threads do not survive a fork, and a lock that one of them held stays locked for ever.

    Args:
        process: the process that started the object; None: it was not started.
        what: the object, and what starts it.

    Raises:
        RuntimeError: this is another process, which was forked from that one.
    """
    if is_foreign(process):
        raise RuntimeError(
            f"{what} in process {process}, and cannot be used in process {os.getpid()}, which was forked from it: "
            "threads do not survive a fork; start it in the worker, after the fork (with gunicorn, not before "
            f"post_fork), or let process {process} do this"
        )

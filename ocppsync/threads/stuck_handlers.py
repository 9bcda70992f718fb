"""Knows what the handler threads are at, so that the log can tell which handler hangs, and where."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from typing import NamedTuple

from .pool import Workers
from .timer import Timer

__all__ = ["StuckHandlerDetector"]

_logger = logging.getLogger(__name__)
STUCK_AFTER = 10.0
"""Seconds that all handler threads may run the same tasks before the log says so."""
_FRAMES_SHOWN = 6


class Running(NamedTuple):
    """A handler at work."""

    peer: str
    action: str
    since: float


class StuckHandlerDetector:
    """Watches the handlers of one central system or charge point.

    Args:
        pool: whose threads they run on.
        timer: wakes it.
        stuck_after: seconds, as `STUCK_AFTER`.
    """

    def __init__(self, pool: Workers, timer: Timer, stuck_after: float = STUCK_AFTER) -> None:
        self._pool = pool
        self._timer = timer
        self._stuck_after = stuck_after
        self._running: dict[int, Running] = {}  # by thread; each changes its own entry alone
        self._told = False

    def start(self) -> None:
        """Look at the threads from now on, until the timer is closed."""
        self._timer.call_later(self._stuck_after / 2, self._check)

    def begin(self, peer: str, action: str) -> int:
        """Note that this thread handles a CALL of a peer from now on; return the thread's number."""
        thread = threading.get_ident()
        self._running[thread] = Running(peer, action, self._timer.now())
        return thread

    def end(self) -> None:
        """Note that the handler has finished."""
        self._running.pop(threading.get_ident(), None)

    def warn_possible_deadlock(self, charge_point_id: str, action: str) -> None:
        """Say in the log what may be the cause when a request of this thread got no answer in time.

        Charge points there are that answer nothing before they have the answer to their own CALL, whose handler waits
        for them here.
        """
        handler = self._running.get(threading.get_ident())
        if handler is not None and handler.peer == charge_point_id:
            _logger.warning(
                "%s did not answer %s, for which the handler of its own %s waits; it may wait for that answer first: "
                "send the request from a function that runs after(%r)",
                charge_point_id,
                action,
                handler.action,
                handler.action,
            )

    def stack_of(self, thread: int) -> str:
        """Return where a thread is, the innermost call last."""
        frame = sys._current_frames().get(thread)
        if frame is None:
            return "(ended)"
        summary = traceback.extract_stack(frame)[-_FRAMES_SHOWN:]
        return " > ".join(f"{entry.filename}:{entry.lineno} {entry.name}" for entry in summary)

    def _check(self) -> None:
        since = self._pool.stuck_since
        stuck = since is not None and self._timer.now() - since > self._stuck_after
        if stuck and not self._told:
            _logger.warning("all handler threads are busy for %g s: %s", self._stuck_after, self._described())
        self._told = stuck
        self.start()

    def _described(self) -> str:
        # A copy, which is made at once: handlers come and go meanwhile.
        running = sorted(self._running.copy().items(), key=lambda item: item[1].since)
        handlers = (f"{one.action} of {one.peer} at {self.stack_of(thread)}" for thread, one in running)
        return "; ".join(handlers) or "none of them runs a handler of an action"

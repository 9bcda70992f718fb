"""Knows which handlers run, so that the log can say which handler hangs, and where."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from itertools import islice
from typing import Protocol

from ..faults.log_lines import log_line
from ..faults.printable import shown
from ..throttled_log import LogThrottle
from .pool import Workers
from .timer import Timer

__all__ = ["StuckHandlerDetector"]

_logger = logging.getLogger(__name__)
STUCK_AFTER = 10.0
"""After this many seconds in which all handler threads run the same tasks, a warning is logged."""
_FRAMES_SHOWN = 6


class Running(Protocol):
    """A CALL that is being handled."""

    peer: str
    """The name of the peer that sent it."""
    action: str
    asked_at: float


class StuckHandlerDetector:
    """Watches the handlers of one central system or charge point.

    Args:
        pool: the threads of the handlers.
        timer: for the checks.
        stuck_after: in seconds; see `STUCK_AFTER`.
    """

    def __init__(self, pool: Workers, timer: Timer, stuck_after: float = STUCK_AFTER) -> None:
        self._pool = pool
        self._timer = timer
        self._stuck_after = stuck_after
        self.running: dict[int, Running] = {}
        """What each thread handles, by its number; each thread changes only its entry."""
        self._told = False
        self._throttle = LogThrottle(timer.now)

    def start(self) -> None:
        """Check the threads from now on, until the timer is closed."""
        self._timer.call_later(self._stuck_after / 2, self._check)

    def warn_possible_deadlock(self, charge_point_id: str, action: str) -> None:
        """Log the possible cause after a request of this thread got no answer in time.

        Some charge points answer nothing until their own CALL is answered, and the handler of that CALL waits for them.
        """
        handler = self.running.get(threading.get_ident())
        if handler is not None and handler.peer == charge_point_id:
            text = (
                "%s did not answer %s, for which the handler of its own %s waits; it may wait for that answer first: "
                "send the request from a function that runs after(%r)"
            )
            who, own = charge_point_id, handler.action
            self._throttle.log(_logger, who, ("deadlock", action, own), text, who, action, own, own)

    def stack_of(self, thread: int) -> str:
        """Return the end of a thread's stack in one line, the innermost call last; never raises."""
        frame = sys._current_frames().get(thread)
        if frame is None:
            return "(ended)"
        try:
            innermost = [
                f"{called.f_code.co_filename}:{line} {called.f_code.co_name}"
                for called, line in islice(traceback.walk_stack(frame), _FRAMES_SHOWN)
            ]
        except Exception:
            # The thread goes on meanwhile, and CPython may reuse a frame that is being read. The caller must go on too:
            # it is about to answer a CALL, or to check the threads again.
            return "(changing)"
        return " > ".join(reversed(innermost))

    def _check(self) -> None:
        since = self._pool.stuck_since
        stuck = since is not None and self._timer.now() - since > self._stuck_after
        if stuck and not self._told and self._throttle.due("", "busy"):
            text = "all handler threads are busy for %g s: %s"
            log_line(_logger, logging.WARNING, text, self._stuck_after, self._described())
        self._told = stuck
        self.start()

    def _described(self) -> str:
        # A copy, since handlers begin and end meanwhile.
        running = sorted(self.running.copy().items(), key=lambda item: item[1].asked_at)
        handlers = (f"{shown(one.action)} of {one.peer} at {self.stack_of(thread)}" for thread, one in running)
        return "; ".join(handlers) or "none of them runs a handler of an action"

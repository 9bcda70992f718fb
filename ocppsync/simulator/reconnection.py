"""How a simulated charge point gets back to its central system."""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random

from ..errors import HandshakeError
from ..faults.log_lines import log_line
from .waiting import Waiting

__all__ = ["Reconnection"]

_logger = logging.getLogger(__name__)


class Reconnection:
    """Connects again, with growing pauses between the attempts (4/201 §5.3).

    Args:
        charge_point_id: the charge point's identity.
        connect: connects, unless there is a connection.
        waiting: waits at the pace of the simulator.
        back_off: returns the shortest pause in seconds at pace 1, how often it doubles, and the random part.
        random: the source of the random part.
    """

    def __init__(
        self,
        charge_point_id: str,
        connect: Callable[[], object],
        waiting: Waiting,
        back_off: Callable[[], tuple[float, int, float]],
        random: Random,
    ) -> None:
        self._charge_point_id = charge_point_id
        self._connect = connect
        self._waiting = waiting
        self._back_off = back_off
        self._random = random

    def pause(self, failures: int) -> None:
        """Wait before another attempt, after so many that failed in a row."""
        minimum, repeats, extra = self._back_off()
        self._waiting.pause(minimum * 2 ** min(failures, repeats) + self._random.uniform(0, extra))

    def run(self) -> bool:
        """Connect again, however long it takes; return False if the charge point stops."""
        failures = 0
        while not self._waiting.stopping:
            self.pause(failures)
            try:
                self._connect()
            except (HandshakeError, RuntimeError) as error:
                # RuntimeError: it was closed, and stops.
                if not self._waiting.stopping:
                    text = "%s: %s; a vehicle is charging, so it tries again"
                    log_line(_logger, logging.WARNING, text, self._charge_point_id, error)
                failures += 1
            else:
                return True
        return False

"""Logs the faults of one peer without letting the peer flood the log."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping

from .faults.printable import shown_all

__all__ = ["ThrottledLog", "is_power_of_two"]


def is_power_of_two(count: int) -> bool:
    """Return whether ``count`` is 1, 2, 4, 8 and so on; ``count`` is at least 1."""
    return count & (count - 1) == 0


class ThrottledLog:
    """Logs each kind of fault the first, second, fourth, eighth … time, with the number so far.

    Not thread-safe.

    Args:
        peer: the peer's name in the log.
        log_fields: attributes of the log records.
    """

    def __init__(self, peer: str, log_fields: Mapping[str, object] | None = None) -> None:
        self._peer = peer
        self._log_fields = log_fields
        self._counts: dict[Hashable, int] = {}

    def log(
        self, logger: logging.Logger, kind: Hashable, text: str, *args: object, level: int = logging.WARNING
    ) -> None:
        """Count a fault, and log it if the count is a power of two.

        Args:
            logger: the logger to write to.
            kind: faults of the same kind are counted together. Each kind is kept, so a peer must not be able to invent
                kinds.
            text, args: the message, as for `logging.Logger.log`; what the peer sent may be among the arguments.
            level: the log level.
        """
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count == 1:
            logger.log(level, f"%s: {text}", self._peer, *shown_all(args), extra=self._log_fields)
        elif is_power_of_two(count):
            text = f"%s: {text} (%d so far)"
            logger.log(level, text, self._peer, *shown_all(args), count, extra=self._log_fields)

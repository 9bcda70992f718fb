"""What one peer does wrong, told in the log without letting the peer fill it."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping

__all__ = ["ThrottledLog", "is_power_of_two"]


def is_power_of_two(count: int) -> bool:
    """Return whether a fault that came so often is told again: the first time, the second, the fourth, the eighth."""
    return count & (count - 1) == 0


class ThrottledLog:
    """Tells of each kind of fault ever more seldom, as `is_power_of_two` has it, and how many there were.

    For one thread at a time.

    Args:
        peer: the peer's name.
        log_fields: attributes of the log records.
    """

    def __init__(self, peer: str, log_fields: Mapping[str, object] | None = None) -> None:
        self._peer = peer
        self._log_fields = log_fields
        self._counts: dict[Hashable, int] = {}

    def log(
        self, logger: logging.Logger, kind: Hashable, text: str, *args: object, level: int = logging.WARNING
    ) -> None:
        """Count a fault, and log it unless many of its kind were.

        Args:
            logger: where to.
            kind: what counts as the same; a peer must not be able to invent kinds, since each is remembered.
            text, args: what there is to say about it, as for `logging.Logger.log`.
            level: how grave it is.
        """
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count == 1:
            logger.log(level, f"%s: {text}", self._peer, *args, extra=self._log_fields)
        elif is_power_of_two(count):
            text = f"%s: {text} (%d like this by now)"
            logger.log(level, text, self._peer, *args, count, extra=self._log_fields)

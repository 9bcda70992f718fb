"""Logs what peers cause, without letting them flood the log: neither with many lines nor with long ones."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping

from .faults.log_lines import log_line
from .faults.printable import printable, shown, shown_all

__all__ = ["LogThrottle", "ThrottledLog", "is_power_of_two"]

_QUIET = 60.0
"""Seconds without a fault after which its next occurrence counts as the first."""
_PER_MINUTE = 1000
"""How many lines of one kind are logged within a minute, from all peers together."""
_MINUTE = 60.0
_MAX_REMEMBERED = 10_000
"""How many counts are kept. More of them only come from a client that invents identities or has many addresses."""
_LONGEST_LINE = 1000
_MOST_LINES = 200
_LONGEST_IN_CUT = 200
"""The longest line of a traceback that is cut."""


def is_power_of_two(count: int) -> bool:
    """Return whether ``count`` is 1, 2, 4, 8 and so on; ``count`` is at least 1."""
    return count & (count - 1) == 0


class LogThrottle:
    """Counts what the peers of one end cause, and logs it the first, second, fourth, eighth … time. Thread-safe.

    A count ends when nothing came for a minute, so what happens now and then is logged each time. Beyond 1000 lines of
    one kind in a minute, from all peers together, again only the powers of two are logged.

    Args:
        clock: returns the current time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards both below; never held while a line is logged
        self._counts: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()  # how many, and when the last one was
        self._lines: dict[Hashable, tuple[int, float]] = {}  # how many of each kind, since when

    def log(
        self,
        logger: logging.Logger,
        who: str,
        kind: Hashable,
        text: str,
        *args: object,
        level: int = logging.WARNING,
        extra: Mapping[str, object] | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Count what a peer has caused, and log it if the count is a power of two.

        Args:
            logger: the logger to write to.
            who: the peer: its identity, or its address before that is known.
            kind: what is counted together for each peer. A peer must not be able to invent kinds.
            text, args: the message, as for `logging.Logger.log`; the arguments are passed through `shown_all`.
            level: the log level.
            extra: attributes of the log record.
            error: an exception, to log its traceback. Those of other types, or from other places, are other kinds.
        """
        if not logger.isEnabledFor(level):
            return
        if error is not None:
            kind = (kind, type(error), _place_of(error))
        count = self.due(who, kind)
        if not count:
            return
        if count > 1:
            text, args = f"{text} (%d so far)", (*args, count)
        args = shown_all(args)
        if error is not None and (cut := _shortened_traceback(error)) is not None:
            text, args, error = f"{text}\n%s", (*args, cut), None
        log_line(logger, level, text, *args, error=error, extra=extra)

    def due(self, who: str, kind: Hashable) -> int:
        """Count what a peer has caused; return how many there were, or 0 if this one is not to be logged."""
        with self._lock:
            now, key = self._clock(), (who, kind)
            count, last = self._counts.pop(key, (0, now))
            count = count + 1 if now - last < _QUIET else 1
            self._counts[key] = count, now
            if len(self._counts) > _MAX_REMEMBERED:
                self._counts.popitem(last=False)
            if not is_power_of_two(count):
                return 0
            lines, since = self._lines.get(kind, (0, now))
            lines, since = (lines + 1, since) if now - since < _MINUTE else (1, now)
            self._lines[kind] = lines, since
            return count if lines <= _PER_MINUTE or is_power_of_two(lines) else 0


def _place_of(error: BaseException) -> tuple[str, int] | None:
    step = error.__traceback__
    if step is None:
        return None
    while step.tb_next is not None:
        step = step.tb_next
    return step.tb_frame.f_code.co_filename, step.tb_lineno


def _shortened_traceback(error: BaseException) -> str | None:
    """Return the traceback of an exception, cut if it is too long for the log, and printable; None if it is already."""
    lines = "".join(traceback.format_exception(error)).split("\n")
    if len(lines) <= _MOST_LINES and all(len(line) <= _LONGEST_LINE and line.isprintable() for line in lines):
        return None
    if len(lines) > _MOST_LINES:
        half = _MOST_LINES // 2
        lines = [*lines[:half], f"… ({len(lines)} lines)", *lines[-half:]]
    return "\n".join(printable(line) if len(line) <= _LONGEST_LINE else shown(line, _LONGEST_IN_CUT) for line in lines)


class ThrottledLog:
    """Logs what the peer of one connection causes; its counts outlive the connection.

    Args:
        peer: the peer's name in the log.
        log_fields: attributes of the log records.
        throttle: counts what all peers of this end cause; None: nobody else's.
    """

    __slots__ = ("_log_fields", "_peer", "_throttle")

    def __init__(
        self, peer: str, log_fields: Mapping[str, object] | None = None, throttle: LogThrottle | None = None
    ) -> None:
        self._peer = peer
        self._log_fields = log_fields
        self._throttle = throttle or LogThrottle()

    def log(
        self,
        logger: logging.Logger,
        kind: Hashable,
        text: str,
        *args: object,
        level: int = logging.WARNING,
        error: BaseException | None = None,
    ) -> None:
        """Log what the peer has caused, as `LogThrottle.log` does; the name of the peer and a colon come first."""
        self._log(logger, kind, f"%s: {text}", args, level, error)

    def about(
        self,
        logger: logging.Logger,
        text: str,
        *args: object,
        level: int = logging.WARNING,
        error: BaseException | None = None,
    ) -> None:
        """Log what the peer has caused; the text begins with a ``%s`` for its name, and is the kind as well."""
        self._log(logger, text, text, args, level, error)

    def _log(
        self,
        logger: logging.Logger,
        kind: Hashable,
        text: str,
        args: tuple[object, ...],
        level: int,
        error: BaseException | None,
    ) -> None:
        fields, who = self._log_fields, self._peer
        self._throttle.log(logger, who, kind, text, who, *args, level=level, extra=fields, error=error)

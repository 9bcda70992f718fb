"""Reads a journal, connection by connection. A crash may have cut it off, or an attacker may have written it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import OCPPError
from ..wire.http import identity_fault

__all__ = ["Entry", "RecordedSession", "read_journal"]

_logger = logging.getLogger(__name__)

_MAX_REPORTED = 10
"""How many lines that cannot be read are reported one by one."""
_MAX_NUMBER = 2**63


@dataclass(frozen=True)
class Entry:
    """One message of a journal."""

    time: str
    direction: Literal["in", "out"]
    """``"in"``: received by the end that wrote the journal; ``"out"``: sent by it."""
    text: str = field(repr=False)


@dataclass
class RecordedSession:
    """The messages of one connection in a journal."""

    charge_point_id: str
    version: str
    entries: list[Entry] = field(default_factory=list)
    connection: int | None = None
    """The number of the connection; None in a journal without them."""


def read_journal(path: str | Path, *, report: Callable[[str], object] | None = None) -> list[RecordedSession]:
    """Return the connections recorded in a journal, in the order they began, except those without messages.

    A line that cannot be read is skipped and reported, such as one that a crash has cut off. A place where the journal
    has lost lines is reported too: the connections around it may lack messages. Nothing in a file raises anything else
    than what is listed here.

    Args:
        path: the file.
        report: called with a text for each of the first lines that are skipped, and with their number if there are
            more; None: the log gets it, as a warning.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a journal: it has whole lines, but none of them can be read.
    """
    tell = _log if report is None else report
    sessions = _Sessions()
    read = skipped = 0
    fault = ""
    with Path(path).open("rb") as file:  # only b"\n" ends a line: a text may contain other line separators
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            try:
                lost = sessions.add(_decoded(line))
            except _FaultError as error:
                whole = line.endswith(b"\n")
                fault = fault or f"line {number} is not a journal entry: {error}" if whole else fault
                skipped += 1
                if skipped <= _MAX_REPORTED:
                    what = "is not a journal entry" if whole else "is cut off"
                    tell(f"{path}, line {number} {what}, and is skipped: {error}")
            else:
                read += 1
                if lost:
                    tell(f"{path}, line {number}: {lost} lines before it were lost when it was written")
    if skipped > _MAX_REPORTED:
        tell(f"{path}: {skipped - _MAX_REPORTED} more lines are skipped")
    if fault and not read:
        raise ValueError(f"{path} is not a journal: none of its lines can be read; {fault}")
    return [session for session in sessions.all if session.entries]


def _log(text: str) -> None:
    _logger.warning("%s", text)


class _FaultError(OCPPError):
    """A line is not an entry; the text says why, without anything of the line."""


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        raise _FaultError("it is not UTF-8") from None
    except RecursionError:
        raise _FaultError("it is nested too deeply") from None
    except ValueError:  # also a number with more digits than Python converts
        raise _FaultError("it is not JSON") from None
    if not isinstance(value, dict):
        raise _FaultError("it is not a JSON object")
    return value


class _Sessions:
    """The connections of a journal, as its lines tell them.

    Attributes:
        all: in the order they began.
    """

    def __init__(self) -> None:
        self.all: list[RecordedSession] = []
        # By charge point and number. A central system that starts again begins at 1 again.
        self._last: dict[tuple[str, int | None], RecordedSession] = {}

    def add(self, line: dict[str, Any]) -> int:
        """Add what a line says; return how many lines are missing before it.

        Raises:
            _FaultError: it is not an entry.
        """
        event = line.get("event")
        if event == "lost":
            return _whole(line, "lines") or 0
        if event == "refused":
            return 0
        if event not in (None, "connected", "closed"):
            raise _FaultError("its event is unknown")
        name, version, number = _text(line, "charge_point"), _text(line, "version"), _whole(line, "connection")
        fault = identity_fault(name)
        if fault is not None:
            raise _FaultError(f"its charge_point {fault}")
        entry = _entry(line) if event is None else None
        session = self._last.get((name, number))
        if session is None or session.version != version or event == "connected":
            session = self._last[name, number] = RecordedSession(name, version, connection=number)
            self.all.append(session)
        if entry is not None:
            session.entries.append(entry)
        elif event == "closed" and number is not None:
            del self._last[name, number]  # nothing follows; without numbers, something may
        return 0


def _entry(line: dict[str, Any]) -> Entry:
    direction = line.get("direction")
    if direction not in ("in", "out"):
        raise _FaultError('its direction is neither "in" nor "out"')
    return Entry(_text(line, "time"), direction, _text(line, "text"))


def _text(line: dict[str, Any], name: str) -> str:
    value = line.get(name)
    if not isinstance(value, str):
        raise _FaultError(f"its {name} is missing or not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _FaultError(f"its {name} contains half a surrogate pair") from None
    return value


def _whole(line: dict[str, Any], name: str) -> int | None:
    value = line.get(name)
    if value is not None and (type(value) is not int or not 0 <= value < _MAX_NUMBER):
        raise _FaultError(f"its {name} is not a whole number")
    return value

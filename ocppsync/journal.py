"""A journal of the wire: every message as a line of JSON, to look into later, or to play with `ocppsync replay`."""

from __future__ import annotations

import json
import logging
import logging.handlers
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .clock import utc_now
from .events import Closed, Connected, Event, MessageReceived, MessageSent, Refused
from .masking import masked

__all__ = ["Entry", "Journal", "RecordedSession", "read_journal"]

_MIB = 1024 * 1024


class Journal:
    """An observer that writes the conversation to a file: ``CentralSystem(9000, observers=[Journal("wire.jsonl")])``.

    A line is an object with ``time``, ``charge_point``, ``version``, and either ``direction`` (``"in"`` or ``"out"``)
    with the ``text`` of the message, or ``event``: ``"connected"``, ``"closed"`` with its ``code``, or ``"refused"``
    with ``status`` and ``reason``. Secrets are masked: those of configuration keys and variables that hold passwords,
    and passwords in URLs; other personal data, such as idTags, are not.

    Args:
        path: the file; lines are appended to it.
        max_bytes: the size at which it is renamed to ``path.1`` and begun anew.
        backups: how many of those are kept.
        mask: whether secrets are masked.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path, *, max_bytes: int = 10 * _MIB, backups: int = 5, mask: bool = True) -> None:
        self._mask = mask
        self._file = logging.handlers.RotatingFileHandler(
            path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8"
        )

    def __call__(self, event: Event) -> None:
        """Take an event."""
        line = self._line(event)
        if line is not None:
            text = json.dumps({"time": utc_now(), **line}, ensure_ascii=False, separators=(",", ":"))
            # Not emit, which takes no lock: two threads would write or rename the file at once.
            self._file.handle(logging.makeLogRecord({"msg": text}))

    def close(self) -> None:
        """Close the file; an event that comes later opens it again."""
        self._file.close()

    def _line(self, event: Event) -> dict[str, Any] | None:
        if isinstance(event, Refused):
            return {"event": "refused", "address": event.remote_address, "status": event.status, "reason": event.reason}
        if not isinstance(event, (Connected, Closed, MessageReceived, MessageSent)):
            return None
        line: dict[str, Any] = {"charge_point": event.charge_point_id, "version": event.version}
        if isinstance(event, Connected):
            return {**line, "event": "connected"}
        if isinstance(event, Closed):
            return {**line, "event": "closed", "code": event.code}
        direction = "in" if isinstance(event, MessageReceived) else "out"
        return {**line, "direction": direction, "text": _masked_text(event.text) if self._mask else event.text}


def as_journal(journal: Journal | str | Path) -> Journal:
    """Return the journal itself, or one that writes to the path."""
    return journal if isinstance(journal, Journal) else Journal(journal)


def _masked_text(text: str) -> str:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return str(masked(text))
    safe = masked(message)
    # What holds no secret is kept to the letter.
    return text if safe == message else json.dumps(safe, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Entry:
    """A message of a journal."""

    time: str
    direction: Literal["in", "out"]
    """As seen by who wrote the journal."""
    text: str


@dataclass
class RecordedSession:
    """One connection of a journal."""

    charge_point_id: str
    version: str
    entries: list[Entry] = field(default_factory=list)


def read_journal(path: str | Path) -> list[RecordedSession]:
    """Return the connections that a journal tells of, in the order they began.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is none of a journal's; the text has its number.
    """
    sessions: list[RecordedSession] = []
    # With its own end of lines: a text may hold other characters that end some.
    with Path(path).open(encoding="utf-8", newline="\n") as file:
        lines = list(file)
    for number, line in enumerate(lines, 1):
        try:
            _take(json.loads(line), sessions)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}, line {number}: this is no line of a journal") from None
    return [session for session in sessions if session.entries]


def _take(line: dict[str, Any], sessions: list[RecordedSession]) -> None:
    if line.get("event") == "refused":
        return
    name, version = line["charge_point"], line["version"]
    current = next((one for one in reversed(sessions) if one.charge_point_id == name), None)
    if current is None or line.get("event") == "connected":
        current = RecordedSession(name, version)
        sessions.append(current)
    if "text" in line:
        if line["direction"] not in ("in", "out"):
            raise ValueError
        current.entries.append(Entry(line["time"], line["direction"], line["text"]))
    # Tells other objects from an event; its own fields say nothing that is needed here.
    elif "event" not in line:
        raise ValueError

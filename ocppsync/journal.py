"""A file of all messages, one line of JSON each, to read later or to replay with `ocppsync replay`."""

from __future__ import annotations

import json
import logging
import logging.handlers
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .clock import utc_now
from .events import Closed, Connected, Event, MessageReceived, MessageSent, Refused
from .json_text import rewrite
from .masking import masked_text

__all__ = ["Entry", "Journal", "RecordedSession", "read_journal"]

_MIB = 1024 * 1024


class Journal:
    """An observer that writes all messages to a file: ``CentralSystem(9000, observers=[Journal("wire.jsonl")])``.

    A line is an object with ``time``, ``charge_point``, ``version``, and either ``direction`` (``"in"`` or ``"out"``)
    and the ``text`` of the message, or ``event``: ``"connected"``, ``"closed"`` with its ``code``, or ``"refused"``
    with ``address``, ``status`` and ``reason`` and without charge point and version. Passwords in configuration keys,
    variables and URLs are masked, and idTokens of type KeyCode; other personal data such as idTags is not. Of a text
    that is not an OCPP-J message, all values are masked.

    Args:
        path: the file; lines are appended to it.
        max_bytes: the size in bytes at which the file is renamed to ``path.1`` and a new one begins.
        backups: the number of renamed files to keep.
        mask: whether to mask secrets; or names of fields to mask as well, such as ``{"idTag", "idToken"}``.

    Raises:
        OSError: the file cannot be opened.
        TypeError: ``mask`` is neither a bool nor a collection of names.
    """

    def __init__(
        self, path: str | Path, *, max_bytes: int = 10 * _MIB, backups: int = 5, mask: bool | Collection[str] = True
    ) -> None:
        self._names = _names(mask)
        self._file = logging.handlers.RotatingFileHandler(
            path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8"
        )

    def __call__(self, event: Event) -> None:
        """Write an event to the file."""
        line = self._line(event)
        if line is not None:
            text = rewrite({"time": utc_now(), **line})
            # Not emit, which takes no lock: two threads could write or rename the file at the same time.
            self._file.handle(logging.makeLogRecord({"msg": text}))

    def close(self) -> None:
        """Close the file; a later event opens it again."""
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
        return {
            **line,
            "direction": direction,
            "text": event.text if self._names is None else masked_text(event.text, self._names),
        }


def _names(mask: bool | Collection[str]) -> Collection[str] | None:
    """Return the fields to mask beside the secrets; None if nothing is masked."""
    if isinstance(mask, bool):
        return () if mask else None
    if isinstance(mask, str) or not all(isinstance(name, str) for name in mask):
        raise TypeError('mask must be True, False or names of fields such as {"idTag", "idToken"}')
    return tuple(mask)


def as_journal(journal: Journal | str | Path) -> Journal:
    """Return ``journal`` itself, or a journal that writes to that path."""
    return journal if isinstance(journal, Journal) else Journal(journal)


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


def read_journal(path: str | Path) -> list[RecordedSession]:
    """Return the connections recorded in a journal, in the order they began, except those without messages.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not a journal entry; the text names the line number.
    """
    sessions: list[RecordedSession] = []
    # Only "\n" ends a line: a text may contain other line separators.
    with Path(path).open(encoding="utf-8", newline="\n") as file:
        lines = list(file)
    for number, line in enumerate(lines, 1):
        try:
            _add_line(json.loads(line), sessions)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}, line {number}: not a journal entry") from None
    return [session for session in sessions if session.entries]


def _add_line(line: dict[str, Any], sessions: list[RecordedSession]) -> None:
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
    # Neither a message nor an event.
    elif "event" not in line:
        raise ValueError

"""A file of all messages, one line of JSON each, to read later or to replay with `ocppsync replay`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from .events import Closed, Connected, Event, MessageReceived, MessageSent, Refused
from .masking.messages import masked_answer, masked_text
from .recording.line_file import LineFile
from .recording.reading import Entry, RecordedSession, read_journal

__all__ = ["Entry", "Journal", "RecordedSession", "read_journal"]

_MIB = 1024 * 1024
_PLACES = 4096
"""Of how many CALLs with a secret the answers are recognised."""


class Journal:
    """An observer that writes all messages to a file: ``CentralSystem(9000, observers=[Journal("wire.jsonl")])``.

    A line is an object with ``time``, ``charge_point``, ``version``, the number of the ``connection``, and either
    ``direction`` (``"in"`` or ``"out"``) and the ``text`` of the message, or ``event``: ``"connected"``, ``"closed"``
    with its ``code``, or ``"refused"`` with ``address``, ``status`` and ``reason`` and without charge point, version
    and connection. Passwords in configuration keys, variables and URLs are masked, and idTokens of type KeyCode; other
    personal data such as idTags is not. Of a text that is not an OCPP-J message, all values are masked; of the answer
    to a CALL with a secret, the texts for people, which may quote it.

    While the file cannot be written, for example on a full disk, lines are lost. The log says so once, and again when
    lines are written again; before the first of those stands ``"event": "lost"`` with the number of ``lines``.

    Args:
        path: the file; lines are appended to it, on a line of their own if a crash has left half a line.
        max_bytes: the size in bytes at which the file is renamed to ``path.1`` and a new one begins; 0: never.
        backups: the number of renamed files to keep; 0: the file is not renamed.
        mask: whether to mask secrets; or names of fields to mask as well, such as ``{"idTag", "idToken"}``.

    Raises:
        OSError: the file cannot be opened.
        TypeError: ``mask`` is neither a bool nor a collection of names.
    """

    def __init__(
        self, path: str | Path, *, max_bytes: int = 10 * _MIB, backups: int = 5, mask: bool | Collection[str] = True
    ) -> None:
        self._names = _names(mask)
        # Hashes of the latest CALLs with a secret. Without a lock: a place is set or read as a whole.
        self._secretive: list[int | None] = [None] * _PLACES
        self._file = LineFile(path, max_bytes=max_bytes, backups=backups)

    def __call__(self, event: Event) -> None:
        """Write an event to the file; raises nothing if that fails."""
        line = self._line(event)
        if line is not None:
            self._file.append(line)

    @property
    def lost(self) -> int:
        """The number of lines that could not be written."""
        return self._file.lost

    def close(self) -> None:
        """Close the file; a later event opens it again. Raises nothing."""
        self._file.close()

    def _line(self, event: Event) -> dict[str, Any] | None:
        if isinstance(event, Refused):
            return {"event": "refused", "address": event.remote_address, "status": event.status, "reason": event.reason}
        if not isinstance(event, (Connected, Closed, MessageReceived, MessageSent)):
            return None
        line: dict[str, Any] = {"charge_point": event.charge_point_id, "version": event.version}
        if event.connection:  # not in an event that a test has made
            line["connection"] = event.connection
        if isinstance(event, Connected):
            return {**line, "event": "connected"}
        if isinstance(event, Closed):
            return {**line, "event": "closed", "code": event.code}
        direction = "in" if isinstance(event, MessageReceived) else "out"
        return {**line, "direction": direction, "text": event.text if self._names is None else self._masked(event)}

    def _masked(self, event: MessageReceived | MessageSent) -> str:
        names = self._names or ()
        is_call = event.kind == "CALL"
        # The end that sent the CALL sends the error about its answer as well.
        by_caller = is_call or event.kind == "CALLRESULTERROR"
        ours = isinstance(event, MessageSent) == by_caller
        call = hash((event.charge_point_id, event.connection, event.message_id, ours))
        if not is_call and self._secretive[call % _PLACES] == call:
            return masked_answer(event.text, names)
        text = masked_text(event.text, names)
        if is_call and text != event.text:
            self._secretive[call % _PLACES] = call
        return text


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

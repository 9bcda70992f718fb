"""Server-sent events that tell open pages about changes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

__all__ = ["Updates"]

_KEEPALIVE = 15.0
"""Seconds between two writes to a stream. A write to a closed page fails and frees its thread."""


class Updates:
    """Counts the changes of each charger, and waits for the next change."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._versions: Counter[str] = Counter()
        self._closed = False

    def notify(self, charger: str) -> None:
        """Wake the pages that show this charger."""
        with self._changed:
            self._versions[charger] += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End all streams; a stopping server waits for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stream(self, charger: str | None) -> Iterator[str]:
        """Yield a server-sent event after each change of a charger; None: of any charger."""
        seen = self._next(charger, None)
        yield "retry: 1000\n\n"
        while not self._closed:
            version = self._next(charger, seen)
            yield f"data: {version}\n\n" if version != seen else ": keepalive\n\n"
            seen = version

    def _next(self, charger: str | None, seen: int | None) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._version(charger) != seen, _KEEPALIVE)
            return self._version(charger)

    def _version(self, charger: str | None) -> int:
        return self._versions.total() if charger is None else self._versions[charger]

"""The log of a simulated charge point, to be uploaded: its messages, and the security events."""

from __future__ import annotations

import threading
from collections import deque

from ..clock import as_text, now_ms
from ..events import Event, MessageReceived, MessageSent
from ..faults.printable import shown
from ..masking.messages import masked_answer, masked_text

__all__ = ["MessageLog"]

_MAX_LINES = 1000
_MAX_CHARACTERS = 2000


class MessageLog:
    """An observer that keeps the latest 1000 messages as lines, without secrets. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both
        self._messages: deque[tuple[int, str]] = deque(maxlen=_MAX_LINES)
        self._security: deque[tuple[int, str]] = deque(maxlen=_MAX_LINES)

    def __call__(self, event: Event) -> None:
        """Keep a message."""
        if isinstance(event, (MessageReceived, MessageSent)):
            # An answer may quote a secret of its CALL.
            text = masked_text(event.text) if event.kind in ("CALL", "SEND") else masked_answer(event.text)
            direction = "received" if isinstance(event, MessageReceived) else "sent"
            self._add(self._messages, f"{direction} {shown(text, _MAX_CHARACTERS)}")

    def add_security_event(self, name: str) -> None:
        """Keep a security event, by its name in the specification: ``StartupOfTheDevice``."""
        self._add(self._security, name)

    def text(self, *, security: bool = False, oldest: int | None = None, latest: int | None = None) -> str:
        """Return the lines, each with its time; empty if there are none.

        Args:
            security: return the security events instead of the messages.
            oldest, latest: the first and the last moment to include, in milliseconds since 1970.
        """
        with self._lock:
            lines = list(self._security if security else self._messages)
        return "".join(
            f"{as_text(moment)} {line}\n"
            for moment, line in lines
            if (oldest is None or oldest <= moment) and (latest is None or moment <= latest)
        )

    def _add(self, lines: deque[tuple[int, str]], line: str) -> None:
        with self._lock:
            lines.append((now_ms(), line))

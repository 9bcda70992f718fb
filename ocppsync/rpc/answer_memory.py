"""Remembers the last CALLs of a charge point and their answers, so that a repeated CALL gets the same answer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from . import frames

KEPT_ANSWERS = 8
"""How many CALLs of a charge point are remembered."""
KEPT_SECONDS = 300.0
"""For how many seconds they are."""
_LARGE = 4096
# The remembered text was parsed before, so its id may be a number.
_AS_IT_CAME = frames.FrameRules(numeric_ids=True)

# Charge points queue these while they are offline, and repeat them over the next connection (C16 §3.7). Every other
# CALL over another connection is new, even with a known id: ids are unique within one connection only (J16 §4.1.4),
# charge points restart their counters, and a stored answer to a Heartbeat would set a clock wrong.
_KEPT_ACROSS_CONNECTIONS = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})


class CallKind(Enum):
    """What a CALL is to the memory."""

    NEW = auto()
    REPEATED = auto()
    """It was answered; send the same answer again."""
    IN_PROGRESS = auto()
    """It is being handled; there is one answer for both."""
    CONFLICT = auto()
    """Its id was used for another CALL of the same connection."""


@dataclass(slots=True, eq=False)
class IncomingCall:
    """A CALL of the peer, from its arrival to its answer, and later for its repeats."""

    message_id: frames.MessageId
    action: str
    text: str | int
    """The CALL as it was received; of a long one only the hash."""
    reply_to: Any
    """Stands for the connection that gets the answer."""
    asked_at: float
    """When it, or its last repeat while it was being handled, was received."""
    answer: str | None = None
    """Its CALLRESULT."""
    claimed: bool = False
    """Whether a thread is about to answer it."""
    thread: int | None = None
    """The thread that runs its handler."""


class AnswerMemory:
    """The last CALLs of one charge point and their answers, over all its connections.

    ``reply_to`` stands for the connection of a CALL: a weak reference, since the memory outlives connections. The
    answer goes to the connection that sent the CALL last, but never from the newest connection back to an older one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Guards everything below and every IncomingCall: two connections of one charge point may be open at once, and a
        # handler may finish just when its deadline passes.
        self._lock = threading.Lock()
        self._entries: OrderedDict[frames.MessageId, IncomingCall] = OrderedDict()
        self._newest: object = None

    def prefer(self, reply_to: object) -> None:
        """Note the newest connection."""
        with self._lock:
            self._newest = reply_to

    def remember(self, call: frames.CallFrame, text: str, reply_to: object) -> tuple[CallKind, IncomingCall]:
        """Return whether ``call``, received as ``text``, is new. For REPEATED, the `IncomingCall` holds the answer."""
        with self._lock:
            entry = self._entries.get(call.message_id)
            if entry is not None:
                kind = self._compare(entry, call, text, reply_to)
                if kind is not CallKind.NEW:
                    return kind, entry
                del self._entries[call.message_id]
            kept = text if len(text) <= _LARGE else hash(text)
            entry = IncomingCall(call.message_id, call.action, kept, reply_to, self._clock())
            self._entries[call.message_id] = entry
            if len(self._entries) > KEPT_ANSWERS:
                self._entries.popitem(last=False)
            return CallKind.NEW, entry

    def _compare(self, entry: IncomingCall, call: frames.CallFrame, text: str, reply_to: object) -> CallKind:
        assert self._lock.locked()
        same_connection = entry.reply_to is reply_to
        if self._is_forgotten(entry) or not (same_connection or call.action in _KEPT_ACROSS_CONNECTIONS):
            return CallKind.NEW
        if entry.action != call.action or not _same_content(entry.text, text, call):
            return CallKind.CONFLICT if same_connection else CallKind.NEW
        # A message of an older connection may be read after its repeat over the newest.
        if entry.reply_to is not self._newest:
            entry.reply_to = reply_to
        if entry.answer is not None:
            return CallKind.REPEATED
        entry.asked_at = self._clock()
        return CallKind.IN_PROGRESS

    def claim(self, entry: IncomingCall) -> bool:
        """Return whether the caller is the first to claim a CALL; only that one answers it."""
        with self._lock:
            first, entry.claimed = not entry.claimed, True
        return first

    def finish(self, entry: IncomingCall, answer: str | None) -> Any:
        """Store the CALLRESULT of a CALL, and return the connection to send it over.

        ``answer`` None forgets the CALL: after an error its repeat is handled as a new CALL.
        """
        with self._lock:
            entry.answer = answer
            if answer is None and self._entries.get(entry.message_id) is entry:
                del self._entries[entry.message_id]
            return entry.reply_to

    def answered(self, message_id: frames.MessageId) -> str | None:
        """Return the action of a CALL that got its CALLRESULT a short time ago, or None."""
        # Without the lock: it only reads one entry.
        entry = self._entries.get(message_id)
        return None if entry is None or entry.answer is None or self._is_forgotten(entry) else entry.action

    def _is_forgotten(self, entry: IncomingCall) -> bool:
        return entry.answer is not None and self._clock() - entry.asked_at > KEPT_SECONDS


def _same_content(kept: str | int, text: str, call: frames.CallFrame) -> bool:
    if kept == text or kept == hash(text):
        return True
    if isinstance(kept, int):
        return False
    before = frames.parse(kept, _AS_IT_CAME)
    return isinstance(before, frames.CallFrame) and before.payload == call.payload

"""Remembers the last CALLs of a charge point and their answers, so that a repeated CALL gets the same answer."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from ..budget import Budget, Loan
from . import frames

KEPT_ANSWERS = 8
"""How many answered CALLs of a charge point are remembered."""
KEPT_SECONDS = 300.0
"""For how many seconds they are."""
_LARGE = 4096
_FREE = 8 * 1024
"""Bytes of each memory that do not count toward the total, so that ordinary answers need no lock that all share."""
_PER_CALL = 400
"""About how many bytes a remembered CALL takes besides its texts."""
# The remembered text was parsed before, so its id may be a number.
_AS_IT_CAME = frames.FrameRules(numeric_ids=True)

# Charge points queue these while they are offline, and repeat them over the next connection (C16 §3.7). Every other
# CALL over another connection is new, even with a known id: ids are unique within one connection only (J16 §4.1.4),
# charge points restart their counters.
_KEPT_ACROSS_CONNECTIONS = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})
# The answers to these hold the current time (2/201 G02.FR.03, B01.FR.06; C16 §4.2, §4.6), and a charge point sets its
# clock by it: a stored answer would set it wrong. Their handlers run again, as for a new one.
_TELLING_THE_TIME = frozenset({"Heartbeat", "BootNotification"})


class CallKind(Enum):
    """What a CALL is to the memory."""

    NEW = auto()
    REPEATED = auto()
    """It was answered; send the same answer again. Never a CALL that asks for the time."""
    IN_PROGRESS = auto()
    """It is being handled; there is one answer for both."""
    CONFLICT = auto()
    """Its id was used for another CALL of the same connection."""


@dataclass(slots=True, eq=False)
class IncomingCall:
    """A CALL of the peer, from its arrival to its answer, and later for its repeats."""

    message_id: frames.MessageId
    action: str
    text: str | bytes = field(repr=False)
    """The CALL as it was received; of a long one only the digest."""
    reply_to: Any
    """Stands for the connection that gets the answer."""
    asked_at: float
    """When it, or its last repeat while it was being handled, was received."""
    answer: str | None = field(default=None, repr=False)
    """Its CALLRESULT."""
    claimed: bool = False
    """Whether a thread is about to answer it."""
    thread: int | None = None
    """The thread that runs its handler."""
    size: int = 0
    """How many bytes it takes while its answer is kept."""


class AnswerMemory:
    """The last CALLs of one charge point and their answers, over all its connections.

    ``reply_to`` stands for the connection of a CALL: a weak reference, since the memory outlives connections. The
    answer goes to the connection that sent the CALL last, but never from the newest connection back to an older one.

    Args:
        clock: the time in seconds.
        limit: how many bytes the answered CALLs may take; the oldest are forgotten first.
        budget: the bytes that all memories share.
    """

    __slots__ = ("_answered", "_clock", "_free", "_limit", "_loan", "_lock", "_newest", "_open", "_used")

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, limit: int = 64 * 1024, budget: Budget | None = None
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._free = min(_FREE, limit)
        # Guards everything below and every IncomingCall: two connections of one charge point may be open at once, and a
        # handler may finish just when its deadline passes.
        self._lock = threading.Lock()
        self._open: dict[frames.MessageId, IncomingCall] = {}  # being handled, or waiting for that
        self._answered: OrderedDict[frames.MessageId, IncomingCall] = OrderedDict()
        self._newest: object = None
        self._used = 0  # bytes of the answered CALLs
        self._loan = Loan(budget or Budget(), self._free)

    def __repr__(self) -> str:
        return f"<AnswerMemory open={len(self._open)} answered={len(self._answered)} bytes={self._used}>"

    def prefer(self, reply_to: object) -> None:
        """Note the newest connection."""
        with self._lock:
            self._newest = reply_to

    def remember(self, call: frames.CallFrame, text: str, reply_to: object) -> tuple[CallKind, IncomingCall]:
        """Return whether ``call``, received as ``text``, is new. For REPEATED, the `IncomingCall` holds the answer."""
        message_id = call.message_id
        with self._lock:
            entry = self._open.get(message_id) or self._answered.get(message_id)
            if entry is not None:
                kind = self._compare(entry, call, text, reply_to)
                if kind is not CallKind.NEW:
                    return kind, entry
                if entry.answer is not None:
                    self._forget(message_id)
            kept = text if len(text) <= _LARGE else _digest(text)
            entry = self._open[message_id] = IncomingCall(message_id, call.action, kept, reply_to, self._clock())
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
            return CallKind.NEW if call.action in _TELLING_THE_TIME else CallKind.REPEATED
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
        message_id = entry.message_id
        with self._lock:
            if self._open.get(message_id) is entry:
                del self._open[message_id]
                if answer is not None:
                    entry.answer = answer
                    entry.size = _PER_CALL + sys.getsizeof(entry.text) + sys.getsizeof(answer)
                    self._answered[message_id] = entry
                    before = self._used
                    self._used += entry.size
                    if len(self._answered) > KEPT_ANSWERS:
                        self._used -= self._answered.popitem(last=False)[1].size
                    if self._used > self._free or before > self._free:
                        self._settle()
            return entry.reply_to

    def clear(self) -> None:
        """Forget all answers. CALLs that are being handled stay."""
        with self._lock:
            self._answered.clear()
            self._used = 0
            self._settle()

    def _forget(self, message_id: frames.MessageId) -> None:
        assert self._lock.locked()
        self._used -= self._answered.pop(message_id).size
        self._settle()

    def _settle(self) -> None:
        """Borrow or give back bytes; forget the oldest answers until the others are within the limits."""
        assert self._lock.locked()
        while self._used > self._limit or not self._loan.cover(self._used):
            self._used -= self._answered.popitem(last=False)[1].size

    def answered(self, message_id: frames.MessageId) -> str | None:
        """Return the action of a CALL that got its CALLRESULT a short time ago, or None."""
        # Without the lock: it only reads one entry.
        entry = self._answered.get(message_id)
        return None if entry is None or self._is_forgotten(entry) else entry.action

    def _is_forgotten(self, entry: IncomingCall) -> bool:
        return entry.answer is not None and self._clock() - entry.asked_at > KEPT_SECONDS


def _digest(text: str) -> bytes:
    # Not hash(), which differs in each process. A text may hold half a surrogate pair.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _same_content(kept: str | bytes, text: str, call: frames.CallFrame) -> bool:
    if isinstance(kept, bytes):
        return kept == _digest(text)
    if kept == text:
        return True
    before = frames.parse(kept, _AS_IT_CAME)
    return isinstance(before, frames.CallFrame) and before.payload == call.payload

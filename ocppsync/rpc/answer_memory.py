"""Remembers the last CALLs of a charge point and their answers, so that a repeated CALL gets the same answer."""

from __future__ import annotations

import hashlib
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto

from ..budget import Budget, Loan
from . import frames
from .incoming import IncomingCall, MessageId

KEPT_ANSWERS = 8
"""How many answered CALLs of a charge point are remembered."""
KEPT_SECONDS = 300.0
"""For how many seconds they are."""
_LARGE = 4096
_FREE = 8 * 1024
"""Bytes of each memory that do not count toward the total, so that ordinary answers need no lock that all share."""
_PER_CALL = 570
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
    """What a CALL is when it comes."""

    NEW = auto()
    REPEATED = auto()
    """It was answered; send the same answer again. Never a CALL that asks for the time."""
    IN_PROGRESS = auto()
    """It is being handled; there is one answer for both."""
    CONFLICT = auto()
    """Its id was used for another CALL of the same connection."""
    EXCESS = auto()
    """It is new, but there is no room for it; its repeat will be new."""
    DROPPED = auto()
    """It is new, but no more CALLs are handled; it gets no answer."""


class AnswerMemory:
    """The last CALLs of one charge point and their answers, over all its connections.

    ``reply_to`` of a CALL stands for its connection: a weak reference, since the memory outlives connections. The
    answer goes to the connection that sent the CALL last, but never from the newest connection back to an older one.

    Not thread-safe: its owner has a lock.

    Args:
        clock: the time in seconds.
        limit: how many bytes the answered CALLs may take; the oldest are forgotten first.
        budget: the bytes that all memories share.
    """

    __slots__ = ("_answered", "_clock", "_free", "_limit", "_loan", "_newest", "_open", "_used")

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, limit: int = 64 * 1024, budget: Budget | None = None
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._free = min(_FREE, limit)
        self._open: dict[MessageId, IncomingCall] = {}  # being handled, or waiting for that
        self._answered: OrderedDict[MessageId, IncomingCall] = OrderedDict()
        self._newest: object = None
        self._used = 0  # bytes of the answered CALLs
        self._loan = Loan(budget or Budget(), self._free)

    def __repr__(self) -> str:
        return f"<AnswerMemory open={len(self._open)} answered={len(self._answered)} bytes={self._used}>"

    def prefer(self, reply_to: object) -> None:
        """Note the newest connection."""
        self._newest = reply_to

    def remember(self, call: IncomingCall) -> tuple[CallKind, IncomingCall]:
        """Return whether a CALL is new, and the CALL that is remembered. For REPEATED, that one holds the answer."""
        message_id = call.message_id
        entry = self._open.get(message_id) or self._answered.get(message_id)
        if entry is not None:
            kind = self._compare(entry, call)
            if kind is not CallKind.NEW:
                return kind, entry
            if entry.answer is not None:
                self._drop(message_id)
        if len(call.text) > _LARGE:
            call.text = _digest(call.text)  # at once: its size counts the payload alone
        self._open[message_id] = call
        return CallKind.NEW, call

    def _compare(self, entry: IncomingCall, call: IncomingCall) -> CallKind:
        same_connection = entry.reply_to is call.reply_to
        if self._is_forgotten(entry) or not (same_connection or call.action in _KEPT_ACROSS_CONNECTIONS):
            return CallKind.NEW
        if entry.action != call.action or not _same_content(entry.text, call):
            return CallKind.CONFLICT if same_connection else CallKind.NEW
        # A message of an older connection may be read after its repeat over the newest.
        if entry.reply_to is not self._newest:
            entry.reply_to = call.reply_to
        if entry.answer is not None:
            return CallKind.NEW if call.action in _TELLING_THE_TIME else CallKind.REPEATED
        entry.asked_at = call.asked_at
        return CallKind.IN_PROGRESS

    def finish(self, call: IncomingCall, answer: str | None) -> None:
        """Keep the CALLRESULT of a CALL.

        ``answer`` None forgets the CALL: after an error its repeat is handled as a new CALL.
        """
        message_id = call.message_id
        if self._open.get(message_id) is not call:
            return
        del self._open[message_id]
        if answer is not None:
            call.answer = answer
            call.kept_size = _PER_CALL + sys.getsizeof(call.text) + sys.getsizeof(answer)
            self._answered[message_id] = call
            before = self._used
            self._used += call.kept_size
            if len(self._answered) > KEPT_ANSWERS:
                self._used -= self._answered.popitem(last=False)[1].kept_size
            if self._used > self._free or before > self._free:
                self._settle()

    def clear(self) -> None:
        """Forget all answers. CALLs that are being handled stay."""
        self._answered.clear()
        self._used = 0
        self._settle()

    def _drop(self, message_id: MessageId) -> None:
        self._used -= self._answered.pop(message_id).kept_size
        self._settle()

    def _settle(self) -> None:
        """Borrow or give back bytes; forget the oldest answers until the others are within the limits."""
        while self._used > self._limit or not self._loan.cover(self._used):
            self._used -= self._answered.popitem(last=False)[1].kept_size

    def answered(self, message_id: MessageId) -> str | None:
        """Return the action of a CALL that got its CALLRESULT a short time ago, or None."""
        entry = self._answered.get(message_id)
        return None if entry is None or self._is_forgotten(entry) else entry.action

    def _is_forgotten(self, entry: IncomingCall) -> bool:
        return entry.answer is not None and self._clock() - entry.asked_at > KEPT_SECONDS


def _digest(text: str | bytes) -> bytes:
    # Not hash(), which differs in each process. A text may hold half a surrogate pair.
    encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _same_content(kept: str | bytes, call: IncomingCall) -> bool:
    if isinstance(kept, bytes):
        return kept == _digest(call.text)
    if kept == call.text:
        return True
    before = frames.parse(kept, _AS_IT_CAME)
    return isinstance(before, IncomingCall) and before.payload == call.payload

"""The last CALLs of a charge point and their answers, for the CALLs that it repeats."""

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
"""For how long they are."""
_LARGE = 4096
# What is remembered did parse when it came.
_AS_IT_CAME = frames.FrameRules(numeric_ids=True)

# What a charge point queues while it is offline and sends again over its next connection (C16 §3.7). Everything else
# that comes over another connection is new, whatever its id: 1.6 asks for unique ids within one connection only
# (J16 §4.1.4), charge points restart their counters, and a stored answer to a Heartbeat would set a clock wrong.
_KEPT_ACROSS_CONNECTIONS = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})


class Verdict(Enum):
    """What to do with a CALL that came."""

    NEW = auto()
    """Handle it."""
    REPLAY = auto()
    """It was answered: send that answer again."""
    IN_PROGRESS = auto()
    """It is being handled: that answer will serve both."""
    CONFLICT = auto()
    """Its id was used for another CALL of the same connection."""


@dataclass(slots=True, eq=False)
class IncomingCall:
    """A CALL of the peer, from its arrival to its answer, and after that for its repeats."""

    message_id: frames.MessageId
    action: str
    text: str | int
    """The CALL as it came; the hash of a long one."""
    reply_to: Any
    """Stands for the connection that gets the answer."""
    asked_at: float
    """When it came, or its last repeat while it was being handled."""
    answer: str | None = None
    """Its CALLRESULT."""
    claimed: bool = False
    """Whether a thread has taken it upon itself to answer."""
    thread: int | None = None
    """The thread that runs its handler."""


class AnswerMemory:
    """The last CALLs of one charge point and their answers; it outlives the charge point's connections.

    A ``reply_to`` stands for the connection that a CALL came over; the answer goes to the one that asked last, but not
    from the newest connection to an older one. It holds the connection weakly, because the memory outlives it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Guards everything below, and every IncomingCall: two connections of one charge point may be at work at once,
        # and a handler may finish just as its deadline passes.
        self._lock = threading.Lock()
        self._entries: OrderedDict[frames.MessageId, IncomingCall] = OrderedDict()
        self._newest: object = None

    def prefer(self, reply_to: object) -> None:
        """Take note which connection is the newest."""
        with self._lock:
            self._newest = reply_to

    def admit(self, call: frames.CallFrame, text: str, reply_to: object) -> tuple[Verdict, IncomingCall]:
        """Return what to do with ``call``, which came as ``text``; for REPLAY the answer is in the `IncomingCall`."""
        with self._lock:
            entry = self._recall(call.message_id)
            if entry is None or not (entry.reply_to is reply_to or call.action in _KEPT_ACROSS_CONNECTIONS):
                return Verdict.NEW, self._begin(call, text, reply_to)
            if entry.action != call.action or not _same_content(entry.text, text, call):
                if entry.reply_to is not reply_to:
                    return Verdict.NEW, self._begin(call, text, reply_to)
                return Verdict.CONFLICT, entry
            # What came over an older connection may be read after its repeat over the newest.
            if entry.reply_to is not self._newest:
                entry.reply_to = reply_to
            if entry.answer is not None:
                return Verdict.REPLAY, entry
            entry.asked_at = self._clock()
            return Verdict.IN_PROGRESS, entry

    def claim(self, entry: IncomingCall) -> bool:
        """Return whether the caller is the first to claim a CALL, and so the one to answer it."""
        with self._lock:
            first, entry.claimed = not entry.claimed, True
        return first

    def finish(self, entry: IncomingCall, answer: str | None) -> Any:
        """Store the CALLRESULT that was made for a CALL, and return where to send it.

        None for ``answer`` forgets the CALL: one that was answered with an error is handled anew when it comes again.
        """
        with self._lock:
            entry.answer = answer
            if answer is None and self._entries.get(entry.message_id) is entry:
                del self._entries[entry.message_id]
            return entry.reply_to

    def answered(self, message_id: frames.MessageId) -> str | None:
        """Return the action of a CALL that got its CALLRESULT a short time ago, or None."""
        # Without the lock: one look at an entry that is there or is not.
        entry = self._recall(message_id)
        return entry.action if entry is not None and entry.answer is not None else None

    def _recall(self, message_id: frames.MessageId) -> IncomingCall | None:
        entry = self._entries.get(message_id)
        if entry is not None and entry.answer is not None and self._clock() - entry.asked_at > KEPT_SECONDS:
            return None
        return entry

    def _begin(self, call: frames.CallFrame, text: str, reply_to: object) -> IncomingCall:
        kept = text if len(text) <= _LARGE else hash(text)
        self._entries.pop(call.message_id, None)
        entry = IncomingCall(call.message_id, call.action, kept, reply_to, self._clock())
        self._entries[call.message_id] = entry
        while len(self._entries) > KEPT_ANSWERS:
            self._entries.popitem(last=False)
        return entry


def _same_content(kept: str | int, text: str, call: frames.CallFrame) -> bool:
    if kept == text or kept == hash(text):
        return True
    if isinstance(kept, int):
        return False
    before = frames.parse(kept, _AS_IT_CAME)
    return isinstance(before, frames.CallFrame) and before.payload == call.payload

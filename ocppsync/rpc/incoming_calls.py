"""The CALLs and SENDs of one peer, over all its connections: handled one at a time, answered once, and in time."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Protocol

from ..threads.pool import Executor, log_failure, run_logged
from ..threads.timer import Timer, TimerHandle
from .answer_memory import AnswerMemory, CallKind
from .incoming import IncomingCall, MessageId
from .shares import PeerShare

__all__ = ["CallHandler", "IncomingCalls"]


class CallHandler(Protocol):
    """The connection over which a CALL came."""

    def handle(self, call: IncomingCall) -> None:
        """Handle a CALL or SEND whose turn has come; on the pool."""

    def expire(self, call: IncomingCall) -> None:
        """Answer a CALL whose time is over; on the timer."""


class IncomingCalls:
    """The CALLs and SENDs of one peer.

    They are handled in the order in which they were received, over whichever connection, one at a time. After each,
    the next one goes to the end of the pool's queue, so that many CALLs of one peer do not delay those of others.

    Args:
        pool: runs the handlers.
        share: what the peer may occupy. Its lock guards everything here: a CALL takes one lock when it comes.
        memory: the CALLs that are not answered yet, and the last answers.
        timer: for the deadlines.

    Attributes:
        closed: whether `close` was called.
    """

    __slots__ = ("_limit", "_lock", "_memory", "_pool", "_queue", "_settling", "_share", "_timer", "_watch", "closed")

    def __init__(self, pool: Executor, share: PeerShare, memory: AnswerMemory, timer: Timer) -> None:
        self._pool = pool
        self._share = share
        self._memory = memory
        self._timer = timer
        self._limit = share.limits.queued_calls
        self._lock = share.lock
        # The first one is being handled, or the pool was asked to handle it. They are due in the same order, except for
        # those of a slow reader: these may expire late, but not later than if they had come when they were queued.
        self._queue: deque[IncomingCall] = deque()
        self._watch: TimerHandle | None = None  # the appointment at which the deadlines are looked at
        self._settling = False  # whether that is cancelled when all CALLs are handled
        self.closed = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<IncomingCalls {state} queued={len(self._queue)} {self._memory!r}>"  # no lock: it may be held

    @property
    def busy(self) -> bool:
        """Whether a CALL or SEND is not handled yet. One that has its answer is, even if its thread has not gone on."""
        with self._lock:
            return len(self._queue) > 1 or (len(self._queue) == 1 and not self._queue[0].claimed)

    def _waiting(self) -> int:
        """Return how many CALLs and SENDs wait; the one that is being handled does not count."""
        assert self._lock.locked()
        queue = self._queue
        return len(queue) - (len(queue) > 0 and queue[0].thread is not None)

    # On the readers.

    def receive(self, call: IncomingCall) -> tuple[CallKind, IncomingCall]:
        """Have a CALL or SEND handled in its turn, if it is new; never waits.

        Return what it is, and the CALL that is known by its id: for REPEATED, that one holds the answer.

        Raises:
            RuntimeError: there is no thread for it; it is forgotten.
        """
        with self._lock:
            if not call.is_send:
                kind, known = self._memory.remember(call)
                if kind is not CallKind.NEW:
                    return kind, known
            kind = CallKind.DROPPED
            try:
                kind = self._queue_up(call)
            finally:
                if kind is not CallKind.NEW:
                    self._memory.finish(call, None)
            return kind, call

    def _queue_up(self, call: IncomingCall) -> CallKind:
        queue = self._queue
        if self.closed:
            return CallKind.DROPPED
        if (len(queue) >= self._limit and self._waiting() >= self._limit) or not self._share.take(call.size):
            return CallKind.EXCESS
        queue.append(call)
        accepted = False
        try:
            if self._watch is None and call.due is not None:
                self._watch = self._timer.call_at(call.due, self._look)
            # Under the lock, so that a CALL that was accepted before `close` is known to the pool after it.
            accepted = len(queue) > 1 or self._pool.submit(self._run)
        finally:
            if not accepted:
                queue.pop()
                self._share.put_back(call.size)
        return CallKind.NEW if accepted else CallKind.DROPPED

    def prefer(self, reply_to: object) -> None:
        """Note the newest connection."""
        self._memory.prefer(reply_to)  # no lock: one reference

    def answered(self, message_id: MessageId) -> str | None:
        """Return the action of a CALL that got its CALLRESULT a short time ago, or None."""
        return self._memory.answered(message_id)  # no lock: it looks at one entry

    def settle(self) -> None:
        """Keep no appointment of the timer once all CALLs are handled: a connection has ended.

        CALLs that wait are still handled, in case they are repeated.
        """
        with self._lock:
            self._settling = True
            self._rest()

    # On the pool.

    def _run(self) -> None:
        queue = self._queue
        while True:
            # Without the lock: only this thread takes the first one away, or `close`, if it was not begun.
            try:
                call = queue[0]
            except IndexError:
                return
            call.thread = threading.get_ident()
            # After the line above: `close`, which sets it first, either sees that this one has begun, or is seen here.
            if not self.closed:
                try:
                    call.received_by.handle(call)
                except BaseException as error:
                    log_failure(call.received_by.handle, error)
            with self._lock:
                if queue:  # not if `close` took it
                    self._forget(queue.popleft())
                if not queue:
                    if self._settling:
                        self._rest()
                    return
            if self._pool.submit(self._run):
                return

    def finish(self, call: IncomingCall, answer: str | None) -> Any:
        """Keep the CALLRESULT of a CALL, and return what stands for the connection to send it over.

        ``answer`` None forgets the CALL: after an error its repeat is handled as a new CALL. Return None if it has its
        answer already, from its deadline.
        """
        with self._lock:
            if call.claimed:
                return None
            call.claimed = True
            self._memory.finish(call, answer)
            return call.reply_to

    # On the timer.

    def _look(self) -> None:
        overdue: list[tuple[CallHandler, IncomingCall]] = []
        with self._lock:
            if self._watch is not None:
                self._watch.cancel()  # another one, if this one was cancelled too late
            self._watch, now = None, self._timer.now()
            for call in self._queue:
                if call.claimed or call.due is None:
                    continue
                if call.due > now:
                    self._watch = self._timer.call_at(call.due, self._look)
                    break
                call.claimed = True
                self._memory.finish(call, None)
                overdue.append((call.received_by, call))  # its handler may end meanwhile
        for receiver, call in overdue:
            # If it fails, those that follow must still get their answer.
            run_logged(receiver.expire, call)

    # The end.

    def clear(self) -> None:
        """Forget all answers. CALLs that are being handled stay."""
        with self._lock:
            self._memory.clear()

    def close(self) -> None:
        """Have no more CALLs handled; the one that is being handled is answered."""
        with self._lock:
            self.closed = True
            self._settling = True
            while self._waiting():
                self._forget(self._queue.pop())
            self._rest()

    def _forget(self, call: IncomingCall) -> None:
        """Note that a CALL has left the queue; if it was not answered, its repeat is a new CALL."""
        assert self._lock.locked()
        self._share.put_back(call.size)
        if not call.claimed:
            call.claimed = True
            self._memory.finish(call, None)
        # What is remembered is its text; and it must not keep the connection in memory.
        call.payload = call.received_by = None

    def _rest(self) -> None:
        assert self._lock.locked()
        if not self._queue:
            self._settling = False
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None

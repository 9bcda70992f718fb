"""The RPC state of one connection and its lock; no I/O, no threads, no user code (J16 §4).

Each method returns at once and says what to do; the caller does it after the lock is released. Both ends choose message
ids (J16 §4.1.4): the id of a CALLRESULT or CALLERROR is one of ours, the id of a CALL is one of the peer's.

Received                                             What to do
---------------------------------------------------  -------------------------------------------------------
CALL, action has a handler                           the IncomingCall: have it handled
CALL, id longer than 36 characters                   Reply: CALLERROR with the version's code for bad ids; above
                                                     255 as for an unreadable id
CALL, action unknown                                 Reply: CALLERROR NotImplemented
CALL, action known but without handler, or a SEND's  Reply: CALLERROR NotSupported
CALL, malformed, id readable                         Reply: CALLERROR with the code of the fault
CALL or not a frame at all, id unreadable            2.x: Reply: CALLERROR with the id "-1"
message type unknown                                 2.0.1: Reply: CALLERROR MessageTypeNotSupported
SEND, action has a handler (2.1)                     the IncomingCall: have it handled; it gets no answer
CALLRESULT or CALLERROR to the outstanding CALL      Settle
the same, malformed                                  Settle, with the ProtocolError
... to one that its caller has given up              Settle; count it as late
... to a CALL that timed out                         Late: count it, do not answer
... to any other id                                  count it as stray, log it, do not answer
CALLRESULTERROR to an answer of ours (2.1)           AnswerRejected: tell the application
anything else                                        count it, log it, do not answer
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto

from ..errors import ProtocolError
from ..masking.messages import masked
from ..threads.timer import TimerHandle
from ..throttled_log import ThrottledLog
from . import frames
from .frame_codec import UNREADABLE_ID, FrameCodec
from .incoming import IncomingCall, MessageId
from .outgoing import CallState, OutgoingCall
from .registration import OutcomeListener
from .route import Route

_logger = logging.getLogger(__name__)
_MAX_TIMED_OUT = 64
# A CALLERROR repeats the id of the CALL, but not a megabyte of it.
_MAX_ECHO = 255
_MAX_NAME = 50


class ConnectionState(IntEnum):
    """The states of a connection, in order; it never goes back."""

    CONNECTING = auto()
    """The reader does not run yet."""
    OPEN = auto()
    CLOSING = auto()
    """No more CALLs are sent: a newer connection has taken over, or our Close was sent. Answers still arrive."""
    CLOSED = auto()


class Rejection(Enum):
    """Why the engine does not accept one of our CALLs."""

    CLOSED = auto()
    FULL = auto()


@dataclass(slots=True)
class Reply:
    """Send this text."""

    text: str = field(repr=False)
    kind: int
    """CALLRESULT or CALLERROR."""
    message_id: MessageId
    action: str = ""


@dataclass(slots=True)
class Settle:
    """One of our CALLs got its answer; write ``next``, then give out the answer."""

    call: OutgoingCall
    answer: frames.CallResultFrame | frames.CallErrorFrame | ProtocolError
    next: OutgoingCall | None


@dataclass(slots=True)
class Late:
    """The answer to one of our CALLs came after its timeout."""

    call: OutgoingCall


@dataclass(slots=True)
class Overdue:
    """What to do about one of our CALLs when its times are looked at."""

    call: OutgoingCall
    look_again: float | None = None
    """When to look at it again; None: it has ended."""
    waited: float | None = None
    """The seconds of one of its times that is over; None: none is."""
    next: OutgoingCall | None = None
    """The CALL to write now."""


@dataclass(slots=True)
class AnswerRejected:
    """The peer rejected one of our answers."""

    action: str
    error: frames.CallResultErrorFrame


Decision = IncomingCall | Reply | Settle | Late | AnswerRejected | None


@dataclass(slots=True)
class Counters:
    """How many messages a connection could not use, by kind."""

    late_answers: int = 0
    stray_answers: int = 0
    unknown_types: int = 0
    malformed_messages: int = 0
    dropped_sends: int = 0


class Engine:
    """Decides what happens to the messages of one connection, in both directions.

    Any thread may send. Only the reader calls `receive` and `receive_malformed`.

    Args:
        codec: the frame rules of the connection's version.
        routes: the handler of each action of the peer; read without the lock.
        refuses_at_once: called without the lock with an action that has no handler: whether its CALL is refused at
            once. If not, it waits for its turn, when the policy decides first.
        answered: called with the id of a CALL of the peer: returns its action, if it was answered a short time ago.
        throttled: the log of the peer's faults.
        call_at: has the times of our CALLs looked at, with `look`, at a time; called with the lock.
        max_queued: how many of our CALLs may wait for their turn; None: no limit.
    """

    def __init__(
        self,
        codec: FrameCodec,
        *,
        routes: Mapping[str, Route],
        refuses_at_once: Callable[[str], bool] = lambda action: True,
        answered: Callable[[MessageId], str | None],
        throttled: ThrottledLog,
        call_at: Callable[[float], TimerHandle],
        max_queued: int | None = None,
    ) -> None:
        self._codec = codec
        self._routes = routes
        self._refuses_at_once = refuses_at_once
        self._answered = answered
        self._throttled = throttled
        self._call_at = call_at
        self._max_queued = max_queued
        self.counters = Counters()
        self._lock = threading.Lock()  # guards everything below, and the changing fields of every OutgoingCall
        self._state = ConnectionState.CONNECTING
        self._outstanding: OutgoingCall | None = None
        # Lists, since a deque needs more memory in every connection, and few CALLs wait.
        self._queue: list[OutgoingCall] = []
        self._timed_out: list[OutgoingCall] = []
        self._watch: TimerHandle | None = None  # the appointment at which their times are looked at
        self._watch_due = math.inf

    def __repr__(self) -> str:
        waiting = self._outstanding.action if self._outstanding else None
        return f"<Engine {self._state.name} outstanding={waiting} queued={len(self._queue)} {self.counters}>"

    # The connection.

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._state

    def open(self) -> None:
        """Note that the reader runs, unless the connection has gone on already."""
        with self._lock:
            self._state = max(self._state, ConnectionState.OPEN)

    def end(self, state: ConnectionState) -> list[OutgoingCall]:
        """Go on to ``state``, CLOSING or CLOSED; accept no more CALLs, and return those that are given up."""
        with self._lock:
            self._state = max(self._state, state)
            calls = [self._outstanding, *self._queue] if self._outstanding else []
            self._outstanding = None
            self._queue.clear()
            for call in calls:
                call.state = CallState.SETTLED
            self._watch_until(math.inf)
            return calls

    # Our CALLs.

    def submit(self, call: OutgoingCall, now: float | None = None) -> OutgoingCall | Rejection | None:
        """Queue a CALL. Return it if it is its turn now, None if it waits, or why it is not accepted.

        Args:
            call: a CALL with a future that its caller does not have yet.
            now: the time, if it is written at once when it is its turn; None: `begin_writing` follows.

        Raises:
            RuntimeError: its times cannot be watched; it is not queued.
        """
        first_look = call.asked_at + call.times.first_look
        with self._lock:
            if self._state >= ConnectionState.CLOSING:
                return Rejection.CLOSED
            is_next = self._outstanding is None
            if not is_next and self._max_queued is not None and len(self._queue) >= self._max_queued:
                return Rejection.FULL
            if first_look < self._watch_due:
                self._watch_until(first_look)
            if is_next:
                self._outstanding = call
                call.state = CallState.OUTSTANDING
                if now is not None:
                    call.claimed = call.future.set_running_or_notify_cancel()
                    call.delivery, call.sent_at = "unknown", now
                return call
            call.state = CallState.QUEUED
            self._queue.append(call)
            return None

    def begin_writing(self, call: OutgoingCall | None, now: float | None = None) -> OutgoingCall | None:
        """Return the CALL to write: this one, or the next if it was cancelled; None if another thread writes it.

        Args:
            call: the one whose turn it is.
            now: the time, if it is written at once; None: `note_writing` follows.
        """
        with self._lock:
            while call is not None and call is self._outstanding:
                if self._claim(call):
                    if now is not None:
                        call.delivery, call.sent_at = "unknown", now
                    return call
                call.state = CallState.SETTLED
                call = self._next()
            return None

    def note_writing(self, call: OutgoingCall, now: float) -> bool:
        """Note that a CALL is written now; return False if it has ended meanwhile, and must not be written."""
        with self._lock:
            if call.state is CallState.SETTLED:
                return False
            call.delivery = "unknown"
            call.sent_at = now
            return True

    def claim(self, call: OutgoingCall) -> bool:
        """Make the future impossible to cancel; return False if it was cancelled before."""
        with self._lock:
            return self._claim(call)

    def take_outcome_listener(self, call: OutgoingCall) -> OutcomeListener | None:
        """Return the outcome listener of a CALL that was cancelled, to the first thread that asks."""
        with self._lock:
            # `concurrent.futures.wait` and `as_completed` count a cancelled future as done once it is claimed.
            self._claim(call)
            listener, call.on_outcome = call.on_outcome, None
            return listener

    def withdraw(self, call: OutgoingCall) -> OutgoingCall | None:
        """Drop a CALL that was cancelled before it was written; return the CALL to write instead."""
        with self._lock:
            before, call.state = call.state, CallState.SETTLED
            return self._leave(call, before)

    def look(self, now: float) -> list[Overdue]:
        """Return what to do about our CALLs at the time ``now``; one that has no answer in time gives up its turn."""
        with self._lock:
            self._watch_until(math.inf)  # another appointment, if this one was cancelled too late
            calls = [self._outstanding, *self._queue] if self._outstanding else []
            found = [self._look_at(call, now) for call in calls]
            again = [overdue.look_again for overdue in found if overdue.look_again is not None]
            if again:
                self._watch_until(min(again))
        return [overdue for overdue in found if overdue.waited is not None]

    def _watch_until(self, due: float) -> None:
        """Have the times looked at when the first one may be over; infinity: never."""
        assert self._lock.locked()
        # Before the other appointment is cancelled: if it cannot be made, that one must stay.
        watch = self._call_at(due) if due < math.inf else None
        if self._watch is not None:
            self._watch.cancel()
        self._watch, self._watch_due = watch, due

    def _look_at(self, call: OutgoingCall, now: float) -> Overdue:
        assert self._lock.locked()
        if call.sent_at is None:
            return self._look_at_waiting(call, now)
        return self._look_at_written(call, call.sent_at, now)

    def _look_at_waiting(self, call: OutgoingCall, now: float) -> Overdue:
        assert self._lock.locked()
        limit = call.times.in_queue
        if limit is None or now < call.asked_at + limit:
            # Once it is written, it has this much time at least.
            written_now = now + call.times.message
            return Overdue(call, written_now if limit is None else min(call.asked_at + limit, written_now))
        before, call.state = call.state, CallState.SETTLED
        return Overdue(call, waited=limit, next=self._leave(call, before))

    def _look_at_written(self, call: OutgoingCall, sent_at: float, now: float) -> Overdue:
        assert self._lock.locked()
        due, whole = call.answer_due(sent_at), call.times.whole
        if now >= due:
            call.state = CallState.SETTLED
            self._timed_out = [*self._timed_out[1 - _MAX_TIMED_OUT :], call]
            waited = due - sent_at if call.abandoned else whole or call.times.message
            return Overdue(call, waited=waited, next=self._next())
        if call.abandoned or whole is None:
            return Overdue(call, due)
        given_up = call.asked_at + whole
        if now < given_up:
            return Overdue(call, given_up)
        call.abandoned = True
        return Overdue(call, due, whole)

    def _leave(self, call: OutgoingCall, before: CallState) -> OutgoingCall | None:
        """Take a CALL that was not written from its place; return the CALL to write now."""
        assert self._lock.locked()
        if before is CallState.OUTSTANDING:
            return self._next()
        if before is CallState.QUEUED:
            self._queue.remove(call)
        return None

    def _claim(self, call: OutgoingCall) -> bool:
        assert self._lock.locked()
        if call.claimed is None:
            call.claimed = call.future.set_running_or_notify_cancel()
        return call.claimed

    def _next(self) -> OutgoingCall | None:
        assert self._lock.locked()
        self._outstanding = self._queue.pop(0) if self._queue else None
        if self._outstanding is not None:
            self._outstanding.state = CallState.OUTSTANDING
        return self._outstanding

    # Messages of the peer, on the reader.

    def receive(self, frame: frames.Frame) -> Decision:
        """Return what to do about a frame."""
        if not isinstance(frame, IncomingCall):
            if isinstance(frame, frames.CallResultErrorFrame):
                return self._receive_rejection(frame)
            return self._receive_answer(frame.message_id, frame)
        if frame.is_send:
            return self._receive_send(frame)
        message_id = frame.message_id
        if len(message_id if isinstance(message_id, str) else str(message_id)) > frames.MAX_MESSAGE_ID:
            return self._refuse(message_id, self._codec.bad_id, "the message id is longer than 36 characters")
        frame.route = self._routes[frame.action]
        refusal = frame.route.call_refusal
        if refusal is not None and self._refuses_at_once(frame.action):
            return self._refuse(message_id, refusal, refusal_text(refusal, frame.action), frame.action)
        return frame

    def receive_malformed(self, error: ProtocolError) -> Decision:
        """Return what to do about a message that is not a frame."""
        if error.error_code == "MessageTypeNotSupported":
            self.counters.unknown_types += 1
            self._throttled.log(_logger, "type", "its message is ignored: %s", error, level=logging.INFO)
            return self._report(error) if self._codec.refuses_unknown_types else None
        self.counters.malformed_messages += 1
        self._throttled.log(_logger, "malformed", "%s", error)
        if error.message_type in (None, frames.CALL):
            return self._report(error)
        if error.message_type in (frames.CALLRESULT, frames.CALLERROR) and isinstance(error.message_id, str):
            return self._receive_answer(error.message_id, error)
        return None

    def _report(self, error: ProtocolError) -> Reply | None:
        if error.message_id is not None:
            return self._refuse(error.message_id, error.error_code, str(error))
        # Without the parser's text, which may quote the broken message (4/201 §4.2.3).
        return self._report_unreadable(error.error_code, "the message could not be read")

    def _report_unreadable(self, code: str, description: str) -> Reply | None:
        if not self._codec.reports_unreadable:
            return None
        text = self._codec.call_error(UNREADABLE_ID, code, description)
        return Reply(text, frames.CALLERROR, UNREADABLE_ID)

    def _receive_answer(
        self, message_id: str, answer: frames.CallResultFrame | frames.CallErrorFrame | ProtocolError
    ) -> Decision:
        with self._lock:
            call = self._outstanding
            if call is not None and call.message_id == message_id:
                call.state = CallState.SETTLED
                self.counters.late_answers += call.abandoned
                self._outstanding = None
                return Settle(call, answer, self._next() if self._queue else None)
            late = next((call for call in self._timed_out if call.message_id == message_id), None)
            if late is not None:
                self._timed_out.remove(late)
        if late is not None:
            self.counters.late_answers += 1
            return Late(late)
        self.counters.stray_answers += 1
        self._log_stray(message_id, answer)
        return None

    def _log_stray(
        self, message_id: str, answer: frames.CallResultFrame | frames.CallErrorFrame | ProtocolError
    ) -> None:
        if message_id == UNREADABLE_ID and isinstance(answer, frames.CallErrorFrame):
            text = f"{answer.code} {masked(answer.description)}"[:_MAX_ECHO]
            self._throttled.log(_logger, "unreadable", "could not read a message of ours: %s", repr(text))
        else:
            self._throttled.log(
                _logger, "stray", "its answer to %.40r is dropped: no CALL of ours has that id", message_id
            )

    def _receive_rejection(self, error: frames.CallResultErrorFrame) -> AnswerRejected | None:
        # Its id is that of a CALL of the peer that was answered a short time ago (4/21 §4.2.3).
        action = self._answered(error.message_id)
        if action is not None:
            return AnswerRejected(action, error)
        self.counters.stray_answers += 1
        text = "its CALLRESULTERROR for %.40r is dropped: no answer of ours has that id"
        self._throttled.log(_logger, "stray rejection", text, error.message_id)
        return None

    def _receive_send(self, send: IncomingCall) -> IncomingCall | None:
        # A SEND never gets an answer, not even an error (4/21 §4.2.4).
        send.route = self._routes[send.action]
        fault = send.route.send_refusal
        if fault is not None and not self._refuses_at_once(send.action):
            fault = None
        if len(str(send.message_id)) > frames.MAX_MESSAGE_ID:
            fault = "the message id is longer than 36 characters"
        if fault is None:
            return send
        self.counters.dropped_sends += 1
        self._throttled.log(_logger, "send", "its SEND %.50r is dropped: %s", send.action, fault)
        return None

    def _refuse(self, message_id: MessageId, code: str, description: str, action: str = "") -> Reply | None:
        # One kind per known action: each may be a handler that was forgotten.
        kind = description if code == "NotSupported" else code
        self._throttled.log(_logger, kind, "its CALL %.40r is refused: %s %s", message_id, code, description)
        if len(str(message_id)) > _MAX_ECHO:
            return self._report_unreadable(code, description)
        text = self._codec.call_error(message_id, code, description)
        return Reply(text, frames.CALLERROR, message_id, action)


def refusal_text(code: str, action: str) -> str:
    """Return the description of the error for an action that has no handler."""
    # With repr, since the peer may send any characters, and the text is logged as well.
    name = repr(action[:_MAX_NAME])
    return f"unknown action {name}" if code == "NotImplemented" else f"{name} is not supported here"

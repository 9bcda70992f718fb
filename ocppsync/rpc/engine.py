"""The RPC core of one connection, without I/O, threads or locks (J16 §4).

Whoever owns it decides under one lock: every method returns at once, and says what is to be done outside the lock.
Two id spaces meet here (J16 §4.1.4): an incoming CALLRESULT or CALLERROR names one of our CALLs, an incoming CALL
names one of the peer's.

What comes in                                        what is done
---------------------------------------------------  ------------------------------------------------------
CALL, new, action served                             Dispatch: hand it to a handler
CALL, a repeat of one that was answered              Reply: the same answer again
CALL, a repeat of one that is being handled          nothing: that answer serves both
CALL, id used for another CALL of this connection    Reply: CALLERROR with the version's code for bad ids
CALL, id longer than 36 characters                   the same; above 255 as if it were unreadable
CALL, action unknown                                 Reply: CALLERROR NotImplemented
CALL, action known but not served here, or a SEND's  Reply: CALLERROR NotSupported
CALL, malformed, id readable                         Reply: CALLERROR with the fault's code
CALL or no frame at all, id unreadable               2.x: Reply: CALLERROR with the id "-1"
message type unknown                                 2.0.1: Reply: CALLERROR MessageTypeNotSupported
SEND, action served (2.1)                            Dispatch: hand it to a handler, whose answer is dropped
CALLRESULT or CALLERROR to the outstanding CALL      Settle
the same, malformed                                  Settle, with the ProtocolError
... to a CALL that timed out                         counted as late, logged, never answered
... to any other id                                  counted as stray, logged, never answered
CALLRESULTERROR to an answer of ours (2.1)           AnswerRejected: tell the application
anything else                                        counted, logged, never answered
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..errors import ProtocolError
from ..throttled_log import ThrottledLog
from . import frames
from .answer_memory import AnswerMemory, IncomingCall, Verdict
from .frame_codec import UNREADABLE_ID, FrameCodec

_logger = logging.getLogger(__name__)
_REMEMBERED_TIMEOUTS = 64
# An error must echo the id of the CALL, but nobody needs a megabyte of it back.
_MAX_ECHO = 255
_MAX_NAME = 50


class OutgoingCall:
    """A CALL of ours on its way: queued, then outstanding, then settled."""

    __slots__ = ("action", "message_id", "text")

    def __init__(self, message_id: str, action: str, text: str) -> None:
        self.message_id = message_id
        self.action = action
        self.text = text


@dataclass(slots=True)
class Dispatch:
    """Hand the CALL to a handler; its answer belongs to the admission. None for a SEND, which has no answer."""

    call: frames.CallFrame | frames.SendFrame
    admission: IncomingCall | None


@dataclass(slots=True)
class Reply:
    """Send this text."""

    text: str


@dataclass(slots=True)
class Settle:
    """One of our CALLs got its answer; then write the next one."""

    call: OutgoingCall
    answer: frames.CallResultFrame | frames.CallErrorFrame | ProtocolError
    next: OutgoingCall | None


@dataclass(slots=True)
class AnswerRejected:
    """The peer could not use an answer of ours."""

    action: str
    error: frames.CallResultErrorFrame


Decision = Dispatch | Reply | Settle | AnswerRejected | None


@dataclass(slots=True)
class Withdrawn:
    """Where a CALL stood that is given up, and the CALL to write in its place."""

    was: Literal["queued", "outstanding", "settled"]
    next: OutgoingCall | None = None


@dataclass(slots=True)
class Counters:
    """How often a connection saw what it could only ignore."""

    late_answers: int = 0
    stray_answers: int = 0
    unknown_types: int = 0
    malformed_frames: int = 0
    repeated_calls: int = 0
    dropped_sends: int = 0


class Rpc:
    """Both directions of one connection.

    Args:
        codec: of the connection's version.
        refusal: called with an action, and whether it came as a SEND; returns the error code if it is not to be handed
            to a handler, else None.
        answers: what the station asked lately.
        reply_to: stands for this connection in ``answers``.
        peer: the peer's name for the log.
    """

    def __init__(
        self,
        codec: FrameCodec,
        *,
        refusal: Callable[[str, bool], str | None],
        answers: AnswerMemory,
        reply_to: object,
        peer: str = "peer",
    ) -> None:
        self._codec = codec
        self._refusal = refusal
        self._answers = answers
        self._reply_to = reply_to
        self._peer = peer
        self.throttled = ThrottledLog(peer)
        """For the reading thread."""
        # Lists: deques would take more room in every connection, and few wait here.
        self._queue: list[OutgoingCall] = []
        self._outstanding: OutgoingCall | None = None
        self._timed_out: list[str] = []
        self.counters = Counters()

    def __repr__(self) -> str:
        waiting = self._outstanding.action if self._outstanding else None
        return f"<Rpc outstanding={waiting} queued={len(self._queue)} {self.counters}>"

    # Our CALLs.

    @property
    def queued(self) -> int:
        """How many CALLs wait behind the outstanding one."""
        return len(self._queue)

    def submit(self, call: OutgoingCall) -> OutgoingCall | None:
        """Queue a CALL; return it when it is to be written now (one outstanding at a time: J16 §4.1.1)."""
        if self._outstanding is None:
            self._outstanding = call
            return call
        self._queue.append(call)
        return None

    def withdraw(self, call: OutgoingCall) -> Withdrawn:
        """Give a CALL up: it timed out or was cancelled."""
        if call is self._outstanding:
            self._timed_out = [*self._timed_out[1 - _REMEMBERED_TIMEOUTS :], call.message_id]
            return Withdrawn("outstanding", self._advance())
        try:
            self._queue.remove(call)
        except ValueError:
            return Withdrawn("settled")
        return Withdrawn("queued")

    def end(self) -> list[OutgoingCall]:
        """Give up every CALL, since the connection is gone."""
        calls = [self._outstanding, *self._queue] if self._outstanding else []
        self._outstanding = None
        self._queue.clear()
        return calls

    def _advance(self) -> OutgoingCall | None:
        self._outstanding = self._queue.pop(0) if self._queue else None
        return self._outstanding

    # What the peer sends.

    def receive(self, frame: frames.Frame, text: str) -> Decision:
        """Return what to do about a frame, which came as ``text``."""
        if isinstance(frame, frames.CallFrame):
            return self._receive_call(frame, text)
        if isinstance(frame, frames.SendFrame):
            return self._receive_send(frame)
        if isinstance(frame, frames.CallResultErrorFrame):
            return self._receive_refusal(frame)
        return self._receive_answer(frame.message_id, frame)

    def receive_malformed(self, error: ProtocolError) -> Decision:
        """Return what to do about a message that is no frame."""
        if error.error_code == "MessageTypeNotSupported":
            self.counters.unknown_types += 1
            self.throttled.log(_logger, "type", "ignored a message: %s", error, level=logging.INFO)
            return self._report(error) if self._codec.refuses_unknown_types else None
        self.counters.malformed_frames += 1
        self.throttled.log(_logger, "malformed", "%s", error)
        if error.message_type in (None, frames.CALL):
            return self._report(error)
        if error.message_type in (frames.CALLRESULT, frames.CALLERROR) and isinstance(error.message_id, str):
            return self._receive_answer(error.message_id, error)
        return None

    def _report(self, error: ProtocolError) -> Reply | None:
        if error.message_id is not None:
            return self._refuse(error.message_id, error.error_code, str(error))
        if not self._codec.reports_unreadable:
            return None
        # Without the parser's own words, which may quote the broken text (4/201 §4.2.3).
        return Reply(self._codec.call_error(UNREADABLE_ID, error.error_code, "the message could not be read"))

    def _receive_answer(
        self, message_id: str, answer: frames.CallResultFrame | frames.CallErrorFrame | ProtocolError
    ) -> Decision:
        call = self._outstanding
        if call is not None and call.message_id == message_id:
            return Settle(call, answer, self._advance())
        if message_id in self._timed_out:
            self._timed_out.remove(message_id)
            self.counters.late_answers += 1
            _logger.warning("%s: the answer to %s came after its timeout and is dropped", self._peer, message_id)
        else:
            self.counters.stray_answers += 1
            self._log_stray(message_id, answer)
        return None

    def _log_stray(
        self, message_id: str, answer: frames.CallResultFrame | frames.CallErrorFrame | ProtocolError
    ) -> None:
        if message_id == UNREADABLE_ID and isinstance(answer, frames.CallErrorFrame):
            text = f"{answer.code} {answer.description}"[:_MAX_ECHO]
            self.throttled.log(_logger, "unreadable", "could not read a message of ours: %r", text)
        else:
            self.throttled.log(_logger, "stray", "dropped an answer to %.40r, which is no call of ours", message_id)

    def _receive_refusal(self, error: frames.CallResultErrorFrame) -> AnswerRejected | None:
        # It carries an id of the peer's, for a CALL that was answered here lately (4/21 §4.2.3).
        action = self._answers.answered(error.message_id)
        if action is not None:
            return AnswerRejected(action, error)
        self.counters.stray_answers += 1
        text = "refused the answer to %.40r, which nobody here gave"
        self.throttled.log(_logger, "stray refusal", text, error.message_id)
        return None

    def _receive_send(self, send: frames.SendFrame) -> Dispatch | None:
        # Nothing that is wrong with it may be answered (4/21 §4.2.4).
        fault = self._refusal(send.action, True)
        if len(str(send.message_id)) > frames.MAX_MESSAGE_ID:
            fault = "the message id is longer than 36 characters"
        if fault is None:
            return Dispatch(send, None)
        self.counters.dropped_sends += 1
        self.throttled.log(_logger, "send", "dropped the SEND %.50r: %s", send.action, fault)
        return None

    def _receive_call(self, call: frames.CallFrame, text: str) -> Decision:
        if len(str(call.message_id)) > frames.MAX_MESSAGE_ID:
            return self._refuse(call.message_id, self._codec.bad_id, "the message id is longer than 36 characters")
        code = self._refusal(call.action, False)
        if code is not None:
            return self._refuse(call.message_id, code, refusal_text(code, call.action))
        verdict, admission = self._answers.admit(call, text, self._reply_to)
        if verdict is Verdict.NEW:
            return Dispatch(call, admission)
        self.counters.repeated_calls += 1
        if verdict is Verdict.CONFLICT:
            return self._refuse(call.message_id, self._codec.bad_id, "the message id was used for another CALL")
        text = "repeated %s %r"
        self.throttled.log(_logger, "repeat", text, call.action, call.message_id, level=logging.INFO)
        # By the verdict: an answer that came in since goes to this reply_to by itself.
        return Reply(admission.answer) if verdict is Verdict.REPLAY and admission.answer is not None else None

    def _refuse(self, message_id: frames.MessageId, code: str, description: str) -> Reply | None:
        # Actions that OCPP knows are told apart: each may be a handler that somebody forgot.
        kind = description if code == "NotSupported" else code
        self.throttled.log(_logger, kind, "refused the CALL %.40r: %s %s", message_id, code, description)
        if len(str(message_id)) <= _MAX_ECHO:
            return Reply(self._codec.call_error(message_id, code, description))
        if self._codec.reports_unreadable:
            return Reply(self._codec.call_error(UNREADABLE_ID, code, description))
        return None


def refusal_text(code: str, action: str) -> str:
    """Return the description that goes with the error code for an action that is not handled here."""
    # As repr shows it, since the peer may have written anything there, and it goes to the log as well.
    name = repr(action[:_MAX_NAME])
    return f"unknown action {name}" if code == "NotImplemented" else f"{name} is not supported here"

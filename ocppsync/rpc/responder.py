"""Handles the peer's CALLs and SENDs: from the reader to a handler on the pool, and back to the socket."""

from __future__ import annotations

import logging
import weakref
from typing import Any

from ..errors import CallError
from ..events import HandlerFailed, ValidationFailed
from ..request import RequestMetadata
from ..threads.callables import name_of
from ..wire.transport import CloseCode, TransportClosedError
from . import frames
from .answer_memory import CallKind
from .context import ConnectionContext
from .engine import Reply, refusal_text
from .incoming import IncomingCall, MessageId
from .outbox import Outbox
from .registration import REGISTERING
from .route import ActionHandler
from .shares import parsed_size

_logger = logging.getLogger(__name__)

_Outcome = tuple[str | None, int, RequestMetadata | None, Any]
"""The text of the answer to a CALL, None if it gets none; its message type; the metadata of the handler, None if no
handler made the answer; and its payload."""
_NO_ANSWER: _Outcome = (None, frames.CALLERROR, None, None)


class Responder:
    """Handles the CALLs and SENDs of one connection, each in its turn among those of its peer, and sends the answers.

    Attributes:
        reply_to: stands for this connection in the answer memory.
    """

    def __init__(self, context: ConnectionContext, outbox: Outbox) -> None:
        self._context = context
        self._outbox = outbox
        self._seconds = context.options.timeouts.handler
        self._flooded = False  # only the reader changes it
        self.reply_to: object = weakref.ref(self)

    # On the reader.

    def dispatch(self, call: IncomingCall, text: str, came: float) -> None:
        """Have a CALL or SEND that was received as ``text``, at the time ``came``, handled; never waits."""
        calls = self._context.calls
        call.text = "" if call.is_send else text
        call.size = parsed_size(text)
        call.asked_at = came
        call.due = None if self._seconds is None or call.is_send else came + self._seconds
        call.peer = self._context.peer
        call.received_by = self
        call.reply_to = self.reply_to
        if self._flooded:
            self._flooded = calls.busy  # logged again only after all of them were handled
        kind, known = calls.receive(call)
        if kind is not CallKind.NEW:
            self._take_odd(kind, call, known)

    def _take_odd(self, kind: CallKind, call: IncomingCall, known: IncomingCall) -> None:
        if kind is CallKind.DROPPED:
            return
        if kind is CallKind.EXCESS:
            self._refuse_excess(call)
        elif kind is CallKind.CONFLICT:
            code, text = self._context.messages.codec.bad_id, "the message id was used for another CALL"
            log, message_id = self._context.peer_log, call.message_id
            log.log(_logger, code, "its CALL %.40r is refused: %s %s", message_id, code, text)
            self._send_error(call, CallError(code, text))
        else:
            text, level = "repeated %s %r", logging.INFO
            self._context.peer_log.log(_logger, "repeat", text, call.action, call.message_id, level=level)
            # Only for REPEATED: an answer that was made since then is sent by the handler's thread.
            if kind is CallKind.REPEATED and known.answer is not None:
                self._send_answer(known.answer, frames.CALLRESULT, call)

    def _refuse_excess(self, call: IncomingCall) -> None:
        limit = self._context.options.limits.call_bytes
        if not self._flooded:
            self._flooded = True
            if call.size > limit:
                self._warn("%s sent a message of about %d bytes in memory, more than call_bytes (%d)", call.size, limit)
            else:
                self._warn("%s sends CALLs faster than they are handled")
        if not call.is_send:
            description = "the CALL is too large" if call.size > limit else "too many CALLs are waiting"
            self._send_error(call, CallError("GenericError", description))

    def reply(self, reply: Reply, asked_at: float) -> None:
        """Send an answer that needs no handler; never waits."""
        try:
            self._outbox.send(reply.text, reply.kind, reply.message_id, reply.action, asked_at)
        except TransportClosedError as error:
            self._log_dropped(reply.action or "a message", reply.message_id, error)

    # On the pool.

    def handle(self, call: IncomingCall) -> None:
        """Handle a CALL or SEND whose turn has come."""
        if call.is_send:
            self._take_send(call)
            return
        if call.claimed:
            return  # it was answered at its deadline while it waited for its turn
        context, thread = self._context, call.thread
        assert thread is not None
        context.detector.running[thread] = call
        try:
            text, kind, metadata, answer = self._outcome(call)
        finally:
            # It is gone already if this thread has run another handler while this one waited (`InlineExecutor`).
            context.detector.running.pop(thread, None)
        handled = metadata is not None
        reply_to = context.calls.finish(call, text if handled else None)
        if reply_to is None:
            self._warn("%s: the late answer to its %s is dropped", call.action)
            return
        if handled and call.action in REGISTERING:
            context.policy.before_answer(call.action, call.payload, answer)
        # The CALL may have been repeated over a newer connection, which now waits for the answer.
        responder: Responder | None = reply_to()
        if text is None or responder is None:
            return
        if responder._send_answer(text, kind, call) and metadata is not None and call.route.hooks:
            self._submit_hooks(call, metadata)

    def _submit_hooks(self, call: IncomingCall, metadata: RequestMetadata) -> None:
        share = self._context.share
        # Not in order with the CALLs: a hook may wait for the peer, and the peer for the answer to its next CALL.
        for hook in call.route.hooks:
            run = (_run_hook, hook, call.action, call.payload, metadata, call.size, self._context)
            share.submit(share.others, call.size, *run, must=True)

    def _outcome(self, call: IncomingCall) -> _Outcome:
        context, route = self._context, call.route
        try:
            # Only now, not when the CALL was received: the answer to an earlier CALL may have changed it.
            decision = context.policy.decide_inbound(call.action)
            if decision != "handle":
                self._log_unregistered(call.action, "%s before the charge point is registered")
                if decision == "ignore":
                    return _NO_ANSWER
                if decision == "reject":
                    return self._result(call, {"status": "Rejected"}, None)
                raise CallError("SecurityError", "the BootNotification was not accepted")
            metadata = self._check(call, route.call_refusal)
            if context.security is not None:
                violation = context.security.fatal_violation(call.action, call.payload)
                if violation is not None:
                    self._warn("%s: %s: %s; its connection is closed", call.action, violation)
                    self._outbox.transport.close(CloseCode.POLICY_VIOLATION, violation)
                    return _NO_ANSWER
            return self._result(call, route.handle(call.payload, metadata), metadata)
        except CallError as error:
            return self._error_text(call, error), frames.CALLERROR, None, None
        except BaseException as error:
            # SystemExit too: the peer waits for an answer, and other CALLs need this thread.
            self._report_failure(call.action, error)
            return self._error_text(call, CallError("InternalError", "internal error")), frames.CALLERROR, None, None

    def _check(self, call: IncomingCall, refusal: str | None) -> RequestMetadata:
        """Normalize the payload of a message, check it, and return the metadata for its handler.

        Raises:
            CallError: the message is refused.
        """
        context, fault = self._context, None
        if refusal is not None:
            # It waited for the policy, which now accepts it; but it has no handler.
            raise CallError(refusal, refusal_text(refusal, call.action))
        if not call.route.takes(call.payload):
            call.payload, fault, refused = context.messages.check_inbound(call.action, "request", call.payload)
            if fault is not None and refused and context.options.reject_invalid_requests:
                context.peer_log.log(_logger, call.action, "its message is rejected: %s", fault)
                if context.events is not None:
                    identity = context.metadata.charge_point_id
                    context.events.tell(ValidationFailed(identity, call.action, "inbound", fault, context.number))
                raise CallError(fault.error_code, fault.described()[:255])
        return RequestMetadata.of(context.metadata, str(call.message_id), fault)

    def _result(self, call: IncomingCall, answer: Any, metadata: RequestMetadata | None) -> _Outcome:
        messages = self._context.messages
        if not call.route.gives(answer):
            fault = messages.check_outbound(call.action, "response", answer)
            if fault is not None:
                raise fault
        return messages.text([frames.CALLRESULT, call.message_id, answer]), frames.CALLRESULT, metadata, answer

    def _take_send(self, call: IncomingCall) -> None:
        # A SEND never gets an answer, not even an error (4/21 §4.2.4).
        if self._context.policy.decide_inbound(call.action) != "handle":
            self._log_unregistered(call.action, "its %s is dropped: the charge point is not registered")
            return
        try:
            metadata = self._check(call, call.route.send_refusal)
            call.route.handle(call.payload, metadata)
        except CallError as error:
            self._context.peer_log.log(_logger, "failed send", "its SEND %s is dropped: %s", call.action, error)
        except BaseException as error:
            self._report_failure(call.action, error)

    # On the timer.

    def expire(self, call: IncomingCall) -> None:
        """Answer a CALL whose time is over."""
        context = self._context
        # Before the answer is sent: a handler that waits for the charge point may go on once that has its answer.
        where = "it waits for its turn"
        if call.thread is not None:
            where = f"its handler is at {context.detector.stack_of(call.thread)}"
        responder: Responder | None = call.reply_to()
        if responder is not None:
            responder._send_error(call, CallError("InternalError", "it took too long"))
        text = "its %s was answered with InternalError after %g s: %s"
        kind = ("expired", call.thread is None)
        context.peer_log.log(_logger, kind, text, call.action, self._seconds, where)
        self._observe_failure(call.action, TimeoutError(f"no answer within {self._seconds:g} s: {where}"))

    # Answers.

    def _send_answer(self, text: str, kind: int, call: IncomingCall) -> bool:
        # Without waiting: otherwise a few peers that do not read would block all handler threads.
        try:
            self._outbox.send(text, kind, call.message_id, call.action, call.asked_at)
        except TransportClosedError as error:
            self._log_dropped(call.action, call.message_id, error)
            return False
        return True

    def _send_error(self, call: IncomingCall, error: CallError) -> None:
        self._send_answer(self._error_text(call, error), frames.CALLERROR, call)

    def _error_text(self, call: IncomingCall, error: CallError) -> str:
        codec = self._context.messages.codec
        try:
            return codec.call_error(call.message_id, error.code, error.description, error.details)
        except Exception as fault:
            # JSON cannot represent the details that the handler gave, or it raised a class of its own that lacks some.
            text, action = "the CallError of %s failed", call.action
            self._context.own_log.log(_logger, ("details", action), text, action, level=logging.ERROR, error=fault)
            return codec.call_error(call.message_id, "InternalError", "internal error")

    # The log and the observers.

    def _warn(self, text: str, *args: object) -> None:
        self._context.peer_log.about(_logger, text, *args)

    def _log_dropped(self, what: str, message_id: MessageId, error: TransportClosedError) -> None:
        text = "the answer to %s %.40s was dropped: %s"
        self._context.peer_log.log(_logger, "dropped", text, what, message_id, error, level=logging.INFO)

    def _log_unregistered(self, action: str, text: str) -> None:
        # A policy may refuse any action, and a peer may invent actions: all unknown actions are one kind.
        kind = ("unregistered", action if self._context.messages.catalogue.known(action) else None)
        self._context.peer_log.log(_logger, kind, text, action)

    def _report_failure(self, action: str, error: BaseException) -> None:
        text = "the handler of %s failed"
        self._context.own_log.log(_logger, ("handler", action), text, action, level=logging.ERROR, error=error)
        self._observe_failure(action, error)

    def _observe_failure(self, action: str, error: BaseException) -> None:
        context = self._context
        if context.events is not None:
            context.events.tell(HandlerFailed(context.metadata.charge_point_id, action, error, context.number))


def _run_hook(
    hook: ActionHandler,
    action: str,
    payload: Any,
    metadata: RequestMetadata,
    size: int,
    context: ConnectionContext,
) -> None:
    context.share.give(size)
    try:
        hook(payload, metadata)
    except BaseException as error:
        text = "what runs after %s failed: %s"
        context.own_log.log(_logger, ("hook", action), text, action, name_of(hook), level=logging.ERROR, error=error)

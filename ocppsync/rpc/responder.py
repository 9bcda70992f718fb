"""The peer's CALLs and SENDs over one connection: from the reader through a handler on the pool to the answer."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from ..errors import CallError
from ..events import HandlerFailed, ValidationFailed
from ..request import RequestMetadata
from ..threads.deadlines import Deadlines
from ..threads.pool import SerialExecutor
from ..throttled_log import ThrottledLog
from ..wire.transport import CloseCode, TransportClosedError
from . import frames
from .answer_memory import IncomingCall
from .context import ConnectionContext
from .engine import Dispatch, Reply, refusal_text
from .outbox import Outbox
from .router import ActionHandler

_logger = logging.getLogger(__name__)


class _Outcome(NamedTuple):
    """How a CALL ends."""

    text: str | None
    """The answer; None: it gets none."""
    kind: int = frames.CALLERROR
    metadata: RequestMetadata | None = None
    """What its handler was given beside the payload; None if no handler answered it."""
    answer: Any = None
    """The payload of the handler's answer."""


class Responder:
    """Has CALLs and SENDs handled, one at a time, in the order they came, and sends the answers."""

    def __init__(self, context: ConnectionContext, outbox: Outbox) -> None:
        self._context = context
        self._outbox = outbox
        seconds = context.options.timeouts.handler
        self._deadlines = None if seconds is None else Deadlines(context.timer, seconds, self._expire)
        self._calls = SerialExecutor(context.executor)
        self._throttled = ThrottledLog(context.peer, context.log_fields)  # for one handler at a time
        self._flooded = False  # the reader's own
        self._draining = False

    # On the reader.

    def dispatch(self, event: Dispatch) -> None:
        """Have a CALL or SEND handled; never waits."""
        incoming = event.incoming
        overfull = len(self._calls) >= self._context.options.limits.queued_calls
        if overfull and not self._flooded:
            self._warn("%s sends CALLs faster than they are handled")
        # Logged again only after all of them were handled.
        self._flooded = overfull or (self._flooded and len(self._calls) > 0)
        if incoming is None:
            if not self._draining and not overfull:
                self._calls.submit(self._take_send, event)
        elif self._draining:
            self._context.answers.finish(incoming, None)
        elif overfull:
            self._context.answers.finish(incoming, None)
            self._send_error(incoming, CallError("GenericError", "too many CALLs are waiting"))
        else:
            if self._deadlines is not None:
                self._deadlines.begin(incoming)
            self._calls.submit(self._handle, event)
        if self._draining:
            # `drain` may have looked at the queue just before the message got there.
            self._drop_waiting()

    def reply(self, reply: Reply, asked_at: float) -> None:
        """Send an answer that needs no handler; never waits."""
        try:
            self._outbox.send(reply.text, reply.kind, reply.message_id, reply.action, asked_at)
        except TransportClosedError as error:
            self._log_dropped(reply.action or "a message", reply.message_id, error)

    def drain(self) -> None:
        """Hand out no more CALLs; those that run are still answered."""
        self._draining = True
        self._drop_waiting()

    def _drop_waiting(self) -> None:
        for _, (event,) in self._calls.clear():
            incoming = event.incoming
            if incoming is None:
                continue
            # It stays unanswered: its deadline does not count any more, and its repeat is a new CALL.
            if self._deadlines is not None:
                self._deadlines.end(incoming)
            self._context.answers.finish(incoming, None)

    def end(self) -> None:
        """Take note that the connection has ended. CALLs that were taken are handled, for their repeats."""
        if self._deadlines is not None:
            self._deadlines.close()

    # On the pool.

    def _handle(self, event: Dispatch) -> None:
        context, frame, incoming = self._context, event.frame, event.incoming
        assert incoming is not None
        incoming.thread = context.detector.begin(context.peer, frame.action)
        try:
            # A CALL that its deadline has answered while it waited for its turn needs no handler any more.
            outcome = _Outcome(None) if incoming.claimed else self._outcome(event)
        finally:
            context.detector.end()
        if self._deadlines is not None:
            self._deadlines.end(incoming)
        if not context.answers.claim(incoming):
            self._warn("%s: the late answer to its %s is dropped", frame.action)
            return
        handled = outcome.metadata is not None
        if handled:
            context.policy.before_answer(frame.action, frame.payload, outcome.answer)
        # A repeat may have come over a newer connection; then that one waits for the answer.
        responder: Responder | None = context.answers.finish(incoming, outcome.text if handled else None)()
        if outcome.text is None or responder is None:
            return
        if responder._send_answer(outcome.text, outcome.kind, incoming) and outcome.metadata is not None:
            # Not in order with the CALLs: a hook may wait for the charge point, and that for its next answer.
            for hook in event.route.hooks:
                context.executor.submit(_run_hook, hook, frame, outcome.metadata, context)

    def _outcome(self, event: Dispatch) -> _Outcome:
        frame = event.frame
        try:
            # The policy is asked here, not when the CALL came: the answer to a CALL before it may have changed it.
            decision = self._context.policy.decide_inbound(frame.action)
            if decision == "handle":
                return self._call_handler(event)
            self._log_unregistered(frame.action, "%s before the charge point is registered")
            if decision == "ignore":
                return _Outcome(None)
            if decision == "reject":
                return self._result(frame, {"status": "Rejected"}, None)
            raise CallError("SecurityError", "the BootNotification was not accepted")
        except CallError as error:
            return _Outcome(self._error_text(frame.message_id, frame.action, error))
        except BaseException as error:
            # SystemExit and the like too: the peer waits for an answer, and this thread serves others.
            self._report_failure(frame.action, error)
            return _Outcome(
                self._error_text(frame.message_id, frame.action, CallError("InternalError", "internal error"))
            )

    def _call_handler(self, event: Dispatch) -> _Outcome:
        frame = event.frame
        metadata = self._check(event)
        security = self._context.security
        violation = None if security is None else security.fatal_violation(frame.action, frame.payload)
        if violation is not None:
            self._warn("%s: %s: %s; its connection is closed", frame.action, violation)
            self._outbox.transport.close(CloseCode.POLICY_VIOLATION, violation)
            return _Outcome(None)
        return self._result(frame, event.route.handle(frame.payload, metadata), metadata)

    def _check(self, event: Dispatch) -> RequestMetadata:
        """Normalize the payload of a message, and return what its handler is given beside it.

        Raises:
            CallError: the message is not let through.
        """
        context, frame = self._context, event.frame
        refusal = event.route.send_refusal if event.incoming is None else event.route.call_refusal
        if refusal is not None:
            # It waited for the policy, which lets it through now; but no handler serves it.
            raise CallError(refusal, refusal_text(refusal, frame.action))
        frame.payload, fault, refused = context.messages.check_inbound(frame.action, "request", frame.payload)
        known = context.metadata
        if fault is not None and refused and context.options.reject_invalid_requests:
            self._throttled.log(_logger, frame.action, "its message is rejected: %s", fault)
            if context.options.observe is not None:
                context.options.observe(ValidationFailed(known.charge_point_id, frame.action, "inbound", fault))
            raise CallError(fault.error_code, fault.described()[:255])
        return RequestMetadata(
            known.charge_point_id, known.ocpp_version, known.http_request, str(frame.message_id), fault
        )

    def _result(
        self, frame: frames.CallFrame | frames.SendFrame, answer: Any, metadata: RequestMetadata | None
    ) -> _Outcome:
        messages = self._context.messages
        fault = messages.check_outbound(frame.action, "response", answer)
        if fault is not None:
            raise fault
        return _Outcome(messages.call_result(frame.message_id, answer), frames.CALLRESULT, metadata, answer)

    def _take_send(self, event: Dispatch) -> None:
        # Nothing that is wrong with a SEND may be answered (4/21 §4.2.4).
        context, frame = self._context, event.frame
        if context.policy.decide_inbound(frame.action) != "handle":
            self._log_unregistered(frame.action, "its %s is dropped: the charge point is not registered")
            return
        try:
            metadata = self._check(event)
            event.route.handle(frame.payload, metadata)
        except CallError as error:
            self._throttled.log(_logger, "send", "its SEND %s is dropped: %s", frame.action, error)
        except BaseException as error:
            self._report_failure(frame.action, error)

    # On the timer.

    def _expire(self, incoming: IncomingCall) -> None:
        context = self._context
        if not context.answers.claim(incoming):
            return
        # Looked at before the answer goes out: the handler may wait for a charge point that waits for this answer.
        where = "it waits for its turn"
        if incoming.thread is not None:
            where = f"its handler is at {context.detector.stack_of(incoming.thread)}"
        responder: Responder | None = context.answers.finish(incoming, None)()
        if responder is not None:
            responder._send_error(incoming, CallError("InternalError", "it took too long"))
        seconds = context.options.timeouts.handler
        self._warn("%s: its %s was answered with InternalError after %g s: %s", incoming.action, seconds, where)
        self._observe_failure(incoming.action, TimeoutError(f"no answer within {seconds:g} s: {where}"))

    # Answers.

    def _send_answer(self, text: str, kind: int, incoming: IncomingCall) -> bool:
        # Without waiting: otherwise a few peers that do not read would hold all handler threads.
        try:
            self._outbox.send(text, kind, incoming.message_id, incoming.action, incoming.asked_at)
        except TransportClosedError as error:
            self._log_dropped(incoming.action, incoming.message_id, error)
            return False
        return True

    def _send_error(self, incoming: IncomingCall, error: CallError) -> None:
        text = self._error_text(incoming.message_id, incoming.action, error)
        self._send_answer(text, frames.CALLERROR, incoming)

    def _error_text(self, message_id: frames.MessageId, action: str, error: CallError) -> str:
        codec = self._context.messages.codec
        try:
            return codec.call_error(message_id, error.code, error.description, error.details)
        except (TypeError, ValueError):
            # The handler gave details that JSON cannot hold.
            charge_point_id = self._context.metadata.charge_point_id
            _logger.exception("%s: the CallError of %s failed", charge_point_id, action, extra=self._context.log_fields)
            return codec.call_error(message_id, "InternalError", "internal error")

    # The log and the observers.

    def _warn(self, text: str, *args: object) -> None:
        _logger.warning(text, self._context.peer, *args, extra=self._context.log_fields)

    def _log_dropped(self, what: str, message_id: frames.MessageId, error: TransportClosedError) -> None:
        peer, fields = self._context.peer, self._context.log_fields
        _logger.info("%s: the answer to %s %s was dropped: %s", peer, what, message_id, error, extra=fields)

    def _log_unregistered(self, action: str, text: str) -> None:
        # A policy keeps out every action, and a peer may invent actions: those count as one.
        kind = ("unregistered", action if self._context.messages.catalogue.known(action) else None)
        self._throttled.log(_logger, kind, text, action)

    def _report_failure(self, action: str, error: BaseException) -> None:
        charge_point_id, fields = self._context.metadata.charge_point_id, self._context.log_fields
        _logger.exception("%s: the handler of %s failed", charge_point_id, action, extra=fields)
        self._observe_failure(action, error)

    def _observe_failure(self, action: str, error: BaseException) -> None:
        observe = self._context.options.observe
        if observe is not None:
            observe(HandlerFailed(self._context.metadata.charge_point_id, action, error))


def _run_hook(
    hook: ActionHandler, frame: frames.CallFrame, metadata: RequestMetadata, context: ConnectionContext
) -> None:
    try:
        hook(frame.payload, metadata)
    except Exception:
        text = "%s: what runs after %s failed: %r"
        _logger.exception(text, metadata.charge_point_id, frame.action, hook, extra=context.log_fields)

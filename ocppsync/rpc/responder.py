"""Handles the peer's CALLs and SENDs: from the reader to a handler on the pool, and back to the socket."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from ..errors import CallError
from ..events import HandlerFailed, ValidationFailed
from ..request import RequestMetadata
from ..threads.callables import name_of
from ..threads.deadlines import Deadlines
from ..wire.transport import CloseCode, TransportClosedError
from . import frames
from .answer_memory import IncomingCall
from .context import ConnectionContext
from .engine import Dispatch, Reply, refusal_text
from .outbox import Outbox
from .router import ActionHandler
from .shares import PeerShare, parsed_size

_logger = logging.getLogger(__name__)


class _Outcome(NamedTuple):
    """The answer to a CALL."""

    text: str | None
    """The message; None: there is no answer."""
    kind: int = frames.CALLERROR
    metadata: RequestMetadata | None = None
    """The metadata of the handler; None if no handler made the answer."""
    answer: Any = None
    """The payload of the handler's answer."""

    def __repr__(self) -> str:
        return f"<_Outcome {self.kind}>"  # the payload may hold secrets


class Responder:
    """Handles the CALLs and SENDs of one connection in the share of its peer, and sends the answers."""

    def __init__(self, context: ConnectionContext, outbox: Outbox) -> None:
        self._context = context
        self._outbox = outbox
        seconds = context.options.timeouts.handler
        self._deadlines = None if seconds is None else Deadlines(context.timer, seconds, self._expire)
        self._flooded = False  # only the reader changes it

    # On the reader.

    def dispatch(self, event: Dispatch, text: str) -> None:
        """Have a CALL or SEND that was received as ``text`` handled; never waits."""
        incoming, share = event.incoming, self._context.share
        if self._flooded:
            self._flooded = len(share.calls) > 0  # logged again only after all of them were handled
        if incoming is not None and self._deadlines is not None:
            self._deadlines.begin(incoming)
        size = event.size = parsed_size(text)
        handle = Responder._take_send if incoming is None else Responder._handle
        if share.submit(share.calls, size, handle, self, event):
            return
        if share.calls.closed:
            self._forget(incoming)
        else:
            self._refuse_excess(incoming, size)

    def _refuse_excess(self, incoming: IncomingCall | None, size: int) -> None:
        limit = self._context.options.limits.call_bytes
        if not self._flooded:
            self._flooded = True
            if size > limit:
                self._warn("%s sent a message of about %d bytes in memory, more than call_bytes (%d)", size, limit)
            else:
                self._warn("%s sends CALLs faster than they are handled")
        if incoming is not None and self._context.answers.claim(incoming):
            self._forget(incoming)
            description = "the CALL is too large" if size > limit else "too many CALLs are waiting"
            self._send_error(incoming, CallError("GenericError", description))

    def reply(self, reply: Reply, asked_at: float) -> None:
        """Send an answer that needs no handler; never waits."""
        try:
            self._outbox.send(reply.text, reply.kind, reply.message_id, reply.action, asked_at)
        except TransportClosedError as error:
            self._log_dropped(reply.action or "a message", reply.message_id, error)

    def _forget(self, incoming: IncomingCall | None) -> None:
        # It stays without answer: its deadline no longer counts, and its repeat is a new CALL.
        if incoming is not None:
            if self._deadlines is not None:
                self._deadlines.end(incoming)
            self._context.answers.finish(incoming, None)

    def end(self) -> None:
        """Note that the connection has ended. Waiting CALLs are still handled, in case they are repeated."""
        if self._deadlines is not None:
            self._deadlines.close()

    # On the pool.

    def _handle(self, event: Dispatch) -> None:
        context, frame, incoming = self._context, event.frame, event.incoming
        assert incoming is not None
        context.share.give(event.size)
        incoming.thread = context.detector.begin(context.peer, frame.action)
        try:
            # A CALL that was answered at its deadline while it waited for its turn needs no handler.
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
        # The CALL may have been repeated over a newer connection, which now waits for the answer.
        responder: Responder | None = context.answers.finish(incoming, outcome.text if handled else None)()
        if outcome.text is None or responder is None:
            return
        if responder._send_answer(outcome.text, outcome.kind, incoming) and outcome.metadata is not None:
            share = context.share
            # Not in order with the CALLs: a hook may wait for the peer, and the peer for the answer to its next CALL.
            for hook in event.route.hooks:
                share.submit(share.others, event.size, _run_hook, hook, event, outcome.metadata, context, must=True)

    def _outcome(self, event: Dispatch) -> _Outcome:
        context, frame = self._context, event.frame
        try:
            # Only now, not when the CALL was received: the answer to an earlier CALL may have changed it.
            decision = context.policy.decide_inbound(frame.action)
            if decision != "handle":
                self._log_unregistered(frame.action, "%s before the charge point is registered")
                if decision == "ignore":
                    return _Outcome(None)
                if decision == "reject":
                    return self._result(frame, {"status": "Rejected"}, None)
                raise CallError("SecurityError", "the BootNotification was not accepted")
            metadata = self._check(event)
            violation = None
            if context.security is not None:
                violation = context.security.fatal_violation(frame.action, frame.payload)
            if violation is not None:
                self._warn("%s: %s: %s; its connection is closed", frame.action, violation)
                self._outbox.transport.close(CloseCode.POLICY_VIOLATION, violation)
                return _Outcome(None)
            return self._result(frame, event.route.handle(frame.payload, metadata), metadata)
        except CallError as error:
            return _Outcome(self._error_text(frame.message_id, frame.action, error))
        except BaseException as error:
            # SystemExit too: the peer waits for an answer, and other CALLs need this thread.
            self._report_failure(frame.action, error)
            return _Outcome(
                self._error_text(frame.message_id, frame.action, CallError("InternalError", "internal error"))
            )

    def _check(self, event: Dispatch) -> RequestMetadata:
        """Normalize the payload of a message, check it, and return the metadata for its handler.

        Raises:
            CallError: the message is refused.
        """
        context, frame = self._context, event.frame
        refusal = event.route.send_refusal if event.incoming is None else event.route.call_refusal
        if refusal is not None:
            # It waited for the policy, which now accepts it; but it has no handler.
            raise CallError(refusal, refusal_text(refusal, frame.action))
        frame.payload, fault, refused = context.messages.check_inbound(frame.action, "request", frame.payload)
        known = context.metadata
        if fault is not None and refused and context.options.reject_invalid_requests:
            self._context.peer_log.log(_logger, frame.action, "its message is rejected: %s", fault)
            if context.events is not None:
                failure = ValidationFailed(known.charge_point_id, frame.action, "inbound", fault, context.number)
                context.events.tell(failure)
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
        return _Outcome(
            messages.text(frames.call_result, frame.message_id, answer), frames.CALLRESULT, metadata, answer
        )

    def _take_send(self, event: Dispatch) -> None:
        # A SEND never gets an answer, not even an error (4/21 §4.2.4).
        context, frame = self._context, event.frame
        context.share.give(event.size)
        if context.policy.decide_inbound(frame.action) != "handle":
            self._log_unregistered(frame.action, "its %s is dropped: the charge point is not registered")
            return
        try:
            metadata = self._check(event)
            event.route.handle(frame.payload, metadata)
        except CallError as error:
            self._context.peer_log.log(_logger, "failed send", "its SEND %s is dropped: %s", frame.action, error)
        except BaseException as error:
            self._report_failure(frame.action, error)

    # On the timer.

    def _expire(self, incoming: IncomingCall) -> None:
        context = self._context
        if not context.answers.claim(incoming):
            return
        # Before the answer is sent: a handler that waits for the charge point may go on once that has its answer.
        where = "it waits for its turn"
        if incoming.thread is not None:
            where = f"its handler is at {context.detector.stack_of(incoming.thread)}"
        responder: Responder | None = context.answers.finish(incoming, None)()
        if responder is not None:
            responder._send_error(incoming, CallError("InternalError", "it took too long"))
        seconds = context.options.timeouts.handler
        text = "its %s was answered with InternalError after %g s: %s"
        kind = ("expired", incoming.thread is None)
        context.peer_log.log(_logger, kind, text, incoming.action, seconds, where)
        self._observe_failure(incoming.action, TimeoutError(f"no answer within {seconds:g} s: {where}"))

    # Answers.

    def _send_answer(self, text: str, kind: int, incoming: IncomingCall) -> bool:
        # Without waiting: otherwise a few peers that do not read would block all handler threads.
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
        except (TypeError, ValueError) as fault:
            # JSON cannot represent the details that the handler gave.
            text = "the CallError of %s failed"
            self._context.own_log.log(_logger, ("details", action), text, action, level=logging.ERROR, error=fault)
            return codec.call_error(message_id, "InternalError", "internal error")

    # The log and the observers.

    def _warn(self, text: str, *args: object) -> None:
        self._context.peer_log.about(_logger, text, *args)

    def _log_dropped(self, what: str, message_id: frames.MessageId, error: TransportClosedError) -> None:
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


def drain(share: PeerShare) -> None:
    """Have no more CALLs of a peer handled, of none of its connections; those that are being handled are answered."""
    for _, (responder, event) in share.calls.close():
        share.give(event.size)
        responder._forget(event.incoming)


def _run_hook(hook: ActionHandler, event: Dispatch, metadata: RequestMetadata, context: ConnectionContext) -> None:
    context.share.give(event.size)
    try:
        hook(event.frame.payload, metadata)
    except BaseException as error:
        text, action = "what runs after %s failed: %s", event.frame.action
        context.own_log.log(_logger, ("hook", action), text, action, name_of(hook), level=logging.ERROR, error=error)

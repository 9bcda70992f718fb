"""The peer's CALLs and SENDs over one connection: from the reader through a handler on the pool to the answer."""

from __future__ import annotations

import logging
import threading
from typing import Any, NamedTuple

from ..errors import CallError, ValidationError
from ..events import HandlerFailed, Observer, ValidationFailed
from ..request import ConnectionMetadata, RequestMetadata
from ..threads.deadlines import Deadlines
from ..threads.pool import Executor, SerialExecutor
from ..threads.stuck_handlers import StuckHandlerDetector
from ..threads.timer import Timer
from ..throttled_log import ThrottledLog
from ..wire.transport import POLICY_VIOLATION, Transport, TransportClosedError
from . import frames
from .answer_memory import AnswerMemory, IncomingCall
from .engine import Dispatch, refusal_text
from .message_sets import MessageSet
from .registration import MessagePolicy
from .router import ActionHandler, Router

_logger = logging.getLogger(__name__)


class _Job:
    """A CALL that waits for its handler, is being handled, or was given up; and who answers it."""

    __slots__ = ("_answered", "_lock", "admission", "call", "thread")

    def __init__(self, call: frames.CallFrame, admission: IncomingCall) -> None:
        self.call = call
        self.admission = admission
        self.thread: int | None = None
        self._lock = threading.Lock()  # guards the mark: the handler and the deadline may come at once
        self._answered = False

    @property
    def answered(self) -> bool:
        """Whether somebody has claimed it."""
        return self._answered

    def claim(self) -> bool:
        """Return whether the caller is the first, and so the one to answer."""
        with self._lock:
            first, self._answered = not self._answered, True
        return first


class _Reply(NamedTuple):
    """How a CALL ends."""

    text: str | None
    """The frame; None: it gets no answer."""
    metadata: RequestMetadata | None = None
    """What its handler was told beside the payload; None where no handler answered it."""
    payload: Any = None


class Responder:
    """Has CALLs handled, one at a time, in the order they came, and answers them.

    Args:
        transport: where the answers go.
        metadata: whose connection it is.
        messages: of the connection's version.
        gate: what is let in before the station is registered.
        router: the handlers.
        executor: where they run.
        answers: what the station asked lately, possibly over an earlier connection.
        timer: for the deadlines of handlers.
        watch: is told which handlers run.
        handler_timeout: seconds from the CALL's arrival to the handler's end; None: no bound.
        observe: is told of handlers that fail and of payloads that break their schema; None: nobody is.
        reject_invalid_requests: whether the handlers are spared what breaks its schema.
        max_queued_calls: how many may wait.
    """

    def __init__(
        self,
        transport: Transport,
        metadata: ConnectionMetadata,
        *,
        messages: MessageSet,
        gate: MessagePolicy,
        router: Router,
        executor: Executor,
        answers: AnswerMemory,
        timer: Timer,
        watch: StuckHandlerDetector | None,
        handler_timeout: float | None,
        observe: Observer | None,
        reject_invalid_requests: bool,
        max_queued_calls: int,
    ) -> None:
        self._transport = transport
        self._metadata = metadata
        self._messages = messages
        self._codec = messages.codec
        self._gate = gate
        self._router = router
        self._executor = executor
        self._answers = answers
        self._watch = watch
        self._handler_timeout = handler_timeout
        self._deadlines = None if handler_timeout is None else Deadlines(timer, handler_timeout, self._expire)
        self._observe = observe
        self._reject_invalid_requests = reject_invalid_requests
        self._max_queued_calls = max_queued_calls
        self._calls = SerialExecutor(executor)
        self._throttled = ThrottledLog(metadata.charge_point_id)  # for whoever runs the strand
        self._flooded = False  # the reader's own
        self._draining = False

    # On the reader.

    def dispatch(self, event: Dispatch) -> None:
        """Have a CALL or SEND handled; never waits."""
        call, admission = event.call, event.admission
        overfull = len(self._calls) >= self._max_queued_calls
        if overfull and not self._flooded and not self._draining:
            _logger.warning("%s sends CALLs faster than they are handled", self._metadata.charge_point_id)
        # Said again only once they had all been handled.
        self._flooded = overfull or (self._flooded and len(self._calls) > 0)
        if isinstance(call, frames.SendFrame) or admission is None:
            if not self._draining and not overfull:
                self._calls.submit(self._take_send, call)
        elif self._draining:
            self._answers.finish(admission, None)
        elif overfull:
            self._answers.finish(admission, None)
            self.send_nowait(self._error_text(call, CallError("GenericError", "too many CALLs are waiting")))
        else:
            job = _Job(call, admission)
            if self._deadlines is not None:
                self._deadlines.begin(job)
            self._calls.submit(self._handle, job)

    def send_nowait(self, text: str) -> None:
        """Send an answer that is ready; never waits."""
        try:
            self._transport.send_nowait(text)
        except TransportClosedError as error:
            _logger.info("%s: an answer was dropped: %s", self._metadata.charge_point_id, error)

    def drain(self) -> None:
        """Hand out no more CALLs; those that run are still answered."""
        self._draining = True
        for _, (waiting,) in self._calls.clear():
            if self._deadlines is not None and isinstance(waiting, _Job):
                self._deadlines.end(waiting)  # it stays unanswered, and is no more overdue for that

    def end(self) -> None:
        """No more CALLs come: the connection has ended. Those that were taken are handled, for their repeats."""
        if self._deadlines is not None:
            self._deadlines.close()

    # On the pool.

    def _handle(self, job: _Job) -> None:
        call = job.call
        if self._watch is not None:
            job.thread = self._watch.begin(self._metadata.charge_point_id, call.action)
        try:
            # What was answered while it waited for its turn needs no handler any more.
            answer = _Reply(None) if job.answered else self._answer(call)
        finally:
            if self._watch is not None:
                self._watch.end()
        if self._deadlines is not None:
            self._deadlines.end(job)
        if not job.claim():
            _logger.warning("%s: dropped the late answer to %s", self._metadata.charge_point_id, call.action)
            return
        if answer.metadata is not None:
            self._gate.answered(call.action, call.payload, answer.payload)
        # A repeat may have come over a newer connection meanwhile; then that one waits for the answer.
        reply_to = self._finish(job, answer.text if answer.metadata else None)
        if (
            answer.text is not None
            and reply_to is not None
            and reply_to._send_answer(answer.text, call)
            and answer.metadata
        ):
            self._run_hooks(call, answer.metadata)

    def _finish(self, job: _Job, text: str | None) -> Responder | None:
        reply_to: Responder | None = self._answers.finish(job.admission, text)()
        return reply_to

    def _expire(self, job: _Job) -> None:
        # On the timer.
        if not job.claim():
            return
        # Looked at before the answer goes out: the handler may wait for a station that waits for it.
        where = "it waits for its turn"
        if job.thread is not None and self._watch is not None:
            where = f"its handler is at {self._watch.stack_of(job.thread)}"
        reply_to = self._finish(job, None)
        if reply_to is not None:
            reply_to.send_nowait(reply_to._error_text(job.call, CallError("InternalError", "it took too long")))
        _logger.warning(
            "%s: %s was answered with InternalError after %g s: %s",
            self._metadata.charge_point_id,
            job.call.action,
            self._handler_timeout,
            where,
        )
        self._tell_of(job.call, TimeoutError(f"no answer within {self._handler_timeout:g} s: {where}"))

    def _answer(self, call: frames.CallFrame) -> _Reply:
        try:
            ruling = self._gate.decide_inbound(call.action)
            if ruling == "handle":
                return self._result(call)
            self._complain_of_gate(call.action, "%s before it is registered")
            if ruling == "ignore":
                return _Reply(None)
            if ruling == "reject":
                return _Reply(self._result_text(call, {"status": "Rejected"}))
            raise CallError("SecurityError", "the BootNotification was not accepted")
        except CallError as error:
            return _Reply(self._error_text(call, error))
        except BaseException as error:
            # SystemExit and the like too: the peer waits for an answer, and this thread serves others.
            _logger.exception("%s: the handler of %s failed", self._metadata.charge_point_id, call.action)
            self._tell_of(call, error)
            return _Reply(self._error_text(call, CallError("InternalError", "internal error")))

    def _complain_of_gate(self, action: str, text: str) -> None:
        # The gate keeps out whatever comes, and a peer may invent actions.
        kind = ("gate", action if self._messages.catalogue.known(action) else None)
        self._throttled.log(_logger, kind, text, action)

    def _tell_of(self, call: frames.CallFrame | frames.SendFrame, error: BaseException) -> None:
        if self._observe is not None:
            self._observe(HandlerFailed(self._metadata.charge_point_id, call.action, error))

    def _result(self, call: frames.CallFrame) -> _Reply:
        call.payload, metadata = self._examined(call)
        offence = self._gate.fatal_violation(call.action, call.payload)
        if offence is not None:
            _logger.warning("%s: %s: %s; its connection is closed", metadata.charge_point_id, call.action, offence)
            self._transport.close(POLICY_VIOLATION, offence)
            return _Reply(None)
        payload = self._router.handle(call.action, call.payload, metadata)
        return _Reply(self._result_text(call, payload), metadata, payload)

    def _examined(self, call: frames.CallFrame | frames.SendFrame) -> tuple[Any, RequestMetadata]:
        """Return the payload of a CALL and what its handler is told; raises CallError where it is not let in."""
        known = self._metadata
        code = self._router.refusal(call.action, self._messages.version, isinstance(call, frames.SendFrame))
        if code is not None:
            # The gate was closed when it came, and so nobody asked this.
            raise CallError(code, refusal_text(code, call.action))
        payload = self._messages.normalized(call.action, "request", call.payload)
        fault = self._messages.fault_of_inbound(call.action, "request", payload)
        if fault is not None and not self._messages.tolerates_inbound(fault) and self._reject_invalid_requests:
            self._throttled.log(_logger, call.action, "rejected %s", fault)
            if self._observe is not None:
                self._observe(ValidationFailed(known.charge_point_id, call.action, "inbound", fault))
            raise _rejection(fault)
        metadata = RequestMetadata(
            known.charge_point_id, known.ocpp_version, known.http_request, str(call.message_id), fault
        )
        return payload, metadata

    def _result_text(self, call: frames.CallFrame, answer: Any) -> str:
        fault = self._messages.fault_of_outbound(call.action, "response", answer)
        if fault is not None:
            raise fault
        return self._messages.call_result(call.message_id, answer)

    def _error_text(self, call: frames.CallFrame, error: CallError) -> str:
        try:
            return self._codec.call_error(call.message_id, error.code, error.description, error.details)
        except (TypeError, ValueError):
            # Details of a handler's that are no JSON.
            _logger.exception("%s: the CallError of %s failed", self._metadata.charge_point_id, call.action)
            return self._codec.call_error(call.message_id, "InternalError", "internal error")

    def _take_send(self, send: frames.SendFrame) -> None:
        # Nothing that is wrong with a SEND may be answered (4/21 §4.2.4).
        if self._gate.decide_inbound(send.action) != "handle":
            self._complain_of_gate(send.action, "dropped %s before it is registered")
            return
        try:
            self._router.notify(send.action, *self._examined(send))
        except CallError as error:
            self._throttled.log(_logger, "send", "dropped the SEND %s: %s", send.action, error)
        except BaseException as error:
            _logger.exception("%s: the handler of %s failed", self._metadata.charge_point_id, send.action)
            self._tell_of(send, error)

    def _send_answer(self, text: str, call: frames.CallFrame) -> bool:
        # Without waiting: a few peers that do not read would have all handler threads wait for them.
        try:
            self._transport.send_nowait(text)
        except TransportClosedError as error:
            _logger.info(
                "%s: the answer to %s %s was dropped: %s",
                self._metadata.charge_point_id,
                call.action,
                call.message_id,
                error,
            )
            return False
        return True

    def _run_hooks(self, call: frames.CallFrame, metadata: RequestMetadata) -> None:
        # Outside the strand: a hook may wait for the station, and the station for its next answer.
        for hook in self._router.hooks(call.action, self._messages.version):
            self._executor.submit(_run_hook, hook, call, metadata)


def _rejection(fault: ValidationError) -> CallError:
    return CallError(fault.error_code, fault.described()[:255])


def _run_hook(hook: ActionHandler, call: frames.CallFrame, metadata: RequestMetadata) -> None:
    try:
        hook(call.payload, metadata)
    except Exception:
        _logger.exception("%s: what runs after %s failed: %r", metadata.charge_point_id, call.action, hook)

"""The peer's CALLs and SENDs over one connection: from the reader through a handler on the pool to the answer."""

from __future__ import annotations

import logging
from typing import Any

from . import frames
from .channel import POLICY_VIOLATION, Transport, TransportClosedError
from .errors import CallError, ValidationError
from .messages import Messages
from .pool import Executor, Strand
from .registration import Gate
from .repeats import Admission, AnswerMemory
from .request import ConnectionMetadata, RequestMetadata
from .router import ActionHandler, Router
from .rpc import Dispatch

_logger = logging.getLogger("ocppsync.connection")


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
        reject_invalid_requests: whether the handlers are spared what breaks its schema.
        max_queued_calls: how many may wait.
    """

    def __init__(
        self,
        transport: Transport,
        metadata: ConnectionMetadata,
        *,
        messages: Messages,
        gate: Gate,
        router: Router,
        executor: Executor,
        answers: AnswerMemory,
        reject_invalid_requests: bool,
        max_queued_calls: int,
    ) -> None:
        self._transport = transport
        self._metadata = metadata
        self._messages = messages
        self._dialect = messages.dialect
        self._gate = gate
        self._router = router
        self._executor = executor
        self._answers = answers
        self._reject_invalid_requests = reject_invalid_requests
        self._max_queued_calls = max_queued_calls
        self._calls = Strand(executor)
        self._draining = False

    # On the reader.

    def dispatch(self, event: Dispatch) -> None:
        """Have a CALL or SEND handled; never waits."""
        call, admission = event.call, event.admission
        overfull = len(self._calls) >= self._max_queued_calls
        if overfull and not self._draining:
            _logger.warning("%s sends CALLs faster than they are handled", self._metadata.charge_point_id)
        if isinstance(call, frames.Send) or admission is None:
            if not self._draining and not overfull:
                self._calls.submit(self._take_send, call)
        elif self._draining:
            self._answers.finish(admission, None)
        elif overfull:
            self._answers.finish(admission, None)
            self.post(self._error_text(call, CallError("GenericError", "too many CALLs are waiting")))
        else:
            self._calls.submit(self._handle, call, admission)

    def post(self, text: str) -> None:
        """Send an answer that is ready; never waits."""
        try:
            self._transport.post(text)
        except TransportClosedError as error:
            _logger.info("%s: an answer was dropped: %s", self._metadata.charge_point_id, error)

    def drain(self) -> None:
        """Hand out no more CALLs; those that run are still answered."""
        self._draining = True
        self._calls.clear()

    # On the pool.

    def _handle(self, call: frames.Call, admission: Admission) -> None:
        text, metadata = self._answer(call)
        # A repeat may have come over a newer connection meanwhile; then that one waits for the answer.
        link: Responder | None = self._answers.finish(admission, text if metadata else None)()
        if text is not None and link is not None and link._send_answer(text, call) and metadata:
            self._run_hooks(call, metadata)

    def _answer(self, call: frames.Call) -> tuple[str | None, RequestMetadata | None]:
        """Return the frame that answers a CALL, and if a handler gave it what that was told beside the payload."""
        try:
            ruling = self._gate.ruling(call.action)
            if ruling == "handle":
                return self._result(call)
            _logger.warning("%s: %s before it is registered", self._metadata.charge_point_id, call.action)
            if ruling == "ignore":
                return None, None
            if ruling == "reject":
                return self._result_text(call, {"status": "Rejected"}), None
            raise CallError("SecurityError", "the BootNotification was not accepted")
        except CallError as error:
            return self._error_text(call, error), None
        except BaseException:
            # SystemExit and the like too: the peer waits for an answer, and this thread serves others.
            _logger.exception("%s: the handler of %s failed", self._metadata.charge_point_id, call.action)
            return self._error_text(call, CallError("InternalError", "internal error")), None

    def _result(self, call: frames.Call) -> tuple[str | None, RequestMetadata | None]:
        call.payload, metadata = self._examined(call)
        offence = self._gate.offence(call.action, call.payload)
        if offence is not None:
            _logger.warning("%s: %s: %s; its connection is closed", metadata.charge_point_id, call.action, offence)
            self._transport.close(POLICY_VIOLATION, offence)
            return None, None
        answer = self._router.handle(call.action, call.payload, metadata)
        text = self._result_text(call, answer)
        self._gate.answered(call.action, call.payload, answer)
        return text, metadata

    def _examined(self, call: frames.Call | frames.Send) -> tuple[Any, RequestMetadata]:
        """Return the payload of a CALL and what its handler is told; raises CallError where it is not let in."""
        known = self._metadata
        payload = self._messages.tidied(call.action, "request", call.payload)
        fault = self._messages.fault_of_inbound(call.action, "request", payload)
        if fault is not None and not self._messages.tolerates_inbound(fault) and self._reject_invalid_requests:
            _logger.warning("%s: rejected %s", known.charge_point_id, fault)
            raise _rejection(fault)
        metadata = RequestMetadata(
            known.charge_point_id, known.ocpp_version, known.http_request, str(call.message_id), fault
        )
        return payload, metadata

    def _result_text(self, call: frames.Call, answer: Any) -> str:
        fault = self._messages.fault_of_outbound(call.action, "response", answer)
        if fault is not None:
            raise fault
        return self._messages.call_result(call.message_id, answer)

    def _error_text(self, call: frames.Call, error: CallError) -> str:
        try:
            return self._dialect.call_error(call.message_id, error.code, error.description, error.details)
        except (TypeError, ValueError):
            # Details of a handler's that are no JSON.
            _logger.exception("%s: the CallError of %s failed", self._metadata.charge_point_id, call.action)
            return self._dialect.call_error(call.message_id, "InternalError", "internal error")

    def _take_send(self, send: frames.Send) -> None:
        # Nothing that is wrong with a SEND may be answered (4/21 §4.2.4).
        if self._gate.ruling(send.action) != "handle":
            _logger.warning("%s: dropped %s before it is registered", self._metadata.charge_point_id, send.action)
            return
        try:
            self._router.notify(send.action, *self._examined(send))
        except CallError as error:
            _logger.warning("%s: dropped the SEND %s: %s", self._metadata.charge_point_id, send.action, error)
        except BaseException:
            _logger.exception("%s: the handler of %s failed", self._metadata.charge_point_id, send.action)

    def _send_answer(self, text: str, call: frames.Call) -> bool:
        try:
            self._transport.send(text)
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

    def _run_hooks(self, call: frames.Call, metadata: RequestMetadata) -> None:
        # Outside the strand: a hook may wait for the station, and the station for its next answer.
        for hook in self._router.hooks(call.action, self._messages.version):
            self._executor.submit(_run_hook, hook, call, metadata)


def _rejection(fault: ValidationError) -> CallError:
    return CallError(fault.error_code, fault.described()[:255])


def _run_hook(hook: ActionHandler, call: frames.Call, metadata: RequestMetadata) -> None:
    try:
        hook(call.payload, metadata)
    except Exception:
        _logger.exception("%s: what runs after %s failed: %r", metadata.charge_point_id, call.action, hook)

"""Our own CALLs over one connection: from any thread to the wire, and the answer back into a future."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal

from ..errors import (
    CallErrorReceived,
    ConnectionLostError,
    Delivery,
    InvalidResponseError,
    NotConnectedError,
    NotRegisteredError,
    OCPPRequestError,
    ProtocolError,
    QueueFullError,
    RequestTimeoutError,
    ValidationError,
    VersionMismatchError,
    Violation,
)
from ..events import TimedOut, ValidationFailed
from ..threads.pool import Executor, run_logged
from ..validation.catalogue import Role
from ..wire.transport import TransportClosedError
from . import frames
from .context import ConnectionContext, peer_name
from .engine import ConnectionState, Engine, OutgoingCall, Rejection, Settle
from .outbox import Outbox

_logger = logging.getLogger(__name__)


class RequestFuture(Future[Any]):
    """A `concurrent.futures.Future` whose callbacks run in the handler pool.

    The thread that reads the connection sets the answer. A callback on that thread could wait for another answer of the
    same peer, which only that thread can read.
    """

    def __init__(self, executor: Executor, on_cancel: Callable[[], object]) -> None:
        super().__init__()
        self._executor = executor
        self._on_cancel = on_cancel

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Run ``fn(future)`` in the handler pool once the answer is there."""
        super().add_done_callback(lambda future: self._executor.submit(fn, future) or fn(future))

    def result(self, timeout: float | None = None) -> Any:
        """Return the answer, or raise why there is none; blocks until it is there."""
        self._executor.before_wait(self)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return why there is no answer, or None if there is one; blocks until that is known."""
        self._executor.before_wait(self)
        return super().exception(timeout)

    def cancel(self) -> bool:
        """Give the request up if it was not written yet; return whether it was given up."""
        cancelled = super().cancel()
        if cancelled:
            self._on_cancel()
        return cancelled


class Requester:
    """Sends CALLs and SENDs, and settles the futures of the CALLs. The engine knows whose turn it is."""

    def __init__(self, context: ConnectionContext, engine: Engine, outbox: Outbox) -> None:
        self._context = context
        self._engine = engine
        self._outbox = outbox

    # From any thread.

    def request(self, action: str, payload: Any, timeout: float) -> Future[Any]:
        """Send a CALL when its turn comes, and return the future of its answer; see `Connection.request`."""
        context = self._context
        message_id, text = self._make_text(context.messages.call, action, payload)
        call = OutgoingCall(message_id, action, text, payload)
        call.future = RequestFuture(context.executor, lambda: self._cancelled(call))
        error = context.policy.outbound_error(action)
        if error is not None:
            self._fail(call, NotRegisteredError, error)
            return call.future
        if context.security is not None:
            call.on_outcome = context.security.before_request(action, payload)
        # Before the engine has it: it may be answered at once, and the appointment is cancelled then.
        call.timer = context.timer.call_at(context.timer.now() + timeout, self._expire, call, timeout)
        turn = self._engine.submit(call)
        if isinstance(turn, OutgoingCall):
            self.write(turn)
        elif turn is Rejection.CLOSED:
            self._fail(call, NotConnectedError, "not connected")
        elif turn is Rejection.FULL:
            limit = context.options.limits.queued_requests
            self._fail(call, QueueFullError, f"{limit} requests wait for their turn already")
        return call.future

    def send(self, action: str, payload: Any) -> None:
        """Write a SEND at once, whatever is outstanding; see `Connection.send`."""
        message_id, text = self._make_text(self._context.messages.send, action, payload)
        error = self._context.policy.outbound_error(action)
        if error is not None:
            raise self.failure(NotRegisteredError, action, message_id, error, "not_sent")
        try:
            self._outbox.send(text, frames.SEND, message_id, action)
        except TransportClosedError as closed:
            delivery: Delivery = "unknown" if closed.written else "not_sent"
            raise self.failure(ConnectionLostError, action, message_id, str(closed), delivery) from closed

    def other_version(self, action: str, version: str) -> OCPPRequestError:
        """Return the error of a request for another version than the connection's."""
        what = f"OCPP {version} was asked for, and the connection speaks {self._context.messages.version}"
        return self.failure(VersionMismatchError, action, None, what, "not_sent")

    def failure(
        self, kind: type[OCPPRequestError], action: str, message_id: str | None, what: str, delivery: Delivery
    ) -> OCPPRequestError:
        """Return an error about a request over this connection."""
        charge_point_id = self._context.metadata.charge_point_id
        return request_error(kind, self._context.peer, charge_point_id, action, message_id, what, delivery)

    def end(self, reason: str, state: ConnectionState) -> None:
        """Fail every request that waits, and every later one, since the connection goes on to ``state``."""
        for call in self._engine.end(state):
            self._fail(call, ConnectionLostError, reason)

    def _make_text(self, write: Callable[[str, str, Any], str], action: str, payload: Any) -> tuple[str, str]:
        messages = self._context.messages
        fault = messages.check_outbound(action, "request", payload)
        if fault is not None:
            self._observe_fault(fault, "outbound")
            raise fault
        message_id = str(uuid.uuid4())
        try:
            return message_id, write(message_id, action, payload)
        except (TypeError, ValueError) as error:
            raise ValidationError(
                f"{action} request: {error}",
                action=action,
                errors=[Violation("", str(error), "type")],
                error_code=messages.codec.code("FormatViolation"),
            ) from error

    # From any thread, the timer or the reader.

    def write(self, call: OutgoingCall | None) -> None:
        """Write the CALL whose turn it is, or the next one if it was cancelled; never waits."""
        call = self._engine.begin_writing(call, self._context.timer.now())
        if call is None:
            return
        try:
            self._outbox.send(call.text, frames.CALL, call.message_id, call.action)
        except TransportClosedError as error:
            if error.written:
                # The reader notices, and fails every request that waits.
                self._outbox.transport.abort()
            else:
                # Mostly our Close is out, and an abort would cut it off, with the answers before it. No CALL may follow
                # it, so the requests that wait need not wait for the peer to answer it.
                call.delivery = "not_sent"
                self.end(str(error), ConnectionState.CLOSING)

    def _expire(self, call: OutgoingCall, seconds: float) -> None:
        given_up, following = self._engine.withdraw(call)
        if not given_up:
            return  # its answer is here, or its end, and another thread is about to give it out
        self.write(following)
        written = call.delivery == "unknown"
        waited = f"no answer within {seconds:g} s" if written else f"{seconds:g} s passed before its turn"
        self._fail(call, RequestTimeoutError, waited)
        observe = self._context.options.observe
        if observe is not None:
            observe(TimedOut(self._context.metadata.charge_point_id, call.action, seconds, call.delivery))

    def _cancelled(self, call: OutgoingCall) -> None:
        _stop_timer(call)
        _, following = self._engine.withdraw(call)
        self.write(following)
        listener = self._engine.take_outcome_listener(call)
        if listener is not None:
            what = "it was cancelled before its turn"
            run_logged(listener, self.failure(OCPPRequestError, call.action, call.message_id, what, "not_sent"))

    def _fail(self, call: OutgoingCall, kind: type[OCPPRequestError], what: str) -> None:
        _stop_timer(call)
        if self._engine.claim(call):
            error = self.failure(kind, call.action, call.message_id, what, call.delivery)
            _tell_outcome(call, error)
            call.future.set_exception(error)

    # On the reader.

    def settle(self, event: Settle) -> None:
        """Give out the answer to one of our CALLs, after the next one was written."""
        self.write(event.next)
        call = event.call
        _stop_timer(call)
        try:
            result = self._result(call, event.answer)
        except Exception as error:
            # Whatever it is: nothing else would ever end the wait for this future.
            _tell_outcome(call, error)
            call.future.set_exception(error)
        else:
            _tell_outcome(call, result)
            call.future.set_result(result)

    def _result(
        self, call: OutgoingCall, answer: frames.CallResultFrame | frames.CallErrorFrame | ProtocolError
    ) -> Any:
        context = self._context
        if isinstance(answer, frames.CallErrorFrame):
            raise CallErrorReceived(
                code=context.messages.codec.code(answer.code),
                raw_code=answer.code,
                description=answer.description,
                details=answer.details,
                charge_point_id=context.metadata.charge_point_id,
                action=call.action,
                message_id=call.message_id,
                peer=context.peer,
            )
        payload, fault = None, None
        if isinstance(answer, frames.CallResultFrame):
            payload, fault, refused = context.messages.check_inbound(call.action, "response", answer.payload)
            if not refused:
                context.policy.on_answer(call.action, call.payload, payload)
                return payload
        if fault is not None:
            self._observe_fault(fault, "inbound")
        self._reject_answer(call, answer, fault)
        raise InvalidResponseError(
            f"{call.action} to {context.peer}: the answer is not valid: {fault or answer}",
            charge_point_id=context.metadata.charge_point_id,
            action=call.action,
            message_id=call.message_id,
            validation_error=fault,
            payload=payload,
        )

    def _reject_answer(
        self, call: OutgoingCall, answer: frames.CallResultFrame | ProtocolError, fault: ValidationError | None
    ) -> None:
        """Tell the peer that its CALLRESULT cannot be used, in the version that can (4/21 §4.2.3)."""
        codec = self._context.messages.codec
        if not codec.refuses_results:
            return
        if isinstance(answer, ProtocolError) and answer.message_type != frames.CALLRESULT:
            return  # a CALLERROR, which has no answer
        code = fault.error_code if fault is not None else "FormatViolation"
        description = fault.described() if fault is not None else "the answer is malformed"
        text = codec.call_result_error(call.message_id, code, description)
        with contextlib.suppress(TransportClosedError):
            self._outbox.send(text, frames.CALLRESULTERROR, call.message_id, "")

    def _observe_fault(self, fault: ValidationError, direction: Literal["inbound", "outbound"]) -> None:
        observe = self._context.options.observe
        if observe is not None:
            observe(ValidationFailed(self._context.metadata.charge_point_id, fault.action, direction, fault))


def _tell_outcome(call: OutgoingCall, outcome: Any) -> None:
    if call.on_outcome is not None:
        run_logged(call.on_outcome, outcome)


def _stop_timer(call: OutgoingCall) -> None:
    if call.timer is not None:
        call.timer.cancel()


def request_error(
    kind: type[OCPPRequestError],
    peer: str,
    charge_point_id: str,
    action: str,
    message_id: str | None,
    what: str,
    delivery: Delivery,
) -> OCPPRequestError:
    """Return the error of a request that failed; ``peer`` is the end that it was for, as the text names it."""
    return kind(
        f"{action} to {peer}: {what}",
        charge_point_id=charge_point_id,
        action=action,
        message_id=message_id,
        delivery=delivery,
    )


def not_connected(role: Role, charge_point_id: str, action: str) -> OCPPRequestError:
    """Return the error of a request of the end with this role, for which there is no connection."""
    peer = peer_name(role, charge_point_id)
    return request_error(NotConnectedError, peer, charge_point_id, action, None, "not connected", "not_sent")


def failed(error: OCPPRequestError) -> Future[Any]:
    """Return a future that holds an error, for a request that was never made."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future

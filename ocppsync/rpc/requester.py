"""Sends our CALLs over one connection, from any thread, and puts their answers into futures."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
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
from ..masking.messages import has_secrets, masked
from ..masking.outlines import MASK
from ..threads.forks import check_process
from ..threads.pool import run_logged
from ..validation.catalogue import Role
from ..wire.transport import TransportClosedError
from . import frames
from .context import ConnectionContext, peer_name
from .engine import ConnectionState, Engine, Rejection, Settle
from .outbox import Outbox
from .outgoing import CallTimes, OutgoingCall
from .registration import REGISTERING
from .route import OwnAction

_logger = logging.getLogger(__name__)


class RequestFuture(Future[Any]):
    """A `concurrent.futures.Future` that runs its callbacks in the handler pool.

    The reader sets the answer. A callback on the reader could wait for another answer of the same peer, which only the
    reader can read.

    Attributes:
        requester, call: set by the requester that makes it, without a call of `__init__` for each request.
    """

    requester: Requester
    call: OutgoingCall

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Run ``fn(future)`` in the handler pool once the future is done.

        Raises:
            RuntimeError: this is another process than that of the request; see `Requester.check_process`.
        """
        self.requester.check_process(self)
        super().add_done_callback(lambda future: self.requester.call_back(fn, future))

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the answer and return it, or raise the error of the request.

        Raises:
            RuntimeError: it is not done, and the calling thread is one that it needs; see `Connection.request`.
        """
        if not self.done():
            self.requester.before_wait(self)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until the future is done and return the error of the request, or None if it has an answer.

        Raises:
            RuntimeError: as for `result`.
        """
        if not self.done():
            self.requester.before_wait(self)
        return super().exception(timeout)

    def cancel(self) -> bool:
        """Give the request up unless it was written; return whether it was given up.

        Raises:
            RuntimeError: this is another process than that of the request; see `Requester.check_process`.
        """
        self.requester.check_process(self)
        cancelled = super().cancel()
        if cancelled:
            self.requester.cancelled(self.call)
        return cancelled


class Requester:
    """Sends CALLs and SENDs, and settles the futures of the CALLs. The engine decides which CALL is next."""

    def __init__(self, context: ConnectionContext, engine: Engine, outbox: Outbox) -> None:
        self._context = context
        self._engine = engine
        self._outbox = outbox
        self._process = os.getpid()
        options = context.options
        self._times = CallTimes(options.request_timeout, options.timeouts.queue)
        self.reader: int | None = None
        """The thread that reads the answers, once it does."""

    def why_not_wait(self) -> str:
        """Return why the calling thread, which is the reader's or the timer's, must not wait for an answer."""
        if threading.get_ident() == self.reader:
            return "this thread reads the answer, and runs raw-data hooks and observers"
        return "this thread runs the pings and timeouts of all connections"

    # From any thread.

    def request(
        self,
        action: str,
        payload: Any,
        timeout: float | None,
        queue_timeout: float | None = None,
        version: str | None = None,
    ) -> Future[Any]:
        """Send a CALL in its turn, and return the future of its answer.

        The future raises all other errors, also if the connection uses another version than ``version``. The times, in
        seconds, count from now; see `CallTimes`.

        Raises:
            ValidationError: the payload violates its schema, or this end may not send the action; nothing is sent.
            RuntimeError: the calling thread is the reader, which could never read the answer, or the timer's, on which
                the timeouts run.
        """
        context, times = self._context, self._times
        if threading.get_ident() in (self.reader, context.timer.thread_id):
            raise RuntimeError(f"cannot send {action}: {self.why_not_wait()}; send it on another thread")
        if version is not None and version != context.messages.version:
            return failed(self._other_version(action, version))
        if timeout is not None or queue_timeout is not None:
            times = CallTimes(times.message, times.queue if queue_timeout is None else queue_timeout, timeout)
        own = context.messages.calls[action]
        message_id = str(uuid.uuid4())
        text = self._text([frames.CALL, message_id, action, payload], own)
        future = RequestFuture()
        future.requester = self
        call = future.call = OutgoingCall(message_id, action, own, text, payload, future, times, context.timer.now())
        if context.policy.restricts_requests:
            error = context.policy.outbound_error(action)
            if error is not None:
                self._fail(call, NotRegisteredError, error)
                return future
        if context.security is not None:
            call.on_outcome = context.security.before_request(action, payload)
        observed = context.events is not None
        turn = self._engine.submit(call, None if observed else context.timer.now())
        if turn is call:
            if observed:
                self.write(call)
            else:
                self._transmit(call)
        elif turn is Rejection.CLOSED:
            self._fail(call, NotConnectedError, "not connected")
        elif turn is Rejection.FULL:
            limit = context.options.limits.queued_requests
            self._fail(call, QueueFullError, f"{limit} requests wait for their turn already")
        return future

    def send(self, action: str, payload: Any, version: str | None = None) -> None:
        """Send a SEND at once, even if a CALL is outstanding: it has no answer (4/21 §4.2.4).

        Raises:
            ValidationError: the payload violates its schema; nothing is sent.
            NotRegisteredError: the central system has not accepted this charge point; nothing is sent.
            ConnectionLostError: the connection has ended.
            VersionMismatchError: the connection uses another version than ``version``; nothing is sent.
        """
        messages = self._context.messages
        if version is not None and version != messages.version:
            raise self._other_version(action, version)
        message_id = str(uuid.uuid4())
        text = self._text([frames.SEND, message_id, action, payload], messages.sends[action])
        error = self._context.policy.outbound_error(action)
        if error is not None:
            raise self.failure(NotRegisteredError, action, message_id, error, "not_sent")
        try:
            self._outbox.send(text, frames.SEND, message_id, action)
        except TransportClosedError as closed:
            delivery: Delivery = "unknown" if closed.written else "not_sent"
            raise self.failure(ConnectionLostError, action, message_id, str(closed), delivery) from closed

    def _other_version(self, action: str, version: str) -> OCPPRequestError:
        """Return the error of a request for another version than that of the connection."""
        what = f"it is for OCPP {version}, but the connection uses {self._context.messages.version}"
        return self.failure(VersionMismatchError, action, None, what, "not_sent")

    def failure(
        self, kind: type[OCPPRequestError], action: str, message_id: str | None, what: str, delivery: Delivery
    ) -> OCPPRequestError:
        """Return an error about a request over this connection."""
        charge_point_id = self._context.metadata.charge_point_id
        return request_error(kind, self._context.peer, charge_point_id, action, message_id, what, delivery)

    def check_process(self, future: RequestFuture) -> None:
        """Check that a future is used in the process of its request: in one that was forked later it is never done.

        Raises:
            RuntimeError: this is such a process.
        """
        check_process(self._process, f"{future.call.action} was requested")

    def before_wait(self, future: RequestFuture) -> None:
        """Called before a thread waits for a future.

        Raises:
            RuntimeError: the thread would wait for itself, or for a thread of another process.
        """
        # On the way of each request, so without a call.
        if self._process != os.getpid():
            self.check_process(future)
        if threading.get_ident() in (self.reader, self._context.timer.thread_id):
            raise RuntimeError(f"cannot wait for the answer to {future.call.action}: {self.why_not_wait()}")
        before_wait = self._context.share.others.before_wait
        if before_wait is not None:
            before_wait(future)

    def call_back(self, function: Callable[[Future[Any]], object], future: Future[Any]) -> None:
        """Run a callback of a future that is done: in the handler pool, or here if that is closed."""
        if not self._context.share.others.submit(function, future):
            self._context.timer.call_aside(function, future)

    def end(self, reason: str, state: ConnectionState) -> None:
        """Let the connection go on to ``state``; fail the requests that wait, and all later ones."""
        for call in self._engine.end(state):
            self._fail(call, ConnectionLostError, reason)

    def _text(self, frame: list[Any], own: OwnAction) -> str:
        messages, action, payload = self._context.messages, frame[2], frame[3]
        if not own.gives(payload):
            fault = messages.check_outbound(action, "request", payload)
            if fault is not None:
                self._observe_fault(fault, "outbound")
                raise fault
        try:
            return messages.text(frame)
        except (TypeError, ValueError) as error:
            raise ValidationError(
                f"{action} request: {error}",
                action=action,
                errors=[Violation("", str(error), "type")],
                error_code=messages.codec.code("FormatViolation"),
            ) from error

    # From any thread, the timer or the reader.

    def write(self, call: OutgoingCall) -> None:
        """Write a CALL that is next, or the one after it if it was cancelled; never waits."""
        engine, now = self._engine, self._context.timer.now
        observed = self._context.events is not None
        writable = engine.begin_writing(call, None if observed else now())
        if writable is None:
            return
        if observed:
            self._outbox.tell(writable.text, frames.CALL, writable.message_id, writable.action)
            # Only now: observers may take so long that the CALL has ended, and another one is outstanding.
            if not engine.note_writing(writable, now()):
                return
        self._transmit(writable)

    def _transmit(self, call: OutgoingCall) -> None:
        try:
            self._outbox.transport.send_nowait(call.text)
        except TransportClosedError as error:
            if error.written:
                # The reader notices the abort, and fails all requests that wait.
                self._outbox.transport.abort()
            else:
                # Mostly after our Close, which an abort would cut off, with the answers before it. No CALL may follow a
                # Close, so the requests that wait fail now, without waiting for the peer's Close.
                call.delivery = "not_sent"
                self.end(str(error), ConnectionState.CLOSING)

    def look(self) -> None:
        """End the CALLs whose time is over; on the timer."""
        for overdue in self._engine.look(self._context.timer.now()):
            if overdue.next is not None:
                self.write(overdue.next)
            assert overdue.waited is not None
            self._time_out(overdue.call, overdue.waited, ended=overdue.look_again is None)

    def _time_out(self, call: OutgoingCall, seconds: float, *, ended: bool) -> None:
        context, news = self._context, True
        written = call.delivery == "unknown"
        what = f"no answer within {seconds:g} s" if written else f"{seconds:g} s passed before its turn"
        if ended:
            news = self._fail(call, RequestTimeoutError, what) and not call.abandoned
        else:
            # Only its caller gives up: its answer may still come, and tell the listener what the peer did.
            call.future.set_exception(
                self.failure(RequestTimeoutError, call.action, call.message_id, what, call.delivery)
            )
        if context.events is not None and news:
            charge_point_id, number = context.metadata.charge_point_id, context.number
            context.events.tell(TimedOut(charge_point_id, call.action, seconds, call.delivery, number))

    def cancelled(self, call: OutgoingCall) -> None:
        """Let the next CALL be written instead of one with a future that was cancelled."""
        following = self._engine.withdraw(call)
        if following is not None:
            self.write(following)
        listener = self._engine.take_outcome_listener(call)
        if listener is not None:
            what = "it was cancelled before its turn"
            run_logged(listener, self.failure(OCPPRequestError, call.action, call.message_id, what, "not_sent"))

    def _fail(self, call: OutgoingCall, kind: type[OCPPRequestError], what: str) -> bool:
        """End a CALL with an error; return False if its owner has cancelled it: `cancelled` ends it then."""
        if not self._engine.claim(call):
            return False
        error = self.failure(kind, call.action, call.message_id, what, call.delivery)
        if call.on_outcome is None:
            _end(call, error)
        else:
            self._context.timer.call_aside(_end, call, error)
        return True

    # On the reader.

    def settle(self, event: Settle) -> None:
        """Write the next CALL, and give out the answer to this one."""
        if event.next is not None:
            self.write(event.next)
        try:
            outcome = self._result(event.call, event.answer)
        except Exception as error:
            # Any exception: nothing else would make this future done.
            outcome = error
        _end(event.call, outcome)

    def _result(
        self, call: OutgoingCall, answer: frames.CallResultFrame | frames.CallErrorFrame | ProtocolError
    ) -> Any:
        context = self._context
        payload, fault = None, None
        if isinstance(answer, frames.CallResultFrame):
            payload, refused = answer.payload, False
            if not call.own.takes(payload):
                payload, fault, refused = context.messages.check_inbound(call.action, "response", payload)
            if not refused:
                if call.action in REGISTERING:
                    context.policy.on_answer(call.action, call.payload, payload)
                return payload
        if isinstance(answer, frames.CallErrorFrame):
            hidden = bool(answer.description) and has_secrets(call.payload)
            raise CallErrorReceived(
                code=context.messages.codec.code(answer.code),
                raw_code=answer.code,
                description=answer.description,
                masked_description=MASK if hidden else masked(answer.description),
                details=answer.details,
                charge_point_id=context.metadata.charge_point_id,
                action=call.action,
                message_id=call.message_id,
                peer=context.peer,
            )
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
        """Tell the peer that its CALLRESULT is not valid, if its version can (4/21 §4.2.3)."""
        codec = self._context.messages.codec
        if not codec.refuses_results:
            return
        if isinstance(answer, ProtocolError) and answer.message_type != frames.CALLRESULT:
            return  # a CALLERROR never gets an answer
        code = fault.error_code if fault is not None else "FormatViolation"
        description = fault.described() if fault is not None else "the answer is malformed"
        text = codec.call_result_error(call.message_id, code, description)
        with contextlib.suppress(TransportClosedError):
            self._outbox.send(text, frames.CALLRESULTERROR, call.message_id, "")

    def _observe_fault(self, fault: ValidationError, direction: Literal["inbound", "outbound"]) -> None:
        context = self._context
        if context.events is not None:
            charge_point_id, number = context.metadata.charge_point_id, context.number
            context.events.tell(ValidationFailed(charge_point_id, fault.action, direction, fault, number))


def _end(call: OutgoingCall, outcome: Any) -> None:
    """Give the answer to a CALL, or its error, to the listener and to the future."""
    if call.on_outcome is not None:
        run_logged(call.on_outcome, outcome)
    if call.abandoned:
        return  # its caller has the error already
    if isinstance(outcome, Exception):
        call.future.set_exception(outcome)
    else:
        call.future.set_result(outcome)


def request_error(
    kind: type[OCPPRequestError],
    peer: str,
    charge_point_id: str,
    action: str,
    message_id: str | None,
    what: str,
    delivery: Delivery,
) -> OCPPRequestError:
    """Return the error of a request that failed; ``peer`` is the name of the peer in its text."""
    return kind(
        f"{action} to {peer}: {what}",
        charge_point_id=charge_point_id,
        action=action,
        message_id=message_id,
        delivery=delivery,
    )


def not_connected(role: Role, charge_point_id: str, action: str, *, started: bool = True) -> OCPPRequestError:
    """Return the error of a request without a connection; ``role`` is that of this end.

    Args:
        role: that of this end.
        charge_point_id: the charge point.
        action: that of the request.
        started: False: this end has no connections at all, which a program may not expect.
    """
    what = "not connected"
    if not started:
        here = f"this central system was not started in this process ({os.getpid()})"
        what += f": {here}; its connections are in the process that started it"
    peer = peer_name(role, charge_point_id)
    return request_error(NotConnectedError, peer, charge_point_id, action, None, what, "not_sent")


def failed(error: OCPPRequestError) -> Future[Any]:
    """Return a future with an error, for a request that was not made."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future

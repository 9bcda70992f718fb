"""Our own CALLs over one connection: from any thread to the wire, and the answer back into a future."""

from __future__ import annotations

import contextlib
import logging
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
from ..events import Observer, TimedOut, ValidationFailed
from ..request import ConnectionMetadata
from ..threads.pool import Executor, run_logged
from ..threads.timer import Timer, TimerHandle
from ..wire.transport import Transport, TransportClosedError
from . import frames
from .engine import OutgoingCall, Rpc, Settle
from .message_sets import MessageSet
from .registration import MessagePolicy, OutcomeListener

_logger = logging.getLogger(__name__)


class RequestFuture(Future[Any]):
    """A `concurrent.futures.Future` whose callbacks run in the handler pool.

    The answer is set by the thread that reads the connection. A callback there could wait for another answer of the
    same charge point, which that thread alone can read.
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
        """Return why there is no answer, or None where there is one; blocks until that is known."""
        self._executor.before_wait(self)
        return super().exception(timeout)

    def cancel(self) -> bool:
        """Give the request up if it was not written yet; return whether it was given up."""
        cancelled = super().cancel()
        if cancelled:
            self._on_cancel()
        return cancelled


class PendingRequest(OutgoingCall):
    """A CALL of ours with what its sender waits for. Its fields are guarded by the connection's lock."""

    __slots__ = ("_claimed", "future", "payload", "settled", "timer", "watch", "written")

    def __init__(
        self,
        message_id: str,
        action: str,
        payload: Any,
        text: str,
        executor: Executor,
        on_cancel: Callable[[PendingRequest], object],
    ) -> None:
        super().__init__(message_id, action, text)
        self.payload = payload
        self.future = RequestFuture(executor, lambda: on_cancel(self))
        self.timer: TimerHandle | None = None
        self.watch: OutcomeListener | None = None
        self.written = False
        self.settled = False
        self._claimed: bool | None = None

    def claim(self) -> bool:
        """Take the future out of its owner's power to cancel; False when it was cancelled before."""
        if self._claimed is None:
            self._claimed = self.future.set_running_or_notify_cancel()
        return self._claimed


class Requester:
    """Sends CALLs and settles their futures.

    Args:
        rpc: the connection's core, with ``lock``, which guards it.
        transport: where the CALLs go.
        metadata: whose connection it is.
        messages: of the connection's version.
        gate: what may go before the station is registered.
        executor: where the callbacks of futures run.
        timer: for the deadlines.
        observe: is told of timeouts and of payloads that break their schema; None: nobody is.
        max_queued: how many requests may wait for their turn; None: any number.
    """

    def __init__(
        self,
        rpc: Rpc,
        lock: threading.Lock,
        transport: Transport,
        metadata: ConnectionMetadata,
        *,
        messages: MessageSet,
        gate: MessagePolicy,
        executor: Executor,
        timer: Timer,
        observe: Observer | None = None,
        max_queued: int | None = None,
    ) -> None:
        self._observe = observe
        self._max_queued = max_queued
        self._rpc = rpc
        self._lock = lock  # also guards the mark below and the fields of every PendingRequest
        self._ended = False
        self._transport = transport
        self._metadata = metadata
        self._messages = messages
        self._gate = gate
        self._executor = executor
        self._timer = timer

    def request(self, action: str, payload: Any, timeout: float) -> Future[Any]:
        """Send a CALL when its turn comes, and return the future of its answer; see `Connection.request`."""
        pending = self._make_request(action, payload)
        objection = self._gate.outbound_error(action)
        if objection is not None:
            self._fail(pending, NotRegisteredError, objection)
            return pending.future
        deadline = self._timer.now() + timeout
        pending.watch = self._gate.watch(action, payload)
        with self._lock:
            refused = self._refusal()
            if refused is None:
                pending.timer = self._timer.call_at(deadline, self._expire, pending, timeout)
            ready = None if refused is not None else self._rpc.submit(pending)
        if refused is not None:
            self._fail(pending, *refused)
        self.write(ready)
        return pending.future

    def _refusal(self) -> tuple[type[OCPPRequestError], str] | None:
        assert self._lock.locked()
        if self._ended:
            return NotConnectedError, "it is not connected"
        if self._max_queued is not None and self._rpc.queued >= self._max_queued:
            return QueueFullError, f"{self._max_queued} requests wait for their turn already"
        return None

    def send(self, action: str, payload: Any) -> None:
        """Write a SEND at once, whatever is outstanding; see `Connection.send`."""
        message_id, text = self._make_text(self._messages.send, action, payload)
        objection = self._gate.outbound_error(action)
        if objection is not None:
            raise self._failure(NotRegisteredError, action, message_id, objection, "not_sent")
        try:
            self._transport.send_nowait(text)
        except TransportClosedError as error:
            delivery: Delivery = "unknown" if error.written else "not_sent"
            raise self._failure(ConnectionLostError, action, message_id, str(error), delivery) from error

    def other_version(self, action: str, version: str) -> OCPPRequestError:
        """Return the error of a request for another version than the connection's."""
        what = f"OCPP {version} was asked for, and the connection speaks {self._messages.version}"
        return self._failure(VersionMismatchError, action, None, what, "not_sent")

    def _make_request(self, action: str, payload: Any) -> PendingRequest:
        message_id, text = self._make_text(self._messages.call, action, payload)
        return PendingRequest(message_id, action, payload, text, self._executor, self._cancelled)

    def _make_text(self, write: Callable[[str, str, Any], str], action: str, payload: Any) -> tuple[str, str]:
        fault = self._messages.fault_of_outbound(action, "request", payload)
        if fault is not None:
            self._tell_of(fault, "outbound")
            raise fault
        message_id = str(uuid.uuid4())
        try:
            return message_id, write(message_id, action, payload)
        except (TypeError, ValueError) as error:
            raise ValidationError(
                f"{action} request: {error}",
                action=action,
                errors=[Violation("", str(error), "type")],
                error_code=self._messages.codec.code("FormatViolation"),
            ) from error

    def write(self, call: OutgoingCall | None) -> None:
        """Write the CALL whose turn it is, or where it was cancelled the one behind it; never waits."""
        while isinstance(call, PendingRequest):
            with self._lock:
                if call.settled:
                    return  # it timed out just now, and whoever saw to that writes the next
                if call.claim():
                    call.written = True
                    break
                call.settled = True
                call = self._rpc.withdraw(call).next
        else:
            return
        try:
            self._transport.send_nowait(call.text)
        except TransportClosedError as error:
            call.written = error.written
            # The reader notices, and fails every request that waits.
            self._transport.abort()

    def settle(self, event: Settle) -> None:
        """Give an answer to whoever waits for it."""
        pending = event.call
        assert isinstance(pending, PendingRequest)
        with self._lock:
            pending.settled = True
        _stop_timer(pending)
        try:
            result = self._result(pending, event.answer)
        except Exception as error:
            # Whatever it is: nothing else would ever end the wait for this future.
            _tell_watch(pending, error)
            pending.future.set_exception(error)
        else:
            _tell_watch(pending, result)
            pending.future.set_result(result)

    def end(self, reason: str) -> None:
        """Fail every request that waits, and every later one."""
        with self._lock:
            self._ended = True
            calls = [call for call in self._rpc.end() if isinstance(call, PendingRequest)]
            for pending in calls:
                pending.settled = True
        for pending in calls:
            self._fail(pending, ConnectionLostError, reason)

    def _expire(self, pending: PendingRequest, seconds: float) -> None:
        if self._give_up(pending):
            waited = f"no answer within {seconds:g} s" if pending.written else f"{seconds:g} s passed before its turn"
            self._fail(pending, RequestTimeoutError, waited)
            if self._observe is not None:
                delivery: Delivery = "unknown" if pending.written else "not_sent"
                self._observe(TimedOut(self._metadata.charge_point_id, pending.action, seconds, delivery))

    def _cancelled(self, pending: PendingRequest) -> None:
        _stop_timer(pending)
        self._give_up(pending)

    def _give_up(self, pending: PendingRequest) -> bool:
        with self._lock:
            if pending.settled:
                return False
            withdrawn = self._rpc.withdraw(pending)
            if withdrawn.was == "settled":
                return False  # its answer is here, and the reader about to give it out
            pending.settled = True
        self.write(withdrawn.next)
        return True

    def _fail(self, pending: PendingRequest, kind: type[OCPPRequestError], what: str) -> None:
        _stop_timer(pending)
        with self._lock:
            claimed = pending.claim()
        if claimed:
            delivery: Delivery = "unknown" if pending.written else "not_sent"
            error = self._failure(kind, pending.action, pending.message_id, what, delivery)
            _tell_watch(pending, error)
            pending.future.set_exception(error)

    def _failure(
        self, kind: type[OCPPRequestError], action: str, message_id: str | None, what: str, delivery: Delivery
    ) -> OCPPRequestError:
        charge_point_id = self._metadata.charge_point_id
        return kind(
            f"{action} to {charge_point_id}: {what}",
            charge_point_id=charge_point_id,
            action=action,
            message_id=message_id,
            delivery=delivery,
        )

    def _result(
        self, pending: PendingRequest, answer: frames.CallResultFrame | frames.CallErrorFrame | ProtocolError
    ) -> Any:
        if isinstance(answer, frames.CallErrorFrame):
            raise self._call_error(pending, answer)
        payload, fault = None, None
        if isinstance(answer, frames.CallResultFrame):
            payload = self._messages.normalized(pending.action, "response", answer.payload)
            fault = self._messages.fault_of_inbound(pending.action, "response", payload)
            if fault is None or self._messages.tolerates_inbound(fault):
                self._gate.settled(pending.action, pending.payload, payload)
                return payload
        if fault is not None:
            self._tell_of(fault, "inbound")
        self._refuse_result(pending, answer, fault)
        charge_point_id = self._metadata.charge_point_id
        raise InvalidResponseError(
            f"{pending.action} to {charge_point_id}: the answer is not valid: {fault or answer}",
            charge_point_id=charge_point_id,
            action=pending.action,
            message_id=pending.message_id,
            validation_error=fault,
            payload=payload,
        )

    def _tell_of(self, fault: ValidationError, direction: Literal["inbound", "outbound"]) -> None:
        if self._observe is not None:
            self._observe(ValidationFailed(self._metadata.charge_point_id, fault.action, direction, fault))

    def _refuse_result(
        self, pending: PendingRequest, answer: frames.CallResultFrame | ProtocolError, fault: ValidationError | None
    ) -> None:
        """Tell the peer that its CALLRESULT cannot be used, in the version that can (4/21 §4.2.3)."""
        codec = self._messages.codec
        if not codec.refuses_results:
            return
        if isinstance(answer, ProtocolError) and answer.message_type != frames.CALLRESULT:
            return  # a CALLERROR, which nothing answers
        code = fault.error_code if fault is not None else "FormatViolation"
        description = fault.described() if fault is not None else "the answer is malformed"
        with contextlib.suppress(TransportClosedError):
            self._transport.send_nowait(codec.call_result_error(pending.message_id, code, description))

    def _call_error(self, pending: PendingRequest, answer: frames.CallErrorFrame) -> CallErrorReceived:
        return CallErrorReceived(
            code=self._messages.codec.code(answer.code),
            raw_code=answer.code,
            description=answer.description,
            details=answer.details,
            charge_point_id=self._metadata.charge_point_id,
            action=pending.action,
            message_id=pending.message_id,
        )


def _tell_watch(pending: PendingRequest, outcome: Any) -> None:
    if pending.watch is not None:
        run_logged(pending.watch, outcome)


def _stop_timer(pending: PendingRequest) -> None:
    if pending.timer is not None:
        pending.timer.cancel()


def not_connected(charge_point_id: str, action: str) -> NotConnectedError:
    """Return the error of a request for which there is no connection."""
    return NotConnectedError(
        f"{action} to {charge_point_id}: it is not connected",
        charge_point_id=charge_point_id,
        action=action,
        message_id=None,
        delivery="not_sent",
    )


def failed(error: OCPPRequestError) -> Future[Any]:
    """Return a future that holds an error, for a request that was never made."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future

"""One live OCPP connection, the same class for both ends: it reads, hands out, answers and asks.

Threads: `run` is the reader's, and the only one that receives. Handlers run on the pool through a strand, in the order
their CALLs came. Any thread may call `request`. The lock guards the RPC core and the pending requests; under it things
are decided, and done after it is released.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from . import frames
from .errors import CallError, ProtocolError, ValidationError, spell
from .options import check_positive, check_whole
from .outgoing import Requester
from .pool import Executor, Strand
from .repeats import Admission, AnswerMemory
from .request import ConnectionMetadata, RequestMetadata
from .router import ActionHandler, Router
from .rpc import Dispatch, Reply, Rpc, Settle
from .timer import Timer, TimerHandle
from .transport import Transport, TransportClosedError
from .validation import Validator

_logger = logging.getLogger("ocppsync.connection")


@dataclass(frozen=True)
class ConnectionSettings:
    """What a connection is told once; seconds throughout. Raises ValueError for what is out of its range."""

    request_timeout: float
    reject_invalid_requests: bool
    websocket_ping_interval: float | None
    close_timeout: float
    max_queued_calls: int
    on_raw_websocket_data: Callable[[str, ConnectionMetadata], object] | None = None

    def __post_init__(self) -> None:
        check_positive(request_timeout=self.request_timeout, close_timeout=self.close_timeout)
        check_whole(max_queued_calls=self.max_queued_calls)
        if self.websocket_ping_interval is not None:
            check_positive(websocket_ping_interval=self.websocket_ping_interval)


class Connection:
    """One live connection.

    Args:
        transport: carries the messages.
        metadata: whose connection it is.
        settings: see `ConnectionSettings`.
        router: the handlers.
        validator: of the connection's version.
        executor: where handlers run.
        timer: for pings and deadlines.
        answers: what this station asked lately, possibly over an earlier connection.
    """

    def __init__(
        self,
        transport: Transport,
        metadata: ConnectionMetadata,
        settings: ConnectionSettings,
        *,
        router: Router,
        validator: Validator,
        executor: Executor,
        timer: Timer,
        answers: AnswerMemory,
    ) -> None:
        self.metadata = metadata
        self._transport = transport
        self._settings = settings
        self._router = router
        self._validator = validator
        self._executor = executor
        self._timer = timer
        self._answers = answers
        self._calls = Strand(executor)
        self._lock = threading.Lock()  # guards the RPC core; never held over I/O or user code
        self._rpc = Rpc(
            metadata.ocpp_version,
            refusal=router.refusal,
            answers=answers,
            link=weakref.ref(self),
            peer=metadata.charge_point_id,
        )
        self._requester = Requester(
            self._rpc, self._lock, transport, metadata, validator=validator, executor=executor, timer=timer
        )
        self._draining = False
        self._ended = False
        self._reader: int | None = None
        self._pinged: float | None = None
        self._ping_timer: TimerHandle | None = None
        self._close_timer: TimerHandle | None = None
        transport.on_closing = self._abort_in_time

    def __repr__(self) -> str:
        state = "ended" if self._ended else "open"
        return f"<Connection {self.metadata.charge_point_id} ocpp{self.metadata.ocpp_version} {state} {self._rpc!r}>"

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code, once the connection has ended; 1006 when there was no closing handshake."""
        return self._transport.close_code

    # The reader.

    def run(self) -> None:
        """Read until the connection ends; then fail what still waits and give everything back."""
        self._reader = threading.get_ident()
        self._schedule_ping()
        try:
            # Ends: receive is its only blocking point, and returns None after a Close, an end of the stream or abort.
            while (text := self._transport.receive()) is not None:
                self._receive(text)
        except Exception:
            _logger.exception("%s: the reader failed; the connection is given up", self.metadata.charge_point_id)
        finally:
            self._ended = True
            self._transport.abort()
            self._requester.end("the connection ended")
            self._transport.release()
            for appointment in (self._ping_timer, self._close_timer):
                if appointment is not None:
                    appointment.cancel()
            self._reader = None

    def _receive(self, text: str) -> None:
        hook = self._settings.on_raw_websocket_data
        if hook is not None:
            try:
                hook(text, self.metadata)
            except Exception:
                _logger.exception("on_raw_websocket_data failed")
        try:
            frame = frames.parse(text)
        except ProtocolError as error:
            with self._lock:
                event = self._rpc.receive_malformed(error)
        else:
            with self._lock:
                event = self._rpc.receive(frame, text)
        if isinstance(event, Dispatch):
            self._dispatch(event)
        elif isinstance(event, Settle):
            self._requester.write(event.next)
            self._requester.settle(event)
        elif isinstance(event, Reply):
            self._post(event.text)

    def _dispatch(self, event: Dispatch) -> None:
        if self._draining:
            self._answers.finish(event.admission, None)
        elif len(self._calls) >= self._settings.max_queued_calls:
            self._answers.finish(event.admission, None)
            _logger.warning("%s sends CALLs faster than they are handled", self.metadata.charge_point_id)
            self._post(self._error_text(event.call, CallError("GenericError", "too many CALLs are waiting")))
        else:
            self._calls.submit(self._handle, event.call, event.admission)

    def _post(self, text: str) -> None:
        try:
            self._transport.post(text)
        except TransportClosedError as error:
            _logger.info("%s: an answer was dropped: %s", self.metadata.charge_point_id, error)

    # The peer's CALLs, on the pool.

    def _handle(self, call: frames.Call, admission: Admission) -> None:
        text, metadata = self._answer(call)
        # A repeat may have come over a newer connection meanwhile; then that one waits for the answer.
        link: Connection | None = self._answers.finish(admission, text if metadata else None)()
        if link is not None and link._send_answer(text, call) and metadata:
            self._run_hooks(call, metadata)

    def _answer(self, call: frames.Call) -> tuple[str, RequestMetadata | None]:
        """Return the frame that answers a CALL, and if it is a CALLRESULT what the handler was told beside it."""
        known = self.metadata
        try:
            violation = self._validator.check(call.action, "request", call.payload)
            metadata = RequestMetadata(
                known.charge_point_id, known.ocpp_version, known.http_request, call.message_id, violation
            )
            if violation is not None and self._settings.reject_invalid_requests:
                _logger.warning("%s: rejected %s", known.charge_point_id, violation)
                return self._error_text(call, _rejection(violation)), None
            try:
                return self._result_text(call, self._router.handle(call.action, call.payload, metadata)), metadata
            except CallError as error:
                return self._error_text(call, error), None
        except BaseException:
            # SystemExit and the like too: the peer waits for an answer, and this thread serves others.
            _logger.exception("%s: the handler of %s failed", known.charge_point_id, call.action)
            return self._error_text(call, CallError("InternalError", "internal error")), None

    def _result_text(self, call: frames.Call, answer: Any) -> str:
        violation = self._validator.check(call.action, "response", answer)
        if violation is not None:
            raise violation
        return frames.call_result(call.message_id, answer)

    def _error_text(self, call: frames.Call, error: CallError) -> str:
        code = spell(error.code, self.metadata.ocpp_version) or "GenericError"
        return frames.call_error(call.message_id, code, error.description, error.details)

    def _send_answer(self, text: str, call: frames.Call) -> bool:
        try:
            self._transport.send(text)
        except TransportClosedError as error:
            _logger.info(
                "%s: the answer to %s %s was dropped: %s",
                self.metadata.charge_point_id,
                call.action,
                call.message_id,
                error,
            )
            return False
        return True

    def _run_hooks(self, call: frames.Call, metadata: RequestMetadata) -> None:
        # Outside the strand: a hook may wait for the station, and the station for its next answer.
        for hook in self._router.hooks(call.action):
            self._executor.submit(_run_hook, hook, call, metadata)

    # Our CALLs, from any thread.

    def request(self, action: str, payload: Any, timeout: float | None) -> Future[Any]:
        """Send a CALL when its turn comes, and return the future of its answer.

        Whatever goes wrong on the way is raised by the future. ``timeout`` in seconds counts from now.

        Raises:
            ValidationError: the payload breaks its schema; nothing is sent.
            RuntimeError: the calling thread is the reader, which could never see the answer.
        """
        if threading.get_ident() == self._reader:
            raise RuntimeError(f"{action} cannot be sent from a raw-data hook: this thread reads the answer")
        return self._requester.request(action, payload, self._settings.request_timeout if timeout is None else timeout)

    def end_requests(self, reason: str) -> None:
        """Fail every request that waits, and every later one; the connection itself goes on."""
        self._requester.end(reason)

    # The end.

    def drain(self) -> None:
        """Hand out no more CALLs; those that run are still answered."""
        self._draining = True
        self._calls.clear()

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; never waits. The connection ends by itself after the close timeout at most."""
        self._transport.close(code, reason)

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def _abort_in_time(self) -> None:
        self._close_timer = self._timer.call_later(self._settings.close_timeout, self._transport.abort)

    # Pings, on the timer.

    def _schedule_ping(self) -> None:
        interval = self._settings.websocket_ping_interval
        if interval is not None and not self._ended:
            self._ping_timer = self._timer.call_later(interval, self._ping)

    def _ping(self) -> None:
        if self._pinged is not None and self._transport.last_heard < self._pinged:
            _logger.warning("%s does not answer pings; its connection is given up", self.metadata.charge_point_id)
            self._transport.abort()
            return
        # One that could not be written at once counts as unanswered: the peer has not read for a whole interval.
        self._pinged = time.monotonic()
        self._transport.ping()
        self._schedule_ping()


def _rejection(violation: ValidationError) -> CallError:
    first = violation.errors[0] if violation.errors else None
    description = (f"{first.path}: {first.message}" if first.path else first.message) if first else str(violation)
    return CallError(violation.error_code, description[:255])


def _run_hook(hook: ActionHandler, call: frames.Call, metadata: RequestMetadata) -> None:
    try:
        hook(call.payload, metadata)
    except Exception:
        _logger.exception("%s: what runs after %s failed: %r", metadata.charge_point_id, call.action, hook)

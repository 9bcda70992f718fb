"""One live OCPP connection, the same class for both ends: it reads, hands out, answers and asks.

Threads: `run` is the reader's, and the only one that receives. Handlers run on the pool through a strand, in the order
their CALLs came. Any thread may call `request`. The lock guards the RPC core and the pending requests; under it things
are decided, and done after it is released.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ..errors import ProtocolError
from ..events import Closed, Connected, Observer
from ..options import check_positive, check_whole
from ..request import CallResultErrorReceived, ConnectionMetadata
from ..threads.pool import Executor, SerialExecutor, run_logged
from ..threads.stuck_handlers import StuckHandlerDetector
from ..threads.timer import Timer, TimerHandle
from ..wire.transport import NORMAL, POLICY_VIOLATION, Transport
from .answer_memory import AnswerMemory
from .engine import AnswerRejected, Dispatch, Reply, Rpc, Settle
from .message_sets import MessageSet
from .observing import ObservedTransport
from .registration import MessagePolicy
from .requester import Requester, failed
from .responder import Responder
from .router import Router

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionSettings:
    """What a connection is told once; seconds throughout. Raises ValueError for what is out of its range."""

    request_timeout: float
    reject_invalid_requests: bool
    websocket_ping_interval: float | None
    close_timeout: float
    max_queued_calls: int
    on_raw_websocket_data: Callable[[str, ConnectionMetadata], object] | None = None
    on_call_result_error: Callable[[CallResultErrorReceived], object] | None = None
    observe: Observer | None = None
    handler_timeout: float | None = None
    max_malformed_frames: int | None = None
    max_queued_requests: int | None = None
    idle_timeout: float | None = None

    def __post_init__(self) -> None:
        check_positive(request_timeout=self.request_timeout, close_timeout=self.close_timeout)
        check_whole(max_queued_calls=self.max_queued_calls)
        if self.websocket_ping_interval is not None:
            check_positive(websocket_ping_interval=self.websocket_ping_interval)
        if self.handler_timeout is not None:
            check_positive(handler_timeout=self.handler_timeout)


class Connection:
    """One live connection.

    Args:
        transport: carries the messages.
        metadata: whose connection it is.
        settings: see `ConnectionSettings`.
        router: the handlers.
        messages: of the connection's version.
        gate: what may go before the station is registered.
        executor: where handlers run.
        timer: for pings and deadlines.
        answers: what this station asked lately, possibly over an earlier connection.
        watch: is told which handlers run.
    """

    def __init__(
        self,
        transport: Transport,
        metadata: ConnectionMetadata,
        settings: ConnectionSettings,
        *,
        router: Router,
        messages: MessageSet,
        gate: MessagePolicy,
        executor: Executor,
        timer: Timer,
        answers: AnswerMemory,
        watch: StuckHandlerDetector | None = None,
    ) -> None:
        if settings.observe is not None:
            transport = ObservedTransport(transport, metadata, settings.observe, timer.now)
        self.metadata = metadata
        self._transport = transport
        self._settings = settings
        self._messages = messages
        self._gate = gate
        self._router = router
        self._refusals = None if settings.on_call_result_error is None else SerialExecutor(executor)
        self._timer = timer
        self._responder = Responder(
            transport,
            metadata,
            messages=messages,
            gate=gate,
            router=router,
            executor=executor,
            answers=answers,
            timer=timer,
            watch=watch,
            handler_timeout=settings.handler_timeout,
            observe=settings.observe,
            reject_invalid_requests=settings.reject_invalid_requests,
            max_queued_calls=settings.max_queued_calls,
        )
        self._lock = threading.Lock()  # guards the RPC core; never held over I/O or user code
        self._rpc = Rpc(
            messages.codec,
            refusal=self._refusal,
            answers=answers,
            reply_to=weakref.ref(self._responder),
            peer=metadata.charge_point_id,
        )
        self._requester = Requester(
            self._rpc,
            self._lock,
            transport,
            metadata,
            messages=messages,
            gate=gate,
            executor=executor,
            timer=timer,
            observe=settings.observe,
            max_queued=settings.max_queued_requests,
        )
        self._ended = False
        self._reader: int | None = None
        self._pinged: float | None = None
        self._ping_timer: TimerHandle | None = None
        self._close_timer: TimerHandle | None = None
        self._idle_timer: TimerHandle | None = None
        self._message_came = self._timer.now()
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
        began, observe = self._timer.now(), self._settings.observe
        charge_point_id, version = self.metadata.charge_point_id, self.metadata.ocpp_version
        if observe is not None:
            observe(Connected(charge_point_id, version, self.metadata.http_request.client_address))
        self._schedule_ping()
        self._watch_idleness()
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
            self._responder.end()
            self._transport.release()
            for appointment in (self._ping_timer, self._close_timer, self._idle_timer):
                if appointment is not None:
                    appointment.cancel()
            self._reader = None
            if observe is not None:
                observe(Closed(charge_point_id, version, self.close_code, self._timer.now() - began))

    def _receive(self, text: str) -> None:
        self._message_came = self._timer.now()
        hook = self._settings.on_raw_websocket_data
        if hook is not None:
            try:
                hook(text, self.metadata)
            except Exception:
                _logger.exception("on_raw_websocket_data failed")
        try:
            frame = self._messages.codec.parse(text)
        except ProtocolError as error:
            with self._lock:
                event = self._rpc.receive_malformed(error)
            self._count_malformed()
        else:
            with self._lock:
                event = self._rpc.receive(frame, text)
        if isinstance(event, Dispatch):
            self._responder.dispatch(event)
        elif isinstance(event, Settle):
            self._requester.write(event.next)
            self._requester.settle(event)
        elif isinstance(event, Reply):
            self._responder.send_nowait(event.text)
        elif isinstance(event, AnswerRejected):
            self._report(event)

    def _count_malformed(self) -> None:
        limit = self._settings.max_malformed_frames
        if limit is not None and self._rpc.counters.malformed_frames > limit:
            _logger.warning("%s sent more than %d malformed messages", self.metadata.charge_point_id, limit)
            self._transport.fail(POLICY_VIOLATION, "too many malformed messages")

    def _refusal(self, action: str, send: bool) -> str | None:
        # What the gate keeps out gets the gate's answer when its turn comes, whether or not there is a handler.
        if self._gate.decide_inbound(action) != "handle":
            return None
        return self._router.refusal(action, self._messages.version, send)

    def _report(self, event: AnswerRejected) -> None:
        error = event.error
        received = CallResultErrorReceived(
            charge_point_id=self.metadata.charge_point_id,
            action=event.action,
            message_id=str(error.message_id),
            code=self._messages.codec.code(error.code),
            raw_code=error.code,
            description=error.description,
            details=error.details,
        )
        text = "it cannot use the answer to its %s: %.300r"
        self._rpc.throttled.log(_logger, "refusal", text, event.action, error)
        hook, waiting = self._settings.on_call_result_error, self._refusals
        # One answer may be refused without end: no more of that may wait than CALLs may.
        if hook is not None and waiting is not None and len(waiting) < self._settings.max_queued_calls:
            waiting.submit(run_logged, hook, received)

    # Our CALLs, from any thread.

    def request(self, action: str, payload: Any, timeout: float | None, version: str | None = None) -> Future[Any]:
        """Send a CALL when its turn comes, and return the future of its answer.

        Whatever goes wrong on the way is raised by the future, also that the connection speaks another version than
        ``version``. ``timeout`` in seconds counts from now.

        Raises:
            ValidationError: the payload breaks its schema, or the action is not this end's to send; nothing is sent.
            RuntimeError: the calling thread is the reader, which could never see the answer.
        """
        if threading.get_ident() == self._reader:
            raise RuntimeError(f"{action} cannot be sent from a raw-data hook: this thread reads the answer")
        if version is not None and version != self._messages.version:
            return failed(self._requester.other_version(action, version))
        self._messages.check_sender(action, send=False)
        return self._requester.request(action, payload, self._settings.request_timeout if timeout is None else timeout)

    def send(self, action: str, payload: Any, version: str | None = None) -> None:
        """Send a SEND at once: it has no answer, and waits for no other message (4/21 §4.2.4).

        Raises:
            ValidationError: the payload breaks its schema; nothing is sent.
            NotRegisteredError: the central system has not accepted this charge point; nothing is sent.
            ConnectionLostError: the connection has ended.
            VersionMismatchError: the connection speaks another version than ``version``; nothing is sent.
        """
        if version is not None and version != self._messages.version:
            raise self._requester.other_version(action, version)
        self._messages.check_sender(action, send=True)
        self._requester.send(action, payload)

    def end_requests(self, reason: str) -> None:
        """Fail every request that waits, and every later one; the connection itself goes on."""
        self._requester.end(reason)

    # The end.

    def drain(self) -> None:
        """Hand out no more CALLs; those that run are still answered."""
        self._responder.drain()

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; never waits. The connection ends by itself after the close timeout at most."""
        self._transport.close(code, reason)

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def _abort_in_time(self) -> None:
        self._close_timer = self._timer.call_later(self._settings.close_timeout, self._transport.abort)

    # Pings and idleness, on the timer.

    def _watch_idleness(self) -> None:
        timeout = self._settings.idle_timeout
        if timeout is None or self._ended:
            return
        left = self._message_came + timeout - self._timer.now()
        if left > 0:
            self._idle_timer = self._timer.call_later(left, self._watch_idleness)
        else:
            _logger.warning("%s sent nothing for %g s; it is closed", self.metadata.charge_point_id, timeout)
            self._transport.close(NORMAL, "nothing came for too long")

    def _schedule_ping(self) -> None:
        interval = self._settings.websocket_ping_interval
        if interval is not None and not self._ended:
            self._ping_timer = self._timer.call_later(interval, self._ping)

    def _ping(self) -> None:
        if self._ended:
            return  # just as the appointment was made
        if self._pinged is not None and self._transport.last_heard < self._pinged:
            _logger.warning("%s does not answer pings; its connection is given up", self.metadata.charge_point_id)
            self._transport.abort()
            return
        # One that could not be written at once counts as unanswered: the peer has not read for a whole interval.
        self._pinged = self._timer.now()
        self._transport.ping()
        self._schedule_ping()

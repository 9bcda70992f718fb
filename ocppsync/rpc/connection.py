"""One live OCPP connection, the same class at both ends: connects the transport, the engine, requester and responder.

Threads: `run` is the reader, the only thread that receives. Handlers run in the pool, one at a time, in the order of
their CALLs. Any thread may call `request`. The engine holds the state and its lock.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ProtocolError
from ..events import Closed, Connected
from ..faults.interrupts import raise_interrupt
from ..masking.messages import masked
from ..request import CallResultErrorReceived, ConnectionMetadata
from ..threads.bounded import BoundedExecutor
from ..threads.timer import TimerHandle
from ..wire.http import RefusalError
from ..wire.transport import CloseCode, Transport
from .context import ConnectionContext
from .engine import AnswerRejected, ConnectionState, Engine, Late, Reply, Settle
from .incoming import IncomingCall
from .observing import report_received
from .outbox import Outbox
from .requester import Requester
from .responder import Responder
from .shares import parsed_size

_logger = logging.getLogger(__name__)


class Connection:
    """One live connection.

    Args:
        transport: carries the messages.
        context: shared by its parts.

    Attributes:
        request, send: those of its `Requester`.
    """

    def __init__(self, transport: Transport, context: ConnectionContext) -> None:
        self.metadata: ConnectionMetadata = context.metadata
        self._transport = transport
        self._context = context
        outbox = Outbox(transport, context)
        self._responder = Responder(context, outbox)
        self.reply_to = self._responder.reply_to
        """Stands for this connection in the answer memory."""
        self._engine = Engine(
            context.messages.codec,
            routes=context.router.routes(context.messages.version),
            refuses_at_once=self._refuses_at_once,
            answered=context.calls.answered,
            throttled=context.peer_log,
            call_at=lambda due: context.timer.call_at(due, requester.look),
            max_queued=context.options.limits.queued_requests,
        )
        requester = self._requester = Requester(context, self._engine, outbox)
        # From any thread, without a method in between for each message.
        self.request = requester.request
        self.send = requester.send
        self._rejections: BoundedExecutor | None = None
        if context.options.on_call_result_error is not None:
            # Limited, since a peer may reject one answer any number of times.
            self._rejections = BoundedExecutor(context.share.others, limit=context.options.limits.queued_calls)
        self._pinged: float | None = None
        self._ping_timer: TimerHandle | None = None
        self._close_timer: TimerHandle | None = None
        self._idle_timer: TimerHandle | None = None
        self._message_came = context.timer.now()
        transport.on_closing = self._abort_in_time

    def __repr__(self) -> str:
        known = self.metadata
        return f"<Connection {known.charge_point_id} ocpp{known.ocpp_version} {self.state.name} {self._engine!r}>"

    @property
    def number(self) -> int:
        """The number of the connection; later upgrade requests have higher ones."""
        return self._context.number

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._engine.state

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code, once the connection has ended; 1006 if there was no closing handshake."""
        return self._transport.close_code

    @property
    def log_fields(self) -> Mapping[str, object]:
        """The attributes of log records about the connection."""
        return self._context.log_fields

    # The reader.

    def run(self) -> None:
        """Read until the connection ends; then fail the requests that wait, and release everything."""
        self._requester.reader = threading.get_ident()
        context, known = self._context, self.metadata
        opened, failed = context.timer.now(), False
        # Within the try: the timer may fail to start its thread.
        try:
            self._engine.open()
            if context.events is not None:
                address = known.http_request.client_address
                connected = Connected(known.charge_point_id, known.ocpp_version, address, context.number)
                context.events.open(connected)
            self._schedule_ping()
            self._check_idleness()
            # Ends: it blocks only in `receive`, which returns None after a Close, the end of the stream, or `abort`.
            while (text := self._transport.receive()) is not None:
                self._receive(text)
        except BaseException as error:
            failed = True
            context.own_log.log(_logger, "reader", "the reader failed", level=logging.ERROR, error=error)
            raise_interrupt(error)
        finally:
            self._finish(opened, failed)

    def _finish(self, opened: float, failed: bool) -> None:
        # Takes every step, also if an earlier one raises. The last one that is listed comes first.
        with contextlib.ExitStack() as steps:
            steps.callback(self._tell_closed, opened)
            steps.callback(self._cancel_appointments)
            steps.callback(self._transport.release)
            steps.callback(self._context.calls.settle)
            if failed:
                steps.callback(self._transport.refuse, RefusalError(500, "the reader failed"), CloseCode.INTERNAL_ERROR)
            else:
                steps.callback(self._transport.abort)
            # First: functions on the timer must not start anything after this.
            steps.callback(self._requester.end, "the connection ended", ConnectionState.CLOSED)

    def _cancel_appointments(self) -> None:
        self._requester.reader = None
        for appointment in (self._ping_timer, self._close_timer, self._idle_timer):
            if appointment is not None:
                appointment.cancel()

    def _tell_closed(self, opened: float) -> None:
        context, known = self._context, self.metadata
        if context.events is not None:
            code, seconds = self.close_code, context.timer.now() - opened
            context.events.close(Closed(known.charge_point_id, known.ocpp_version, code, seconds, context.number))

    def _receive(self, text: str) -> None:
        context, engine = self._context, self._engine
        came = self._message_came = context.timer.now()
        hook = context.options.on_raw_websocket_data
        if hook is not None:
            self._call_raw_hook(hook, text)
        try:
            frame = context.messages.codec.parse(text)
        except ProtocolError as error:
            decision = engine.receive_malformed(error)
            report_received(context, error, text, decision)
            self._check_malformed()
        else:
            decision = engine.receive(frame)
            if context.events is not None:
                report_received(context, frame, text, decision)
        if isinstance(decision, IncomingCall):
            self._responder.dispatch(decision, text, came)
        elif isinstance(decision, Settle):
            self._requester.settle(decision)
            if decision.call.abandoned:
                self._warn("%s answered %s after its caller had given up", decision.call.action)
        elif isinstance(decision, Reply):
            self._responder.reply(decision, came)
        elif isinstance(decision, AnswerRejected):
            self._report_rejection(decision, parsed_size(text))
        elif isinstance(decision, Late):
            self._warn("%s answered %s after its timeout; the answer is dropped", decision.call.action)

    def _call_raw_hook(self, hook: Any, text: str) -> None:
        try:
            hook(text, self.metadata)
        except BaseException as error:
            raise_interrupt(error)
            text = "on_raw_websocket_data failed"
            self._context.own_log.log(_logger, "raw", text, level=logging.ERROR, error=error)

    def _refuses_at_once(self, action: str) -> bool:
        # A CALL that the policy refuses gets the policy's answer in its turn, with or without a handler. Other CALLs
        # without a handler are refused at once, so that they neither wait nor fill the answer memory.
        return self._context.policy.decide_inbound(action) == "handle"

    def _check_malformed(self) -> None:
        limit = self._context.options.limits.malformed_messages
        if limit is not None and self._engine.counters.malformed_messages > limit:
            self._warn("%s sent more than %d malformed messages; its connection is closed", limit)
            self._transport.fail(CloseCode.POLICY_VIOLATION, "too many malformed messages")

    def _report_rejection(self, rejected: AnswerRejected, size: int) -> None:
        error = rejected.error
        received = CallResultErrorReceived(
            charge_point_id=self.metadata.charge_point_id,
            action=rejected.action,
            message_id=str(error.message_id),
            code=self._context.messages.codec.code(error.code),
            raw_code=error.code,
            description=error.description,
            details=error.details,
        )
        # Without the details: they may quote our answer.
        text = "it cannot use the answer to its %s: %.50r %.255r"
        self._context.peer_log.log(_logger, "rejection", text, rejected.action, error.code, masked(error.description))
        hook, waiting = self._context.options.on_call_result_error, self._rejections
        if hook is not None and waiting is not None:
            self._context.share.submit(waiting, size, self._tell_rejection, hook, received, size)

    def _tell_rejection(self, hook: Callable[..., object], received: CallResultErrorReceived, size: int) -> None:
        self._context.share.give(size)
        try:
            hook(received)
        except BaseException as error:
            self._context.own_log.log(
                _logger, "on_call_result_error", "on_call_result_error failed", level=logging.ERROR, error=error
            )

    # The end.

    def supersede(self) -> None:
        """Fail the requests that wait, and all later ones: a newer connection has taken over."""
        self._requester.end("another connection of the same identity has taken over", ConnectionState.CLOSING)

    def end_requests(self) -> None:
        """Fail the requests that wait, and all later ones: this end is closed, but a hook or observer holds its reader
        up, and the timer runs no more.
        """
        self._requester.end("this end was closed", ConnectionState.CLOSING)

    def give_up(self) -> None:
        """Fail the requests that wait, and all later ones, without `run`: the connection could not be served."""
        self._requester.end("the connection could not be served", ConnectionState.CLOSED)
        self._context.calls.settle()

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; never waits. The connection ends after the close timeout at the latest."""
        self._transport.close(code, reason)

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def _abort_in_time(self) -> None:
        if self._ended:
            return  # the reader has cancelled its appointments
        context = self._context
        try:
            self._close_timer = context.timer.call_later(context.options.timeouts.close, self._transport.abort)
        except RuntimeError:
            # Nothing would end the connection to a silent peer.
            self._transport.abort()
            text = "the connection is aborted without waiting for the peer's Close: the timer has no thread"
            context.own_log.log(_logger, "no thread", text, level=logging.ERROR)
        else:
            # Again: the reader may have cancelled them just before this one was made.
            if self._ended:
                self._close_timer.cancel()

    # Pings and idleness, on the timer.

    @property
    def _ended(self) -> bool:
        return self._engine.state is ConnectionState.CLOSED

    def _check_idleness(self) -> None:
        timeout = self._context.options.timeouts.idle
        if timeout is None or self._ended:
            return
        left = self._message_came + timeout - self._context.timer.now()
        if left > 0:
            self._idle_timer = self._context.timer.call_later(left, self._check_idleness)
        else:
            self._warn("%s sent nothing for %g s; its connection is closed", timeout)
            self._transport.close(CloseCode.NORMAL, "nothing came for too long")

    def _schedule_ping(self) -> None:
        interval = self._context.options.websocket_ping_interval
        if interval is not None and not self._ended:
            self._ping_timer = self._context.timer.call_later(interval, self._ping)

    def _ping(self) -> None:
        if self._ended:
            return  # it ended just now
        if self._pinged is not None and self._transport.last_heard < self._pinged:
            self._warn("%s does not answer pings; its connection is aborted")
            self._transport.abort()
            return
        # A ping that is not written at once counts as unanswered: the peer has not read for a whole interval.
        self._pinged = self._context.timer.now()
        self._transport.ping()
        self._schedule_ping()

    def _warn(self, text: str, *args: object) -> None:
        self._context.peer_log.about(_logger, text, *args)

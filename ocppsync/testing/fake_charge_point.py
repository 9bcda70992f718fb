"""A scripted charge point for tests: it answers as expected by the test and records every message."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

from ..central_system import CentralSystem, local_end_of, server_of
from ..errors import (
    CallErrorReceived,
    ConnectionLostError,
    Delivery,
    NotConnectedError,
    OCPPRequestError,
    RequestTimeoutError,
)
from ..rpc import frames
from ..rpc.context import peer_name
from ..rpc.frame_codec import FrameCodec
from ..rpc.incoming import IncomingCall
from ..rpc.requester import request_error
from ..validation.catalogue import Version, unknown_action
from ..wire.endpoint import Endpoint
from ..wire.http import basic_authorization, check_headers
from ..wire.transport import CloseCode, TransportClosedError, check_close_code
from .links import Link, link_in_memory, link_over_socket
from .memory import MemoryTransport
from .script import Expectation, PayloadMatcher, ReceivedCall, Script, described, differences, times_text

__all__ = ["FakeChargePoint", "ScriptedAnswer"]

ScriptedAnswer = Mapping[str, Any] | Callable[[Any], Mapping[str, Any] | None] | None
"""The payload of an answer, a function that returns it for the request's payload, or None for ``{}``."""

_BOOT: Mapping[str, Mapping[str, Any]] = {
    "1.6": {"chargePointVendor": "Fake", "chargePointModel": "Fake"},
    "2.0.1": {"reason": "PowerUp", "chargingStation": {"vendorName": "Fake", "model": "Fake"}},
    "2.1": {"reason": "PowerUp", "chargingStation": {"vendorName": "Fake", "model": "Fake"}},
}


class FakeChargePoint:
    """A charge point for tests, connected to a central system in the same process.

    Nothing it sends is validated, so a test can send invalid messages. It answers an unexpected CALL with
    NotImplemented, and `assert_script_done` then fails.

    Args:
        cs: the central system, started.
        charge_point_id: the identity.
        version: the OCPP version to speak.
        over: ``"memory"``, or ``"socket"`` to connect to the port of the central system.
        path: the part of the URL path before the identity, and the query after a ``?``.
        password: for HTTP Basic authentication, with the identity as user name.
        headers: additional HTTP headers.

    Attributes:
        received: the received CALLs and SENDs, in order.
        texts: every received message, as text.
    """

    def __init__(
        self,
        cs: CentralSystem,
        charge_point_id: str = "CP1",
        version: Version = "1.6",
        *,
        over: Literal["memory", "socket"] = "memory",
        path: str = "",
        password: str | bytes | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.charge_point_id = charge_point_id
        self.version: Version = version
        self._peer = peer_name("charge_point", charge_point_id)
        self._cs = cs
        self._connect = link_in_memory if over == "memory" else link_over_socket
        if over == "socket" and cs.port is None:
            raise ValueError('over="socket" needs a central system with a port')
        self._endpoint = Endpoint(f"ws://127.0.0.1:{cs.port or 80}{path}", charge_point_id)
        check_headers(headers)
        self._headers = [*headers, *basic_authorization(charge_point_id, password)]
        self._codec = FrameCodec(version)
        self._catalogue = local_end_of(cs).message_sets.messages(version).catalogue
        self._link: Link | None = None
        # Guards the state below and is notified of each change. Never held while sending or running user code.
        self._changed = threading.Condition()
        self._script = Script()
        self._answers: dict[str, frames.CallResultFrame | frames.CallErrorFrame] = {}
        self._connected = False
        self.received: list[ReceivedCall] = []
        self.texts: list[str] = []

    def __repr__(self) -> str:
        state = "connected" if self._connected else "not connected"
        return f"<FakeChargePoint {self.charge_point_id} OCPP {self.version} {state} received={len(self.received)}>"

    # Connecting.

    @property
    def connected(self) -> bool:
        """Whether the charge point is connected."""
        return self._connected

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code of the last connection, once it has ended; 1006 without a closing handshake."""
        return None if self._link is None or self._connected else self._link.transport.close_code

    def connect(self) -> FakeChargePoint:
        """Connect or reconnect; return this object.

        Raises:
            HandshakeError: the central system refused the connection; ``status`` is the HTTP status.
            RuntimeError: it is already connected.
        """
        if self._connected:
            raise RuntimeError(f"{self.charge_point_id} is already connected")
        link = self._connect(
            self._cs, self._endpoint, self.version, self._headers, on_message=self._on_message, on_end=self._on_end
        )
        self._link = link
        self._connected = True
        link.start()
        return self

    def close(self, code: int = CloseCode.NORMAL, reason: str = "", *, timeout: float = 5.0) -> None:
        """Close the connection, if there is one, and wait for the central system to close it as well.

        Args:
            code: the WebSocket close code.
            reason: the text in the Close frame.
            timeout: seconds of real time until the connection is aborted.

        Raises:
            ValueError: the code must not be sent in a Close frame (RFC 6455 §7.4).
        """
        check_close_code(code)
        link = self._link
        if link is None:
            return
        link.transport.close(code, reason)
        if not link.join(timeout):
            link.transport.abort()
            link.join(timeout)

    def drop(self) -> None:
        """End the connection without a Close, as in a power cut."""
        link = self._require_link()
        link.transport.abort()
        link.join(5.0)

    def ignore_pings(self) -> None:
        """Stop answering pings, as if the network had failed; raises RuntimeError over a socket."""
        transport = self._require_link().transport
        if not isinstance(transport, MemoryTransport):
            raise RuntimeError("ignore_pings() works in memory only; over a socket, pings are always answered")
        transport.answers_pings = False

    def __enter__(self) -> FakeChargePoint:
        return self if self._connected else self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.assert_script_done()
        finally:
            self.close()

    # The script.

    def expect(
        self,
        action: str,
        answer: ScriptedAnswer = None,
        *,
        payload: PayloadMatcher | None = None,
        times: int | None = 1,
        delay: float = 0.0,
        hold: bool = False,
    ) -> Expectation:
        """Expect a CALL and answer it; return the expectation, which lists the matching ``calls``.

        Expectations of one action are used in the order of these method calls. Different actions may come in any order.

        Args:
            action: the OCPP action.
            answer: the payload of the answer, a function that returns it for the request's payload, or None for ``{}``.
            payload: some fields of the request's payload, or a function that returns whether the payload matches.
            times: the number of expected CALLs; None: any number, including none.
            delay: seconds until the answer, on the clock of the central system.
            hold: answer only when ``release()`` of the expectation is called.

        Raises:
            ValueError: a central system does not send that action.
        """

        def reply(call: ReceivedCall) -> None:
            result = answer(call.payload) if callable(answer) else answer
            self._reply(frames.call_result(call.message_id, {} if result is None else result))

        return self._expect(action, payload, times, reply, delay=delay, hold=hold)

    def refuse(
        self,
        action: str,
        code: str = "NotSupported",
        description: str = "",
        *,
        payload: PayloadMatcher | None = None,
        times: int | None = 1,
        delay: float = 0.0,
        hold: bool = False,
    ) -> Expectation:
        """Expect a CALL and answer it with a CALLERROR; the other arguments are those of `expect`."""

        def reply(call: ReceivedCall) -> None:
            self._reply(frames.call_error(call.message_id, code, description))

        return self._expect(action, payload, times, reply, delay=delay, hold=hold)

    def stay_silent(self, action: str, *, payload: PayloadMatcher | None = None, times: int | None = 1) -> Expectation:
        """Expect a CALL and never answer it."""
        return self._expect(action, payload, times, lambda call: None)

    def drop_on(self, action: str, *, payload: PayloadMatcher | None = None, times: int | None = 1) -> Expectation:
        """Expect a CALL and `drop` the connection instead of answering."""
        return self._expect(action, payload, times, lambda call: self._require_link().transport.abort())

    def answer_malformed(
        self, action: str, *, payload: PayloadMatcher | None = None, times: int | None = 1
    ) -> Expectation:
        """Expect a CALL and answer it with a CALLRESULT without a payload."""
        return self._expect(action, payload, times, lambda call: self._reply(f'[3,"{call.message_id}"]'))

    def _expect(
        self,
        action: str,
        payload: PayloadMatcher | None,
        times: int | None,
        react: Callable[[ReceivedCall], object],
        *,
        delay: float = 0.0,
        hold: bool = False,
    ) -> Expectation:
        if not self._catalogue.known(action):
            raise ValueError(unknown_action([self._catalogue], action))
        if not self._catalogue.may_send("central_system", action):
            raise ValueError(f"a central system does not send {action}")
        with self._changed:
            return self._script.add(Expectation(action, payload, times, react, hold=hold, delay=delay))

    # Sending.

    def call(self, action: str, payload: Mapping[str, Any] | None = None, *, timeout: float = 5.0) -> Any:
        """Send a CALL and return the payload of its answer.

        Args:
            action: the OCPP action; it need not exist.
            payload: the fields of the request; they need not be valid.
            timeout: seconds of real time.

        Raises:
            CallErrorReceived: the central system answered with a CALLERROR.
            RequestTimeoutError: no answer arrived in time.
            ConnectionLostError: the connection ended before the answer arrived.
            NotConnectedError: there is no connection.
        """
        message_id = str(uuid.uuid4())
        link = self._require_link(action)
        text = frames.call(message_id, action, {} if payload is None else payload)
        try:
            link.transport.send_nowait(text)
        except TransportClosedError as error:
            raise self._failure(ConnectionLostError, action, message_id, str(error)) from error
        self._wait(lambda: message_id in self._answers or not self._connected, timeout)
        with self._changed:
            answer = self._answers.pop(message_id, None)
        if isinstance(answer, frames.CallResultFrame):
            return answer.payload
        if answer is None and not self._connected:
            raise self._failure(ConnectionLostError, action, message_id, "the connection ended")
        if answer is None:
            raise self._failure(RequestTimeoutError, action, message_id, f"no answer within {timeout:g} s")
        raise CallErrorReceived(
            code=self._codec.code(answer.code),
            raw_code=answer.code,
            description=answer.description,
            details=answer.details,
            charge_point_id=self.charge_point_id,
            action=action,
            message_id=message_id,
            peer=self._peer,
        )

    def boot(self, **fields: Any) -> Any:
        """Send a BootNotification and return the answer, accepted or not; ``fields`` are added or replace defaults."""
        return self.call("BootNotification", {**_BOOT[self.version], **fields})

    def send(self, action: str, payload: Mapping[str, Any] | None = None) -> None:
        """Send a SEND, which has no answer (4/21 §4.2.4)."""
        self.send_raw(frames.send(str(uuid.uuid4()), action, {} if payload is None else payload))

    def send_raw(self, message: str | bytes) -> None:
        """Send a message unchanged: a str as text, bytes as a binary message, which OCPP does not allow."""
        link = self._require_link()
        if isinstance(message, str):
            link.transport.send_nowait(message)
        else:
            link.transport.send_bytes(message)
        link.run_handlers()

    def send_malformed(self) -> None:
        """Send a truncated CALL."""
        self.send_raw('[2,"malformed","Heartbeat",{')

    # Received messages.

    def wait_for(
        self, action: str, payload: PayloadMatcher | None = None, *, count: int = 1, timeout: float = 5.0
    ) -> Any:
        """Wait until a CALL is received, and return its payload; a CALL received earlier counts too.

        Args:
            action: the OCPP action.
            payload: the payload to match; see `expect`.
            count: the number of matching CALLs to wait for; the payload of the last one is returned.
            timeout: seconds of real time.

        Raises:
            AssertionError: the CALL was not received in time.
        """
        if not self._wait(lambda: len(self._matching(action, payload)) >= count, timeout):
            what = described(action, payload)
            number = "" if count == 1 else f" {times_text(count)}"
            raise AssertionError(f"{what} was not received{number} within {timeout:g} s\n{self._all_received()}")
        return self._matching(action, payload)[count - 1].payload

    def wait_closed(self, timeout: float = 5.0) -> int | None:
        """Wait until the connection has ended, and return its close code.

        Raises:
            AssertionError: it did not end in time.
        """
        if not self._wait(lambda: not self._connected, timeout):
            raise AssertionError(f"the connection of {self.charge_point_id} did not end within {timeout:g} s")
        return self.close_code

    def assert_received(self, action: str, payload: PayloadMatcher | None = None, *, times: int | None = None) -> None:
        """Raise AssertionError unless a matching CALL was received.

        Args:
            action: the OCPP action.
            payload: the payload to match; see `expect`.
            times: the exact number of CALLs; None: at least one.
        """
        self._wait(lambda: True, 0)
        count = len(self._matching(action, payload))
        if count == times or (times is None and count):
            return
        with self._changed:
            others = [call for call in self.received if call.action == action]
        reasons = [f"{call}: {'; '.join(differences(payload, call.payload)) or 'matches'}" for call in others]
        expected = "at least once" if times is None else times_text(times)
        details = "".join(f"\n  {reason}" for reason in reasons)
        raise AssertionError(
            f"{described(action, payload)} was received {times_text(count)}, expected {expected}{details}\n"
            f"{self._all_received()}"
        )

    def assert_not_received(self, action: str, payload: PayloadMatcher | None = None) -> None:
        """Raise AssertionError if a matching CALL was received; the arguments are those of `assert_received`."""
        self.assert_received(action, payload, times=0)

    def assert_script_done(self) -> None:
        """Raise AssertionError if an expected CALL is missing, an unexpected one came, or an answer failed."""
        self._wait(lambda: True, 0)
        with self._changed:
            report = self._script.report()
        if report:
            lines = "".join(f"\n  - {line}" for line in report)
            raise AssertionError(f"the script of {self.charge_point_id} is not done:{lines}\n{self._all_received()}")

    def _matching(self, action: str, payload: PayloadMatcher | None) -> list[ReceivedCall]:
        calls = [call for call in list(self.received) if call.action == action]
        return [call for call in calls if not differences(payload, call.payload)]

    def _all_received(self) -> str:
        with self._changed:
            calls = list(self.received)
        if not calls:
            return "  received: nothing"
        return "  received:" + "".join(f"\n  {number}. {call}" for number, call in enumerate(calls, 1))

    def _wait(self, predicate: Callable[[], bool], timeout: float) -> bool:
        if self._link is not None:
            self._link.run_handlers()
        with self._changed:
            return self._changed.wait_for(predicate, timeout)

    # Called by the link, on any thread.

    def _on_message(self, text: str) -> None:
        with self._changed:
            self.texts.append(text)
            self._changed.notify_all()
        frame = self._codec.parse(text)
        if isinstance(frame, IncomingCall):
            self._on_call(frame)
        elif isinstance(frame, (frames.CallResultFrame, frames.CallErrorFrame)):
            with self._changed:
                self._answers[frame.message_id] = frame
                self._changed.notify_all()

    def _on_call(self, frame: IncomingCall) -> None:
        call = ReceivedCall(frame.action, frame.payload, str(frame.message_id))
        with self._changed:
            self.received.append(call)
            expectation = self._script.find(call)
            if expectation is not None and expectation.hold:
                expectation.hold_back(call)
            self._changed.notify_all()
        if expectation is None:
            if not frame.is_send:
                self._reply(self._codec.call_error(call.message_id, "NotImplemented", "the script has no answer"))
        elif expectation.delay:
            timer = server_of(self._cs).context.timer
            # The test's function may block.
            timer.call_later(expectation.delay, timer.call_aside, self._react, expectation, call)
        elif not expectation.hold:
            self._react(expectation, call)

    def _react(self, expectation: Expectation, call: ReceivedCall) -> None:
        try:
            expectation.react(call)
        except Exception as error:
            with self._changed:
                self._script.add_fault(f"the answer to {call} failed: {error!r}")
            self._reply(self._codec.call_error(call.message_id, "InternalError", "the script failed"))

    def _reply(self, text: str) -> None:
        link = self._link
        if link is not None and self._connected:
            # If the connection ends right now, the test sees that where it matters.
            with contextlib.suppress(TransportClosedError):
                link.transport.send_nowait(text)

    def _on_end(self) -> None:
        with self._changed:
            self._connected = False
            self._changed.notify_all()

    def _require_link(self, action: str = "a message") -> Link:
        if self._link is None or not self._connected:
            raise self._failure(NotConnectedError, action, None, "not connected")
        return self._link

    def _failure(
        self, kind: type[OCPPRequestError], action: str, message_id: str | None, reason: str
    ) -> OCPPRequestError:
        delivery: Delivery = "not_sent" if message_id is None else "unknown"
        return request_error(kind, self._peer, self.charge_point_id, action, message_id, reason, delivery)

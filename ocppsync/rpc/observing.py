"""A transport that tells an observer what goes through it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from ..errors import ProtocolError
from ..events import MessageKind, MessageReceived, MessageSent, Observer
from ..request import ConnectionMetadata
from ..wire.transport import Transport
from . import frames

__all__ = ["ObservedTransport"]

_EVERYTHING = frames.FrameRules(
    frozenset({frames.CALL, frames.CALLRESULT, frames.CALLERROR, frames.CALLRESULTERROR, frames.SEND}),
    numeric_ids=True,
    short_call_errors=True,
)
_KINDS: Mapping[type[frames.Frame], MessageKind] = {
    frames.CallFrame: "CALL",
    frames.CallResultFrame: "CALLRESULT",
    frames.CallErrorFrame: "CALLERROR",
    frames.CallResultErrorFrame: "CALLRESULTERROR",
    frames.SendFrame: "SEND",
}
_MAX_OPEN = 1000
"""How many CALLs without an answer are remembered in each direction; a peer may leave any number."""


class ObservedTransport:
    """Passes everything on to another transport.

    Args:
        inner: carries the messages.
        metadata: whose connection it is.
        observer: is told.
        now: the clock.
    """

    def __init__(
        self, inner: Transport, metadata: ConnectionMetadata, observer: Observer, now: Callable[[], float]
    ) -> None:
        self._inner = inner
        self._metadata = metadata
        self._observer = observer
        self._now = now
        self._lock = threading.Lock()  # guards both below: the reader and whoever sends touch either
        self._theirs: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._ours: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<ObservedTransport {self._inner!r}>"

    @property
    def close_code(self) -> int | None:
        """See `Transport`."""
        return self._inner.close_code

    @property
    def close_reason(self) -> str:
        """See `Transport`."""
        return self._inner.close_reason

    @property
    def last_heard(self) -> float:
        """See `Transport`."""
        return self._inner.last_heard

    @property
    def on_closing(self) -> Callable[[], object] | None:
        """See `Transport`."""
        return self._inner.on_closing

    @on_closing.setter
    def on_closing(self, function: Callable[[], object] | None) -> None:
        self._inner.on_closing = function

    def open(self) -> None:
        """Let go of the answer to the peer's handshake."""
        self._inner.open()

    def receive(self) -> str | None:
        """Wait for the next message; None once the connection has ended."""
        text = self._inner.receive()
        if text is not None:
            self._observer(self._event(MessageReceived, text, self._theirs, self._ours))
        return text

    def send_nowait(self, text: str) -> None:
        """Write a message without ever waiting."""
        # Before it is out: its answer may come, and be told, before this thread gets on.
        self._observer(self._event(MessageSent, text, self._ours, self._theirs))
        self._inner.send_nowait(text)

    def ping(self) -> bool:
        """Write a ping."""
        return self._inner.ping()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake."""
        self._inner.close(code, reason)

    def fail(self, code: int, reason: str = "") -> None:
        """Close, and drop whatever still comes."""
        self._inner.fail(code, reason)

    def abort(self) -> None:
        """End the connection at once."""
        self._inner.abort()

    def release(self) -> None:
        """Give everything back."""
        self._inner.release()

    def _event(
        self,
        kind: type[MessageReceived | MessageSent],
        text: str,
        asked: OrderedDict[str, tuple[str, float]],
        answered: OrderedDict[str, tuple[str, float]],
    ) -> MessageReceived | MessageSent:
        """Return the event for a message; its sender's CALLs are ``asked``, its receiver's ``answered``."""
        known = self._metadata.charge_point_id, self._metadata.ocpp_version
        try:
            frame = frames.parse(text, _EVERYTHING)
        except ProtocolError as error:
            readable = "" if error.message_id is None else str(error.message_id)
            return kind(*known, "malformed", readable, "", text, None)
        message_id, now = str(frame.message_id), self._now()
        action, seconds = "", None
        if isinstance(frame, (frames.CallFrame, frames.SendFrame)):
            action = frame.action
        if isinstance(frame, frames.CallFrame):
            with self._lock:
                asked[message_id] = action, now
                if len(asked) > _MAX_OPEN:
                    asked.popitem(last=False)
        elif isinstance(frame, (frames.CallResultFrame, frames.CallErrorFrame)):
            with self._lock:
                action, since = answered.pop(message_id, ("", None))
            seconds = None if since is None else now - since
        return kind(*known, _KINDS[type(frame)], message_id, action, text, seconds)

"""Tells observers of the messages that a connection receives."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ProtocolError
from ..events import MessageKind, MessageReceived
from . import frames
from .context import ConnectionContext
from .engine import Decision, Late, Settle
from .incoming import IncomingCall

__all__ = ["KINDS", "report_received"]

KINDS: Mapping[int, MessageKind] = {
    frames.CALL: "CALL",
    frames.CALLRESULT: "CALLRESULT",
    frames.CALLERROR: "CALLERROR",
    frames.CALLRESULTERROR: "CALLRESULTERROR",
    frames.SEND: "SEND",
}
_KINDS_OF_ANSWERS: Mapping[type[frames.Frame], MessageKind] = {
    frames.CallResultFrame: "CALLRESULT",
    frames.CallErrorFrame: "CALLERROR",
    frames.CallResultErrorFrame: "CALLRESULTERROR",
}


def report_received(
    context: ConnectionContext, frame: frames.Frame | ProtocolError, text: str, decision: Decision
) -> None:
    """Tell the observers of a message that was received as ``text``; ``decision`` is that of the engine about it."""
    events = context.events
    if events is None:
        return
    message_id = "" if frame.message_id is None else str(frame.message_id)
    kind: MessageKind
    action, seconds = "", None
    if isinstance(frame, ProtocolError):
        kind = "malformed"
    elif isinstance(frame, IncomingCall):
        kind, action = "SEND" if frame.is_send else "CALL", frame.action
    else:
        kind = _KINDS_OF_ANSWERS[type(frame)]
    if isinstance(decision, (Settle, Late)):
        action, sent_at = decision.call.action, decision.call.sent_at
        seconds = None if sent_at is None else context.timer.now() - sent_at
    known = context.metadata
    identity, version, number = known.charge_point_id, known.ocpp_version, context.number
    events.tell(MessageReceived(identity, version, kind, message_id, action, text, seconds, number))

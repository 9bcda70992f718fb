"""Tells observers of the messages that a connection receives."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ProtocolError
from ..events import MessageKind, MessageReceived
from . import frames
from .context import ConnectionContext
from .engine import Decision, Late, Settle

__all__ = ["KINDS", "report_received"]

KINDS: Mapping[int, MessageKind] = {
    frames.CALL: "CALL",
    frames.CALLRESULT: "CALLRESULT",
    frames.CALLERROR: "CALLERROR",
    frames.CALLRESULTERROR: "CALLRESULTERROR",
    frames.SEND: "SEND",
}
_KINDS_OF_FRAMES: Mapping[type[frames.Frame], MessageKind] = {
    frames.CallFrame: "CALL",
    frames.CallResultFrame: "CALLRESULT",
    frames.CallErrorFrame: "CALLERROR",
    frames.CallResultErrorFrame: "CALLRESULTERROR",
    frames.SendFrame: "SEND",
}


def report_received(
    context: ConnectionContext, frame: frames.Frame | ProtocolError, text: str, decision: Decision
) -> None:
    """Tell the observers of a message that was received as ``text``; ``decision`` is that of the engine about it."""
    observe = context.observe
    if observe is None:
        return
    kind: MessageKind = "malformed" if isinstance(frame, ProtocolError) else _KINDS_OF_FRAMES[type(frame)]
    message_id = "" if frame.message_id is None else str(frame.message_id)
    action, seconds = "", None
    if isinstance(frame, (frames.CallFrame, frames.SendFrame)):
        action = frame.action
    elif isinstance(decision, (Settle, Late)):
        action, sent_at = decision.call.action, decision.call.sent_at
        seconds = None if sent_at is None else context.timer.now() - sent_at
    known = context.metadata
    observe(MessageReceived(known.charge_point_id, known.ocpp_version, kind, message_id, action, text, seconds))

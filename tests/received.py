"""Frames that were received, as values that can be compared."""

from __future__ import annotations

from typing import Any

from ocppsync.rpc.incoming import IncomingCall


def received(frame: Any) -> Any:
    """Return a frame; of a CALL or SEND, which is compared by identity, what `call` or `send` returns."""
    if not isinstance(frame, IncomingCall):
        return frame
    return "SEND" if frame.is_send else "CALL", frame.message_id, frame.action, frame.payload


def call(message_id: str | int, action: str, payload: Any) -> Any:
    """Return what `received` returns for this CALL."""
    return "CALL", message_id, action, payload


def send(message_id: str | int, action: str, payload: Any) -> Any:
    """Return what `received` returns for this SEND."""
    return "SEND", message_id, action, payload

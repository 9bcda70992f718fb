"""CALLs and SENDs of a peer as a reader hands them over, for the tests that make them by hand."""

from __future__ import annotations

from typing import Any

from ocppsync.rpc import frames
from ocppsync.rpc.incoming import IncomingCall
from ocppsync.rpc.route import Route

ROUTE = Route(None)
"""The route of all of them."""


def incoming(
    text: str,
    reply_to: object = "reply_to",
    *,
    asked_at: float = 0.0,
    due: float | None = None,
    received_by: Any = None,
    size: int = 1,
    rules: frames.FrameRules | None = None,
) -> IncomingCall:
    """Return a CALL or SEND that was received as ``text``; see `IncomingCall`."""
    call = frames.parse(text, rules or frames.FrameRules(frozenset({frames.CALL, frames.SEND})))
    assert isinstance(call, IncomingCall)
    call.text, call.size, call.asked_at, call.due = text, size, asked_at, due
    call.peer, call.route, call.received_by, call.reply_to = "CP1", ROUTE, received_by, reply_to
    return call

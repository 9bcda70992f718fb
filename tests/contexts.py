"""The context of a connection, for the tests that make a connection by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ocppsync.limits import Limits
from ocppsync.request import ConnectionMetadata
from ocppsync.rpc.answer_memory import AnswerMemory
from ocppsync.rpc.context import ConnectionContext, ConnectionOptions
from ocppsync.rpc.engine import Engine
from ocppsync.rpc.frame_codec import FrameCodec
from ocppsync.rpc.incoming import MessageId
from ocppsync.rpc.incoming_calls import IncomingCalls
from ocppsync.rpc.message_sets import MessageSets
from ocppsync.rpc.registration import MessagePolicy
from ocppsync.rpc.route import Route, Routes
from ocppsync.rpc.router import Router
from ocppsync.rpc.shares import PeerShare, Shares
from ocppsync.threads.stuck_handlers import StuckHandlerDetector
from ocppsync.throttled_log import ThrottledLog
from ocppsync.validation.catalogue import Role
from ocppsync.wire.http import Headers, HttpRequest


def make_context(
    charge_point_id: str = "CP1",
    version: str = "1.6",
    *,
    role: Role = "central_system",
    executor: Any,
    timer: Any,
    options: ConnectionOptions | None = None,
    http_request: HttpRequest | None = None,
    **parts: Any,
) -> ConnectionContext:
    """Return the context of a connection, of a central system's by default; ``parts`` are fields of it."""
    message_sets = MessageSets(role)
    known_options = options or ConnectionOptions()
    request = http_request or HttpRequest("GET", f"/{charge_point_id}", "", Headers(), ("127.0.0.1", 1))
    share = parts.get("share") or share_of(executor, known_options.limits)
    known: dict[str, Any] = {
        "metadata": ConnectionMetadata(charge_point_id, version, request),
        "messages": message_sets.messages(version),
        "policy": MessagePolicy(),
        "router": Router(message_sets),
        "share": share,
        "calls": IncomingCalls(executor, share, AnswerMemory(timer.now), timer),
        "timer": timer,
        "detector": StuckHandlerDetector(executor, timer),
        "options": known_options,
        "number": 1,
    }
    return ConnectionContext(**{**known, **parts})


def share_of(executor: Any, limits: Limits | None = None, threads: int = 16) -> PeerShare:
    """Return the share of a peer in an executor."""
    return Shares(executor, threads, limits or Limits()).share()


def routes(refusal: Callable[[str, bool], str | None] = lambda action, send: None) -> Routes:
    """Return routes without handlers; ``refusal`` is given an action, and whether it is a SEND, and returns a code."""

    def route(action: str) -> Route:
        made = Route(None)
        made.call_refusal, made.send_refusal = refusal(action, False), refusal(action, True)
        return made

    return Routes(route)


def make_engine(
    codec: FrameCodec,
    refusal: Callable[[str, bool], str | None] = lambda action, send: None,
    *,
    answered: Callable[[MessageId], str | None] = lambda message_id: None,
    call_at: Callable[[float], Any] | None = None,
    max_queued: int | None = None,
) -> Engine:
    """Return the engine of a connection that does not exist, for which nothing was sent yet; no timer looks at it."""
    return Engine(
        codec,
        routes=routes(refusal),
        answered=answered,
        throttled=ThrottledLog("CP1"),
        call_at=call_at or Appointments().call_at,
        max_queued=max_queued,
    )


class Appointments:
    """The appointments that an engine makes with a timer that does not exist."""

    def __init__(self) -> None:
        self._made = 0
        self._open: dict[int, float] = {}

    @property
    def open(self) -> list[float]:
        """When each one is due that was neither kept nor cancelled."""
        return list(self._open.values())

    def call_at(self, due: float) -> Any:
        """Make an appointment; it may be cancelled at any time, also after it was kept."""
        self._made += 1
        number = self._made
        self._open[number] = due
        return SimpleNamespace(cancel=lambda: self._open.pop(number, None))

    def keep(self) -> None:
        """Let the time of the only one come, if there is one."""
        assert len(self._open) <= 1
        self._open.clear()

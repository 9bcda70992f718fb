"""What is known of one action: its handler and hooks, if the peer sends it, and how its payloads are checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CallError
from ..request import RequestMetadata
from ..validation.predicates import Predicate

__all__ = [
    "NOT_SENT_BY_PEER",
    "UNKNOWN",
    "ActionHandler",
    "Handle",
    "OwnAction",
    "OwnActions",
    "Route",
    "Routes",
    "always_sure",
    "never_sure",
]

ActionHandler = Callable[[Any, RequestMetadata], Any]
Handle = Callable[[Any, RequestMetadata], Any]


def always_sure(payload: Any) -> bool:
    """A test that every payload passes."""
    return True


def never_sure(payload: Any) -> bool:
    """A test that no payload passes."""
    return False


class Route:
    """The handler of one action of the peer in one version of OCPP.

    Attributes:
        handle: called with the payload and the metadata, returns the answer; for a SEND the answer is dropped. A
            handler of one action may return None for ``{}``. Raises CallError if the handler does, or if the single
            handler returns None.
        hooks: called after the answer was sent.
        takes, gives: whether a payload of the peer, and an answer of the handler, is certainly valid; if not, a full
            check decides.
        call_refusal: the error code for a CALL of the action if it has no handler, else None (J16 table 7).
        send_refusal: the same for a SEND.
    """

    __slots__ = ("call_refusal", "gives", "handle", "hooks", "send_refusal", "takes")

    def __init__(
        self,
        handle: Handle | None,
        hooks: tuple[ActionHandler, ...] = (),
        is_send: bool = False,
        refusal: str = "NotSupported",
        takes: Predicate = never_sure,
        gives: Predicate = never_sure,
    ) -> None:
        self.handle: Handle = _never if handle is None else handle
        self.hooks = hooks
        self.takes = takes
        self.gives = gives
        self.call_refusal = refusal if handle is None or is_send else None
        self.send_refusal = refusal if handle is None or not is_send else None


def _never(payload: Any, metadata: RequestMetadata) -> Any:
    raise CallError("NotSupported")


UNKNOWN = Route(None, refusal="NotImplemented")
NOT_SENT_BY_PEER = Route(None)


class Routes(dict[str, Route]):
    """The routes of one version, by action; a route is made when its action first arrives.

    Args:
        make: called with an action that has no route yet; it may store the route here, and returns it.
    """

    def __init__(self, make: Callable[[str], Route]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, action: str) -> Route:
        return self._make(action)


class OwnAction:
    """One action that this end sends in one version of OCPP.

    Attributes:
        gives, takes: whether a payload of ours, and the payload of the answer, is certainly valid; if not, a full
            check decides.
    """

    __slots__ = ("gives", "takes")

    def __init__(self, *, gives: Predicate, takes: Predicate) -> None:
        self.gives = gives
        self.takes = takes


class OwnActions(dict[str, OwnAction]):
    """The actions that this end sends, by name; each is made when it is first sent.

    Args:
        make: returns what is known of an action; raises if it cannot be sent. Two threads may make the same one.
    """

    def __init__(self, make: Callable[[str], OwnAction]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, action: str) -> OwnAction:
        own = self[action] = self._make(action)
        return own

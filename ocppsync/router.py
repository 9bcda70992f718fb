"""Which handler gets a CALL: one callable for everything, or one per action; and what runs after the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .catalogue import Catalogue, Role, unknown_action
from .errors import CallError
from .request import Request, RequestMetadata

Handler = Callable[[Request[Any, Any, Any], RequestMetadata], Any]
ActionHandler = Callable[[Any, RequestMetadata], Any]
_F = TypeVar("_F", bound=Callable[..., Any])

# C16 §7.23: the answer for a vendor that nobody here knows. An application that takes no vendor messages need not say
# so itself.
_UNKNOWN_VENDOR = {"status": "UnknownVendorId"}


class Router:
    """The handlers of one central system or charge point.

    Args:
        catalogue: the actions of the version.
        peer: who sends the CALLs: ``"charge_point"`` for the handlers of a central system.
        handler: the single callable, or None.
    """

    def __init__(self, catalogue: Catalogue, peer: Role, handler: Handler | None = None) -> None:
        if handler is not None and not callable(handler):
            raise TypeError(f"the handler must be callable, and {handler!r} is not")
        self._catalogue = catalogue
        self._peer: Role = peer
        self._handler = handler
        self._on: dict[str, ActionHandler] = {}
        self._after: dict[str, list[ActionHandler]] = {}

    def on(self, action: str) -> Callable[[_F], _F]:
        """Return a decorator that makes a function the handler of ``action``.

        Raises:
            ValueError: there is no such action, the peer never sends it, or (from the decorator) it has a handler.
        """
        self._check(action)

        def register(function: _F) -> _F:
            if action in self._on:
                raise ValueError(f"{action} has a handler already: {self._on[action]!r}")
            self._on[action] = function
            return function

        return register

    def after(self, action: str) -> Callable[[_F], _F]:
        """Return a decorator that makes a function run once ``action`` was answered.

        Raises:
            ValueError: there is no such action, or the peer never sends it.
        """
        self._check(action)

        def register(function: _F) -> _F:
            self._after.setdefault(action, []).append(function)
            return function

        return register

    def _check(self, action: str) -> None:
        if not self._catalogue.known(action):
            raise ValueError(unknown_action(self._catalogue.version, action))
        if not self._catalogue.may_send(self._peer, action):
            raise ValueError(f"a {self._peer.replace('_', ' ')} never sends {action}, so it needs no handler here")

    def refusal(self, action: str) -> str | None:
        """Return the error code for an action that no handler is to see, else None (J16 table 7)."""
        if not self._catalogue.known(action):
            return "NotImplemented"
        if not self._catalogue.may_send(self._peer, action):
            return "NotSupported"
        served = self._handler is not None or action in self._on or action == "DataTransfer"
        return None if served else "NotSupported"

    def handle(self, action: str, payload: Any, metadata: RequestMetadata) -> Any:
        """Return the handler's answer; None from a handler of one action stands for ``{}``.

        Raises:
            CallError: the handler raised it, or the single callable returned None.
        """
        function = self._on.get(action)
        if function is not None:
            answer = function(payload, metadata)
            return {} if answer is None else answer
        answer = self._handler(Request(action, payload), metadata) if self._handler is not None else None
        if answer is not None:
            return answer
        if action == "DataTransfer":
            return _UNKNOWN_VENDOR
        raise CallError("NotImplemented")

    def hooks(self, action: str) -> tuple[ActionHandler, ...]:
        """Return what runs after ``action`` was answered."""
        return tuple(self._after.get(action, ()))

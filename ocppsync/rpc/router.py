"""Finds the handler of an action, a single one for all actions or one per action, and the hooks after the answer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import CallError
from ..request import Request, RequestMetadata
from ..threads.callables import name_of
from ..validation.catalogue import Catalogue, Role, unknown_action
from .message_sets import MessageSet, MessageSets
from .route import NOT_SENT_BY_PEER, UNKNOWN, ActionHandler, Handle, Route, Routes, never_sure

Handler = Callable[[Request[Any, Any, Any], RequestMetadata], Any]
_F = TypeVar("_F", bound=Callable[..., Any])

_TRANSFER = "DataTransfer"


class Router:
    """The handlers of one central system or charge point.

    A handler that is registered for one version has priority over one that is registered for all versions.

    Args:
        message_sets: the versions, and the actions of each.
        handler: the single handler, or None.
    """

    def __init__(self, message_sets: MessageSets, handler: Handler | None = None) -> None:
        if handler is not None and not callable(handler):
            raise TypeError(f"the handler must be callable, and {name_of(handler)} is not")
        self._message_sets = message_sets
        self._peer: Role = "charge_point" if message_sets.role == "central_system" else "central_system"
        self._handler = handler
        # Guards the handlers and the making of routes from them. Routes that exist are read without it.
        self._lock = threading.Lock()
        self._routes: dict[str, Routes] = {
            version: Routes(functools.partial(self._find_route, version)) for version in message_sets.versions
        }
        self._on: dict[tuple[str, str | None], ActionHandler] = {}
        self._after: dict[tuple[str, str | None], tuple[ActionHandler, ...]] = {}
        self._transfers: dict[tuple[str, str | None, str | None], ActionHandler] = {}

    def on(self, action: str, version: str | None = None) -> Callable[[_F], _F]:
        """Return a decorator that registers the handler of ``action``, in one version or in all.

        Raises:
            ValueError: the action does not exist, the peer never sends it, or (from the decorator) it has a handler.
        """
        self._check(action, version)

        def register(function: _F) -> _F:
            with self._lock:
                if (action, version) in self._on:
                    raise ValueError(f"{action} has a handler already: {name_of(self._on[action, version])}")
                self._on[action, version] = function
                self._forget_routes()
            return function

        return register

    def after(self, action: str, version: str | None = None) -> Callable[[_F], _F]:
        """Return a decorator that registers a hook, which runs after ``action`` was answered.

        Raises:
            ValueError: the action does not exist, the peer never sends it, or it has no answer.
        """
        if all(entries.is_send(action) for entries in self._check(action, version)):
            raise ValueError(f"{action} is never answered, so nothing runs after it")

        def register(function: _F) -> _F:
            with self._lock:
                self._after[action, version] = (*self._after.get((action, version), ()), function)
                self._forget_routes()
            return function

        return register

    def on_data_transfer(
        self, vendor_id: str, message_id: str | None = None, version: str | None = None
    ) -> Callable[[_F], _F]:
        """Return a decorator that registers the handler of a vendor's DataTransfer, or of one message id of it.

        Raises:
            ValueError: the version is not supported, or (from the decorator) there is a handler already.
        """
        self._check(_TRANSFER, version)
        key = vendor_id, message_id, version

        def register(function: _F) -> _F:
            with self._lock:
                if key in self._transfers:
                    name = name_of(self._transfers[key])
                    raise ValueError(f"DataTransfer of {vendor_id} has a handler already: {name}")
                self._transfers[key] = function
            return function

        return register

    def _check(self, action: str, version: str | None) -> list[Catalogue]:
        """Return the catalogue of a version in which the peer may send the action; raises ValueError if none does."""
        wanted = (version,) if version is not None else self._message_sets.versions
        catalogues = []
        for candidate in sorted(wanted):
            entries = self._message_sets.messages(candidate).catalogue
            if entries.may_send(self._peer, action):
                return [entries]
            catalogues.append(entries)
        if not any(entries.known(action) for entries in catalogues):
            raise ValueError(unknown_action(catalogues, action))
        raise ValueError(f"a {self._peer.replace('_', ' ')} never sends {action}, so it needs no handler here")

    def routes(self, version: str) -> Routes:
        """Return the routes of a version."""
        return self._routes[version]

    def _forget_routes(self) -> None:
        assert self._lock.locked()
        for routes in self._routes.values():
            routes.clear()

    def _find_route(self, version: str, action: str) -> Route:
        messages = self._message_sets.messages(version)
        if not messages.catalogue.known(action):
            return UNKNOWN  # not stored: a peer may invent any number of actions
        with self._lock:
            route = self._routes[version][action] = self._make_route(action, version, messages)
        return route

    def _make_route(self, action: str, version: str, messages: MessageSet) -> Route:
        assert self._lock.locked()
        entries = messages.catalogue
        if not entries.may_send(self._peer, action):
            return NOT_SENT_BY_PEER
        function = self._on.get((action, version)) or self._on.get((action, None))
        hooks = (*self._after.get((action, version), ()), *self._after.get((action, None), ()))
        is_send = entries.is_send(action)
        handle: Handle | None = None
        if action == _TRANSFER:
            handle = functools.partial(self._handle_transfer, function)
        elif function is not None:
            handle = functools.partial(_handle_action, function)
        elif self._handler is not None:
            handle = functools.partial(_notify_any if is_send else _handle_any, self._handler, action)
        if handle is None:
            return Route(None, hooks, is_send)
        takes = messages.inbound_test(action, "request")
        gives = never_sure if is_send else messages.outbound_test(action, "response")
        return Route(handle, hooks, is_send, takes=takes, gives=gives)

    def _handle_transfer(self, function: ActionHandler | None, payload: Any, metadata: RequestMetadata) -> Any:
        if self._transfers and isinstance(payload, dict):
            answer = self._transfer(payload, metadata)
            if answer is not None:
                return answer
        if function is not None:
            return _handle_action(function, payload, metadata)
        if self._handler is not None:
            answer = self._handler(Request(_TRANSFER, payload, metadata.ocpp_version), metadata)
            if answer is not None:
                return answer
        return _status("UnknownVendorId")

    def _transfer(self, payload: dict[str, Any], metadata: RequestMetadata) -> Any:
        """Return the answer of the vendor's handler; None if the vendor has none."""
        # Without validation the payload may hold anything, even values that are not hashable.
        vendor_id, message_id = str(payload.get("vendorId")), payload.get("messageId")
        # A handler of the message id before one of the vendor; a handler of the version before one of all versions.
        for wanted in (message_id if isinstance(message_id, str) else None, None):
            for version in (metadata.ocpp_version, None):
                function = self._transfers.get((vendor_id, wanted, version))
                if function is not None:
                    answer = function(payload, metadata)
                    return _status("Accepted") if answer is None else answer
        known = any(key[0] == vendor_id and key[2] in (metadata.ocpp_version, None) for key in list(self._transfers))
        return _status("UnknownMessageId") if known else None


def _handle_action(function: ActionHandler, payload: Any, metadata: RequestMetadata) -> Any:
    answer = function(payload, metadata)
    return {} if answer is None else answer


def _handle_any(handler: Handler, action: str, payload: Any, metadata: RequestMetadata) -> Any:
    answer = handler(Request(action, payload, metadata.ocpp_version), metadata)
    if answer is None:
        raise CallError("NotImplemented")
    return answer


def _notify_any(handler: Handler, action: str, payload: Any, metadata: RequestMetadata) -> Any:
    return handler(Request(action, payload, metadata.ocpp_version), metadata)


def _status(status: str) -> dict[str, str]:
    # A DataTransfer always gets a CALLRESULT; its status says that there is no handler (C16 §7.23).
    return {"status": status}

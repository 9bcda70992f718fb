"""Which handler gets a CALL: one callable for everything, or one per action; and what runs after the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import CallError
from ..request import Request, RequestMetadata
from ..validation.catalogue import Catalogue, Role, unknown_action
from .message_sets import MessageSets

Handler = Callable[[Request[Any, Any, Any], RequestMetadata], Any]
ActionHandler = Callable[[Any, RequestMetadata], Any]
_F = TypeVar("_F", bound=Callable[..., Any])

_TRANSFER = "DataTransfer"


class Router:
    """The handlers of one central system or charge point.

    A handler that is registered for a version goes before one that is registered for all that know its action.

    Args:
        message_sets: the versions, and the actions of each.
        handler: the single callable, or None.
    """

    def __init__(self, message_sets: MessageSets, handler: Handler | None = None) -> None:
        if handler is not None and not callable(handler):
            raise TypeError(f"the handler must be callable, and {handler!r} is not")
        self._message_sets = message_sets
        self._peer: Role = "charge_point" if message_sets.role == "central_system" else "central_system"
        self._handler = handler
        self._lock = threading.Lock()  # serialises the registrations; whoever looks a handler up takes no lock
        self._on: dict[tuple[str, str | None], ActionHandler] = {}
        self._after: dict[tuple[str, str | None], tuple[ActionHandler, ...]] = {}
        self._transfers: dict[tuple[str, str | None, str | None], ActionHandler] = {}
        self._sent: dict[str, dict[str, bool]] = {}  # by version: what the peer may send, and whether as a SEND

    def on(self, action: str, version: str | None = None) -> Callable[[_F], _F]:
        """Return a decorator that makes a function the handler of ``action``, in one version or in all.

        Raises:
            ValueError: there is no such action, the peer never sends it, or (from the decorator) it has a handler.
        """
        self._check(action, version)

        def register(function: _F) -> _F:
            with self._lock:
                if (action, version) in self._on:
                    raise ValueError(f"{action} has a handler already: {self._on[action, version]!r}")
                self._on[action, version] = function
            return function

        return register

    def after(self, action: str, version: str | None = None) -> Callable[[_F], _F]:
        """Return a decorator that makes a function run once ``action`` was answered.

        Raises:
            ValueError: there is no such action, the peer never sends it, or it is never answered.
        """
        if all(entries.is_send(action) for entries in self._check(action, version)):
            raise ValueError(f"{action} is never answered, so nothing runs after it")

        def register(function: _F) -> _F:
            with self._lock:
                self._after[action, version] = (*self._after.get((action, version), ()), function)
            return function

        return register

    def on_data_transfer(
        self, vendor_id: str, message_id: str | None = None, version: str | None = None
    ) -> Callable[[_F], _F]:
        """Return a decorator that makes a function the handler of a vendor's DataTransfer, or of one message of it.

        Raises:
            ValueError: the version is not spoken here, or (from the decorator) there is a handler already.
        """
        self._check(_TRANSFER, version)
        key = vendor_id, message_id, version

        def register(function: _F) -> _F:
            with self._lock:
                if key in self._transfers:
                    raise ValueError(f"DataTransfer of {vendor_id} has a handler already: {self._transfers[key]!r}")
                self._transfers[key] = function
            return function

        return register

    def _check(self, action: str, version: str | None) -> list[Catalogue]:
        """Return where the action is one that the peer may send; raises ValueError where it is nowhere."""
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

    def refusal(self, action: str, version: str, send: bool = False) -> str | None:
        """Return the error code for an action that no handler is to see as a CALL, or as a SEND, else None (J16 table
        7)."""
        sent = self._sent.get(version)
        if sent is None:
            entries = self._message_sets.messages(version).catalogue
            sent = {name: entries.is_send(name) for name in entries.actions if entries.may_send(self._peer, name)}
            self._sent[version] = sent
        if sent.get(action) is not send:
            return "NotSupported" if self._message_sets.messages(version).catalogue.known(action) else "NotImplemented"
        served = self._handler is not None or self._find(action, version) is not None or action == _TRANSFER
        return None if served else "NotSupported"

    def handle(self, action: str, payload: Any, metadata: RequestMetadata) -> Any:
        """Return the handler's answer; None from a handler of one action stands for ``{}``.

        Raises:
            CallError: the handler raised it, or the single callable returned None.
        """
        version = metadata.ocpp_version
        if action == _TRANSFER and self._transfers and isinstance(payload, dict):
            answer = self._transfer(payload, metadata)
            if answer is not None:
                return answer
        function = self._find(action, version)
        if function is not None:
            answer = function(payload, metadata)
            return {} if answer is None else answer
        answer = self._handler(Request(action, payload, version), metadata) if self._handler is not None else None
        if answer is not None:
            return answer
        if action == _TRANSFER:
            return _status("UnknownVendorId")
        raise CallError("NotImplemented")

    def notify(self, action: str, payload: Any, metadata: RequestMetadata) -> None:
        """Give a SEND to its handler; what it returns is dropped."""
        function = self._find(action, metadata.ocpp_version)
        if function is not None:
            function(payload, metadata)
        elif self._handler is not None:
            self._handler(Request(action, payload, metadata.ocpp_version), metadata)

    def _find(self, action: str, version: str) -> ActionHandler | None:
        return self._on.get((action, version)) or self._on.get((action, None))

    def _transfer(self, payload: dict[str, Any], metadata: RequestMetadata) -> Any:
        """Return a vendor handler's answer; None where the vendor has none here."""
        # Where payloads are not validated, they may be anything, even what no dict finds.
        vendor_id, message_id = str(payload.get("vendorId")), payload.get("messageId")
        # The version's own before those of all versions, the message's own before the vendor's.
        for wanted in (message_id if isinstance(message_id, str) else None, None):
            for version in (metadata.ocpp_version, None):
                function = self._transfers.get((vendor_id, wanted, version))
                if function is not None:
                    answer = function(payload, metadata)
                    return _status("Accepted") if answer is None else answer
        known = any(key[0] == vendor_id and key[2] in (metadata.ocpp_version, None) for key in list(self._transfers))
        return _status("UnknownMessageId") if known else None

    def hooks(self, action: str, version: str) -> tuple[ActionHandler, ...]:
        """Return what runs after ``action`` was answered."""
        return (*self._after.get((action, version), ()), *self._after.get((action, None), ()))


def _status(status: str) -> dict[str, str]:
    # C16 §7.23: an undesired outcome of a DataTransfer is told by its status, whoever has a handler for it. An
    # application that takes no vendor messages need not say so itself.
    return {"status": status}

"""The code that a central system and a charge point share: handlers, options, and requests over a connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from ..lenient import Lenient, Validation
from ..options import check_positive
from ..validation.catalogue import Role
from ..vendor import VendorAction, name_of
from .connection import Connection
from .context import ConnectionOptions
from .message_sets import MessageSets
from .requester import failed, not_connected
from .router import Handler, Router

__all__ = ["LocalEnd"]


class LocalEnd:
    """The handlers and options of one end, for all its connections.

    Args:
        role: the end.
        protocols: the subprotocols that it supports.
        handler: the single handler, or None.
        options: the options of its connections.
        vendor_actions, lenient, validation: see `CentralSystem`.

    Raises:
        ValueError: an option is not valid; the text names it.
    """

    def __init__(
        self,
        role: Role,
        protocols: Sequence[str],
        handler: Handler | None,
        options: ConnectionOptions,
        *,
        vendor_actions: Sequence[VendorAction],
        lenient: Lenient | None,
        validation: Validation | None,
    ) -> None:
        self.options = options
        self.started = role == "charge_point"
        """Whether this process may have connections; a charge point needs no start but `connect`."""
        self._role: Role = role
        self.message_sets = MessageSets(
            role,
            tuple(dict.fromkeys(protocols)),
            vendor_actions=vendor_actions,
            lenient=lenient,
            validation=validation,
        )
        self.router = Router(self.message_sets, handler)

    def submit_request(
        self,
        connection: Connection | None,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Any,
        timeout: float | None,
        queue_timeout: float | None,
        version: str | None,
    ) -> Future[Any]:
        """Send a request over a connection, or fail if there is none; see `CentralSystem.submit_request`."""
        if timeout is not None:
            check_positive(timeout=timeout)
        if queue_timeout is not None:
            check_positive(queue_timeout=queue_timeout)
        name = action if isinstance(action, str) else action.name
        if version is not None or connection is None:
            self.message_sets.check_sender(name, version, send=False)
        if connection is None:
            return failed(not_connected(self._role, charge_point_id, name, started=self.started))
        return connection.request(name, payload, timeout, queue_timeout, version)

    def send(
        self,
        connection: Connection | None,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Any,
        version: str | None,
    ) -> None:
        """Send a SEND over a connection, or fail if there is none; see `CentralSystem.send`."""
        name = name_of(action)
        if version is not None or connection is None:
            self.message_sets.check_sender(name, version, send=True)
        if connection is None:
            raise not_connected(self._role, charge_point_id, name, started=self.started)
        connection.send(name, payload, version)

    def on(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        """See `CentralSystem.on`."""
        return self.router.on(name_of(action), version)

    def after(self, action: str | VendorAction, version: str | None) -> Callable[..., Any]:
        """See `CentralSystem.after`."""
        return self.router.after(name_of(action), version)

    def on_data_transfer(self, vendor_id: str, message_id: str | None, version: str | None) -> Callable[..., Any]:
        """See `CentralSystem.on_data_transfer`."""
        return self.router.on_data_transfer(vendor_id, message_id, version)

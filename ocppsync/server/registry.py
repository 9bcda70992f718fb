"""The connected charge points, and the state of each that outlives its connection."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from ..rpc.answer_memory import AnswerMemory
from ..rpc.connection import Connection
from ..rpc.registration import Registration
from ..threads.listeners import Listeners
from ..threads.pool import Executor, SerialExecutor

_logger = logging.getLogger(__name__)

ConnectionStatus = Literal["connected", "disconnected"]
ConnectionListener = Callable[[str, ConnectionStatus], object]

_MAX_REMEMBERED = 10_000
"""How many disconnected identities are remembered. More of them only come from a client that invents identities."""


class IdentityRecord:
    """The state of one identity."""

    __slots__ = ("answers", "connection", "events", "registration")

    def __init__(self, executor: Executor, clock: Callable[[], float]) -> None:
        self.connection: Connection | None = None
        self.answers = AnswerMemory(clock)
        self.registration = Registration()
        self.events = SerialExecutor(executor)


class Registry:
    """The connected charge points; a new connection of an identity replaces the previous one.

    Listeners run in the handler pool. For each charge point, ``"connected"`` and ``"disconnected"`` alternate:
    listeners are not called when a connection replaces another one of the same identity.

    Args:
        executor: runs the listeners.
        clock: the time, in seconds, for the expiry of remembered answers.
        listeners: called at every change.
    """

    def __init__(
        self,
        executor: Executor,
        clock: Callable[[], float] = time.monotonic,
        listeners: Listeners[ConnectionListener] | None = None,
    ) -> None:
        self._executor = executor
        self._clock = clock
        self.listeners: Listeners[ConnectionListener] = Listeners() if listeners is None else listeners
        self._lock = threading.Lock()  # guards everything below; never held over I/O or user code
        self._records: dict[str, IdentityRecord] = {}
        self._disconnected: OrderedDict[str, None] = OrderedDict()  # identities, longest disconnected first
        self.connected: dict[str, Connection] = {}
        """The connection of each identity. Without the lock, only to look one up."""

    def __repr__(self) -> str:
        return f"<Registry connected={len(self.connected)} remembered={len(self._records)}>"

    def record(self, charge_point_id: str) -> IdentityRecord:
        """Return the state of a charge point."""
        with self._lock:
            return self._record(charge_point_id)

    def add(self, connection: Connection) -> Connection | None:
        """Make this the connection of its charge point, and return the connection that it replaces."""
        charge_point_id = connection.metadata.charge_point_id
        with self._lock:
            record = self._record(charge_point_id)
            previous, record.connection = record.connection, connection
            self.connected[charge_point_id] = connection
            record.answers.prefer(connection.reply_to)
            self._disconnected.pop(charge_point_id, None)
            if previous is None:
                self._notify(record, charge_point_id, "connected")
        return previous

    def remove(self, connection: Connection) -> None:
        """Remove a connection; does nothing if another one has replaced it."""
        charge_point_id = connection.metadata.charge_point_id
        with self._lock:
            record = self._records.get(charge_point_id)
            if record is None or record.connection is not connection:
                return
            record.connection = None
            del self.connected[charge_point_id]
            self._notify(record, charge_point_id, "disconnected")
            self._disconnected[charge_point_id] = None
            while len(self._disconnected) > _MAX_REMEMBERED:
                del self._records[self._disconnected.popitem(last=False)[0]]

    def connections(self) -> list[Connection]:
        """Return all current connections."""
        with self._lock:
            return list(self.connected.values())

    def charge_points(self) -> list[str]:
        """Return the identities of the connected charge points, sorted."""
        with self._lock:
            return sorted(self.connected)

    def _record(self, charge_point_id: str) -> IdentityRecord:
        record = self._records.get(charge_point_id)
        if record is None:
            record = self._records[charge_point_id] = IdentityRecord(self._executor, self._clock)
            self._disconnected[charge_point_id] = None
        return record

    def _notify(self, record: IdentityRecord, charge_point_id: str, status: ConnectionStatus) -> None:
        if self.listeners:
            record.events.submit(self.listeners.tell, charge_point_id, status)

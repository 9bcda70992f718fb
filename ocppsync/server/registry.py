"""Which charge points are connected, and what is remembered of each beyond its connection."""

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

_REMEMBERED = 10_000
"""How many identities that are not connected are remembered; more only come from a peer that invents them."""


class IdentityRecord:
    """What is known of one identity."""

    __slots__ = ("answers", "connection", "events", "registration")

    def __init__(self, executor: Executor, clock: Callable[[], float]) -> None:
        self.connection: Connection | None = None
        self.answers = AnswerMemory(clock)
        self.registration = Registration()
        self.events = SerialExecutor(executor)


class Registry:
    """The connected charge points; the newest connection of an identity is the one that counts.

    Listeners run in the handler pool. For one charge point they see ``"connected"`` and ``"disconnected"`` in turn: a
    connection that takes over from another of the same identity is no change.

    Args:
        executor: where the listeners run.
        clock: by which answers are remembered.
        listeners: are told of every change.
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
        self._away: OrderedDict[str, None] = OrderedDict()  # the identities that are not connected, the longest first
        self._connected: dict[str, Connection] = {}

    def __repr__(self) -> str:
        return f"<Registry connected={len(self._connected)} remembered={len(self._records)}>"

    def record(self, charge_point_id: str) -> IdentityRecord:
        """Return what is known of that charge point."""
        with self._lock:
            return self._record(charge_point_id)

    def add(self, connection: Connection) -> Connection | None:
        """Make it the connection of its charge point, and return the one that it takes over from."""
        charge_point_id = connection.metadata.charge_point_id
        with self._lock:
            record = self._record(charge_point_id)
            previous, record.connection = record.connection, connection
            self._connected[charge_point_id] = connection
            record.answers.prefer(connection.reply_to)
            self._away.pop(charge_point_id, None)
            if previous is None:
                self._tell_soon(record, charge_point_id, "connected")
        return previous

    def remove(self, connection: Connection) -> None:
        """Forget it, unless another has taken over: then nothing has changed."""
        charge_point_id = connection.metadata.charge_point_id
        with self._lock:
            record = self._records.get(charge_point_id)
            if record is None or record.connection is not connection:
                return
            record.connection = None
            del self._connected[charge_point_id]
            self._tell_soon(record, charge_point_id, "disconnected")
            self._away[charge_point_id] = None
            while len(self._away) > _REMEMBERED:
                del self._records[self._away.popitem(last=False)[0]]

    def get(self, charge_point_id: str) -> Connection | None:
        """Return the connection of a charge point."""
        return self._connected.get(charge_point_id)

    def connections(self) -> list[Connection]:
        """Return all that are connected now."""
        with self._lock:
            return list(self._connected.values())

    def charge_points(self) -> list[str]:
        """Return the identities that are connected now, sorted."""
        with self._lock:
            return sorted(self._connected)

    def _record(self, charge_point_id: str) -> IdentityRecord:
        record = self._records.get(charge_point_id)
        if record is None:
            record = self._records[charge_point_id] = IdentityRecord(self._executor, self._clock)
            self._away[charge_point_id] = None
        return record

    def _tell_soon(self, record: IdentityRecord, charge_point_id: str, status: ConnectionStatus) -> None:
        if self.listeners:
            record.events.submit(self.listeners.tell, charge_point_id, status)

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
from ..threads.pool import Executor, SerialExecutor, run_logged

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
    connection that takes over from another of the same identity changes nothing that they would be told.

    Args:
        executor: see below.
        clock: by which answers are remembered.

    Attributes:
        executor: where the listeners of those who come from now on run.
    """

    def __init__(self, executor: Executor, clock: Callable[[], float] = time.monotonic) -> None:
        self.executor = executor
        self._clock = clock
        self._lock = threading.Lock()  # guards all below; never held over I/O or user code
        self._stations: dict[str, IdentityRecord] = {}
        self._away: OrderedDict[str, None] = OrderedDict()  # those of them that are not connected, the longest first
        self._connected: dict[str, Connection] = {}
        self._listeners: list[ConnectionListener] = []

    def __repr__(self) -> str:
        return f"<Registry connected={len(self._connected)} remembered={len(self._stations)}>"

    def add_listener(self, listener: ConnectionListener) -> None:
        """Call ``listener(charge_point_id, status)`` at every change from now on."""
        with self._lock:
            self._listeners = [*self._listeners, listener]

    def remove_listener(self, listener: ConnectionListener) -> None:
        """Call it no more; raises ValueError when it was not there."""
        with self._lock:
            listeners = list(self._listeners)
            listeners.remove(listener)
            self._listeners = listeners

    def station(self, charge_point_id: str) -> IdentityRecord:
        """Return what is known of that charge point."""
        with self._lock:
            return self._station(charge_point_id)

    def add(self, connection: Connection) -> Connection | None:
        """Make it the connection of its charge point, and return the one that it takes over from."""
        charge_point_id = connection.metadata.charge_point_id
        with self._lock:
            station = self._station(charge_point_id)
            previous, station.connection = station.connection, connection
            self._connected[charge_point_id] = connection
            self._away.pop(charge_point_id, None)
            if previous is None:
                self._tell_soon(station, charge_point_id, "connected")
        return previous

    def remove(self, connection: Connection) -> None:
        """Forget it, unless another has taken over: then nothing has changed."""
        charge_point_id = connection.metadata.charge_point_id
        with self._lock:
            station = self._stations.get(charge_point_id)
            if station is None or station.connection is not connection:
                return
            station.connection = None
            del self._connected[charge_point_id]
            self._tell_soon(station, charge_point_id, "disconnected")
            self._away[charge_point_id] = None
            while len(self._away) > _REMEMBERED:
                del self._stations[self._away.popitem(last=False)[0]]

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

    def _station(self, charge_point_id: str) -> IdentityRecord:
        station = self._stations.get(charge_point_id)
        if station is None:
            station = self._stations[charge_point_id] = IdentityRecord(self.executor, self._clock)
            self._away[charge_point_id] = None
        return station

    def _tell_soon(self, station: IdentityRecord, charge_point_id: str, status: ConnectionStatus) -> None:
        if self._listeners:
            station.events.submit(self._tell, charge_point_id, status)

    def _tell(self, charge_point_id: str, status: ConnectionStatus) -> None:
        for listener in self._listeners:
            run_logged(listener, charge_point_id, status)

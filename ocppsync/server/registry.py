"""The connected charge points, and the state of each that outlives its connection."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from ..budget import Budget
from ..limits import Limits
from ..rpc.answer_memory import KEPT_SECONDS, AnswerMemory
from ..rpc.connection import Connection
from ..rpc.incoming_calls import IncomingCalls
from ..rpc.registration import Registration
from ..rpc.shares import PeerShare, Shares
from ..threads.bounded import BoundedExecutor
from ..threads.listeners import Listeners
from ..threads.timer import Timer, TimerHandle
from ..wire.http import RefusalError

_logger = logging.getLogger(__name__)

ConnectionStatus = Literal["connected", "disconnected"]
ConnectionListener = Callable[[str, ConnectionStatus], object]

_MAX_REMEMBERED = 10_000
"""How many disconnected identities are remembered. More of them only come from a client that invents identities."""
_MAX_CHANGES = 100
"""How many changes of one charge point may wait for its listeners; after that, pairs of them are left out."""


class IdentityRecord:
    """The state of one identity.

    Attributes:
        connection: its connection, or None.
        share: what it may occupy of the handler pool.
        events: calls the connection listeners, one change after the other.
        calls: handles its CALLs, and remembers the last ones.
        registration: the answer to its last BootNotification.
    """

    __slots__ = ("calls", "connection", "events", "registration", "share")

    def __init__(self, share: PeerShare, calls: IncomingCalls) -> None:
        self.connection: Connection | None = None
        self.share = share
        self.events = BoundedExecutor(share.others)
        self.calls = calls
        self.registration = Registration()

    @property
    def is_needed(self) -> bool:
        """Whether a new record would not be the same, once the answers have expired."""
        return self.registration.restricted or self.calls.busy or self.share.others.busy


class Registry:
    """The connected charge points; a new connection of an identity replaces the previous one.

    Listeners run in the handler pool. For each charge point, ``"connected"`` and ``"disconnected"`` alternate:
    listeners are not called when a connection replaces another one of the same identity.

    Args:
        shares: runs the handlers and listeners.
        timer: for the expiry of remembered answers.
        limits: how many bytes the answers may take.
        listeners: called at every change.
    """

    def __init__(
        self,
        shares: Shares,
        timer: Timer,
        limits: Limits | None = None,
        listeners: Listeners[ConnectionListener] | None = None,
    ) -> None:
        self._shares = shares
        self._timer = timer
        self._limits = limits or Limits()
        self._answer_budget = Budget(self._limits.answer_bytes_total)
        self.listeners: Listeners[ConnectionListener] = Listeners() if listeners is None else listeners
        self._lock = threading.Lock()  # guards everything below; never held over I/O or user code
        self._records: dict[str, IdentityRecord] = {}
        self._disconnected: OrderedDict[str, float] = OrderedDict()  # since when, longest disconnected first
        self._expiry: TimerHandle | None = None  # the timer's next call of `_expire`
        self._draining = False
        self.connected: dict[str, Connection] = {}
        """The connection of each identity. Without the lock, only to look one up."""

    def __repr__(self) -> str:
        return f"<Registry connected={len(self.connected)} remembered={len(self._records)}>"

    def record(self, charge_point_id: str) -> IdentityRecord:
        """Return the state of a charge point."""
        with self._lock:
            record = self._record(charge_point_id)
            if charge_point_id in self._disconnected:
                self._note_disconnected(charge_point_id)  # it shall not expire before it is added
            return record

    def check_newest(self, charge_point_id: str, number: int) -> None:
        """Check that a charge point has no connection from a later upgrade request than the one with this number.

        The thread of an earlier request may be slow, such as in `authorize`, and its charge point have tried again.

        Raises:
            RefusalError: 409, it has one.
        """
        current = self.connected.get(charge_point_id)
        if current is not None and number < current.number:
            raise RefusalError(409, f"{charge_point_id!r} has connected again in the meantime")

    def add(self, connection: Connection) -> Connection | None:
        """Make this the connection of its charge point, and return the connection that it replaces.

        Raises:
            RefusalError: 409, there is one from a later upgrade request; nothing has changed.
            RuntimeError: there is no thread for the listeners; nothing has changed.
        """
        charge_point_id = connection.metadata.charge_point_id
        with self._lock:
            self.check_newest(charge_point_id, connection.number)
            record = self._record(charge_point_id)
            previous, record.connection = record.connection, connection
            self.connected[charge_point_id] = connection
            record.calls.prefer(connection.reply_to)
            self._disconnected.pop(charge_point_id, None)
            if previous is None:
                try:
                    self._notify(record, charge_point_id, "connected")
                except BaseException:
                    # No thread for the listeners: the connection is not served. They must not hear of its end.
                    record.connection = None
                    del self.connected[charge_point_id]
                    self._disconnected[charge_point_id] = self._timer.now()
                    raise
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
            try:
                self._notify(record, charge_point_id, "disconnected")
            finally:
                self._note_disconnected(charge_point_id)
            while len(self._disconnected) > _MAX_REMEMBERED:
                self._forget(self._disconnected.popitem(last=False)[0])

    def drain(self) -> None:
        """Have no more CALLs handled, of no charge point: also not of those that have disconnected, or come only later.

        Forget nothing any more by time.
        """
        with self._lock:
            self._draining = True
            records = list(self._records.values())
            if self._expiry is not None:
                self._expiry.cancel()
        for record in records:
            record.calls.close()

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
            answers = AnswerMemory(self._timer.now, self._limits.answer_bytes, self._answer_budget)
            share = self._shares.share()
            calls = IncomingCalls(self._shares.pool, share, answers, self._timer)
            record = self._records[charge_point_id] = IdentityRecord(share, calls)
            if self._draining:
                calls.close()
            self._note_disconnected(charge_point_id)
        return record

    def _notify(self, record: IdentityRecord, charge_point_id: str, status: ConnectionStatus) -> None:
        if not self.listeners:
            return
        # The last change that waits is the opposite of this one: without both, the others still alternate.
        if len(record.events) < _MAX_CHANGES or not record.events.drop_last():
            record.events.submit(self.listeners.tell, charge_point_id, status)

    # Disconnected identities.

    def _note_disconnected(self, charge_point_id: str) -> None:
        assert self._lock.locked()
        self._disconnected.pop(charge_point_id, None)
        self._disconnected[charge_point_id] = self._timer.now()
        if self._expiry is None and not self._draining:
            self._expiry = self._timer.call_later(KEPT_SECONDS, self._expire)

    def _expire(self) -> None:
        """Forget the answers for those that have been disconnected for long, and all of them if that loses nothing."""
        with self._lock:
            now = self._timer.now()
            while self._disconnected and not self._draining:
                charge_point_id, since = next(iter(self._disconnected.items()))
                if now - since < KEPT_SECONDS:
                    self._expiry = self._timer.call_at(since + KEPT_SECONDS, self._expire)
                    return
                del self._disconnected[charge_point_id]
                record = self._records[charge_point_id]
                record.calls.clear()
                if record.is_needed:
                    self._disconnected[charge_point_id] = now  # looked at again later
                else:
                    del self._records[charge_point_id]
            self._expiry = None

    def _forget(self, charge_point_id: str) -> None:
        assert self._lock.locked()
        self._records.pop(charge_point_id).calls.clear()  # gives its bytes back

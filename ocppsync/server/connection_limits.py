"""Limits open connections and failed authentications."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from queue import Empty, SimpleQueue

from ..limits import Limits
from ..wire.addresses import rate_limit_key
from ..wire.http import RefusalError

__all__ = ["ConnectionLimiter", "Slot"]

_BUSY_RETRY = 30
"""Retry-After of a 503 response, in seconds."""
_HALF_LIFE = 60.0
"""Seconds in which half of the failed authentications are forgotten."""
_FORGOTTEN = 0.5
"""How much of a failure is left when an identity counts as one that has not failed."""
_ADDRESS_FACTOR = 5
"""How many times the limit of one identity applies to an address."""
_MAX_REMEMBERED = 10_000
"""How many addresses and identities with failures are remembered."""
_MAX_PROVEN = 40_000
"""How many addresses and identities are remembered for a success: both of as many charge points as may connect."""
_FAILURES = frozenset({401, 403})
"""The HTTP statuses that count as failed authentication."""


class Slot:
    """One connection that counts toward the limits until `release`.

    Attributes:
        number: the number of the connection, counted from 1 for each central system.
    """

    def __init__(self, number: int, release: Callable[[], object], abandoned: SimpleQueue[Slot]) -> None:
        self.number = number
        self._release: Callable[[], object] | None = release
        self._abandoned = abandoned

    def release(self) -> None:
        """Free the slot; a second call does nothing. Not safe to call from two threads at once."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def abandon(self) -> None:
        """Have the slot freed before the next one is given; for a destructor, which must not wait for a lock."""
        self._abandoned.put(self)


class ConnectionLimiter:
    """Counts connections and failed authentications by peer (see `rate_limit_key`), and refuses those over the limits.

    Args:
        limits: the limits.
        clock: returns the current time in seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()  # guards all below; never held while credentials are checked
        self._by_peer: Counter[Hashable] = Counter()  # open connections
        self._total = 0
        self._last_number = 0
        # Slots to be freed, without the lock: Python may run a destructor while the same thread holds it.
        self._abandoned: SimpleQueue[Slot] = SimpleQueue()
        self._failures: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # how many, counted at which time
        self._pending: Counter[Hashable] = Counter()  # authentications in progress
        self._proven: OrderedDict[Hashable, None] = OrderedDict()  # longest ago first

    def __repr__(self) -> str:
        return f"<ConnectionLimiter connections={self._total} failures={len(self._failures)}>"

    def acquire(self, address: str) -> Slot:
        """Return a slot for a connection from that address.

        Raises:
            RefusalError: 503, a limit is reached.
        """
        limits, peer = self._limits, rate_limit_key(address)
        with contextlib.suppress(Empty):
            while True:
                self._abandoned.get_nowait().release()
        with self._lock:
            if _at_limit(limits.connections, self._total):
                _refuse(f"there are {limits.connections} connections already")
            if _at_limit(limits.connections_per_address, self._by_peer[peer]):
                _refuse(f"{peer} has {limits.connections_per_address} connections already")
            self._by_peer[peer] += 1
            self._total += 1
            self._last_number += 1
            number = self._last_number
        return Slot(number, lambda: self._release(peer), self._abandoned)

    def _release(self, peer: str) -> None:
        with self._lock:
            self._total -= 1
            _decrement(self._by_peer, peer)

    # Failed authentications.

    def proved(self, address: str, charge_point_id: str, connected_from: str) -> None:
        """Remember that a charge point has authenticated itself.

        Args:
            address: the address of the client, which may be behind a proxy.
            charge_point_id: its identity.
            connected_from: the address of the connection, which may be of the proxy.
        """
        with self._lock:
            for key in ((rate_limit_key(address), charge_point_id), rate_limit_key(connected_from)):
                self._proven[key] = None
                self._proven.move_to_end(key)
            while len(self._proven) > _MAX_PROVEN:
                self._proven.popitem(last=False)

    def has_proved(self, address: str) -> bool:
        """Return whether a charge point has authenticated itself over a connection from that address."""
        with self._lock:
            return rate_limit_key(address) in self._proven

    @contextlib.contextmanager
    def attempt(self, address: str, charge_point_id: str, *, remembered: bool = False) -> Iterator[None]:
        """Check that the address may try to authenticate, and count the attempt if it fails.

        A RefusalError with 401 or 403 from the body counts as a failure. A body without an error resets the failures
        of this identity from this address. Other errors change nothing.

        An identity that has proved itself from the address is not refused for the failures of others there. An attempt
        with a remembered password is no guess: it is counted by itself, so guesses do not keep it out.

        Args:
            address: the address of the client.
            charge_point_id: the identity.
            remembered: the password was verified before.

        Raises:
            RefusalError: 429, too many recent failures; Retry-After holds the seconds to wait.
        """
        limit = self._limits.failed_authentications
        if limit is None:
            yield
            return
        peer = rate_limit_key(address)
        key = (peer, charge_point_id, remembered)
        self._begin_attempt(peer, key, limit)
        failed: bool | None = None
        try:
            yield
            failed = False
        except RefusalError as refusal:
            failed = True if refusal.status in _FAILURES else None
            raise
        finally:
            self._end_attempt(peer, key, failed)

    def _begin_attempt(self, peer: str, key: tuple[str, str, bool], limit: int) -> None:
        with self._lock:
            own = self._recent_failures(key)
            # Attempts in progress count as failures of their identity: otherwise many guesses sent at once would pass
            # the limit. They do not count for the address: a fleet behind one address may reconnect all at once.
            wait = _retry_after(own + self._pending[key], limit)
            if not key[2] and key[:2] not in self._proven:
                # An identity that has failed may only use half of what the address has, so that a few with a wrong
                # password leave the rest to the others there.
                shared = limit * _ADDRESS_FACTOR if own < _FORGOTTEN else limit * _ADDRESS_FACTOR // 2
                wait = max(wait, _retry_after(self._recent_failures(peer), shared))
            if wait == 0:
                self._pending[key] += 1
                return
        raise RefusalError(429, f"too many failed authentications of {peer}", [("Retry-After", str(math.ceil(wait)))])

    def _end_attempt(self, peer: str, key: Hashable, failed: bool | None) -> None:
        with self._lock:
            _decrement(self._pending, key)
            if failed is None:
                return
            if not failed:
                self._failures.pop(key, None)
                return
            for failing in (key, peer):
                self._failures[failing] = self._recent_failures(failing) + 1, self._clock()
                self._failures.move_to_end(failing)
            while len(self._failures) > _MAX_REMEMBERED:
                self._failures.popitem(last=False)

    def _recent_failures(self, key: Hashable) -> float:
        count, since = self._failures.get(key, (0.0, 0.0))
        return float(count * 0.5 ** ((self._clock() - since) / _HALF_LIFE))


def _retry_after(count: float, limit: int) -> float:
    # Seconds until the count has decayed to limit - 0.5. The half allows for the decay since the last failure: without
    # it, `limit` failures in a few seconds would count as slightly fewer than the limit.
    return _HALF_LIFE * math.log2(count / (limit - 0.5)) if count > limit - 0.5 else 0.0


def _decrement(counter: Counter[Hashable], key: Hashable) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def _refuse(reason: str) -> None:
    raise RefusalError(503, reason, [("Retry-After", str(_BUSY_RETRY))])


def _at_limit(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit

"""Counts who is in, who is at the door, and who was turned away lately."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator

from ..limits import Limits
from ..wire.addresses import rate_limit_key
from ..wire.http import RefusalError

__all__ = ["ConnectionLimiter", "Slot"]

_BUSY_RETRY = 30
"""Seconds after which somebody who came at a busy time may try again."""
_HALF_LIFE = 60.0
"""Seconds in which half of the failed authentications are forgotten."""
_ADDRESS_FACTOR = 5
_MAX_REMEMBERED = 10_000
_FAILURES = frozenset({401, 403})


class Slot:
    """One connection's share of the limits, until `release`.

    Attributes:
        number: counts the connections of a central system, from 1.
    """

    def __init__(self, number: int, release: Callable[[], object]) -> None:
        self.number = number
        self._release: Callable[[], object] | None = release

    def release(self) -> None:
        """Free the slot; a second call does nothing. For one thread at a time."""
        release, self._release = self._release, None
        if release is not None:
            release()


class ConnectionLimiter:
    """Lets in as many connections as the limits allow; whose they are, `rate_limit_key` says.

    Args:
        limits: the bounds.
        clock: the time.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()  # guards all below; never held while credentials are looked at
        self._inside: Counter[Hashable] = Counter()
        self._total = 0
        self._number = 0
        self._failures: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # how many, and when that was
        self._under_way: Counter[Hashable] = Counter()  # attempts of which nobody knows yet how they end

    def __repr__(self) -> str:
        return f"<ConnectionLimiter inside={self._total} failures={len(self._failures)}>"

    def acquire(self, address: str) -> Slot:
        """Count a connection of that address until it leaves its slot.

        Raises:
            RefusalError: 503, there are too many.
        """
        limits, peer = self._limits, rate_limit_key(address)
        with self._lock:
            if _reached(limits.connections, self._total):
                _refuse(f"there are {limits.connections} connections already")
            if _reached(limits.connections_per_address, self._inside[peer]):
                _refuse(f"{peer} has {limits.connections_per_address} connections already")
            self._inside[peer] += 1
            self._total += 1
            self._number += 1
            number = self._number
        return Slot(number, lambda: self._leave(peer))

    def _leave(self, peer: str) -> None:
        with self._lock:
            self._total -= 1
            _uncount(self._inside, peer)

    # Failed authentications.

    @contextlib.contextmanager
    def attempt(self, address: str, charge_point_id: str) -> Iterator[None]:
        """Look whether the address may try to authenticate, and take note of how the attempt ends.

        A RefusalError with 401 or 403 that leaves it counts as a failure; none at all forgives those of the identity.

        Raises:
            RefusalError: 429, it failed too often lately; Retry-After says when it may try again.
        """
        limit = self._limits.failed_authentications
        if limit is None:
            yield
            return
        peer = rate_limit_key(address)
        key = (peer, charge_point_id)
        self._begin(peer, key, limit)
        failed: bool | None = None
        try:
            yield
            failed = False
        except RefusalError as refusal:
            failed = True if refusal.status in _FAILURES else None
            raise
        finally:
            self._end(peer, key, failed)

    def _begin(self, peer: str, key: Hashable, limit: int) -> None:
        with self._lock:
            # Those under way count as if they failed, or a crowd of guesses at once would get past the limit. Not for
            # the address alone: a fleet behind one that comes back at once has not failed.
            wait = max(
                _wait(self._count(key) + self._under_way[key], limit),
                _wait(self._count(peer), limit * _ADDRESS_FACTOR),
            )
            if wait == 0:
                self._under_way[key] += 1
                return
        raise RefusalError(429, f"too many failed authentications of {peer}", [("Retry-After", str(math.ceil(wait)))])

    def _end(self, peer: str, key: Hashable, failed: bool | None) -> None:
        with self._lock:
            _uncount(self._under_way, key)
            if failed is None:
                return
            if not failed:
                self._failures.pop(key, None)
                return
            for failing in (key, peer):
                self._failures[failing] = self._count(failing) + 1, self._clock()
                self._failures.move_to_end(failing)
            while len(self._failures) > _MAX_REMEMBERED:
                self._failures.popitem(last=False)

    def _count(self, key: Hashable) -> float:
        count, since = self._failures.get(key, (0.0, 0.0))
        return float(count * 0.5 ** ((self._clock() - since) / _HALF_LIFE))


def _wait(count: float, limit: int) -> float:
    # One more must not bring it over the limit; the half is for what was forgotten since the last one.
    return _HALF_LIFE * math.log2(count / (limit - 0.5)) if count > limit - 0.5 else 0.0


def _uncount(counter: Counter[Hashable], key: Hashable) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def _refuse(reason: str) -> None:
    raise RefusalError(503, reason, [("Retry-After", str(_BUSY_RETRY))])


def _reached(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit

"""Counts who is in, who is at the door, and who was turned away lately."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable

from .handshake import RefusalError
from .limits import Limits

__all__ = ["Doorkeeper"]

_BUSY_RETRY = 30
"""Seconds after which somebody who came at a busy time may try again."""
_HALF_LIFE = 60.0
"""Seconds in which half of the failed authentications are forgotten."""
_ADDRESS_FACTOR = 5
_MOST_REMEMBERED = 10_000
_FAILURES = frozenset({401, 403})


class Doorkeeper:
    """Lets in as many connections as the limits allow.

    Args:
        limits: the bounds.
        clock: the time.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()  # guards both below
        self._inside: Counter[str] = Counter()
        self._failures: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # how many, and when that was

    def __repr__(self) -> str:
        return f"<Doorkeeper inside={self._inside.total()} failures={len(self._failures)}>"

    def enter(self, address: str) -> None:
        """Count a connection of that address until it calls `leave`.

        Raises:
            RefusalError: 503, there are too many.
        """
        limits = self._limits
        with self._lock:
            if _reached(limits.connections, self._inside.total()):
                self._refuse(f"there are {limits.connections} connections already")
            if _reached(limits.connections_per_address, self._inside[address]):
                self._refuse(f"{address} has {limits.connections_per_address} connections already")
            self._inside[address] += 1

    def _refuse(self, reason: str) -> None:
        raise RefusalError(503, reason, [("Retry-After", str(_BUSY_RETRY))])

    def leave(self, address: str) -> None:
        """Count the connection no more."""
        with self._lock:
            self._inside[address] -= 1
            if self._inside[address] <= 0:
                del self._inside[address]

    # Failed authentications.

    def check(self, address: str, charge_point_id: str) -> None:
        """Look whether the address may try to authenticate.

        Raises:
            RefusalError: 429, it failed too often lately; Retry-After says when it may try again.
        """
        limit = self._limits.failed_authentications
        if limit is None:
            return
        with self._lock:
            wait = max(self._wait((address, charge_point_id), limit), self._wait(address, limit * _ADDRESS_FACTOR))
        if wait > 0:
            header = ("Retry-After", str(math.ceil(wait)))
            raise RefusalError(429, f"too many failed authentications of {address}", [header])

    def failed(self, address: str, charge_point_id: str, status: int) -> None:
        """Remember a refusal, if it was one of the credentials."""
        if self._limits.failed_authentications is None or status not in _FAILURES:
            return
        with self._lock:
            for key in ((address, charge_point_id), address):
                self._failures[key] = self._count(key) + 1, self._clock()
                self._failures.move_to_end(key)
            while len(self._failures) > _MOST_REMEMBERED:
                self._failures.popitem(last=False)

    def succeeded(self, address: str, charge_point_id: str) -> None:
        """Forget the failures of who has authenticated at last."""
        with self._lock:
            self._failures.pop((address, charge_point_id), None)

    def _count(self, key: Hashable) -> float:
        count, since = self._failures.get(key, (0.0, 0.0))
        return float(count * 0.5 ** ((self._clock() - since) / _HALF_LIFE))

    def _wait(self, key: Hashable, limit: int) -> float:
        count = self._count(key)
        # One more must not bring it over the limit; the half is for what was forgotten since the last one.
        return _HALF_LIFE * math.log2(count / (limit - 0.5)) if count > limit - 0.5 else 0.0


def _reached(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit

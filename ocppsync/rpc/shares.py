"""How much of what all peers share one peer may occupy: handler threads, and memory for messages that wait.

A share belongs to an identity, not to a connection: a charge point that reconnects again and again has one share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..budget import Budget, Loan
from ..limits import Limits
from ..threads.bounded import BoundedExecutor
from ..threads.pool import Executor

__all__ = ["PeerShare", "Shares", "parsed_size"]

_FREE = 16 * 1024
"""Bytes of each peer that do not count toward the total, so that ordinary messages need no lock that all share."""
_PER_CHARACTER = 48
_SHORT = 256  # the size of such a text, counted in a simple way, is within what is free
# What the shapes of JSON take in memory at most, in bytes; measured by a test.
_PER_OBJECT, _PER_LIST, _PER_STRING, _PER_ITEM = 256, 96, 64, 64


def parsed_size(text: str) -> int:
    """Return about how many bytes a message takes once it is parsed, at least what it does take."""
    if len(text) < _SHORT:
        return len(text) * _PER_CHARACTER
    width = 1 if text.isascii() else 4
    return (
        width * len(text)
        + _PER_OBJECT * text.count("{")
        + _PER_LIST * text.count("[")
        + _PER_STRING // 2 * text.count('"')
        + _PER_ITEM * text.count(",")
    )


class PeerShare:
    """The share of one peer.

    Attributes:
        others: runs everything that is done for it besides its CALLs: hooks, listeners, callbacks of futures.
        limits: the limits of each peer.
        lock: guards the bytes that are counted here; also the peer's `IncomingCalls`.
    """

    __slots__ = ("_loan", "_used", "limits", "lock", "others")

    def __init__(self, others: Executor, width: int, limits: Limits, budget: Budget) -> None:
        self.others = BoundedExecutor(others, width)
        self.limits = limits
        self.lock = threading.Lock()
        self._used = 0  # bytes of the messages that wait, and of the CALL that is being handled
        self._loan = Loan(budget, _FREE)

    def __repr__(self) -> str:
        return f"<PeerShare others={self.others} bytes={self._used}>"

    def submit(
        self,
        executor: BoundedExecutor,
        size: int,
        function: Callable[..., object],
        *args: object,
        must: bool = False,
    ) -> bool:
        """Have ``function(*args)`` run, and count its message while that waits.

        Return False, and drop it, if there is no room for the message, or if the executor accepts no more.

        Args:
            executor: `others`, or one that uses it.
            size: the size of the message in bytes, see `parsed_size`.
            function, args: what is run; it has to call `give` when it begins.
            must: whether there is room in any case: the message was accepted before, and waits again.

        Raises:
            RuntimeError: there is no thread for it; it is dropped.
        """
        with self.lock:
            if not self.take(size, must=must):
                return False
        accepted = False
        try:
            accepted = executor.submit(function, *args)
        finally:
            if not accepted:
                self.give(size)
        return accepted

    def give(self, size: int) -> None:
        """Note that a message does not wait any more."""
        with self.lock:
            self.put_back(size)

    def take(self, size: int, *, must: bool = False) -> bool:
        """Count a message; return False, and do not, if there is no room for it. The caller holds `lock`."""
        assert self.lock.locked()
        used = self._used + size
        if not must:
            # A hook that waits counts its message here: without any bytes none waits.
            if self._used and len(self.others) >= self.limits.queued_calls:
                return False
            if used > self.limits.call_bytes:
                return False
        # The first look saves a call for nearly all messages.
        if used > _FREE and not self._loan.cover(used, must=must):
            return False
        self._used = used
        return True

    def put_back(self, size: int) -> None:
        """Count a message no more. The caller holds `lock`."""
        assert self.lock.locked()
        if self._used > _FREE:
            self._loan.cover(self._used - size)
        self._used -= size


class Shares:
    """Divides a pool of handler threads and the memory for messages that wait among peers.

    Hooks, listeners and callbacks together leave a quarter of the threads to CALLs: they often wait for a peer, and
    many peers may be silent at the same time.

    Args:
        pool: runs all tasks.
        threads: how many threads it has.
        limits: the limits of each peer, and of all together.

    Attributes:
        pool: runs the CALLs of all peers.
    """

    def __init__(self, pool: Executor, threads: int, limits: Limits) -> None:
        self.pool = pool
        self._limits = limits
        self._budget = Budget(limits.call_bytes_total)
        self._others = BoundedExecutor(pool, max(1, threads - max(1, threads // 4)))
        self._width = limits.handler_threads_per_peer - 1

    def share(self) -> PeerShare:
        """Return the share of one more peer."""
        return PeerShare(self._others, self._width, self._limits, self._budget)

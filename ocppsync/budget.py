"""Bytes that many share: how many there are in all, and how many each has borrowed."""

from __future__ import annotations

import threading

__all__ = ["Budget", "Loan"]


class Budget:
    """A number of bytes that many share.

    Args:
        total: how many there are; None: no limit.
    """

    __slots__ = ("_lock", "_total", "used")

    def __init__(self, total: int | None = None) -> None:
        self._total = total
        self._lock = threading.Lock()  # guards `used`
        self.used = 0

    def __repr__(self) -> str:
        return f"<Budget {self.used} of {self._total} bytes>"

    def take(self, size: int, *, must: bool = False) -> bool:
        """Take ``size`` bytes; return False, and take none, if fewer are left, unless it ``must``."""
        with self._lock:
            if self._total is not None and self.used + size > self._total and not must:
                return False
            self.used += size
            return True

    def give(self, size: int) -> None:
        """Give back bytes that were taken."""
        with self._lock:
            self.used -= size


class Loan:
    """What one has borrowed from a budget: the bytes that it uses, without those that are free.

    Not thread-safe: its owner has a lock, or only one thread.

    Args:
        budget: lends the bytes.
        free: how many bytes need no loan, so that little ones need no lock that all share.

    Attributes:
        size: how many bytes are borrowed.
    """

    __slots__ = ("_budget", "_free", "size")

    def __init__(self, budget: Budget, free: int) -> None:
        self._budget = budget
        self._free = free
        self.size = 0

    def __repr__(self) -> str:
        return f"<Loan {self.size} bytes>"

    def cover(self, used: int, *, must: bool = False) -> bool:
        """Borrow, or give back, what ``used`` bytes need; return False, and change nothing, if too few are left.

        Args:
            used: how many bytes are used now.
            must: borrow them in any case.
        """
        more = max(0, used - self._free) - self.size
        if more > 0 and not self._budget.take(more, must=must):
            return False
        if more < 0:
            self._budget.give(-more)
        self.size += more
        return True

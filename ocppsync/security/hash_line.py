"""The line in which connections wait for the hash of their password."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from ..wire.http import DisconnectedError, RefusalError

__all__ = ["HashLine"]

_PATIENCE = 10.0
"""Seconds that a charge point waits for its turn: as long as `Timeouts.handshake` lets it take for its own part. A line
that takes longer is hopeless."""
_WEIGHT = 0.2
"""How much the last check counts in the measured time of one."""


class HashLine:
    """Lets a few threads check passwords at once, in the order in which they came.

    It bounds the memory and the processors that hashes take when a whole fleet reconnects at once.

    Args:
        seconds: about how long one check takes; measured from then on.
        at_once: how many are made at once; by default one for each processor.
        patience: seconds that those who can be refused wait at most.
        clock: returns the current time in seconds.
    """

    def __init__(
        self,
        seconds: float,
        *,
        at_once: int | None = None,
        patience: float = _PATIENCE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._at_once = at_once or os.cpu_count() or 1
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()  # guards all below; never held while a hash is made
        self._seconds = seconds
        self._free = self._at_once
        self._waiting: deque[threading.Event] = deque()  # one for each thread; set when its turn has come

    def __repr__(self) -> str:
        return f"<HashLine waiting={len(self._waiting)} free={self._free} seconds={self._seconds:.3g}>"

    @contextlib.contextmanager
    def turn(self, has_gone: Callable[[], bool] | None = None) -> Iterator[None]:
        """Wait for the turn to check a password, which the body does.

        Args:
            has_gone: returns whether the peer has closed its socket, so that the outcome is not needed any more. None:
                the thread waits as long as it takes.

        Raises:
            RefusalError: 503, the line is hopeless; Retry-After holds the seconds that it takes. Only with
                ``has_gone``.
            DisconnectedError: the peer has gone while it waited.
        """
        self._wait(bounded=has_gone is not None)
        began: float | None = None
        try:
            if has_gone is not None and has_gone():
                raise DisconnectedError("the peer hung up before its password was checked")
            began = self._clock()
            yield
        finally:
            self._pass_on(None if began is None else self._clock() - began)

    def _wait(self, *, bounded: bool) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            takes = (len(self._waiting) + 1) * self._seconds / self._at_once
            if bounded and takes > self._patience:
                text = f"{len(self._waiting)} passwords wait to be checked, which takes {takes:.1f} s"
                raise RefusalError(503, text, [("Retry-After", str(math.ceil(takes)))])
            turn = threading.Event()
            self._waiting.append(turn)
        try:
            turn.wait()
        except BaseException:
            # Such as Ctrl-C on the main thread.
            with self._lock:
                waits = turn in self._waiting
                if waits:
                    self._waiting.remove(turn)
            if not waits:
                self._pass_on(None)
            raise

    def _pass_on(self, took: float | None) -> None:
        with self._lock:
            if took is not None:
                self._seconds += (took - self._seconds) * _WEIGHT
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1

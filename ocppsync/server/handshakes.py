"""How many handshakes are in progress at once, and which one makes room for another."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from ..limits import Limits
from ..wire.streams import Stream

_SLOW = 1.0
"""Seconds after which a handshake that waits for its peer may be aborted to make room for a new one."""


class _Handshake(NamedTuple):
    """A handshake in progress."""

    began: float
    address: str
    """The rate-limit key of the address that it comes from."""
    proven: bool
    """Whether a charge point has proved itself from there."""


class Handshakes:
    """The handshakes in progress. Each has a thread of its own, so this bounds the threads as well.

    Each of them is in one of four phases:

    =========  ==============================================  ===============================================
    phase      what it waits for                               its place
    =========  ==============================================  ===============================================
    reading    the peer: TLS, and the request                  may go to a new one
    deciding   us: the application, the hash of a password     is its own
    refused    the peer, which may read the response           goes to a new one at once
    leaving    nothing: it was aborted                         has gone to another; its thread is about to end
    =========  ==============================================  ===============================================

    Time that we let a peer wait is never its slowness. If the application is slow, new handshakes are refused, and the
    threads stay as many as the limit says, and at most as many again that are leaving.

    At the limit of an address, its oldest handshake that is slow makes room. At the limit of all together:

    * An address from which a charge point has proved itself goes first: others make room for its new handshakes even
      if they are not slow, and its own make room only for such an address.
    * Otherwise a slow handshake makes room if more come from its address than from the address of the new one: those
      of the address with the most first, and of these the oldest. So a few addresses cannot keep the others out.

    Args:
        limits: how many in all, and of one address.
        clock: returns the current time in seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below
        # Each oldest first.
        self._reading: dict[Stream, _Handshake] = {}
        self._deciding: dict[Stream, _Handshake] = {}
        self._refused: dict[Stream, _Handshake] = {}
        self._leaving: set[Stream] = set()
        self._by_address: Counter[str] = Counter()  # those of the first three phases
        self._warned: set[str | None] = set()  # addresses at their limit that were logged; None: the limit for all
        self._closed = False

    def __repr__(self) -> str:
        counts = f"reading={len(self._reading)} deciding={len(self._deciding)} refused={len(self._refused)}"
        return f"<Handshakes {counts} leaving={len(self._leaving)}>"

    def begin(
        self, stream: Stream, address: str, *, proven: bool = False, shared: bool = False
    ) -> tuple[bool, str | None]:
        """Count a new handshake; at a limit, abort another one for it, or else refuse it.

        Args:
            stream: its connection.
            address: the rate-limit key of the address that it comes from.
            proven: whether a charge point has proved itself from there.
            shared: the address is one of a trusted proxy, to which the limit of an address does not apply.

        Returns:
            Whether there is room, and a warning to log.
        """
        handshake = _Handshake(self._clock(), address, proven)
        with self._lock:
            room, aborted, warning = self._room_for(handshake, shared)
            if aborted is not None:
                self._remove(aborted)
                self._leaving.add(aborted)
            if room:
                self._reading[stream] = handshake
                self._by_address[address] += 1
            closed = self._closed
        if aborted is not None:
            aborted.abort()
        if room and closed:
            stream.abort()
        return room, warning

    def decide(self, stream: Stream) -> bool:
        """Have a handshake wait for us from now on; False: it has made room for another, and must end."""
        with self._lock:
            handshake = self._reading.pop(stream, None)
            if handshake is None:
                return False
            self._deciding[stream] = handshake
            return True

    def refuse(self, stream: Stream) -> None:
        """Have a handshake make room from now on: its response is on the way, and nothing else is expected of it."""
        with self._lock:
            handshake = self._reading.pop(stream, None) or self._deciding.pop(stream, None)
            if handshake is not None:
                self._refused[stream] = handshake

    def end(self, stream: Stream) -> None:
        """Count a handshake no more; its thread ends, or serves the connection."""
        with self._lock:
            self._remove(stream)
            self._leaving.discard(stream)

    def close(self) -> None:
        """Abort every handshake in progress, and every later one."""
        with self._lock:
            self._closed = True
            streams = [*self._reading, *self._deciding, *self._refused]
        for stream in streams:
            stream.abort()

    @property
    def _count(self) -> int:
        return len(self._reading) + len(self._deciding) + len(self._refused)

    def _room_for(self, new: _Handshake, shared: bool) -> tuple[bool, Stream | None, str | None]:
        """Return whether there is room for a handshake, the one to abort for it, and a warning to log."""
        assert self._lock.locked()
        limit, count = self._limits.handshakes_per_address, self._by_address[new.address]
        if limit is not None and count >= limit and not shared:
            deciding = sum(handshake.address == new.address for handshake in self._deciding.values())
            warning = self._once(new.address, f"{count} handshakes of {new.address} in progress", deciding)
            aborted = self._one_of_its_address(new)
        else:
            limit, count = self._limits.handshakes, self._count
            if limit is None or count < limit:
                return True, None, None
            warning = self._once(None, f"{count} handshakes in progress", len(self._deciding))
            aborted = self._one_of_all(new)
        if self._limits.handshakes is not None and len(self._leaving) >= self._limits.handshakes:
            aborted = None  # the threads of those that were aborted before do not get to their end
        return aborted is not None, aborted, warning

    def _one_of_its_address(self, new: _Handshake) -> Stream | None:
        """Return the handshake that makes room for another of its address, or None."""
        candidates = (stream for stream, handshake in self._refused.items() if handshake.address == new.address)
        refused = next(candidates, None)
        if refused is not None:
            return refused
        candidates = (stream for stream, handshake in self._reading.items() if handshake.address == new.address)
        oldest = next(candidates, None)
        return oldest if oldest is not None and new.began - self._reading[oldest].began > _SLOW else None

    def _one_of_all(self, new: _Handshake) -> Stream | None:
        """Return the handshake that makes room for one of any address, or None."""
        if self._refused:
            return next(iter(self._refused))
        candidates = (stream for stream, handshake in self._reading.items() if self._makes_room(handshake, new))
        return min(candidates, key=self._rank, default=None)

    def _makes_room(self, handshake: _Handshake, new: _Handshake) -> bool:
        if handshake.address != new.address:
            if handshake.proven is not new.proven:
                return new.proven
            if self._by_address[handshake.address] <= self._by_address[new.address]:
                return False
        return new.began - handshake.began > _SLOW

    def _rank(self, stream: Stream) -> tuple[bool, int]:
        """Return what is least for the handshake that makes room first; of several, the oldest does."""
        handshake = self._reading[stream]
        return handshake.proven, -self._by_address[handshake.address]

    def _once(self, address: str | None, text: str, deciding: int) -> str | None:
        """Return the warning, or None if it was logged before for this address, or for all together."""
        assert self._lock.locked()
        if address in self._warned:
            return None
        self._warned.add(address)
        waiting = f", {deciding} of them wait for passwords to be checked or for the application" if deciding else ""
        return f"{text}{waiting}; slow ones are aborted for new ones, otherwise new ones are refused"

    def _remove(self, stream: Stream) -> None:
        assert self._lock.locked()
        phases = (self._reading, self._deciding, self._refused)
        handshake = next((phase.pop(stream) for phase in phases if stream in phase), None)
        if handshake is None:
            return
        address = handshake.address
        # Warn again only after the count has fallen below half the limit.
        self._by_address[address] -= 1
        if self._by_address[address] * 2 < (self._limits.handshakes_per_address or 0):
            self._warned.discard(address)
        if not self._by_address[address]:
            del self._by_address[address]
        if self._count * 2 < (self._limits.handshakes or 0):
            self._warned.discard(None)

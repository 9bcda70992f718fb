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
    peer: str | None
    """The rate-limit key of the peer; None behind a trusted proxy."""


class Handshakes:
    """The handshakes in progress. Each has a thread of its own, so this bounds the threads as well.

    Each of them is in one of three phases:

    =========  ==============================================  ===============================================
    phase      what it waits for                               its place
    =========  ==============================================  ===============================================
    reading    the peer: TLS, and the request                  may go to a new one once it is slow
    deciding   us: the application, the hash of a password     is its own until its thread ends
    leaving    nothing: it was aborted                         has gone to another; its thread is about to end
    =========  ==============================================  ===============================================

    Time that we let a peer wait is never its slowness. If the application is slow, new handshakes are refused, and the
    threads stay as many as the limit says, and at most as many again that are leaving.

    Args:
        limits: how many in all, and of one address.
        clock: returns the current time in seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below
        self._reading: dict[Stream, _Handshake] = {}  # oldest first
        self._deciding: dict[Stream, _Handshake] = {}
        self._leaving: set[Stream] = set()
        self._by_peer: Counter[str] = Counter()  # those that read and those we decide about, by rate-limit key
        self._warned: set[str | None] = set()  # peers at their limit that were logged; None: the limit for all peers
        self._closed = False

    def __repr__(self) -> str:
        return f"<Handshakes reading={len(self._reading)} deciding={len(self._deciding)} leaving={len(self._leaving)}>"

    def begin(self, stream: Stream, peer: str | None) -> tuple[bool, str | None]:
        """Count a new handshake; at a limit, abort a slow one for it, or else refuse it.

        Args:
            stream: its connection.
            peer: the rate-limit key of the peer; None: it counts only in all.

        Returns:
            Whether there is room, and a warning to log.
        """
        handshake = _Handshake(self._clock(), peer)
        with self._lock:
            room, slow, warning = self._room_for(handshake)
            if slow is not None:
                self._remove(slow)
                self._leaving.add(slow)
            if room:
                self._reading[stream] = handshake
                if peer is not None:
                    self._by_peer[peer] += 1
            closed = self._closed
        if slow is not None:
            slow.abort()
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

    def end(self, stream: Stream) -> None:
        """Count a handshake no more; its thread ends, or serves the connection."""
        with self._lock:
            self._remove(stream)
            self._leaving.discard(stream)

    def close(self) -> None:
        """Abort every handshake in progress, and every later one."""
        with self._lock:
            self._closed = True
            streams = [*self._reading, *self._deciding]
        for stream in streams:
            stream.abort()

    @property
    def _count(self) -> int:
        return len(self._reading) + len(self._deciding)

    def _room_for(self, new: _Handshake) -> tuple[bool, Stream | None, str | None]:
        """Return whether there is room for a handshake, the slow one that has to make it, and a warning to log."""
        assert self._lock.locked()
        limit, count = self._limits.handshakes_per_address, 0 if new.peer is None else self._by_peer[new.peer]
        if limit is not None and count >= limit:
            deciding = sum(handshake.peer == new.peer for handshake in self._deciding.values())
            warning = self._once(new.peer, f"{count} handshakes of {new.peer} in progress", deciding)
            slow = self._slow_one(new, of_peer=True)
        else:
            limit, count = self._limits.handshakes, self._count
            if limit is None or count < limit:
                return True, None, None
            warning = self._once(None, f"{count} handshakes in progress", len(self._deciding))
            slow = self._slow_one(new, of_peer=False)
        return slow is not None, slow, warning

    def _slow_one(self, new: _Handshake, *, of_peer: bool) -> Stream | None:
        """Return the handshake that makes room for a new one, or None."""
        assert self._lock.locked()
        if self._limits.handshakes is not None and len(self._leaving) >= self._limits.handshakes:
            return None  # the threads of those that were aborted do not get to their end
        candidates = (one for one, handshake in self._reading.items() if not of_peer or handshake.peer == new.peer)
        oldest = next(candidates, None)
        return oldest if oldest is not None and new.began - self._reading[oldest].began > _SLOW else None

    def _once(self, peer: str | None, text: str, deciding: int) -> str | None:
        """Return the warning, or None if it was logged before for this peer, or for all peers together."""
        assert self._lock.locked()
        if peer in self._warned:
            return None
        self._warned.add(peer)
        waiting = f", {deciding} of them wait for passwords to be checked or for the application" if deciding else ""
        return f"{text}{waiting}; slow ones are aborted for new ones, otherwise new ones are refused"

    def _remove(self, stream: Stream) -> None:
        assert self._lock.locked()
        handshake = self._reading.pop(stream, None) or self._deciding.pop(stream, None)
        if handshake is None:
            return
        peer = handshake.peer
        # Warn again only after the count has fallen below half the limit.
        if peer is not None:
            self._by_peer[peer] -= 1
            if self._by_peer[peer] * 2 < (self._limits.handshakes_per_address or 0):
                self._warned.discard(peer)
            if not self._by_peer[peer]:
                del self._by_peer[peer]
        if self._count * 2 < (self._limits.handshakes or 0):
            self._warned.discard(None)

"""A central system under attack, and the charge points beside the attacker, who must not notice it."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import accept_boots, connected
from wire import DEADLINE, Peer, dial

from ocppsync import CentralSystem, Timeouts, utc_now

PATIENCE = 10.0
"""Seconds within which a bystander is answered; on an idle machine it takes a thousandth of them."""
SECRET = "czNjcmV0OmhvcnNl"
"""Credentials that no log may show."""
_MEMORY = 96 * 1024 * 1024
"""Bytes by which the process may grow meanwhile, the attackers' own sockets and the tests' data included."""


class Bystanders:
    """Charge points that send Heartbeats in turn, on a thread of their own, and note the answers that did not come."""

    def __init__(self, cs: CentralSystem, count: int = 3, **options: Any) -> None:
        self._peers: list[Peer] = []
        for number in range(count):
            self._peers.append(dial(cs.port, **options))
            self._peers[-1].upgrade(f"/bystander-{number}")
        self._changed = threading.Condition()
        self._stopped = False
        self.rounds = 0
        self.worst = 0.0
        self.most_memory = 0
        self.fault: str | None = None
        self._thread = threading.Thread(target=self._run, name="bystanders")
        self._thread.start()

    def _run(self) -> None:
        # Ends: each read has its deadline, and `stop` sets the mark.
        number = 0
        while not self._stopped and self.fault is None:
            number += 1
            try:
                for peer in self._peers:
                    self.worst = max(self.worst, heartbeat(peer, str(number)))
            except Exception as error:
                self.fault = f"{type(error).__name__} in round {number}: {error}"
            with self._changed:
                self.rounds = number
                self.most_memory = max(self.most_memory, memory())
                self._changed.notify_all()
                self._changed.wait(0.005)

    def serve_on(self, rounds: int = 2) -> None:
        """Wait until each was answered anew so many times."""
        with self._changed:
            aim = self.rounds + rounds
            assert self._changed.wait_for(lambda: self.fault is not None or self.rounds >= aim, 3 * PATIENCE)
        assert self.fault is None, self.fault

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(3 * PATIENCE)
        for peer in self._peers:
            peer.sock.close()


class Siege:
    """A central system, its bystanders, and what its log says."""

    def __init__(self, cs: CentralSystem, bystanders: Bystanders, caplog: pytest.LogCaptureFixture) -> None:
        self.cs = cs
        self.bystanders = bystanders
        self.events = connected(cs)
        self._caplog = caplog

    @property
    def port(self) -> int:
        port = self.cs.port
        assert port is not None
        return port

    def attacker(self, name: str = "attacker", **options: Any) -> Peer:
        """A charge point that has connected and may begin."""
        peer = dial(self.port, **options)
        peer.upgrade(f"/{name}")
        return peer

    def said(self, text: str) -> list[str]:
        """The lines of the log, from WARNING on, that hold the text."""
        lines = [record.getMessage() for record in self._caplog.records if record.levelno >= logging.WARNING]
        return [line for line in lines if text in line]

    def wait_said(self, text: str) -> None:
        """Wait until the log says so."""
        deadline = time.monotonic() + DEADLINE
        while not self.said(text):
            assert time.monotonic() < deadline, f"{text!r} was not said"
            self.bystanders.serve_on(1)

    def wait_gone(self, name: str = "attacker") -> None:
        """Wait until the connection of an attacker has ended."""
        self.events.wait_until(lambda items: (name, "disconnected") in items)


@contextlib.contextmanager
def besieged(
    caplog: pytest.LogCaptureFixture,
    *,
    dialling: dict[str, Any] | None = None,
    may_fail: bool = False,
    growth: int = _MEMORY,
    **options: Any,
) -> Iterator[Siege]:
    """Hold a central system, with what must be true of it whatever attacks it.

    Args:
        caplog: pytest's.
        dialling: how the bystanders dial, see `wire.dial`.
        may_fail: whether the log may hold tracebacks.
        growth: bytes by which the process may grow meanwhile.
        options: of the central system.
    """
    caplog.set_level(logging.INFO, "ocppsync")
    threads, descriptors, before = set(threading.enumerate()), open_sockets(), memory()
    # Long enough for a busy machine to read all that an attacker still sends, or a reset meets him while he does.
    options.setdefault("timeouts", Timeouts(close=2.0))
    cs = CentralSystem(0, host="127.0.0.1", **options)
    accept_boots(cs)
    cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
    with cs:
        bystanders = Bystanders(cs, **(dialling or {}))
        try:
            yield Siege(cs, bystanders, caplog)
            bystanders.serve_on()
        finally:
            bystanders.stop()
    for thread in set(threading.enumerate()) - threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread} was left behind"
    assert open_sockets() <= descriptors
    grown = bystanders.most_memory - before
    assert grown < growth, f"the process grew by {grown >> 20} MiB"
    assert SECRET not in caplog.text
    if not may_fail:
        assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def heartbeat(peer: Peer, message_id: str) -> float:
    """Have a Heartbeat answered, and return the seconds that it took."""
    began = time.monotonic()
    peer.send_text(f'[2,"{message_id}","Heartbeat",{{}}]')
    while True:
        got = peer.read_frame(within=PATIENCE)
        assert got.opcode in (0x1, 0x9), got
        if got.opcode == 0x1:
            assert json.loads(got.payload)[:2] == [3, message_id], got
            return time.monotonic() - began


def memory() -> int:
    """The bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 if Path("/proc/self/statm").exists() else 0


def open_sockets() -> int:
    """How many sockets this process holds open."""
    folder = Path("/proc/self/fd")
    count = 0
    for entry in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count

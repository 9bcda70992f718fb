"""Lets charge points and a central system call each other while connections drop, come twice and the server restarts.

    python benchmarks/soak.py --seconds 1200 --chargers 500

Every call has a number. In the end each one was answered with its own number, or failed with the exception that the
disturbance accounts for; no handler saw a number twice; the registry knows just who is connected; and threads, sockets
and memory are back where they started. Exits with 1 where that is not so.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from ocppsync import (
    CentralSystem,
    ChargePoint,
    ConnectionLostError,
    HandshakeError,
    NotConnectedError,
    OCPPError,
    Timeouts,
)

VENDOR = "com.example.soak"
TIMEOUT = 30.0
EXPECTED = (ConnectionLostError, NotConnectedError, HandshakeError)
"""What a dropped connection or a stopped server may do to a call."""
_TOLERANCE = 5_000
"""Blocks of memory: a charge point alone takes some hundred."""
PATIENCE = 60.0
"""Seconds for everything to come to rest at the end."""


class Ledger:
    """What became of each call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._handled = bytearray()  # a byte a call: a set would be what grows
        self.outcomes: Counter[str] = Counter()
        self.faults: list[str] = []

    def next_number(self) -> str:
        return str(next(self._numbers))

    def handle(self, payload: Any, metadata: Any) -> Any:
        """Answer a call with its own number."""
        number = int(payload["data"])
        with self._lock:
            self._handled.extend(bytes(max(0, number + 1 - len(self._handled))))
            if self._handled[number]:
                self.faults.append(f"call {number} was handled twice")
            self._handled[number] = 1
        return {"status": "Accepted", "data": payload["data"]}

    def call(self, side: str, send: Callable[[str, Any], Any]) -> None:
        """Make a call and note what became of it."""
        number = self.next_number()
        try:
            answer = send("DataTransfer", {"vendorId": VENDOR, "data": number})
        except EXPECTED as error:
            self._note(f"{side}: {type(error).__name__}")
        except (OCPPError, RuntimeError) as error:
            self.fault(f"{side}: call {number} failed with {error!r}")
        else:
            with self._lock:
                handled = self._handled[int(number) : int(number) + 1] == b"\1"
            if answer != {"status": "Accepted", "data": number} or not handled:
                self.fault(f"{side}: call {number} was answered with {answer}")
            self._note(f"{side}: answered")

    def _note(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1

    def fault(self, text: str) -> None:
        with self._lock:
            self.faults.append(text)


class Soak:
    """One run."""

    def __init__(self, chargers: int, threads: int, seed: int, pace: float) -> None:
        self._random = Random(seed)
        self._pace = pace
        self._threads = threads
        self.ledger = Ledger()
        self._stop = threading.Event()
        self._central_system = self._open(0)
        self._port = self._central_system.port
        self._chargers = [self._charger(f"CP{number}") for number in range(chargers)]
        self.disturbances: Counter[str] = Counter()

    def _open(self, port: int) -> CentralSystem:
        cs = CentralSystem(
            port, host="127.0.0.1", websocket_ping_interval=5.0, handler_threads=8, timeouts=Timeouts(close=1.0)
        )
        cs.on("DataTransfer")(self.ledger.handle)
        return cs.start()

    def _charger(self, name: str) -> ChargePoint:
        point = ChargePoint(
            name,
            url=f"ws://127.0.0.1:{self._port}",
            enforce_registration=False,
            handler_threads=1,
            request_timeout=TIMEOUT,
            timeouts=Timeouts(close=1.0),
        )
        point.on("DataTransfer")(self.ledger.handle)
        return point

    # Work.

    def run(self, seconds: float) -> None:
        """Work for so many seconds, and come to rest."""
        workers = [
            *(self._thread(self._call_from_charger) for _ in range(self._threads)),
            *(self._thread(self._call_from_central_system) for _ in range(self._threads)),
            self._thread(self._disturb, 0.25),
        ]
        for worker in workers:
            worker.start()
        self._stop.wait(seconds)
        self._stop.set()
        for worker in workers:
            worker.join(PATIENCE)
            if worker.is_alive():
                self.ledger.fault(f"{worker.name} hangs")

    def _thread(self, work: Callable[[Random], None], pause: float = 0.0) -> threading.Thread:
        random = Random(self._random.random())

        def repeat() -> None:
            while not self._stop.wait(pause / self._pace):
                work(random)

        return threading.Thread(target=repeat, name=f"soak-{work.__name__}", daemon=True)

    def _call_from_charger(self, random: Random) -> None:
        charger = random.choice(self._chargers)
        if not charger.connected:
            self._connect(charger)
        send: Any = charger.send_request
        self.ledger.call("charge point", send)

    def _connect(self, charger: ChargePoint) -> None:
        try:
            charger.connect(TIMEOUT)
        except HandshakeError:
            self._stop.wait(0.05)  # the server restarts
        except RuntimeError:
            pass  # another thread was faster

    def _call_from_central_system(self, random: Random) -> None:
        name = random.choice(self._chargers).charge_point_id
        cs = self._central_system

        def send(action: Any, payload: Any) -> Any:
            return cs.send_request(name, action, payload, timeout=TIMEOUT)

        self.ledger.call("central system", send)

    # Disturbances.

    def _disturb(self, random: Random) -> None:
        kinds = [self._drop, self._drop, self._hang_up, self._hang_up, self._come_twice, self._come_twice]
        kind = self._restart if random.random() < 0.02 else random.choice(kinds)
        self.disturbances[kind.__name__.lstrip("_")] += 1
        kind(random.choice(self._chargers))

    def _drop(self, charger: ChargePoint) -> None:
        connection = charger._connection
        if connection is not None:
            connection.abort()

    def _hang_up(self, charger: ChargePoint) -> None:
        self._central_system.close_connection(charger.charge_point_id)

    def _come_twice(self, charger: ChargePoint) -> None:
        twin = self._charger(charger.charge_point_id)
        self._connect(twin)
        twin.close()

    def _restart(self, charger: ChargePoint) -> None:
        self._central_system.close(grace=1.0)
        self._central_system = self._open(self._port or 0)

    # The end.

    def check_registry(self) -> None:
        """Look whether the central system knows just who is connected."""
        for charger in self._chargers:
            if not charger.connected:
                self._connect(charger)
        self._expect([charger.charge_point_id for charger in self._chargers if charger.connected])
        staying = self._chargers[::2]
        for charger in self._chargers[1::2]:
            charger.disconnect()
        self._expect([charger.charge_point_id for charger in staying])

    def _expect(self, names: list[str]) -> None:
        if not _comes_true(lambda: self._central_system.charge_points == sorted(names)):
            found = self._central_system.charge_points
            self.ledger.fault(f"{len(found)} charge points are registered where {len(names)} are connected")

    def close(self) -> None:
        """End everything."""
        for charger in self._chargers:
            charger.close()
        self._central_system.close()


def _comes_true(predicate: Callable[[], bool]) -> bool:
    waiting, deadline = threading.Event(), time.monotonic() + PATIENCE
    while not predicate():
        if time.monotonic() > deadline:
            return False
        waiting.wait(0.05)
    return True


def _resources() -> dict[str, int]:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        pages = int(file.read().split()[1])
    sockets = sum(1 for name in _descriptors() if name.startswith("socket:"))
    return {
        "threads": threading.active_count(),
        "sockets": sockets,
        # What Python holds, to the block; what the system has given also grows with the most that was ever needed.
        "memory_blocks": sys.getallocatedblocks(),
        "resident_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def _descriptors() -> Iterator[str]:
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            yield os.readlink(f"/proc/self/fd/{entry}")  # noqa: PTH115
        except OSError:
            continue  # the one that lists them


def work_for(seconds: float, options: argparse.Namespace, threads: int) -> list[str]:
    """Work for so many seconds, print what happened, and return what was wrong."""
    began, soak = time.monotonic(), Soak(options.chargers, options.threads, options.seed, options.pace)
    soak.run(seconds)
    soak.check_registry()
    soak.close()
    ledger = soak.ledger
    if not _comes_true(lambda: threading.active_count() <= threads):
        ledger.fault(f"threads are left: {sorted(thread.name for thread in threading.enumerate())[:20]}")
    print(f"{ledger.outcomes.total()} calls in {time.monotonic() - began:.0f} s")
    for outcome, count in sorted(ledger.outcomes.items()):
        print(f"  {outcome}: {count}")
    print("  disturbances:", dict(sorted(soak.disturbances.items())))
    return ledger.faults


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--chargers", type=int, default=500)
    parser.add_argument("--threads", type=int, default=8, help="on each side, that make calls")
    parser.add_argument("--pace", type=float, default=1.0, help="of the disturbances; four a second at 1")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    threads = threading.active_count()
    resources = [_resources()]
    # The first round makes what stays: threads' stacks, caches, compiled schemas.
    for seconds in (min(10.0, options.seconds / 4), options.seconds):
        faults = work_for(seconds, options, threads)
        resources.append(_resources())
        if resources[-1]["sockets"] > resources[0]["sockets"]:
            faults.append("sockets are left")
        print("  before:", resources[-2])
        print("  after: ", resources[-1])
        for fault in faults[:20]:
            print("FAULT:", fault)
        if faults:
            return 1
    grown = resources[2]["memory_blocks"] - resources[1]["memory_blocks"]
    print(f"{grown} blocks of memory more are in use after the second round than after the first")
    return 1 if grown > _TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())

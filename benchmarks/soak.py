"""Exchanges calls between charge points and a central system while connections drop and the server restarts.

    python benchmarks/soak.py --seconds 1200 --chargers 500

Disturbances drop connections, close them, connect one identity twice and restart the server. Every call has a number.
At the end, each call was answered with its own number, or failed with an exception that a disturbance explains; no
handler got a number twice; the registry has exactly the connected charge points; and threads, sockets and memory are
back at their initial level. Otherwise the exit status is 1. All charge points have passwords.
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
    Passwords,
    SecurityProfiles,
    Timeouts,
    hash_password,
)

VENDOR = "com.example.soak"
PASSWORD = "correct horse battery"  # noqa: S105
TIMEOUT = 30.0
EXPECTED = (ConnectionLostError, NotConnectedError, HandshakeError)
"""The exceptions that a dropped connection or a stopped server may cause."""
_MAX_GROWTH = 5_000
"""Memory blocks; one charge point takes some hundred."""
SETTLE_TIMEOUT = 60.0
"""Seconds to wait at the end until nothing changes any more."""


class Ledger:
    """Records the outcome of each call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._handled = bytearray()  # one byte for each call: a set would take most of the memory
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
        """Make a call and record its outcome."""
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
    """One run: a central system, its charge points, and the disturbances."""

    def __init__(self, chargers: int, threads: int, seed: int, pace: float) -> None:
        self._random = Random(seed)
        self._pace = pace
        self._threads = threads
        self.ledger = Ledger()
        self._stop = threading.Event()
        # Over all restarts: it remembers verified passwords, as in one process of an application.
        hashed = hash_password(PASSWORD)
        self._security = SecurityProfiles(passwords=Passwords({f"CP{number}": hashed for number in range(chargers)}))
        self._central_system = self._open(0)
        self._port = self._central_system.port
        self._chargers = [self._charger(f"CP{number}") for number in range(chargers)]
        self.disturbances: Counter[str] = Counter()

    def _open(self, port: int) -> CentralSystem:
        cs = CentralSystem(
            port,
            host="127.0.0.1",
            websocket_ping_interval=5.0,
            handler_threads=8,
            timeouts=Timeouts(close=1.0),
            security=self._security,
        )
        cs.on("DataTransfer")(self.ledger.handle)
        return cs.start()

    def _charger(self, name: str) -> ChargePoint:
        point = ChargePoint(
            name,
            url=f"ws://127.0.0.1:{self._port}",
            password=PASSWORD,
            enforce_registration=False,
            handler_threads=1,
            request_timeout=TIMEOUT,
            timeouts=Timeouts(close=1.0),
        )
        point.on("DataTransfer")(self.ledger.handle)
        return point

    # Work.

    def run(self, seconds: float) -> None:
        """Make calls and disturbances for ``seconds`` seconds, then wait until all calls have ended."""
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
            worker.join(SETTLE_TIMEOUT)
            if worker.is_alive():
                self.ledger.fault(f"{worker.name} has not ended after {SETTLE_TIMEOUT:g} s")

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
            self._stop.wait(0.05)  # the server is restarting
        except RuntimeError:
            pass  # another thread has connected it

    def _call_from_central_system(self, random: Random) -> None:
        name = random.choice(self._chargers).charge_point_id
        cs = self._central_system

        def send(action: Any, payload: Any) -> Any:
            return cs.send_request(name, action, payload, timeout=TIMEOUT)

        self.ledger.call("central system", send)

    # Disturbances.

    def _disturb(self, random: Random) -> None:
        kinds = [
            self._drop,
            self._drop,
            self._close_connection,
            self._close_connection,
            self._connect_twice,
            self._connect_twice,
        ]
        kind = self._restart if random.random() < 0.02 else random.choice(kinds)
        self.disturbances[kind.__name__.lstrip("_")] += 1
        kind(random.choice(self._chargers))

    def _drop(self, charger: ChargePoint) -> None:
        connection = charger._connection
        if connection is not None:
            connection.abort()

    def _close_connection(self, charger: ChargePoint) -> None:
        self._central_system.close_connection(charger.charge_point_id)

    def _connect_twice(self, charger: ChargePoint) -> None:
        twin = self._charger(charger.charge_point_id)
        self._connect(twin)
        twin.close()

    def _restart(self, charger: ChargePoint) -> None:
        self._central_system.close(grace=1.0)
        self._central_system = self._open(self._port or 0)

    # The checks at the end.

    def check_registry(self) -> None:
        """Check that the registry has exactly the connected charge points."""
        for charger in self._chargers:
            if not charger.connected:
                self._connect(charger)
        self._expect_registered([charger.charge_point_id for charger in self._chargers if charger.connected])
        staying = self._chargers[::2]
        for charger in self._chargers[1::2]:
            charger.disconnect()
        self._expect_registered([charger.charge_point_id for charger in staying])

    def _expect_registered(self, names: list[str]) -> None:
        if not _wait_until(lambda: self._central_system.charge_points == sorted(names)):
            found = self._central_system.charge_points
            self.ledger.fault(f"{len(found)} charge points are registered, but {len(names)} are connected")

    def close(self) -> None:
        """Close all charge points and the central system."""
        for charger in self._chargers:
            charger.close()
        self._central_system.close()


def _wait_until(predicate: Callable[[], bool]) -> bool:
    waiting, deadline = threading.Event(), time.monotonic() + SETTLE_TIMEOUT
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
        # Blocks in use now; the resident size also depends on the peak.
        "memory_blocks": sys.getallocatedblocks(),
        "resident_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def _descriptors() -> Iterator[str]:
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            yield os.readlink(f"/proc/self/fd/{entry}")  # noqa: PTH115
        except OSError:
            continue  # the descriptor of this listing, closed by now


def work_for(seconds: float, options: argparse.Namespace, threads: int) -> list[str]:
    """Run for ``seconds`` seconds, print the outcomes, and return the faults."""
    began, soak = time.monotonic(), Soak(options.chargers, options.threads, options.seed, options.pace)
    soak.run(seconds)
    soak.check_registry()
    soak.close()
    ledger = soak.ledger
    if not _wait_until(lambda: threading.active_count() <= threads):
        ledger.fault(f"threads still running: {sorted(thread.name for thread in threading.enumerate())[:20]}")
    print(f"{ledger.outcomes.total()} calls in {time.monotonic() - began:.0f} s")
    for outcome, count in sorted(ledger.outcomes.items()):
        print(f"  {outcome}: {count}")
    print("  disturbances:", dict(sorted(soak.disturbances.items())))
    return ledger.faults


def main() -> int:
    """Run the soak test; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--chargers", type=int, default=500)
    parser.add_argument("--threads", type=int, default=8, help="threads that make calls, on each side")
    parser.add_argument("--pace", type=float, default=1.0, help="rate of the disturbances; 1 is four a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    threads = threading.active_count()
    resources = [_resources()]
    # The first round allocates what stays: thread stacks, caches, compiled schemas.
    for seconds in (min(10.0, options.seconds / 4), options.seconds):
        faults = work_for(seconds, options, threads)
        resources.append(_resources())
        if resources[-1]["sockets"] > resources[0]["sockets"]:
            faults.append(f"sockets still open: {resources[-1]['sockets'] - resources[0]['sockets']}")
        print("  before:", resources[-2])
        print("  after: ", resources[-1])
        for fault in faults[:20]:
            print("FAULT:", fault)
        if faults:
            return 1
    grown = resources[2]["memory_blocks"] - resources[1]["memory_blocks"]
    print(f"memory blocks after the second round, compared with the first: {grown:+d}")
    return 1 if grown > _MAX_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())

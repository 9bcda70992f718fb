"""What a random schedule runs in: a central system, its charge points, and the books about all that is asked."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from pauses import Pauses
from support import connected

from ocppsync import CallError, CentralSystem, ChargePoint, Limits, OCPPRequestError, Timeouts
from ocppsync.events import Connected, MessageReceived, MessageSent
from ocppsync.threads.timer import Timer, TimerHandle

if TYPE_CHECKING:
    from parties import RawLink

BOUND = 10.0
"""Seconds within which everything has ended; on an idle machine it takes a tenth of one."""
PATIENT = 60.0
"""Seconds that a request may take which must not run out of time."""
HASTE = 0.02
"""The message timeout of all others: those that nobody answers keep the line closed for so long."""
SHORT_PING = 0.05
_PADDING = "x" * 100_000
_WHATS = ["quick", "quick", "slow", "twice", "refuse", "hasty", "hasty", "never", "hang", "big"]
"""What requests ask for; "hasty" and "never" do not wait for long."""


@dataclass(frozen=True)
class Settings:
    """What a case runs with."""

    handler_timeout: float | None
    max_queued_calls: int
    queued_requests: int
    ping_interval: float | None
    close_timeout: float
    drains: bool
    """Whether the central system is closed while all goes on; else it is when all has come to rest."""

    @classmethod
    def drawn(cls, chance: Random) -> Settings:
        return cls(
            handler_timeout=chance.choice([None, None, 0.03]),
            max_queued_calls=chance.choice([100, 100, 2]),
            queued_requests=chance.choice([1000, 1000, 2]),
            ping_interval=chance.choice([None, 30.0, SHORT_PING]),
            close_timeout=chance.choice([0.3, 1.0]),
            drains=chance.random() < 0.4,
        )

    @property
    def forgives(self) -> bool:
        """Whether a CALL may be answered with an error that its handler has not made, and be handled anew then."""
        return self.handler_timeout is not None or self.max_queued_calls < 10

    @property
    def crowded(self) -> bool:
        """Whether the central system's requests may find no room."""
        return self.queued_requests < 10


@dataclass
class Asked:
    """A request and what is known of it."""

    nonce: str
    by_central_system: bool
    future: Future[Any]
    cancelled: bool = False
    called_back: list[None] = field(default_factory=list)


class Ledger:
    """What was asked, what was handled, and what was wrong."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.asked: list[Asked] = []
        self.handled: Counter[str] = Counter()
        self._frames: Counter[tuple[str, str, str]] = Counter()
        self.faults: list[str] = []

    def number(self) -> int:
        return next(self._numbers)

    def nonce(self, what: str) -> str:
        """Return what tells a request from all others, and what is to become of it."""
        return f"{what}:{self.number()}"

    def fault(self, text: str) -> None:
        with self._lock:
            self.faults.append(text)

    def handle(self, nonce: str) -> None:
        with self._lock:
            self.handled[nonce] += 1

    def note_frame(self, end: str, kind: str, message_id: str) -> None:
        """Count a frame that goes through an end; what answers a raw peer may do so again."""
        with self._lock:
            self._frames[end, kind, message_id] += 1
            if self._frames[end, kind, message_id] > 1 and not message_id.startswith("raw"):
                self.faults.append(f"{end} {kind} {message_id} twice")


def patient(nonce: str) -> bool:
    """Whether a request waits as long as it must."""
    return not nonce.startswith(("hasty", "never"))


def payload_of(nonce: str) -> dict[str, str]:
    """Return the payload of a DataTransfer, and of its answer but for the status."""
    return {"vendorId": "com.example", "data": f"{nonce}:{_PADDING}" if nonce.startswith("big") else nonce}


def answer_of(nonce: str) -> dict[str, str]:
    return {"status": "Accepted", "data": payload_of(nonce)["data"]}


def nonce_of(payload: Any) -> str:
    data: str = payload["data"]
    return data.removesuffix(f":{_PADDING}")


class RecordingTimer(Timer):
    """Remembers the appointments that are left when it is closed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.left: list[TimerHandle] = []

    def appointments(self) -> list[TimerHandle]:
        with self._changed:
            return [entry[2] for entry in self._heap if entry[2].task is not None]

    def close(self) -> None:
        self.left += self.appointments()
        super().close()


class Send(Protocol):
    """Makes a request."""

    def __call__(self, action: Any, payload: Any, *, timeout: float) -> Future[Any]: ...


class World:
    """A central system, and all that happens around it.

    Args:
        case: its name, of which the choices come.
        settings: what it runs with.
        pauses: for what the library calls here.
    """

    def __init__(self, case: str, settings: Settings, pauses: Pauses) -> None:
        self.case = case
        self.settings = settings
        self.pauses = pauses
        self.ledger = Ledger()
        self.draining = False
        self.drops: Counter[str] = Counter()  # how often a thread broke off connections at the central system's end
        self.points: list[ChargePoint] = []
        self.links: list[RawLink] = []
        self.threads: list[threading.Thread] = []
        self.cs = self.open()
        self.events = connected(self.cs)

    def open(self) -> CentralSystem:
        chosen = self.settings
        cs = CentralSystem(
            0,
            host="127.0.0.1",
            limits=Limits(queued_requests=chosen.queued_requests, queued_calls=chosen.max_queued_calls),
            timeouts=Timeouts(handler=chosen.handler_timeout, close=chosen.close_timeout),
            websocket_ping_interval=chosen.ping_interval,
            request_timeout=HASTE,
            authorize=self._authorize,
            observers=[self._observe_central_system],
            on_raw_websocket_data=lambda text, metadata: self.pauses(),
        )
        cs.on("DataTransfer")(self._handle)
        cs.on("StartTransaction")(self._start_transaction)
        cs.after("DataTransfer")(lambda payload, metadata: self.pauses())
        return cs.start()

    def point(self, name: str, protocol: str = "ocpp1.6") -> ChargePoint:
        """Return another charge point of the library's."""
        calls: dict[str, str] = {}

        def observe(event: object) -> None:
            if isinstance(event, Connected):
                calls.clear()
            if isinstance(event, MessageReceived) and event.kind == "CALL":
                self.note_call(calls, event.message_id, nonce_of(json.loads(event.text)[3]))
            if isinstance(event, MessageSent) and event.kind != "CALL":
                calls.pop(event.message_id, None)
            if isinstance(event, (MessageReceived, MessageSent)):
                self.ledger.note_frame(f"{name} {type(event).__name__}", event.kind, event.message_id)
            self.pauses()

        point = ChargePoint(
            name,
            url=f"ws://127.0.0.1:{self.cs.port}",
            protocols=[protocol],
            enforce_registration=False,
            timeouts=Timeouts(close=self.settings.close_timeout),
            websocket_ping_interval=self.settings.ping_interval,
            request_timeout=HASTE,
            observers=[observe],
        )
        point.on("DataTransfer")(self._handle)
        self.points.append(point)
        return point

    def note_call(self, calls: dict[str, str], message_id: str, nonce: str) -> None:
        """Note a CALL of the central system, and the others that have no answer yet: only one at a time may have none,
        unless it ran out of time (J16 §4.1.1), perhaps just before it was written."""
        # A copy, which is made at once: the answers go out on other threads.
        early = list(filter(patient, list(calls.values())))
        if early and patient(nonce):
            self.ledger.fault(f"{nonce} came before {early} was answered")
        calls[message_id] = nonce

    # What the library calls.

    def _authorize(self, request: Any, name: str) -> bool:
        self.pauses(0.5, 0.005)
        return True

    def _observe_central_system(self, event: object) -> None:
        # Not what comes: a raw peer may send it twice.
        if isinstance(event, MessageSent):
            self.ledger.note_frame("central system", event.kind, event.message_id)
        self.pauses()

    def _handle(self, payload: Any, metadata: Any) -> Any:
        nonce = nonce_of(payload)
        self.ledger.handle(nonce)
        what = nonce.partition(":")[0]
        if what in ("slow", "hasty"):
            self.pauses(1.0, 0.01)
        elif what in ("hang", "never"):
            # Just as its time is over, where that is limited.
            time.sleep(0.03)
        elif what == "refuse":
            raise CallError("GenericError", nonce)
        return answer_of(nonce)

    def _start_transaction(self, payload: Any, metadata: Any) -> Any:
        self.ledger.handle(f"transaction:{payload['meterStart']}")
        self.pauses(1.0, 0.01)
        return {"transactionId": payload["meterStart"], "idTagInfo": {"status": "Accepted"}}

    # Asking.

    def ask(self, send: Send, chance: Random, *, by_central_system: bool = False) -> None:
        """Make some requests, cancel some of them, and wait for their answers or not."""
        made = []
        for _ in range(chance.choice([1, 1, 2, 3, 6])):
            nonce = self.ledger.nonce(chance.choice(_WHATS))
            timeout = PATIENT if patient(nonce) else chance.uniform(0.0005, HASTE)
            future = send("DataTransfer", payload_of(nonce), timeout=timeout)
            asked = Asked(nonce, by_central_system, future)
            future.add_done_callback(lambda _, asked=asked: asked.called_back.append(None))  # type: ignore[misc]
            self.ledger.asked.append(asked)
            made.append(asked)
        for asked in made:
            if chance.random() < 0.25:
                nap(chance, 0.001)
                asked.cancelled = asked.future.cancel()
        if chance.random() < 0.7:
            for asked in made:
                self._wait_for(asked)

    def _wait_for(self, asked: Asked) -> None:
        try:
            asked.future.result(BOUND)
        except (OCPPRequestError, CancelledError):
            pass
        except TimeoutError:
            self.ledger.fault(f"{asked.nonce} hangs{stacks()}")

    def start(self, name: str, work: Callable[..., None], *args: Any) -> None:
        """Run something on a thread of its own, with this world, a chance of its own, and the arguments."""

        def run() -> None:
            try:
                work(self, Random(f"{self.case}-{name}"), *args)
            except Exception:
                self.ledger.fault(f"{name}: {traceback.format_exc()}")

        thread = threading.Thread(target=run, name=f"schedule-{name}", daemon=True)
        self.threads.append(thread)
        thread.start()


def nap(chance: Random, longest: float) -> None:
    time.sleep(chance.random() * longest)


def stacks() -> str:
    """Return where each thread is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, frame in sys._current_frames().items():
        entries = traceback.extract_stack(frame)
        where = " > ".join(f"{entry.filename.rpartition('/')[2]}:{entry.lineno}" for entry in entries)
        lines.append(f"\n    {names.get(ident)}: {where}")
    return "".join(lines)

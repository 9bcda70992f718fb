"""What the tests over real connections share: a recorder to wait on, and a raw charge point."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from websockets.sync.client import ClientConnection, connect

from ocppsync import CentralSystem, Headers, HttpRequest, utc_now
from ocppsync.central_system import server_of
from ocppsync.server.acceptor import AdmittedRequest
from ocppsync.server.serving import ConnectionServer

DEADLINE = 10.0
"""Seconds after which a test that still waits has failed; nothing here takes a tenth of it."""

BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}


class Recorder:
    """A list that other threads append to and a test waits on."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.items: list[Any] = []

    def __call__(self, *item: Any) -> None:
        with self._changed:
            self.items.append(item[0] if len(item) == 1 else item)
            self._changed.notify_all()

    def wait(self, count: int = 1) -> list[Any]:
        """Wait until so many items are there, and return all."""
        self.wait_until(lambda items: len(items) >= count)
        return list(self.items)

    def wait_until(self, predicate: Callable[[list[Any]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self.items), DEADLINE), f"only {self.items} came"


def wait_until(predicate: Callable[[], object]) -> None:
    """Wait until something is true that nobody announces."""
    assert comes_true(predicate, within=DEADLINE), "it did not become true"


def comes_true(predicate: Callable[[], object], *, within: float) -> bool:
    """Wait until something is true that nobody announces; return whether it came true in time."""
    deadline = time.monotonic() + within
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


class WatchedLock:
    """A real lock that lets a test come between two steps of what holds it.

    Attributes:
        after_release: called once, after the next release and without the lock.
        busy: set when a thread has found the lock taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.after_release: Callable[[], object] | None = None
        self.busy = threading.Event()

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.busy.set()
            assert self._lock.acquire(timeout=DEADLINE), "the lock is held for ever"

    def __exit__(self, *error: object) -> None:
        self._lock.release()
        hook, self.after_release = self.after_release, None
        if hook is not None:
            hook()

    def meanwhile(self, function: Callable[[], Any]) -> Future[Any]:
        """Begin it on another thread; return its future once it has found the lock taken, or is through."""
        self.busy.clear()
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
            finally:
                self.busy.set()

        threading.Thread(target=run, name="test-meanwhile", daemon=True).start()
        assert self.busy.wait(DEADLINE)
        return future


class RawChargePoint:
    """A charge point that sends and reads bare text."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket

    def send(self, message: Any) -> None:
        self.websocket.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def read(self) -> Any:
        return json.loads(self.websocket.recv(DEADLINE))

    def ask(self, message: Any) -> Any:
        self.send(message)
        return self.read()

    def call(self, message_id: str, action: str, payload: Any) -> Any:
        return self.ask([2, message_id, action, payload])


@contextlib.contextmanager
def raw(cs: CentralSystem, charge_point_id: str = "CP1", **options: Any) -> Iterator[RawChargePoint]:
    options.setdefault("subprotocols", ["ocpp1.6"])
    url = f"ws://127.0.0.1:{cs.port}/{charge_point_id}"
    with connect(url, open_timeout=DEADLINE, close_timeout=1, **options) as websocket:
        yield RawChargePoint(websocket)


def basic(user: str, password: bytes) -> str:
    """Return the header Authorization of HTTP Basic."""
    return "Basic " + base64.b64encode(user.encode() + b":" + password).decode()


@contextlib.contextmanager
def serving(handler: Any = None, **options: Any) -> Iterator[CentralSystem]:
    """A central system on a free port, on this machine alone."""
    with CentralSystem(0, handler, host="127.0.0.1", **options) as cs:
        yield cs


def accept_boots(cs: CentralSystem) -> None:
    @cs.on("BootNotification")
    def boot(payload: Any, metadata: Any) -> Any:
        return {"status": "Accepted", "currentTime": utc_now(), "interval": 300}


def connected(cs: CentralSystem) -> Recorder:
    """Record the changes of who is connected."""
    events = Recorder()
    cs.add_connection_listener(events)
    return events


def admit(cs: CentralSystem, charge_point_id: str = "CP1", protocol: str = "ocpp1.6") -> AdmittedRequest:
    """Admit a charge point after another kind of server has read its upgrade request."""
    fields = (
        ("Host", "127.0.0.1"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", protocol),
    )
    return server_of(cs).admit(HttpRequest("GET", f"/{charge_point_id}", "", Headers(fields), ("127.0.0.1", 0)))


def inside(cs: CentralSystem) -> str:
    """How many connections occupy a slot."""
    return repr(server_of(cs).context.acceptor._limiter).partition("connections=")[2].partition(" ")[0]


def threads(serving: ConnectionServer) -> str:
    """How many threads serve a connection."""
    return repr(serving).partition("threads=")[2].rstrip(">")

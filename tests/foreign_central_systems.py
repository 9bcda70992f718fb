"""Central systems of other projects, with what they saw: the `ocpp` package, and ocpp-rpc of npm in its strict mode."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from foreign import Peer, as_call, as_payload, as_result
from support import DEADLINE, Recorder
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from ocppsync.validation.catalogue import SUBPROTOCOL_OF, Version

OCPP_RPC = "ocpp-rpc@2.2.1"
_PROGRAM = Path(__file__).parent / "ocpp_rpc" / "central_system.js"


class ForeignCentralSystem(ABC):
    """A central system of another project, which accepts whatever comes.

    Attributes:
        port: the port that it listens on.
        history: the CALLs that came, as pairs of action and payload, in order.
        faults: what it found wrong.
        on_call: called with each CALL before it is answered.
    """

    port: int

    def __init__(self) -> None:
        self.history = Recorder()
        self.faults = Recorder()
        self.on_call: Callable[[str, Any], object] = lambda action, payload: None
        self._transactions = itertools.count(1)

    @abstractmethod
    def ask(self, action: str, payload: Any) -> Any:
        """Send a request over the newest connection; return the answer."""

    def answer(self, action: str, payload: Any) -> dict[str, Any]:
        """Return the answer to a CALL, which is noted."""
        self.history((action, payload))
        self.on_call(action, payload)
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        accepted = {"status": "Accepted"}
        if action == "BootNotification":
            return {**accepted, "currentTime": now, "interval": 300}
        if action == "Heartbeat":
            return {"currentTime": now}
        if action == "StartTransaction":
            return {"transactionId": next(self._transactions), "idTagInfo": accepted}
        if action == "Authorize":
            return {"idTagInfo": accepted} if "idTag" in payload else {"idTokenInfo": accepted}
        return {}

    def wait(self, action: str, count: int = 1, **fields: Any) -> Any:
        """Wait for so many CALLs of that action with those fields; return the payload of the last."""
        found: list[Any] = []

        def enough(items: list[Any]) -> bool:
            found[:] = [payload for name, payload in items if name == action and fields.items() <= payload.items()]
            return len(found) >= count

        self.history.wait_until(enough)
        return found[count - 1]


class OcppPackage(ForeignCentralSystem):
    """The `ocpp` package, on an event loop of its own."""

    def __init__(self, version: Version) -> None:
        super().__init__()
        self._version: Version = version
        self._loop = asyncio.new_event_loop()
        self._peer: Peer | None = None

    def ask(self, action: str, payload: Any) -> Any:
        """Send a request over the newest connection; return the answer."""
        assert self._peer is not None
        asking = self._peer.ask(as_call(action, payload, self._version))
        return as_payload(asyncio.run_coroutine_threadsafe(asking, self._loop).result(DEADLINE))

    async def serve(self, listening: Future[asyncio.Event]) -> None:
        """Serve connections until the event is set that ``listening`` gets."""
        subprotocols = [Subprotocol(SUBPROTOCOL_OF[self._version])]
        async with serve(self._attend, "127.0.0.1", 0, subprotocols=subprotocols, close_timeout=1) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            closing = asyncio.Event()
            listening.set_result(closing)
            await closing.wait()

    async def _attend(self, websocket: ServerConnection) -> None:
        peer = self._peer = Peer("central_system", websocket, version=self._version)

        async def answer(action: str, fields: Any) -> Any:
            # On another thread: what `on_call` does may take its time.
            payload = peer.wire.received[-1][3]
            return as_result(action, await asyncio.to_thread(self.answer, action, payload), self._version)

        peer.handler = answer
        peer.overlapping = True
        try:
            await peer.serve()
        except ConnectionClosed:
            pass  # the line broke
        except Exception as error:
            self.faults(repr(error))


class OcppRpc(ForeignCentralSystem):
    """ocpp-rpc, in a process of Node.js."""

    def __init__(self, version: Version, modules: Path) -> None:
        super().__init__()
        node = shutil.which("node")
        assert node is not None
        self._process = subprocess.Popen(
            [node, _PROGRAM, SUBPROTOCOL_OF[version]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NODE_PATH": str(modules)},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._lock = threading.Lock()  # one thread writes a line
        self._numbers = itertools.count(1)
        self._answered: dict[int, Future[Any]] = {}
        self.port = json.loads(self._stdout.readline())["port"]
        self._calls = ThreadPoolExecutor(1, "ocpp-rpc-calls")
        self._reader = threading.Thread(target=self._read, name="ocpp-rpc")
        self._reader.start()

    def ask(self, action: str, payload: Any) -> Any:
        """Send a request over the newest connection; return the answer."""
        number, future = next(self._numbers), Future[Any]()
        self._answered[number] = future
        self._write({"request": number, "action": action, "payload": payload})
        return future.result(DEADLINE)

    def close(self) -> None:
        """End the process."""
        self._stdin.close()
        assert self._process.wait(DEADLINE) == 0
        self._reader.join(DEADLINE)
        self._calls.shutdown()
        self._stdout.close()

    def _write(self, line: Any) -> None:
        with self._lock:
            self._stdin.write(json.dumps(line) + "\n")
            self._stdin.flush()

    def _read(self) -> None:
        # Ends: with the process.
        for text in self._stdout:
            line = json.loads(text)
            if "call" in line:
                self._calls.submit(self._handle, line)
            elif "error" in line:
                self._answered[line["answered"]].set_exception(RuntimeError(line["error"]))
            elif "answered" in line:
                self._answered[line["answered"]].set_result(line["payload"])
            elif "fault" in line:
                self.faults(line["fault"])

    def _handle(self, line: Any) -> None:
        payload = self.answer(line["action"], line["payload"])
        with contextlib.suppress(ValueError, OSError):  # it has ended
            self._write({"answer": line["call"], "payload": payload})


@contextlib.contextmanager
def ocpp_package(version: Version) -> Iterator[ForeignCentralSystem]:
    """Run the `ocpp` package."""
    central_system = OcppPackage(version)
    listening: Future[asyncio.Event] = Future()
    with ThreadPoolExecutor(1, "foreign") as thread:
        loop = central_system._loop
        ended = thread.submit(loop.run_until_complete, central_system.serve(listening))
        closing = listening.result(DEADLINE)
        try:
            yield central_system
        finally:
            loop.call_soon_threadsafe(closing.set)
            ended.result(DEADLINE)
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
    assert central_system.faults.items == []


@contextlib.contextmanager
def ocpp_rpc(version: Version, modules: Path) -> Iterator[ForeignCentralSystem]:
    """Run ocpp-rpc, which is installed in ``modules``."""
    central_system = OcppRpc(version, modules)
    try:
        yield central_system
    finally:
        central_system.close()
    assert central_system.faults.items == []

"""The `ocpp` package as the peer at the other end, in either role, on an event loop in a thread of its own.

Everything is done the package's own way (its dataclasses, its conversion of names, its schemas), so that what arrives
here is what its users send.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from decimal import Decimal
from typing import Any, cast

from ocpp.charge_point import camel_to_snake_case, remove_nones, serialize_as_dict, snake_to_camel_case
from ocpp.routing import after, on
from ocpp.v16 import ChargePoint as PackageChargePoint
from ocpp.v16 import call, call_result
from support import DEADLINE
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedOK
from websockets.typing import Subprotocol

from ocppsync import CentralSystem, ChargePoint
from ocppsync.catalogue import Role, catalogue

CHARGE_POINT_ID = "CP1"
OTHER: Mapping[Role, Role] = {"charge_point": "central_system", "central_system": "charge_point"}
Attend = Callable[[Connection], Awaitable[None]]
_SUBPROTOCOLS = [Subprotocol("ocpp1.6")]


def actions_of(sender: Role) -> list[str]:
    """Return every action of 1.6 whose CALL that end may send."""
    catalogue_16 = catalogue("1.6")
    return [action for action in catalogue_16.actions if catalogue_16.may_send(sender, action)]


# Payloads: ours are the wire's own dicts, the package's are dataclasses with snake_case fields.


def as_call(action: str, payload: Mapping[str, Any]) -> Any:
    """Return the package's CALL that carries ``payload``."""
    return _as_dataclass(getattr(call, action), payload)


def as_result(action: str, payload: Mapping[str, Any]) -> Any:
    """Return the package's answer that carries ``payload``."""
    return _as_dataclass(getattr(call_result, action), payload)


def _as_dataclass(cls: Any, payload: Mapping[str, Any]) -> Any:
    # None for what is not there: some optional fields have no default, and SendLocalList would send an empty list.
    unset = {field.name: None for field in dataclasses.fields(cls)}
    return cls(**{**unset, **cast("dict[str, Any]", camel_to_snake_case(payload))})


def as_payload(fields: Any) -> Any:
    """Return the wire's payload for what the package handed out: a dataclass, or the arguments of a handler."""
    if dataclasses.is_dataclass(fields):
        fields = serialize_as_dict(fields)
    return _without_decimals(snake_to_camel_case(remove_nones(fields)))


def _without_decimals(value: Any) -> Any:
    # The package reads the numbers of charging profiles as Decimal.
    if isinstance(value, dict):
        return {key: _without_decimals(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_decimals(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


# The peer.


class Wire:
    """A websocket that keeps every frame that it carried."""

    def __init__(self, websocket: Connection) -> None:
        self.websocket = websocket
        self.received: list[Any] = []
        self.sent: list[Any] = []

    async def recv(self) -> Any:
        text = await self.websocket.recv()
        self.received.append(json.loads(text))
        return text

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))
        await self.websocket.send(text)


def _unexpected(action: str, fields: dict[str, Any]) -> Any:
    raise AssertionError(f"nobody expected {action}")


class Peer(PackageChargePoint):
    """The package's end of a connection, for either role, with a handler for every action it can be sent.

    Attributes:
        loop: the event loop it lives on.
        wire: what went over the connection.
        handler: gives the answers, ``handler(action, fields)``; it may be a coroutine function.
        hook: runs after an answer, ``hook(action, fields)``, as the package's `after` does it.
        overlapping: read on while a handler runs. The package itself does not, so that a handler of its that awaits
            `call` waits for ever.
    """

    def __init__(self, role: Role, websocket: Connection, *, skip_schema_validation: bool = False) -> None:
        self.loop = asyncio.get_running_loop()
        self.wire = Wire(websocket)
        self.handler: Callable[[str, dict[str, Any]], Any] = _unexpected
        self.hook: Callable[[str, dict[str, Any]], Any] = lambda action, fields: None
        self.overlapping = False
        self._tasks: set[asyncio.Task[None]] = set()
        for action in actions_of(OTHER[role]):
            setattr(self, f"on_{action}", on(action, skip_schema_validation=skip_schema_validation)(self._on(action)))
            setattr(self, f"after_{action}", after(action)(self._after(action)))
        super().__init__(CHARGE_POINT_ID, self.wire, response_timeout=int(DEADLINE))

    def _on(self, action: str) -> Callable[..., Any]:
        async def handle(**fields: Any) -> Any:
            answer = self.handler(action, fields)
            return await answer if inspect.isawaitable(answer) else answer

        handle.__name__ = f"on_{action}"  # the package finds handlers by their names
        return handle

    def _after(self, action: str) -> Callable[..., Any]:
        def handle(**fields: Any) -> Any:
            return self.hook(action, fields)

        handle.__name__ = f"after_{action}"
        return handle

    async def route_message(self, raw_msg: Any) -> None:
        if not self.overlapping:
            await super().route_message(raw_msg)
            return
        task = asyncio.create_task(super().route_message(raw_msg))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def ask(self, request: Any, *, skip_schema_validation: bool = False) -> Any:
        """Send a CALL; return the package's view of the answer, or raise its exception."""
        return await self.call(request, suppress=False, skip_schema_validation=skip_schema_validation)

    async def serve(self) -> None:
        """Serve the connection until it ends, which it must do in order."""
        with contextlib.suppress(ConnectionClosedOK):
            await self.start()


# Both ends and what is between them.


class Link:
    """One connection between this library and the package.

    Attributes:
        role: this library's end.
        foreign: the package's end.
        handler: gives this library's answers, ``handler(request, metadata)``.
        submit: sends a CALL of ours, ``submit(action, payload)``, and returns the future of the answer.
        stuck: whether an answer never came, so that the CALLs behind it wait as well.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.foreign: Peer
        self.handler: Callable[[Any, Any], Any] = _unexpected
        self.submit: Callable[[str, Any], Future[Any]]
        self.stuck = False

    def handle(self, request: Any, metadata: Any) -> Any:
        return self.handler(request, metadata)

    def wait(self, answer: Future[Any]) -> Any:
        """Return the answer."""
        try:
            return answer.result(DEADLINE)
        except (TimeoutError, FutureTimeoutError, asyncio.TimeoutError):
            self.stuck = True
            raise

    def ask(self, action: str, payload: Any) -> Any:
        """Send a CALL of ours; return the answer."""
        return self.wait(self.submit(action, payload))

    def submit_theirs(self, request: Any, *, skip_schema_validation: bool = False) -> Future[Any]:
        """Let the package send its CALL; return the future of its view of the answer."""
        sending = self.foreign.ask(request, skip_schema_validation=skip_schema_validation)
        return asyncio.run_coroutine_threadsafe(sending, self.foreign.loop)

    def be_asked(self, request: Any, *, skip_schema_validation: bool = False) -> Any:
        """Let the package send its CALL; return its view of the answer, or raise its exception."""
        return self.wait(self.submit_theirs(request, skip_schema_validation=skip_schema_validation))


@contextlib.contextmanager
def linked(role: Role, *, compression: bool = False, skip_schema_validation: bool = False) -> Iterator[Link]:
    """Connect this library, in that role, with the package in the other one.

    Args:
        role: what this library is.
        compression: accept or offer permessage-deflate here; the package's side always does.
        skip_schema_validation: let the package answer whatever its handlers return.
    """
    link = Link(role)
    opened: Future[Peer] = Future()

    async def attend(websocket: Connection) -> None:
        peer = Peer(OTHER[role], websocket, skip_schema_validation=skip_schema_validation)
        opened.set_result(peer)
        await peer.serve()

    connecting = _with_charge_point if role == "central_system" else _with_central_system
    with ThreadPoolExecutor(1, "foreign") as thread, connecting(link, thread, attend, compression):
        link.foreign = opened.result(DEADLINE)
        yield link


@contextlib.contextmanager
def _with_charge_point(link: Link, thread: ThreadPoolExecutor, attend: Attend, compression: bool) -> Iterator[None]:
    connected = threading.Event()
    cs: Any = CentralSystem(0, link.handle, host="127.0.0.1", compression=compression, registration_gate=False)
    cs.add_connection_listener(lambda charge_point_id, status: connected.set())
    with cs:
        ended = thread.submit(asyncio.run, _charge_point(cs.port, attend))
        assert connected.wait(DEADLINE)
        link.submit = lambda action, payload: cs.submit_request(CHARGE_POINT_ID, action, payload)
        yield
    ended.result(DEADLINE)


async def _charge_point(port: int, attend: Attend) -> None:
    url = f"ws://127.0.0.1:{port}/ocpp/{CHARGE_POINT_ID}"
    async with connect(url, subprotocols=_SUBPROTOCOLS) as websocket:
        await attend(websocket)


@contextlib.contextmanager
def _with_central_system(link: Link, thread: ThreadPoolExecutor, attend: Attend, compression: bool) -> Iterator[None]:
    listening: Future[int] = Future()
    ended = thread.submit(asyncio.run, _central_system(listening, attend))
    url = f"ws://127.0.0.1:{listening.result(DEADLINE)}/ocpp"
    cp: Any = ChargePoint(CHARGE_POINT_ID, link.handle, url, compression=compression, registration_gate=False)
    with cp:
        link.submit = cp.submit_request
        yield
    ended.result(DEADLINE)


async def _central_system(listening: Future[int], attend: Attend) -> None:
    # Serves one connection.
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def attend_and_end(websocket: ServerConnection) -> None:
        try:
            await attend(websocket)
        except Exception as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    async with serve(attend_and_end, "127.0.0.1", 0, subprotocols=_SUBPROTOCOLS) as server:
        listening.set_result(next(iter(server.sockets)).getsockname()[1])
        await ended

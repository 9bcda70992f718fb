"""The `ocpp` package as the peer at the other end, in either role, on an event loop in a thread of its own.

Everything is done the package's own way (its dataclasses, its conversion of names, its schemas), so that what arrives
here is what its users send.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import json
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from decimal import Decimal
from typing import Any, cast

from ocpp import v16, v201
from ocpp.charge_point import ChargePoint as PackageChargePoint
from ocpp.charge_point import camel_to_snake_case, remove_nones, serialize_as_dict, snake_to_camel_case
from ocpp.messages import Call, validate_payload
from ocpp.routing import after, on
from support import DEADLINE
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedOK
from websockets.typing import Subprotocol

from ocppsync import CentralSystem, ChargePoint
from ocppsync.validation.catalogue import SUBPROTOCOLS, Role, Version, catalogue

CHARGE_POINT_ID = "CP1"
OTHER: Mapping[Role, Role] = {"charge_point": "central_system", "central_system": "charge_point"}
Attend = Callable[[Connection], Awaitable[None]]
PACKAGES: dict[str, Any] = {"1.6": v16, "2.0.1": v201}
if importlib.util.find_spec("ocpp.v21") is not None:
    # The package's last release for Python 3.10 has no OCPP 2.1.
    PACKAGES["2.1"] = importlib.import_module("ocpp.v21")
"""The package's dataclasses and its ChargePoint, by version."""
_SUBPROTOCOL_OF = {version: Subprotocol(name) for name, version in SUBPROTOCOLS.items()}


def actions_of(sender: Role, version: Version = "1.6") -> list[str]:
    """Return every action of a version whose CALL that end may send."""
    entries = catalogue(version)
    return [action for action in entries.actions if entries.may_send(sender, action) and not entries.is_send(action)]


# Payloads: ours are the wire's own dicts, the package's are dataclasses with snake_case fields.


def as_call(action: str, payload: Mapping[str, Any], version: Version = "1.6") -> Any:
    """Return the package's CALL that carries ``payload``."""
    return _as_dataclass(getattr(PACKAGES[version].call, action), payload)


def as_result(action: str, payload: Mapping[str, Any], version: Version = "1.6") -> Any:
    """Return the package's answer that carries ``payload``."""
    return _as_dataclass(getattr(PACKAGES[version].call_result, action), payload)


def _as_dataclass(cls: Any, payload: Mapping[str, Any]) -> Any:
    # None for what is not there: some optional fields have no default, and SendLocalList would send an empty list.
    unset = {field.name: None for field in dataclasses.fields(cls)}
    fields = cast("dict[str, Any]", camel_to_snake_case(payload))
    # In 2.1 the package has another name for them when it sends than when it receives.
    return cls(
        **unset | {name if name in unset else name.replace("iso15118", "iso_15118"): fields[name] for name in fields}
    )


def as_fields(fields: Any) -> Any:
    """Return as dicts what the package handed out: a dataclass, or the arguments of a handler."""
    return remove_nones(serialize_as_dict(fields) if dataclasses.is_dataclass(fields) else fields)


def as_payload(fields: Any) -> Any:
    """Return the wire's payload for what the package handed out."""
    return _without_decimals(snake_to_camel_case(as_fields(fields)))


def _without_decimals(value: Any) -> Any:
    # The package reads the numbers of charging profiles as Decimal.
    if isinstance(value, dict):
        return {key: _without_decimals(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_decimals(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


@dataclasses.dataclass(frozen=True)
class Raw:
    """A CALL whose payload goes out as it is: checked by the package, but spared its dataclass and its conversion."""

    action: str
    payload: Mapping[str, Any]


# The peer.


class Wire:
    """A websocket that keeps every frame that it carried.

    Attributes:
        hook: called with each frame that comes, before the package has it.
    """

    def __init__(self, websocket: Connection) -> None:
        self.websocket = websocket
        self.received: list[Any] = []
        self.sent: list[Any] = []
        self.hook: Callable[[Any], object] = lambda frame: None

    async def recv(self) -> Any:
        text = await self.websocket.recv()
        self.received.append(json.loads(text))
        self.hook(self.received[-1])
        return text

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))
        await self.websocket.send(text)


def _unexpected(action: str, fields: dict[str, Any]) -> Any:
    raise AssertionError(f"nobody expected {action}")


class Peer(PackageChargePoint):
    """The package's end of a connection, for either role, with a handler for every action it can be sent.

    Attributes:
        version: the version it speaks.
        loop: the event loop it lives on.
        wire: what went over the connection.
        handler: gives the answers, ``handler(action, fields)``; it may be a coroutine function.
        raw_answers: the actions that the handler gives a payload of the wire for, instead of a dataclass.
        hook: runs after an answer, ``hook(action, fields)``, as the package's `after` does it.
        overlapping: read on while a handler runs. The package itself does not, so that a handler of its that awaits
            `call` waits for ever.
    """

    def __init__(
        self, role: Role, websocket: Connection, *, version: Version = "1.6", skip_schema_validation: bool = False
    ) -> None:
        self.version: Version = version
        # What the package's ChargePoint of each version consists of.
        package = PACKAGES[version].ChargePoint
        self._call, self._call_result, self._ocpp_version = package._call, package._call_result, package._ocpp_version
        self.loop = asyncio.get_running_loop()
        self.wire = Wire(websocket)
        self.handler: Callable[[str, dict[str, Any]], Any] = _unexpected
        self.hook: Callable[[str, dict[str, Any]], Any] = lambda action, fields: None
        self.raw_answers: set[str] = set()
        self.overlapping = False
        self._tasks: set[asyncio.Task[None]] = set()
        for action in actions_of(OTHER[role], version):
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
        """Send a CALL; return the package's view of the answer, or raise its exception.

        That of a `Raw` CALL is the payload of the wire.
        """
        if isinstance(request, Raw):
            return await self._ask_raw(request)
        return await self.call(request, suppress=False, skip_schema_validation=skip_schema_validation)

    async def _ask_raw(self, request: Raw) -> Any:
        raw = Call(str(uuid.uuid4()), request.action, request.payload)
        await validate_payload(raw, self._ocpp_version)
        await self._send(raw.to_json())
        answer = await self._get_specific_response(raw.unique_id, DEADLINE)
        answer.action = request.action
        await validate_payload(answer, self._ocpp_version)
        return answer.payload

    async def _handle_call(self, msg: Any) -> None:
        if msg.action not in self.raw_answers:
            await super()._handle_call(msg)
            return
        await validate_payload(msg, self._ocpp_version)
        payload = self.handler(msg.action, cast("dict[str, Any]", camel_to_snake_case(msg.payload)))
        answer = msg.create_call_result(payload)
        await validate_payload(answer, self._ocpp_version)
        await self._send(answer.to_json())

    async def serve(self) -> None:
        """Serve the connection until it ends, which it must do in order."""
        with contextlib.suppress(ConnectionClosedOK):
            await self.start()


# Both ends and what is between them.


class Link:
    """One connection between this library and the package.

    Attributes:
        role: this library's end.
        version: the version that is spoken.
        foreign: the package's end.
        handler: gives this library's answers, ``handler(request, metadata)``.
        submit: sends a CALL of ours, ``submit(action, payload)``, and returns the future of the answer.
        send: sends a SEND of ours, ``send(action, payload)``.
        stuck: whether an answer never came, so that the CALLs behind it wait as well.
    """

    def __init__(self, role: Role, version: Version = "1.6") -> None:
        self.role = role
        self.version: Version = version
        self.foreign: Peer
        self.handler: Callable[[Any, Any], Any] = _unexpected
        self.submit: Callable[[str, Any], Future[Any]]
        self.send: Callable[[str, Any], None]
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
def linked(
    role: Role,
    *,
    version: Version = "1.6",
    compression: bool | None = None,
    skip_schema_validation: bool = False,
) -> Iterator[Link]:
    """Connect this library, in that role, with the package in the other one.

    Args:
        role: what this library is.
        version: what both speak.
        compression: accept or offer permessage-deflate here, by default as the version has it; the package's side
            always does.
        skip_schema_validation: let the package answer whatever its handlers return.
    """
    link = Link(role, version)
    opened: Future[Peer] = Future()

    async def attend(websocket: Connection) -> None:
        peer = Peer(OTHER[role], websocket, version=version, skip_schema_validation=skip_schema_validation)
        opened.set_result(peer)
        await peer.serve()

    connecting = _with_charge_point if role == "central_system" else _with_central_system
    with ThreadPoolExecutor(1, "foreign") as thread, connecting(link, thread, attend, compression):
        link.foreign = opened.result(DEADLINE)
        yield link


@contextlib.contextmanager
def visiting(cs: CentralSystem, version: Version) -> Iterator[Peer]:
    """Connect the package as a charge point of that version with a central system that runs."""
    opened: Future[Peer] = Future()

    async def attend(websocket: Connection) -> None:
        peer = Peer("charge_point", websocket, version=version)
        opened.set_result(peer)
        await peer.serve()

    assert cs.port is not None
    with ThreadPoolExecutor(1, "foreign") as thread:
        ended = thread.submit(asyncio.run, _charge_point(cs.port, version, attend))
        peer = opened.result(DEADLINE)
        try:
            yield peer
        finally:
            asyncio.run_coroutine_threadsafe(peer.wire.websocket.close(), peer.loop).result(DEADLINE)
            ended.result(DEADLINE)


@contextlib.contextmanager
def _with_charge_point(
    link: Link, thread: ThreadPoolExecutor, attend: Attend, compression: bool | None
) -> Iterator[None]:
    connected = threading.Event()
    cs: Any = CentralSystem(0, link.handle, host="127.0.0.1", compression=compression, enforce_registration=False)
    cs.add_connection_listener(lambda charge_point_id, status: connected.set())
    with cs:
        ended = thread.submit(asyncio.run, _charge_point(cs.port, link.version, attend))
        assert connected.wait(DEADLINE)
        link.submit = lambda action, payload: cs.submit_request(CHARGE_POINT_ID, action, payload)
        link.send = lambda action, payload: cs.send(CHARGE_POINT_ID, action, payload)
        yield
    ended.result(DEADLINE)


async def _charge_point(port: int, version: Version, attend: Attend) -> None:
    url = f"ws://127.0.0.1:{port}/ocpp/{CHARGE_POINT_ID}"
    async with connect(url, subprotocols=[_SUBPROTOCOL_OF[version]]) as websocket:
        await attend(websocket)


@contextlib.contextmanager
def _with_central_system(
    link: Link, thread: ThreadPoolExecutor, attend: Attend, compression: bool | None
) -> Iterator[None]:
    listening: Future[int] = Future()
    ended = thread.submit(asyncio.run, _central_system(listening, link.version, attend))
    url = f"ws://127.0.0.1:{listening.result(DEADLINE)}/ocpp"
    cp: Any = ChargePoint(
        CHARGE_POINT_ID,
        link.handle,
        url,
        protocols=[_SUBPROTOCOL_OF[link.version]],
        compression=compression,
        enforce_registration=False,
    )
    with cp:
        link.submit, link.send = cp.submit_request, cp.send
        yield
    ended.result(DEADLINE)


async def _central_system(listening: Future[int], version: Version, attend: Attend) -> None:
    # Serves one connection.
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def attend_and_end(websocket: ServerConnection) -> None:
        try:
            await attend(websocket)
        except Exception as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    async with serve(attend_and_end, "127.0.0.1", 0, subprotocols=[_SUBPROTOCOL_OF[version]]) as server:
        listening.set_result(next(iter(server.sockets)).getsockname()[1])
        await ended

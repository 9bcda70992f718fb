"""Plays the charge point's side of a recorded conversation, and tells where the central system answers otherwise."""

from __future__ import annotations

import contextlib
import json
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..central_system import CentralSystem
from ..journal import Entry, RecordedSession, read_journal
from ..rpc.context import peer_name
from ..rpc.frames import CALL, CALLERROR, CALLRESULT
from ..validation.catalogue import SUBPROTOCOL_OF, SUBPROTOCOLS, Version
from ..wire.endpoint import Endpoint, open_websocket
from ..wire.transport import TransportClosedError
from ..wire.websocket import WebSocket
from .links import has_threads, link_in_memory
from .payload_diff import payload_differences
from .script import shown

__all__ = ["Difference", "assert_replays", "replay"]

IGNORED = frozenset({"currentTime"})
"""Fields that differ from one time to the next, wherever they stand."""
_WRITE_TIMEOUT = 20.0
_LARGEST = 64 * 1024 * 1024
_Received = list[Any] | str | None
"""A message, what is none, or the end."""


@dataclass(frozen=True)
class Difference:
    """Something that went otherwise than it was recorded."""

    charge_point_id: str
    time: str
    """When that was recorded."""
    message: str

    def __str__(self) -> str:
        return f"{self.charge_point_id} {self.time}: {self.message}"


def replay(
    session: RecordedSession,
    at: str | CentralSystem,
    *,
    charge_point_id: str | None = None,
    timeout: float = 10.0,
    ignore: Iterable[str] = IGNORED,
    ssl_context: ssl.SSLContext | None = None,
) -> list[Difference]:
    """Play one connection of a journal that a central system wrote, and return what differs.

    The charge point's messages are sent as they were recorded, one after the other; each waits for what came back then.
    Where StartTransaction is answered with another transactionId, that one is used from there on.

    Args:
        session: what is played; see `read_journal`.
        at: the central system's endpoint without the identity; or itself, started, to be played to in memory.
        charge_point_id: another identity than the recorded one.
        timeout: seconds to wait for each message of the central system.
        ignore: fields whose values may differ.
        ssl_context: for a wss URL, such as `client_context` makes; None: whom the system trusts is trusted.

    Raises:
        HandshakeError: the central system does not let the charge point in.
    """
    player = _Player(session, timeout, frozenset(ignore))
    identity = charge_point_id or session.charge_point_id
    line: _Line
    if isinstance(at, str):
        line = _Socket(_connect(Endpoint(at, identity), session, timeout, ssl_context), player)
    else:
        line = _Memory(at, identity, session, player)
    try:
        return player.play(line)
    finally:
        line.close(timeout)


def assert_replays(path: str | Path, at: str | CentralSystem, **options: Any) -> None:
    """Play every connection of a journal; raise AssertionError that lists the differences, if there are any.

    So a conversation from the field becomes a test case. ``at`` and ``options`` are those of `replay`.
    """
    differences = [one for session in read_journal(path) for one in replay(session, at, **options)]
    if differences:
        raise AssertionError("the central system answers otherwise:\n" + "\n".join(map(str, differences)))


def _connect(
    endpoint: Endpoint, session: RecordedSession, timeout: float, ssl_context: ssl.SSLContext | None
) -> WebSocket:
    return open_websocket(
        endpoint,
        deadline=time.monotonic() + timeout,
        subprotocols=[SUBPROTOCOL_OF.get(session.version, f"ocpp{session.version}")],
        ssl_context=ssl_context,
        write_timeout=_WRITE_TIMEOUT,
        max_message_size=_LARGEST,
        name=session.charge_point_id,
        peer=peer_name("charge_point", session.charge_point_id),
    )


class _Line(Protocol):
    """What carries the messages of a player."""

    def send_nowait(self, text: str) -> None:
        """Send a message; raises `TransportClosedError`."""

    def next(self, received: queue.SimpleQueue[_Received], timeout: float) -> _Received:
        """Return the next message, or None at the end; raises `queue.Empty` when none comes in time."""
        raise NotImplementedError

    def close(self, timeout: float) -> None:
        """End the connection."""


class _Socket:
    """A connection over a socket, with a thread that reads."""

    def __init__(self, websocket: WebSocket, player: _Player) -> None:
        self._websocket = websocket
        self._player = player
        self._reader = threading.Thread(target=self._read, name="ocppsync-replay", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Ends: receive returns None at the end of the connection.
        while (text := self._websocket.receive()) is not None:
            self._player.take(text)
        self._websocket.release()
        self._player.end()

    def send_nowait(self, text: str) -> None:
        self._websocket.send_nowait(text)

    def next(self, received: queue.SimpleQueue[_Received], timeout: float) -> _Received:
        return received.get(timeout=timeout)

    def close(self, timeout: float) -> None:
        self._websocket.close()
        self._reader.join(timeout)
        self._websocket.abort()
        self._reader.join(timeout)


class _Memory:
    """A connection in memory, to a central system in this process."""

    def __init__(self, cs: CentralSystem, identity: str, session: RecordedSession, player: _Player) -> None:
        spoken: Mapping[str, Version] = {version: version for version in SUBPROTOCOLS.values()}
        version = spoken.get(session.version)
        if version is None:
            raise ValueError(f"OCPP {session.version!r} is not spoken here")
        endpoint = Endpoint("ws://127.0.0.1", identity)
        self._inline = not has_threads(cs)
        self._link = link_in_memory(cs, endpoint, version, [], take=player.take, ended=player.end)
        if self._inline:
            player.answer_at_once = self.send_nowait
        self._link.start()

    def send_nowait(self, text: str) -> None:
        self._link.transport.send_nowait(text)

    def next(self, received: queue.SimpleQueue[_Received], timeout: float) -> _Received:
        self._link.run_handlers()
        # Without threads, what has not come by now never will.
        return received.get(timeout=0 if self._inline else timeout)

    def close(self, timeout: float) -> None:
        self._link.transport.close()
        self._link.join(timeout)


class _Player:
    """Plays one connection.

    Attributes:
        answer_at_once: posts the answer to what is asked as soon as that comes, for a central system that waits for it
            on the thread that plays; None: it has its turn.
    """

    def __init__(self, session: RecordedSession, timeout: float, ignored: frozenset[str]) -> None:
        self._session = session
        self._timeout = timeout
        self._ignored = ignored
        self._received: queue.SimpleQueue[_Received] = queue.SimpleQueue()
        self._waiting: list[list[Any]] = []  # what came before its turn
        self._ids: dict[str, str] = {}  # the central system's, recorded and now
        self._transactions: dict[Any, Any] = {}
        self._actions: dict[str, str] = {}  # of the charge point's CALLs
        self._differences: list[Difference] = []
        self.answer_at_once: Callable[[str], object] | None = None
        self._answered: set[Any] = set()  # the recorded ids of what was asked and had its answer at once

    def take(self, text: str) -> None:
        """Keep a message that came, until it is its turn."""
        message = _message(text)
        self._received.put(message or text)
        if self.answer_at_once is not None and message is not None and message[0] == CALL:
            with contextlib.suppress(TransportClosedError):
                self._answer(message, self.answer_at_once)

    def _answer(self, message: list[Any], post: Callable[[str], object]) -> None:
        both = [(entry.direction, _message(entry.text)) for entry in self._session.entries]
        asked = (one for direction, one in both if direction == "out" and one and _corresponds(one, message))
        recorded = next((one[1] for one in asked if one[0] == CALL and one[1] not in self._answered), None)
        self._answered.add(recorded)
        for direction, one in both:
            if direction == "in" and one and one[0] in (CALLRESULT, CALLERROR) and one[1] == recorded:
                post(json.dumps([one[0], message[1], *one[2:]], ensure_ascii=False))
                return

    def end(self) -> None:
        """Note that nothing more comes."""
        self._received.put(None)

    def play(self, line: _Line) -> list[Difference]:
        """Play all of it, and return what differs."""
        for entry in self._session.entries:
            message = _message(entry.text)
            if entry.direction == "in":
                self._send(line, entry, message)
            elif message is not None:
                self._expect(line, entry, message)
        return self._differences

    def _send(self, line: _Line, entry: Entry, message: list[Any] | None) -> None:
        text = entry.text
        if message is not None:
            if message[0] == CALL:
                self._actions[message[1]] = str(message[2])
                if self._transactions and len(message) > 3:
                    text = json.dumps([*message[:3], self._renumbered(message[3])], ensure_ascii=False)
            elif message[0] in (CALLRESULT, CALLERROR):
                if message[1] not in self._ids or message[1] in self._answered:
                    return  # its CALL never came, which is told already, or has its answer
                text = json.dumps([message[0], self._ids[message[1]], *message[2:]], ensure_ascii=False)
        try:
            line.send_nowait(text)
        except TransportClosedError as error:
            self._differs(entry, f"the connection has ended: {error}")

    def _renumbered(self, payload: Any) -> Any:
        if not isinstance(payload, dict) or not isinstance(payload.get("transactionId"), int):
            return payload
        number = payload["transactionId"]
        return {**payload, "transactionId": self._transactions.get(number, number)}

    def _expect(self, line: _Line, entry: Entry, message: list[Any]) -> None:
        what = _described(message, self._actions)
        found = self._find(line, entry, message)
        if found is None:
            self._differs(entry, f"{what} did not come within {self._timeout:g} s")
            return
        if message[0] == CALL:
            self._ids[message[1]] = found[1]
        elif message[0] != found[0]:
            self._differs(entry, f"{what} was expected, and {_described(found, self._actions)} came")
            return
        wanted, got = message[2:], found[2:]
        if self._actions.get(message[1]) == "StartTransaction" and message[0] == CALLRESULT:
            self._note_transaction(wanted[0], got[0])
        if message[0] == CALLERROR:
            wanted, got = wanted[:1], got[:1]  # the description is for people
        differences = payload_differences(self._renumbered(wanted[-1]), got[-1], ignored=self._ignored)
        for path, before, now in differences:
            self._differs(entry, f"{what}: {path or 'it'} was {shown(before)}, and is {shown(now)}")

    def _note_transaction(self, before: Any, now: Any) -> None:
        if isinstance(before, dict) and isinstance(now, dict) and "transactionId" in before and "transactionId" in now:
            self._transactions[before["transactionId"]] = now["transactionId"]
            before["transactionId"] = now["transactionId"]

    def _find(self, line: _Line, entry: Entry, message: list[Any]) -> list[Any] | None:
        """Return what came in the place of a recorded message; None if nothing did in time."""
        deadline = time.monotonic() + self._timeout
        while True:
            for candidate in self._waiting:
                if _corresponds(message, candidate):
                    self._waiting.remove(candidate)
                    return candidate
            try:
                received = line.next(self._received, max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if received is None:
                self._received.put(None)
                return None
            if isinstance(received, str):
                self._differs(entry, f"what came is no message of OCPP: {shown(received)}")
            else:
                self._waiting.append(received)

    def _differs(self, entry: Entry, message: str) -> None:
        self._differences.append(Difference(self._session.charge_point_id, entry.time, message))


def _message(text: str) -> list[Any] | None:
    """Return a message, or None for what cannot be one: there may be anything at the other end."""
    try:
        message = json.loads(text)
    except ValueError:
        return None
    right = isinstance(message, list) and len(message) > 2 and isinstance(message[1], (str, int))
    return message if right else None


def _corresponds(recorded: list[Any], candidate: list[Any]) -> bool:
    if recorded[0] == CALL or candidate[0] == CALL:
        called: bool = candidate[0] == recorded[0] and candidate[2] == recorded[2]
        return called
    same: bool = candidate[1] == recorded[1]
    return same


def _described(message: list[Any], actions: Mapping[str, str]) -> str:
    if message[0] == CALL:
        return f"the CALL {message[2]}"
    kind = {CALLRESULT: "CALLRESULT", CALLERROR: f"CALLERROR {message[2]}"}.get(message[0], f"type {message[0]}")
    return f"the {kind} to {actions.get(message[1], message[1])}"

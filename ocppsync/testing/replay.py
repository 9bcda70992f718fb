"""Replays the charge point's side of a recorded connection, and finds differences in the central system's messages."""

from __future__ import annotations

import contextlib
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
from ..json_text import read, rewrite
from ..masking.messages import masked, masked_text
from ..masking.outlines import MASK
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
"""Names of fields that differ in each run, at any depth."""
_WRITE_TIMEOUT = 20.0  # seconds
_MAX_MESSAGE = 64 * 1024 * 1024  # bytes
_Received = list[Any] | str | None
"""A message, a text that is not an OCPP-J message, or None at the end of the connection."""


@dataclass(frozen=True)
class Difference:
    """A difference between the recording and the replay."""

    charge_point_id: str
    time: str
    """The time of the recorded message."""
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
    """Replay one connection of a central system's journal, and return the differences.

    The charge point's messages are sent as recorded, in order. Before the next one, the replay waits for the central
    system's messages that were recorded in between. If StartTransaction gets another transactionId, the replay uses it
    from then on.

    Args:
        session: the recorded connection; see `read_journal`.
        at: the endpoint of the central system without the identity, or a started central system, to replay in memory.
        charge_point_id: the identity; None: the recorded one.
        timeout: seconds to wait for each message of the central system.
        ignore: names of fields that may differ.
        ssl_context: for a wss URL, see `client_context`; None: the system trust store.

    Raises:
        HandshakeError: there is no connection, or the central system refused it.
        ValueError: ``at`` is not a ws or wss URL, or the recorded version is not supported.
    """
    version = _version_of(session)
    player = _Player(session, timeout, frozenset(ignore))
    identity = charge_point_id or session.charge_point_id
    connection: _Connection
    if isinstance(at, str):
        connection = _SocketConnection(_connect(Endpoint(at, identity), version, timeout, ssl_context), player)
    else:
        connection = _MemoryConnection(at, identity, version, player)
    try:
        return player.play(connection)
    finally:
        connection.close(timeout)


def assert_replays(path: str | Path, at: str | CentralSystem, **options: Any) -> None:
    """Replay every connection of a journal, and raise AssertionError with the differences if there are any.

    A journal without messages raises it, too: a test of it would test nothing. This turns a recording from the field
    into a test case. ``at`` and ``options`` are those of `replay`. Lines of the journal that cannot be read are
    skipped, and logged as warnings. Raises what `read_journal` and `replay` raise.
    """
    sessions = read_journal(path)
    if not sessions:
        raise AssertionError(f"{path}: it has no messages to replay")
    differences = [difference for session in sessions for difference in replay(session, at, **options)]
    if differences:
        text = "\n".join(map(str, differences))
        raise AssertionError(f"the central system's messages differ from the journal:\n{text}")


def _version_of(session: RecordedSession) -> Version:
    versions: Mapping[str, Version] = {version: version for version in SUBPROTOCOLS.values()}
    version = versions.get(session.version)
    if version is None:
        raise ValueError(f"unsupported OCPP version {session.version!r}; supported: {', '.join(versions)}")
    return version


def _connect(endpoint: Endpoint, version: Version, timeout: float, ssl_context: ssl.SSLContext | None) -> WebSocket:
    return open_websocket(
        endpoint,
        deadline=time.monotonic() + timeout,
        subprotocols=[SUBPROTOCOL_OF[version]],
        ssl_context=ssl_context,
        write_timeout=_WRITE_TIMEOUT,
        max_message_size=_MAX_MESSAGE,
        name=endpoint.charge_point_id,
        peer=peer_name("charge_point", endpoint.charge_point_id),
    )


class _Connection(Protocol):
    """The connection that a player uses."""

    def send_nowait(self, text: str) -> None:
        """Send a message; raises `TransportClosedError`."""

    def next(self, received: queue.SimpleQueue[_Received], timeout: float) -> _Received:
        """Return the next message, None at the end of the connection; raises `queue.Empty` after ``timeout``."""
        raise NotImplementedError

    def close(self, timeout: float) -> None:
        """End the connection."""


class _SocketConnection:
    """A connection over a socket, with a reader thread."""

    def __init__(self, websocket: WebSocket, player: _Player) -> None:
        self._websocket = websocket
        self._player = player
        self._reader = threading.Thread(target=self._read, name="ocppsync-replay", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Ends: receive returns None at the end of the connection.
        while (text := self._websocket.receive()) is not None:
            self._player.on_message(text)
        self._websocket.release()
        self._player.on_end()

    def send_nowait(self, text: str) -> None:
        self._websocket.send_nowait(text)

    def next(self, received: queue.SimpleQueue[_Received], timeout: float) -> _Received:
        return received.get(timeout=timeout)

    def close(self, timeout: float) -> None:
        self._websocket.close()
        self._reader.join(timeout)
        self._websocket.abort()
        self._reader.join(timeout)


class _MemoryConnection:
    """A connection in memory, to a central system in this process."""

    def __init__(self, cs: CentralSystem, identity: str, version: Version, player: _Player) -> None:
        endpoint = Endpoint("ws://127.0.0.1", identity)
        self._inline = not has_threads(cs)
        self._link = link_in_memory(cs, endpoint, version, [], on_message=player.on_message, on_end=player.on_end)
        if self._inline:
            player.answer_at_once = self.send_nowait
        self._link.start()

    def send_nowait(self, text: str) -> None:
        self._link.transport.send_nowait(text)

    def next(self, received: queue.SimpleQueue[_Received], timeout: float) -> _Received:
        self._link.run_handlers()
        # Without threads, all messages have arrived by now.
        return received.get(timeout=0 if self._inline else timeout)

    def close(self, timeout: float) -> None:
        self._link.transport.close()
        self._link.join(timeout)


class _Player:
    """Replays one connection.

    Attributes:
        answer_at_once: sends the answer as soon as a CALL arrives, for a central system that waits for it on the
            thread of the replay; None: answers are sent in the recorded order.
    """

    def __init__(self, session: RecordedSession, timeout: float, ignored: frozenset[str]) -> None:
        self._session = session
        self._timeout = timeout
        self._ignored = ignored
        self._received: queue.SimpleQueue[_Received] = queue.SimpleQueue()
        self._unmatched: list[list[Any]] = []  # received, but not compared with a recorded message yet
        self._ids: dict[str, str] = {}  # recorded to current message ids of the central system's CALLs
        self._transactions: dict[int, int] = {}  # recorded to current transactionIds
        self._actions: dict[str, str] = {}  # the actions of the charge point's CALLs, by message id
        self._differences: list[Difference] = []
        self.answer_at_once: Callable[[str], object] | None = None
        self._answered: set[Any] = set()  # recorded ids of the CALLs that were answered at once

    def on_message(self, text: str) -> None:
        """Queue a received message; answer a CALL if ``answer_at_once`` is set."""
        message = _parse(text)
        self._received.put(message or text)
        if self.answer_at_once is not None and message is not None and message[0] == CALL:
            with contextlib.suppress(TransportClosedError):
                self._answer(message, self.answer_at_once)

    def _answer(self, message: list[Any], send: Callable[[str], object]) -> None:
        entries = [(entry.direction, _parse(entry.text)) for entry in self._session.entries]
        calls = (one for direction, one in entries if direction == "out" and one and _corresponds(one, message))
        recorded = next((one[1] for one in calls if one[0] == CALL and one[1] not in self._answered), None)
        self._answered.add(recorded)
        for direction, one in entries:
            if direction == "in" and one and one[0] in (CALLRESULT, CALLERROR) and one[1] == recorded:
                send(rewrite([one[0], message[1], *one[2:]]))
                return

    def on_end(self) -> None:
        """Record the end of the connection."""
        self._received.put(None)

    def play(self, connection: _Connection) -> list[Difference]:
        """Replay all messages, and return the differences."""
        for entry in self._session.entries:
            message = _parse(entry.text)
            if entry.direction == "in":
                self._send(connection, entry, message)
            elif message is None:
                self._differs(entry, f"the journal has an invalid message: {shown(masked_text(entry.text))}")
            else:
                self._expect(connection, entry, message)
        return self._differences

    def _send(self, connection: _Connection, entry: Entry, message: list[Any] | None) -> None:
        text = entry.text
        if message is not None:
            if message[0] == CALL:
                self._actions[message[1]] = str(message[2])
                if self._transactions and len(message) > 3:
                    text = rewrite([*message[:3], self._renumbered(message[3])])
            elif message[0] in (CALLRESULT, CALLERROR):
                if message[1] not in self._ids or message[1] in self._answered:
                    return  # the CALL was not received, which is already a difference, or it is already answered
                text = rewrite([message[0], self._ids[message[1]], *message[2:]])
        try:
            connection.send_nowait(text)
        except TransportClosedError as error:
            self._differs(entry, f"the connection has ended: {error}")

    def _renumbered(self, payload: Any) -> Any:
        number = payload.get("transactionId") if isinstance(payload, dict) else None
        if type(number) is not int:
            return payload
        return {**payload, "transactionId": self._transactions.get(number, number)}

    def _expect(self, connection: _Connection, entry: Entry, message: list[Any]) -> None:
        what = _described(message, self._actions)
        found = self._find(connection, entry, message)
        if found is None:
            self._differs(entry, f"{what} was not received within {self._timeout:g} s")
            return
        if message[0] == CALL:
            self._ids[message[1]] = found[1]
        elif message[0] != found[0]:
            self._differs(entry, f"expected {what}, received {_described(found, self._actions)}")
            return
        expected, actual = message[2:], found[2:]
        if self._actions.get(message[1]) == "StartTransaction" and message[0] == CALLRESULT:
            self._map_transaction(expected[0], actual[0])
        if message[0] == CALLERROR:
            expected, actual = expected[:1], actual[:1]  # only the code; the description is for people
        # Masked: the secrets are missing in the journal, and the report of a test is no place for them.
        before, now = masked(self._renumbered(expected[-1])), masked(actual[-1])
        for path, old, new in payload_differences(before, now, ignored=self._ignored):
            if old != MASK:
                self._differs(entry, f"{what}: {path or 'the payload'} was {shown(old)}, is {shown(new)}")

    def _map_transaction(self, before: Any, now: Any) -> None:
        if not isinstance(before, dict) or not isinstance(now, dict):
            return
        old, new = before.get("transactionId"), now.get("transactionId")
        if type(old) is int and type(new) is int:
            self._transactions[old] = before["transactionId"] = new

    def _find(self, connection: _Connection, entry: Entry, message: list[Any]) -> list[Any] | None:
        """Return the received message that corresponds to a recorded one; None if none arrives in time."""
        deadline = time.monotonic() + self._timeout
        while True:
            for candidate in self._unmatched:
                if _corresponds(message, candidate):
                    self._unmatched.remove(candidate)
                    return candidate
            try:
                received = connection.next(self._received, max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if received is None:
                self._received.put(None)
                return None
            if isinstance(received, str):
                self._differs(entry, f"received an invalid message: {shown(masked_text(received))}")
            else:
                self._unmatched.append(received)

    def _differs(self, entry: Entry, message: str) -> None:
        self._differences.append(Difference(self._session.charge_point_id, entry.time, message))


def _parse(text: str) -> list[Any] | None:
    """Return the message in a text, or None if it is not an OCPP-J message; peer and journal may hold anything."""
    try:
        message = read(text)
    except ValueError:
        return None
    valid = (
        isinstance(message, list) and len(message) > 2 and type(message[0]) is int and type(message[1]) in (str, int)
    )
    return message if valid else None


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

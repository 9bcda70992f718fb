"""Plays the charge point's side of a recorded conversation, and tells where the central system answers otherwise."""

from __future__ import annotations

import json
import queue
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import transport
from .catalogue import SUBPROTOCOLS
from .channel import TransportClosedError
from .dialling import dial
from .endpoint import Endpoint
from .frames import CALL, CALLERROR, CALLRESULT
from .journal import Entry, Session, read_journal

__all__ = ["Difference", "assert_replays", "replay"]

IGNORED = frozenset({"currentTime"})
"""Fields that differ from one time to the next, wherever they stand."""
_SUBPROTOCOL: Mapping[str, str] = {version: name for name, version in SUBPROTOCOLS.items()}
_WRITE_TIMEOUT = 20.0
_LARGEST = 64 * 1024 * 1024


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
    session: Session,
    url: str,
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
        url: the central system's endpoint without the identity.
        charge_point_id: another identity than the recorded one.
        timeout: seconds to wait for each message of the central system.
        ignore: fields whose values may differ.
        ssl_context: for a wss URL, such as `client_context` makes; None: whom the system trusts is trusted.

    Raises:
        HandshakeError: the central system does not let the charge point in.
    """
    endpoint = Endpoint(url, charge_point_id or session.charge_point_id)
    player = _Player(_connect(endpoint, session, timeout, ssl_context), session, timeout, frozenset(ignore))
    try:
        return player.play()
    finally:
        player.close()


def assert_replays(path: str | Path, url: str, **options: Any) -> None:
    """Play every connection of a journal; raise AssertionError that lists the differences, if there are any.

    So a conversation from the field becomes a test case. ``options`` are those of `replay`.
    """
    differences = [one for session in read_journal(path) for one in replay(session, url, **options)]
    if differences:
        raise AssertionError("the central system answers otherwise:\n" + "\n".join(map(str, differences)))


def _connect(
    endpoint: Endpoint, session: Session, timeout: float, ssl_context: ssl.SSLContext | None
) -> transport.WebSocket:
    deadline = time.monotonic() + timeout
    stream = dial(endpoint, deadline, ssl_context=ssl_context, write_timeout=_WRITE_TIMEOUT)
    try:
        return transport.connect(
            stream,
            host=endpoint.host_header,
            target=endpoint.target,
            subprotocols=[_SUBPROTOCOL.get(session.version, f"ocpp{session.version}")],
            headers=[],
            compression=False,
            deadline=deadline,
            max_message_size=_LARGEST,
            name=session.charge_point_id,
        )
    except BaseException:
        stream.close()
        raise


class _Player:
    """Plays one connection."""

    def __init__(
        self, websocket: transport.WebSocket, session: Session, timeout: float, ignored: frozenset[str]
    ) -> None:
        self._websocket = websocket
        self._session = session
        self._timeout = timeout
        self._ignored = ignored
        self._received: queue.SimpleQueue[list[Any] | str | None] = queue.SimpleQueue()
        self._waiting: list[list[Any]] = []  # what came before its turn
        self._ids: dict[str, str] = {}  # the central system's, recorded and now
        self._transactions: dict[Any, Any] = {}
        self._actions: dict[str, str] = {}  # of the charge point's CALLs
        self._differences: list[Difference] = []
        self._reader = threading.Thread(target=self._read, name="ocppsync-replay", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Ends: receive returns None at the end of the connection.
        while (text := self._websocket.receive()) is not None:
            self._received.put(_message(text) or text)
        self._websocket.release()
        self._received.put(None)

    def play(self) -> list[Difference]:
        for entry in self._session.entries:
            message = _message(entry.text)
            if entry.direction == "in":
                self._send(entry, message)
            elif message is not None:
                self._expect(entry, message)
        return self._differences

    def close(self) -> None:
        self._websocket.close()
        self._reader.join(self._timeout)
        self._websocket.abort()
        self._reader.join(self._timeout)

    def _send(self, entry: Entry, message: list[Any] | None) -> None:
        text = entry.text
        if message is not None:
            if message[0] == CALL:
                self._actions[message[1]] = str(message[2])
                if self._transactions and len(message) > 3:
                    text = json.dumps([*message[:3], self._renumbered(message[3])], ensure_ascii=False)
            elif message[0] in (CALLRESULT, CALLERROR):
                if message[1] not in self._ids:
                    return  # its CALL never came, which is told already
                text = json.dumps([message[0], self._ids[message[1]], *message[2:]], ensure_ascii=False)
        try:
            self._websocket.post(text)
        except TransportClosedError as error:
            self._differs(entry, f"the connection has ended: {error}")

    def _renumbered(self, payload: Any) -> Any:
        if isinstance(payload, dict) and payload.get("transactionId") in self._transactions:
            return {**payload, "transactionId": self._transactions[payload["transactionId"]]}
        return payload

    def _expect(self, entry: Entry, message: list[Any]) -> None:
        what = _described(message, self._actions)
        found = self._find(entry, message)
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
        for path, before, now in _differing(wanted[-1], got[-1], "", self._ignored):
            self._differs(entry, f"{what}: {path or 'it'} was {_shown(before)}, and is {_shown(now)}")

    def _note_transaction(self, before: Any, now: Any) -> None:
        if isinstance(before, dict) and isinstance(now, dict) and "transactionId" in before and "transactionId" in now:
            self._transactions[before["transactionId"]] = now["transactionId"]
            before["transactionId"] = now["transactionId"]

    def _find(self, entry: Entry, message: list[Any]) -> list[Any] | None:
        """Return what came in the place of a recorded message; None if nothing did in time."""
        deadline = time.monotonic() + self._timeout
        while True:
            for candidate in self._waiting:
                if _corresponds(message, candidate):
                    self._waiting.remove(candidate)
                    return candidate
            try:
                received = self._received.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if received is None:
                self._received.put(None)
                return None
            if isinstance(received, str):
                self._differs(entry, f"what came is no message of OCPP: {_shown(received)}")
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


def _differing(before: Any, now: Any, path: str, ignored: frozenset[str]) -> Iterable[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *(name for name in now if name not in before)]:
            if name not in ignored:
                yield from _differing(
                    before.get(name, _ABSENT), now.get(name, _ABSENT), f"{path}.{name}".lstrip("."), ignored
                )
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differing(one, other, f"{path}[{index}]", ignored)
    elif before != now:
        yield path, before, now


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def _shown(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value, ensure_ascii=False)[:200]

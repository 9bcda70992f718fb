"""Those who take part in a random schedule: each has a thread, and draws from its own chance what it does there."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
import traceback
from collections import Counter
from random import Random
from typing import Any

from schedules import BOUND, PATIENT, World, answer_of, nap, nonce_of, payload_of, stacks
from wire import CLOSE, PING, PONG, TEXT, dial

from ocppsync import ChargePoint, HandshakeError, utc_now
from ocppsync.central_system import server_of

CLASS_STATIONS, RAW_STATIONS, REPEATER = ("CP0", "CP1"), ("RAW0",), "REPEATER"
_NO_ROOM = ["GenericError", "too many CALLs are waiting"]


def begin(world: World) -> None:
    """Start them all."""
    for name in CLASS_STATIONS:
        world.start(name, class_station, name)
    for name in RAW_STATIONS:
        world.start(name, raw_station, name)
    world.start(REPEATER, repeater)
    for number in range(2):
        world.start(f"asker-{number}", asker)
    if world.settings.drains:
        # At the same time, or one after the other.
        for number in range(2):
            world.start(f"drain-{number}", drain)


def asker(world: World, chance: Random) -> None:
    """Ask whoever is connected, on the central system's side, and now and then close a connection."""
    for _ in range(40):
        name = chance.choice([*CLASS_STATIONS, *RAW_STATIONS])
        if name not in world.cs.charge_points and chance.random() < 0.9:
            nap(chance, 0.01)
            continue

        def send(action: Any, payload: Any, *, timeout: float, name: str = name) -> Any:
            return world.cs.submit_request(name, action, payload, timeout=timeout)

        if chance.random() < 0.1:
            world.cs.close_connection(name)
        else:
            world.ask(send, chance, by_central_system=True)
        nap(chance, 0.01)


def drain(world: World, chance: Random) -> None:
    """Close the central system while all goes on."""
    nap(chance, 0.3)
    world.draining = True
    began = time.monotonic()
    world.cs.close(grace=BOUND)
    if time.monotonic() - began > world.settings.close_timeout + BOUND:
        world.ledger.fault(f"the close took too long{stacks()}")


# Charge points of the library's.


def class_station(world: World, chance: Random, name: str) -> None:
    """Ask, lose the connection in every way, and meet others of the same name."""
    point = world.point(name, chance.choice(["ocpp1.6", "ocpp2.0.1"]))
    for turn in range(12):
        connect(world, point)
        act = chance.choice(["ask"] * 6 + ["disconnect", "drop", "drop", "twin", "twin", "close", "change of mind"])
        send: Any = point.submit_request
        if act == "ask":
            world.ask(send, chance)
        elif act == "disconnect":
            point.disconnect()
        elif act == "drop":
            connection = chance.choice([point._connection, server_of(world.cs).context.registry.connected.get(name)])
            if connection is not None:
                world.drops[name] += 1
                connection.abort()
        elif act == "twin":
            twin = world.point(name)
            connect(world, twin)
            twin_send: Any = twin.submit_request
            world.ask(twin_send, chance)
            if chance.random() < 0.5:
                twin.close()
        elif act == "close":
            point.close()
            world.ask(send, chance)
            point = world.point(name)
        else:
            hasty = world.point(name)
            world.start(f"{name}-{turn}", close_soon, hasty)
            with contextlib.suppress(RuntimeError, HandshakeError):
                hasty.connect(BOUND)
        nap(chance, 0.005)


def connect(world: World, point: ChargePoint) -> None:
    drops = world.drops[point.charge_point_id]
    try:
        point.connect(BOUND)
    except RuntimeError as error:
        assert "connected already" in str(error)
    except HandshakeError:
        # Dropped by another thread before the answer was out, perhaps.
        if not world.draining and drops == world.drops[point.charge_point_id]:
            raise


def close_soon(world: World, chance: Random, point: ChargePoint) -> None:
    nap(chance, 0.02)
    point.close()
    assert not point.connected


# Charge points by hand.


class RawLink:
    """A connection by hand: it answers what the central system asks, as the request says, and keeps the answers."""

    def __init__(self, world: World, name: str, *, deaf: bool = False, receive_buffer: int | None = None) -> None:
        self._world = world
        self._deaf = deaf
        self._changed = threading.Condition()  # guards the next three
        self.ended = False
        self.sent: Counter[str] = Counter()
        self.answers: dict[str, list[Any]] = {}
        self._calls: dict[str, str] = {}
        self._peer = dial(world.cs.port, receive_buffer=receive_buffer)
        try:
            self._peer.upgrade(f"/{name}")
        except BaseException:
            self._peer.sock.close()
            raise
        self._thread = threading.Thread(target=self._run, name=f"schedule-raw-{name}", daemon=True)
        world.links.append(self)
        self._thread.start()

    def _run(self) -> None:
        # Ends with the connection.
        try:
            while True:
                got = self._peer.read_frame(within=BOUND + PATIENT)
                if got.opcode == TEXT:
                    self._take(json.loads(got.payload))
                elif got.opcode == PING:
                    self._peer.send_frame(PONG, got.payload)
                elif got.opcode == CLOSE and not self._deaf:
                    self._peer.send_frame(CLOSE, got.payload)
        except (EOFError, ConnectionError):
            pass
        except Exception:
            self._world.ledger.fault(f"raw: {traceback.format_exc()}")
        finally:
            with self._changed:
                self.ended = True
                self._changed.notify_all()

    def _take(self, message: Any) -> None:
        kind, message_id = message[:2]
        if kind == 2:
            self._answer(message_id, nonce_of(message[3]))
            return
        with self._changed:
            answers = self.answers.setdefault(message_id, [])
            answers.append(message[2] if kind == 3 else message[2:4])
            if len(answers) > self.sent[message_id]:
                self._world.ledger.fault(f"{message_id} was sent {self.sent[message_id]} times: {answers!s:.300}")
            self._changed.notify_all()

    def _answer(self, message_id: str, nonce: str) -> None:
        self._world.note_call(self._calls, message_id, nonce)
        self._world.ledger.handle(nonce)
        what = nonce.partition(":")[0]
        if what in ("slow", "hasty", "hang"):
            self._world.pauses(1.0, 0.01)
        if what == "never":
            return
        del self._calls[message_id]
        answer: Any = [3, message_id, answer_of(nonce)]
        if what == "refuse":
            answer = [4, message_id, "GenericError", nonce, {}]
        for _ in range(2 if what == "twice" else 1):
            self._peer.send_text(json.dumps(answer))

    def send(self, message_id: str, action: str, payload: Any, times: int = 1) -> None:
        """Send a CALL, and send it again."""
        for _ in range(times):
            with self._changed:
                if self.ended:
                    return
                self.sent[message_id] += 1
            with contextlib.suppress(ConnectionError):
                self._peer.send_text(json.dumps([2, message_id, action, payload]))

    def send_anew(self, message_id: str, action: str, payload: Any) -> None:
        """Send a CALL whose answers so far do not count."""
        with self._changed:
            del self.sent[message_id]
            del self.answers[message_id]
        self.send(message_id, action, payload)

    def wait_answered(self) -> None:
        """Wait until each CALL has an answer, or the connection has ended."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.ended or self.answers.keys() >= self.sent.keys(), BOUND):
                missing = self.sent.keys() - self.answers.keys()
                self._world.ledger.fault(f"{missing} have no answer{stacks()}")

    def drop(self) -> None:
        """Break the connection off with a reset."""
        with contextlib.suppress(OSError):
            self._peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._peer.sock.shutdown(socket.SHUT_RD)
        self.join()

    def close(self) -> None:
        """Close in order."""
        with contextlib.suppress(ConnectionError):
            self._peer.send_close()

    def join(self) -> None:
        """Wait for the end, and give the socket back."""
        self._thread.join(BOUND)
        self._peer.sock.close()


def raw_link(world: World, name: str, **options: Any) -> RawLink | None:
    """Return another connection; None where the central system is closed."""
    try:
        return RawLink(world, name, **options)
    except (ConnectionError, EOFError, AssertionError):
        if not world.draining:
            raise
        return None


def raw_station(world: World, chance: Random, name: str) -> None:
    """Call, call again, and end the connections in every way."""
    for turn in range(6):
        deaf = chance.random() < 0.2
        link = raw_link(world, name, deaf=deaf, receive_buffer=chance.choice([None, 4096]))
        if link is None:
            return
        nonces: dict[str, str] = {}
        for number in range(chance.choice([0, 1, 4, 8, 8])):
            nonce = world.ledger.nonce(chance.choice(["quick", "quick", "slow", "hang", "refuse", "big"]))
            nonces[f"raw-{name}-{turn}-{number}"] = nonce
        for message_id, nonce in nonces.items():
            link.send(message_id, "DataTransfer", payload_of(nonce), chance.choice([1, 1, 1, 2, 3]))
        if chance.random() < 0.7:
            link.wait_answered()
            again_where_refused(link, nonces)
        nap(chance, 0.02)
        end = chance.choice(["drop", "close", "close", "stay"])
        if end == "drop":
            link.drop()
        elif end == "close":
            link.close()
            if not deaf:
                link.join()
        check_answers(world, link, nonces)


def again_where_refused(link: RawLink, nonces: dict[str, str]) -> None:
    """Send again what there was no room for: when there is, it is handled."""
    for message_id, nonce in nonces.items():
        answers = link.answers.get(message_id, [])
        if answers and len(answers) == link.sent[message_id] and all(answer == _NO_ROOM for answer in answers):
            link.send_anew(message_id, "DataTransfer", payload_of(nonce))
            link.wait_answered()


def check_answers(world: World, link: RawLink, nonces: dict[str, str]) -> None:
    for message_id, nonce in nonces.items():
        for answer in list(link.answers.get(message_id, [])):
            refused = nonce.startswith("refuse") and answer == ["GenericError", nonce]
            forgiven = isinstance(answer, list) and world.settings.forgives
            if not (refused or forgiven or answer == answer_of(nonce)):
                world.ledger.fault(f"{nonce} was answered with {answer!s:.100}")


def repeater(world: World, chance: Random) -> None:
    """Begin transactions, and send them again over the same connection or another: each is begun once."""
    for turn in range(6):
        number, message_id = world.ledger.number(), f"raw-transaction-{turn}"
        payload = {"connectorId": 1, "idTag": "a", "meterStart": number, "timestamp": utc_now()}
        times, way = chance.choice([1, 1, 2]), chance.choice(["drop", "takeover", "same"])
        first = raw_link(world, REPEATER)
        if first is None:
            return
        first.send(message_id, "StartTransaction", payload, times)
        nap(chance, 0.01)
        if way == "drop":
            first.drop()
        second = first if way == "same" else raw_link(world, REPEATER)
        if second is None:
            return
        second.send(message_id, "StartTransaction", payload, chance.choice([1, 1, 2]))
        second.wait_answered()
        for link in {first, second} - ({first} if way == "drop" else set()):
            link.close()
            link.join()
        if world.settings.forgives:
            continue
        for answer in second.answers.get(message_id, []):
            if answer != {"transactionId": number, "idTagInfo": {"status": "Accepted"}}:
                world.ledger.fault(f"transaction {number} was answered with {answer!s:.100}")
        if world.ledger.handled[f"transaction:{number}"] > 1:
            world.ledger.fault(f"transaction {number} was begun twice")

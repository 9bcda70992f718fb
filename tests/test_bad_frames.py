"""What a receiver does with a bad frame, as the peer sees it: a whole connection over a pair of sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support import DEADLINE, Recorder

from ocppsync import transport
from ocppsync.channel import INVALID_DATA
from ocppsync.connection import Connection, ConnectionSettings
from ocppsync.errors import InvalidResponseError
from ocppsync.handshake import Gate as Entrance
from ocppsync.handshake import read_request
from ocppsync.messages import Speech
from ocppsync.pool import HandlerPool
from ocppsync.registration import Gate
from ocppsync.repeats import AnswerMemory
from ocppsync.request import ConnectionMetadata
from ocppsync.router import Router
from ocppsync.streams import Stream
from ocppsync.timer import Timer


class Peer:
    """A charge point at the other end of a connection of a central system."""

    def __init__(self, connection: Connection, websocket: transport.WebSocket, sock: socket.socket) -> None:
        self.connection = connection
        self.websocket = websocket
        self.socket = sock
        self.go_on = threading.Event()

    def read(self) -> Any:
        text = self.websocket.receive()
        return None if text is None else json.loads(text)

    def answers_to(self, *texts: str) -> list[Any]:
        """Return all that comes back for some messages, which is all that comes before the answer to one more."""
        for text in (*texts, '[2,"last","Heartbeat",{}]'):
            self.websocket.send(text)
        answers = []
        while (answer := self.read())[1] != "last":
            answers.append(answer)
        return answers


def serve(sock: socket.socket, router: Router, pool: HandlerPool, timer: Timer, made: Recorder) -> None:
    stream = Stream(sock, write_timeout=DEADLINE)
    request = read_request(stream, deadline=time.monotonic() + DEADLINE, max_header_size=4096)
    admitted = Entrance(("ocpp1.6",)).admit(request)
    websocket = transport.accept(
        stream,
        key=admitted.key,
        subprotocol=admitted.subprotocol,
        extensions=admitted.extensions,
        max_message_size=1024 * 1024,
        name=admitted.charge_point_id,
    )
    websocket.open()
    connection = Connection(
        websocket,
        ConnectionMetadata(admitted.charge_point_id, "1.6", request),
        ConnectionSettings(
            request_timeout=DEADLINE,
            reject_invalid_requests=True,
            websocket_ping_interval=None,
            close_timeout=DEADLINE,
            max_queued_calls=10,
        ),
        router=router,
        messages=Speech("central_system").messages("1.6"),
        gate=Gate(),
        executor=pool,
        timer=timer,
        answers=AnswerMemory(),
    )
    stream.set_read_timeout(None)
    made(connection)
    connection.run()


@contextlib.contextmanager
def connected_peer() -> Iterator[Peer]:
    router, pool, timer, made = (
        Router(Speech("central_system")),
        HandlerPool(2, "test"),
        Timer("test"),
        Recorder(),
    )
    go_on = threading.Event()

    @router.on("BootNotification")
    def boot(payload: Any, metadata: Any) -> Any:
        raise RuntimeError("a secret")

    @router.on("StatusNotification")
    def status(payload: Any, metadata: Any) -> Any:
        raise SystemExit

    @router.on("Authorize")
    def authorize(payload: Any, metadata: Any) -> Any:
        assert go_on.wait(DEADLINE)
        return {"idTagInfo": {"status": "Accepted"}}

    router.on("MeterValues")(lambda payload, metadata: None)
    router.on("Heartbeat")(lambda payload, metadata: {"currentTime": "2026-01-01T00:00:00Z"})
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE)
    reader = threading.Thread(target=serve, args=(ours, router, pool, timer, made))
    reader.start()
    stream = Stream(theirs, write_timeout=DEADLINE)
    websocket = transport.connect(
        stream,
        host="localhost",
        target="/CP1",
        subprotocols=["ocpp1.6"],
        headers=[],
        compression=False,
        deadline=time.monotonic() + DEADLINE,
        max_message_size=1024 * 1024,
        name="test",
    )
    stream.set_read_timeout(DEADLINE)
    peer = Peer(made.wait()[0], websocket, theirs)
    peer.go_on = go_on
    try:
        yield peer
    finally:
        go_on.set()
        stream.abort()
        reader.join(DEADLINE)
        stream.close()
        assert pool.close(DEADLINE)
        timer.close()


def refusal_of(code: str, message_id: str = "1") -> list[list[Any]]:
    return [[4, message_id, code, {}]]


# The name of the row, what is received, and what is answered (descriptions left out).
BAD_FRAMES: list[tuple[str, str, list[list[Any]]]] = [
    ("not JSON", '[2,"1","Heartbeat",{}', []),
    ("not JSON: NaN", '[2,"1","Heartbeat",{"a":NaN}]', []),
    ("JSON, not an array", '{"1":2}', []),
    ("JSON, not an array", '"text"', []),
    ("too short", "[]", []),
    ("too short", "[2]", []),
    ("too short, the id readable", '[2,"1"]', refusal_of("FormationViolation")),
    ("id not a string", '[2,1,"Heartbeat",{}]', []),
    ("type number unknown", '[7,"1","Heartbeat",{}]', []),
    ("type 5", '[5,"1","GenericError","",{}]', []),
    ("type 6", '[6,"1","Heartbeat",{}]', []),
    ("CALL, unknown Action", '[2,"1","Bogus",{}]', refusal_of("NotImplemented")),
    ("CALL, unknown Action", '[2,"1","heartbeat",{}]', refusal_of("NotImplemented")),
    ("CALL, unknown Action", '[2,"1","HeartbeatRequest",{}]', refusal_of("NotImplemented")),
    ("CALL, known Action we do not serve", '[2,"1","StopTransaction",{}]', refusal_of("NotSupported")),
    ("CALL, known Action we do not serve", '[2,"1","Reset",{"type":"Soft"}]', refusal_of("NotSupported")),
    ("CALL, id longer than 36", f'[2,"{"i" * 37}","Heartbeat",{{}}]', refusal_of("GenericError", "i" * 37)),
    ("CALL, id longer than 255", f'[2,"{"i" * 256}","Heartbeat",{{}}]', []),
    ("CALL violates the schema: no object", '[2,"1","Authorize",[]]', refusal_of("FormationViolation")),
    ("CALL violates the schema: missing", '[2,"1","Authorize",{}]', refusal_of("ProtocolError")),
    ("CALL violates the schema: extra", '[2,"1","Heartbeat",{"a":1}]', refusal_of("FormationViolation")),
    ("CALL violates the schema: type", '[2,"1","Authorize",{"idTag":1}]', refusal_of("TypeConstraintViolation")),
    (
        "CALL violates the schema: value",
        '[2,"1","Authorize",{"idTag":"%s"}]' % ("i" * 21),
        refusal_of("PropertyConstraintViolation"),
    ),
    (
        "CALL violates the schema: occurrence",
        '[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[]}]}]',
        refusal_of("OccurenceConstraintViolation"),
    ),
    ("CALLRESULT to no call", '[3,"1",{}]', []),
    ("CALLERROR to no call", '[4,"1","GenericError","",{}]', []),
    ("CALLERROR malformed", '[4,"1","GenericError",5,"x"]', []),
    (
        "Handler raises",
        '[2,"1","BootNotification",{"chargePointVendor":"a","chargePointModel":"b"}]',
        refusal_of("InternalError"),
    ),
    (
        "Handler exits",
        '[2,"1","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available"}]',
        refusal_of("InternalError"),
    ),
]


@pytest.mark.parametrize(("text", "answers"), [row[1:] for row in BAD_FRAMES], ids=[row[0] for row in BAD_FRAMES])
def test_bad_frames_are_answered_as_1_6_says(text: str, answers: list[Any]) -> None:
    with connected_peer() as peer:
        received = peer.answers_to(text)
        assert [[kind, message_id, code, details] for kind, message_id, code, _, details in received] == answers
        assert "secret" not in str(received)


def test_text_that_is_not_utf_8_ends_the_connection() -> None:
    with connected_peer() as peer:
        peer.socket.sendall(b"\x81\x82\0\0\0\0\xff\xfe")  # a masked text frame of two bytes
        assert peer.read() is None
        assert peer.websocket.close_code == INVALID_DATA


def test_a_call_with_the_id_of_one_that_is_being_handled() -> None:
    with connected_peer() as peer:
        for id_tag in ("A", "A", "B"):
            peer.websocket.send(f'[2,"1","Authorize",{{"idTag":"{id_tag}"}}]')
        assert peer.read()[:3] == [4, "1", "GenericError"]
        peer.go_on.set()
        answer = [3, "1", {"idTagInfo": {"status": "Accepted"}}]
        assert peer.read() == answer, "one answer serves both"
        assert peer.answers_to('[2,"1","Authorize",{"idTag":"A"}]') == [answer]


@pytest.mark.parametrize(
    "answer",
    ['[3,"%s",{"status":"Perhaps"}]', '[3,"%s",null]', '[3,"%s"]', '[4,"%s","GenericError","",[]]', '[4,"%s",1,"",{}]'],
)
def test_an_answer_that_is_not_valid_fails_the_call_and_is_not_answered(answer: str) -> None:
    with connected_peer() as peer:
        future = peer.connection.request("Reset", {"type": "Soft"}, None)
        _, message_id, action, payload = peer.read()
        assert (action, payload) == ("Reset", {"type": "Soft"})
        assert len(message_id) == 36
        assert peer.answers_to(answer % message_id) == []
        with pytest.raises(InvalidResponseError):
            future.result(DEADLINE)

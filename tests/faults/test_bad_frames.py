"""What a receiver does with a bad frame in each version, as the peer sees it: a connection over a pair of sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, get_args

import payloads
import pytest
from contexts import make_context
from support import DEADLINE, Recorder

from ocppsync import CallError, Limits, Timeouts
from ocppsync.errors import InvalidResponseError
from ocppsync.rpc.connection import Connection
from ocppsync.rpc.context import ConnectionOptions
from ocppsync.rpc.message_sets import MessageSets
from ocppsync.rpc.router import Router
from ocppsync.server.admission import AdmissionPolicy
from ocppsync.threads.pool import HandlerPool
from ocppsync.threads.timer import Timer
from ocppsync.validation.catalogue import SUBPROTOCOL_OF, Version
from ocppsync.wire import upgrade
from ocppsync.wire.http import read_request
from ocppsync.wire.streams import Stream
from ocppsync.wire.transport import CloseCode
from ocppsync.wire.websocket import WebSocket

VERSIONS: tuple[Version, ...] = get_args(Version)
STREAM = "NotifyPeriodicEventStream"


class Peer:
    """A charge point at the other end of a connection of a central system.

    Attributes:
        refusals: what `on_call_result_error` was called with.
        handled: the ids of the SENDs and BootNotifications that were handled.
        go_on: lets the handler of DataTransfer answer.
    """

    def __init__(self, connection: Connection, websocket: WebSocket, sock: socket.socket) -> None:
        self.connection = connection
        self.websocket = websocket
        self.socket = sock
        self.refusals = Recorder()
        self.handled = Recorder()
        self.go_on = threading.Event()

    def read(self) -> Any:
        text = self.websocket.receive()
        return None if text is None else json.loads(text)

    def answers_to(self, *texts: str) -> list[Any]:
        """Return all that comes back for some messages, which is all that comes before the answer to one more."""
        for text in (*texts, '[2,"last","Heartbeat",{}]'):
            self.websocket.send_nowait(text)
        answers = []
        while (answer := self.read())[1] != "last":
            answers.append(answer)
        return answers


class Office:
    """The central system's end: the handlers, and what they need."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.message_sets = MessageSets("central_system")
        self.router = Router(self.message_sets)
        self.pool = HandlerPool(2, "test")
        self.timer = Timer("test")
        self.made = Recorder()
        self.refusals = Recorder()
        self.handled = Recorder()
        self.go_on = threading.Event()
        self.router.on("BootNotification")(self._fail)
        self.router.on("StatusNotification")(self._exit)
        self.router.on("DataTransfer")(self._transfer)
        self.router.on(STREAM, "2.1")(self._stream)
        self.router.on("MeterValues")(lambda payload, metadata: None)
        self.router.on("Heartbeat")(lambda payload, metadata: {"currentTime": "2026-01-01T00:00:00Z"})

    def _fail(self, payload: Any, metadata: Any) -> Any:
        self.handled(metadata.message_id)
        raise RuntimeError("a secret")

    def _exit(self, payload: Any, metadata: Any) -> Any:
        raise SystemExit

    def _transfer(self, payload: Any, metadata: Any) -> Any:
        assert self.go_on.wait(DEADLINE)
        return {"status": "Accepted"}

    def _stream(self, payload: Any, metadata: Any) -> Any:
        self.handled(metadata.message_id)
        if payload["id"] == 2:
            raise RuntimeError("a secret")
        if payload["id"] == 3:
            raise CallError("GenericError", "no")
        return {"status": "Accepted"}

    def serve(self, sock: socket.socket) -> None:
        """Serve one connection until it ends."""
        stream = Stream(sock, write_timeout=DEADLINE)
        request = read_request(stream, deadline=time.monotonic() + DEADLINE, max_header_size=4096)
        admitted = AdmissionPolicy((SUBPROTOCOL_OF[self.version],)).admit(request)
        websocket = upgrade.accept(
            stream,
            key=admitted.key,
            subprotocol=admitted.subprotocol,
            extensions=admitted.extensions,
            max_message_size=1024 * 1024,
            name=admitted.charge_point_id,
        )
        websocket.open()
        context = make_context(
            admitted.charge_point_id,
            self.version,
            executor=self.pool,
            timer=self.timer,
            http_request=request,
            router=self.router,
            messages=self.message_sets.messages(self.version),
            options=ConnectionOptions(
                request_timeout=DEADLINE,
                on_call_result_error=self.refusals,
                limits=Limits(queued_calls=10),
                timeouts=Timeouts(close=DEADLINE),
            ),
        )
        connection = Connection(websocket, context)
        stream.set_read_timeout(None)
        self.made(connection)
        connection.run()


@contextlib.contextmanager
def connected_peer(version: Version) -> Iterator[Peer]:
    office = Office(version)
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE)
    reader = threading.Thread(target=office.serve, args=(ours,))
    reader.start()
    stream = Stream(theirs, write_timeout=DEADLINE)
    websocket = upgrade.connect(
        stream,
        host="localhost",
        target="/CP1",
        subprotocols=[SUBPROTOCOL_OF[version]],
        headers=[],
        compression=False,
        deadline=time.monotonic() + DEADLINE,
        max_message_size=1024 * 1024,
        name="test",
    )
    stream.set_read_timeout(DEADLINE)
    peer = Peer(office.made.wait()[0], websocket, theirs)
    peer.go_on, peer.refusals, peer.handled = office.go_on, office.refusals, office.handled
    try:
        yield peer
    finally:
        office.go_on.set()
        stream.abort()
        reader.join(DEADLINE)
        stream.close()
        assert office.pool.close(DEADLINE)
        office.timer.close()


Answer = tuple[str, str] | None
"""The message id and the code of a CALLERROR, or nothing at all."""

UNREADABLE: Answer = ("-1", "RpcFrameworkError")
UNKNOWN_TYPE: Answer = ("1", "MessageTypeNotSupported")


def refused(code: str, message_id: str = "1") -> Answer:
    return message_id, code


def minimal(action: str) -> Callable[[Version], str]:
    """Return what makes the text of a right CALL, by version."""
    return lambda version: json.dumps([2, "1", action, payloads.minimal(version, action, "request")])


def stream(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {**payloads.minimal("2.1", STREAM, "request"), "id": number, **changes}


def empty_list(version: Version) -> str:
    place = {"connectorId": 1} if version == "1.6" else {"evseId": 1}
    meter_value = {"timestamp": "2026-01-01T00:00:00Z", "sampledValue": []}
    return json.dumps([2, "1", "MeterValues", {**place, "meterValue": [meter_value]}])


def same(answer: Answer) -> tuple[Answer, Answer, Answer]:
    """Return an answer that every version gives."""
    return answer, answer, answer


def since_2(answer: Answer) -> tuple[Answer, Answer, Answer]:
    """Return an answer that 1.6 does not give."""
    return None, answer, answer


def spelt(old: str, new: str) -> tuple[Answer, Answer, Answer]:
    """Return an answer whose code differs."""
    return refused(old), refused(new), refused(new)


Row = tuple[str, str | Callable[[Version], str], tuple[Answer, Answer, Answer]]

# The name of the row, what is received, and the answer of 1.6, 2.0.1 and 2.1.
BAD_FRAMES: list[Row] = [
    ("not JSON", '[2,"1","Heartbeat",{}', since_2(UNREADABLE)),
    ("not JSON: NaN", '[2,"1","Heartbeat",{"a":NaN}]', since_2(UNREADABLE)),
    ("not JSON: empty", "", since_2(UNREADABLE)),
    ("not JSON: a bracket too many", '[2,"1","Heartbeat",{}]]', since_2(UNREADABLE)),
    ("JSON, not an array", '{"1":2}', since_2(UNREADABLE)),
    ("JSON, not an array", '"text"', since_2(UNREADABLE)),
    ("JSON, not an array", "null", since_2(UNREADABLE)),
    ("too short", "[]", since_2(UNREADABLE)),
    ("too short", "[2]", since_2(UNREADABLE)),
    ("too short, the id readable", '[2,"1"]', spelt("FormationViolation", "RpcFrameworkError")),
    ("too long, the id readable", '[2,"1","Heartbeat",{},1]', spelt("FormationViolation", "RpcFrameworkError")),
    ("action not a string", '[2,"1",1,{}]', spelt("FormationViolation", "RpcFrameworkError")),
    ("id not a string", '[2,1,"Heartbeat",{}]', since_2(UNREADABLE)),
    ("id not a string", '[2,null,"Heartbeat",{}]', since_2(UNREADABLE)),
    ("type not a number", '["2","1","Heartbeat",{}]', since_2(UNREADABLE)),
    ("type number unknown", '[7,"1","Heartbeat",{}]', (None, UNKNOWN_TYPE, None)),
    ("type number unknown", '[1,"1"]', (None, UNKNOWN_TYPE, None)),
    ("type number unknown, no id", '[7,1,"Heartbeat",{}]', (None, ("-1", "MessageTypeNotSupported"), None)),
    ("type 5", '[5,"1","GenericError","",{}]', (None, UNKNOWN_TYPE, None)),
    ("type 6", '[6,"1","Heartbeat",{}]', (None, UNKNOWN_TYPE, None)),
    ("CALL, unknown Action", '[2,"1","Bogus",{}]', same(refused("NotImplemented"))),
    ("CALL, unknown Action", '[2,"1","heartbeat",{}]', same(refused("NotImplemented"))),
    ("CALL, unknown Action", '[2,"1","HeartbeatRequest",{}]', same(refused("NotImplemented"))),
    (
        "CALL, Action of another version",
        '[2,"1","StopTransaction",{}]',
        (refused("NotSupported"), refused("NotImplemented"), refused("NotImplemented")),
    ),
    (
        "CALL, Action of another version",
        '[2,"1","BatterySwap",{}]',
        (refused("NotImplemented"), refused("NotImplemented"), refused("NotSupported")),
    ),
    ("CALL, known Action we do not serve", minimal("FirmwareStatusNotification"), same(refused("NotSupported"))),
    ("CALL, known Action of the other end", '[2,"1","Reset",{"type":"Soft"}]', same(refused("NotSupported"))),
    (
        "CALL, Action that is a SEND",
        lambda version: json.dumps([2, "1", STREAM, stream()]),
        (refused("NotImplemented"), refused("NotImplemented"), refused("NotSupported")),
    ),
    (
        "CALL, id longer than 36",
        f'[2,"{"i" * 37}","Heartbeat",{{}}]',
        (
            refused("GenericError", "i" * 37),
            refused("RpcFrameworkError", "i" * 37),
            refused("RpcFrameworkError", "i" * 37),
        ),
    ),
    ("CALL, id longer than 255", f'[2,"{"i" * 256}","Heartbeat",{{}}]', since_2(UNREADABLE)),
    (
        "CALL violates the schema: no object",
        '[2,"1","DataTransfer",[]]',
        spelt("FormationViolation", "FormatViolation"),
    ),
    (
        "CALL violates the schema: missing",
        '[2,"1","DataTransfer",{}]',
        spelt("ProtocolError", "OccurrenceConstraintViolation"),
    ),
    (
        "CALL violates the schema: missing, null",
        '[2,"1","DataTransfer",null]',
        spelt("ProtocolError", "OccurrenceConstraintViolation"),
    ),
    ("CALL violates the schema: extra", '[2,"1","Heartbeat",{"a":1}]', spelt("FormationViolation", "ProtocolError")),
    (
        "CALL violates the schema: type",
        '[2,"1","DataTransfer",{"vendorId":1}]',
        same(refused("TypeConstraintViolation")),
    ),
    (
        "CALL violates the schema: null",
        '[2,"1","DataTransfer",{"vendorId":"x","messageId":null}]',
        same(refused("TypeConstraintViolation")),
    ),
    (
        "CALL violates the schema: value",
        f'[2,"1","DataTransfer",{{"vendorId":"{"i" * 256}"}}]',
        same(refused("PropertyConstraintViolation")),
    ),
    (
        "CALL violates the schema: occurrence",
        empty_list,
        spelt("OccurenceConstraintViolation", "OccurrenceConstraintViolation"),
    ),
    ("CALLRESULT to no call", '[3,"1",{}]', same(None)),
    ("CALLRESULT to the unreadable", '[3,"-1",{}]', same(None)),
    ("CALLRESULT malformed", '[3,"1"]', same(None)),
    ("CALLRESULT malformed", "[3,1,{}]", same(None)),
    ("CALLERROR to no call", '[4,"1","GenericError","",{}]', same(None)),
    ("CALLERROR to the unreadable", '[4,"-1","RpcFrameworkError","what was that?",{}]', same(None)),
    ("CALLERROR malformed", '[4,"1","GenericError",5,"x"]', same(None)),
    ("CALLERROR malformed", '[4,"1"]', same(None)),
    ("CALLRESULTERROR to no answer", '[5,"-1","GenericError","",{}]', (None, ("-1", "MessageTypeNotSupported"), None)),
    ("CALLRESULTERROR malformed", '[5,"1"]', (None, UNKNOWN_TYPE, None)),
    ("Handler raises", minimal("BootNotification"), same(refused("InternalError"))),
    ("Handler exits", minimal("StatusNotification"), same(refused("InternalError"))),
]


@pytest.mark.parametrize(
    ("version", "text", "answer"),
    [
        pytest.param(version, text, answer, id=f"{version}-{name}")
        for name, text, answers in BAD_FRAMES
        for version, answer in zip(VERSIONS, answers, strict=True)
    ],
)
def test_bad_frames_are_answered_as_the_version_says(
    version: Version, text: str | Callable[[Version], str], answer: Answer
) -> None:
    text = text if isinstance(text, str) else text(version)
    with connected_peer(version) as peer:
        received = peer.answers_to(text)
        assert [(kind, message_id, code, details) for kind, message_id, code, _, details in received] == (
            [] if answer is None else [(4, *answer, {})]
        )
        for description in (error[3] for error in received):
            assert "secret" not in description
            assert len(description) <= 255
            assert not text or text not in description


@pytest.mark.parametrize("version", VERSIONS)
def test_text_that_is_not_utf_8_ends_the_connection(version: Version) -> None:
    with connected_peer(version) as peer:
        peer.socket.sendall(b"\x81\x82\0\0\0\0\xff\xfe")  # a masked text frame of two bytes
        assert peer.read() is None
        assert peer.websocket.close_code == CloseCode.INVALID_DATA


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_whose_id_stands_for_the_unreadable_is_like_any_other(version: Version) -> None:
    with connected_peer(version) as peer:
        (answer,) = peer.answers_to('[2,"-1","Heartbeat",{}]')
        assert answer == [3, "-1", {"currentTime": "2026-01-01T00:00:00Z"}]


@pytest.mark.parametrize(
    ("version", "code"), [("1.6", "GenericError"), ("2.0.1", "RpcFrameworkError"), ("2.1", "RpcFrameworkError")]
)
def test_a_call_with_the_id_of_one_that_is_being_handled(version: Version, code: str) -> None:
    with connected_peer(version) as peer:
        for data in ("A", "A", "B"):
            peer.websocket.send_nowait(f'[2,"1","DataTransfer",{{"vendorId":"x","data":"{data}"}}]')
        assert peer.read()[:3] == [4, "1", code]
        peer.go_on.set()
        answer = [3, "1", {"status": "Accepted"}]
        assert peer.read() == answer, "one answer serves both"
        assert peer.answers_to('[2,"1","DataTransfer",{"vendorId":"x","data":"A"}]') == [answer]
        (refusal,) = peer.answers_to('[2,"1","DataTransfer",{"vendorId":"x","data":"B"}]')
        assert refusal[:3] == [4, "1", code]


# What is wrong with an answer to us, and the code of the CALLRESULTERROR that 2.1 has for it.
BAD_ANSWERS: list[tuple[str, str | None]] = [
    ('[3,"%s",{"status":"Perhaps"}]', "PropertyConstraintViolation"),
    ('[3,"%s",{"status":1}]', "TypeConstraintViolation"),
    ('[3,"%s",{"status":"Accepted","extra":1}]', "ProtocolError"),
    ('[3,"%s",{}]', "OccurrenceConstraintViolation"),
    ('[3,"%s",null]', "OccurrenceConstraintViolation"),
    ('[3,"%s",[]]', "FormatViolation"),
    ('[3,"%s"]', "FormatViolation"),
    ('[4,"%s","GenericError","",[]]', None),
    ('[4,"%s",1,"",{}]', None),
    ('[4,"%s","GenericError"]', None),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("answer", "code"), BAD_ANSWERS)
def test_an_answer_that_is_not_valid_fails_the_call(version: Version, answer: str, code: str | None) -> None:
    with connected_peer(version) as peer:
        reset = payloads.minimal(version, "Reset", "request")
        future = peer.connection.request("Reset", reset, None)
        _, message_id, action, payload = peer.read()
        assert (action, payload) == ("Reset", reset)
        assert len(message_id) == 36
        received = peer.answers_to(answer % message_id)
        expected = [] if code is None or version != "2.1" else [[5, message_id, code]]
        assert [frame[:3] for frame in received] == expected
        assert all(isinstance(frame[3], str) and frame[4:] == [{}] for frame in received)
        with pytest.raises(InvalidResponseError):
            future.result(DEADLINE)


# CALLRESULTERROR and SEND, which 2.1 alone has.


def test_an_answer_of_ours_that_the_peer_refuses_is_reported() -> None:
    with connected_peer("2.1") as peer:
        assert peer.answers_to('[2,"1","Heartbeat",{}]')[0][:2] == [3, "1"]
        texts = ('[5,"1","FormatViolation","bad",{"at":1}]', '[5,"1","Odd","",{}]', '[5,"1","GenericError","",null]')
        assert peer.answers_to(*texts) == []
        errors = peer.refusals.wait(3)
        assert {(error.charge_point_id, error.action, error.message_id) for error in errors} == {
            ("CP1", "Heartbeat", "1")
        }
        found = [(error.code, error.raw_code, error.description, error.details) for error in errors]
        assert sorted(found, key=str) == [
            ("FormatViolation", "FormatViolation", "bad", {"at": 1}),
            ("GenericError", "GenericError", "", {}),
            ("GenericError", "Odd", "", {}),
        ]


@pytest.mark.parametrize(
    "text",
    ['[5,"2","GenericError","",{}]', '[5,"1","GenericError",""]', '[5,"1",1,"",{}]', '[5,1,"GenericError","",{}]'],
)
def test_a_refusal_that_makes_no_sense_is_not_reported(text: str) -> None:
    with connected_peer("2.1") as peer:
        assert peer.answers_to('[2,"1","Heartbeat",{}]')[0][:2] == [3, "1"]
        assert peer.answers_to(text, '[5,"1","SecurityError","the only one",{}]') == []
        assert [error.description for error in peer.refusals.wait()] == ["the only one"]


def test_a_refusal_with_the_id_of_our_own_call_does_not_settle_it() -> None:
    with connected_peer("2.1") as peer:
        future = peer.connection.request("Reset", {"type": "OnIdle"}, None)
        message_id = peer.read()[1]
        assert peer.answers_to(f'[5,"{message_id}","GenericError","",{{}}]') == []
        assert not future.done()
        assert peer.answers_to(f'[3,"{message_id}",{{"status":"Accepted"}}]') == []
        assert future.result(DEADLINE) == {"status": "Accepted"}
        assert peer.refusals.items == []


# What is received, and whether the handler sees it; the answer is always none.
SENDS: list[tuple[str, list[Any], bool]] = [
    ("right", [6, "1", STREAM, stream()], True),
    ("Handler raises", [6, "1", STREAM, stream(2)], True),
    ("Handler raises CallError", [6, "1", STREAM, stream(3)], True),
    ("violates the schema: missing", [6, "1", STREAM, {}], False),
    ("violates the schema: missing, null", [6, "1", STREAM, None], False),
    ("violates the schema: extra", [6, "1", STREAM, stream(extra=1)], False),
    ("violates the schema: no object", [6, "1", STREAM, []], False),
    ("id longer than 36", [6, "1" * 37, STREAM, stream()], False),
    ("id not a string", [6, 1, STREAM, stream()], False),
    ("unknown Action", [6, "1", "Bogus", {}], False),
    ("action not a string", [6, "1", 1, {}], False),
    ("known Action we do not serve", [6, "1", "FirmwareStatusNotification", {"status": "Idle"}], False),
    ("known Action of the other end", [6, "1", "Reset", {"type": "OnIdle"}], False),
    (
        "Action that is a CALL",
        [6, "1", "BootNotification", payloads.minimal("2.1", "BootNotification", "request")],
        False,
    ),
    ("too short", [6, "1"], False),
    ("too short", [6, "1", STREAM], False),
    ("too long", [6, "1", STREAM, stream(), 1], False),
]


@pytest.mark.parametrize(("frame", "handled"), [row[1:] for row in SENDS], ids=[row[0] for row in SENDS])
def test_a_send_is_never_answered(frame: list[Any], handled: bool) -> None:
    with connected_peer("2.1") as peer:
        assert peer.answers_to(json.dumps(frame)) == []
        assert peer.handled.items == (["1"] if handled else [])

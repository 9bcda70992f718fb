"""Random input: frames and their order by hypothesis, and bytes against a whole central system.

The bytes come from a seed, so that every run sees the same ones in the same order. OCPPSYNC_FUZZ_SECONDS and
OCPPSYNC_FUZZ_SEED change how long it takes and what it sees; a failure names the seed and the number of its case.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from bystander import SECRET, besieged
from contexts import make_engine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from wire import CLOSE, CONTINUATION, PING, TEXT, Peer, close_payload, dial, frame, request

from ocppsync.errors import ProtocolError
from ocppsync.rpc import frames
from ocppsync.rpc.answer_memory import AnswerMemory, CallKind
from ocppsync.rpc.engine import AnswerRejected, ConnectionState, Engine, Late, Overdue, Reply, Settle
from ocppsync.rpc.frame_codec import FrameCodec
from ocppsync.rpc.incoming import IncomingCall
from ocppsync.rpc.outgoing import CallTimes, OutgoingCall
from ocppsync.rpc.route import OwnAction, never_sure

SECONDS = float(os.environ.get("OCPPSYNC_FUZZ_SECONDS", "10"))
SEED = os.environ.get("OCPPSYNC_FUZZ_SEED", "ocppsync")
VERSIONS = ("1.6", "2.0.1", "2.1")
CODECS = {version: FrameCodec(version) for version in VERSIONS}

# Frames.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
IDS = st.sampled_from(["1", "", "-1", "x" * 36, "x" * 37, "x" * 300, "\0"]) | JSON
FRAMES = st.one_of(
    st.tuples(st.just(2), IDS, st.sampled_from(["Heartbeat", "Nothing"]) | JSON, JSON),
    st.tuples(st.just(3), IDS, JSON),
    st.tuples(st.sampled_from([4, 5]), IDS, JSON, JSON, JSON),
    st.tuples(st.just(6), IDS, JSON, JSON),
    st.lists(JSON, max_size=6),
    JSON,
)
TEXTS = st.text(max_size=40) | st.builds(json.dumps, FRAMES)


OWN = OwnAction(gives=never_sure, takes=never_sure)


def serving(version: str) -> Engine:
    served = ("Heartbeat", "NotifyPeriodicEventStream")
    return make_engine(CODECS[version], lambda action, send: None if action in served else "NotSupported")


def feed(engine: Engine, version: str, text: str) -> Any:
    """Do with a text what a connection does."""
    try:
        received = CODECS[version].parse(text)
    except ProtocolError as error:
        return engine.receive_malformed(error)
    return engine.receive(received)


@pytest.mark.parametrize("version", VERSIONS)
@given(texts=st.lists(TEXTS, max_size=6))
def test_whatever_comes_is_answered_with_a_frame_or_not_at_all(version: str, texts: list[str]) -> None:
    engine = serving(version)
    for text in texts:
        event = feed(engine, version, text)
        if isinstance(event, Reply):
            event.text.encode()  # goes out as UTF-8
            answer = CODECS[version].parse(event.text)
            assert isinstance(answer, frames.CallErrorFrame)
            assert len(answer.message_id) <= 255
            assert len(answer.description) <= 255
        else:
            # Nothing of ours is outstanding, and nothing was answered with a result.
            assert event is None or isinstance(event, IncomingCall)


class Conversation(RuleBasedStateMachine):
    """Random acts of both ends in 2.1, against a model of who owes whom what."""

    @initialize()
    def connect(self) -> None:
        self.memory = AnswerMemory(lambda: 0.0)  # as the CALLs here, which all come at that time
        self.engine = make_engine(CODECS["2.1"], answered=self.memory.answered)
        self.reply_to = object()
        self.number = 0
        self.ours: list[OutgoingCall] = []
        self.settled: Counter[str] = Counter()
        self.owed: dict[str, Any] = {}
        self.answered: list[str] = []

    def new_id(self) -> str:
        self.number += 1
        return f"id-{self.number}"

    @rule()
    def we_call(self) -> None:
        call = OutgoingCall(self.new_id(), "Reset", OWN, "", {}, Future(), CallTimes(30, 60), 0.0)
        self.ours.append(call)
        assert (self.engine.submit(call) is call) == (len(self.ours) == 1)
        self.write(self.ours[0])

    def write(self, call: OutgoingCall | None) -> None:
        if call is not None and call.sent_at is None:
            assert self.engine.begin_writing(call) is call
            assert self.engine.note_writing(call, 0.0)

    @precondition(lambda self: self.ours)
    @rule(text=st.sampled_from(['[3,"%s",{}]', '[4,"%s","GenericError","",{}]', '[3,"%s"]', '[4,"%s",7,"",{}]']))
    def the_peer_answers(self, text: str) -> None:
        call = self.ours.pop(0)
        event = feed(self.engine, "2.1", text % call.message_id)
        assert isinstance(event, Settle)
        assert (event.call, event.next) == (call, self.ours[0] if self.ours else None)
        self.write(event.next)
        self.settled[call.message_id] += 1

    @rule()
    def nothing_is_answered_in_time(self) -> None:
        following = [*self.ours[1:], None]
        overdue = [Overdue(call, None, 60, after) for call, after in zip(self.ours, following, strict=bool(self.ours))]
        for first in overdue[:1]:
            first.waited = 30
        assert self.engine.look(60.0) == overdue
        for call in self.ours:
            self.settled[call.message_id] += 1
        self.ours.clear()

    @precondition(lambda self: len(self.ours) > 1)
    @rule(data=st.data())
    def we_give_up(self, data: Any) -> None:
        call = data.draw(st.sampled_from(self.ours[1:]))
        self.ours.remove(call)
        assert self.engine.withdraw(call) is None
        self.settled[call.message_id] += 1

    @precondition(lambda self: self.settled)
    @rule(data=st.data())
    def the_peer_answers_again_or_late(self, data: Any) -> None:
        message_id = data.draw(st.sampled_from(sorted(self.settled)))
        event = feed(self.engine, "2.1", f'[3,"{message_id}",{{}}]')
        assert event is None or (isinstance(event, Late) and event.call.message_id == message_id)

    @rule()
    def the_peer_calls(self) -> None:
        message_id = self.new_id()
        call = self.called(message_id)
        assert self.memory.remember(call) == (CallKind.NEW, call)
        if len(self.owed) < 4:
            self.owed[message_id] = call
        else:
            self.memory.finish(call, None)

    def called(self, message_id: str) -> IncomingCall:
        """Return a CALL of the peer, as it comes to the memory."""
        text = f'[2,"{message_id}","Heartbeat",{{}}]'
        call = feed(self.engine, "2.1", text)
        assert isinstance(call, IncomingCall)
        assert not call.is_send
        call.text, call.reply_to, call.asked_at = text, self.reply_to, 0.0
        return call

    @precondition(lambda self: self.owed)
    @rule(data=st.data(), well=st.booleans())
    def we_answer(self, data: Any, well: bool) -> None:
        message_id = data.draw(st.sampled_from(sorted(self.owed)))
        self.memory.finish(self.owed.pop(message_id), f'[3,"{message_id}",{{}}]' if well else None)
        if well:
            self.answered.append(message_id)

    @precondition(lambda self: self.owed)
    @rule(data=st.data())
    def the_peer_repeats_what_is_being_handled(self, data: Any) -> None:
        message_id = data.draw(st.sampled_from(sorted(self.owed)[-1:]))
        if message_id == f"id-{self.number}":  # not so long ago that it is forgotten
            known = (CallKind.IN_PROGRESS, self.owed[message_id])
            assert self.memory.remember(self.called(message_id)) == known

    @precondition(lambda self: self.answered)
    @rule()
    def the_peer_refuses_our_answer(self) -> None:
        event = feed(self.engine, "2.1", f'[5,"{self.answered[-1]}","FormatViolation","",{{}}]')
        if self.answered[-1] == f"id-{self.number}":
            assert isinstance(event, AnswerRejected)
            assert event.action == "Heartbeat"
        else:
            assert event is None or isinstance(event, AnswerRejected)

    @rule(message_id=st.sampled_from(["", "-1", "nobody's"]))
    def the_peer_refuses_nothing(self, message_id: str) -> None:
        assert feed(self.engine, "2.1", f'[5,"{message_id}","FormatViolation","",{{}}]') is None

    @rule(payload=st.sampled_from(["{}", "null", "7"]))
    def the_peer_sends(self, payload: str) -> None:
        event = feed(self.engine, "2.1", f'[6,"{self.new_id()}","NotifyPeriodicEventStream",{payload}]')
        assert isinstance(event, IncomingCall)
        assert event.is_send, "nothing answers it"

    @rule(text=st.sampled_from(['[6,"x"]', '[5,"x"]', "[6,7,8,9]", '[7,"x",{}]', "[3,7,{}]"]))
    def the_peer_says_nothing_that_is_answered(self, text: str) -> None:
        assert feed(self.engine, "2.1", text) is None

    @rule(text=st.sampled_from(["", "hello", "[2]", '[2,"x"]', '["2","x"]', '[2,"x",7,{}]']))
    def the_peer_is_not_understood(self, text: str) -> None:
        event = feed(self.engine, "2.1", text)
        assert isinstance(event, Reply)
        assert json.loads(event.text)[:3] == [
            4,
            "x" if text in ('[2,"x"]', '[2,"x",7,{}]') else "-1",
            "RpcFrameworkError",
        ]

    @rule()
    def the_connection_ends(self) -> None:
        assert self.engine.end(ConnectionState.CLOSED) == self.ours
        for call in self.ours:
            self.settled[call.message_id] += 1
        assert set(self.settled.values()) <= {1}, "each is settled once"
        self.connect()

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "engine"):
            assert f"queued={max(0, len(self.ours) - 1)} " in repr(self.engine)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# Bytes.

Chance = random.Random
TOKENS = [
    b"\r\n", b"\r\n\r\n", b"\0", b"\xff", b" ", b":", b"%00", b"%2e%2e%2f", b"HTTP/1.1", b"Host: x\r\n", b"Upgrade",
    b"\x16\x03\x01", b"\x88\0", b"\x89\0", b"\x80\0", b"\xc1\0", b"\x81\x7f", b"\xff" * 8, b"[", b'"', b"{}",
    b"\\u0000", b"1e999", b"null", b"9" * 40, "€".encode(), b"permessage-deflate",
]  # fmt: skip


def mutated(data: bytes, chance: Chance) -> bytes:
    """Return the bytes with one thing changed."""
    at = chance.randrange(len(data) + 1)
    to = min(len(data), at + chance.choice([1, 1, 2, 4, 16, 64]))
    changes: list[Callable[[], bytes]] = [
        lambda: data[:at] + bytes(byte ^ (1 << chance.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 :],
        lambda: data[:at] + data[to:],
        lambda: data[:to] + data[at:],
        lambda: data[:at] + chance.randbytes(to - at) + data[at:],
        lambda: data[:at] + chance.choice(TOKENS) + data[at:],
        lambda: data[:at] + chance.choice(TOKENS) + data[to:],
        lambda: data[:at],
    ]
    return chance.choice(changes)()


def mutated_often(data: bytes, chance: Chance) -> bytes:
    for _ in range(chance.choice([0, 1, 1, 1, 2, 5])):
        data = mutated(data, chance)
    return data


def send_in_pieces(peer: Peer, data: bytes, chance: Chance) -> None:
    """Write it, cut anywhere; the other end may have had enough before the last piece."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice([0, 0, 1, 3])))
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            peer.send(data[begin:end])


def cases(share: float) -> Iterator[tuple[str, Chance]]:
    """Yield the name of each case and its chance, for a share of the time."""
    end = time.monotonic() + SECONDS * share
    number = 0
    while time.monotonic() < end:
        number += 1
        name = f"{SEED}-{number}"
        yield name, Chance(name)


def traceless(caplog: pytest.LogCaptureFixture, case: str) -> None:
    """Make sure that the log has no traceback, and let it start anew: a long run would fill the memory with it."""
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [], case
    assert SECRET not in caplog.text, case
    caplog.clear()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_bytes_in_place_of_a_handshake(caplog: pytest.LogCaptureFixture) -> None:
    statuses: Counter[int] = Counter()
    with besieged(caplog, growth=256 * 1024 * 1024, authorize=lambda http_request, _: True) as siege:
        for case, chance in cases(0.4):
            valid = request(
                chance.choice(["/CP1", "/ocpp/CP%201?x=y", "http://host/CP1", "/%2e%2e%2fCP1/"]),
                Authorization=chance.choice([None, f"Basic {SECRET}"]),
                Sec_WebSocket_Protocol=chance.choice(["ocpp1.6", "ocpp2.0.1, ocpp1.6", "x", None]),
                Sec_WebSocket_Extensions=chance.choice([None, "permessage-deflate; client_max_window_bits"]),
                X_Forwarded_For=chance.choice([None, "192.0.2.1, 10.0.0.1"]),
            )
            with dial(siege.port) as peer:
                send_in_pieces(peer, mutated_often(valid, chance), chance)
                statuses[status_of(peer, case)] += 1
            traceless(caplog, case)
            siege.events.items.clear()
    assert statuses[101] > 0
    assert set(statuses) <= {0, 101, 400, 404, 405, 426, 431, 505}, statuses


def status_of(peer: Peer, case: str) -> int:
    """Say that nothing more comes; return the status of the answer, 0 when there was none."""
    with contextlib.suppress(OSError):
        peer.sock.shutdown(1)
    try:
        answer = peer.read_rest()
    except ConnectionResetError:
        return 0
    except TimeoutError:
        pytest.fail(f"{case}: the connection stands")
    assert not answer or answer.startswith(b"HTTP/1.1 "), (case, answer)
    return int(answer[9:12]) if answer else 0


def messages(version: str, chance: Chance) -> Iterator[bytes]:
    """Yield messages that are more or less in order."""
    boot: Any = {"chargePointVendor": "Acme", "chargePointModel": "One"}
    if version != "1.6":
        boot = {"reason": "PowerUp", "chargingStation": {"model": "One", "vendorName": "Acme"}}
    for number in range(chance.randrange(1, 8)):
        message: Any = chance.choice(
            [
                [2, f"{number}", "Heartbeat", {}],
                [2, f"{number}", "BootNotification", boot],
                [2, "again", "Heartbeat", {}],
                [2, f"{number}", "Nothing", {}],
                [2, f"{number}", "DataTransfer", {"vendorId": "€" * chance.randrange(300), "data": "x"}],
                [3, f"{number}", {}],
                [4, f"{number}", "GenericError", "", {}],
                [5, f"{number}", "GenericError", "", {}],
                [6, f"{number}", "NotifyPeriodicEventStream", {}],
            ]
        )
        data = json.dumps(message).encode()
        yield mutated(data, chance) if chance.random() < 0.3 else data


def framed(data: bytes, chance: Chance, *, deflate: bool) -> bytes:
    """Return a message as frames: in one or in several, compressed or not, with a ping between them or not."""
    reserved = 4 if deflate and chance.random() < 0.7 else 0
    if reserved:
        compressor = zlib.compressobj(wbits=-15)
        data = (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    if chance.random() < 0.6:
        return frame(TEXT, data, reserved=reserved)
    at = chance.randrange(len(data) + 1)
    between = frame(PING, "x") if chance.random() < 0.5 else b""
    return frame(TEXT, data[:at], fin=False, reserved=reserved) + between + frame(CONTINUATION, data[at:])


def stream_of(version: str, chance: Chance, *, deflate: bool) -> bytes:
    """Return a conversation's worth of frames, with or without faults."""
    pieces = [framed(data, chance, deflate=deflate) for data in messages(version, chance)]
    if chance.random() < 0.1:
        pieces.append(frame(CLOSE, close_payload(1000)))
    if chance.random() < 0.2:
        chance.shuffle(pieces)
    data = b"".join(pieces)
    return mutated_often(data, chance) if chance.random() < 0.5 else data


def read_answers(peer: Peer) -> tuple[Counter[str], bool]:
    """Return how often each id was answered, and whether the last one was among them; else the connection ended, or the
    last message fell to what was before it."""
    answers: Counter[str] = Counter()
    with contextlib.suppress(EOFError, ConnectionResetError, TimeoutError):
        while True:
            got = peer.read_frame(within=0.3)
            if got.opcode != TEXT:
                continue
            payload = zlib.decompressobj(-15).decompress(got.payload + b"\0\0\xff\xff") if got.reserved else got.payload
            kind, message_id = json.loads(payload)[:2]
            assert kind in (3, 4), payload
            answers[message_id] += 1
            if message_id == "last":
                return answers, True
    return answers, False


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_bytes_in_place_of_frames(caplog: pytest.LogCaptureFixture) -> None:
    came: dict[str, list[str]] = {}
    whole = 0

    def note(text: str, metadata: Any) -> None:
        came.setdefault(metadata.charge_point_id, []).append(text)

    with besieged(caplog, growth=256 * 1024 * 1024, on_raw_websocket_data=note, enforce_registration=False) as siege:
        for case, chance in cases(0.6):
            version = chance.choice(VERSIONS)
            deflate = version != "1.6" and chance.random() < 0.5
            with dial(siege.port) as peer:
                peer.upgrade(
                    f"/{case}",
                    Sec_WebSocket_Protocol=f"ocpp{version}",
                    Sec_WebSocket_Extensions="permessage-deflate" if deflate else None,
                )
                data = stream_of(version, chance, deflate=deflate)
                send_in_pieces(peer, data + frame(TEXT, '[2,"last","Heartbeat",{}]'), chance)
                answers, complete = read_answers(peer)
            siege.wait_gone(case)
            check_answers(CODECS[version], came.pop(case, []), answers, case, complete=complete)
            whole += complete
            traceless(caplog, case)
            siege.events.items.clear()
            came.clear()
    assert whole > 0


def check_answers(codec: FrameCodec, came: list[str], answers: Counter[str], case: str, *, complete: bool) -> None:
    """Each CALL was answered once, and nothing else was; where the connection broke, at most once."""
    calls: Counter[str] = Counter()
    others: set[str] = {"-1"} if codec.reports_unreadable else set()
    for text in came:
        try:
            received = codec.parse(text)
        except ProtocolError as error:
            others.add(str(error.message_id))
            continue
        if isinstance(received, IncomingCall) and not received.is_send:
            calls[str(received.message_id)] += 1
    for message_id, count in answers.items():
        assert message_id in others or count <= calls[message_id], (case, message_id, came)
    for message_id, count in calls.items():
        if complete and len(message_id) <= frames.MAX_MESSAGE_ID:
            # One that is repeated while it is handled shares its answer. A refused message with its id has its own.
            once = count == 1 and message_id not in others
            assert (answers[message_id] == 1) if once else answers[message_id] >= 1, (case, message_id, came)

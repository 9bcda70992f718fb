"""A conversation from the journal is played again, against the same central system and against another one."""

from __future__ import annotations

import json
import re
import threading
import unittest
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from support import BOOT, DEADLINE, RawChargePoint, raw, serving
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from ocppsync import CentralSystem, HandshakeError, Limits, Validation, utc_now
from ocppsync.cli import main
from ocppsync.journal import Journal, RecordedSession, read_journal
from ocppsync.replay import replay
from ocppsync.testing import CentralSystemTestCase, assert_replays, fake_charge_point, inline

START = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}


def prepare(cs: CentralSystem, first: int, interval: int = 300, *, asks: bool = True) -> None:
    @cs.on("BootNotification")
    def boot(payload: Any, metadata: Any) -> Any:
        return {"status": "Accepted", "currentTime": utc_now(), "interval": interval}

    @cs.on("StartTransaction")
    def start(payload: Any, metadata: Any) -> Any:
        return {"transactionId": first, "idTagInfo": {"status": "Accepted"}}

    @cs.on("StopTransaction")
    def stop(payload: Any, metadata: Any) -> Any:
        return {"idTagInfo": {"status": "Accepted" if payload["transactionId"] == first else "Invalid"}}

    if asks:

        @cs.after("BootNotification")
        def ask(payload: Any, metadata: Any) -> Any:
            cs.submit_request(metadata.charge_point_id, "GetConfiguration", {"key": ["A"]}, timeout=DEADLINE)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "wire.jsonl"
    with serving(journal=path) as cs:
        prepare(cs, 7)
        with raw(cs) as peer:
            assert peer.call("1", "BootNotification", BOOT)[0] == 3
            _, message_id, action, _ = peer.read()
            assert action == "GetConfiguration"
            peer.send([3, message_id, {"unknownKey": ["A"]}])
            assert peer.call("2", "StartTransaction", START)[2]["transactionId"] == 7
            peer.send("[2")
            stop = {"transactionId": 7, "idTag": "T", "meterStop": 1, "timestamp": "2026-01-01T00:00:00Z"}
            assert peer.call("3", "StopTransaction", stop)[2] == {"idTagInfo": {"status": "Accepted"}}
            assert peer.call("4", "Heartbeat", {})[2] == "NotSupported"
    yield path


def test_the_same_central_system_answers_alike(journal: Path) -> None:
    with serving() as cs:
        prepare(cs, 8)  # other transactions
        assert_replays(journal, f"ws://127.0.0.1:{cs.port}", timeout=DEADLINE)
        (session,) = read_journal(journal)
        assert replay(session, f"ws://127.0.0.1:{cs.port}", charge_point_id="CP2", timeout=DEADLINE) == []


def test_differences_are_found(journal: Path) -> None:
    with serving() as cs:
        prepare(cs, 8, interval=60, asks=False)
        cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
        (session,) = read_journal(journal)
        found = [one.message for one in replay(session, f"ws://127.0.0.1:{cs.port}", timeout=1)]
        assert found == [
            "the CALLRESULT to BootNotification: interval was 300, is 60",
            "the CALL GetConfiguration was not received within 1 s",
            "expected the CALLERROR NotSupported to Heartbeat, received the CALLRESULT to Heartbeat",
        ]
        with pytest.raises(AssertionError, match="interval was 300, is 60"):
            assert_replays(journal, f"ws://127.0.0.1:{cs.port}", timeout=1)
        ignored = replay(session, f"ws://127.0.0.1:{cs.port}", timeout=1, ignore=["currentTime", "interval"])
        assert len(ignored) == 2


def test_a_refused_replay_raises(journal: Path) -> None:
    with serving(authorize=lambda http_request, charge_point_id: False) as cs:
        (session,) = read_journal(journal)
        with pytest.raises(HandshakeError):
            replay(session, f"ws://127.0.0.1:{cs.port}")


def test_the_command(journal: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with serving() as cs:
        prepare(cs, 8, interval=60)
        url = f"ws://127.0.0.1:{cs.port}"
        assert main(["replay", str(journal), "--url", url]) == 1
        shown = capsys.readouterr().out.splitlines()
        assert len(shown) == 2
        assert shown[0].endswith("the CALLRESULT to BootNotification: interval was 300, is 60")
        assert shown[1] == "1 connection, 11 messages, 1 difference"
        assert main(["replay", str(journal), "--url", url, "--ignore", "interval"]) == 0
        capsys.readouterr()
        assert main(["replay", str(journal), "--url", url, "--charge-point", "other"]) == 1
        assert capsys.readouterr().err == f"ocppsync: {journal}: it has no messages of 'other' to replay\n"
    assert main(["replay", str(tmp_path / "absent.jsonl")]) == 1
    assert capsys.readouterr().err == f"ocppsync: {tmp_path / 'absent.jsonl'}: No such file or directory\n"
    assert main(["replay", str(journal), "--url", url]) == 1
    assert "cannot connect to 127.0.0.1" in capsys.readouterr().err
    assert json.loads(journal.read_text(encoding="utf-8").splitlines()[0])["event"] == "connected"


def test_over_tls_the_central_system_has_to_prove_itself(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, name="Other CA")
    with serving(ssl_context=authority.server_context()) as cs:
        prepare(cs, 8)
        url = f"wss://localhost:{cs.port}"
        assert_replays(journal, url, timeout=DEADLINE, ssl_context=authority.client_context())
        assert main(["replay", str(journal), "--url", url, "--ca", str(authority.certificate)]) == 0
        assert capsys.readouterr().out == "1 connection, 11 messages, 0 differences\n"
        for options in (["--ca", str(other.certificate)], []):
            assert main(["replay", str(journal), "--url", url, *options]) == 1
            assert "the server's certificate was refused" in capsys.readouterr().err
    for file, fault in ((tmp_path / "absent.pem", "No such file"), (journal, "is not a PEM file with certificates")):
        assert main(["replay", str(journal), "--url", url, "--ca", str(file)]) == 1
        assert re.search(f"^ocppsync: {file}:? {fault}", capsys.readouterr().err)


def test_another_implementation_may_say_anything(journal: Path) -> None:
    def answer(peer: ServerConnection) -> None:
        for _ in peer:
            for text in ("[3", "[]", "[3,{},{}]", '"x"', '[2,"7","GetConfiguration"]'):
                peer.send(text)

    (session,) = read_journal(journal)
    with serve(answer, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        found = [one.message for one in replay(session, f"ws://127.0.0.1:{port}", timeout=0.3)]
        server.shutdown()
        thread.join()
    assert found[0] == 'received an invalid message: "[3"'
    assert "the CALLRESULT to BootNotification was not received within 0.3 s" in found
    assert any(one.startswith("the CALL GetConfiguration: the payload was {") for one in found)


@pytest.mark.parametrize("without_threads", [True, False])
def test_a_conversation_is_a_test_without_network(journal: Path, without_threads: bool) -> None:
    answers: list[Any] = []

    class Replayed(CentralSystemTestCase):
        inline = without_threads

        def make_central_system(self) -> CentralSystem:
            cs = CentralSystem(None)
            prepare(cs, 8, asks=False)

            @cs.after("BootNotification")
            def ask(payload: Any, metadata: Any) -> Any:
                # It waits for the answer, and on the thread that plays if there is no other.
                answers.append(cs.send_request(metadata.charge_point_id, "GetConfiguration", {"key": ["A"]}))

            return cs

        def runTest(self) -> None:
            assert_replays(journal, self.cs)
            self.cs.on("Heartbeat")(lambda payload, metadata: {"currentTime": utc_now()})
            with self.assertRaisesRegex(AssertionError, "received the CALLRESULT to Heartbeat"):
                assert_replays(journal, self.cs)

    result = unittest.TestResult()
    Replayed("runTest").run(result)
    assert result.wasSuccessful(), result.failures + result.errors
    assert answers == [{"unknownKey": ["A"]}] * 2


def test_what_is_asked_about_a_transaction_follows_its_number(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"

    def central_system(first: int, **options: Any) -> CentralSystem:
        cs = CentralSystem(None, **options)
        prepare(cs, first, asks=False)

        @cs.after("StartTransaction")
        def stop(payload: Any, metadata: Any) -> Any:
            cs.submit_request(metadata.charge_point_id, "RemoteStopTransaction", {"transactionId": first})

        return cs

    with inline(recorded := central_system(7, journal=path)), fake_charge_point(recorded) as cp:
        cp.boot(chargePointVendor="line \u2028 separator")
        cp.expect("RemoteStopTransaction", {"status": "Accepted"})
        cp.call("StartTransaction", START)
    with inline(again := central_system(8)):
        assert_replays(path, again)


def test_an_unsupported_version_is_not_replayed(journal: Path) -> None:
    (session,) = read_journal(journal)
    session.version = "1.5"
    text = r"unsupported OCPP version '1\.5'; supported: 1\.6, 2\.0\.1, 2\.1"
    with inline(cs := CentralSystem(None)), pytest.raises(ValueError, match=text):
        replay(session, cs)


# What a peer can write and Python cannot write again as it is.

ODD = [
    r'"ftp://a:b@host \ud83d"',
    r'"\ud83d"',
    "1e999",
    "-1e999",
    "NaN",
    "9" * 4000,
    "9" * 5000,
    "[" * 90 + "]" * 90,
    "[" * 20_000 + "]" * 20_000,
]


def converse(peer: RawChargePoint, value: str) -> None:
    """Have the value in a CALL, in an answer, and in a CALL that the replay renumbers."""
    assert peer.call("1", "BootNotification", BOOT)[0] == 3
    asked = peer.read()[1]
    peer.send(f'[3,"{asked}",{{"unknownKey":[{value}]}}]')
    assert peer.call("2", "StartTransaction", START)[0] == 3
    peer.send(f'[2,"3","DataTransfer",{{"vendorId":"v","data":{value}}}]')
    stop = '"transactionId":7,"idTag":"T","meterStop":1,"timestamp":"2026-01-01T00:00:00Z"'
    peer.send(f'[2,"4","StopTransaction",{{{stop},"more":{value}}}]')
    peer.send('[2,"5","Heartbeat",{}]')
    while peer.read()[1] != "5":
        pass


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("value", ODD, ids=lambda value: str(value)[:12])
def test_what_cannot_be_written_again_is_recorded_and_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str, mask: bool
) -> None:
    path = tmp_path / "wire.jsonl"
    journal = Journal(path, mask=mask)
    with serving(observers=[journal]) as cs:
        prepare(cs, 7)
        with raw(cs) as peer:
            converse(peer, value)
    journal.close()
    (session,) = read_journal(path)
    assert sum(entry.direction == "in" for entry in session.entries) == 6
    with serving() as cs:
        prepare(cs, 8)
        assert_replays(path, f"ws://127.0.0.1:{cs.port}", timeout=DEADLINE)
    with inline(cs := CentralSystem(None)):
        prepare(cs, 8)
        assert_replays(path, cs)
    assert capsys.readouterr().err == ""


def test_a_replay_neither_compares_nor_shows_secrets(tmp_path: Path) -> None:
    def configure(key: str, host: str, **options: Any) -> CentralSystem:
        cs = CentralSystem(None, **options)
        prepare(cs, 7, asks=False)

        @cs.after("StartTransaction")
        def change(payload: Any, metadata: Any) -> Any:
            name = metadata.charge_point_id
            cs.submit_request(name, "ChangeConfiguration", {"key": "AuthorizationKey", "value": key})
            cs.submit_request(name, "GetDiagnostics", {"location": f"ftp://user:{key}@{host}/"})
            cs.submit_request(name, "RemoteStartTransaction", {"idTag": key})

        return cs

    journal = Journal(tmp_path / "wire.jsonl", mask={"idTag"})
    with inline(first := configure("s3cret1", "host", observers=[journal])), fake_charge_point(first) as cp:
        cp.boot()
        cp.expect("ChangeConfiguration", {"status": "Accepted"})
        cp.expect("GetDiagnostics", {})
        cp.expect("RemoteStartTransaction", {"status": "Accepted"})
        cp.call("StartTransaction", START)
    journal.close()
    with inline(cs := configure("s3cret2", "host")):
        assert_replays(tmp_path / "wire.jsonl", cs)
    with inline(cs := configure("s3cret3", "other")), pytest.raises(AssertionError, match="location was") as caught:
        assert_replays(tmp_path / "wire.jsonl", cs)
    assert "s3cret" not in str(caught.value)


def test_a_journal_without_messages_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tmp_path / "wire.jsonl"
    journal.write_text("")
    with pytest.raises(AssertionError, match="no messages to replay"):
        assert_replays(journal, CentralSystem(None))
    assert main(["replay", str(journal)]) == 1
    assert capsys.readouterr().err == f"ocppsync: {journal}: it has no messages to replay\n"


def test_a_torn_journal_is_replayed(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[:50] + b"\n")
    with serving() as cs:
        prepare(cs, 8)
        url = f"ws://127.0.0.1:{cs.port}"
        assert_replays(journal, url, timeout=DEADLINE)
        assert main(["replay", str(journal), "--url", url]) == 0
    shown = capsys.readouterr()
    assert shown.out == "1 connection, 11 messages, 0 differences\n"
    line = whole.count(b"\n") + 1
    assert shown.err == f"ocppsync: {journal}, line {line} is not a journal entry, and is skipped: it is not JSON\n"
    journal.write_bytes(b"something else\n")
    assert main(["replay", str(journal), "--url", url]) == 1
    assert "is not a journal: none of its lines can be read" in capsys.readouterr().err


DEEP = "[" * 20_000
NESTED = "[" * 900 + "]" * 900
HOSTILE = [
    "",
    "null",
    DEEP,
    NESTED,
    f'[2,"1","DataTransfer",{DEEP}',
    f'[2,"1","DataTransfer",{{"vendorId":{NESTED}}}]',
    f'[3,"1",{NESTED}]',
    f"[{NESTED},{NESTED},{NESTED}]",
    '[2,"1","DataTransfer",{"vendorId":NaN}]',
    '[3,"1",{"transactionId":-Infinity}]',
    '[2,"1","StartTransaction",1e999]',
    '[3,"1",{"transactionId":1e999}]',
    '[3,"1",{"transactionId":[1]}]',
    '[3,"1",{"transactionId":{"a":{}}}]',
    '[3,"1",{"transactionId":true}]',
    f'[3,"1",{{"transactionId":{"9" * 4000}}}]',
    f'[3,"1",{"9" * 10_000}]',
    "[2,1,null,[]]",
    "[2,{},[],[]]",
    "[2,true,false,null]",
    '[2,"1",{"a":[]}]',
    '[2,"1",["x"],"x",7,8]',
    "[[],1,2]",
    "[{},1,2]",
    "[null,1,2]",
    "[2.0,1,2]",
    "[true,1,2]",
    '["2","1","Heartbeat",{}]',
    "[4,1,2]",
    '[4,"1",[],{},[]]',
    '[5,"1","InternalError","",{}]',
    '[6,"1","NotifyPeriodicEventStream",{}]',
    '[99,"1",{}]',
]


@pytest.mark.parametrize(
    ("direction", "over"),
    [
        ("in", "memory without threads"),
        ("in", "memory"),
        ("in", "socket"),
        ("out", "memory without threads"),
        ("out", "memory"),
    ],
)
def test_a_hostile_journal_is_replayed_or_differs(tmp_path: Path, direction: str, over: str) -> None:
    start = [2, "1", "StartTransaction", START]
    texts = [json.dumps(start), *HOSTILE, json.dumps([2, "2", "Heartbeat", {}])]
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(texts):
        # Each stands alone, and among what answers it.
        sides = [direction] if text in HOSTILE else ["in"]
        known = {"time": "t", "charge_point": f"CP{number}", "version": "1.6"}
        lines += [{**known, "direction": "in", "text": texts[0]}]
        lines += [{**known, "direction": one, "text": text} for one in sides]
        lines += [{"time": "t", "charge_point": "all", "version": "1.6", "direction": direction, "text": text}]
    path = tmp_path / "wire.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    limits = Limits(malformed_messages=None)
    cs = CentralSystem(0 if over == "socket" else None, host="127.0.0.1", limits=limits)
    prepare(cs, 7)
    cs.after("StartTransaction")(lambda payload, metadata: cs.submit_request(metadata.charge_point_id, "ClearCache"))
    with inline(cs) if over == "memory without threads" else cs:
        at = f"ws://127.0.0.1:{cs.port}" if over == "socket" else cs
        with pytest.raises(AssertionError, match="differ from the journal") if direction == "out" else nullcontext():
            # Most of what the central system is said to have sent never comes.
            assert_replays(path, at, timeout=DEADLINE if direction == "in" else 0.01)
        if direction == "out":
            (session,) = [one for one in read_journal(path) if one.charge_point_id == "all"]
            found = [one.message for one in replay(session, at, timeout=0.01)]
            assert f'the journal has an invalid message: "{"[" * 299}...' in found


@pytest.mark.parametrize("over", ["memory", "socket"])
def test_a_hostile_version_is_refused(tmp_path: Path, over: str) -> None:
    session = RecordedSession("CP1", "1.6\r\nX-Forwarded-For: 192.0.2.1")
    with serving() as cs, pytest.raises(ValueError, match="unsupported OCPP version"):
        replay(session, cs if over == "memory" else f"ws://127.0.0.1:{cs.port}")


def test_the_system_under_test_may_say_anything_about_a_transaction(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    with inline(recorded := CentralSystem(None, journal=path)), fake_charge_point(recorded) as cp:
        prepare(recorded, 7)
        cp.call("StartTransaction", START)
    for number in ([1], {}, None, True, "7", 1.5):
        with inline(again := CentralSystem(None, validation=Validation(outbound="off"))):
            again.on("StartTransaction")(lambda payload, metadata, n=number: {"transactionId": n, "idTagInfo": {}})
            with pytest.raises(AssertionError, match="transactionId was 7, is "):
                assert_replays(path, again)

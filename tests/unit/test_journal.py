"""Writing and reading a journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import BOOT, accept_boots, raw, serving

from ocppsync.events import Closed, Connected, MessageReceived, MessageSent, Refused
from ocppsync.journal import Journal, read_journal


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_message_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    with serving(journal=path) as cs:
        accept_boots(cs)
        with raw(cs) as peer:
            text = json.dumps([2, "1", "BootNotification", BOOT], indent=1)
            answer = json.dumps(peer.ask(text), separators=(",", ":"))
    connected, received, sent, closed = lines_of(path)
    known = {"charge_point": "CP1", "version": "1.6", "connection": 1}
    assert {**connected, "time": ""} == {"time": "", **known, "event": "connected"}
    assert {**received, "time": ""} == {"time": "", **known, "direction": "in", "text": text}
    assert {**sent, "time": ""} == {"time": "", **known, "direction": "out", "text": answer}
    assert {**closed, "time": ""} == {"time": "", **known, "event": "closed", "code": 1000}
    assert received["time"] <= sent["time"] < "2100"


SECRET = '[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"0001020304"}]'


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('[2, "1",  "Heartbeat", {}]', '[2, "1",  "Heartbeat", {}]'),
        (SECRET, SECRET.replace("0001020304", "***")),
        ("[2, broken ftp://user:secret@host/", "[2, *** ***:***:***"),
        ("[" * 5000, "[" * 5000),
    ],
)
def test_secrets_are_masked_and_other_texts_are_unchanged(tmp_path: Path, text: str, written: str) -> None:
    for mask, expected in ((True, written), (False, text)):
        path = tmp_path / f"{mask}.jsonl"
        journal = Journal(path, mask=mask)
        journal(MessageSent("CP1", "1.6", "CALL", "1", "", text, None))
        journal.close()
        assert lines_of(path)[0]["text"] == expected


QUOTED = "'0001020304' is too short"


@pytest.mark.parametrize(
    ("kind", "answer", "written"),
    [
        (
            "CALLERROR",
            [4, "1", "FormationViolation", QUOTED, {"cause": QUOTED, "0001020304": 1}],
            [4, "1", "FormationViolation", "***", {"cause": "***", "***": "***"}],
        ),
        ("CALLERROR", [4, "1", "FormationViolation"], [4, "1", "FormationViolation"]),
        (
            "CALLRESULT",
            [3, "1", {"status": "Rejected", "statusInfo": {"reasonCode": "Bad", "additionalInfo": QUOTED}}],
            [3, "1", {"status": "Rejected", "statusInfo": {"reasonCode": "Bad", "additionalInfo": "***"}}],
        ),
    ],
)
@pytest.mark.parametrize("ours", [True, False])
def test_the_answer_to_a_call_with_a_secret_does_not_quote_it(
    tmp_path: Path, kind: Any, answer: Any, written: Any, ours: bool
) -> None:
    journal = Journal(tmp_path / "wire.jsonl")
    call, reply = (MessageSent, MessageReceived) if ours else (MessageReceived, MessageSent)
    text = json.dumps(answer)
    journal(call("CP1", "1.6", "CALL", "1", "ChangeConfiguration", SECRET, None, 1))
    journal(reply("CP1", "1.6", kind, "1", "ChangeConfiguration", text, 0.1, 1))
    # The answers to other CALLs: with another number, on another connection, in the other direction.
    journal(reply("CP1", "1.6", kind, "2", "ChangeConfiguration", text, 0.1, 1))
    journal(reply("CP1", "1.6", kind, "1", "ChangeConfiguration", text, 0.1, 2))
    journal(call("CP1", "1.6", kind, "1", "ChangeConfiguration", text, 0.1, 1))
    journal.close()
    _, hidden, *others = lines_of(tmp_path / "wire.jsonl")
    assert json.loads(hidden["text"]) == written
    assert [other["text"] for other in others] == [text] * 3


def test_an_error_about_the_answer_to_a_call_with_a_secret_does_not_quote_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "wire.jsonl")
    authorize = '[2,"1","Authorize",{"idToken":{"idToken":"48151623","type":"KeyCode"}}]'
    journal(MessageReceived("CP1", "2.1", "CALL", "1", "Authorize", authorize, None))
    journal(MessageReceived("CP1", "2.1", "CALLRESULTERROR", "1", "Authorize", '[5,"1","X","48151623",{}]', 0.1))
    journal.close()
    assert lines_of(tmp_path / "wire.jsonl")[1]["text"] == '[5,"1","X","***",{}]'


@pytest.mark.parametrize("names", [{"idTag", "idToken"}, ["IDTAG"]])
def test_further_fields_are_masked(tmp_path: Path, names: Any) -> None:
    journal = Journal(tmp_path / "wire.jsonl", mask=names)
    for text in ('[2,"1","Authorize",{"idTag":"04A1"}]', SECRET):
        journal(MessageReceived("CP1", "1.6", "CALL", "1", "", text, None))
    journal.close()
    texts = [line["text"] for line in lines_of(tmp_path / "wire.jsonl")]
    assert texts == ['[2,"1","Authorize",{"idTag":"***"}]', SECRET.replace("0001020304", "***")]


@pytest.mark.parametrize("names", ["idTag", [1]])
def test_what_names_no_fields_is_refused(tmp_path: Path, names: Any) -> None:
    with pytest.raises(TypeError, match="mask must be True, False or names of fields"):
        Journal(tmp_path / "wire.jsonl", mask=names)
    assert not (tmp_path / "wire.jsonl").exists()


def test_the_file_is_rotated(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "wire.jsonl", max_bytes=500, backups=2)
    for number in range(20):
        journal(MessageReceived("CP1", "1.6", "CALL", str(number), "", "x" * 100, None))
    journal.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wire.jsonl", "wire.jsonl.1", "wire.jsonl.2"]
    assert all(path.stat().st_size <= 500 for path in tmp_path.iterdir())


def test_a_journal_is_read_by_connection(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    journal = Journal(path, mask=False)
    journal(Refused("127.0.0.1", "/x", 404, "why"))
    for event in (
        MessageReceived("A", "1.6", "CALL", "1", "", "connected earlier", None),
        Connected("B", "2.1", "127.0.0.1"),
        MessageReceived("B", "2.1", "CALL", "1", "", "b1", None),
        MessageSent("A", "1.6", "CALL", "1", "", "a2", None),
        Closed("B", "2.1", 1000, 1.0),
        Connected("B", "2.0.1", "127.0.0.1"),
        MessageReceived("B", "2.0.1", "CALL", "1", "", "b2", None),
        Connected("C", "1.6", "127.0.0.1"),
    ):
        journal(event)
    journal.close()
    found = [
        (session.charge_point_id, session.version, [(entry.direction, entry.text) for entry in session.entries])
        for session in read_journal(path)
    ]
    assert found == [
        ("A", "1.6", [("in", "connected earlier"), ("out", "a2")]),
        ("B", "2.1", [("in", "b1")]),
        ("B", "2.0.1", [("in", "b2")]),
    ]

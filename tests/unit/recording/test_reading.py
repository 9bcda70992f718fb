"""A journal is read by connection, whatever its lines hold."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ocppsync.journal import Journal, RecordedSession, read_journal
from ocppsync.recording.reading import Entry

LINE = {"time": "t", "charge_point": "CP1", "version": "1.6", "direction": "in", "text": "x"}
DEEP = "[" * 100_000


def line(**changes: Any) -> bytes:
    """A line of a journal, with some fields replaced, or left out where the value is ``...``."""
    fields = {name: value for name, value in {**LINE, **changes}.items() if value is not ...}
    return json.dumps(fields).encode() + b"\n"


def read(tmp_path: Path, *lines: bytes) -> tuple[list[RecordedSession], list[str]]:
    """Return the connections in a file with these lines, and what is reported about them."""
    path = tmp_path / "wire.jsonl"
    path.write_bytes(b"".join(lines))
    reports: list[str] = []
    sessions = read_journal(path, report=reports.append)
    return sessions, [text.replace(str(path), "wire") for text in reports]


def texts(sessions: list[RecordedSession]) -> list[tuple[str, int | None, list[str]]]:
    return [(one.charge_point_id, one.connection, [entry.text for entry in one.entries]) for one in sessions]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (b"no JSON\n", "it is not JSON"),
        (b'{"time":"2026-\n', "it is not JSON"),
        (b"[]\n", "it is not a JSON object"),
        (b"NaN\n", "it is not a JSON object"),
        (b"1" * 10_000 + b"\n", "it is not JSON"),
        (DEEP.encode() + b"\n", "it is nested too deeply"),
        (b'{"text":' + DEEP.encode() + b"\n", "it is nested too deeply"),
        (b"\xff\xfe\n", "it is not UTF-8"),
        (b'{"text":"\xed\xa0\xbd"}\n', "it is not UTF-8"),
        (b"{}\n", "its charge_point is missing or not a string"),
        (line(charge_point=["CP1"]), "its charge_point is missing or not a string"),
        (line(charge_point=""), "its charge_point is empty"),
        (line(charge_point="CP1\r\nX: y"), "its charge_point contains control characters"),
        (line(charge_point="CP1\u2028"), "its charge_point contains control characters"),
        (line(charge_point="x" * 300), "its charge_point has 300 characters; at most 255 are allowed"),
        (line(charge_point="\ud83d"), "its charge_point contains half a surrogate pair"),
        (line(version={}), "its version is missing or not a string"),
        (line(version=...), "its version is missing or not a string"),
        (line(time=1e308), "its time is missing or not a string"),
        (line(time=...), "its time is missing or not a string"),
        (line(direction="up"), 'its direction is neither "in" nor "out"'),
        (line(direction=["in"]), 'its direction is neither "in" nor "out"'),
        (line(direction=...), 'its direction is neither "in" nor "out"'),
        (line(text=None), "its text is missing or not a string"),
        (line(text=[2, "1", "Heartbeat", {}]), "its text is missing or not a string"),
        (line(text="\udc00"), "its text contains half a surrogate pair"),
        (line(event="reset"), "its event is unknown"),
        (line(event=[]), "its event is unknown"),
        (line(connection="1"), "its connection is not a whole number"),
        (line(connection=True), "its connection is not a whole number"),
        (line(connection=float("nan")), "its connection is not a whole number"),
        (line(connection=float("inf")), "its connection is not a whole number"),
        (line(connection=-1), "its connection is not a whole number"),
        (line(connection=10**300), "its connection is not a whole number"),
        (line(event="lost", lines="many"), "its lines is not a whole number"),
    ],
)
def test_a_line_that_cannot_be_read_is_skipped_and_reported(tmp_path: Path, bad: bytes, fault: str) -> None:
    sessions, reports = read(tmp_path, line(text="a"), bad, line(text="b"))
    assert texts(sessions) == [("CP1", None, ["a", "b"])]
    assert reports == [f"wire, line 2 is not a journal entry, and is skipped: {fault}"]
    with pytest.raises(ValueError, match=f"is not a journal: none of its lines can be read; line 2 .*: {fault}"):
        read(tmp_path, b"\n", bad)


@pytest.mark.parametrize("length", [1, 20, 60, len(line()) - 2])
def test_a_last_line_that_a_crash_has_cut_off_is_skipped(tmp_path: Path, length: int) -> None:
    sessions, reports = read(tmp_path, line(text="a"), line()[:length])
    assert texts(sessions) == [("CP1", None, ["a"])]
    assert reports == ["wire, line 2 is cut off, and is skipped: it is not JSON"]
    assert read(tmp_path, line()[:length])[0] == []
    # The journal goes on where it was torn.
    journal = Journal(tmp_path / "wire.jsonl")
    journal._file.append({**LINE, "text": "b"})
    journal.close()
    half, entry = (tmp_path / "wire.jsonl").read_bytes().splitlines(keepends=True)
    sessions, reports = read(tmp_path, half, entry)
    assert texts(sessions) == [("CP1", None, ["b"])]
    assert reports == ["wire, line 1 is not a journal entry, and is skipped: it is not JSON"]


def test_a_last_line_without_its_end_is_read(tmp_path: Path) -> None:
    assert texts(read(tmp_path, line()[:-1])[0]) == [("CP1", None, ["x"])]


def test_only_the_first_faults_are_reported_one_by_one(tmp_path: Path) -> None:
    sessions, reports = read(tmp_path, line(), *[b"{}\n"] * 1000)
    assert len(sessions) == 1
    assert len(reports) == 11
    assert reports[-1] == "wire: 990 more lines are skipped"


def test_without_a_report_the_log_tells(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "wire.jsonl"
    path.write_bytes(line() + line()[:9])
    assert len(read_journal(path)) == 1
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "ocppsync.recording.reading")
    assert record.getMessage() == f"{path}, line 2 is cut off, and is skipped: it is not JSON"


def test_lost_lines_are_reported(tmp_path: Path) -> None:
    sessions, reports = read(tmp_path, line(), b'{"time":"t","event":"lost","lines":3}\n', line())
    assert texts(sessions) == [("CP1", None, ["x", "x"])]
    assert reports == ["wire, line 2: 3 lines before it were lost when it was written"]


@pytest.mark.parametrize("content", [b"", b"\n \r\n"])
def test_an_empty_file_is_a_journal(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == ([], [])


def event(name: str, number: int | None, charge_point: str = "CP1") -> bytes:
    return line(event=name, connection=number, charge_point=charge_point, direction=..., text=...)


def message(text: str, number: int | None, charge_point: str = "CP1") -> bytes:
    return line(text=text, connection=number, charge_point=charge_point)


def test_messages_belong_to_the_connection_with_their_number(tmp_path: Path) -> None:
    sessions, reports = read(
        tmp_path,
        message("began before", 3),
        event("connected", 5),
        message("a", 5),
        message("still the old one", 3),
        event("closed", 3),
        event("connected", 6, "CP2"),
        message("other", 6, "CP2"),
        message("b", 5),
        event("closed", 5),
    )
    assert texts(sessions) == [
        ("CP1", 3, ["began before", "still the old one"]),
        ("CP1", 5, ["a", "b"]),
        ("CP2", 6, ["other"]),
    ]
    assert reports == []
    assert sessions[2].entries == [Entry("t", "in", "other")]


def test_numbers_begin_anew_with_each_start_of_the_server(tmp_path: Path) -> None:
    sessions, _ = read(
        tmp_path,
        event("connected", 1),
        message("a crash follows", 1),
        event("connected", 1),
        message("a stop follows", 1),
        event("closed", 1),
        message("its beginning is lost", 1),
        line(version="2.1", connection=1, text="another version"),
    )
    assert [entry.text for session in sessions for entry in session.entries] == [
        "a crash follows",
        "a stop follows",
        "its beginning is lost",
        "another version",
    ]
    assert len(sessions) == 4


def test_without_numbers_the_last_connection_is_meant(tmp_path: Path) -> None:
    sessions, _ = read(
        tmp_path,
        event("connected", None),
        message("a", None),
        event("connected", None),
        message("b", None),
        event("closed", None),
        message("c", None),
    )
    assert texts(sessions) == [("CP1", None, ["a"]), ("CP1", None, ["b", "c"])]

"""Lines are appended to a file, whatever happens to its disk, its end and its path."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from interleaved import MeetingLock

from ocppsync.recording import line_file
from ocppsync.recording.line_file import LineFile


def lines_of(path: Path) -> list[Any]:
    """The objects in a file, without their times."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


@contextlib.contextmanager
def opened(path: Path, max_bytes: int = 0, backups: int = 5) -> Iterator[LineFile]:
    file = LineFile(path, max_bytes=max_bytes, backups=backups)
    try:
        yield file
    finally:
        file.close()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """Leads where nothing can be written, until something else takes its place."""
    path = tmp_path / "wire.jsonl"
    path.symlink_to("/dev/full" if Path("/dev/full").exists() else tmp_path)
    yield path


def make_room(path: Path) -> Path:
    """Let the path lead to a new file, and return that."""
    room = path.with_name("room.jsonl")
    path.unlink()
    path.symlink_to(room)
    return room


def test_what_cannot_be_written_is_counted_and_said_once(full: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(full) as file:
        for number in range(3):
            file.append({"number": number})
        assert file.lost == 3
        (said,) = caplog.messages
        assert said.startswith(f"{full} cannot be written: ")
        room = make_room(full)
        for number in (3, 4):
            file.append({"number": number})
        assert lines_of(room) == [{"event": "lost", "lines": 3}, {"number": 3}, {"number": 4}]
        assert caplog.messages[1:] == [f"{full} is written again; 3 lines were lost, 3 in all"]
        assert file.lost == 3


def test_a_close_says_what_is_lost_and_raises_nothing(full: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(full) as file:
        file.append({})
        file.append({})
    assert caplog.messages[1:] == [f"{full} was closed while it could not be written; its last 2 lines are lost"]


def test_a_disk_that_comes_and_goes_does_not_flood_the_log(full: Path, caplog: pytest.LogCaptureFixture) -> None:
    room = full
    with opened(full) as file:
        for _ in range(20):
            file.append({})
            room = make_room(full)
            file.append({})
            file.append({})
            full.unlink()
            full.symlink_to(full.parent)
            file.close()
    # The 1st, 2nd, 4th, 8th and 16th outage: it began, and it ended.
    assert len(caplog.messages) == 2 * 5
    assert "1 lines were lost, 16 in all" in caplog.messages[-1]
    assert [line.get("lines") for line in lines_of(room)] == [1, None, None] * 20


class Disk:
    """Opens files that take so many bytes in all, and so many at once."""

    def __init__(self, room: int, at_once: int = 1000) -> None:
        self.room = room
        self.at_once = at_once

    def open(self, path: Path, mode: str) -> Any:
        disk = self

        class File(FileIO):
            def write(self, text: Any) -> int:
                count = min(len(text), disk.at_once, disk.room)
                if not count:
                    raise OSError(errno.ENOSPC, "No space left on device")
                disk.room -= count
                return super().write(text[:count])

            def truncate(self, size: int | None = None) -> int:
                assert size is not None
                disk.room += os.fstat(self.fileno()).st_size - size
                return super().truncate(size)

        return File(path, mode)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Disk]:
    def make(*args: int) -> Disk:
        made = Disk(*args)
        monkeypatch.setattr(line_file, "FileIO", made.open)
        return made

    return make


def test_a_line_is_written_in_pieces(tmp_path: Path, disk: Callable[..., Disk]) -> None:
    disk(10_000, 7)
    path = tmp_path / "wire.jsonl"
    with opened(path) as file:
        for number in range(3):
            file.append({"text": "x" * 40, "number": number})
    assert [line["number"] for line in lines_of(path)] == [0, 1, 2]


def test_half_a_line_is_taken_back(tmp_path: Path, disk: Callable[..., Disk]) -> None:
    made = disk(150)
    path = tmp_path / "wire.jsonl"
    with opened(path) as file:
        file.append({"number": 0})
        file.append({"text": "x" * 200})
        assert lines_of(path) == [{"number": 0}]
        made.room = 1000
        file.append({"number": 1})
    assert lines_of(path) == [{"number": 0}, {"event": "lost", "lines": 1}, {"number": 1}]


def test_after_a_signal_in_the_middle_of_a_line_the_next_one_is_whole(tmp_path: Path) -> None:
    def interrupted(file: FileIO, text: bytes, size: int | None) -> None:
        file.write(text[:10])
        raise KeyboardInterrupt

    path = tmp_path / "wire.jsonl"
    with opened(path) as file:
        file.append({"number": 0})
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(line_file, "_write_all", interrupted)
            file.append({"number": 1})
        file.append({"number": 2})
    first, half, last = path.read_text().splitlines()
    assert [json.loads(line)["number"] for line in (first, last)] == [0, 2]
    assert half == '{"time":"2'


def test_a_file_that_a_crash_has_torn_goes_on_with_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    path.write_text('{"number":0}\n{"num')
    for number in (1, 2):
        with opened(path) as file:
            file.append({"number": number})
            file.append({"number": number})
    first, half, *others = path.read_text().splitlines()
    assert (first, half) == ('{"number":0}', '{"num')
    assert [json.loads(line)["number"] for line in others] == [1, 1, 2, 2]


def test_a_file_that_may_not_be_read_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise PermissionError

    path = tmp_path / "wire.jsonl"
    path.write_text('{"number":0}\n')
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with opened(path) as file:
            file.append({"number": 1})
    first, blank, last = path.read_text().splitlines()
    assert (json.loads(first)["number"], blank, json.loads(last)["number"]) == (0, "", 1)


def test_a_deleted_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    with opened(path) as file:
        file.append({"number": 0})
        path.unlink()
        file.append({"number": 1})
        assert lines_of(path) == [{"number": 1}]


@pytest.mark.parametrize("max_bytes", [0, 1])
def test_a_file_that_somebody_moves_is_not_written_any_more(tmp_path: Path, max_bytes: int) -> None:
    path, moved = tmp_path / "wire.jsonl", tmp_path / "moved"
    with opened(path, max_bytes) as file:
        file.append({"number": 0})
        path.rename(moved)
        file.append({"number": 1})
        assert (lines_of(moved), lines_of(path)) == ([{"number": 0}], [{"number": 1}])
        moved.replace(path)  # another one takes its place
        file.append({"number": 2})
        assert lines_of(path)[-1] == {"number": 2}
        assert file.lost == 0


def test_a_file_in_a_folder_that_may_not_be_looked_into_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Any:
        raise PermissionError

    path = tmp_path / "wire.jsonl"
    with opened(path) as file:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", refuse)
            file.append({"number": 0})
        assert lines_of(path) == [{"number": 0}]


def test_a_closed_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    with opened(path) as file:
        file.append({"number": 0})
        file.close()
        file.append({"number": 1})
    assert lines_of(path) == [{"number": 0}, {"number": 1}]


def test_a_file_that_cannot_be_opened_at_first_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Is a directory"):
        LineFile(tmp_path, max_bytes=0, backups=5)


def test_half_a_surrogate_pair_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    with opened(path) as file:
        file.append({"text": "ä \ud83d \U0001f50c"})
    assert b"\\ud83d" in path.read_bytes()
    assert lines_of(path) == [{"text": "ä \ud83d \U0001f50c"}]


def test_what_is_no_file_is_never_renamed(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with opened(path, 10) as file:
        file.append({"number": 0})
        file.append({"number": 1})
    with os.fdopen(reader, encoding="utf-8") as pipe:
        assert [json.loads(line)["number"] for line in pipe] == [0, 1]
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"]


# Renamed files.


@pytest.mark.parametrize("backups", [1, 2, 4])
def test_the_newest_files_are_kept(tmp_path: Path, backups: int) -> None:
    path = tmp_path / "wire.jsonl"
    with opened(path, 1, backups) as file:  # each line has a file of its own
        for number in range(4):
            file.append({"number": number})
    files = [path, *(Path(f"{path}.{number}") for number in range(1, backups + 1))]
    kept = [lines_of(one) for one in files if one.exists()]
    assert kept == [[{"number": number}] for number in range(3, 3 - len(kept), -1)]
    assert len(kept) == min(4, backups + 1) == len(list(tmp_path.iterdir()))


def test_without_backups_a_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    for options in ((1, 0), (0, 5)):
        with opened(path, *options) as file:
            file.append({})
            file.append({})
    assert lines_of(path) == [{}] * 4
    assert len(list(tmp_path.iterdir())) == 1


def test_a_rename_that_fails_loses_lines_but_no_backups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "wire.jsonl"
    replace = Path.replace

    def refuse(old: Path, new: Path) -> None:
        if old == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        replace(old, new)

    with opened(path, 1, 3) as file:
        for number in range(4):
            file.append({"number": number})
        monkeypatch.setattr(Path, "replace", refuse)
        for _ in range(5):
            file.append({"number": "lost"})
        monkeypatch.setattr(Path, "replace", replace)
        file.append({"number": 4})
    kept = [lines_of(one) for one in (path, *(Path(f"{path}.{number}") for number in (1, 2, 3)))]
    assert kept == [[{"event": "lost", "lines": 5}, {"number": 4}], [{"number": 3}], [{"number": 2}], [{"number": 1}]]
    assert len(caplog.messages) == 2
    assert "Permission denied" in caplog.messages[0]


def test_two_threads_that_begin_a_new_file_do_it_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    with opened(path, 1, 5) as file:
        file.append({"number": 0})
        lock: Any = MeetingLock()
        file._lock = lock
        guests: list[Any] = []
        # In the middle of a line: the lock is held.
        lock.before_release = lambda: guests.append(lock.let_in(file.append, {"number": 2}))
        file.append({"number": 1})
        assert not guests[0].exception(10)
    kept = [lines_of(one) for one in (path, Path(f"{path}.1"), Path(f"{path}.2"))]
    assert kept == [[{"number": 2}], [{"number": 1}], [{"number": 0}]]

"""A file that lines are appended to, also where a disk is full or the process crashed before."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
from io import FileIO
from pathlib import Path
from typing import Any

from ..clock import utc_now
from ..faults.log_lines import log_line
from ..json_text import write
from ..throttled_log import is_power_of_two

__all__ = ["LineFile"]

_logger = logging.getLogger(__name__)


class LineFile:
    """A file of JSON objects, one a line, written from any thread.

    A line that cannot be written is lost; the log says so at the first one, and when writing works again. Before the
    next line there is then one that counts them: ``{"time": ..., "event": "lost", "lines": 3}``.

    Args:
        path: the file; lines are appended to it. A last line that is incomplete stays, and the next one begins anew.
        max_bytes: the size at which the file is renamed to ``path.1`` and a new one begins; 0: never.
        backups: the number of renamed files to keep; 0: the file is never renamed.

    Attributes:
        lost: the number of lines that could not be written.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str | Path, *, max_bytes: int, backups: int) -> None:
        self._path = Path(path).absolute()
        self._max_bytes = max_bytes if backups > 0 else 0
        self._backups = backups
        self._lock = threading.Lock()  # guards everything below; held while a line is written
        self._file: FileIO | None = None
        self._torn = False  # whether the file ends within a line
        self._missing = 0  # lines lost since the last one that was written
        self._outages = 0  # how often lines were lost, and then written again
        self.lost = 0
        with self._lock:
            self._open()

    def append(self, line: dict[str, Any]) -> None:
        """Write an object, with the time before its fields; count it as lost if that fails."""
        text = _encoded(line)
        fault: OSError | None = None
        with self._lock:
            try:
                self._write(text)
            except OSError as error:
                fault = error
                self.lost += 1
                self._missing += 1
                self._outages += self._missing == 1
            missing, outages, lost = self._missing, self._outages, self.lost
            if fault is None:
                self._missing = 0
        # An outage may begin and end with every line, so the log gets the first, second, fourth … of them.
        if not missing or not is_power_of_two(outages):
            return
        if fault is None:
            what = "%s is written again; %d lines were lost, %d in all"
            log_line(_logger, logging.WARNING, what, self._path, missing, lost)
        elif missing == 1:
            what = "%s cannot be written: %s; lines are lost until it can be; make room or change the path"
            log_line(_logger, logging.ERROR, what, self._path, fault.strerror or fault)

    def close(self) -> None:
        """Close the file, and log how many lines were lost at last; a later line opens it again."""
        with self._lock:
            self._close()
            missing = self._missing
        if missing:
            what = "%s was closed while it could not be written; its last %d lines are lost"
            log_line(_logger, logging.ERROR, what, self._path, missing)

    # With the lock. After every fault the file is closed: the path may lead elsewhere when it is opened again.

    def _write(self, text: bytes) -> None:
        assert self._lock.locked()
        try:
            file, size = self._open()
            if self._missing:
                text = _encoded({"event": "lost", "lines": self._missing}) + text
            if size and 0 < self._max_bytes < size + len(text):
                self._close()
                self._rename()
                file, size = self._open()
            _write_all(file, b"\n" + text if self._torn else text, size)
            self._torn = False
        except BaseException:
            # Also if a signal came in the middle: how the file ends is not known.
            self._close()
            raise

    def _open(self) -> tuple[FileIO, int | None]:
        """Return the open file and its size; the size is None if it is not a regular file, such as a terminal."""
        assert self._lock.locked()
        if self._file is not None and not _leads_to(self._path, self._file):
            self._close()  # it was deleted or moved
        opened = self._file is None
        if self._file is None:
            self._file = FileIO(str(self._path), "ab")  # not a Path: an error would show its repr
        status = os.fstat(self._file.fileno())
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        if opened:
            self._torn = bool(size) and not _ends_a_line(self._path)
        return self._file, size

    def _rename(self) -> None:
        assert self._lock.locked()
        paths = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, self._backups + 1))]
        # Only up to the first gap: a rename that fails again and again must not push all backups out.
        gap = next((number for number in range(1, self._backups) if not paths[number].exists()), self._backups)
        for number in range(gap, 0, -1):
            paths[number - 1].replace(paths[number])

    def _close(self) -> None:
        assert self._lock.locked()
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def _encoded(line: dict[str, Any]) -> bytes:
    return write({"time": utc_now(), **line}).encode() + b"\n"


def _write_all(file: FileIO, text: bytes, size: int | None) -> None:
    written = 0
    try:
        while written < len(text):
            count = file.write(memoryview(text)[written:])
            if not count:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            written += count
    except OSError:
        # Half a line would be read as a broken one.
        if size is not None and written:
            with contextlib.suppress(OSError):
                file.truncate(size)
        raise


def _leads_to(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
    except OSError:
        return True  # the folder may not be looked into any more; the open file still takes lines


def _ends_a_line(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except OSError:
        return False  # it may not be read, or became empty; a blank line does no harm

"""The programs of a benchmark: each on its core, listened to, and ended."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

PATIENCE = 150.0
"""Seconds that a program may keep one waiting for a line."""


class ProgramError(Exception):
    """A program ended too early, or did not say what it should; the text has its last line."""


class Program:
    """A program that prints lines, and may be told some.

    Args:
        command: how it is started.
        core: where it runs, from its first thread on.

    Attributes:
        pid: its process.
    """

    def __init__(self, command: Sequence[str], core: int) -> None:
        # Not a pipe: nobody reads it while the program runs.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (kill closes it)
        with _pinned(core):
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
            )
        self.pid = self._process.pid
        self._name = Path(command[min(1, len(command) - 1)]).name
        self._patience = 0.0

    def read(self, patience: float = PATIENCE) -> str:
        """Return the next line that it prints.

        Raises:
            ProgramError: it has ended, or said nothing for ``patience`` seconds and is killed.
        """
        assert self._process.stdout is not None
        watchdog = threading.Timer(patience, self._give_up, (patience,))
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise ProgramError(f"{self._name}: {self._last_words()}")
        return line.strip()

    def ask(self, line: str) -> str:
        """Tell it a line, and return what it answers."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and `read` says why
            print(line, file=self._process.stdin, flush=True)
        return self.read()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _give_up(self, patience: float) -> None:
        self._patience = patience
        self._process.kill()

    def _last_words(self) -> str:
        if self._patience:
            return f"it said nothing for {self._patience:.0f} s"
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or ["it ended without a word"])[-1]


@contextlib.contextmanager
def running(command: Sequence[str], core: int) -> Iterator[Program]:
    """Run a program on a core, and end it."""
    program = Program(command, core)
    try:
        yield program
    finally:
        program.kill()


@contextlib.contextmanager
def _pinned(core: int) -> Iterator[None]:
    """Let all that is started meanwhile run on this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_many_sockets() -> int:
    """Let this process, and those that it starts, open as many files as the system allows; return how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most

"""Runs the programs of a benchmark, each on its own core."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

READ_TIMEOUT = 150.0
"""Seconds to wait for a line from a program."""


class ProgramError(Exception):
    """A program ended too early or printed something unexpected; the text has its last line of output."""


class Program:
    """A running program that prints lines and may read some.

    Args:
        command: starts it.
        core: the core that all of its threads run on.
        environment: variables in addition to those of this process.

    Attributes:
        pid: its process id.
    """

    def __init__(self, command: Sequence[str], core: int, environment: Mapping[str, str] | None = None) -> None:
        # Not a pipe: it is not read while the program runs, and would fill up.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (kill closes it)
        with _pinned(core):
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        self.pid = self._process.pid
        self._name = Path(command[min(1, len(command) - 1)]).name
        self._timed_out_after = 0.0

    def read(self, timeout: float = READ_TIMEOUT) -> str:
        """Return the next line of its output.

        Raises:
            ProgramError: it has ended, or printed nothing for ``timeout`` seconds and was killed.
        """
        assert self._process.stdout is not None
        watchdog = threading.Timer(timeout, self._kill_after_timeout, (timeout,))
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise ProgramError(f"{self._name}: {self._failure_text()}")
        return line.strip()

    def ask(self, line: str) -> str:
        """Send it a line and return the next line of its output."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; `read` raises with the reason
            print(line, file=self._process.stdin, flush=True)
        return self.read()

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _kill_after_timeout(self, timeout: float) -> None:
        self._timed_out_after = timeout
        self._process.kill()

    def _failure_text(self) -> str:
        if self._timed_out_after:
            return f"no output for {self._timed_out_after:.0f} s"
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or ["ended without an error text"])[-1]


@contextlib.contextmanager
def running(command: Sequence[str], core: int, environment: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Run a program on a core, and kill it at the end."""
    program = Program(command, core, environment)
    try:
        yield program
    finally:
        program.kill()


@contextlib.contextmanager
def _pinned(core: int) -> Iterator[None]:
    """Pin this thread, and what it starts meanwhile, to a core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that all threads of a process have used, in user and system mode."""
    # The clock that clock_getcpuclockid(3) returns; /proc has the same figure, but only in hundredths of a second.
    return time.clock_gettime((~pid << 3) | 2)


def allow_many_sockets() -> int:
    """Raise the limit of open files for this process and its children as far as the system allows; return it."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    return hard_limit

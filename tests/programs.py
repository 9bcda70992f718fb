"""Programs that tests start, listen to and end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence

DEADLINE = 30.0
"""Seconds after which a program is taken to hang; a cold start on a busy machine may take some."""


class Program:
    """A Python program whose output can be waited for.

    Args:
        arguments: what follows the name of the interpreter.
        environment: variables beside those of this process; NO_COLOR and the like are not passed on.
        columns: give it a terminal of that width as output; None: a pipe.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None = None, columns: int | None = None
    ) -> None:
        self._changed = threading.Condition()
        self._output = ""
        self._ended = False
        inherited = {name: value for name, value in os.environ.items() if name not in _ABOUT_TERMINALS}
        variables = {**inherited, "TERM": "xterm-256color", "PYTHONUNBUFFERED": "1", **(environment or {})}
        source, sink = os.pipe() if columns is None else pty.openpty()
        if columns is not None:
            fcntl.ioctl(sink, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.PIPE,
            env=variables,
            start_new_session=True,
        )
        os.close(sink)
        self._source = source
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Ends: with the program, for the other end of the pipe is its own.
        while True:
            try:
                data = os.read(self._source, 65536)
            except OSError:  # how a terminal ends
                data = b""
            with self._changed:
                self._output += data.decode("utf-8", "replace").replace("\r\n", "\n")
                self._ended = not data
                self._changed.notify_all()
            if not data:
                return

    @property
    def output(self) -> str:
        """What it has written so far."""
        with self._changed:
            return self._output

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until a regular expression is found in the output, line by line or across lines with ``(?s)``."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self._output, re.MULTILINE)
            found.extend([match] if match else [])
            return bool(found) or self._ended

        with self._changed:
            self._changed.wait_for(look, DEADLINE)
            assert found, f"{pattern!r} was not found in:\n{self._output}"
        return found[0]

    def enter(self, line: str) -> None:
        """Give it a line of input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def end_input(self) -> None:
        """Tell it that no more input comes."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None  # communicate must not flush it

    def stop_reading(self) -> None:
        """Leave, as ``head`` does."""
        # A read that waits would keep the pipe open: a duplicate over it, of something that ends, lets it go.
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, self._source)
        os.close(nothing)

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal, and return exit status and error output."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait for its end, and return exit status and error output."""
        _, errors = self.process.communicate(timeout=DEADLINE)
        self._reader.join(DEADLINE)
        return self.process.returncode, errors.decode()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()
        self._reader.join(DEADLINE)
        os.close(self._source)


_ABOUT_TERMINALS = frozenset({"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "PYTHONIOENCODING"})

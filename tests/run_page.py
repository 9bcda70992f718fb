"""Runs the Python of one page of the documentation, from top to bottom, in one process; test_docs.py starts it.

Three sorts of block are taken from a page, and nothing else:

* fenced as ``python``: it is executed, in one namespace for the whole page;
* fenced as ``python title="name.py"``: a whole program, which is saved under that name in the working directory;
* an HTML comment that begins with a line ``<!-- test``: it is executed too, and no reader sees it. It puts a charge
  point before the code that needs one, runs the programs, and checks what was said about them.

The ports 9000 and 8000 stand for free ones. Line numbers in a traceback are those of the page.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import http
import http.client
import io
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from programs import Program

LIMIT = 50.0
"""Seconds for a whole page; then every thread's stack is printed and the process ends."""
DEADLINE = 10.0
"""Seconds for a program to begin to serve."""
_PROGRAM = re.compile(r'```python title="([^"]+)"')


def extract(text: str) -> str:
    """Return the script of a page, line for line: what is not to be run is left empty."""
    script: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        program = _PROGRAM.fullmatch(line)
        end = "-->" if line == "<!-- test" else "```" if line.startswith("```") else None
        block: list[str] = [] if end is None else _until(end, lines)
        if program is not None:
            script.append(f"save({program[1]!r}, {block!r})")
            script.extend("" for _ in range(len(block) + 1))
        elif line in ("```python", "<!-- test"):
            script.extend(["", *block, ""])
        else:
            # Python that is fenced in any other way would look as if it were tested.
            assert "```py" not in line, line
            script.extend("" for _ in range(len(block) + (1 if end is None else 2)))
    return "\n".join(script)


def _until(end: str, lines: Iterator[str]) -> list[str]:
    block: list[str] = []
    for line in lines:
        if line == end:
            return block
        block.append(line)
    raise AssertionError(f"a block is not closed by {end}")


class Shown(Program):
    """A program that a page shows, as a process of its own."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(["-W", "error", *arguments])
        atexit.register(self.kill)

    def finish(self) -> str:
        """Wait for its end, which must be a good one, and return what it printed."""
        return self._printed(*self.wait())

    def interrupt(self, number: int = signal.SIGINT) -> str:
        """Press Ctrl-C and `finish`."""
        return self._printed(*self.end(number))

    def _printed(self, status: int, errors: str) -> str:
        assert status == 0, f"exit status {status}:\n{self.output}{errors}"
        assert "Traceback" not in errors, errors
        assert "ResourceWarning" not in errors, errors
        return self.output

    def kill(self) -> None:
        """End it, if it has not ended, without a look at how."""
        if self.process.returncode is None:
            self.process.kill()
            self.wait()


class Page:
    """What the hidden blocks of a page call."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._output = io.StringIO()
        self._seen = 0
        sys.stdout = self._output

    def save(self, name: str, lines: list[str]) -> None:
        Path(name).write_text("\n".join([*lines, ""]), encoding="utf-8")

    def serve(self, *arguments: str, at: str | None = None) -> Shown:
        """Start a program and wait until it serves port 9000, or charge points at another URL."""
        url = urlsplit(at or f"http://127.0.0.1:{self._port}/")
        program = Shown(*arguments)
        deadline = time.monotonic() + DEADLINE
        # Not a mere connection: that succeeds as soon as the port is bound, before the program is ready for Ctrl-C.
        while not self._answers(url):
            assert time.monotonic() < deadline, f"{arguments} does not serve"
            # Nothing tells when a port is bound; what can be waited for is that it never will be.
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.process.wait(0.05)
                program.finish()
                raise AssertionError(f"{arguments} ended instead of serving")
        return program

    def _answers(self, url: SplitResult) -> bool:
        connection = http.client.HTTPConnection(url.netloc, timeout=DEADLINE)
        try:
            connection.request("GET", url.path)
            return connection.getresponse().status == http.HTTPStatus.UPGRADE_REQUIRED
        except ConnectionRefusedError:
            return False
        finally:
            connection.close()

    def printed(self) -> str:
        """Return what the page has printed since it was asked last."""
        # Nothing is taken out of it: other threads may be printing.
        text = self._output.getvalue()[self._seen :]
        self._seen += len(text)
        return text


def free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens on."""
    with socket.create_server(("", 0)) as first, socket.create_server(("", 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]


def main(page: Path) -> None:
    """Run ``page`` in the working directory."""
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    port, other = free_ports()
    text = re.sub(r"\b9000\b", str(port), page.read_text(encoding="utf-8"))
    script = extract(re.sub(r"\b8000\b", str(other), text))
    tools = Page(port)
    # Programs import each other.
    sys.path.insert(0, str(Path.cwd()))
    names = {"save": tools.save, "serve": tools.serve, "printed": tools.printed, "run": Shown}
    exec(compile(script, str(page), "exec"), {"__name__": "__main__", **names})


if __name__ == "__main__":
    main(Path(sys.argv[1]))

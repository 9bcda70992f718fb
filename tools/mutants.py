"""Takes single guards out of the code, one at a time in a copy of the tree, and shows that a test fails without each.

    python tools/mutants.py                  every guard in tools/guards
    python tools/mutants.py outgoing rpc     those of these files, or else those that hold one of these words
    python tools/mutants.py --list

Each file in tools/guards is a list of objects:

    file    the file of the guard, from the root of the tree
    line    a text that occurs in one line of it
    after   where it occurs in several: a text of an earlier line; the first line behind that one is meant
    becomes what stands in the line instead, without the indentation
    tests   the test files of which one has to fail then, from the root of the tree
    guards  what breaks without the line

Exits with 1 where a guard is held by no test, or cannot be found, or where its tests fail as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUARDS = ROOT / "tools" / "guards"
SLACK = 30.0
"""Seconds that tests may take beside three times what they take without a change; then they hang."""
_ORIGIN = "import ocppsync, ocppsync.schemas as s; print(ocppsync.__file__, *s.__path__, sep='\\n')"


class StaleError(Exception):
    """A mutant does not fit the code as it is."""


@dataclass(frozen=True)
class Mutant:
    """A guard, and what takes its place."""

    source: str
    """The file that lists it, without its ending."""
    file: str
    line: str
    becomes: str
    tests: tuple[str, ...]
    guards: str
    after: str | None = None

    def __str__(self) -> str:
        return f"{self.source}: {self.file}: {self.line!r} -> {self.becomes!r}"

    def apply(self, root: Path) -> str:
        """Return the text of the file with the guard replaced; raises StaleError where that cannot be done."""
        lines = (root / self.file).read_text(encoding="utf-8").split("\n")
        number = self._find(lines)
        indentation = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
        if lines[number] == indentation + self.becomes:
            raise StaleError("changes nothing")
        lines[number] = indentation + self.becomes
        text = "\n".join(lines)
        try:
            compile(text, self.file, "exec", dont_inherit=True)
        except SyntaxError as error:
            raise StaleError(f"leaves no valid Python: {error}") from error
        return text

    def _find(self, lines: Sequence[str]) -> int:
        begin = 0
        if self.after is not None:
            begin = next((number + 1 for number, line in enumerate(lines) if self.after in line), len(lines))
        found = [number for number, line in enumerate(lines) if number >= begin and self.line in line]
        if not found:
            raise StaleError("pattern not found")
        if len(found) > 1 and self.after is None:
            raise StaleError(f"pattern found in {len(found)} lines")
        return found[0]


def read_mutants(folder: Path = GUARDS) -> list[Mutant]:
    """Return the mutants of every file there; raises ValueError or TypeError where one is not as it should be."""
    mutants = []
    for path in sorted(folder.glob("*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8")):
            try:
                mutants.append(Mutant(path.stem, **{**entry, "tests": tuple(entry["tests"])}))
            except (KeyError, TypeError) as error:
                raise ValueError(f"{path.name}: {error}: {entry}") from error
    return mutants


def selected(mutants: Sequence[Mutant], words: Sequence[str]) -> list[Mutant]:
    """Return those of the files that are named; a word that names none stands for the mutants that hold it."""
    if not words:
        return list(mutants)
    sources = {mutant.source for mutant in mutants}
    names = {word.removesuffix(".json") for word in words} & sources
    others = [word for word in words if word.removesuffix(".json") not in sources]
    return [
        mutant
        for mutant in mutants
        if mutant.source in names or any(word in f"{mutant} {mutant.guards}" for word in others)
    ]


class Copy:
    """A copy of the tree as it is, with what git does not ignore, in which tests run.

    Args:
        folder: where it is to be; it does not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():  # and not deleted since
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        # Where an installed package has it; the schemas of the environment's own would be imported else.
        (folder / "ocppsync" / "schemas").symlink_to("../schemas")
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(folder),
            # A file that changes twice in a second keeps its time, and so what was compiled of it would be believed.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._check_origin()

    def _check_origin(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _ORIGIN], cwd=self.folder, env=self._environment, check=True, capture_output=True
        )
        for origin in done.stdout.decode().split():
            if not Path(origin).is_relative_to(self.folder):
                raise RuntimeError(f"{origin} is imported, and not the copy in {self.folder}")

    @contextlib.contextmanager
    def with_text(self, file: str, text: str) -> Iterator[None]:
        """Have a file of the copy hold another text."""
        path = self.folder / file
        before = path.read_bytes()
        path.write_text(text, encoding="utf-8")
        try:
            yield
        finally:
            path.write_bytes(before)

    def run(self, tests: Sequence[str], limit: float | None = None) -> int | None:
        """Run tests up to the first that fails; return the exit status, or None where they hang."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        # In a session of their own, so that what they started ends with them.
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                return process.wait(limit)
            except subprocess.TimeoutExpired:
                return None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


class Trial:
    """Tries mutants, some at a time.

    Args:
        copies: a copy of the tree for each that runs at a time.
    """

    def __init__(self, copies: Sequence[Copy]) -> None:
        self._free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for copy in copies:
            self._free.put(copy)
        self._threads = len(copies)

    def run(self, mutants: Sequence[Mutant]) -> int:
        """Try them, print what became of each, and return how many were not killed."""
        verdicts = []
        with ThreadPoolExecutor(self._threads) as threads:
            lists = list(dict.fromkeys(mutant.tests for mutant in mutants))
            usual = dict(zip(lists, threads.map(self._measure, lists), strict=True))
            for mutant, verdict in zip(mutants, threads.map(lambda one: self._try(one, usual), mutants), strict=True):
                print(f"{verdict:8} {mutant}", flush=True)
                if not verdict.startswith("killed"):
                    print(f"{'':8} {mutant.guards}", flush=True)
                verdicts.append(verdict)
        killed = sum(verdict.startswith("killed") for verdict in verdicts)
        survived = verdicts.count("SURVIVED")
        stale = len(verdicts) - killed - survived
        print(f"{len(verdicts)} mutants: {killed} killed, {survived} survived, {stale} stale")
        return survived + stale

    @contextlib.contextmanager
    def _copy(self) -> Iterator[Copy]:
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)

    def _measure(self, tests: Sequence[str]) -> float | None:
        """Return the seconds that tests take without a change; None where they fail."""
        with self._copy() as copy:
            began = time.monotonic()
            status = copy.run(tests)
            return time.monotonic() - began if status == 0 else None

    def _try(self, mutant: Mutant, usual: dict[tuple[str, ...], float | None]) -> str:
        seconds = usual[mutant.tests]
        if seconds is None:
            return "tests fail without any change"
        with self._copy() as copy:
            try:
                text = mutant.apply(copy.folder)
            except (StaleError, OSError) as error:
                return str(error)
            with copy.with_text(mutant.file, text):
                status = copy.run(mutant.tests, 3 * seconds + SLACK)
        if status == 0:
            return "SURVIVED"
        if status is None:
            return "killed (hangs)"
        # 1: tests failed; below 0: a signal ended them. Above 1 pytest itself had a problem, a file say that cannot be
        # imported any more: that says nothing about the tests.
        return "killed" if status == 1 or status < 0 else f"pytest ended with {status}"


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="names of files in tools/guards, or texts that the mutants hold")
    parser.add_argument("--list", action="store_true", help="only tell what there is")
    parser.add_argument("--jobs", type=int, default=1, help="how many to try at a time")
    options = parser.parse_args()
    mutants = selected(read_mutants(), options.words)
    if not mutants:
        parser.error("there is no such mutant")
    if options.list:
        for mutant in mutants:
            print(f"{mutant}\n    {mutant.guards}\n    {' '.join(mutant.tests)}")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Copy(Path(folder).resolve() / str(number)) for number in range(max(1, options.jobs))]
        return 1 if Trial(copies).run(mutants) else 0


if __name__ == "__main__":
    sys.exit(main())

"""The types that users meet: mypy and pyright accept typing/api*.py, and refuse the marked lines of errors*.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "project" / "typing"
ACCEPTED = sorted(HERE.glob("api*.py"))
REFUSED = sorted(HERE.glob("errors*.py"))
MARK = "# E:"

Findings = dict[tuple[str, int], str]
"""What a checker has to say, by file name and line."""


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    # Both exit with 1 when they have found something; with 0 they would have looked at nothing.
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def mypy() -> Iterator[tuple[str, int, str]]:
    # Not by the project's own configuration, which leaves these files out, and without a cache.
    options = ["--config-file=", "--strict", "--python-version=3.10", "--follow-imports=silent"]
    options += ["--cache-dir=/dev/null", "--output=json"]
    for line in run("mypy", *options, *map(str, ACCEPTED + REFUSED)).splitlines():
        finding = json.loads(line)
        if finding["severity"] == "error":
            yield finding["file"], finding["line"], finding["message"]


def pyright() -> Iterator[tuple[str, int, str]]:
    output = run("pyright", f"--project={HERE}", f"--pythonpath={sys.executable}", "--outputjson")
    for finding in json.loads(output)["generalDiagnostics"]:
        yield finding["file"], finding["range"]["start"]["line"] + 1, finding["message"]


@pytest.fixture(scope="module", params=[mypy, pyright])
def findings(request: pytest.FixtureRequest) -> Findings:
    return {(Path(file).name, line): message for file, line, message in request.param()}


def marked_lines() -> set[tuple[str, int]]:
    lines = {path.name: path.read_text(encoding="utf-8").splitlines() for path in REFUSED}
    return {(name, number) for name in lines for number, line in enumerate(lines[name], 1) if MARK in line}


def test_every_marked_line_is_refused(findings: Findings) -> None:
    assert marked_lines() - findings.keys() == set()


def test_nothing_else_is_refused(findings: Findings) -> None:
    marked = marked_lines()
    assert {place: message for place, message in findings.items() if place not in marked} == {}


def test_a_mistake_is_told_without_a_list_of_all_overloads(findings: Findings) -> None:
    assert "No overload variant" not in findings[min(marked_lines())]

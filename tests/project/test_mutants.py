"""The guards in tools/guards are still found in the code, and the tool that takes them out tells what it should."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import mutants
import pytest
from mutants import Copy, Mutant, StaleError, Trial

ROOT = Path(__file__).resolve().parents[2]
ALL = mutants.read_mutants()
CODE = """\
def first(number):
    if number > 3:
        return 1
    return 0

def second(number):
    if number > 3:
        return 1
    return 2
"""


def mutant(line: str, becomes: str, *tests: str, after: str | None = None) -> Mutant:
    return Mutant("made_up", "ocppsync/__init__.py", line, becomes, tests, "It would be wrong.", after)


@functools.cache
def applied(listed: Mutant) -> str:
    """Return the text of the file without a guard; each one is parsed, so only once."""
    return listed.apply(ROOT)


@pytest.mark.parametrize("listed", ALL, ids=str)
def test_each_guard_that_is_listed_is_found_in_the_code(listed: Mutant) -> None:
    applied(listed)
    assert listed.guards.endswith("."), "a sentence"
    assert listed.tests
    assert [name for name in listed.tests if not (ROOT / name).is_file()] == []


def test_no_guard_is_listed_twice() -> None:
    changes = [(listed.file, applied(listed)) for listed in ALL]
    assert len(set(changes)) == len(changes)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with code and tests of its own."""
    root = tmp_path / "tree"
    for name, text in {
        "ocppsync/__init__.py": CODE,
        "schemas/one.json": "{}",
        "tests/test_first.py": "import ocppsync\n\ndef test_first():\n    assert ocppsync.first(4)\n",
        "tests/test_fails.py": "def test_fails():\n    assert False\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_a_line_keeps_its_indentation(tree: Path) -> None:
    assert mutant("return 0", "pass").apply(tree) == CODE.replace("return 0", "pass")


def test_of_several_lines_the_first_behind_another_is_meant(tree: Path) -> None:
    before, _, behind = CODE.partition("def second")
    text = mutant("if number > 3:", "if True:", after="def second").apply(tree)
    assert text == f"{before}def second{behind.replace('if number > 3:', 'if True:')}"


@pytest.mark.parametrize(
    ("stale", "fault"),
    [
        (mutant("return 7", "pass"), "pattern not found"),
        (mutant("return 0", "pass", after="def second"), "pattern not found"),
        (mutant("return 0", "pass", after="def third"), "pattern not found"),
        (mutant("if number > 3:", "if True:"), "pattern found in 2 lines"),
        (mutant("def second", "pass"), "leaves no valid Python"),
        (mutant("return 0", "return 0"), "changes nothing"),
    ],
)
def test_what_does_not_fit_the_code_is_told(tree: Path, stale: Mutant, fault: str) -> None:
    with pytest.raises(StaleError, match=fault):
        stale.apply(tree)


def test_mutants_are_chosen_by_their_file_or_by_what_they_hold() -> None:
    of_engine = [listed for listed in ALL if listed.source == "engine"]
    assert of_engine
    assert mutants.selected(ALL, []) == ALL
    assert mutants.selected(ALL, ["engine"]) == mutants.selected(ALL, ["engine.json"]) == of_engine
    assert of_engine[0] in mutants.selected(ALL, [of_engine[0].line])
    assert mutants.selected(ALL, ["no such thing"]) == []


@pytest.mark.slow
def test_each_mutant_is_tried_in_a_copy(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    monkeypatch.setattr(mutants, "ROOT", tree)
    monkeypatch.setattr(mutants, "SLACK", 2.0)
    first = ("tests/test_first.py",)
    tried = [
        mutant("return 1", "return 0", *first, after="def first"),
        mutant("return 1", "return 0", *first, after="def second"),
        mutant("return 1", "while True: pass", *first, after="def first"),
        mutant("return 7", "pass", *first),
        mutant("def first(number):", "def third(number):", "tests/test_fails.py"),
        mutant("def first(number):", "def first(number:", *first),
    ]
    assert Trial([Copy(tmp_path / "1"), Copy(tmp_path / "2")]).run(tried) == 4
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert [line.partition(" made_up")[0].rstrip() for line in lines[:3]] == ["killed", "SURVIVED", "killed (hangs)"]
    assert lines[3].startswith("pattern not found")
    assert lines[4].startswith("tests fail without any change")
    assert lines[5].startswith("leaves no valid Python")
    assert lines[6] == "6 mutants: 2 killed, 1 survived, 3 stale"
    assert (tmp_path / "1" / "ocppsync" / "__init__.py").read_text(encoding="utf-8") == CODE

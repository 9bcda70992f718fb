"""The documentation is true: its Python runs, and its tables say what the code says."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS, PACKAGE, ROOT, code, read, rows
from run_page import LIMIT, extract

import ocppsync
import ocppsync.testing
from ocppsync import CentralSystem, ChargePoint, Lenient, Limits, Timeouts, Validation
from ocppsync.cli.parser import build_parser
from ocppsync.errors import _CODES, spell
from ocppsync.validation import validators as validation

pytestmark = pytest.mark.slow

DASH = "\N{EN DASH}"
"""Stands in a table for nothing."""
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# What can be run.


@pytest.mark.parametrize("page", [page for page in PAGES if extract(read(page)).strip()], ids=name_of)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "tests" / "run_page.py"), str(page)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT + 20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_python_to_run() -> None:
    with_python = {name_of(page) for page in PAGES if "```python" in read(page)}
    assert {
        "README.md",
        "docs/tutorial.md",
        "docs/threads.md",
        "docs/connections.md",
        "docs/security.md",
    } <= with_python


def test_a_page_whose_python_fails_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n\n<!-- test\nassert x == 2\n-->\n", encoding="utf-8")
    command = [sys.executable, str(ROOT / "tests" / "run_page.py"), str(page)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 1
    assert 'page.md", line 8' in done.stderr


# Tables.


def options(callee: Callable[..., Any]) -> Mapping[str, Any]:
    parameters = inspect.signature(callee).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("page", "head", "kind"),
    [
        ("lenient.md", "switch", Lenient),
        ("lenient.md", "field of `Validation`", Validation),
        ("limits.md", "field of `Limits`", Limits),
        ("limits.md", "field of `Timeouts`", Timeouts),
    ],
    ids=["Lenient", "Validation", "Limits", "Timeouts"],
)
def test_the_switches_and_their_defaults_are_listed(page: str, head: str, kind: type) -> None:
    plain = kind()
    listed = {code(row[0])[0]: ast.literal_eval(code(row[1])[0]) for row in rows(page, head, "default")}
    assert listed == {field.name: getattr(plain, field.name) for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(("column", "kind"), [(1, CentralSystem), (2, ChargePoint)])
def test_the_options_and_their_defaults_are_listed(column: int, kind: type) -> None:
    table = rows("connections.md", "option", "`CentralSystem`", "`ChargePoint`")
    listed = {code(row[0])[0]: ast.literal_eval(code(row[column])[0]) for row in table if row[column] != DASH}
    assert listed == options(kind)


def test_the_error_codes_are_listed() -> None:
    table = [(code(row[0])[0], code(row[1])[0]) for row in rows("errors.md", "on the wire in 1.6", "in 2.x")]
    assert table == list(_CODES)
    assert [spell(new, "1.6") for _, new in table] == [old for old, _ in table]


def test_the_codes_of_violations_are_listed() -> None:
    table = rows("validation.md", "what is wrong", "keyword", "code in 1.6", "code in 2.0.1 and 2.1")
    codes, categories = validation._CODES, validation._CATEGORIES
    for version, column in (("1.6", 2), ("2.0.1", 3), ("2.1", 3)):
        assert [code(row[column])[0] for row in table] == [spell(name, version) for name in codes[version].values()]
    for row, category in zip(table, codes["1.6"], strict=True):
        assert code(row[1]) == [keyword for keyword, belongs_to in categories.items() if belongs_to == category]


def logged() -> Iterator[tuple[str, str]]:
    """Yield the logger and the level of every log line in the package."""
    for file in PACKAGE.rglob("*.py"):
        text = read(file)
        if re.search(r"^_?logger = logging\.getLogger\(__name__\)", text, re.MULTILINE) is None:
            continue
        # The table has a row for each folder, whose files log below its name.
        logger = f"ocppsync.{file.relative_to(PACKAGE).with_suffix('').parts[0]}"
        for level in re.findall(r"\b_?logger\.(debug|info|warning|error|exception|critical)\(", text):
            yield logger, "ERROR" if level == "exception" else level.upper()
        for node in ast.walk(ast.parse(text)):
            yield from ((logger, level) for level in levels_of(node))


def levels_of(node: ast.AST) -> Iterator[str]:
    """Yield the levels of what goes through the throttle, or through a function ``_log…`` in front of that."""
    levels = [f"logging.{level}" for level in ("INFO", "WARNING", "ERROR")]
    found: list[ast.expr] = []
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "log_line":
        found = [node.args[1]]
    elif isinstance(node, ast.Call):
        found = [keyword.value for keyword in node.keywords if keyword.arg == "level"]
        if not found and any(ast.unparse(argument) in {"_logger", "logger"} for argument in node.args):
            yield "WARNING"
    elif isinstance(node, ast.FunctionDef) and node.name.startswith("_log"):
        found = [default for default in node.args.kw_defaults if default is not None]
    yield from (text.removeprefix("logging.") for text in map(ast.unparse, found) if text in levels)


def test_the_loggers_and_their_levels_are_listed() -> None:
    levels = ("INFO", "WARNING", "ERROR")
    table = rows("logging.md", "logger", *levels)
    listed = {
        (code(row[0])[0], level) for row in table for level, cell in zip(levels, row[1:], strict=True) if cell != DASH
    }
    assert listed == set(logged())


def parser_of(command: str) -> argparse.ArgumentParser:
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    parser: argparse.ArgumentParser = commands.choices[command]
    return parser


@pytest.mark.parametrize(("command", "head"), [("serve", "option"), ("replay", "option of `replay`")])
def test_the_options_of_the_commands_are_listed(command: str, head: str) -> None:
    table = {code(row[0])[0]: code(row[1])[0] for row in rows("command-line.md", head, "default")}
    known = [one for one in parser_of(command)._actions if one.option_strings and "--help" not in one.option_strings]
    assert table == {action.option_strings[0]: str(action.default) for action in known}


def test_the_scenarios_of_the_benchmarks_are_listed() -> None:
    files = (ROOT / "benchmarks" / "scenarios").glob("[!_]*.py")
    assert sorted(code(row[0])[0] for row in rows("performance.md", "scenario")) == sorted(file.stem for file in files)


# What is public.


def test_every_public_name_is_in_the_reference() -> None:
    reference = "\n".join(read(page) for page in (DOCS / "reference").glob("*.md"))
    described = set(re.findall(r"^::: ocppsync\.(\w+)$", reference, re.MULTILINE))
    modules = {file.stem for file in PACKAGE.glob("*.py")}
    assert described - modules == set(ocppsync.__all__) - {"__version__"}
    described = set(re.findall(r"^::: ocppsync\.testing\.(\w+)$", reference, re.MULTILINE))
    assert described == set(ocppsync.testing.__all__)


# Links.


def anchors(page: Path) -> set[str]:
    """Return what a link into a page may name, as GitHub and MkDocs make it of the headings."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.is_file(), target
        assert not anchor or anchor in anchors(goal), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_is_in_the_navigation(page: Path) -> None:
    if DOCS in page.parents:
        assert re.search(rf"^ +- (\w+: )?{page.relative_to(DOCS)}$", read(ROOT / "mkdocs.yml"), re.MULTILINE)

"""The pages of the documentation as tests read them: their tables, and the code that they name."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "ocppsync"


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def rows(page: str, *head: str) -> list[list[str]]:
    """Return the rows of the table of a page whose columns begin with ``head``."""
    lines = read(DOCS / page).splitlines()
    first = next(number for number, line in enumerate(lines) if cells(line)[: len(head)] == list(head))
    table = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        table.append(cells(line))
    return table


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def found(path: str) -> Path | None:
    """Return the file or folder that a page names: below the package, or below the root."""
    return next((base / path for base in (PACKAGE, ROOT) if (base / path).exists()), None)


@functools.cache
def defined(path: Path) -> frozenset[str]:
    """Return what a file defines: functions, classes, and ``Class.name`` for methods and attributes."""
    names = set()
    for node in ast.parse(read(path)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            names.update(ast.unparse(target) for target in _targets(node))
        if isinstance(node, ast.ClassDef):
            names.update(f"{node.name}.{name}" for name in _members(node))
    return frozenset(names)


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _members(owner: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(owner):
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            yield from (ast.unparse(target).removeprefix("self.") for target in _targets(node))

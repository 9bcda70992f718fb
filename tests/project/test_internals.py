"""The page about the inside of the library is true: every file, class, function and lock that it names exists."""

from __future__ import annotations

import ast
import builtins
import functools
import re
from collections.abc import Iterator

from pages import PACKAGE, ROOT, defined, found, rows

PAGE = ROOT / "docs" / "internals.md"
SPAN = re.compile(r"`([^`]+)`")
PATH = re.compile(r"[\w.-]+/|(?:[\w.-]+/)*[\w-]+\.(?:pyi?|md)|(?:[\w.-]+/)+")
ELSEWHERE = {"Future.cancel"}
"""Names of the standard library."""
GUARDED = [
    "budget.py",
    "throttled_log.py",
    "threads",
    "wire",
    "rpc",
    "server",
    "security",
    "recording",
    "central_system.py",
    "charge_point.py",
]
"""Where the table of locks is complete."""


def text() -> str:
    return PAGE.read_text(encoding="utf-8")


@functools.cache
def everything() -> frozenset[str]:
    return frozenset().union(*(defined(path) for path in PACKAGE.rglob("*.py")))


def named_with_file() -> Iterator[tuple[str, str]]:
    """Yield each name that stands right after its file, or in the list right after it."""
    for file, names in re.findall(r"`([\w/]+\.py)`( `[A-Za-z_][\w.]*`(?:, `[A-Za-z_][\w.]*`)*)", text()):
        yield from ((file, name) for name in SPAN.findall(names) if not PATH.fullmatch(name))


# Files and names.


def test_each_file_exists() -> None:
    paths = {span for span in SPAN.findall(text()) if PATH.fullmatch(span)}
    assert {"rpc/engine.py", "tests/project/test_floors.py", "tools/guards/"} <= paths
    assert {path for path in paths if found(path) is None} == set()


def test_each_class_and_method_exists() -> None:
    names = {span for span in SPAN.findall(text()) if re.fullmatch(r"[A-Z]\w+(\.\w+)?", span)}
    assert {"Engine.receive", "Responder", "Stream.lock", "Stream._wait_lock"} <= names
    known = everything() | ELSEWHERE | set(dir(builtins))
    assert {name for name in names if name not in known} == set()


def test_each_name_is_in_the_file_that_stands_before_it() -> None:
    named = set(named_with_file())
    assert {("rpc/engine.py", "Engine.look"), ("wire/http.py", "check_upgrade")} <= named
    assert {(file, name) for file, name in named if name not in defined(found(file) or ROOT)} == set()


def test_a_name_that_is_gone_is_noticed() -> None:
    assert "Engine.receive" in defined(PACKAGE / "rpc" / "engine.py")
    assert "Engine.swallow" not in everything()
    assert found("rpc/motor.py") is None


# Tables.


def test_the_decision_about_an_unknown_action_is_easy_to_find() -> None:
    first = rows("internals.md", "decision", "decided in", "carried out in")[0]
    assert "unknown action" in first[0]
    assert first[1].startswith("`rpc/engine.py`")


def test_the_folders_are_listed() -> None:
    listed = [SPAN.findall(row[0])[0] for row in rows("internals.md", "folder", "what it does")]
    assert sorted(listed) == sorted(f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py"))


def test_the_layers_are_those_that_are_checked() -> None:
    layers = ast.parse((ROOT / "tests" / "project" / "test_floors.py").read_text(encoding="utf-8"))
    assigned = [
        node for node in layers.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS"
    ]
    listed = [" ".join(SPAN.findall(row[1])) for row in rows("internals.md", "layer")]
    assert list(reversed(listed)) == ast.literal_eval(assigned[0].value)


def locks() -> Iterator[tuple[str, str]]:
    """Yield each lock of an object, with its file."""
    for place in GUARDED:
        for path in [PACKAGE / place] if place.endswith(".py") else (PACKAGE / place).glob("*.py"):
            for owner in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(owner, ast.ClassDef):
                    yield from ((f"{owner.name}.{name}", str(path.relative_to(PACKAGE))) for name in locks_of(owner))


def locks_of(owner: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(owner):
        if isinstance(node, ast.Assign) and re.search(
            r"threading\.(R?Lock|Condition)\((?!self)", ast.unparse(node.value)
        ):
            yield ast.unparse(node.targets[0]).removeprefix("self.")


def test_every_lock_is_listed() -> None:
    listed = {
        (SPAN.findall(row[0])[0], SPAN.findall(row[1])[0]) for row in rows("internals.md", "lock", "where", "guards")
    }
    assert listed == set(locks())


def test_locks_inside_others_are_listed_ones_and_have_one_order() -> None:
    listed = {SPAN.findall(row[0])[0] for row in rows("internals.md", "lock", "where", "guards")}
    order = {row[0]: set(SPAN.findall(row[1])) & listed for row in rows("internals.md", "held", "taken inside")}
    assert all(SPAN.findall(held)[0] in listed for held in order)
    graph = {SPAN.findall(held)[0]: inside for held, inside in order.items()}

    def reached(lock: str) -> set[str]:
        return {lock}.union(*(reached(inner) for inner in graph.get(lock, ())))

    assert all(held not in reached(inner) for held, inside in graph.items() for inner in inside)

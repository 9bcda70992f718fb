"""The shape of the package: which room and which file may import which, and what none may import or become."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ocppsync"
FILES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__"): path
    for path in PACKAGE.rglob("*.py")
}
"""Every file by its name: ``errors``, ``rpc/engine``, and ``rpc`` for the ``__init__`` of a folder."""
GENERATED = re.compile(r"v\d+")
ROOMS = [
    "faults json_text",
    "_version budget clock errors lenient masking throttled_log",
    "threads wire",
    "request validation",
    "events options recording v16 v201 v21 vendor",
    "journal limits methods metrics splitting",
    "rpc",
    "server",
    "security",
    "central_system charge_point",
    "answers wsgi",
    "flask simulator testing",
    "replay",
    "cli",
    "__init__ __main__",
]
"""The folders, and the files beside them, from the bottom to the top: each imports only from lower lines."""


def room_of(name: str) -> str:
    return name.split("/", maxsplit=1)[0]


def imported(path: Path) -> Iterator[str]:
    """Yield what a file imports, wherever in it: "json", "os.path", "ocppsync/errors" or "ocppsync/rpc/engine"."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level and not (node.module or "").startswith("ocppsync"):
                yield node.module or ""
                continue
            assert node.level <= len(package), f"{path.name} imports from above the package"
            base = "/".join(package[: len(package) + 1 - node.level]) if node.level else ""
            source = "/".join(filter(None, [base, (node.module or "").replace(".", "/")]))
            yield from (f"{source}/{alias.name}" for alias in node.names)


def neighbours(path: Path) -> set[str]:
    """Return the files of the package that a file imports."""
    found = set()
    for name in imported(path):
        if name.startswith("ocppsync/"):
            inside = name.removeprefix("ocppsync/")
            # Either a file, or a name that a file has.
            owner = inside if inside in FILES else inside.rpartition("/")[0]
            found.add(owner if owner in FILES else "__init__")
    return found


IMPORTS = {name: neighbours(path) for name, path in FILES.items()}


def packages(path: Path) -> set[str]:
    return {re.split(r"[./]", name)[0] for name in imported(path)}


def test_every_folder_and_file_has_its_place() -> None:
    assert {room_of(name) for name in FILES} == set(" ".join(ROOMS).split())


def test_nothing_is_imported_from_above_or_beside() -> None:
    height = {name: number for number, line in enumerate(ROOMS) for name in line.split()}
    arrows = {(room_of(name), room_of(other)) for name, others in IMPORTS.items() for other in others}
    assert {(room, other) for room, other in arrows if room != other and height[other] >= height[room]} == set()


def test_no_imports_go_round_in_a_circle() -> None:
    graphlib.TopologicalSorter(IMPORTS).prepare()


def test_only_documented_names_come_from_a_folder_itself() -> None:
    """Inside the package a room is entered by its files, unless the folder hands on names that the docs show."""
    doors = {room for room in FILES if "/" not in room and f"{room}/" in " ".join(FILES)}
    entered = {other for name, others in IMPORTS.items() for other in others if other in doors and name != "__init__"}
    assert entered <= {"answers", "cli", "simulator", "testing"}


def test_few_files_stand_beside_the_folders() -> None:
    assert len([path for path in FILES.values() if path.parent == PACKAGE]) <= 26


def test_few_files_know_the_websocket_libraries() -> None:
    assert {name for name, path in FILES.items() if "simple_websocket" in packages(path)} == {"wire/upgrade"}
    wsproto = {name for name, path in FILES.items() if "wsproto" in packages(path)}
    assert wsproto == {"wire/close_frames", "wire/deflate", "wire/upgrade", "wire/websocket"}


def test_nothing_imports_asyncio() -> None:
    assert {name for name, path in FILES.items() if "asyncio" in packages(path)} == set()


def test_no_file_is_for_everything_else() -> None:
    names = {part for name in FILES for part in name.split("/")}
    assert names & {"util", "utils", "helpers", "common", "misc"} == set()


def test_files_stay_readable() -> None:
    written = {name: path for name, path in FILES.items() if not GENERATED.fullmatch(name)}
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in written.items()}
    assert {name: length for name, length in lengths.items() if length > 500} == {}

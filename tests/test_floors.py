"""The shape of the package: which file may import which, and what none may import or become."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "ocppsync"
FILES = {path.stem: path for path in PACKAGE.glob("*.py")}
GENERATED = re.compile(r"v\d+")
TOP = 7
FLOORS = {
    name: floor
    for floor, names in {
        0: "_version addresses channel clock complaints errors formats frames lenient masking passwords registration"
        " request",
        1: "catalogue dialects endpoint events forwarded limits options password_changes predicates tls tolerance v16"
        " v201 v21 validation vendor",
        2: "framing journal memory messages methods pool repeats router rpc script streams timer watch",
        3: "deadlines dialling doorkeeper handshake inline transport upgrade",
        4: "connection incoming observing outgoing reception security",
        5: "attendance central_system charge_point listener registry",
        6: "__main__ answering answers answers_16 answers_2x cli conversation device_model fake_charge_point flask"
        " links meter metrics readable replay simulator steps steps_16 steps_2x testing wsgi",
        TOP: "__init__",
    }.items()
    for name in names.split()
}
"""A file imports files of lower floors, and those of its own as long as they go round in no circle."""


def imports(path: Path) -> Iterator[str]:
    """Yield what a file imports, wherever in it, as "json", "os.path", "ocppsync.errors" or "ocppsync.CallError"."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{path.name} imports from above the package"
            source = ".".join(filter(None, ["ocppsync" if node.level else "", node.module]))
            yield from (f"ocppsync.{alias.name}" for alias in node.names) if source == "ocppsync" else [source]


def siblings(path: Path) -> set[str]:
    """Return the files of the package that a file imports; what is no file comes out of ``__init__``."""
    ours = [f"{name}.__init__".split(".")[1] for name in imports(path) if name.split(".")[0] == "ocppsync"]
    return {name if name in FILES else "__init__" for name in ours}


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def test_every_file_has_a_floor() -> None:
    assert FILES.keys() - FLOORS.keys() == set()


def test_nothing_is_imported_from_a_higher_floor() -> None:
    pairs = {(name, other) for name, path in FILES.items() for other in siblings(path)}
    assert {(name, other) for name, other in pairs if FLOORS[other] > FLOORS[name]} == set()


def test_no_imports_go_round_in_a_circle() -> None:
    graphlib.TopologicalSorter({name: siblings(path) for name, path in FILES.items()}).prepare()


def test_few_files_know_the_websocket_libraries() -> None:
    assert {name for name, path in FILES.items() if "simple_websocket" in packages(path)} == {"upgrade"}
    assert {name for name, path in FILES.items() if "wsproto" in packages(path)} == {"upgrade", "transport"}


def test_nothing_imports_asyncio() -> None:
    assert {name for name, path in FILES.items() if "asyncio" in packages(path)} == set()


def test_no_file_is_for_everything_else() -> None:
    assert FILES.keys() & {"util", "utils", "helpers", "common", "misc"} == set()


def test_files_stay_readable() -> None:
    written = {name: path for name, path in FILES.items() if not GENERATED.fullmatch(name)}
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in written.items()}
    assert {name: length for name, length in lengths.items() if length > 500} == {}

"""What all threads of a process share, the names of modules and classes, is constant or stands beside a lock.

Without the GIL nothing else would protect it. What objects hold is not looked at here: each guards its own.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ocppsync"

GUARDED: Mapping[str, str] = {
    "validation/catalogue._read": "_reading",  # keeps each schema bundle from when it is first needed
    "validation/validators._create": "_creating",  # keeps the validator of each version
}
"""What changes all the same, and the lock of the same file under which alone it may be used."""
CONSTANT = frozenset(
    {
        "bytes.fromhex",
        "frozenset",
        "get_args",
        "getattr",
        "staticmethod",
        "join",
        "logging.getLogger",
        "re.compile",
        "threading.Lock",
        "tuple",
        "TypeVar",
        "auto",  # a member of an enumeration
        "field",  # of a dataclass: each of its objects gets its own
        "Route",  # nothing changes it once it is made
        "frames.FrameRules",  # frozen, as are the next three
        "FrameRules",
        "ValueType",
        "Lenient",
        "json.JSONDecoder",  # have settings and nothing else
        "json.JSONEncoder",
        "_Absent",
        "_get_variables",  # returns a tuple
        "_find_schemas",  # returns a path
    }
)
"""Calls that return what does not change, or what any thread may use."""
READ_ONLY = re.compile(r"(Mapping|Sequence|Table)\b")
"""The types with which mypy lets nobody change what a name stands for."""
DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)

Fault = tuple[int, str]


def faults(file: str, source: str, guarded: Mapping[str, str] = GUARDED) -> list[str]:
    """Return what a file shares and may change without a lock, each with its line."""
    tree = ast.parse(source)
    own = {key.partition(".")[2]: lock for key, lock in guarded.items() if key.startswith(f"{file}.")}
    found = [*bindings(tree.body, own), *changes(tree, shared_names(tree) - own.keys()), *bare_uses(tree, own)]
    return [f"{line}: {what}" for line, what in sorted(found)]


def bindings(body: list[ast.stmt], guarded: Mapping[str, str]) -> Iterator[Fault]:
    """Look at what the statements of a module or a class bind."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from bindings(node.body, {})
        elif isinstance(node, ast.FunctionDef):
            if node.name not in guarded and any("cache" in ast.unparse(one) for one in node.decorator_list):
                yield node.lineno, f"{node.name} keeps what it returns"
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            annotation = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
            for name in map(ast.unparse, targets(node)):
                if name != "__all__" and name not in guarded and may_change(node.value, annotation):
                    yield node.lineno, f"{name} may change"
        else:
            for part in ("body", "orelse", "finalbody", "handlers"):
                yield from bindings(getattr(node, part, []), guarded)


def targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, (ast.Assign, ast.Delete)):
        return node.targets
    return [node.target] if isinstance(node, (ast.AnnAssign, ast.AugAssign)) else []


def may_change(value: ast.AST | None, annotation: str = "") -> bool:
    if isinstance(value, DISPLAYS):
        return READ_ONLY.match(annotation) is None
    if isinstance(value, ast.Call):
        function = value.func
        text = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Constant)
        return (function.attr if text else ast.unparse(function)) not in CONSTANT  # type: ignore[attr-defined]
    if value is None or isinstance(value, (ast.Subscript, ast.Lambda)):
        return False  # a subscript is a type, such as Callable[[int], str], or a part of what is looked at elsewhere
    return any(map(may_change, ast.iter_child_nodes(value)))


def shared_names(tree: ast.Module) -> set[str]:
    """Return what the functions of a file find outside themselves."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    bound = {target.id for node in tree.body for target in targets(node) if isinstance(target, ast.Name)}
    return imported | bound | {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def changes(node: ast.AST, shared: set[str]) -> Iterator[Fault]:
    """Look for statements that change a module or a class, or what is in it."""
    if isinstance(node, ast.Global):
        yield node.lineno, f"global {', '.join(node.names)}"
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        shared = shared - {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
    for target in targets(node):
        root: ast.expr = target
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            root = root.value
        if root is not target and isinstance(root, ast.Name) and root.id in shared:
            yield root.lineno, f"{ast.unparse(target)} is changed"
    for child in ast.iter_child_nodes(node):
        yield from changes(child, shared)


def bare_uses(node: ast.AST, guarded: Mapping[str, str], held: frozenset[str] = frozenset()) -> Iterator[Fault]:
    """Look for uses of what is guarded where its lock is not held."""
    if isinstance(node, ast.With):
        held |= {ast.unparse(item.context_expr) for item in node.items}
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and guarded.get(node.id, "") not in {"", *held}:
        yield node.lineno, f"{node.id} is used without {guarded[node.id]}"
    for child in ast.iter_child_nodes(node):
        yield from bare_uses(child, guarded, held)


FILES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("file", FILES)
def test_what_threads_share_is_constant_or_guarded(file: str) -> None:
    assert faults(file, FILES[file].read_text(encoding="utf-8")) == []


def test_what_is_guarded_is_there_and_used_in_its_own_file_alone() -> None:
    sources = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
    for key, lock in GUARDED.items():
        file, _, name = key.partition(".")
        assert f"\n{lock} = threading.Lock()" in sources[file]
        assert re.search(rf"\b{name}\b", sources[file])
        assert [other for other, text in sources.items() if re.search(rf"import .*\b{name}\b", text)] == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("seen = []", "seen may change"),
        ("seen: dict[str, int] = {}", "seen may change"),
        ("SEEN = {1: 2}", "SEEN may change"),
        ("SEEN = (1, [2])", "SEEN may change"),
        ("SEEN = [n for n in range(3)]", "SEEN may change"),
        ("seen = collections.OrderedDict()", "seen may change"),
        ("numbers = itertools.count().__next__", "numbers may change"),
        ("class A:\n    seen: list[str] = []", "seen may change"),
        ("try:\n    import x\nexcept ImportError:\n    seen = set()", "seen may change"),
        ("@functools.cache\ndef f(): ...", "f keeps what it returns"),
        ("class A:\n    @functools.lru_cache(maxsize=8)\n    def f(self): ...", "f keeps what it returns"),
        ("n = 0\ndef f():\n    global n\n    n += 1", "global n"),
        ("class A: ...\ndef f():\n    A.n = 1", "A.n is changed"),
        ("import a\ndef f():\n    del a.b", "a.b is changed"),
        ("N: Mapping[str, list[int]] = {}\ndef f():\n    N['a'][0] += 1", "N['a'][0] is changed"),
        ("_kept = {}\n_lock = threading.Lock()\ndef f():\n    return _kept[1]", "_kept is used without _lock"),
    ],
)
def test_what_is_found(source: str, fault: str) -> None:
    found = faults("sample", source, {"sample._kept": "_lock"})
    assert [text.partition(": ")[2] for text in found] == [fault]


def test_what_is_let_pass() -> None:
    source = """
        import a
        __all__ = ["f"]
        CODES: Mapping[str, int] = {"a": 1}
        NAMES = frozenset({"a"})
        PATTERN = re.compile("a")
        Handler = Callable[[int], None]
        TEXT = ", ".join(NAMES)
        NUMBER = CODES["a"] + 1
        _kept = {}
        _lock = threading.Lock()

        class A:
            n: int = 0
            def f(self, a):
                self.n = 1
                a.b = 2
                with _lock:
                    _kept[1] = CODES["a"]
        """
    assert faults("sample", textwrap.dedent(source), {"sample._kept": "_lock"}) == []

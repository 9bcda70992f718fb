"""What is published: built from a copy of the tree, installed where nothing else is, and used from elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Building and installing fetch what they need.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]

REPORT = """
import json
from importlib import metadata, resources, util
import ocppsync
from ocppsync.validation.catalogue import catalogue

bundle = json.loads((resources.files("ocppsync.schemas") / "ocpp16.json").read_text(encoding="utf-8"))
print(json.dumps({
    "from": ocppsync.__file__,
    "version": ocppsync.__version__,
    "published version": metadata.version("ocppsync"),
    "license": metadata.metadata("ocppsync")["License-Expression"],
    "needs": metadata.requires("ocppsync"),
    "in the bundle": len(bundle["actions"]),
    "in the catalogue": len(catalogue("1.6").actions),
    "typed": all((resources.files("ocppsync") / name).is_file() for name in ("py.typed", "methods.pyi")),
    "leaked": [name for name in ("schemas", "tests", "tools", "examples", "docs") if util.find_spec(name)],
}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unwanted() -> Iterator[str]:
    """Yield the patterns of what building and testing leave behind."""
    yield ".git"
    for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.rstrip("/")


def copy_of_the_tree(parent: Path) -> Path:
    return Path(shutil.copytree(ROOT, parent / "tree", ignore=shutil.ignore_patterns(*unwanted())))


def install(parent: Path, *requirement: str | Path) -> Path:
    """Install into a new environment and return its Python."""
    venv.create(parent / "venv", with_pip=True)
    python = parent / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirement, cwd=parent)
    return python


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the sdist, and the wheel that was built from it."""
    parent = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", parent, copy_of_the_tree(parent), cwd=parent)
    return parent


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("editable")
    return install(parent, "--editable", copy_of_the_tree(parent))


@pytest.fixture(params=["installed", "editable"])
def report(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What a program finds out about the package, with nothing else on its path."""
    result: dict[str, Any] = json.loads(run(request.getfixturevalue(request.param), "-I", "-c", REPORT, cwd=tmp_path))
    return result


def test_the_package_works_from_elsewhere(report: dict[str, Any]) -> None:
    assert ROOT not in Path(report["from"]).parents
    assert report["in the bundle"] == report["in the catalogue"] == 39
    assert report["typed"]
    assert report["leaked"] == []


def test_the_metadata_say_what_the_package_is(report: dict[str, Any]) -> None:
    assert report["version"] == report["published version"]
    assert report["license"] == "MIT"
    required = {need.split("<")[0] for need in report["needs"] if "extra ==" not in need}
    assert required == {"simple-websocket", "jsonschema", "typing-extensions"}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "ocppsync").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"ocppsync/py.typed", "ocppsync/methods.pyi"} < sources
    schemas = {f"ocppsync/schemas/{path.name}" for path in (ROOT / "schemas").iterdir() if path.is_file()}
    assert names == sources | schemas


def test_the_sdist_holds_all_that_its_tests_need(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    tree = {str(path.relative_to(ROOT)) for folder in ("tests", "tools") for path in (ROOT / folder).rglob("*.py")}
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.cfg", ".gitignore", *tree} - names == set()


def test_the_command_is_there(installed: Path, tmp_path: Path) -> None:
    assert run(installed.with_name("ocppsync"), "--help", cwd=tmp_path).startswith("usage: ocppsync")

"""Another ocppsync to compare with: a commit, or a directory with a clone of it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Release

_ROOT = Path(__file__).resolve().parents[1]


class UnknownRelease(Exception):
    """It is neither a commit nor a directory with the package; the text says so in one line."""


@contextlib.contextmanager
def checked_out(commit_or_path: str) -> Iterator[Release]:
    """Yield a commit of this repository, or a directory, in a form to import from.

    The package is copied to a temporary directory, with its schemas inside as in a wheel: otherwise a package installed
    in development mode would lend it those of the installed one.

    Raises:
        UnknownRelease: there is no such ocppsync.
    """
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(commit_or_path)
        if (tree / "ocppsync").is_dir():
            name = tree.resolve().name
        else:
            tree = Path(directory, "tree")
            name = _extract(commit_or_path, tree)
        path = Path(directory, "site")
        shutil.copytree(tree / "ocppsync", path / "ocppsync", ignore=shutil.ignore_patterns("__pycache__"))
        if (tree / "schemas").is_dir():
            shutil.copytree(tree / "schemas", path / "ocppsync" / "schemas", dirs_exist_ok=True)
        yield Release(f"ocppsync at {name}", path)


def _extract(commit: str, tree: Path) -> str:
    """Write the files of a commit to a directory that does not exist; return the short form of its hash."""
    tree.mkdir()
    try:
        short = _git("rev-parse", "--short", "--verify", "--end-of-options", f"{commit}^{{commit}}").decode().strip()
        archive = tree / "archive.zip"
        archive.write_bytes(_git("archive", "--format=zip", short, "ocppsync", "schemas"))
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnknownRelease(f"neither a commit nor a directory with ocppsync: {commit}") from error
    shutil.unpack_archive(archive, tree)
    return short


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, check=True).stdout  # noqa: S607 (git)

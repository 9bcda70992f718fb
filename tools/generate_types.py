"""Generates ``ocppsync/v*.py`` and ``methods.pyi`` from the schema bundles in ``schemas/``.

With ``--check`` it writes nothing. If a file is out of date, it prints the difference and exits with status 1. The
output is formatted as by ``ruff format``.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from bundles import read_bundle
from message_types import module_text
from method_stub import stub_text

BUNDLES = ("ocpp16.json", "ocpp201.json", "ocpp21.json")
"""From the oldest version to the newest."""
LINES_SHOWN = 20
"""How many lines of a difference ``--check`` prints."""
ROOT = Path(__file__).resolve().parent.parent


def texts(schemas: Path) -> dict[str, str]:
    """Return the source of each generated file by name, from the bundles in a directory."""
    bundles = [read_bundle(schemas / name) for name in BUNDLES]
    modules = {f"{bundle.module}.py": module_text(bundle) for bundle in bundles}
    return {**modules, "methods.pyi": stub_text(bundles)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or compare them with ``--check``; return the exit status."""
    parser = argparse.ArgumentParser(description="Write ocppsync/v*.py and methods.pyi from the schema bundles.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    parser.add_argument("--schemas", type=Path, default=ROOT / "schemas", help="directory of the bundles")
    parser.add_argument("--output", type=Path, default=ROOT / "ocppsync", help="directory of the generated files")
    options = parser.parse_args(arguments)
    stale = False
    for name, text in texts(options.schemas).items():
        path = options.output / name
        if options.check:
            stale |= _is_stale(path, text)
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
    return int(stale)


def _is_stale(path: Path, text: str) -> bool:
    """Return whether a file differs from ``text``, and print the difference."""
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    if found == text:
        return False
    print(f"{path} is out of date; run python tools/generate_types.py")
    difference = difflib.unified_diff(found.splitlines(), text.splitlines(), "found", "generated", n=1, lineterm="")
    print("\n".join(itertools.islice(difference, LINES_SHOWN)))
    return True


if __name__ == "__main__":
    sys.exit(main())

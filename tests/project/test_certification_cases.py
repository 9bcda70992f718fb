"""docs/certification.md lists every certification case of a CSMS, and names the tests that play them."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS, ROOT, cells, code, read, rows

pytestmark = pytest.mark.slow

HEAD = ("case", "about", "carried by", "where")
CASES_OF_BLOCK = {
    "A": 14, "B": 22, "C": 16, "D": 6, "E": 27, "F": 15, "G": 10, "H": 9, "I": 2,
    "J": 9, "K": 32, "L": 19, "M": 18, "N": 29, "O": 21, "P": 2,
}  # fmt: skip
"""As in Part 6, edition 3, §3, and TC_B_58_CSMS of its errata."""


def table() -> list[list[str]]:
    return rows("certification.md", *HEAD)


@functools.cache
def played_cases() -> frozenset[tuple[str, str]]:
    """Return the case and the file of each test in tests/conformance that has the id of a case in its name."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/conformance"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return frozenset(
        (f"TC_{block}_{number}_CSMS".upper(), Path(line.partition("::")[0]).name)
        for line in done.stdout.splitlines()
        for block, number in re.findall(r"tc_([a-z])_(\d+)_csms", line, re.IGNORECASE)
    )


def test_ids_are_unique_and_sorted() -> None:
    ids = [row[0] for row in table()]
    assert all(re.fullmatch(r"TC_[A-P]_\d\d_CSMS", name) for name in ids)
    assert ids == sorted(set(ids))


def test_no_case_is_missing() -> None:
    blocks = [row[0].split("_")[1] for row in table()]
    assert {block: blocks.count(block) for block in blocks} == CASES_OF_BLOCK


def test_each_case_of_the_library_has_its_tests_and_the_other_way_round() -> None:
    named = {(row[0], file) for row in table() if row[2] == "library" for file in code(row[3]) if file.endswith(".py")}
    assert {case for case, _ in named} == {row[0] for row in table() if row[2] == "library"}
    assert named == played_cases()


def test_each_case_of_the_application_links_to_a_page() -> None:
    """That links lead somewhere is checked by test_docs.py."""
    others = [row for row in table() if row[2] != "library"]
    assert {row[2] for row in others} == {"application"}
    assert [row[0] for row in others if not re.search(r"\]\([^)]+\)", row[3])] == []


def test_the_numbers_of_cases_are_right() -> None:
    found = [row[2] for row in table()]
    numbers = {row[0]: int(row[1]) for row in rows("certification.md", "carried by", "cases")}
    assert numbers == {kind: found.count(kind) for kind in ("library", "application", "not applicable")}
    text = read(DOCS / "certification.md")
    assert f"edition 3, has {len(found)} test cases" in text
    assert all(len(cells(line)) == len(HEAD) for line in text.splitlines() if line.startswith("| TC_"))

"""The benchmarks run; what they measure is nobody's business here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_the_soak_accounts_for_every_call() -> None:
    command = [sys.executable, str(BENCHMARKS / "soak.py"), "--seconds", "8", "--chargers", "50", "--pace", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "central system: answered" in done.stdout
    assert "charge point: answered" in done.stdout

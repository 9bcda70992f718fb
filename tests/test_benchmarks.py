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


def test_the_throughput_is_measured() -> None:
    command = [
        sys.executable,
        str(BENCHMARKS / "throughput.py"),
        "--rounds",
        "1",
        "--seconds",
        "0.3",
        "--connections",
        "5",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines()[3:]]
    assert [(row[0], row[1]) for row in rows] == [
        ("| heartbeat", "ocppsync"),
        ("| heartbeat", "ocpp"),
        ("| meter-values", "ocppsync"),
        ("| meter-values", "ocpp"),
    ]
    assert all(float(row[2]) > 0 for row in rows)

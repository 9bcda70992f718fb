"""The scenarios run with few connections, and yield the expected figures; the values are not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RUN = """
import dataclasses, importlib, json, os, sys
sys.path.insert(0, sys.argv[1])
from figures import Plan
cores = sorted(os.sched_getaffinity(0))
scenario = importlib.import_module(f"scenarios.{sys.argv[2]}")
plan = Plan(server_core=cores[0], load_core=cores[-1], repetitions=1, seconds=0.1, smoke=True)
print(json.dumps([scenario.NAME, *map(dataclasses.asdict, scenario.run(plan))]))
"""
BOTH = ["ocppsync", "ocpp package"]
VALIDATORS = ["ocppsync", "jsonschema", "fastjsonschema", "jsonschema-rs"]
EXPECTED: dict[str, list[tuple[str, str, str, bool, list[str]]]] = {
    # scenario, variant, unit, whether more is better, peers
    "requests": [
        ("send_request fan-out", "20 chargers at once", "answers/s", True, BOTH),
        ("send_request fan-out, CPU time", "20 chargers at once", "CPU µs/call", False, BOTH),
        ("send_request fan-out", "20 chargers, 16 at a time", "answers/s", True, BOTH),
        ("send_request fan-out, CPU time", "20 chargers, 16 at a time", "CPU µs/call", False, BOTH),
        ("send_request, 16 threads to one", "", "answers/s", True, BOTH),
        ("send_request, 16 threads to one, CPU time", "", "CPU µs/call", False, BOTH),
    ],
    "calls": [
        ("Python calls for a message", "a CALL", "calls", False, ["ocppsync"]),
        ("Python calls for a message", "a send_request", "calls", False, ["ocppsync"]),
    ],
    "handshakes": [
        ("handshakes", "plain", "handshakes/s", True, BOTH),
        ("handshakes, CPU time", "plain", "CPU µs/handshake", False, BOTH),
        ("handshakes", "TLS", "handshakes/s", True, BOTH),
        ("handshakes, CPU time", "TLS", "CPU µs/handshake", False, BOTH),
        ("reconnect storm", "50 chargers", "s", False, BOTH),
    ],
    "memory": [
        ("idle memory", "100 connections", "kB", False, BOTH),
        ("idle memory", "100 connections, with the kernel's part", "kB", False, BOTH),
    ],
    "validation": [
        ("validation", "Heartbeat", "µs", False, VALIDATORS),
        ("validation", "MeterValues", "µs", False, VALIDATORS),
        ("validation", "TransactionEvent", "µs", False, VALIDATORS),
    ],
    "imports": [("import", "", "ms", False, [*BOTH, "empty interpreter"])],
}


def run(name: str) -> list[Any]:
    command = [sys.executable, "-c", RUN, str(BENCHMARKS), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_a_scenario_yields_figures_for_every_peer(name: str) -> None:
    found_name, *figures = run(name)
    assert found_name == name
    keys = "scenario", "variant", "unit", "more_is_better", "peer"
    assert sorted(tuple(figure[key] for key in keys) for figure in figures) == sorted(
        (*expected, peer) for *expected, peers in EXPECTED[name] for peer in peers
    )
    assert all(len(figure["values"]) == 1 and figure["values"][0] > 0 for figure in figures)

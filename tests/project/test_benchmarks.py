"""The benchmarks run and report; the measured values are not tested."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCENARIOS = sorted(
    name
    for file in (BENCHMARKS / "scenarios").glob("*.py")
    for name in re.findall(r'^NAME(?:: str)? = "(.+)"$', file.read_text(encoding="utf-8"), re.MULTILINE)
)


def start(program: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(program), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def figure(peer: str, *values: float, **fields: Any) -> dict[str, Any]:
    found = {"scenario": "validated MeterValues", "variant": "100 connections", "peer": peer, "unit": "messages/s"}
    return {**found, "values": values, "more_is_better": True, **fields}


def write_page(directory: Path, *figures: dict[str, Any]) -> str:
    """Return the page that `report.py` writes for some figures."""
    file = directory / "results.json"
    run = {"machine": {"processor": "fast"}, "method": {}, "figures": figures, "failures": []}
    file.write_text(json.dumps(run), encoding="utf-8")
    done = start(BENCHMARKS / "report.py", file)
    assert done.returncode == 0, done.stderr
    return (directory / "RESULTS.md").read_text(encoding="utf-8")


def test_the_soak_accounts_for_every_call() -> None:
    command = [sys.executable, str(BENCHMARKS / "soak.py"), "--seconds", "8", "--chargers", "50", "--pace", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "central system: answered" in done.stdout
    assert "charge point: answered" in done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_yields_figures_and_plots(scenario: str, tmp_path: Path) -> None:
    done = start(BENCHMARKS / "run.py", "--smoke", "--only", scenario, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["figures"]
    assert "ocppsync" in {figure["peer"] for figure in figures}
    assert all(value > 0 for figure in figures for value in figure["values"])
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    plots = re.findall(r"\((.+\.svg)\)", page)
    assert plots
    assert all((tmp_path / plot).is_file() for plot in plots)


def test_scenarios_are_found() -> None:
    assert {"throughput", "latency", "tls"} <= set(SCENARIOS)


@pytest.mark.timeout(300)
def test_a_failing_scenario_is_reported_and_does_not_stop_the_others(tmp_path: Path) -> None:
    copy = shutil.copytree(BENCHMARKS, tmp_path / "benchmarks", ignore=shutil.ignore_patterns("node_modules"))
    broken = 'NAME = "broken"\n\ndef run(plan):\n    raise RuntimeError("on purpose")\n    yield\n'
    (copy / "scenarios" / "broken.py").write_text(broken, encoding="utf-8")
    (copy / "scenarios" / "absent.py").write_text("import missing_module\n", encoding="utf-8")
    done = start(copy / "run.py", "--smoke", "--only", "broken", "tls", "--out", tmp_path)
    assert done.returncode == 1, done.stderr
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert re.search(r"^\| broken .* RuntimeError: on purpose \|$", page, re.MULTILINE)
    assert re.search(r"^\| absent .* ModuleNotFoundError: ", page, re.MULTILINE)
    assert "\n## TLS\n" in page


def test_the_page_compares_medians_and_says_which_targets_are_met(tmp_path: Path) -> None:
    page = write_page(
        tmp_path,
        figure("ocppsync", 4000, 6000, 9000),
        figure("ocpp package", 1100, 1000, 900),
        figure("ts-ocpp", 2500),
        figure("ocppsync", 2.0, scenario="latency", variant="p50", unit="ms", more_is_better=False),
        figure("ocpp package", 5.0, scenario="latency", variant="p50", unit="ms", more_is_better=False),
    )
    assert "| 100 connections | ocpp package | 1\u202f000 | 900 | 1\u202f100 | messages/s | 6 \u00d7 |" in page
    assert "| p50 | ocpp package | 5 | 5 | 5 | ms | 2.5 \u00d7 |" in page
    assert "relative to ocpp package | \u2265 5 \u00d7 | 6 \u00d7 | met |" in page
    assert "relative to ts-ocpp | \u2265 3 \u00d7 | 2.4 \u00d7 | **missed** by 20 % |" in page
    assert "| handshakes | \u2265 1000 /s | \u2013 | not measured |" in page


def test_the_load_fails_if_the_server_refuses_the_connection(tmp_path: Path) -> None:
    done = start(BENCHMARKS / "load.py", "1", "--connections", "1", "--seconds", "0.1")
    assert done.returncode == 1
    assert done.stderr.startswith("ConnectionRefusedError")

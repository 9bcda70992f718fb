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


def evaluate(code: str) -> Any:
    """Return the JSON that a program prints, which may import the modules of the benchmarks."""
    program = f"import json, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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


# CPU time.


def test_the_cpu_time_of_a_process_is_that_of_all_its_threads() -> None:
    before, found, after = evaluate("""
import os, threading, time
from processes import cpu_seconds
def work():
    while time.thread_time() < 0.05:
        pass
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(json.dumps([time.process_time(), cpu_seconds(os.getpid()), time.process_time()]))
""")
    assert 0.05 < before <= found <= after


def test_the_cpu_time_of_another_process_is_that_since_its_start() -> None:
    own, found = evaluate("""
from processes import cpu_seconds, running
child = "import time\\nwhile time.process_time() < 0.2: pass\\nprint(time.process_time(), flush=True)\\ninput()"
with running([sys.executable, "-c", child], 0) as program:
    own = float(program.read())
    print(json.dumps([own, cpu_seconds(program.pid)]))
""")
    assert 0.2 <= own <= found


def test_the_page_has_the_cpu_time_beside_the_rate(tmp_path: Path) -> None:
    cpu = {"scenario": "validated MeterValues, CPU time", "unit": "CPU \u00b5s/call", "more_is_better": False}
    page = write_page(
        tmp_path,
        figure("ocppsync", 4000),
        figure("ocppsync", 150, 170, 160, **cpu),
        figure("ocpp package", 1000),
        figure("ocpp package", 800, **cpu),
        figure("ts-ocpp", 2000),
    )
    rate, own = (page.split(f"\n## Validated MeterValues{end}\n")[1].split("\n## ")[0] for end in ("", ", CPU time"))
    assert "| **ocppsync** | 4\u202f000 | 4\u202f000 | 4\u202f000 | messages/s | 160 | \u2013 |" in rate
    assert "| ocpp package | 1\u202f000 | 1\u202f000 | 1\u202f000 | messages/s | 800 | 4 \u00d7 |" in rate
    assert "| ts-ocpp | 2\u202f000 | 2\u202f000 | 2\u202f000 | messages/s | \u2013 | 2 \u00d7 |" in rate
    assert "| **ocppsync** | 160 | 150 | 170 | CPU \u00b5s/call | \u2013 |" in own


# Another ocppsync.


def test_repetitions_are_compared_in_pairs() -> None:
    pairs = evaluate("""
import dataclasses
from figures import Figure
from report import pairs
def figure(scenario, peer, more_is_better, values):
    return Figure(scenario, "", peer, "x", tuple(values.values()), more_is_better, tuple(values))
figures = [
    figure("rate", "ocppsync", True, {0: 20.0, 1: 90.0, 2: 50.0}),
    figure("rate", "ocppsync at v1", True, {0: 10.0, 2: 100.0}),
    figure("rate", "ocpp package", True, {0: 1.0, 1: 1.0, 2: 1.0}),
    figure("time", "ocppsync", False, {0: 1.0, 1: 1.0}),
    figure("time", "ocppsync at v1", False, {0: 2.0, 1: 4.0}),
    figure("more time", "ocppsync", False, {0: 3.0}),
    figure("more time", "ocppsync at v1", False, {0: 2.0}),
    figure("only today", "ocppsync", True, {0: 3.0}),
]
found = pairs(figures, "ocppsync at v1")
print(json.dumps([[pair.scenario, pair.ratios, pair.median, pair.verdict] for pair in found]))
""")
    assert pairs == [
        ["rate", [2, 0.5], 1.25, "mixed"],
        ["time", [0.5, 0.25], 0.375, "better every time"],
        ["more time", [1.5], 1.5, "**worse** every time"],
    ]


def test_the_peers_take_turns_in_both_orders() -> None:
    order, turns = evaluate("""
from figures import Plan
from measuring import Series, take_turns
from processes import ProgramError
order = []
def measurement(name):
    def measure():
        order.append(name)
        if order == ["a", "b"]:
            raise ProgramError("on purpose")
        yield 1.0
    return measure
found = take_turns(Plan(0, 0, 3, 1), {measurement(name): [Series("scenario", "", name, "x")] for name in "ab"})
turns = [one.turns if hasattr(one, "turns") else one.reason for one in found]
print(json.dumps([order, turns]))
""")
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert turns == [[0, 1, 2], [1, 2], "on purpose"]


@pytest.mark.timeout(300)
def test_another_directory_takes_turns_with_the_installed_one(tmp_path: Path) -> None:
    root, name = BENCHMARKS.parent, f"ocppsync at {BENCHMARKS.parent.name}"
    options = ["--only", "requests", "calls", "tls", "--against", root, "--out", tmp_path]
    done = start(BENCHMARKS / "run.py", "--smoke", *options)
    assert done.returncode == 0, done.stderr
    run = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    today = {(one["scenario"], one["variant"]): one for one in run["figures"] if one["peer"] == "ocppsync"}
    then = {(one["scenario"], one["variant"]): one for one in run["figures"] if one["peer"] == name}
    assert list(today) == list(then)
    assert {(pair["scenario"], pair["variant"], pair["other"]) for pair in run["pairs"]} == {
        (*key, name) for key in then
    }
    for pair in run["pairs"]:
        key = pair["scenario"], pair["variant"]
        assert pair["ratios"] == pytest.approx([today[key]["values"][0] / then[key]["values"][0]])
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert f"\n## Compared with {name}\n" in page
    assert re.search(
        r"^\| Python calls for a message \| a CALL \| calls \| (1|0.99.|1.0.) \u00d7 \|", page, re.MULTILINE
    )


def test_a_commit_is_imported_from_its_own_files(tmp_path: Path) -> None:
    copy = tmp_path / "clone"
    ignored = shutil.ignore_patterns("node_modules", "__pycache__", "results")
    for part in ("benchmarks", "ocppsync", "schemas"):
        shutil.copytree(BENCHMARKS.parent / part, copy / part, ignore=ignored)
    package = copy / "ocppsync" / "__init__.py"
    text = package.read_text(encoding="utf-8")
    package.write_text(f"{text}\nraise SystemExit('this is the commit')\n", encoding="utf-8")

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        return subprocess.run(["git", *who, *arguments], cwd=copy, capture_output=True, text=True, check=True).stdout

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "A commit")
    package.write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    done = start(copy / "benchmarks" / "run.py", "--smoke", "--only", "calls", "--against", "HEAD", "--out", out)
    assert done.returncode == 1
    run = json.loads((out / "results.json").read_text(encoding="utf-8"))
    name = f"ocppsync at {git('rev-parse', '--short', 'HEAD').strip()}"
    assert {one["peer"] for one in run["figures"]} == {"ocppsync"}
    assert [one["peer"] for one in run["failures"]] == [name, name]
    assert "this is the commit" in run["failures"][0]["reason"]
    assert (copy / "ocppsync" / "__init__.py").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", ["no-such-commit", "--help", "/"])
def test_another_ocppsync_must_exist(name: str, tmp_path: Path) -> None:
    done = start(BENCHMARKS / "run.py", "--smoke", "--only", "calls", f"--against={name}", "--out", tmp_path)
    assert done.returncode == 1
    assert f"neither a commit nor a directory with ocppsync: {name}" in done.stderr
    assert not list(tmp_path.iterdir())

"""Runs every benchmark against the peers, and writes tables and plots.

    python benchmarks/run.py
    python benchmarks/run.py --only throughput tls --repetitions 5
    python benchmarks/run.py --against v0.1.0

Writes RESULTS.md, the plots and results.json into ``--out``. Needs the extra ``bench``. If Node.js is installed, the
peers that run on it are installed into benchmarks/peers/. The exit status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import machine
from against import UnknownRelease, checked_out
from figures import Failure, Figure, Plan, Release
from processes import allow_many_sockets
from progress import elapsed, say
from report import Run, pairs, write
from servers import install_node_peers

HERE = Path(__file__).resolve().parent
_FIRST = "throughput"
"""The scenario to run first: most readers look for it first."""


@dataclass(frozen=True)
class Scenario:
    """A module of the package `scenarios`."""

    name: str
    run: Callable[[Plan], Iterator[Figure | Failure]]


def scenarios() -> tuple[dict[str, Scenario], list[Failure]]:
    """Return the scenarios by name, and a failure for each module that cannot be imported."""
    found, failures = {}, []
    files = (HERE / "scenarios").glob("[!_]*.py")
    for file in sorted(files, key=lambda file: (file.stem != _FIRST, file.stem)):
        try:
            module = importlib.import_module(f"scenarios.{file.stem}")
        except Exception as error:
            failures.append(Failure(file.stem, "", "", _describe(error)))
        else:
            found[module.NAME] = Scenario(module.NAME, module.run)
    return found, failures


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def perform(scenario: Scenario, plan: Plan) -> Iterator[Figure | Failure]:
    """Yield the results of a scenario; if the scenario itself fails, yield that failure last."""
    say(f"{scenario.name}:")
    began = elapsed()
    try:
        for found in scenario.run(plan):
            if isinstance(found, Figure):
                say(f"{found.scenario}, {found.variant}, {found.peer}: median {found.median:.4g} {found.unit}")
            yield found
    except Exception as error:
        say(f"{scenario.name} FAILED: {_describe(error)}")
        yield Failure(scenario.name, "", "", _describe(error))
    say(f"{scenario.name} took {elapsed() - began:.0f} s")


def make_plan(options: argparse.Namespace, against: Release | None) -> Plan:
    """Return the plan for these options, with the first and the last core that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        say("only one core is available: the server and the load share it, so the figures mean little")
    return Plan(cores[0], cores[-1], options.repetitions, options.seconds, smoke=options.smoke, against=against)


def arguments(names: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=names, metavar="SCENARIO", help=", ".join(names))
    parser.add_argument("--smoke", action="store_true", help="only check that everything works; takes seconds")
    parser.add_argument("--repetitions", type=int, help="repetitions of each measurement (default: 3, with --smoke 1)")
    parser.add_argument("--seconds", type=float, help="seconds for each measurement (default: 1.5, with --smoke 0.2)")
    parser.add_argument(
        "--against",
        metavar="COMMIT_OR_PATH",
        help="another ocppsync to compare with, such as the last release",
    )
    parser.add_argument("--out", type=Path, default=HERE / "results", help="directory for the results")
    options = parser.parse_args()
    options.repetitions = options.repetitions or (1 if options.smoke else 3)
    options.seconds = options.seconds or (0.2 if options.smoke else 1.5)
    return options


def main() -> int:
    """Run the benchmarks; return the exit status."""
    known, failures = scenarios()
    options = arguments(list(known))
    with contextlib.ExitStack() as stack:
        try:
            against = stack.enter_context(checked_out(options.against)) if options.against else None
        except UnknownRelease as error:
            say(str(error))
            return 1
        return measure(known, failures, options, make_plan(options, against))


def measure(known: dict[str, Scenario], failures: list[Failure], options: argparse.Namespace, plan: Plan) -> int:
    """Run the benchmarks of the plan and write their results; return the exit status."""
    allow_many_sockets()
    if not options.smoke:
        say("npm install in benchmarks/peers/")
        if (reason := install_node_peers()) is not None:
            say(f"skipping the peers on Node.js: {reason}")
    figures: list[Figure] = []
    for name in options.only or known:
        for found in perform(known[name], plan):
            if isinstance(found, Figure):
                figures.append(found)
            else:
                failures.append(found)
    method = {
        "measured": f"{plan.repetitions} times {plan.seconds:g} s, with the peers in turns",
        "cores": f"the server on core {plan.server_core}, the load on core {plan.load_core}",
        "took": f"{elapsed() / 60:.1f} min",
    }
    compared = pairs(figures, plan.against.name) if plan.against is not None else []
    write(Run(machine.describe(), method, figures, failures, compared), options.out)
    say(f"written: {options.out / 'RESULTS.md'}")
    for failure in failures:
        say(f"FAILED: {', '.join(filter(None, (failure.scenario, failure.variant, failure.peer)))}: {failure.reason}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

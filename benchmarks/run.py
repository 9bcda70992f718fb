"""Every benchmark, with one command: a table and plots, beside the peers, in one run.

    python benchmarks/run.py
    python benchmarks/run.py --only throughput tls --repetitions 5

Writes RESULTS.md, the plots and results.json into ``--out``. Needs the extra ``bench``; the peers that run on Node.js
are installed into benchmarks/peers/ if it is there. Exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import machine
from figures import Failure, Figure, Plan
from processes import allow_many_sockets
from progress import elapsed, say
from report import Run, write
from servers import install_node_peers

HERE = Path(__file__).resolve().parent
_FIRST = "throughput"
"""What a reader looks for first."""


@dataclass(frozen=True)
class Scenario:
    """A module of `scenarios`."""

    name: str
    run: Callable[[Plan], Iterator[Figure | Failure]]


def scenarios() -> tuple[dict[str, Scenario], list[Failure]]:
    """Return what can be run, by name, and what cannot be imported."""
    found, failures = {}, []
    files = (HERE / "scenarios").glob("[!_]*.py")
    for file in sorted(files, key=lambda file: (file.stem != _FIRST, file.stem)):
        try:
            module = importlib.import_module(f"scenarios.{file.stem}")
        except Exception as error:
            failures.append(Failure(file.stem, "", "", _spelled(error)))
        else:
            found[module.NAME] = Scenario(module.NAME, module.run)
    return found, failures


def _spelled(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def perform(scenario: Scenario, plan: Plan) -> Iterator[Figure | Failure]:
    """Yield what a scenario finds, and in the end its own failure, if it fails."""
    say(f"{scenario.name}:")
    began = elapsed()
    try:
        for found in scenario.run(plan):
            if isinstance(found, Figure):
                say(f"{found.scenario}, {found.variant}, {found.peer}: median {found.median:.4g} {found.unit}")
            yield found
    except Exception as error:
        say(f"{scenario.name} FAILED: {_spelled(error)}")
        yield Failure(scenario.name, "", "", _spelled(error))
    say(f"{scenario.name} took {elapsed() - began:.0f} s")


def make_plan(options: argparse.Namespace) -> Plan:
    """Return the plan for the options, on the cores that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        say("there is one core only: server and load share it, and the figures say little")
    return Plan(cores[0], cores[-1], options.repetitions, options.seconds, smoke=options.smoke)


def arguments(names: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=names, metavar="SCENARIO", help=", ".join(names))
    parser.add_argument("--smoke", action="store_true", help="only show that everything works, in seconds")
    parser.add_argument("--repetitions", type=int, help="of each measurement; 3, or 1 with --smoke")
    parser.add_argument("--seconds", type=float, help="of each measurement; 1.5, or 0.2 with --smoke")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    options.repetitions = options.repetitions or (1 if options.smoke else 3)
    options.seconds = options.seconds or (0.2 if options.smoke else 1.5)
    return options


def main() -> int:
    """Run it; return the exit status."""
    known, failures = scenarios()
    options = arguments(list(known))
    plan = make_plan(options)
    allow_many_sockets()
    if not options.smoke:
        say("npm install in benchmarks/peers/")
        if (reason := install_node_peers()) is not None:
            say(f"without the peers on Node.js: {reason}")
    figures: list[Figure] = []
    for name in options.only or known:
        for found in perform(known[name], plan):
            if isinstance(found, Figure):
                figures.append(found)
            else:
                failures.append(found)
    method = {
        "measured": f"{plan.repetitions} times {plan.seconds:g} s, the peers taking turns",
        "cores": f"the server on core {plan.server_core}, the load on core {plan.load_core}",
        "took": f"{elapsed() / 60:.1f} min",
    }
    write(Run(machine.describe(), method, figures, failures), options.out)
    say(f"written: {options.out / 'RESULTS.md'}")
    for failure in failures:
        say(f"FAILED: {', '.join(filter(None, (failure.scenario, failure.variant, failure.peer)))}: {failure.reason}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

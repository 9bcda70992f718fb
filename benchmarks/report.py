"""Writes the results of a run as a page with tables and plots, and as JSON.

    python benchmarks/report.py benchmarks/results/results.json

Writes the page and the plots again, into the directory of the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import CPU, Failure, Figure, Pair, title
from servers import ECHO_RAW, OURS
from targets import TARGETS

_NONE = "\N{EN DASH}"
_PAIR_HEADS = ("scenario", "variant", "unit", "ratio", "lowest", "highest", "repetitions", "")
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Run:
    """The machine, the method and the results of a run."""

    machine: Mapping[str, str]
    #: How it was measured.
    method: Mapping[str, str]
    figures: Sequence[Figure]
    failures: Sequence[Failure]
    #: The comparison with another ocppsync.
    pairs: Sequence[Pair] = ()

    def to_json(self) -> str:
        """Return the run as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Return the run from the text that `to_json` returned."""
        run: dict[str, Any] = json.loads(text)
        figures = [Figure(**{**one, "values": tuple(one["values"])}) for one in run["figures"]]
        failures = [Failure(**one) for one in run["failures"]]
        compared = [Pair(**{**one, "ratios": tuple(one["ratios"])}) for one in run.get("pairs", [])]
        return cls(run["machine"], run["method"], figures, failures, compared)

    @property
    def other(self) -> str:
        """The name of the other ocppsync; empty if there is none."""
        return self.pairs[0].other if self.pairs else ""

    def scenarios(self) -> dict[str, list[Figure]]:
        """Return the figures by scenario, in the order of the run."""
        found: dict[str, list[Figure]] = {}
        for figure in self.figures:
            found.setdefault(figure.scenario, []).append(figure)
        return found


def pairs(figures: Sequence[Figure], other: str) -> list[Pair]:
    """Return how the installed ocppsync compares with another one, wherever both were measured."""
    found = {(one.scenario, one.variant): one for one in figures if one.peer == other}
    return [
        Pair(one.scenario, one.variant, other, one.unit, ratios, one.more_is_better)
        for one in figures
        if one.peer == OURS.name and (then := found.get((one.scenario, one.variant))) is not None
        if (ratios := tuple(_ratios(one, then)))
    ]


def _ratios(today: Figure, then: Figure) -> Iterator[float]:
    """Yield the ratio of each repetition in which both have a value: what disturbs one disturbs the other."""
    values = dict(zip(then.turns, then.values, strict=True))
    for turn, value in zip(today.turns, today.values, strict=True):
        if values.get(turn):
            yield value / values[turn]


def write(run: Run, directory: Path) -> None:
    """Write results.json, RESULTS.md and, if matplotlib is installed, the plots."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(run.to_json(), encoding="utf-8")
    plots = _draw(run, directory)
    (directory / "RESULTS.md").write_text("\n".join(_page(run, plots)) + "\n", encoding="utf-8")


def _draw(run: Run, directory: Path) -> Mapping[str, str]:
    try:
        import plots
    except ImportError:
        print("no plots: matplotlib is not installed (pip install -e '.[bench]')", file=sys.stderr)
        return {}
    return plots.draw(run.scenarios(), directory, run.pairs)


# The page.


def _page(run: Run, plots: Mapping[str, str]) -> Iterator[str]:
    yield "# Results\n"
    yield "Written by `python benchmarks/run.py`; `results.json` has every value.\n"
    facts = {**run.method, **dict(_ceilings(run)), **run.machine}
    yield from _table(["", ""], ([name, value] for name, value in facts.items()), "ll")
    yield "\n## Targets\n"
    yield from _table(["target", "bound", "reached", ""], _target_rows(run.figures), "lrrl")
    if run.pairs:
        yield f"\n## Compared with {run.other}\n"
        yield "What the installed ocppsync reached, divided by what this one did in the same repetition.\n"
        if run.other in plots:
            yield f"![the ratios]({plots[run.other]})\n"
        yield from _table(_PAIR_HEADS, _pair_rows(run), "lllrrrrl")
    for scenario, figures in run.scenarios().items():
        yield f"\n## {title(scenario)}\n"
        if scenario in plots:
            yield f"![{scenario}]({plots[scenario]})\n"
        yield from _scenario_table(figures, run.scenarios().get(f"{scenario}{CPU}", ()))
    if run.failures:
        yield "\n## What failed\n"
        rows = ([one.scenario, one.variant or _NONE, one.peer or _NONE, one.reason] for one in run.failures)
        yield from _table(["scenario", "variant", "peer", "reason"], rows, "llll")


def _ceilings(run: Run) -> Iterator[tuple[str, str]]:
    """Yield how far the load generator's maximum is above the fastest server, by scenario."""
    for scenario, figures in run.scenarios().items():
        ceilings = [figure.median for figure in figures if figure.peer == ECHO_RAW.name and figure.more_is_better]
        servers = [figure for figure in figures if figure.peer != ECHO_RAW.name]
        if ceilings and servers:
            fastest = max(servers, key=lambda figure: figure.median)
            share = number(ceilings[0] / fastest.median)
            text = f"{number(ceilings[0])} {fastest.unit} with a minimal echo server"
            yield f"load generator, {scenario}", f"{text}, {share} {_TIMES} the fastest server ({fastest.peer})"


def _pair_rows(run: Run) -> Iterator[list[str]]:
    for pair in run.pairs:
        ratios = [f"{number(ratio)} {_TIMES}" for ratio in (pair.median, min(pair.ratios), max(pair.ratios))]
        yield [pair.scenario, pair.variant or _NONE, pair.unit, *ratios, str(len(pair.ratios)), pair.verdict]


def _target_rows(figures: Sequence[Figure]) -> Iterator[list[str]]:
    for target in TARGETS:
        value = target.value(figures)
        bound = f"{'≤' if target.at_most else '≥'} {target.bound:g} {target.unit}"
        text = f"{target.text} (an aim)" if target.is_aim else target.text
        if value is None:
            yield [text, bound, _NONE, "not measured"]
            continue
        verdict = "met" if target.is_met(value) else f"**missed** by {target.shortfall(value):.0f} %"
        yield [text, bound, f"{number(value)} {target.unit}", verdict]


def _scenario_table(figures: Sequence[Figure], cpu: Sequence[Figure]) -> Iterator[str]:
    """Yield the table of a scenario, with the medians of its CPU time beside its own figures."""
    several = {figure.peer for figure in figures} != {OURS.name} and any(one.peer == OURS.name for one in figures)
    with_variants = any(figure.variant for figure in figures)
    ours = {figure.variant: figure for figure in figures if figure.peer == OURS.name}
    variants = list(dict.fromkeys(figure.variant for figure in figures))
    heads = [*(["variant"] if with_variants else []), "peer", "median", "lowest", "highest", "unit"]
    alignment = "l" * (len(heads) - 4) + "rrrl"
    if cpu:
        heads.append(cpu[0].unit)
        alignment += "r"
    beside = {(one.variant, one.peer): number(one.median) for one in cpu}
    rows = []
    for figure in sorted(figures, key=lambda one: variants.index(one.variant)):
        row = [figure.variant] if with_variants else []
        row.append(f"**{figure.peer}**" if figure.peer == OURS.name else figure.peer)
        row += [number(figure.median), number(min(figure.values)), number(max(figure.values)), figure.unit]
        row += [beside.get((figure.variant, figure.peer), _NONE)] if cpu else []
        rows.append([*row, _lead(ours.get(figure.variant), figure)] if several else row)
    if several:
        yield from _table([*heads, "ocppsync is better by"], rows, alignment + "r")
    else:
        yield from _table(heads, rows, alignment)


def _lead(ours: Figure | None, peer: Figure) -> str:
    """Return how many times better ocppsync is; below 1 it is worse."""
    better, worse = (ours, peer) if peer.more_is_better else (peer, ours)
    if ours is None or ours is peer or better is None or worse is None or not worse.median:
        return _NONE
    return f"{number(better.median / worse.median)} {_TIMES}"


def number(value: float) -> str:
    """Return a number with three significant digits, or with all digits before the decimal point."""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.3g}"


def _table(heads: Sequence[str], rows: Iterator[list[str]] | list[list[str]], alignment: str) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---:' if one == 'r' else '---' for one in alignment)} |"
    for row in rows:
        cells = " | ".join(cell.replace("|", "\\|") for cell in row)
        yield f"| {cells} |"


def main() -> int:
    """Write the page and the plots; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    write(Run.from_json(file.read_text(encoding="utf-8")), file.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Draws the plots of a run: lines over the number of connections, or bars if that does not vary."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from figures import CPU, Figure, Pair, title
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter
from servers import (
    BARE_THREADS,
    ECHO_RAW,
    ECHO_SIMPLE_WEBSOCKET,
    ECHO_WEBSOCKETS_ASYNCIO,
    ECHO_WEBSOCKETS_SYNC,
    ECHOES,
    OCPP_PACKAGE,
    OCPP_RPC,
    OURS,
    OURS_PATIENT,
    TS_OCPP,
)

mpl.rcParams.update(
    {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "svg.fonttype": "path",
        # Makes the file reproducible.
        "svg.hashsalt": "ocppsync",
    }
)
_COLOURS = {
    OURS.name: "#00796b",
    OURS_PATIENT.name: "#1565c0",
    BARE_THREADS.name: "#263238",
    OCPP_PACKAGE.name: "#c62828",
    TS_OCPP.name: "#ef6c00",
    OCPP_RPC.name: "#5e35b1",
    ECHO_SIMPLE_WEBSOCKET.name: "#757575",
    ECHO_WEBSOCKETS_SYNC.name: "#bdbdbd",
    ECHO_WEBSOCKETS_ASYNCIO.name: "#9e9e9e",
    ECHO_RAW.name: "#e0e0e0",
}
"""Upper bounds are grey."""
_OTHER_RELEASE = "#4db6ac"
_MORE_COLOURS = ("#6d4c41", "#ad1457", "#9e9d24", "#0277bd")
_BOUNDS = {peer.name for peer in (BARE_THREADS, *ECHOES)}
_MARKERS = {ECHO_SIMPLE_WEBSOCKET.name: "s", ECHO_WEBSOCKETS_SYNC.name: "^", ECHO_WEBSOCKETS_ASYNCIO.name: "D"}
_VERDICTS = {"better every time": "#00796b", "**worse** every time": "#c62828"}
_RATIOS = (1 / 4, 4.0)
"""The ends of the axis of a comparison with another ocppsync; what lies beyond is drawn at the end."""
_CUT_OFF_FACTOR = 20.0
"""Where less is better, a bar is cut off at this many times the shortest one: the others must remain visible."""
_SHARED_SCALE_FACTOR = 4.0
"""The parts of a plot share a scale if their longest bars differ by less than this factor."""


def draw(scenarios: Mapping[str, Sequence[Figure]], directory: Path, pairs: Sequence[Pair] = ()) -> dict[str, str]:
    """Draw each scenario, and the comparison with another ocppsync; return the file names by scenario or its name."""
    canvases: dict[str, Canvas] = {}
    for scenario, all_figures in scenarios.items():
        # The load generator's ceiling is far above all servers.
        if figures := [figure for figure in all_figures if figure.peer != ECHO_RAW.name]:
            canvases[scenario] = _lines(scenario, figures) if _by_connections(figures) else _bars(scenario, figures)
    if pairs:
        canvases[pairs[0].other] = _ratios(pairs)
    names = {name: re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".svg" for name in canvases}
    for name, canvas in canvases.items():
        canvas.savefig(directory / names[name], metadata={"Date": None})
    return names


def _connections(figure: Figure) -> int | None:
    found = re.fullmatch(r"(\d+) connections?", figure.variant)
    return int(found[1]) if found else None


def _by_connections(figures: Sequence[Figure]) -> bool:
    numbers = {_connections(figure) for figure in figures}
    return None not in numbers and len(numbers) > 1


def colours(peers: Sequence[str]) -> dict[str, str]:
    """Return a colour for each peer. The peers in `servers` have the same colour in every plot."""
    more = itertools.cycle(_MORE_COLOURS)
    return {
        peer: _COLOURS.get(peer) or (_OTHER_RELEASE if peer.startswith(f"{OURS.name} at ") else next(more))
        for peer in peers
    }


def _peers(figures: Sequence[Figure]) -> list[str]:
    return list(dict.fromkeys(figure.peer for figure in figures))


def _head(canvas: Canvas, text: str) -> None:
    canvas.suptitle(title(text), fontweight="bold", x=0.01, ha="left")


def _better(figure: Figure) -> str:
    return f"{figure.unit} ({'more' if figure.more_is_better else 'less'} is better)"


def _readable(value: float, _: object = None) -> str:
    return f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}") if value >= 100 else f"{value:.3g}"


# Lines.


def _lines(scenario: str, figures: Sequence[Figure]) -> Canvas:
    canvas = Canvas(figsize=(9, 5), layout="constrained")
    axes = canvas.add_subplot()
    palette = colours(_peers(figures))
    last = max(_connections(figure) or 0 for figure in figures)
    # The legend lists the peers in the order in which their lines end, from top to bottom.
    ends = {figure.peer: figure.median for figure in figures if _connections(figure) == last}
    for peer in sorted(palette, key=lambda one: -ends.get(one, 0.0)):
        _line(axes, [figure for figure in figures if figure.peer == peer], palette[peer])
    axes.set_xscale("log")
    if scenario.endswith(CPU):
        axes.set_yscale("log")  # a server at a standstill needs thousands of times as much as the others
    else:
        axes.set_ylim(bottom=0)
    ticks = sorted({_connections(figure) or 0 for figure in figures})
    axes.set_xticks(ticks, [_readable(tick) for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(_readable))
    axes.set_xlabel("connections")
    axes.set_ylabel(_better(figures[0]))
    axes.grid(axis="y", color="#e0e0e0")
    _head(canvas, scenario)
    if len(palette) > 1:
        canvas.legend(loc="outside right center", frameon=False)
    return canvas


def _line(axes: Axes, figures: Sequence[Figure], colour: str) -> None:
    """Draw the medians of a peer; for ocppsync, also a band from its lowest to its highest value."""
    own = sorted(figures, key=lambda figure: _connections(figure) or 0)
    across = [_connections(figure) or 0 for figure in own]
    peer = own[0].peer
    axes.plot(
        across,
        [figure.median for figure in own],
        marker=_MARKERS.get(peer, "o"),
        markersize=5,
        color=colour,
        linewidth=2.8 if peer == OURS.name else 1.5,
        linestyle="--" if peer in _BOUNDS else "-",
        label=peer,
        zorder=3 if peer == OURS.name else 2,
    )
    if peer == OURS.name:
        lowest, highest = [min(figure.values) for figure in own], [max(figure.values) for figure in own]
        axes.fill_between(across, lowest, highest, color=colour, alpha=0.15, linewidth=0)


# Bars.


def _bars(scenario: str, figures: Sequence[Figure]) -> Canvas:
    variants = list(dict.fromkeys(figure.variant for figure in figures))
    parts = [[figure for figure in figures if figure.variant == variant] for variant in variants]
    sizes = [len(part) + 2 for part in parts]
    canvas = Canvas(figsize=(9, 0.32 * sum(sizes) + 0.5), layout="constrained")
    plots = canvas.subplots(len(parts), 1, squeeze=False, gridspec_kw={"height_ratios": sizes})
    palette = colours(_peers(figures))
    for axes, part, longest in zip(plots[:, 0], parts, _scales(parts), strict=True):
        _bar_part(axes, part, palette, longest)
        if len(parts) > 1:
            axes.set_title(part[0].variant)
    _head(canvas, scenario if len(parts) > 1 or not variants[0] else f"{scenario}, {variants[0]}")
    return canvas


def _scales(parts: Sequence[Sequence[Figure]]) -> list[float]:
    """Return the highest value on the axis of each part."""
    longest = [_longest(part) for part in parts]
    same_unit = len({figure.unit for part in parts for figure in part}) == 1
    if same_unit and max(longest) < _SHARED_SCALE_FACTOR * min(longest):
        return [max(longest)] * len(parts)
    return longest


def _longest(figures: Sequence[Figure]) -> float:
    longest = max(max(figure.values) for figure in figures) or 1.0
    if figures[0].more_is_better:
        return longest
    return min(longest, _CUT_OFF_FACTOR * min(figure.median for figure in figures)) or longest


def _bar_part(axes: Axes, figures: Sequence[Figure], palette: Mapping[str, str], longest: float) -> None:
    names = [figure.peer for figure in figures]
    medians = [figure.median for figure in figures]
    spread = [
        [figure.median - min(figure.values) for figure in figures],
        [max(figure.values) - figure.median for figure in figures],
    ]
    positions = range(len(figures))
    axes.barh(positions, medians, xerr=spread, color=[palette[name] for name in names], ecolor="#424242", capsize=3)
    axes.set_yticks(positions, names)
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.15)
    for position, figure in zip(positions, figures, strict=True):
        axes.annotate(
            _readable(figure.median) + (" \N{RIGHTWARDS ARROW}" if figure.median > longest else ""),
            (min(max(figure.values), longest), position),
            (6, 0),
            textcoords="offset points",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1} if max(figure.values) > longest else None,
        )
    axes.xaxis.set_major_formatter(FuncFormatter(_readable))
    axes.set_xlabel(_better(figures[0]))
    axes.grid(axis="x", color="#e0e0e0")
    axes.set_axisbelow(True)


# The comparison with another ocppsync.


def _ratios(pairs: Sequence[Pair]) -> Canvas:
    """Draw how many times better the installed ocppsync is: the median, and a line from the lowest to the highest."""
    canvas = Canvas(figsize=(9, 0.24 * len(pairs) + 1.2), layout="constrained")
    axes = canvas.add_subplot()
    for position, pair in enumerate(pairs):
        better = sorted(ratio if pair.more_is_better else 1 / ratio for ratio in pair.ratios)
        lowest, middle, highest = (_within(value) for value in (better[0], statistics.median(better), better[-1]))
        colour = _VERDICTS.get(pair.verdict, "#9e9e9e")
        axes.plot([lowest, highest], [position, position], color=colour, linewidth=1.5)
        axes.plot([middle], [position], color=colour, marker="o", markersize=5)
        text = f"{_readable(statistics.median(better))} \N{MULTIPLICATION SIGN}"
        axes.annotate(text, (_RATIOS[1], position), (8, 0), textcoords="offset points", va="center", fontsize=8)
    names = [", ".join(filter(None, (pair.scenario, pair.variant))) for pair in pairs]
    axes.set_yticks(range(len(pairs)), names, fontsize=8)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xscale("log", base=2)
    axes.set_xlim(_RATIOS[0] / 1.05, _RATIOS[1] * 1.05)
    axes.xaxis.set_major_formatter(FuncFormatter(_readable))
    axes.axvline(1, color="#424242", linewidth=1, zorder=0)
    axes.grid(axis="both", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"times better than {pairs[0].other}")
    _head(canvas, f"Compared with {pairs[0].other}")
    return canvas


def _within(ratio: float) -> float:
    return max(_RATIOS[0], min(_RATIOS[1], ratio))

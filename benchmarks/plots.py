"""The plots of a run: lines where the number of connections grows, bars where it does not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from figures import Figure
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, NullFormatter
from servers import ECHOES, OURS

mpl.rcParams.update(
    {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "svg.fonttype": "path",
        # The same figures give the same file.
        "svg.hashsalt": "ocppsync",
    }
)
_OURS = "#00796b"
_OTHERS = ("#c62828", "#ef6c00", "#5e35b1", "#1565c0", "#6d4c41", "#ad1457")
_CEILINGS = ("#9e9e9e", "#bdbdbd", "#757575", "#d0d0d0")


def draw(scenarios: Mapping[str, Sequence[Figure]], directory: Path) -> dict[str, str]:
    """Draw each scenario; return the names of the files."""
    names = {}
    for scenario, figures in scenarios.items():
        canvas = _lines(scenario, figures) if _by_connections(figures) else _bars(scenario, figures)
        names[scenario] = re.sub(r"[^a-z0-9]+", "-", scenario.lower()).strip("-") + ".svg"
        canvas.savefig(directory / names[scenario], metadata={"Date": None})
    return names


def _connections(figure: Figure) -> int | None:
    found = re.fullmatch(r"(\d+) connections?", figure.variant)
    return int(found[1]) if found else None


def _by_connections(figures: Sequence[Figure]) -> bool:
    numbers = {_connections(figure) for figure in figures}
    return None not in numbers and len(numbers) > 1


def colours(peers: Sequence[str]) -> dict[str, str]:
    """Return a colour for each peer: grey for ceilings."""
    ceilings, others = iter(_CEILINGS), iter(_OTHERS * 3)
    echoes = {peer.name for peer in ECHOES}
    return {
        peer: _OURS if peer == OURS.name else next(ceilings) if peer in echoes else next(others) for peer in peers
    }


def _peers(figures: Sequence[Figure]) -> list[str]:
    return list(dict.fromkeys(figure.peer for figure in figures))


def _title(axes: Axes, scenario: str, figures: Sequence[Figure]) -> None:
    first = figures[0]
    axes.set_title(scenario[0].upper() + scenario[1:])
    axes.annotate(
        f"{first.unit}, {'more' if first.more_is_better else 'less'} is better; medians, from lowest to highest",
        (0, 1.02),
        xycoords="axes fraction",
        fontsize=9,
        color="#616161",
    )
    axes.title.set_position((0, 1.08))


def _readable(value: float, _: object = None) -> str:
    return f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}") if value >= 100 else f"{value:.3g}"


# Lines.


def _lines(scenario: str, figures: Sequence[Figure]) -> Canvas:
    canvas = Canvas(figsize=(9, 5), layout="constrained")
    axes = canvas.add_subplot()
    palette, echoes = colours(_peers(figures)), {peer.name for peer in ECHOES}
    ends = []
    for peer, colour in palette.items():
        own = sorted(((_connections(one) or 0, one) for one in figures if one.peer == peer), key=lambda pair: pair[0])
        across = [connections for connections, _ in own]
        medians = [one.median for _, one in own]
        axes.plot(
            across,
            medians,
            marker="o",
            markersize=5,
            color=colour,
            linewidth=2.5 if peer == OURS.name else 1.5,
            linestyle="--" if peer in echoes else "-",
            label=peer,
            zorder=3 if peer == OURS.name else 2,
        )
        axes.fill_between(
            across, [min(one.values) for _, one in own], [max(one.values) for _, one in own], color=colour, alpha=0.12
        )
        ends.append(medians[-1])
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    ticks = sorted({_connections(figure) or 0 for figure in figures})
    axes.set_xticks(ticks, [_readable(tick) for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(_readable))
    axes.set_xlabel("connections")
    axes.grid(axis="y", color="#e0e0e0")
    _title(axes, scenario, figures)
    canvas.legend(loc="outside right center", frameon=False)
    return canvas


# Bars.


def _bars(scenario: str, figures: Sequence[Figure]) -> Canvas:
    variants = list(dict.fromkeys(figure.variant for figure in figures))
    units = {variant: next(one for one in figures if one.variant == variant).unit for variant in variants}
    rows = [(variant, [one for one in figures if one.variant == variant]) for variant in variants]
    height = sum(0.34 * len(own) + 0.75 for _, own in rows) + 0.5
    canvas = Canvas(figsize=(9, height), layout="constrained")
    parts = canvas.subplots(len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": [len(own) + 1 for _, own in rows]})
    palette = colours(_peers(figures))
    for axes, (variant, own) in zip(parts[:, 0], rows, strict=True):
        _bar_part(axes, own, palette)
        first = own[0]
        axes.set_title(variant or scenario[0].upper() + scenario[1:])
        axes.set_xlabel(f"{units[variant]} ({'more' if first.more_is_better else 'less'} is better)")
    if any(variants):
        canvas.suptitle(scenario[0].upper() + scenario[1:], fontweight="bold", x=0.01, ha="left")
    return canvas


def _bar_part(axes: Axes, figures: Sequence[Figure], palette: Mapping[str, str]) -> None:
    names = [figure.peer for figure in figures]
    medians = [figure.median for figure in figures]
    spread = [
        [figure.median - min(figure.values) for figure in figures],
        [max(figure.values) - figure.median for figure in figures],
    ]
    places = range(len(figures))
    axes.barh(places, medians, xerr=spread, color=[palette[name] for name in names], ecolor="#424242", capsize=3)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    most = max(max(figure.values) for figure in figures) or 1.0
    axes.set_xlim(0, most * 1.15)
    for place, figure in zip(places, figures, strict=True):
        axes.annotate(
            _readable(figure.median), (max(figure.values), place), (6, 0), textcoords="offset points", va="center"
        )
    axes.xaxis.set_major_formatter(FuncFormatter(_readable))
    axes.grid(axis="x", color="#e0e0e0")
    axes.set_axisbelow(True)

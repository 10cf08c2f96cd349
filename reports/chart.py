"""One chart as inline SVG that obeys a strict content policy: no style attribute, no date, text as text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from reports.table import Row
from reports.text import number, one_line

# Okabe and Ito's palette, told apart by colour-blind readers; the page darkens or lightens each for its theme.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
_INK, _MUTED, _GRID = "#010101", "#020202", "#030303"
_THEMED = {_INK: "currentColor", _MUTED: "var(--muted)", _GRID: "var(--line)"}
_THEMED.update({color: f"var(--chart-{place}, {color})" for place, color in enumerate(PALETTE)})
_PRESENTATION = {
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-linecap",
    "stroke-linejoin", "stroke-dasharray", "stroke-dashoffset", "opacity", "text-anchor", "font-size",
}  # fmt: skip
_LINE_INCHES = 0.62


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of the chart: `color` None for a row without a speed."""

    row: Row
    height: int
    color: str | None


def colors(rows: Sequence[Row]) -> dict[str, int]:
    """Backend to place in PALETTE, in order of appearance; past the palette's end it starts again."""
    backends = list(dict.fromkeys(row.trial.backend for row in rows))
    return {backend: place % len(PALETTE) for place, backend in enumerate(backends)}


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Most replicas first, then the fastest; rows without a speed last."""
    return sorted(rows, key=lambda row: (row.measured is None, -row.trial.replicas, -_speed(row)))


def describe(rows: Sequence[Row]) -> str:
    """The chart in words, for those who do not see it."""
    parts = [
        f"{one_line(row.label, 80)} with {row.trial.replicas}: {number(_speed(row))}"
        for row in ordered(rows)
        if row.measured
    ]
    return f"Samples per second of each trial, with its replicas. {'; '.join(parts)}."


def draw(rows: Sequence[Row], width_inches: float) -> str:
    """SVG markup: launches as dots, their geometric mean as a diamond, its 95 % interval as a bar.

    The same rows give the same bytes. `width_inches` also keeps the ids of two charts on one page apart.
    """
    places = colors(rows)
    shown = ordered(rows)
    lines = [
        _Line(row, len(shown) - place, PALETTE[places[row.trial.backend]] if row.measured else None)
        for place, row in enumerate(shown)
    ]
    settings = {
        "svg.fonttype": "none", "svg.hashsalt": f"paceline-{width_inches}", "text.parse_math": False, "font.size": 10,
        "path.simplify": False,
    }  # fmt: skip
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The page's fonts draw the text, not matplotlib's: that its own font lacks an emoji does not matter.
        warnings.filterwarnings("ignore", message=".*Glyph .* missing from")
        figure = Figure(figsize=(width_inches, 0.75 + _LINE_INCHES * len(lines)), layout=None)
        FigureCanvasSVG(figure)
        axes = _axes(figure, lines)
        for line in lines:
            _draw_line(axes, line, letters=round(width_inches * 12))
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _obedient(out.getvalue(), describe(rows))


def _speed(row: Row) -> float:
    return row.measured.samples_per_second.point if row.measured else 0.0


def _axes(figure: Figure, lines: Sequence[_Line]) -> Axes:
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.12 / width, 0.52 / height, 1 - 0.32 / width, 1 - 0.6 / height))
    reach = max(
        (
            max(found.samples_per_second.high or 0.0, *found.launch_rates)
            for line in lines
            if (found := line.row.measured)
        ),
        default=1.0,
    )
    axes.set_xlim(0, reach * 1.04)
    axes.set_ylim(0.55, len(lines) + 0.75)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:,.6g}")
    axes.set_xlabel("samples per second (more is better)", color=_INK)
    axes.tick_params(axis="x", colors=_INK, length=0, pad=5)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "left")
        spine.set_color(_MUTED)
    return axes


def _draw_line(axes: Axes, line: _Line, letters: int) -> None:
    found, replicas = line.row.measured, line.row.trial.replicas
    name = f"{one_line(line.row.label, max(12, letters - 28))} \u00d7{replicas}"
    above = partial(axes.annotate, xy=(0, line.height), xytext=(6, 9), textcoords="offset points", va="bottom")
    if found is None or line.color is None:
        above(f"{name}: {line.row.status.replace('_', ' ')}", color=_MUTED)
        return
    estimate = found.samples_per_second
    above(f"{name}: {number(estimate.point)}", color=_INK)
    if estimate.low is not None and estimate.high is not None:
        ends = [estimate.low, estimate.high]
        axes.plot(ends, [line.height] * 2, color=line.color, linewidth=7, alpha=0.35, solid_capstyle="butt")
        axes.plot(ends, [line.height] * 2, color=line.color, linewidth=1.4, marker="|", markersize=9)
    axes.plot(
        found.launch_rates, [line.height] * len(found.launch_rates), linestyle="none", marker="o", markersize=5,
        markerfacecolor="none", markeredgecolor=line.color, markeredgewidth=1.4,
    )  # fmt: skip
    axes.plot([estimate.point], [line.height], linestyle="none", marker="D", markersize=6, color=line.color)


def _obedient(markup: str, alternative: str) -> str:
    """Style attributes and the style element become presentation attributes, colours follow the page's theme."""
    root = ElementTree.fromstring(markup)
    for parent in root.iter():
        for child in [child for child in parent if child.tag.endswith(("metadata", "style"))]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib.update(_attributes(element.attrib.pop("style", "")))
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib = {
        "viewBox": root.attrib["viewBox"], "width": width, "height": height, "role": "img", "aria-label": alternative,
        "stroke-linejoin": "round", "stroke-linecap": "butt",
    }  # fmt: skip
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(style: str) -> dict[str, str]:
    found = {}
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font" and (size := re.search(r"([\d.]+)px", value)):
            found["font-size"] = size.group(1)
        elif name in _PRESENTATION:
            found[name] = _THEMED.get(value.lower(), value)
    return found

"""The chart of speeds: one line per trial, fastest first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn

from bench.stats import Estimate
from reports import svg
from reports.figures import Cell, Figure, Table
from reports.page import NARROW_INCHES
from reports.svg import INK, MUTED, PALETTE, Chart, tell
from reports.table import Row
from reports.text import DASH, interval, number, one_line

_LINE_INCHES, _TALL_INCHES = 0.62, 0.8  # the name beside the number, or on a narrow page above it
_HEADS = {
    "label": "backend",
    "replicas": "replicas",
    "samples_per_second": "samples/s",
    "samples_per_second_low": "95 % interval from",
    "samples_per_second_high": "to",
    "launches": "n, launches",
    "oversubscribed": "oversubscribed",
}
_CAPTION = (
    "Each circle is one launch, the diamond is their geometric mean, the band its 95 % interval (where there is one). "
    "The axis starts at zero."
)


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


def figure(rows: Sequence[Row], lines: Sequence[Mapping[str, Cell]]) -> Figure | None:
    """None where no trial has a speed. `lines`: the exported rows, in the order of `rows`."""
    if not any(row.measured for row in rows):
        return None
    chart = Chart("speeds", "Samples per second of each trial", describe(rows), partial(_paint, rows))
    shown = [(place, line) for place, (row, line) in enumerate(zip(rows, lines, strict=True)) if row.measured]
    return Figure(chart, _CAPTION, Table("rows", _HEADS, shown))


def _paint(rows: Sequence[Row], width_inches: float) -> Drawn:
    places = colors(rows)
    shown = ordered(rows)
    lines = [
        _Line(row, len(shown) - place, PALETTE[places[row.trial.backend]] if row.measured else None)
        for place, row in enumerate(shown)
    ]
    is_narrow = width_inches <= NARROW_INCHES
    drawn = svg.figure(width_inches, 0.75 + (_TALL_INCHES if is_narrow else _LINE_INCHES) * len(lines))
    axes = _axes(drawn, lines)
    for line in lines:
        _write_name(axes, line, 46 if is_narrow else 92, "\n" if is_narrow else ": ")
    for color in dict.fromkeys(line.color for line in lines if line.color):
        _draw(axes, [line for line in lines if line.color == color], color)
    return drawn


def _speed(row: Row) -> float:
    return row.measured.samples_per_second.point if row.measured else 0.0


def _axes(figure: Drawn, lines: Sequence[_Line]) -> Axes:
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
    svg.plain_axes(axes, "samples per second (more is better)", grid="x")
    return axes


def _write_name(axes: Axes, line: _Line, letters: int, between: str) -> None:
    found = line.row.measured
    short = " (oversubscribed)" if line.row.oversubscribed else ""
    shown = f"{number(found.samples_per_second.point)}{short}" if found else line.row.status.replace("_", " ")
    color = INK if found else MUTED
    said = f"{_name(line.row, letters)}{between}{shown}"
    axes.annotate(said, (0, line.height), (6, 9), "data", "offset points", va="bottom", color=color)


def _name(row: Row, letters: int) -> str:
    return f"{one_line(row.label, letters)} \u00d7{row.trial.replicas}"


def _draw(axes: Axes, lines: Sequence[_Line], color: str) -> None:
    """All lines of one colour: one artist for their bands, and so on, because each costs its time."""
    known = [(line, line.row.measured) for line in lines if line.row.measured]
    ends: list[tuple[float, float]] = []
    for line, found in known:
        speed = found.samples_per_second
        if speed.low is not None and speed.high is not None:
            ends += [(speed.low, line.height), (speed.high, line.height), (math.nan, math.nan)]
    if ends:
        xs, ys = zip(*ends, strict=True)
        axes.plot(xs, ys, color=color, linewidth=7, alpha=0.35, solid_capstyle="butt")
        axes.plot(xs, ys, color=color, linewidth=1.4, marker="|", markersize=9)
    single = [(line, at, rate) for line, found in known for at, rate in enumerate(found.launch_rates)]
    (launches,) = axes.plot(
        [rate for _, _, rate in single], [line.height for line, _, _ in single], linestyle="none", marker="o",
        markersize=5, markerfacecolor="none", markeredgecolor=color, markeredgewidth=1.4,
    )  # fmt: skip
    speeds = [found.samples_per_second.point for _, found in known]
    (means,) = axes.plot(speeds, [line.height for line, _ in known], linestyle="none", marker="D", markersize=6,
                         color=color)  # fmt: skip
    tell(means, [_said(line.row, found.samples_per_second) for line, found in known])
    tell(launches, [f"{_name(line.row, 92)}, launch {at}: {number(rate)} samples/s" for line, at, rate in single])


def _said(row: Row, speed: Estimate) -> str:
    around = f"95 % interval {interval(speed) or DASH}, n = {row.launches}"
    return f"{_name(row, 92)}: {number(speed.point)} samples/s, {around}"

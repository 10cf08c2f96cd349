"""The chart of speeds: one line per trial, fastest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn

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
        _draw_line(axes, line, 46 if is_narrow else 92, "\n" if is_narrow else ": ")
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


def _draw_line(axes: Axes, line: _Line, letters: int, between: str) -> None:
    found, replicas = line.row.measured, line.row.trial.replicas
    name = f"{one_line(line.row.label, letters)} \u00d7{replicas}"
    above = partial(axes.annotate, xy=(0, line.height), xytext=(6, 9), textcoords="offset points", va="bottom")
    if found is None or line.color is None:
        above(f"{name}{between}{line.row.status.replace('_', ' ')}", color=MUTED)
        return
    estimate = found.samples_per_second
    short = " (oversubscribed)" if line.row.oversubscribed else ""
    above(f"{name}{between}{number(estimate.point)}{short}", color=INK)
    if estimate.low is not None and estimate.high is not None:
        ends = [estimate.low, estimate.high]
        axes.plot(ends, [line.height] * 2, color=line.color, linewidth=7, alpha=0.35, solid_capstyle="butt")
        axes.plot(ends, [line.height] * 2, color=line.color, linewidth=1.4, marker="|", markersize=9)
    (launches,) = axes.plot(
        found.launch_rates, [line.height] * len(found.launch_rates), linestyle="none", marker="o", markersize=5,
        markerfacecolor="none", markeredgecolor=line.color, markeredgewidth=1.4,
    )  # fmt: skip
    (mean,) = axes.plot([estimate.point], [line.height], linestyle="none", marker="D", markersize=6, color=line.color)
    tell(mean, f"{name}: {number(estimate.point)} samples/s, 95 % interval {interval(estimate) or DASH}")
    tell(launches, [f"{name}, launch {at}: {number(rate)} samples/s" for at, rate in enumerate(found.launch_rates)])

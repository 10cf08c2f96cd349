"""The chart of learning: the metric over training time, one line per launch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn
from matplotlib.lines import Line2D

from bench.records import Evaluation
from reports import svg
from reports.chart import colors
from reports.figures import Cell, Figure, Table
from reports.quality import Quality
from reports.svg import INK, MUTED, PALETTE, Chart, tell
from reports.table import Row
from reports.text import number, one_line

# The trials of one backend share its colour and differ by stroke and mark.
_STROKES = ("-", "--", ":", "-.")
_MARKERS = "osD^vP"
_PLOT_INCHES, _LEGEND_INCHES = 3.0, 0.24
_MOST_TOLD = 150  # marks that are read out one by one; of more, each line's end is
_HEADS = {
    "trial_id": "trial",
    "launch": "launch",
    "steps": "steps",
    "samples": "samples",
    "train_s": "s of training",
    "value": "value",
    "validation_loss": "validation loss",
    "reached": "target reached",
}
_CAPTION = (
    "Each line is one launch, each mark one evaluation. Of two trials the better one reaches a height further left."
)


@dataclass(frozen=True, slots=True)
class _Curve:
    """One trial: what is drawn, and how."""

    name: str
    quality: Quality
    color: str
    stroke: str
    marker: str


def metrics(rows: Sequence[Row]) -> list[str]:
    """Each needs a chart of its own, in order of appearance."""
    return list(dict.fromkeys(row.quality.metric for row in rows if row.quality))


def describe(rows: Sequence[Row], metric: str) -> str:
    """The chart in words, for those who do not see it."""
    ends = [
        f"{curve.name}: {number(curve.quality.value, 3)} after {number(_seconds(curve), 3)} s"
        for curve in _curves(rows, metric)
    ]
    return f"{one_line(metric, 60)} on the validation data over training time. {'; '.join(ends)}."


def figures(rows: Sequence[Row], lines: Sequence[Mapping[str, Cell]]) -> list[Figure]:
    """One per metric. `lines`: the exported evaluations."""
    made = []
    for place, metric in enumerate(metrics(rows)):
        title = f"{one_line(metric, 60)} over training time"
        chart = Chart(f"learning-{place}", title, describe(rows, metric), partial(_paint, rows, metric))
        own = [(at, line) for at, line in enumerate(lines) if line["metric"] == metric]
        made.append(Figure(chart, _CAPTION, Table("evaluations", _HEADS, own)))
    return made


def _paint(rows: Sequence[Row], metric: str, width_inches: float) -> Drawn:
    curves = _curves(rows, metric)
    height = _PLOT_INCHES + _LEGEND_INCHES * len(curves)
    drawn = svg.figure(width_inches, height)
    below = 0.72 + _LEGEND_INCHES * len(curves)
    axes = drawn.add_axes((0.5 / width_inches, below / height, 1 - 0.7 / width_inches, 1 - (below + 0.4) / height))
    _set_axes(axes, curves, metric)
    few = sum(len(launch) for curve in curves for launch in curve.quality.curves) <= _MOST_TOLD
    for curve in curves:
        for place, launch in enumerate(curve.quality.curves):
            (line,) = axes.plot(
                [found.train_ns / 1e9 for found in launch], [found.value for found in launch], color=curve.color,
                linestyle=curve.stroke, linewidth=1.4, marker=curve.marker, markersize=4.5, markerfacecolor="none",
            )  # fmt: skip
            tell(line, [_said(curve, place, found) for found in launch] if few else _said(curve, place, launch[-1]))
    drawn.legend(
        handles=[_handle(curve, letters=round(width_inches * 12)) for curve in curves], loc="lower left",
        bbox_to_anchor=(0.0, 0.0), frameon=False, labelcolor=INK, borderaxespad=0.2,
    )  # fmt: skip
    return drawn


def _said(curve: _Curve, launch: int, found: Evaluation) -> str:
    at = f"after {number(found.train_ns / 1e9, 3)} s and {found.samples:,} samples"
    return f"{curve.name}, launch {launch}: {number(found.value, 3)} {at}"


def _curves(rows: Sequence[Row], metric: str) -> list[_Curve]:
    places, seen = colors(rows), Counter[str]()
    curves = []
    for row in rows:
        if row.quality is None or row.quality.metric != metric:
            continue
        backend = row.trial.backend
        name = f"{one_line(row.label, 80)} \u00d7{row.trial.replicas}"
        style = _STROKES[seen[backend] % len(_STROKES)], _MARKERS[seen[backend] % len(_MARKERS)]
        curves.append(_Curve(name, row.quality, PALETTE[places[backend]], *style))
        seen[backend] += 1
    return curves


def _seconds(curve: _Curve) -> float:
    return max(launch[-1].train_ns for launch in curve.quality.curves) / 1e9


def _set_axes(axes: Axes, curves: Sequence[_Curve], metric: str) -> None:
    axes.set_xlim(0, max(_seconds(curve) for curve in curves) * 1.04)
    svg.plain_axes(axes, "seconds of training, without evaluations", grid="both")
    axes.set_title(f"{one_line(metric, 60)} (more is better)", color=INK, fontsize=10, loc="left")
    targets = sorted({curve.quality.target for curve in curves if curve.quality.target})
    for target in targets:
        axes.axhline(target, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        place, room = axes.get_yaxis_transform(), "offset points"
        axes.annotate(f"target {target:g}", (1, target), (-2, 3), place, room, color=MUTED, ha="right")
    values = [found.value for curve in curves for launch in curve.quality.curves for found in launch]
    axes.set_ylim(0, max([*values, *targets]) * 1.1 or 1)


def _handle(curve: _Curve, letters: int) -> Line2D:
    return Line2D(
        [], [], color=curve.color, linestyle=curve.stroke, linewidth=1.4, marker=curve.marker, markersize=4.5,
        markerfacecolor="none", label=one_line(curve.name, letters),
    )  # fmt: skip

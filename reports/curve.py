"""The chart of learning: the metric over training time, one line per launch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports import svg
from reports.quality import Quality
from reports.svg import INK, MUTED, PALETTE
from reports.table import Row
from reports.text import number, one_line

# Trials past the end of the palette begin it again with another stroke.
_STROKES = ("-", "--", ":", "-.")
_MARKERS = "osD^vP"
_PLOT_INCHES, _LEGEND_INCHES = 3.0, 0.24


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


def draw(rows: Sequence[Row], metric: str, width_inches: float) -> str:
    """SVG markup. The same rows give the same bytes."""
    curves = _curves(rows, metric)
    height = _PLOT_INCHES + _LEGEND_INCHES * len(curves)
    with svg.settings(f"{metric}-{width_inches}"):
        figure = svg.figure(width_inches, height)
        below = 0.72 + _LEGEND_INCHES * len(curves)
        axes = figure.add_axes((0.5 / width_inches, below / height, 1 - 0.7 / width_inches, 1 - (below + 0.4) / height))
        _set_axes(axes, curves, metric)
        for curve in curves:
            for launch in curve.quality.curves:
                axes.plot(
                    [found.train_ns / 1e9 for found in launch], [found.value for found in launch], color=curve.color,
                    linestyle=curve.stroke, linewidth=1.4, marker=curve.marker, markersize=4.5, markerfacecolor="none",
                )  # fmt: skip
        figure.legend(
            handles=[_handle(curve, letters=round(width_inches * 12)) for curve in curves], loc="lower left",
            bbox_to_anchor=(0.0, 0.0), frameon=False, labelcolor=INK, borderaxespad=0.2,
        )  # fmt: skip
        return svg.markup(figure, describe(rows, metric))


def _curves(rows: Sequence[Row], metric: str) -> list[_Curve]:
    shown = [(row, row.quality) for row in rows if row.quality and row.quality.metric == metric]
    return [
        _Curve(
            f"{one_line(row.label, 80)} \u00d7{row.trial.replicas}",
            quality,
            PALETTE[place % len(PALETTE)],
            _STROKES[place // len(PALETTE) % len(_STROKES)],
            _MARKERS[place % len(_MARKERS)],
        )
        for place, (row, quality) in enumerate(shown)
    ]


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

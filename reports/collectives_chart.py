"""The chart of one collective: time over size, both logarithmic, one line per stack and algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from bench.records import Collective, CollectiveRow, Sweep
from reports import svg
from reports.collectives import labels, sizes
from reports.svg import INK, MUTED, PALETTE
from reports.text import number, one_line, size

# A stack keeps its colour; its algorithms differ by stroke and mark, always the same.
_STYLES = {
    "auto": ("-", "o"),
    "ring": ("--", "s"),
    "tree": (":", "^"),
    "halving_doubling": ("-.", "D"),
    "recursive_doubling": ((0, (5, 1, 1, 1, 1, 1)), "v"),
    "hierarchical": ((0, (1, 3)), "P"),
    "star": ((0, (8, 3)), "X"),
}
_PLOT_INCHES, _LEGEND_INCHES = 3.6, 0.24


@dataclass(frozen=True, slots=True)
class _Curve:
    """One trial's sizes, with their numbers, in order of size."""

    name: str
    color: str
    algorithm: str
    rows: list[CollectiveRow]


def drawn(sweep: Sweep) -> list[Collective]:
    """The collectives with something to draw, in order of appearance."""
    return list(dict.fromkeys(row.request.collective for row in sweep.rows if _is_point(row)))


def own_bucket_bytes(sweep: Sweep) -> list[int]:
    """Sizes of the model's buckets in any of the stacks, each once, in order."""
    items = {"float32": 4, "float16": 2, "bfloat16": 2}
    own = [row for row in sweep.rows if not row.request.elements]
    return sorted({elements * items[row.request.dtype] for row in own for elements in row.elements})


def describe(sweep: Sweep, collective: Collective) -> str:
    """The chart in words, for those who do not see it."""
    parts = [
        f"{curve.name}: {number(_ms(curve.rows[0]), 3)} ms at {size(curve.rows[0].size_bytes)}, "
        f"{number(_ms(curve.rows[-1]), 3)} ms at {size(curve.rows[-1].size_bytes)}"
        for curve in _curves(sweep, collective)
    ]
    return f"Time of one {collective.replace('_', '-')} over its size. {'; '.join(parts)}."


def draw(sweep: Sweep, collective: Collective, width_inches: float) -> str:
    """SVG markup. The same sweep gives the same bytes."""
    curves = _curves(sweep, collective)
    buckets = own_bucket_bytes(sweep) if collective == "all_reduce" else []
    legend = _LEGEND_INCHES * (len(curves) + bool(buckets))
    height = _PLOT_INCHES + legend
    with svg.settings(f"{collective}-{width_inches}"):
        figure = svg.figure(width_inches, height)
        below = 0.75 + legend
        place = (0.62 / width_inches, below / height, 1 - 0.82 / width_inches, 1 - (below + 0.35) / height)
        axes = figure.add_axes(place)
        _set_axes(axes, collective)
        drawn_bytes = [_bytes(row) for curve in curves for row in curve.rows]
        axes.set_xlim(min(drawn_bytes) / 1.5, max(drawn_bytes + buckets) * 1.5)
        for curve in curves:
            _draw(axes, curve)
        handles = [_handle(curve, letters=round(width_inches * 12)) for curve in curves]
        figure.legend(
            handles=[*handles, *_mark_buckets(axes, buckets)], loc="lower left",
            bbox_to_anchor=(0.0, 0.0), frameon=False, labelcolor=INK, borderaxespad=0.2, handlelength=3.2,
        )  # fmt: skip
        return svg.markup(figure, describe(sweep, collective))


def _is_point(row: CollectiveRow) -> bool:
    return row.time_ns is not None and len(row.request.elements) == 1


def _ms(row: CollectiveRow) -> float:
    return (row.time_ns or 0.0) / 1e6


def _bytes(row: CollectiveRow) -> int:
    return row.size_bytes or 0


def _curves(sweep: Sweep, collective: Collective) -> list[_Curve]:
    names = labels(sweep.trials)
    stacks = list(dict.fromkeys((trial.backend, trial.launcher) for trial in sweep.trials))
    curves = []
    for trial in sweep.trials:
        found = [row for row in sweep.rows if row.trial_id == trial.id and row.request.collective == collective]
        rows = sorted(filter(_is_point, found), key=_bytes)
        if rows:
            color = PALETTE[stacks.index((trial.backend, trial.launcher)) % len(PALETTE)]
            curves.append(_Curve(one_line(names[trial.id], 80), color, trial.allreduce, rows))
    return curves


def _set_axes(axes: Axes, collective: Collective) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    svg.plain_axes(axes, "size of one operation", grid="both")
    for axis, subdivided in ((axes.xaxis, False), (axes.yaxis, True)):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if subdivided else (1.0,), numticks=9))
        axis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _place: size(value))
    axes.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
    title = f"{collective.replace('_', '-')}: ms of one operation (less is better)"
    axes.set_title(title, color=INK, fontsize=10, loc="left")


def _draw(axes: Axes, curve: _Curve) -> None:
    stroke, marker = _STYLES[curve.algorithm]
    for row in curve.rows:
        if row.low_ns is not None and row.high_ns is not None:
            ends = [row.low_ns / 1e6, row.high_ns / 1e6]
            axes.plot([_bytes(row)] * 2, ends, color=curve.color, linewidth=3, alpha=0.35, solid_capstyle="butt")
    axes.plot(
        [_bytes(row) for row in curve.rows], [_ms(row) for row in curve.rows], color=curve.color, linestyle=stroke,
        linewidth=1.4, marker=marker, markersize=4.5, markerfacecolor="none",
    )  # fmt: skip


def _mark_buckets(axes: Axes, bucket_bytes: Sequence[int]) -> list[Line2D]:
    """A mark below at each size that this model exchanges, and the legend's entry for them."""
    marks = [axes.axvline(each, ymax=0.08, color=MUTED, linewidth=1.6) for each in bucket_bytes]
    for mark in marks[:1]:
        mark.set_label(f"tensors of this model's exchange: {sizes(bucket_bytes)}")
    return marks[:1]


def _handle(curve: _Curve, letters: int) -> Line2D:
    stroke, marker = _STYLES[curve.algorithm]
    return Line2D(
        [], [], color=curve.color, linestyle=stroke, linewidth=1.4, marker=marker, markersize=4.5,
        markerfacecolor="none", label=one_line(curve.name, letters),
    )  # fmt: skip

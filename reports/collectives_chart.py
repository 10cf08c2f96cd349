"""The charts of the collectives: time over size, both logarithmic, one line per stack and algorithm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from bench.records import Collective, CollectiveRow, Sweep
from reports import svg
from reports.collectives import MS, bandwidth, estimate, labels, sizes
from reports.columns import Cell, plain
from reports.figures import Figure, Table
from reports.svg import INK, MUTED, PALETTE, Chart, tell
from reports.text import interval, number, one_line, size

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
_HEADS = {
    "label": "stack and algorithm",
    "size_bytes": "bytes of one operation",
    "time_ms": "ms of one operation",
    "time_ms_low": "95 % interval from",
    "time_ms_high": "to",
    "launches": "n, launches",
    "algbw_gb_per_s": "algbw GB/s",
    "busbw_gb_per_s": "busbw GB/s",
}
_CAPTION = (
    "Each mark is the geometric mean over launches of one size on the slowest rank, the band its 95 % interval (from 3 "
    "launches on). Both axes are logarithmic."
)
_BUCKETS = " Marks at the bottom: the tensors that a step of this model exchanges, in any of the stacks."


@dataclass(frozen=True, slots=True)
class _Curve:
    """One trial's sizes, with their numbers, in order of size."""

    name: str
    color: str
    algorithm: str
    rows: list[CollectiveRow]


def figures(sweep: Sweep, exported: Sequence[Mapping[str, Cell]]) -> list[Figure]:
    """One for each collective that has a number, in order of appearance. `exported`: the `points`."""
    made = []
    for collective in _drawn(sweep):
        named = collective.replace("_", "-")
        chart = Chart(named, f"Time of one {named}", _describe(sweep, collective), partial(_paint, sweep, collective))
        own = [(at, line) for at, line in enumerate(exported) if line["operation"] == collective]
        caption = _CAPTION + (_BUCKETS if _buckets(sweep, collective) else "")
        made.append(Figure(chart, caption, Table("points", _HEADS, own)))
    return made


def points(sweep: Sweep) -> list[dict[str, Cell]]:
    """What the charts show: a line for each mark, chart by chart and curve by curve."""
    return [
        _point(curve, collective, row)
        for collective in _drawn(sweep)
        for curve in _curves(sweep, collective)
        for row in curve.rows
    ]


def own_bucket_bytes(sweep: Sweep) -> list[int]:
    """Sizes of the model's buckets in any of the stacks, each once, in order."""
    items = {"float32": 4, "float16": 2, "bfloat16": 2}
    own = [row for row in sweep.rows if not row.request.elements]
    return sorted({elements * items[row.request.dtype] for row in own for elements in row.elements})


def _point(curve: _Curve, collective: Collective, row: CollectiveRow) -> dict[str, Cell]:
    found: dict[str, Cell] = {
        "trial_id": row.trial_id,
        "label": curve.name,
        "operation": collective,
        "algorithm_ran": row.algorithm,
        "size_bytes": row.size_bytes,
        "time_ms": _ms(row),
        "time_ms_low": None if row.low_ns is None else row.low_ns * MS,
        "time_ms_high": None if row.high_ns is None else row.high_ns * MS,
        "launches": row.launches,
        "algbw_gb_per_s": row.algorithm_gb_per_s,
        "busbw_gb_per_s": row.bus_gb_per_s,
    }
    return {name: plain(cell) for name, cell in found.items()}


def _drawn(sweep: Sweep) -> list[Collective]:
    return list(dict.fromkeys(row.request.collective for row in sweep.rows if _is_point(row)))


def _buckets(sweep: Sweep, collective: Collective) -> list[int]:
    return own_bucket_bytes(sweep) if collective == "all_reduce" else []


def _describe(sweep: Sweep, collective: Collective) -> str:
    """The chart in words, for those who do not see it."""
    parts = [
        f"{curve.name}: {number(_ms(curve.rows[0]), 3)} ms at {size(curve.rows[0].size_bytes)}, "
        f"{number(_ms(curve.rows[-1]), 3)} ms at {size(curve.rows[-1].size_bytes)}"
        for curve in _curves(sweep, collective)
    ]
    return f"Time of one {collective.replace('_', '-')} over its size. {'; '.join(parts)}."


def _paint(sweep: Sweep, collective: Collective, width_inches: float) -> Drawn:
    curves, buckets = _curves(sweep, collective), _buckets(sweep, collective)
    legend = _LEGEND_INCHES * (len(curves) + bool(buckets))
    height, below = _PLOT_INCHES + legend, 0.75 + legend
    drawn = svg.figure(width_inches, height)
    place = (0.62 / width_inches, below / height, 1 - 0.82 / width_inches, 1 - (below + 0.35) / height)
    axes = drawn.add_axes(place)
    _set_axes(axes, collective)
    drawn_bytes = [_bytes(row) for curve in curves for row in curve.rows]
    axes.set_xlim(min(drawn_bytes) / 1.5, max(drawn_bytes + buckets) * 1.5)
    for curve in curves:
        _draw(axes, curve)
    handles = [_handle(curve, letters=round(width_inches * 12)) for curve in curves]
    drawn.legend(
        handles=[*handles, *_mark_buckets(axes, buckets)], loc="lower left",
        bbox_to_anchor=(0.0, 0.0), frameon=False, labelcolor=INK, borderaxespad=0.2, handlelength=3.2,
    )  # fmt: skip
    return drawn


def _is_point(row: CollectiveRow) -> bool:
    return row.time_ns is not None and len(row.request.elements) == 1


def _ms(row: CollectiveRow) -> float:
    return (row.time_ns or 0.0) * MS


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
            ends = [row.low_ns * MS, row.high_ns * MS]
            axes.plot([_bytes(row)] * 2, ends, color=curve.color, linewidth=3, alpha=0.35, solid_capstyle="butt")
    (line,) = axes.plot(
        [_bytes(row) for row in curve.rows], [_ms(row) for row in curve.rows], color=curve.color, linestyle=stroke,
        linewidth=1.4, marker=marker, markersize=4.5, markerfacecolor="none",
    )  # fmt: skip
    tell(line, [_said(curve, row) for row in curve.rows])


def _said(curve: _Curve, row: CollectiveRow) -> str:
    bounds = interval(estimate(row), MS, 3)
    around = f"95 % interval {bounds}" if bounds else "no interval"
    took = f"{number(_ms(row), 3)} ms, {around}, n = {row.launches}"
    return f"{curve.name}, {size(row.size_bytes)}: {took}; algbw {bandwidth(row.algorithm_gb_per_s)} GB/s"


def _mark_buckets(axes: Axes, bucket_bytes: Sequence[int]) -> list[Line2D]:
    """A mark below at each size that this model exchanges, and the legend's entry for them."""
    marks = [axes.axvline(each, ymax=0.08, color=MUTED, linewidth=1.6) for each in bucket_bytes]
    for mark, each in zip(marks, bucket_bytes, strict=True):
        tell(mark, f"tensors of {size(each)} of this model's exchange")
    for mark in marks[:1]:
        mark.set_label(f"tensors of this model's exchange: {sizes(bucket_bytes)}")
    return marks[:1]


def _handle(curve: _Curve, letters: int) -> Line2D:
    stroke, marker = _STYLES[curve.algorithm]
    return Line2D(
        [], [], color=curve.color, linestyle=stroke, linewidth=1.4, marker=marker, markersize=4.5,
        markerfacecolor="none", label=one_line(curve.name, letters),
    )  # fmt: skip

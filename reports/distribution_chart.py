"""Step times drawn: each window a faint mark in the order of measuring, their distribution beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure as Drawn

from bench.stats import Integers
from reports import distribution
from reports.canvas import Box, Canvas, Floats, Pen, Scale, heading, rule
from reports.distribution import Distribution, Series
from reports.figures import Figure, View, in_parts
from reports.load import LoadedRun
from reports.svg import GRID, INK, MUTED, PALETTE, Chart
from reports.table import Row
from reports.text import counted, number, one_line
from reports.windows import Flags

HEIGHT_POINTS = 150.0
MARKS = 400  # of more windows in a chart only some are drawn
_TOLD = 30
_BINS = 24
_SPREAD = 2.5  # the axis ends at so many medians: what lies above stands at its edge
HEADS = {
    "launch": "launch (a dash: all)", "windows": "windows that count (n)", "warmup_windows": "warm-up windows",
    "outliers": "outliers", "step_ms_min": "shortest ms", "step_ms_p50": "median ms", "step_ms_p95": "p95 ms",
    "step_ms_p99": "p99 ms", "step_ms_max": "longest ms",
}  # fmt: skip


def views(run: LoadedRun, rows: Sequence[Row], colors: Mapping[str, int]) -> list[View]:
    """Of every trial that shows a speed. `colors`: backend to place in the palette."""
    parts = in_parts("distributions", HEADS, distribution.distributions(run, rows), distribution.as_columns)
    return [
        View(one.row, Figure(_chart(one, place, PALETTE[colors[one.row.trial.backend]]), _caption(one), table))
        for place, one, table in parts
    ]


def _chart(found: Distribution, place: int, color: str) -> Chart:
    title = f"Step times of {name(found.row)}"
    words = f"{title}, window by window in the order of measuring. Per step: {_said(found)}."
    return Chart(f"distribution-{place}", title, words, partial(_paint, found, color))


def name(row: Row) -> str:
    """Of a trial in a chart's words."""
    return f"{one_line(row.label, 60)} \u00d7{row.trial.replicas}"


def thin(values: Floats, most: int) -> Integers:
    """Places of about `most` values: of every few in a row the least, the middle and the greatest one, so that no
    extreme is lost and the cloud keeps its height.

    >>> thin(np.array([5.0, 1.0, 3.0, 2.0]), 4).tolist()
    [0, 1, 2, 3]
    >>> thin(np.array([5.0, 1.0, 3.0, 2.0, 4.0, 2.0, 9.0, 4.0, 8.0, 7.0]), 6).tolist()
    [0, 1, 2, 5, 6, 9]
    """
    if len(values) <= most:
        return np.arange(len(values))
    kept: set[int] = set()
    for part in np.array_split(np.arange(len(values)), max(1, most // 3)):
        order = part[np.argsort(values[part], kind="stable")]
        kept |= {int(order[0]), int(order[len(order) // 2]), int(order[-1])}
    return np.array(sorted(kept))


def _said(found: Distribution) -> str:
    known = found.measured
    shown = ", ".join(f"{of} {number(value, 3)}" for of, value in _quantiles(found))
    out = counted(known.outliers, "outlier") if known.outliers else "no outlier"
    return f"{shown} ms; {out} in {known.windows:,} window{'' if known.windows == 1 else 's'}"


def _caption(found: Distribution) -> str:
    """Only what is peculiar to this chart: the section says what the marks are."""
    drawn = sum(len(thin(one.step_ms, _share(found, one))) for one in found.series)
    total = sum(len(one.step_ms) for one in found.series)
    launches = counted(len(found.series), "launch", "launches")
    if drawn == total:
        return f"{counted(total, 'window')} of {launches}, warm-up included."
    return (
        f"{drawn:,} of {total:,} windows of {launches} are drawn: of every few in a row the shortest, the middle and "
        "the longest one. The distribution, the lines and the outliers are of all."
    )


def _share(found: Distribution, one: Series) -> int:
    return max(3, MARKS * len(one.step_ms) // sum(len(each.step_ms) for each in found.series))


def _quantiles(found: Distribution) -> list[tuple[str, float]]:
    known = found.measured
    named = (("median", known.step_ms_median), ("p95", known.step_ms_p95), ("p99", known.step_ms_p99))
    return [(of, value) for of, value in named if value is not None]


def _paint(found: Distribution, color: str, width_inches: float) -> Drawn:
    canvas = Canvas(width_inches, HEIGHT_POINTS)
    heading(canvas, name(found.row), _said(found))
    plot = Box(38.0, 34.0, canvas.box.right - 88, canvas.box.bottom - 20)
    low, high = _range(found)
    scale = Scale(low, high, plot.bottom, plot.top)
    rule(canvas, plot, scale, lambda value: f"{value:,.4g}")
    canvas.text(0, plot.bottom + 13, "ms", MUTED)
    left, per_window, gap = plot.left, *_widths(found, plot)
    for place, one in enumerate(found.series):
        own = Box(left, plot.top, left + len(one.step_ms) * per_window, plot.bottom)
        _launch(canvas, own, scale, (found, one), color)
        if place % -(-len(found.series) // 10) == 0:
            said = f"launch {one.launch}" if place == 0 else f"{one.launch}"
            canvas.text((own.left + own.right) / 2, plot.bottom + 13, said, MUTED, "center")
        left = own.right + gap
    _histogram(canvas, Box(plot.right + 6, plot.top, plot.right + 44, plot.bottom), scale, found, color)
    _draw_quantiles(canvas, plot, scale, found)
    return canvas.figure


def _widths(found: Distribution, plot: Box) -> tuple[float, float]:
    """Of a window, and of the gap between two launches, in points."""
    width, launches = plot.right - plot.left, len(found.series)
    gap = min(8.0, 0.25 * width / launches)
    return (width - gap * (launches - 1)) / sum(len(one.step_ms) for one in found.series), gap


def _range(found: Distribution) -> tuple[float, float]:
    """Of the axis: all that counts, or where few windows are very long what lies below _SPREAD medians."""
    values = found.counted
    low, high = float(values.min()), float(values.max())
    high = min(high, max(_SPREAD * float(np.median(values)), 1.1 * float(np.quantile(values, 0.95))))
    room = 0.06 * (high - low) or 0.01 * high
    return max(0.0, low - room), high + room


def _launch(canvas: Canvas, box: Box, scale: Scale, drawn: tuple[Distribution, Series], color: str) -> None:
    found, one = drawn
    xs = box.left + (np.arange(len(one.step_ms)) + 0.5) * (box.right - box.left) / len(one.step_ms)
    inside = one.step_ms <= scale.high
    kept = thin(one.step_ms, _share(found, one))
    for chosen, pen in ((~one.counts, Pen(MUTED, 2.4, 0.5)), (one.counts, Pen(color, 2.4, 0.55))):
        shown = kept[(chosen & inside)[kept]]
        if len(shown):
            canvas.dots(xs[shown], scale.place(one.step_ms[shown]), pen)
    low, high = found.fences or (-np.inf, np.inf)
    out = one.counts & ((one.step_ms < low) | (one.step_ms > high))
    _mark(canvas, scale, (one, xs, out & inside), Pen(INK, 4.5), "o")
    _mark(canvas, scale, (one, xs, ~inside & one.counts), Pen(INK, 4.5), "^")
    _mark(canvas, scale, (one, xs, ~inside & ~one.counts), Pen(MUTED, 4.5), "^")
    if one.warmup:
        edge = box.left + one.warmup * (box.right - box.left) / len(one.step_ms)
        canvas.strokes([(edge, box.top, edge, box.bottom)], Pen(MUTED, 0.8, dashes=(2.5, 2.0)))


def _mark(canvas: Canvas, scale: Scale, chosen: tuple[Series, Floats, Flags], pen: Pen, marker: str) -> None:
    """Marks that can be read out: of more than _TOLD in a launch the longest ones."""
    one, xs, which = chosen
    far = np.flatnonzero(which)
    told = np.sort(far[np.argsort(-one.step_ms[far], kind="stable")][:_TOLD])
    if len(told):
        took = [f"{number(float(one.step_ms[at]))} ms a step" for at in told]
        said = [f"launch {one.launch}, window {one.index[at]}: {ms}" for at, ms in zip(told, took, strict=True)]
        canvas.marks(xs[told], scale.place(one.step_ms[told]), said, pen, marker)


def _histogram(canvas: Canvas, box: Box, scale: Scale, found: Distribution, color: str) -> None:
    """Of all windows that count, on the same axis."""
    counts, edges = np.histogram(found.counted, _BINS, (scale.low, scale.high))
    reach, ys = max(int(counts.max()), 1), scale.place(edges)
    bars = [
        Box(box.left, float(upper) + 0.4, box.left + (box.right - box.left) * count / reach, float(lower) - 0.4)
        for count, lower, upper in zip(counts.tolist(), ys[:-1], ys[1:], strict=True)
        if count
    ]
    if bars:
        canvas.areas(bars, color, 0.5)
    canvas.strokes([(box.left, box.top, box.left, box.bottom)], Pen(GRID, 0.8))


def _draw_quantiles(canvas: Canvas, plot: Box, scale: Scale, found: Distribution) -> None:
    lowest = plot.bottom + 12
    for of, value in _quantiles(found):
        y = float(scale.place(value))
        canvas.strokes([(plot.left, y, plot.right + 48, y)], Pen(INK, 0.9, 0.75))
        lowest = min(y + 3, lowest - 9)  # texts do not overlap: the higher quantile stands above
        canvas.text(plot.right + 51, lowest, of, INK)

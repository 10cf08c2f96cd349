"""The ranks of a trial as a strip: what each takes, or what groups of neighbours take, and the late ones marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure as Drawn

from bench import stats
from reports import ranks
from reports.canvas import Box, Canvas, Pen, Scale, heading, rule
from reports.distribution_chart import name
from reports.figures import Figure, View, in_parts
from reports.ladder import Climb, lateness
from reports.load import LoadedRun
from reports.ranks import LATE_RANKS, Strip
from reports.svg import INK, MUTED, PALETTE, Chart
from reports.table import Row
from reports.text import counted, number, percent

HEIGHT_POINTS = 128.0
_SPAN = 0.06  # of the median, either way, at least: what is not late must not look far apart
HEADS = {
    "first_rank": "first rank", "last_rank": "last rank", "hosts": "host", "ms_min": "least ms",
    "ms_median": "median ms", "ms_max": "greatest ms", "late_share_max": "late in share of windows",
    "late_ms_max": "ms later than the others", "chronic_ranks": "chronically late ranks",
}  # fmt: skip
_MEASURED = {
    "ready": "ms per step until ready for the exchange",
    "window": "ms per step of whole windows (ranks wait for each other)",
}


def views(run: LoadedRun, rows: Sequence[Row], colors: Mapping[str, int], climbs: Sequence[Climb]) -> list[View]:
    """Of every trial of several ranks that shows a speed, with who is late. `colors`: backend to place in the
    palette."""
    made = []
    for place, one, table in in_parts("ranks", HEADS, ranks.strips(run, rows, climbs), ranks.as_columns):
        sentence = lateness(one.readiness, one.hosts)
        chart = Chart(
            name=f"ranks-{place}",
            title=f"Ranks of {name(one.row)}",
            words=f"{name(one.row)}, {_MEASURED[one.measured]}, of {len(one.hosts):,} ranks: {sentence}.",
            paint=partial(_paint, one, PALETTE[colors[one.row.trial.backend]]),
        )
        made.append(View(one.row, Figure(chart, _caption(one), table), sentence))
    return made


def _caption(found: Strip) -> str:
    """Only what is peculiar to this chart: the section says what the marks are."""
    size, over = len(found.groups[0]), counted(found.readiness.windows, "window")
    bar = f"Each bar is {size} ranks, from the least to the greatest, the dot their median"
    late = len(found.late)
    out = "No rank stands" if not late else f"{counted(late, 'rank')} {'stands' if late == 1 else 'stand'}"
    more = ", the latest of them" if late == LATE_RANKS else ""
    return f"{bar if size > 1 else 'Each dot is a rank'}; medians over {over} (n). {out} out{more}."


def _paint(found: Strip, color: str, width_inches: float) -> Drawn:
    canvas = Canvas(width_inches, HEIGHT_POINTS)
    heading(canvas, f"{name(found.row)}: {len(found.hosts):,} ranks", _MEASURED[found.measured])
    plot = Box(38.0, 34.0, canvas.box.right - 8, canvas.box.bottom - 20)
    ms = np.asarray(found.readiness.ready_ms)
    middle = float(np.median(ms))
    low, high = min(float(ms.min()), (1 - _SPAN) * middle), max(float(ms.max()), (1 + _SPAN) * middle)
    room = 0.08 * (high - low)
    scale = Scale(low - room, high + room, plot.bottom, plot.top)
    across = Scale(-0.5, len(ms) - 0.5, plot.left, plot.right)
    rule(canvas, plot, scale, lambda value: f"{value:,.4g}")
    canvas.text(0, plot.bottom + 13, "ms", MUTED)
    canvas.text(plot.left, plot.bottom + 13, "rank 0", MUTED)
    canvas.text(plot.right, plot.bottom + 13, f"rank {len(ms) - 1:,}", MUTED, "right")
    _groups(canvas, found, (across, scale), color)
    late = found.late
    edge = float(scale.place((1 + stats.LATE) * middle))
    canvas.strokes([(plot.left, edge, plot.right, edge)], Pen(MUTED, 0.8, dashes=(2.5, 2.0)))
    if late:
        said = [_told(found, rank) for rank in late]
        canvas.marks(across.place(late), scale.place(ms[late]), said, Pen(INK, 6.5))
        _label(canvas, found, (across, scale), plot)
    return canvas.figure


def _groups(canvas: Canvas, found: Strip, scales: tuple[Scale, Scale], color: str) -> None:
    across, scale = scales
    ms = np.asarray(found.readiness.ready_ms)
    middles = across.place([(group[0] + group[-1]) / 2 for group in found.groups])
    if len(found.groups) < len(ms):
        low, high = (scale.place([pick(ms[list(group)]) for group in found.groups]) for pick in (np.min, np.max))
        canvas.strokes(np.column_stack([middles, low, middles, high]), Pen(color, 2.6, 0.5))
    medians = scale.place([float(np.median(ms[list(group)])) for group in found.groups])
    canvas.dots(middles, medians, Pen(color, 4.5))


def _label(canvas: Canvas, found: Strip, scales: tuple[Scale, Scale], plot: Box) -> None:
    """Names the latest rank where it is chronically late."""
    rank = found.late[0]
    if rank not in found.readiness.chronic:
        return
    x, y = float(scales[0].place(rank)), float(scales[1].place(found.readiness.ready_ms[rank]))
    right = x < (plot.left + plot.right) / 2
    canvas.text(x + (7 if right else -7), y + 3, f"rank {rank:,}", INK, "left" if right else "right")


def _told(found: Strip, rank: int) -> str:
    ready = found.readiness
    later = f"{number(ready.late_ms[rank], 3)} ms later than the others"
    took = f"{number(ready.ready_ms[rank])} ms, {later}"
    return f"rank {rank} on {found.hosts[rank]}: {took}, late in {percent(ready.late_share[rank])} of the windows"

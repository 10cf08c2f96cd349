"""The ladder as a waterfall: from a bare device's step to the whole job's, one bar a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure as Drawn

from bench.stats import Estimate
from reports.canvas import Box, Canvas, Pen, Scale
from reports.figures import Figure, Table, in_parts
from reports.ladder import PARTS, Climb, as_columns, rungs
from reports.svg import GRID, INK, MUTED, PALETTE, Chart, tell
from reports.text import DASH, counted, interval, number, one_line, percent

_HEAD_POINTS, _LINE_POINTS, _BAR_POINTS, _FOOT_POINTS = 20.0, 19.0, 11.0, 32.0
_BEYOND = 1.25  # so many times the longest bar: what an interval has further out is cut
_NAMES_POINTS, _SAID_POINTS = 136.0, 76.0  # room for the longest rung, and for what stands after a bar, in any font


HEADS = {"bare_ms": "bare ms"} | {
    f"{name.replace(' ', '_')}_ms{end}": f"{name} ms" if not end else said
    for name in (*PARTS, "full")
    for end, said in (("", ""), ("_low", "95 % interval from"), ("_high", "to"))
}


@dataclass(frozen=True, slots=True)
class View:
    """One climb as the page shows it."""

    climb: Climb
    figure: Figure


@dataclass(frozen=True, slots=True)
class _Bar:
    """From `start` to `end`, ms per step; `found` is what its length stands for, None: not known."""

    label: str
    start: float
    end: float
    found: Estimate | None
    said: str
    total: bool


def views(found: Sequence[Climb], colors: Mapping[str, int]) -> list[View]:
    """In the order given. `colors`: backend to place in the palette."""
    parts = in_parts("ladder", HEADS, found, lambda climb: [as_columns(climb)])
    return [
        View(climb, _figure(climb, PALETTE[colors[climb.row.trial.backend]], place, table))
        for place, climb, table in parts
    ]


def _figure(climb: Climb, color: str, place: int, table: Table) -> Figure:
    title = f"Where a step of {one_line(climb.row.label, 60)} \u00d7{climb.row.trial.replicas} goes"
    chart = Chart(f"ladder-{place}", title, describe(climb), partial(_paint, climb, color))
    launches = counted(climb.ladder.full.launches, "launch", "launches")
    bars = "From the top: each bar begins where the one above it ends"
    thin = "Thin lines are 95 % intervals, cut at the right where they are long"
    return Figure(chart, f"{bars}. {thin}; n = {launches}.", table)


def describe(climb: Climb) -> str:
    """The chart in words, for those who do not see it."""
    said = [f"{bar.label} {bar.said}" for bar in _bars(climb)]
    return f"Where a step of {one_line(climb.row.label, 80)} goes, in milliseconds: {'; '.join(said)}."


def _bars(climb: Climb) -> list[_Bar]:
    (start, estimate), shown = rungs(climb.ladder)
    bars = [_Bar(start, 0.0, estimate.point, estimate, number(estimate.point, 3), total=True)]
    reached = estimate.point
    for name, part in shown:
        if part is None:
            bars.append(_Bar(name, reached, reached, None, DASH, total=False))
            continue
        said = f"{number(part.ms.point, 3)} ({percent(part.share.point)})"
        bars.append(_Bar(name, reached, reached + part.ms.point, part.ms, said, total=False))
        reached += part.ms.point
    full = climb.ladder.full
    return [*bars, _Bar("full", 0.0, full.point, full, number(full.point, 3), total=True)]


def _paint(climb: Climb, color: str, width_inches: float) -> Drawn:
    bars = _bars(climb)
    canvas = Canvas(width_inches, _HEAD_POINTS + _LINE_POINTS * len(bars) + _FOOT_POINTS)
    title = f"{one_line(climb.row.label, round(width_inches * 9))} \u00d7{climb.row.trial.replicas}"
    canvas.text(0, 10, title)
    plot = Box(_NAMES_POINTS, _HEAD_POINTS, canvas.box.right - 8, canvas.box.bottom - _FOOT_POINTS)
    ends = max(max(bar.start, bar.end) for bar in bars)
    reach = min(max(ends, *map(_high, bars)), _BEYOND * ends)
    room = 1 + _SAID_POINTS / (plot.right - plot.left - _SAID_POINTS)
    scale = Scale(min(0.0, *(bar.end for bar in bars)) * 1.1, reach * room, plot.left, plot.right)
    _axis(canvas, plot, scale)
    for place, bar in enumerate(bars):
        _draw_bar(canvas, scale, bar, plot.top + _LINE_POINTS * (place + 0.5), color)
    return canvas.figure


def _axis(canvas: Canvas, plot: Box, scale: Scale) -> None:
    ticks = scale.ticks(5)
    places = scale.place(ticks)
    canvas.strokes([(x, plot.top, x, plot.bottom) for x in places], Pen(GRID, 0.8))
    zero = float(scale.place(0.0))
    canvas.strokes([(zero, plot.top, zero, plot.bottom)], Pen(MUTED, 0.8))
    for value, x in zip(ticks, places, strict=True):
        canvas.text(x, plot.bottom + 12, f"{value:,.6g}", MUTED, "center")
    canvas.text((plot.left + plot.right) / 2, plot.bottom + 25, "ms per step (share of the full step)", INK, "center")


def _high(bar: _Bar) -> float:
    """Where its interval ends."""
    return bar.end if bar.found is None or bar.found.high is None else bar.end + bar.found.high - bar.found.point


def _draw_bar(canvas: Canvas, scale: Scale, bar: _Bar, middle: float, color: str) -> None:
    """`middle`: of its line. Its interval is drawn at its end; the table has all of it."""
    canvas.text(scale.start - 6, middle + 3, bar.label, INK, "right")
    left, right = (float(scale.place(end)) for end in sorted((bar.start, bar.end)))
    box = Box(left, middle - _BAR_POINTS / 2, right, middle + _BAR_POINTS / 2)
    drawn = canvas.areas([box], MUTED if bar.total else color, 0.45 if bar.total else 1.0)
    tell(drawn, f"{bar.label}: {bar.said} ms per step, 95 % interval {interval(bar.found, 1.0, 3) or DASH}")
    if bar.found is not None and bar.found.low is not None and bar.found.high is not None:
        low, high = (float(scale.place(end)) for end in (bar.end + bar.found.low - bar.found.point, _high(bar)))
        high = min(high, scale.end - _SAID_POINTS)
        canvas.strokes([(low, middle, high, middle)], Pen(INK))
        right = max(right, high)
    canvas.text(right + 5, middle + 3, bar.said)

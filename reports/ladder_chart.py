"""The ladder as a waterfall: from a bare device's step to the whole job's, one bar a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn

from bench.stats import Estimate
from reports import svg
from reports.figures import Figure
from reports.ladder import Climb, rungs
from reports.svg import INK, MUTED, PALETTE, Chart, tell
from reports.text import DASH, interval, number, one_line, percent

_LINE_INCHES, _TITLE_INCHES, _TICKS_INCHES = 0.27, 0.38, 0.52
_NAMES_INCHES = 1.95  # room for the longest rung in any font


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
    return [
        View(climb, _figure(climb, PALETTE[colors[climb.row.trial.backend]], place))
        for place, climb in enumerate(found)
    ]


def _figure(climb: Climb, color: str, place: int) -> Figure:
    title = f"Where a step of {one_line(climb.row.label, 60)} \u00d7{climb.row.trial.replicas} goes"
    chart = Chart(f"ladder-{place}", title, describe(climb), partial(_paint, climb, color))
    return Figure(chart, "From the top: each bar begins where the one above it ends. Thin lines are 95 % intervals.")


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
    height = _TITLE_INCHES + _LINE_INCHES * len(bars) + _TICKS_INCHES
    drawn = svg.figure(width_inches, height)
    box = (
        _NAMES_INCHES / width_inches, _TICKS_INCHES / height,
        1 - (_NAMES_INCHES + 0.2) / width_inches, _LINE_INCHES * len(bars) / height,
    )  # fmt: skip
    axes = drawn.add_axes(box)
    title = f"{one_line(climb.row.label, round(width_inches * 9))} \u00d7{climb.row.trial.replicas}"
    drawn.text(0.1 / width_inches, 1 - 0.26 / height, title, color=INK)
    svg.plain_axes(axes, "ms per step (share of the full step)", grid="x")
    axes.set_yticks(range(len(bars)), [bar.label for bar in reversed(bars)])
    reach = max(max(bar.start, bar.end) for bar in bars)
    axes.set_xlim(min(0.0, *(bar.end for bar in bars)) * 1.1, reach * (1 + 1.3 / (width_inches - _NAMES_INCHES)))
    axes.set_ylim(-0.6, len(bars) - 0.4)
    for place, bar in enumerate(bars):
        _draw_bar(axes, bar, len(bars) - 1 - place, color, reach)
    return drawn


def _draw_bar(axes: Axes, bar: _Bar, at: int, color: str, reach: float) -> None:
    """Intervals are drawn at the bar's end, cut at the axis' own: the table has them whole."""
    left, length = min(bar.start, bar.end), abs(bar.end - bar.start)
    (drawn,) = axes.barh(
        at, length, left=left, height=0.56, color=MUTED if bar.total else color, alpha=0.45 if bar.total else 1.0
    )
    tell(drawn, f"{bar.label}: {bar.said} ms per step, 95 % interval {interval(bar.found, 1.0, 3) or DASH}")
    if bar.found is not None and bar.found.low is not None and bar.found.high is not None:
        low, high = (bar.end + bound - bar.found.point for bound in (bar.found.low, bar.found.high))
        axes.plot([low, min(high, reach * 1.05)], [at, at], color=INK, linewidth=1)
    after = max(bar.start, bar.end, min(_high(bar), reach * 1.05))
    axes.annotate(bar.said, (after, at), (5, 0), "data", "offset points", color=INK, va="center")


def _high(bar: _Bar) -> float:
    return bar.end if bar.found is None or bar.found.high is None else bar.end + bar.found.high - bar.found.point

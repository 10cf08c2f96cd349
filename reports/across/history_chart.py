"""The chart of one trial through its runs: speeds with intervals, the levels, and where something else changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn

from reports import svg
from reports.across import history_words as words
from reports.across.history import Point, Series
from reports.across.matching import listed
from reports.columns import Cell
from reports.figures import Figure, Table
from reports.svg import INK, MUTED, PALETTE, Chart, tell
from reports.text import counted, interval, number, one_line

_HEIGHT_INCHES = 2.6
_MOST_CIRCLES = 120  # launches that are drawn; of longer histories the runs alone
_MOST_TOLD = 200  # runs with a read-out, the latest
_HEADS = {
    "run": "run",
    "created_utc": "begun",
    "samples_per_second": "samples/s",
    "samples_per_second_low": "95 % interval from",
    "samples_per_second_high": "to",
    "launches": "n, launches",
    "level": "level",
    "changed": "not as in the run before",
    "reason": "why there is no speed",
}
HOW_TO_READ = (
    "Each diamond is a run, in order of time, the bar its 95 % interval over launches, the circles the launches. Lines "
    "are levels; a triangle at the foot is a run whose packages, code, machine or settings are not those of the run "
    "before, a cross one without a speed. The axis does not start at zero."
)


def figure(
    series: Series, name: str, lines: tuple[str, Sequence[tuple[int, Mapping[str, Cell]]]], color: int
) -> Figure | None:
    """None where no run has a speed. `name`: of the chart, on its page; `lines`: path of the list, and those of it."""
    if not series.measured:
        return None
    chart = Chart(
        name,
        f"{one_line(words.name(series), 160)} through its runs",
        f"Samples per second of {one_line(words.name(series), 160)} in each run. {' '.join(words.sentences(series))}",
        partial(_paint, series, color),
    )
    circles = ", their launches circles" if _launches(series) <= _MOST_CIRCLES else ""
    caption = f"{counted(len(series.measured), 'run')}: diamonds{circles}, their levels lines."
    return Figure(chart, caption, Table(lines[0], _HEADS, lines[1]))


def _launches(series: Series) -> int:
    return sum(len(point.launch_rates) for point in series.points)


def _paint(series: Series, color: int, width_inches: float) -> Drawn:
    drawn = svg.figure(width_inches, _HEIGHT_INCHES)
    axes = drawn.add_axes((0.62 / width_inches, 0.27, 1 - 0.8 / width_inches, 0.68))
    _set_axes(axes, series, width_inches)
    _draw_levels(axes, series)
    _draw_runs(axes, series, PALETTE[color])
    _draw_foot(axes, series)
    return drawn


def _draw_runs(axes: Axes, series: Series, own: str) -> None:
    known = [(at, point, point.speed) for at, point in enumerate(series.points) if point.speed]
    bars = [(at, speed.low, speed.high) for at, _, speed in known if speed.low is not None and speed.high is not None]
    if bars:
        axes.vlines(*zip(*bars, strict=True), color=own, linewidth=1.4)
    if _launches(series) <= _MOST_CIRCLES:
        rates = [(at, rate) for at, point, _ in known for rate in point.launch_rates]
        axes.plot(*zip(*rates, strict=True), linestyle="none", marker="o", markersize=3.5, markerfacecolor="none",
                  markeredgecolor=own, markeredgewidth=0.9, alpha=0.55)  # fmt: skip
    for part, told in ((known[:-_MOST_TOLD], False), (known[-_MOST_TOLD:], True)):
        places, speeds = [at for at, _, _ in part], [speed.point for _, _, speed in part]
        (means,) = axes.plot(places, speeds, linestyle="none", marker="D", markersize=5, color=own)
        if told:
            tell(means, [_told(point) for _, point, _ in part])


def _set_axes(axes: Axes, series: Series, width_inches: float) -> None:
    ends = [rate for point in series.measured for rate in point.launch_rates]
    ends += [end for point in series.measured if point.speed for end in (point.speed.low, point.speed.high) if end]
    room = (max(ends) - min(ends)) * 0.12 or max(ends) * 0.02
    axes.set_ylim(min(ends) - 2 * room, max(ends) + room)
    last = len(series.points) - 1
    axes.set_xlim(-0.5, last + 0.5)
    svg.plain_axes(axes, "runs in order of time", grid="both")
    axes.grid(axis="x", visible=False)
    every = max(1, round(len(series.points) / (width_inches * 0.8)))
    ticks = range(0, len(series.points), every)
    axes.set_xticks(list(ticks), [one_line(series.points[at].created_utc[:10]) for at in ticks])
    axes.yaxis.set_major_formatter(lambda value, _place: f"{value:,.6g}")
    axes.set_ylabel("samples per second", color=INK)


def _draw_levels(axes: Axes, series: Series) -> None:
    for level in range(len(series.steps) + 1):
        runs = [at for at, point in enumerate(series.points) if point.level == level]
        mean = words.level(series, level)
        if not runs or mean is None:
            continue
        (line,) = axes.plot([runs[0] - 0.4, runs[-1] + 0.4], [mean.point] * 2, color=MUTED, linewidth=1.6)
        tell(line, f"level of {len(runs)} runs: {number(mean.point)} samples/s")


def _draw_foot(axes: Axes, series: Series) -> None:
    """What is to be seen of runs beside their speed."""
    foot = axes.get_xaxis_transform()
    changed = [(at, point) for at, point in enumerate(series.points) if point.changed]
    silent = [(at, point) for at, point in enumerate(series.points) if point.speed is None]
    for found, marker, height, texts in (
        (changed, "^", 0.035, [f"{point.run}: {listed(point.changed)}" for _, point in changed]),
        (silent, "x", 0.1, [f"{point.run}: {point.reason}" for _, point in silent]),
    ):
        if not found:
            continue
        (marks,) = axes.plot(
            [at for at, _ in found], [height] * len(found), linestyle="none", marker=marker, markersize=5, color=MUTED,
            transform=foot,
        )  # fmt: skip
        if len(found) <= _MOST_TOLD:
            tell(marks, texts)


def _told(point: Point) -> str:
    speed = point.speed
    around = interval(speed) if speed else None
    bounds = f", 95 % interval {around}" if around else ""
    return f"{point.run}, {point.created_utc[:10]}: {number(speed.point if speed else None)} samples/s{bounds}"

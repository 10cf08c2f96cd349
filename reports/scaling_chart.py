"""The charts of scaling: speed-up and efficiency over replicas, with intervals, the ideal and the fitted curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.stats import Estimate
from reports import svg
from reports.scaling import Against, Gain, Point, Scaling, Series, per_step
from reports.svg import INK, MUTED, PALETTE, Chart, tell
from reports.text import interval, number, one_line, percent

_MARKERS = "osD^vP"
_AMDAHL, _RING = "--", ":"
_RINGED: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 11, "markerfacecolor": "none"}
_PLOT_INCHES, _LEGEND_INCHES, _TITLE_INCHES, _TICKS_INCHES = 2.9, 0.22, 0.35, 0.55
_STACKED_BELOW_INCHES = 6.0
_BASELINES = {"bare": "a bare run", "solo": "the same backend on one replica"}
_DODGE = 0.05  # replicas between the marks of two series, so that their intervals can be told apart


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One series on the page. `aside` moves its marks, in replicas."""

    series: Series
    color: str
    marker: str
    aside: float


@dataclass(frozen=True, slots=True)
class _Panel:
    """One of the two plots: what it shows of a point, and what is ideal there."""

    title: str
    shown: Callable[[Gain], Estimate]
    scale: float
    per_replica: bool


_PANELS = (
    _Panel("speed-up", lambda gain: gain.speed_up, 1.0, False),
    _Panel("efficiency, %", lambda gain: gain.efficiency, 100.0, True),
)


def describe(scaling: Scaling, against: Against) -> str:
    """The chart in words, for those who do not see it."""
    parts = []
    for series in scaling.series:
        told = [
            f"{percent(found.efficiency.point)} at {point.replicas}"
            for point in series.points
            if (found := point.gain(against))
        ]
        parts.append(f"{one_line(series.label, 80)}: {', '.join(told) or 'nothing'}")
    return f"{scaling.title}, efficiency over replicas. {'; '.join(parts)}."


def chart(scaling: Scaling, against: Against, colors: Mapping[str, int]) -> Chart:
    """Speed-up beside efficiency, on a narrow page above it. `colors`: backend to place in the palette."""
    name = f"scaling-{scaling.kind}-{scaling.batch}-{against}"
    title = f"{scaling.title}, against {_BASELINES[against]}"
    return Chart(name, title, describe(scaling, against), partial(_paint, scaling, against, colors))


def _paint(scaling: Scaling, against: Against, colors: Mapping[str, int], width_inches: float) -> Figure:
    stacked = width_inches < _STACKED_BELOW_INCHES
    drawn = list(_drawn(scaling, colors))
    handles = _handles(drawn, against, letters=round(width_inches * 11))
    columns = 1 if stacked else 2
    legend = _LEGEND_INCHES * -(-len(handles) // columns) + 0.1
    rows = len(_PANELS) if stacked else 1
    figure = svg.figure(width_inches, rows * (_TITLE_INCHES + _PLOT_INCHES + _TICKS_INCHES) + legend)
    for place, panel in enumerate(_PANELS):
        axes = _axes(figure, panel, place, stacked, legend)
        _draw_panel(axes, panel, scaling, against, drawn)
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.0, 0.0), frameon=False, labelcolor=INK,
        borderaxespad=0.2, ncols=columns, columnspacing=1.5,
    )  # fmt: skip
    return figure


def _drawn(scaling: Scaling, colors: Mapping[str, int]) -> Iterator[_Drawn]:
    seen: dict[str, int] = {}
    middle = (len(scaling.series) - 1) / 2
    for place, series in enumerate(scaling.series):
        nth = seen[series.backend] = seen.get(series.backend, -1) + 1
        color = PALETTE[colors[series.backend]]
        yield _Drawn(series, color, _MARKERS[nth % len(_MARKERS)], (place - middle) * _DODGE)


def _axes(figure: Figure, panel: _Panel, place: int, stacked: bool, legend: float) -> Axes:
    width, height = figure.get_size_inches()
    columns = 1 if stacked else len(_PANELS)
    whole = _TITLE_INCHES + _PLOT_INCHES + _TICKS_INCHES
    above = len(_PANELS) - 1 - place if stacked else 0
    left = 0.5 / width + (0 if stacked else place / columns)
    bottom = (legend + above * whole + _TICKS_INCHES) / height
    axes = figure.add_axes((left, bottom, 1 / columns - 0.65 / width, _PLOT_INCHES / height))
    axes.set_title(panel.title, color=INK, fontsize=10, loc="left")
    svg.plain_axes(axes, "replicas", grid="both")
    return axes


def _draw_panel(axes: Axes, panel: _Panel, scaling: Scaling, against: Against, drawn: Sequence[_Drawn]) -> None:
    sizes = sorted({point.replicas for one in drawn for point in one.series.points})
    axes.set_xticks(sizes)
    axes.set_xlim(sizes[0] - 0.35, sizes[-1] + 0.35)
    ideal = [panel.scale * (1 if panel.per_replica else size) for size in sizes]
    axes.plot(sizes, ideal, color=MUTED, linewidth=1)
    tops = [*ideal]
    for one in drawn:
        pairs = [(point, found) for point in one.series.points if (found := point.gain(against))]
        tops += [panel.shown(found).point * panel.scale for _, found in pairs]
        if pairs:
            _draw_points(axes, panel, one, pairs)
            _draw_curves(axes, panel, scaling, one, pairs[0])
    # Intervals of three launches can be many times as high as all points: they are cut, the table has them whole.
    axes.set_ylim(0, max(tops) * 1.25)


def _draw_points(axes: Axes, panel: _Panel, one: _Drawn, pairs: Sequence[tuple[Point, Gain]]) -> None:
    """One artist for all intervals and one for all marks of a kind: each costs its time."""
    ends: list[tuple[float, float]] = []
    for point, found in pairs:
        estimate = panel.shown(found)
        if estimate.low is not None and estimate.high is not None:
            at = point.replicas + one.aside
            ends += [(at, estimate.low * panel.scale), (at, estimate.high * panel.scale), (math.nan, math.nan)]
    if ends:
        axes.plot(*zip(*ends, strict=True), color=one.color, linewidth=1.4, marker="_", markersize=6)
    for hollow in (False, True):
        own = [(point, found) for point, found in pairs if bool(point.row.oversubscribed) == hollow]
        if own:
            (marks,) = axes.plot(
                *_places(panel, one, own), linestyle="none", marker=one.marker, markersize=6, color=one.color,
                markeredgewidth=1.4, markerfacecolor="none" if hollow else one.color,
            )  # fmt: skip
            tell(marks, [_said(panel, one, point, found) for point, found in own])
    suspect = [(point, found) for point, found in pairs if found.suspect]
    if suspect:
        axes.plot(*_places(panel, one, suspect), color=INK, **_RINGED)


def _places(panel: _Panel, one: _Drawn, pairs: Sequence[tuple[Point, Gain]]) -> tuple[list[float], list[float]]:
    return (
        [point.replicas + one.aside for point, _ in pairs],
        [panel.shown(found).point * panel.scale for _, found in pairs],
    )


def _said(panel: _Panel, one: _Drawn, point: Point, found: Gain) -> str:
    estimate = panel.shown(found)
    low_high = interval(estimate, panel.scale, 3)
    bounds = found.bounds(f"95 % interval {low_high}" if low_high else None)
    said = f"{panel.title} {number(estimate.point * panel.scale, 3)}, {bounds}"
    return f"{one_line(one.series.label, 80)} on {point.replicas}: {said}, n = {point.row.launches}"


def _draw_curves(axes: Axes, panel: _Panel, scaling: Scaling, one: _Drawn, pair: tuple[Point, Gain]) -> None:
    """Both fits give a rate at any number of replicas; the baseline's rate follows from a point and its speed-up."""
    point, found = pair
    base = point.rate / found.speed_up.point
    curves, ends = one.series.curves, [point.replicas for point in one.series.points]
    sizes = np.unique(np.linspace(min(ends), max(ends), 61).round())  # between whole replicas there is nothing
    amdahl, ring = curves.amdahl, curves.latency_bandwidth
    rates = {}
    if amdahl:
        rates[_AMDAHL] = [1000 / amdahl.time(size) for size in sizes]
    if ring:
        rates[_RING] = [per_step(scaling.kind, scaling.batch, size) * 1000 / ring.time(size) for size in sizes]
    for stroke, along in rates.items():
        gains = np.asarray(along) / base / (sizes if panel.per_replica else 1.0)
        axes.plot(sizes, gains * panel.scale, color=one.color, linestyle=stroke, linewidth=1.2)


def _handles(drawn: Sequence[_Drawn], against: Against, letters: int) -> list[Line2D]:
    """One per series, then what the strokes and marks mean, where they are drawn."""
    handles = [
        _handle(one_line(one.series.label, letters // 2), one.color, marker=one.marker, linestyle="none")
        for one in drawn
    ]
    curves = [one.series.curves for one in drawn]
    points = [point for one in drawn for point in one.series.points]
    handles.append(_handle("ideal", MUTED, linestyle="-"))
    if any(curve.amdahl for curve in curves):
        handles.append(_handle("fitted: Amdahl", MUTED, linestyle=_AMDAHL))
    if any(curve.latency_bandwidth for curve in curves):
        handles.append(_handle("fitted: latency-bandwidth", MUTED, linestyle=_RING))
    if any(found.suspect for point in points if (found := point.gain(against))):
        handles.append(Line2D([], [], color=INK, label="ringed: suspect", **_RINGED))
    if any(point.row.oversubscribed for point in points):
        handles.append(_handle("hollow: oversubscribed", MUTED, marker="o", linestyle="none", markerfacecolor="none"))
    return handles


def _handle(label: str, color: str, **style: str) -> Line2D:
    return Line2D([], [], color=color, label=label, markersize=6, linewidth=1.2, **style)  # type: ignore[arg-type]

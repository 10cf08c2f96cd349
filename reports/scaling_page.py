"""Scaling as the page shows it: a chart for each baseline, wide and narrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import scaling_chart
from reports.page import NARROW_INCHES, WIDE_INCHES
from reports.scaling import Against, Scaling

_BASELINES = {
    "bare": "against a bare run: one device of the same framework, without a wrapper",
    "solo": "against the same backend on one replica",
}


@dataclass(frozen=True, slots=True)
class Chart:
    """`title` for a fold, `words` to stand below it."""

    title: str
    words: str
    wide: Markup
    narrow: Markup


@dataclass(frozen=True, slots=True)
class View:
    """`colors`: backend to place in the palette."""

    scaling: Scaling
    charts: tuple[Chart, ...]
    colors: Mapping[str, int]


def views(found: Sequence[Scaling], colors: Mapping[str, int]) -> list[View]:
    """In the order given."""
    return [
        View(scaling, tuple(_chart(scaling, against, colors) for against in scaling.baselines), colors)
        for scaling in found
    ]


def _chart(scaling: Scaling, against: Against, colors: Mapping[str, int]) -> Chart:
    gains = [point.gain(against) for series in scaling.series for point in series.points]
    bounded = any(found.efficiency.low is not None for found in gains if found)
    bars = (
        "Bars are 95 % intervals, cut at the top where they are long." if bounded else "No intervals: see the summary."
    )
    words = f"{scaling.title}, {_BASELINES[against]}. {bars}"
    wide, narrow = (
        Markup(scaling_chart.draw(scaling, against, colors, width, stacked))  # ElementTree has escaped it
        for width, stacked in ((WIDE_INCHES, False), (NARROW_INCHES, True))
    )
    return Chart(f"The same {_BASELINES[against]}", words, wide, narrow)

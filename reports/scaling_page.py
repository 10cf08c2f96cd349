"""Scaling as the page shows it: a figure for each baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports import scaling_chart
from reports.figures import Cell, Figure, Table
from reports.scaling import Against, Scaling

_BASELINES = {
    "bare": "against a bare run: one device of the same framework, without a wrapper",
    "solo": "against the same backend on one replica",
}


@dataclass(frozen=True, slots=True)
class View:
    """`figures`: title for a fold, and what is in it. `colors`: backend to place in the palette."""

    scaling: Scaling
    figures: tuple[tuple[str, Figure], ...]
    colors: Mapping[str, int]


def views(found: Sequence[Scaling], colors: Mapping[str, int], lines: Sequence[Mapping[str, Cell]]) -> list[View]:
    """In the order given. `lines`: the exported points."""
    made = []
    for scaling in found:
        own = [
            (at, line)
            for at, line in enumerate(lines)
            if (line["scaling"], line["batch"]) == (scaling.kind, scaling.batch)
        ]
        figures = tuple(
            (f"The same {_BASELINES[against]}", _figure(scaling, against, colors, own)) for against in scaling.baselines
        )
        made.append(View(scaling, figures, colors))
    return made


def _figure(
    scaling: Scaling, against: Against, colors: Mapping[str, int], own: Sequence[tuple[int, Mapping[str, Cell]]]
) -> Figure:
    gains = [point.gain(against) for series in scaling.series for point in series.points]
    bounded = any(found.efficiency.low is not None for found in gains if found)
    bars = (
        "Bars are 95 % intervals, cut at the top where they are long." if bounded else "No intervals: see the summary."
    )
    chart = scaling_chart.chart(scaling, against, colors)
    return Figure(chart, f"{scaling.title}, {_BASELINES[against]}. {bars}", Table("scaling", _heads(against), own))


def _heads(against: Against) -> dict[str, str]:
    return {
        "label": "backend",
        "replicas": "replicas",
        "samples_per_second": "samples/s",
        f"speed_up_{against}": "speed-up",
        f"speed_up_{against}_low": "95 % interval from",
        f"speed_up_{against}_high": "to",
        f"efficiency_{against}": "efficiency, 1 is ideal",
        f"efficiency_{against}_low": "95 % interval from",
        f"efficiency_{against}_high": "to",
    }

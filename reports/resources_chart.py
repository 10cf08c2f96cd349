"""Resources drawn over the windows: for each quantity a lane, the rank with most of it and the median one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure as Drawn

from reports import resources, svg
from reports.canvas import Box, Canvas, Floats, Pen, Scale, heading
from reports.distribution_chart import name
from reports.figures import Figure, View, in_parts
from reports.load import LoadedRun
from reports.resources import QUANTITIES, Usage
from reports.svg import GRID, MUTED, PALETTE, Chart
from reports.table import Row
from reports.text import DASH, counted, number, size

_LANE_POINTS, _HEAD_POINTS, _FOOT_POINTS = 42.0, 28.0, 16.0
_DRAWN = ("cpu_cores", "rss_bytes", "sent_bytes_per_step")
_GAP = 6.0
HEADS = {
    "launch": "launch", "first_window": "first window", "last_window": "last window", "kind": "windows",
    "cpu_cores_max": "CPU cores, most", "cpu_cores_median": "median rank", "rss_bytes_max": "RSS bytes, most",
    "rss_bytes_median": "median rank", "sent_bytes_per_step_max": "bytes sent per step, most",
    "sent_bytes_per_step_median": "median rank", "received_bytes_per_step_max": "bytes received per step, most",
    "received_bytes_per_step_median": "median rank",
}  # fmt: skip


def views(run: LoadedRun, rows: Sequence[Row], colors: Mapping[str, int]) -> list[View]:
    """Of every trial that shows a speed. `colors`: backend to place in the palette."""
    parts = in_parts("resources", HEADS, resources.usages(run, rows), resources.as_columns)
    return [
        View(one.row, Figure(_chart(one, place, PALETTE[colors[one.row.trial.backend]]), _caption(one), table))
        for place, one, table in parts
    ]


def _chart(found: Usage, place: int, color: str) -> Chart:
    words = f"What a rank of {name(found.row)} used over the windows: {'; '.join(_sentences(found))}."
    return Chart(f"resources-{place}", f"Resources of {name(found.row)}", words, partial(_paint, found, color))


def _caption(found: Usage) -> str:
    launches = len({part.launch for part in found.parts})
    return f"n = {counted(found.ranks, 'rank')}, {counted(launches, 'launch', 'launches')}."


def _lanes() -> list[int]:
    return [place for place, quantity in enumerate(QUANTITIES) if quantity.column in _DRAWN]


def _shown(column: str, value: float | None) -> str:
    if value is None:
        return DASH
    return number(value, 3) if column == "cpu_cores" else size(value)


def _sentences(found: Usage) -> list[str]:
    said = []
    for place in _lanes():
        quantity, known = QUANTITIES[place], [part for part in found.parts if part.most[place] is not None]
        if not known:
            said.append(f"{quantity.title}: unknown")
            continue
        most = max(part.most[place] or 0.0 for part in known)
        counting = [part.middle[place] or 0.0 for part in known if not part.warmup]
        middle = _shown(quantity.column, float(np.median(counting))) if counting else DASH
        said.append(f"{quantity.title}: {middle} of the median rank, at most {_shown(quantity.column, most)}")
    return said


def _paint(found: Usage, color: str, width_inches: float) -> Drawn:
    lanes = _lanes()
    canvas = Canvas(width_inches, _HEAD_POINTS + _LANE_POINTS * len(lanes) + _FOOT_POINTS)
    heading(canvas, name(found.row), f"{counted(found.ranks, 'rank')}, windows in the order of measuring")
    spans = _spans(found, 8.0, canvas.box.right - 8)
    for at, place in enumerate(lanes):
        top = _HEAD_POINTS + _LANE_POINTS * at
        _lane(canvas, Box(8.0, top + 14, canvas.box.right - 8, top + _LANE_POINTS - 2), (found, place), spans, color)
    bottom = canvas.box.bottom - 4
    launches = sorted({part.launch for part in found.parts})
    for count, launch in enumerate(launches):
        if count % -(-len(launches) // 10) == 0:
            own = [span for span, part in zip(spans, found.parts, strict=True) if part.launch == launch]
            said = f"launch {launch}" if count == 0 else f"{launch}"
            canvas.text((own[0][0] + own[-1][1]) / 2, bottom, said, MUTED, "center")
    return canvas.figure


def _spans(found: Usage, left: float, right: float) -> list[tuple[float, float]]:
    """Where each part begins and ends: as wide as it has windows, launch beside launch."""
    launches = len({part.launch for part in found.parts})
    gap = min(_GAP, 0.25 * (right - left) / launches)
    total = sum(len(part.places) for part in found.parts)
    per_window = (right - left - gap * (launches - 1)) / total
    spans, at, before = [], left, found.parts[0].launch
    for part in found.parts:
        at += gap if part.launch != before else 0.0
        spans.append((at, at + len(part.places) * per_window))
        at, before = spans[-1][1], part.launch
    return spans


def _lane(canvas: Canvas, box: Box, shown: tuple[Usage, int], spans: list[tuple[float, float]], color: str) -> None:
    """Its axis starts at zero and ends at the greatest value, which is said."""
    found, place = shown
    quantity = QUANTITIES[place]
    most = [part.most[place] for part in found.parts]
    known = [value for value in most if value is not None]
    reach = max(known, default=0.0)
    canvas.text(box.left, box.top - 4, quantity.title, MUTED)
    said = f"at most {_shown(quantity.column, reach)}" if known else "unknown"
    canvas.text(box.right, box.top - 4, said, MUTED, "right")
    canvas.strokes([(box.left, box.bottom, box.right, box.bottom)], Pen(GRID, 0.8))
    if len(known) < len(most) or not known:
        return
    scale = Scale(0.0, reach or 1.0, box.bottom, box.top)
    if found.ranks > 1:
        canvas.strokes(_steps(spans, scale, [part.middle[place] for part in found.parts]),
                       Pen(color, 1.1, 0.9, dashes=(2.0, 1.6)))  # fmt: skip
    drawn = canvas.strokes(_steps(spans, scale, most), Pen(color, 1.6))
    svg.tell(
        drawn, f"{quantity.title} of {name(found.row)}: {_sentences(found)[_lanes().index(place)].partition(': ')[2]}"
    )
    edges = [span[1] for span, part in zip(spans, found.parts, strict=True) if part.warmup]
    if edges:
        canvas.strokes([(x, box.top, x, box.bottom) for x in edges], Pen(MUTED, 0.7, dashes=(2.5, 2.0)))


def _steps(spans: list[tuple[float, float]], scale: Scale, values: Sequence[float | None]) -> Floats:
    """A stroke for each part, and one down or up to the next."""
    ys = scale.place([value or 0.0 for value in values])
    flat = [(left, y, right, y) for (left, right), y in zip(spans, ys, strict=True)]
    joined = [(one[2], one[3], other[0], other[1]) for one, other in pairwise(flat) if one[2] == other[0]]
    return np.asarray(flat + joined)

"""The chart of a comparison: of every pair with an interval, the ratio of its speeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure as Drawn

from bench.stats import PRACTICAL_DIFFERENCE, Estimate
from reports import svg
from reports.columns import Cell
from reports.figures import Figure, Table
from reports.svg import GRID, INK, MUTED, PALETTE, Chart, tell
from reports.text import interval, number, one_line

_LINE_INCHES = 0.55
_HEADS = {
    "label": "trial",
    "other": "run",
    "one": "against",
    "outcome": "verdict",
    "ratio": "times the samples/s",
    "ratio_low": "95 % interval from",
    "ratio_high": "to",
}
_CAPTION = (
    "Samples per second of the later run over those of the earlier one: above 1 the later one is faster. The bar is "
    f"the 95 % interval of that pair alone. Within the band, {PRACTICAL_DIFFERENCE * 100:.0f} % about 1, no difference "
    "matters."
)
_ROWS = tuple[str, Estimate, int]


def figure(
    lines: Sequence[Mapping[str, Cell]], ratios: Sequence[Estimate | None], places: Sequence[int]
) -> Figure | None:
    """None where no pair has an interval. `lines` as exported, `places` in PALETTE; one of each per pair."""
    known = [(at, found) for at, found in enumerate(ratios) if found is not None and found.low is not None]
    if not known:
        return None
    rows = [(_name(lines[at]), found, places[at]) for at, found in known]
    words = "; ".join(f"{name}: {number(found.point, 3)}, {interval(found, digits=3)}" for name, found, _ in rows)
    chart = Chart(
        "ratios", "Ratios of speed", f"Ratio of samples per second of each pair. {words}.", partial(_paint, rows)
    )
    return Figure(chart, _CAPTION, Table("pairs", _HEADS, [(at, lines[at]) for at, _ in known]))


def _name(line: Mapping[str, Cell]) -> str:
    return f"{one_line(str(line['label']), 80)}, {line['other']} / {line['one']}"


def _paint(rows: Sequence[_ROWS], width_inches: float) -> Drawn:
    drawn = svg.figure(width_inches, 0.75 + _LINE_INCHES * len(rows))
    width, height = drawn.get_size_inches()
    axes = drawn.add_axes((0.12 / width, 0.52 / height, 1 - 0.32 / width, 1 - 0.6 / height))
    ends = [end for _, found, _ in rows for end in (found.low, found.high) if end is not None]
    low, high = min([*ends, 1 - 2 * PRACTICAL_DIFFERENCE]), max([*ends, 1 + 2 * PRACTICAL_DIFFERENCE])
    margin = (high - low) * 0.04
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(0.45, len(rows) + 0.7)
    axes.set_yticks([])
    svg.plain_axes(axes, "times the samples per second (more is better for the later run)", grid="x")
    axes.axvspan(1 / (1 + PRACTICAL_DIFFERENCE), 1 + PRACTICAL_DIFFERENCE, color=GRID, linewidth=0)
    axes.axvline(1, color=MUTED, linewidth=1)
    for place, (name, found, color) in enumerate(rows):
        at = len(rows) - place
        said = f"{one_line(name, max(12, round(width_inches * 12) - 10))}: {number(found.point, 3)}"
        axes.annotate(said, xy=(0, at), xycoords=axes.get_yaxis_transform(), xytext=(6, 7),
                      textcoords="offset points", va="bottom", color=INK)  # fmt: skip
        bar = [end for end in (found.low, found.high) if end is not None]
        axes.plot(bar, [at] * len(bar), color=PALETTE[color], linewidth=1.6, marker="|", markersize=9)
        (point,) = axes.plot([found.point], [at], linestyle="none", marker="D", markersize=6, color=PALETTE[color])
        tell(point, f"{name}: {number(found.point, 3)} times, 95 % interval {interval(found, digits=3)}")
    return drawn

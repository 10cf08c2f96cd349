"""Panels: trials that differ in one thing only, the all-reduce or the precision, set against one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure as Drawn

from bench import stats
from bench.records import Result
from bench.stats import Estimate
from reports import compare, precision, svg
from reports.columns import Cell, plain, spread
from reports.figures import Figure, Table
from reports.page import NARROW_INCHES
from reports.svg import INK, MUTED, PALETTE, Chart, tell
from reports.table import Row, bounded
from reports.text import DASH, interval, number, one_line
from reports.verdict import unproven

_LINE_INCHES, _TALL_INCHES, _HEAD_INCHES, _TICKS_INCHES = 0.42, 0.6, 0.06, 0.55
_HEADS = {
    "label": "backend",
    "replicas": "replicas",
    "value": "",
    "against": "set against",
    "samples_per_second": "samples/s",
    "ratio": "times the other's samples/s",
    "ratio_low": "95 % interval from",
    "ratio_high": "to",
    "launches": "n, launches",
    "reason": "no ratio, because",
}


@dataclass(frozen=True, slots=True)
class Axis:
    """What the trials of a panel differ in. `varied`: the settings; `value`: of a row, in words; `base` goes first."""

    name: str
    title: str
    varied: tuple[str, ...]
    value: Callable[[Row], str]
    base: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """One row against the first of its group. `ratio` None: `reason` says why."""

    row: Row
    value: str
    base: Row
    against: str
    ratio: Estimate | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Panel:
    """One axis: of each group of equal trials all but the first, against it."""

    axis: Axis
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A panel as the page shows it."""

    panel: Panel
    figure: Figure


def _ran(row: Row) -> str:
    asked, ran = row.trial.allreduce, row.allreduce.ran
    return asked if ran in (None, asked) else f"{asked} (ran {ran})"


def _arithmetic(row: Row) -> str:
    asked = compare.precision(row.trial)
    told = [
        f"{name} {precision.said(axis)}"
        for name, axis in (("compute", row.compute), ("wire", row.wire))
        if axis.differs
    ]
    return f"{asked} ({'; '.join(told)})" if told else asked


AXES = (
    Axis("allreduce", "Ring or tree: the all-reduce", ("allreduce",), _ran, "ring"),
    Axis(
        "precision", "Precision", ("compute", "wire", "loss_scale."), _arithmetic, "computed and exchanged in float32"
    ),
)


def panels(result: Result, rows: Sequence[Row]) -> list[Panel]:
    """Of those axes on which this run has trials that differ in nothing else."""
    found = [Panel(axis, tuple(_contrasts(result, rows, axis))) for axis in AXES]
    return [panel for panel in found if panel.contrasts]


def lines(found: Sequence[Panel]) -> list[dict[str, Cell]]:
    """A line per contrast, for the JSON export."""
    return [
        {
            "axis": panel.axis.name,
            "trial_id": one.row.trial_id,
            "label": one.row.label,
            "replicas": one.row.trial.replicas,
            "value": one.value,
            "against_trial_id": one.base.trial_id,
            "against": one.against,
            "samples_per_second": plain(one.row.measured.samples_per_second.point) if one.row.measured else None,
            **{name: plain(cell) for name, cell in spread("ratio", one.ratio).items()},
            "launches": one.row.launches,
            "reason": one.reason,
        }
        for panel in found
        for one in panel.contrasts
    ]


def views(found: Sequence[Panel], colors: Mapping[str, int], exported: Sequence[Mapping[str, Cell]]) -> list[View]:
    """`exported`: the lines of all panels."""
    made = []
    for panel in found:
        axis = panel.axis
        chart = Chart(f"panel-{axis.name}", axis.title, describe(panel), partial(_paint, panel, colors))
        own = [(at, line) for at, line in enumerate(exported) if line["axis"] == axis.name]
        heads = {**_HEADS, "value": "all-reduce" if axis.name == "allreduce" else "precision"}
        made.append(View(panel, Figure(chart, _caption(panel), Table("panels", heads, own))))
    return made


def describe(panel: Panel) -> str:
    """The chart in words."""
    said = [f"{_name(one)}: {_said(one)}" for one in panel.contrasts]
    return f"{panel.axis.title}, times the samples per second of the other. {'; '.join(said)}."


def _contrasts(result: Result, rows: Sequence[Row], axis: Axis) -> list[Contrast]:
    made = []
    for group in _groups(rows, axis):
        base, *others = group
        reason = unproven(result, group)
        made += [_contrast(result, row, base, axis, reason) for row in others]
    return made


def _groups(rows: Sequence[Row], axis: Axis) -> list[list[Row]]:
    """Rows with a speed that agree in every setting but the axis', and differ there; the axis' base first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.measured and row.trial.replicas > 1:
            kept = {
                name: value for name, value in compare.settings(row.trial).items() if not name.startswith(axis.varied)
            }
            groups.setdefault(repr(sorted(kept.items())), []).append(row)
    several = [group for group in groups.values() if len({axis.value(row) for row in group}) > 1]
    return [sorted(group, key=lambda row: not axis.value(row).startswith(axis.base)) for group in several]


def _contrast(result: Result, row: Row, base: Row, axis: Axis, reason: str | None) -> Contrast:
    value, against = axis.value(row), axis.value(base)
    if reason or row.measured is None or base.measured is None:
        return Contrast(row, value, base, against, None, reason or "no speed")
    ratio = bounded(stats.ratio(row.measured.launch_rates, base.measured.launch_rates), result.quick)
    return Contrast(row, value, base, against, ratio, None)


def _caption(panel: Panel) -> str:
    absent = ", ".join(dict.fromkeys(f"{one.row.label}: {one.reason}" for one in panel.contrasts if one.reason))
    return (
        "Trials that differ in this alone. The mark is the ratio of their samples per second, the bar its 95 % "
        f"interval (from 3 launches on); right of 1 is faster.{' No ratio of ' + absent + '.' if absent else ''}"
    )


def _name(one: Contrast) -> str:
    return f"{one.row.label} \u00d7{one.row.trial.replicas} against {one.against}"


def _said(one: Contrast) -> str:
    if one.ratio is None:
        return one.reason or DASH
    unshown = "; no difference shown" if stats.differs(one.ratio) is False else ""
    return f"{number(one.ratio.point, 3)} times ({interval(one.ratio, 1.0, 3) or 'no interval'}){unshown}"


def _short(one: Contrast) -> str:
    bounds = interval(one.ratio, 1.0, 3)
    return DASH if one.ratio is None else f"{number(one.ratio.point, 3)}{f' ({bounds})' if bounds else ''}"


def _paint(panel: Panel, colors: Mapping[str, int], width_inches: float) -> Drawn:
    shown = list(reversed(panel.contrasts))
    is_narrow = width_inches <= NARROW_INCHES
    line_inches = _TALL_INCHES if is_narrow else _LINE_INCHES
    height = _HEAD_INCHES + line_inches * len(shown) + _TICKS_INCHES
    drawn = svg.figure(width_inches, height)
    box = (0.15 / width_inches, _TICKS_INCHES / height, 1 - 0.35 / width_inches, line_inches * len(shown) / height)
    axes = drawn.add_axes(box)
    svg.plain_axes(axes, "times the samples per second of the other (more is better)", grid="x")
    axes.set_yticks([])
    axes.axvline(1.0, color=MUTED, linewidth=1)
    ends = [1.0]
    for place, one in enumerate(shown):
        name = one_line(_name(one), 50 if is_narrow else 96)
        axes.annotate(
            f"{name}{chr(10) if is_narrow else ': '}{_short(one)}", xy=(0, place + (0.2 if is_narrow else 0.25)),
            xycoords=axes.get_yaxis_transform(), xytext=(4, 0), textcoords="offset points", color=INK, va="center",
        )  # fmt: skip
        if one.ratio is None:
            continue
        color = PALETTE[colors[one.row.trial.backend]]
        low, high = one.ratio.low, one.ratio.high
        if low is not None and high is not None:
            axes.plot([low, high], [place - 0.25] * 2, color=color, linewidth=6, alpha=0.35, solid_capstyle="butt")
        (mark,) = axes.plot([one.ratio.point], [place - 0.25], linestyle="none", marker="D", markersize=6, color=color)
        tell(mark, f"{_name(one)}: {_said(one)}")
        ends += [end for end in (one.ratio.point, low, high) if end is not None]
    room = 0.08 * (max(ends) - min(ends)) or 0.1
    axes.set_xlim(min(ends) - room, max(ends) + room)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    return drawn

"""What `paceline collectives` found, as a section of a page and as a page of its own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from bench.records import Collective, CollectiveRow, Sweep, Trial
from reports import collectives, collectives_chart, page
from reports.collectives import MS
from reports.text import DASH, interval, number, one_line, size

MOST_RANKS = 8  # that are shown one by one


@dataclass(frozen=True, slots=True)
class Line:
    """One request as the page shows it. `reason` None: it has its numbers. `ranks`: median of each."""

    operation: str
    size: str
    launches: int
    time: str
    interval: str | None
    min: str
    median: str
    p95: str
    max: str
    algbw: str
    busbw: str
    wire: str
    ranks: str
    exact: str
    wrong: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Block:
    """One stack and algorithm. `ran`: operations, the algorithm that did them, and the evidence."""

    label: str
    ran: list[tuple[str, str, str]]
    lines: list[Line]
    fitted: list[str]


def panel(sweep: Sweep) -> Markup:
    """The section, for any page with this package's style. Its heading has the id "collectives"."""
    template = page.environment().get_template("collectives_panel.html.jinja")
    return Markup(template.render(**_context(sweep)))  # rendered with escaping


def render_page(sweep: Sweep) -> str:
    """The whole document; it needs nothing else."""
    style = page.asset("report.css")
    names = collectives.labels(sweep.trials)
    commands = {names[launch.trial_id]: shlex.join(launch.command) for launch in sweep.launches}
    template = page.environment().get_template("collectives.html.jinja")
    return template.render(
        style=Markup(style), policy=page.policy(style), commands=list(commands.items()), **_context(sweep)
    )


def _context(sweep: Sweep) -> dict[str, Any]:
    return {
        "sweep": sweep,
        "failures": collectives.failures(sweep),
        "sentences": collectives.crossover_sentences(sweep) + collectives.wire_sentences(sweep),
        "has_wire": any(row.wire_ns for row in sweep.rows),
        "not_selectable": collectives.not_selectable(sweep),
        "charts": [_chart(sweep, collective) for collective in collectives_chart.drawn(sweep)],
        "blocks": [_block(sweep, trial) for trial in sweep.trials],
        "readings": _readings(sweep),
        "one_line": one_line,
    }


def _chart(sweep: Sweep, collective: Collective) -> dict[str, Markup]:
    return {
        name: Markup(collectives_chart.draw(sweep, collective, width))  # serialised by ElementTree, which escapes
        for name, width in (("wide", page.WIDE_INCHES), ("narrow", page.NARROW_INCHES))
    }


def _readings(sweep: Sweep) -> str:
    counts = {len(times.duration_ns) for launch in sweep.launches for rank in launch.times for times in rank}
    return " or ".join(str(count) for count in sorted(counts - {0})) or DASH


def _block(sweep: Sweep, trial: Trial) -> Block:
    rows = [row for row in sweep.rows if row.trial_id == trial.id]
    return Block(
        label=collectives.labels(sweep.trials)[trial.id],
        ran=_ran(rows),
        lines=[_line(row) for row in rows],
        fitted=[collectives.line_sentence(line) for line in sweep.lines if line.trial_id == trial.id],
    )


def _ran(rows: Sequence[CollectiveRow]) -> list[tuple[str, str, str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.algorithm:
            found.setdefault((row.algorithm, row.evidence), []).append(collectives.operation(row))
    return [(", ".join(dict.fromkeys(operations)), *ran) for ran, operations in found.items()]


def _line(row: CollectiveRow) -> Line:
    return Line(
        operation=collectives.operation(row),
        size=size(row.size_bytes),
        launches=row.launches,
        time=_ms(row.time_ns),
        interval=interval(collectives.estimate(row), MS, 3),
        min=_ms(row.min_ns),
        median=_ms(row.median_ns),
        p95=_ms(row.p95_ns),
        max=_ms(row.max_ns),
        algbw=collectives.bandwidth(row.algorithm_gb_per_s),
        busbw=collectives.bandwidth(row.bus_gb_per_s),
        wire=_ms(row.wire_ns),
        ranks=_each(row.rank_median_ns),
        exact="exact" if row.exact else "not checked",
        wrong=row.exact is False,
        reason=row.reason,
    )


def _ms(value_ns: float | None) -> str:
    return number(None if value_ns is None else value_ns * MS, 3)


def _each(medians_ns: Sequence[float]) -> str:
    """Of each rank, or of many the least and the largest."""
    if len(medians_ns) > MOST_RANKS:
        return f"{_ms(min(medians_ns))} to {_ms(max(medians_ns))}"
    return "; ".join(_ms(value) for value in medians_ns)

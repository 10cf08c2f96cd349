"""What `paceline collectives` found, as a page of its own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records import CollectiveRow, Sweep, Trial
from reports import collectives, collectives_chart, evidence
from reports.across import pages
from reports.collectives import MS
from reports.columns import Cell
from reports.text import DASH, interval, number, size

MOST_RANKS = 8  # that are shown one by one
_CONTENTS = (
    ("collectives", "What an exchange takes alone"),
    ("sizes", "Every size"),
    ("without", "Not selectable"),
    ("asked", "What was asked"),
    ("commands", "Commands"),
    ("environment", "Environment"),
    ("formulas", "How each number is made"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One request as the page shows it: line `at` of the exported rows, `cells`, and what stands in the place of each.

    `reason` None: it has its numbers. `ranks`: median of each.
    """

    at: int
    cells: Mapping[str, Cell]
    text: Mapping[str, str]
    operation: str
    launches: int
    interval: str | None
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


def render_page(sweep: Sweep) -> str:
    """The whole document; it needs nothing else."""
    names = collectives.labels(sweep.trials)
    exported, points = collectives.lines(sweep), collectives_chart.points(sweep)
    commands = {names[launch.trial_id]: shlex.join(launch.command) for launch in sweep.launches}
    not_selectable = collectives.not_selectable(sweep)
    return pages.render(
        "collectives.html.jinja",
        f"{sweep.study}: collectives",
        {"study": sweep.study, "created_utc": sweep.created_utc, "rows": exported, "points": points},
        contents=[one for one in _CONTENTS if one[0] != "without" or not_selectable],
        headings=dict(_CONTENTS),
        sweep=sweep,
        failures=collectives.failures(sweep),
        sentences=collectives.crossover_sentences(sweep) + collectives.wire_sentences(sweep),
        has_wire=any(row.wire_ns for row in sweep.rows),
        not_selectable=not_selectable,
        figures=collectives_chart.figures(sweep, points),
        blocks=[_block(sweep, trial, exported) for trial in sweep.trials],
        readings=_readings(sweep),
        commands=list(commands.items()),
        environment=evidence.environment(sweep.environment),
    )


def _readings(sweep: Sweep) -> str:
    counts = {len(times.duration_ns) for launch in sweep.launches for rank in launch.times for times in rank}
    return " or ".join(str(count) for count in sorted(counts - {0})) or DASH


def _block(sweep: Sweep, trial: Trial, exported: Sequence[Mapping[str, Cell]]) -> Block:
    own = [(at, row) for at, row in enumerate(sweep.rows) if row.trial_id == trial.id]
    return Block(
        label=collectives.labels(sweep.trials)[trial.id],
        ran=_ran([row for _, row in own]),
        lines=[_line(at, row, exported[at]) for at, row in own],
        fitted=[collectives.line_sentence(line) for line in sweep.lines if line.trial_id == trial.id],
    )


def _ran(rows: Sequence[CollectiveRow]) -> list[tuple[str, str, str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.algorithm:
            found.setdefault((row.algorithm, row.evidence), []).append(collectives.operation(row))
    return [(", ".join(dict.fromkeys(operations)), *ran) for ran, operations in found.items()]


def _line(at: int, row: CollectiveRow, cells: Mapping[str, Cell]) -> Line:
    return Line(
        at=at,
        cells=cells,
        text={
            "size_bytes": size(row.size_bytes),
            "seconds": _ms(row.time_ns),
            "seconds_min": _ms(row.min_ns),
            "seconds_median": _ms(row.median_ns),
            "seconds_p95": _ms(row.p95_ns),
            "seconds_max": _ms(row.max_ns),
            "algbw_bytes_per_second": collectives.bandwidth(row.algorithm_gb_per_s),
            "busbw_bytes_per_second": collectives.bandwidth(row.bus_gb_per_s),
            "seconds_least_on_wire": _ms(row.wire_ns),
        },
        operation=collectives.operation(row),
        launches=row.launches,
        interval=interval(collectives.estimate(row), MS, 3),
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

"""Every speed over every other of the same kind of sample: what the summary shows when it is switched to relative."""

from __future__ import annotations

from collections.abc import Sequence

from bench import stats
from reports import compare
from reports.columns import Cell, plain, spread
from reports.table import Row, bounded

# One sample of two trials that agree in these is the same amount of work, however it is done and by how many.
SAME_SAMPLE = ("workload.task", "workload.model", "workload.data", "workload.sequence_length", "workload.vocabulary")
# Of more trials in a run, only the fastest of each kind is a base: every pair would be more than the page is for.
MOST_BASES = 40


def lines(rows: Sequence[Row], quick: bool = False) -> list[dict[str, Cell]]:
    """A line per pair: samples per second of `trial_id` over those of `against`, with a 95 % interval; a ratio of
    speeds is no verdict, which also asks for equal work."""
    made: list[dict[str, Cell]] = []
    for kind in _kinds(rows):
        bases = kind if len(kind) <= MOST_BASES else kind[:1]
        made += [_line(row, base, quick) for base in bases for row in kind]
    return made


def fastest(rows: Sequence[Row]) -> dict[str, str]:
    """Trial id to that of the fastest trial of its kind of sample."""
    return {row.trial_id: kind[0].trial_id for kind in _kinds(rows) for row in kind}


def _kinds(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows with a speed whose samples are of one kind, fastest first."""
    groups: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        if row.measured:
            kind = repr(sorted(compare.key(row.trial, SAME_SAMPLE).items()))
            groups.setdefault(kind, []).append((row.measured.samples_per_second.point, row))
    return [[row for _, row in sorted(group, key=lambda pair: -pair[0])] for group in groups.values()]


def _line(row: Row, base: Row, quick: bool) -> dict[str, Cell]:
    found = None
    if row.measured and base.measured and row is not base:
        found = bounded(stats.ratio(row.measured.launch_rates, base.measured.launch_rates), quick)
    cells = spread("ratio", found) if found else {"ratio": 1.0, "ratio_low": None, "ratio_high": None}
    return {
        "trial_id": row.trial_id,
        "against": base.trial_id,
        **{name: plain(value) for name, value in cells.items()},
    }

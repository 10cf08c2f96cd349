"""What `paceline trace` found, in columns of its own: figures of a timeline, another definition than the ladder's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.records import RankTrace, Traced
from bench.stats import Estimate
from bench.storage import Damaged, unseal
from reports.columns import plain
from reports.ladder import Climb
from reports.load import LoadedRun
from reports.table import Row
from reports.text import number, percent

SAID_RANKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedRow:
    """One traced trial. `ladder`: its exposed communication by the other definition, None where it has no ladder."""

    row: Row
    reason: str | None
    slow_down: float | None
    ranks: tuple[RankTrace, ...]
    ladder: Estimate | None


def traced_rows(run: LoadedRun, found: Sequence[Row], climbs: Sequence[Climb]) -> list[TracedRow]:
    """Of those trials that were traced, in the order of the report; none of a run without traces."""
    exposed = {climb.row.trial_id: climb.ladder.exposed for climb in climbs}
    kept = {path.parent.name: path for path in (run.folder / "traces").glob("*/traces.json")}
    rows = []
    for row in found:
        if row.trial_id not in kept:
            continue
        part = exposed.get(row.trial_id)
        ladder = part.ms if part else None
        try:
            traced = unseal(kept[row.trial_id].read_bytes(), Traced)
        except (OSError, Damaged) as damage:
            rows.append(TracedRow(row=row, reason=str(damage), slow_down=None, ranks=(), ladder=ladder))
            continue
        rows.append(
            TracedRow(
                row=row, reason=traced.error, slow_down=traced.slow_down, ranks=tuple(traced.ranks), ladder=ladder
            )
        )
    return rows


def view(run: LoadedRun, found: Sequence[Row], climbs: Sequence[Climb]) -> dict[str, Any] | None:
    """What the page's section needs; None of a run without traces."""
    rows = traced_rows(run, found, climbs)
    return {"rows": rows, "sources": sources(rows), "slower": slower} if rows else None


def as_columns(found: TracedRow) -> list[dict[str, Any]]:
    """What JSON writes of it, a line a rank: milliseconds per step, shares 0 to 1. None is unknown."""
    return [
        {
            "trial_id": found.row.trial_id,
            "label": found.row.label,
            "rank": rank.rank,
            "host": rank.host,
            "source": rank.source,
            "steps": rank.steps,
            "traced_step_ms": plain(per_step_ms(rank, rank.duration_ns)),
            "traced_communication_ms": plain(per_step_ms(rank, rank.communication_ns)),
            "traced_exposed_ms": plain(per_step_ms(rank, rank.exposed_ns)),
            "traced_compute_ms": plain(per_step_ms(rank, rank.compute_ns)),
            "traced_overlap": plain(rank.overlap),
            "slow_down": plain(found.slow_down),
        }
        for rank in found.ranks
    ]


def per_step_ms(rank: RankTrace, duration_ns: int | None) -> float | None:
    """Milliseconds per step."""
    return None if duration_ns is None or not rank.steps else duration_ns / rank.steps / 1e6


def slower(found: float | None) -> str:
    """What the trace itself costs, as a factor.

    >>> slower(1.234)
    '1.23 times'
    """
    return "unknown" if found is None else f"{found:.2f} times"


def sources(found: Sequence[TracedRow]) -> list[tuple[str, str]]:
    """(label, sentence) of what saw each trial's first rank: the one that is said to see most."""
    return [(row.row.label, row.ranks[0].source) for row in found if row.ranks]


def sentence(traced: Traced) -> str:
    """One trial for a terminal."""
    if traced.error is not None:
        return f"not traced: {traced.error}"
    said = [_rank(rank) for rank in traced.ranks[:SAID_RANKS]]
    if len(traced.ranks) > SAID_RANKS:
        said.append(f"and {len(traced.ranks) - SAID_RANKS} more ranks")
    return f"{'; '.join(said)}; a traced window takes {slower(traced.slow_down)} an untraced one"


def _rank(rank: RankTrace) -> str:
    step = f"rank {rank.rank} {number(per_step_ms(rank, rank.duration_ns), 3)} ms a step"
    if rank.communication_ns is None:
        return f"{step}, nothing tells when it communicates"
    total, exposed = (number(per_step_ms(rank, part), 3) for part in (rank.communication_ns, rank.exposed_ns))
    hidden = "" if rank.overlap is None else f" ({percent(rank.overlap)} hidden)"
    return f"{step}, communication {total}, exposed {exposed}{hidden}"

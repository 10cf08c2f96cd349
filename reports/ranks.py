"""Rank by rank: how long each one takes, who is late, and on which host. Thousands of ranks are told in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench import stats
from bench.records import TrialResult
from bench.stats import Readiness
from reports import measure
from reports.columns import plain
from reports.ladder import Climb
from reports.load import LoadedRun, once
from reports.table import Row

SINGLE = 64  # so many ranks are told one by one, more of them in as many groups at most
LATE_RANKS = 16  # so many are named, the latest first
OFTEN = 0.1  # in fewer of the windows, or less than twice as often as the median rank, anybody may be late


@dataclass(frozen=True, slots=True)
class Strip:
    """One trial of several ranks. `hosts`: of each rank, all that it was on where launches differ.

    measured  "ready": until the exchange, from windows without one; "window": whole ones, in which the ranks wait for
              each other
    """

    row: Row
    measured: Literal["ready", "window"]
    readiness: Readiness
    hosts: tuple[str, ...]

    @property
    def groups(self) -> list[range]:
        """Neighbouring ranks; single ones up to SINGLE."""
        ranks = len(self.hosts)
        size = -(-ranks // SINGLE)
        return [range(first, min(first + size, ranks)) for first in range(0, ranks, size)]

    @property
    def late(self) -> list[int]:
        """The latest ranks: chronic ones, then those that are often late, in most windows first."""
        ready, chronic = self.readiness, set(self.readiness.chronic)
        often = max(OFTEN, 2 * (stats.quantile(ready.late_share, 0.5) or 0.0))
        found = [rank for rank, share in enumerate(ready.late_share) if share >= often or rank in chronic]
        found.sort(key=lambda rank: (rank not in chronic, -ready.late_share[rank], -ready.late_ms[rank]))
        return found[:LATE_RANKS]


@once
def strips(run: LoadedRun, rows: Sequence[Row], climbs: Sequence[Climb]) -> list[Strip]:
    """Of every trial of several ranks that shows a speed, in the order of the study."""
    results = {result.trial_id: result for result in run.result.trials}
    climbed = {climb.row.trial_id: climb.readiness for climb in climbs}
    found = []
    for row in rows:
        result = results[row.trial_id]
        if row.measured is None or len(result.repeats[0].hosts) < 2:
            continue
        ready = climbed.get(row.trial_id)
        readiness = ready or _of_whole_windows(run, result)
        if readiness is not None:
            found.append(Strip(row, "ready" if ready else "window", readiness, _hosts(result)))
    return found


def _of_whole_windows(run: LoadedRun, result: TrialResult) -> Readiness | None:
    launches = measure.counted(result, run.windows)
    return stats.readiness(np.concatenate([(one.column("duration_ns") / one.steps / 1e6).T for one in launches]))


def _hosts(result: TrialResult) -> tuple[str, ...]:
    of_ranks = zip(*[repeat.hosts for repeat in result.repeats], strict=True)
    return tuple(", ".join(dict.fromkeys(hosts)) for hosts in of_ranks)


def lines(found: Sequence[Strip]) -> list[dict[str, Any]]:
    """What JSON writes of all of them."""
    return [line for one in found for line in as_columns(one)]


def as_columns(found: Strip) -> list[dict[str, Any]]:
    """A line for each group in order of rank, then one for each of the latest ranks where groups hide them. ms per
    step, medians over the windows of all launches; of a group the least, the median and the greatest of its ranks'."""
    groups = found.groups
    told = [_line(found, group) for group in groups]
    single = len(groups) == len(found.hosts)
    return told if single else told + [_line(found, range(rank, rank + 1)) for rank in found.late]


def _line(found: Strip, group: range) -> dict[str, Any]:
    ready = found.readiness
    ms = [ready.ready_ms[rank] for rank in group]
    return {
        "trial_id": found.row.trial_id,
        "label": found.row.label,
        "replicas": found.row.trial.replicas,
        "measured": found.measured,
        "windows": ready.windows,
        "first_rank": group[0],
        "last_rank": group[-1],
        "hosts": _span([found.hosts[rank] for rank in group]),
        "ms_min": plain(min(ms)),
        "ms_median": plain(stats.quantile(ms, 0.5)),
        "ms_max": plain(max(ms)),
        "late_share_max": plain(max(ready.late_share[rank] for rank in group)),
        "late_ms_max": plain(max(ready.late_ms[rank] for rank in group)),
        "chronic_ranks": sum(group[0] <= rank <= group[-1] for rank in ready.chronic),
    }


def _span(hosts: Sequence[str]) -> str:
    known = list(dict.fromkeys(hosts))
    return known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}"

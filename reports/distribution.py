"""Step times as they came: every window in order, where warm-up ends, the quantiles, what lies far out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.stats import Integers
from reports import measure
from reports.columns import plain
from reports.load import LoadedRun, once
from reports.measure import Measured
from reports.table import Row
from reports.windows import Flags, LaunchWindows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The job's windows of one launch in order, warm-up included, local ones left out.

    index     of each window, axis (window)
    step_ms   of the slowest rank, likewise
    counts    whether it is no warm-up, likewise
    """

    launch: int
    index: Integers
    step_ms: Floats
    counts: Flags

    @property
    def counted(self) -> Floats:
        """Step times of those that count."""
        return self.step_ms[self.counts]

    @property
    def warmup(self) -> int:
        """How many do not."""
        return int((~self.counts).sum())


@dataclass(frozen=True, slots=True)
class Distribution:
    """One trial with a speed. `fences`: step times beyond them are outliers; None: too few windows to say."""

    row: Row
    measured: Measured
    series: tuple[Series, ...]
    fences: tuple[float, float] | None

    @property
    def counted(self) -> Floats:
        """Of all launches."""
        return np.concatenate([one.counted for one in self.series])


@once
def distributions(run: LoadedRun, rows: Sequence[Row]) -> list[Distribution]:
    """Of every trial that shows a speed, in the order of the study."""
    results = {result.trial_id: result for result in run.result.trials}
    found = []
    for row in rows:
        if row.measured is None:
            continue
        launches = [run.windows.launch(row.trial_id, one.repeat) for one in results[row.trial_id].repeats]
        series = tuple(
            _series(repeat.repeat, launch)
            for repeat, launch in zip(results[row.trial_id].repeats, launches, strict=True)
        )
        found.append(
            Distribution(row, row.measured, series, stats.fences(np.concatenate([one.counted for one in series])))
        )
    return found


def _series(repeat: int, launch: LaunchWindows) -> Series:
    full = launch.where(launch.exchange)
    step_ms = measure.pace(full).duration_ns / full.steps / 1e6
    return Series(launch=repeat, index=full.index, step_ms=step_ms, counts=~full.warmup)


def lines(found: Sequence[Distribution]) -> list[dict[str, Any]]:
    """What JSON writes of all of them."""
    return [line for one in found for line in as_columns(one)]


def as_columns(found: Distribution) -> list[dict[str, Any]]:
    """A line for all launches together (`launch` None), the numbers of the summary; then one a launch. Step times in
    ms; the windows that count, and of how many launches."""
    whole = found.measured
    known = (whole.step_ms_median, whole.step_ms_p95, whole.step_ms_p99)
    first = _line(found, None, found.counted, known)
    first |= {"warmup_windows": sum(one.warmup for one in found.series), "outliers": whole.outliers}
    return [first, *(_of_launch(found, one) for one in found.series)]


def _of_launch(found: Distribution, one: Series) -> dict[str, Any]:
    line = _line(found, one.launch, one.counted, measure.quantiles(one.counted))
    return line | {"warmup_windows": one.warmup, "outliers": stats.num_outliers(one.counted)}


def _line(
    found: Distribution, launch: int | None, counted: Floats, known: tuple[float | None, float | None, float | None]
) -> dict[str, Any]:
    p50, p95, p99 = known
    return {
        "trial_id": found.row.trial_id,
        "label": found.row.label,
        "replicas": found.row.trial.replicas,
        "launch": launch,
        "windows": len(counted),
        "warmup_windows": None,
        "outliers": None,
        "step_ms_min": plain(float(counted.min())),
        "step_ms_p50": plain(p50),
        "step_ms_p95": plain(p95),
        "step_ms_p99": plain(p99),
        "step_ms_max": plain(float(counted.max())),
    }

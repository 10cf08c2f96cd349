"""What more launches would do for a comparison that these leave open."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench import stats
from bench.records import Result
from bench.stats import LAUNCHES_FOR_INTERVAL, Estimate
from reports.table import Row
from reports.text import percents

LAUNCHES = 10


def next_step(result: Result, fast: Row, slow: Row) -> str | None:
    """A sentence; None where the launches cannot tell, or are as many already."""
    if fast.measured is None or slow.measured is None:
        return None
    rates = (fast.measured.launch_rates, slow.measured.launch_rates)
    if not min(map(len, rates)) >= LAUNCHES_FOR_INTERVAL or max(map(len, rates)) >= LAUNCHES:
        return None
    expected = percents(_expected(rates))
    took_s = [repeat.wall_ns / 1e9 for trial in result.trials for repeat in trial.repeats]
    trials = sum(bool(trial.repeats) for trial in result.trials)
    minutes = max(1, round(sum(took_s) / len(took_s) * trials * LAUNCHES / 60))
    return (
        f"`repeats: {LAUNCHES}` (about {minutes} min in all) would narrow {fast.label} against {slow.label} to about "
        f"{expected}, if launches vary as these did."
    )


def _expected(rates: Sequence[Sequence[float]]) -> Estimate:
    """The ratio's interval about 1, with LAUNCHES launches each whose logs have the variances seen."""
    expected = stats.ratio(*map(_as_varied, rates))
    assert expected is not None  # neither side is empty
    return expected


def _as_varied(rates: Sequence[float]) -> list[float]:
    """Half of the LAUNCHES above and half below 1, so that the variance of their logs is that of `rates`."""
    apart = math.sqrt(float(np.var(np.log(rates), ddof=1)) * (LAUNCHES - 1) / LAUNCHES)
    return [math.exp(apart), math.exp(-apart)] * (LAUNCHES // 2)

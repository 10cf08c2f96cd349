"""What more launches would do for a comparison that these leave open."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

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
    """Welch's interval of the ratio with LAUNCHES launches each, about 1, the variances being those seen."""
    from scipy import special

    variances = [float(np.var(np.log(of), ddof=1)) / LAUNCHES for of in rates]
    total = sum(variances)
    freedom = total**2 / sum(one**2 / (LAUNCHES - 1) for one in variances) if total else LAUNCHES - 1.0
    half = float(special.stdtrit(freedom, 0.975)) * math.sqrt(total)
    return Estimate(1.0, math.exp(-half), math.exp(half), LAUNCHES)

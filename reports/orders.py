"""Where the median of the windows and the mean of the launches rank two compared trials differently."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from bench import stats
from bench.records import Result
from reports.measure import Measured
from reports.table import Row
from reports.text import number
from reports.verdict import contests

MOST = 3  # pairs that are told


def flips(result: Result, rows: Sequence[Row]) -> list[str]:
    """A sentence for each pair of compared trials, the first few, and one for how many more."""
    pairs = [pair for group in contests(result, rows) for pair in itertools.combinations(group, 2)]
    told = [sentence for one, other in pairs if (sentence := _flip(one, other))]
    told = list(dict.fromkeys(told))
    return told[:MOST] + ([f"So it is with {len(told) - MOST} more pairs."] if len(told) > MOST else [])


def _flip(fast: Row, slow: Row) -> str | None:
    """`fast` has the higher samples per second."""
    one, other = fast.measured, slow.measured
    if one is None or other is None or one.step_ms_median is None or other.step_ms_median is None:
        return None
    if one.step_ms_median <= other.step_ms_median:
        return None
    medians = f"{number(other.step_ms_median)} against {number(one.step_ms_median)} ms"
    means = f"{number(other.samples_per_second.point)} against {number(one.samples_per_second.point)}"
    shorter = f"{slow.label} has the shorter median step ({medians}) but fewer samples/s than {fast.label} ({means})"
    return f"{shorter}: {_because(fast, one, slow, other)}."


def _because(fast: Row, one: Measured, slow: Row, other: Measured) -> str:
    """The launch without which the means would be in the order of the medians, where there is one."""
    quickest = max(range(len(one.launch_rates)), key=lambda at: one.launch_rates[at])
    slowest = min(range(len(other.launch_rates)), key=lambda at: other.launch_rates[at])
    if _mean(one, quickest) < _mean(other):
        return (
            f"launch {quickest} of {fast.label} ({number(one.launch_rates[quickest])} samples/s) makes the difference"
        )
    if _mean(other, slowest) > _mean(one):
        return (
            f"launch {slowest} of {slow.label} ({number(other.launch_rates[slowest])} samples/s) makes the difference"
        )
    return "the mean weighs long windows, the median does not"


def _mean(found: Measured, without: int | None = None) -> float:
    """Geometric, of the launches but one; 0 of none."""
    mean = stats.over_launches([rate for at, rate in enumerate(found.launch_rates) if at != without])
    return mean.point if mean else 0.0

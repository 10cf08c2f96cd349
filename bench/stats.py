"""Numbers in, numbers out. Each formula has its one home here; nothing is read, printed or remembered.

The unit of replication is the launch: windows of one launch are correlated, so intervals are taken over
launches. Rates and ratios are multiplicative, so their logarithms are averaged (a geometric mean).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

LAUNCHES_FOR_INTERVAL = 3
CONFIDENCE = 0.95
# A difference below this is not worth a change of stack, however sure it is.
PRACTICAL_DIFFERENCE = 0.02


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point never travels alone: `low` and `high` bound the 95 % interval, None below three launches."""

    point: float
    low: float | None
    high: float | None
    launches: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Windows of the whole job, axis (window), in order of index.

    duration_ns  of the slowest rank: a synchronous job runs at its speed
    samples      of all ranks together
    skew_ns      slowest minus fastest rank
    """

    index: Integers
    samples: Integers
    duration_ns: Integers
    skew_ns: Integers


def pace(index: Sequence[int], samples: Sequence[int], duration_ns: Sequence[int]) -> Pace:
    """Ranks to job: one entry per rank and window in, axis (rank x window) in any order; max of times, sum of samples.

    >>> pace([0, 0], [40, 40], [50, 60]).duration_ns.tolist()
    [60]
    """
    windows, place = np.unique(np.asarray(index, np.int64), return_inverse=True)
    durations = np.asarray(duration_ns, np.int64)
    total = np.zeros(len(windows), np.int64)
    slowest = np.full(len(windows), np.iinfo(np.int64).min)
    fastest = np.full(len(windows), np.iinfo(np.int64).max)
    np.add.at(total, place, np.asarray(samples, np.int64))
    np.maximum.at(slowest, place, durations)
    np.minimum.at(fastest, place, durations)
    return Pace(windows, total, slowest, slowest - fastest)


def throughput(samples: Sequence[int] | Integers, duration_ns: Sequence[int] | Integers) -> float | None:
    """Total over total, per second: sum of samples / sum of window times; never a mean of rates. None without time.

    >>> throughput([80, 80], [60_000_000, 100_000_000])
    1000.0
    """
    nanoseconds = int(np.sum(np.asarray(duration_ns, np.int64)))
    return int(np.sum(np.asarray(samples, np.int64))) / (nanoseconds / 1e9) if nanoseconds > 0 else None


def over_launches(values: Sequence[float]) -> Estimate | None:
    """Geometric mean over launches; Student's t on the logarithms from three launches on. None of nothing.

    With m and s the mean and standard deviation (n - 1) of the logs: exp(m -+ t(0.975, n - 1) s / sqrt(n)).
    """
    return _estimate([_logs(values)], [1.0])


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Estimate | None:
    """Geometric mean of `numerator` over that of `denominator`; Welch's t on the logs, both sides resampled by launch.

    `launches` is the smaller count. None where either side is empty.
    """
    return _estimate([_logs(numerator), _logs(denominator)], [1.0, -1.0])


def scaling_efficiency(rates: Sequence[float], baseline_rates: Sequence[float], replicas: int) -> Estimate | None:
    """Weak scaling: R(N) / (N R(1)); 1.0 is perfect. The interval is the ratio's, divided by N."""
    found = ratio(rates, baseline_rates)
    if found is None:
        return None
    low, high = (None if bound is None else bound / replicas for bound in (found.low, found.high))
    return Estimate(found.point / replicas, low, high, found.launches)


def differs(comparison: Estimate, threshold: float = PRACTICAL_DIFFERENCE) -> bool | None:
    """True when the ratio's whole interval lies beyond 1 by `threshold`; None where there is no interval."""
    if comparison.low is None or comparison.high is None:
        return None
    return comparison.low > 1 + threshold or comparison.high < 1 / (1 + threshold)


def relative_difference(given: float, expected: float) -> float:
    """|given - expected| / |expected|; of an expected 0, |given|.

    >>> relative_difference(2.5, 2.0)
    0.25
    """
    return abs(given - expected) / (abs(expected) or 1.0)


def quantile(values: Sequence[float] | NDArray[Any], probability: float) -> float | None:
    """Linear between order statistics (Hyndman and Fan's type 7). None of nothing."""
    return float(np.quantile(np.asarray(values, np.float64), probability)) if len(values) else None


def _logs(values: Sequence[float]) -> list[float]:
    if any(not math.isfinite(value) or value <= 0 for value in values):
        raise ValueError(f"rates must be finite and positive, got {list(values)}")
    return [math.log(value) for value in values]


def _estimate(groups: list[list[float]], signs: list[float]) -> Estimate | None:
    """exp of the signed sum of group means; standard errors add in squares, degrees of freedom by Welch-Satterthwaite.

    With one group this is the ordinary t interval: (v/n)^2 / ((v/n)^2 / (n - 1)) = n - 1.
    """
    launches = min(len(group) for group in groups)
    if launches == 0:
        return None
    point = sum(sign * float(np.mean(group)) for sign, group in zip(signs, groups, strict=True))
    if launches < LAUNCHES_FOR_INTERVAL:
        return Estimate(math.exp(point), None, None, launches)
    parts = [float(np.var(group, ddof=1)) / len(group) for group in groups]
    if sum(parts) == 0:
        return Estimate(math.exp(point), math.exp(point), math.exp(point), launches)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(group) - 1) for part, group in zip(parts, groups, strict=True))
    from scipy import special  # slow to import, and only intervals need it

    half = float(special.stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * math.sqrt(sum(parts))
    return Estimate(math.exp(point), math.exp(point - half), math.exp(point + half), launches)

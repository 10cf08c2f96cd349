"""From the windows of one launch to its rate, and what describes their spread. No interval comes from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


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


def pace_of_ranks(index: Integers, samples: Integers, duration_ns: Integers) -> Pace:
    """The same of a whole launch, whose ranks all have the same windows: axes (window) of `index`, else (rank, window).

    >>> pace_of_ranks(np.array([3]), np.array([[40], [40]]), np.array([[50], [60]])).skew_ns.tolist()
    [10]
    """
    slowest = duration_ns.max(axis=0)
    return Pace(index, samples.sum(axis=0), slowest, slowest - duration_ns.min(axis=0))


def throughput(samples: Sequence[int] | Integers, duration_ns: Sequence[int] | Integers) -> float | None:
    """Total over total, per second: sum of samples / sum of window times; never a mean of rates. None without time.

    >>> throughput([80, 80], [60_000_000, 100_000_000])
    1000.0
    """
    nanoseconds = int(np.sum(np.asarray(duration_ns, np.int64)))
    return int(np.sum(np.asarray(samples, np.int64))) / (nanoseconds / 1e9) if nanoseconds > 0 else None


def quantile(values: Sequence[float] | NDArray[Any], probability: float) -> float | None:
    """Linear between order statistics (Hyndman and Fan's type 7). None of nothing.

    Of n values the p-quantile with n < 1 / (1 - p) is all but the largest value: p99 wants a hundred windows.
    """
    return float(np.quantile(np.asarray(values, np.float64), probability)) if len(values) else None


def num_outliers(values: Sequence[float] | NDArray[Any]) -> int:
    """How many lie beyond the fences. For counting only: they stay in every estimate, because a job pays for its slow
    windows.

    >>> num_outliers([10, 11, 12, 13, 14, 30])
    1
    """
    array, found = np.asarray(values, np.float64), fences(values)
    return 0 if found is None else int(np.sum((array < found[0]) | (array > found[1])))


def fences(values: Sequence[float] | NDArray[Any]) -> tuple[float, float] | None:
    """1.5 quartile ranges beyond the quartiles (Tukey, 1977). None of fewer than four values.

    >>> fences([10, 11, 12, 13, 14])
    (8.0, 16.0)
    """
    if len(values) < 4:
        return None
    low, high = np.quantile(np.asarray(values, np.float64), [0.25, 0.75])
    reach = 1.5 * (high - low)
    return float(low - reach), float(high + reach)

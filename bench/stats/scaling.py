"""Scaling: speed-up, efficiency, and the curves that explain them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimates import Estimate, ratio

_ROUNDING = 1e-9


def scaling_efficiency(rates: Sequence[float], baseline_rates: Sequence[float], replicas: int) -> Estimate | None:
    """Weak scaling: R(N) / (N R(1)); 1.0 is perfect. The interval is the ratio's, divided by N."""
    return _divided(ratio(rates, baseline_rates), replicas)


def strong_efficiency(times: Sequence[float], baseline_times: Sequence[float], replicas: int) -> Estimate | None:
    """Strong scaling: T(1) / (N T(N)), times of a step of one and the same global batch; 1.0 is perfect."""
    return _divided(ratio(baseline_times, times), replicas)


def speed_up(times: Sequence[float], baseline_times: Sequence[float]) -> Estimate | None:
    """T(1) / T(N), times of the same samples; N is perfect. A step has the same samples at a fixed global batch; at a
    fixed batch per replica, times per sample are to be given (the scaled speed-up)."""
    return ratio(baseline_times, times)


def is_suspect(efficiency: Estimate) -> bool:
    """Above 1 with the whole interval, or, where there is none, with the point: caches aside, the baseline or the work
    is then not what it seems. An interval that holds 1 says that chance suffices."""
    return (efficiency.point if efficiency.low is None else efficiency.low) > 1 + _ROUNDING


@dataclass(frozen=True, slots=True)
class Amdahl:
    """T(N) = T(1) (serial + (1 - serial) / N) (Amdahl, AFIPS 1967). `single` is T(1), in the unit of the times."""

    single: float
    serial: float

    def time(self, replicas: float) -> float:
        return self.single * (self.serial + (1 - self.serial) / replicas)


def fit_amdahl(replicas: Sequence[int], times: Sequence[float]) -> Amdahl | None:
    """Least squares of relative error, both parts at least 0. None below two different replica counts.

    Linear in T(1) serial (column 1) and T(1) (1 - serial) (column 1 / N).
    """
    sizes = np.asarray(replicas, np.float64)
    found = _fit([np.ones_like(sizes), 1 / sizes], times)
    if found is None or sum(found) == 0:
        return None
    return Amdahl(found[0] + found[1], found[0] / (found[0] + found[1]))


@dataclass(frozen=True, slots=True)
class LatencyBandwidth:
    """T(N) = work + 2 (N - 1) latency + 2 (N - 1) / N message: a step, then a ring all-reduce.

    Thakur, Rabenseifner and Gropp, IJHPCA 19 (2005): 2 (N - 1) messages of 1 / N of the gradients each.
    `message` is the time that all gradients take at full bandwidth, so bandwidth = gradient bytes / message.
    The work is `alone`, the step of one replica; `divided` (fixed global batch): alone / N. All in the unit of the
    times.
    """

    alone: float
    latency: float
    message: float
    divided: bool = False

    def time(self, replicas: float) -> float:
        work = self.alone / replicas if self.divided else self.alone
        return work + 2 * (replicas - 1) * (self.latency + self.message / replicas)


def fit_latency_bandwidth(
    replicas: Sequence[int], times: Sequence[float], divided: bool = False
) -> LatencyBandwidth | None:
    """Least squares of relative error over times of a step, all parts at least 0. None below three different replica
    counts. `divided`: the batch of the whole job is fixed, not that of a replica."""
    sizes = np.asarray(replicas, np.float64)
    work = 1 / sizes if divided else np.ones_like(sizes)
    found = _fit([work, 2 * (sizes - 1), 2 * (sizes - 1) / sizes], times)
    if found is None:
        return None
    alone, latency, message = found
    return LatencyBandwidth(alone, latency, message, divided)


def largest_deviation(curve: Amdahl | LatencyBandwidth, replicas: Sequence[int], times: Sequence[float]) -> float:
    """Of the curve from any of the times, relative to it; 0 of none. With as many parts as replica counts a curve can
    pass through all of them, and a small deviation then says nothing."""
    deviations = [abs(curve.time(size) / time - 1) for size, time in zip(replicas, times, strict=True)]
    return max(deviations, default=0.0)


def _divided(found: Estimate | None, replicas: int) -> Estimate | None:
    if found is None:
        return None
    low, high = (None if bound is None else bound / replicas for bound in (found.low, found.high))
    return Estimate(found.point / replicas, low, high, found.launches)


def _fit(columns: Sequence[NDArray[np.float64]], times: Sequence[float]) -> list[float] | None:
    """Coefficients, none negative, that minimise the sum of ((model - time) / time)^2.

    Those of the optimum that are not 0 are the ordinary least squares of their own columns. Of two or three columns all
    choices are soon tried; scipy's NNLS finds the same, and takes a third of a second to import.
    """
    design = np.stack(columns, axis=-1)
    if np.linalg.matrix_rank(design) < len(columns):
        return None
    relative = design / np.asarray(times, np.float64)[:, None]
    least, best = float(len(times)), np.zeros(len(columns))  # the model that is 0 everywhere
    for count in range(1, len(columns) + 1):
        for kept in itertools.combinations(range(len(columns)), count):
            found = np.zeros(len(columns))
            found[list(kept)] = np.linalg.lstsq(relative[:, kept], np.ones(len(relative)))[0]
            error = float(np.sum((relative @ found - 1) ** 2))
            if found.min() >= 0 and error < least:
                least, best = error, found
    return [float(value) for value in best]

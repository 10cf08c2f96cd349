"""Points with intervals: over launches, between two trials, between all of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

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
class Contrast:
    """A signed sum of mean logarithms, with its standard error and Student's degrees of freedom.

    Axes: those of the studies, the launches being averaged away; of one study, scalars. An error of 0 (all launches
    tie) gives bounds without width.
    """

    point: Floats
    error: Floats
    freedom: Floats

    def bound(self, probability: float) -> Floats:
        """The `probability` quantile of Student's t about the point: below 0.5 a lower bound, above an upper one."""
        from scipy import special  # slow to import, and only intervals need it

        bound: Floats = self.point + special.stdtrit(self.freedom, probability) * self.error
        return bound

    def tail(self, edge: float) -> Floats:
        """One-sided p-value of "the true value is at most `edge`": small when the point lies far above it."""
        from scipy import special

        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.nan_to_num((edge - self.point) / self.error, nan=0.0)
        tail: Floats = special.stdtr(self.freedom, distance)
        return tail


def contrast(
    groups: Sequence[NDArray[Any]], signs: Sequence[float], extra: Sequence[tuple[float, float]] = ()
) -> Contrast:
    """Of logarithms, axes (study, ..., launch), two launches a group at least: sum of sign x group mean.

    Variances of means, s^2 / n, add up; degrees of freedom as Welch (Biometrika 34, 1947) and Satterthwaite have
    them: (sum v)^2 / sum(v^2 / freedom). One group: (v^2) / (v^2 / (n - 1)) = n - 1, the ordinary t interval.
    `extra` variances with their degrees of freedom join the sum.
    """
    point = sum(sign * np.mean(group, axis=-1) for sign, group in zip(signs, groups, strict=True))
    parts = [(np.var(group, axis=-1, ddof=1) / group.shape[-1], group.shape[-1] - 1.0) for group in groups]
    parts += [(np.asarray(variance), freedom) for variance, freedom in extra]
    total = sum(variance for variance, _ in parts)
    weighed = sum(variance**2 / freedom for variance, freedom in parts)
    with np.errstate(invalid="ignore"):
        freedom = np.where(total > 0, np.square(total) / weighed, 1.0)
    return Contrast(np.asarray(point), np.sqrt(total), freedom)


def over_launches(values: Sequence[float]) -> Estimate | None:
    """Geometric mean over launches; Student's t on the logarithms from three launches on. None of nothing.

    With m and s the mean and standard deviation (n - 1) of the logs: exp(m -+ t(0.975, n - 1) s / sqrt(n)).
    """
    return _estimate([values], [1.0])


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Estimate | None:
    """Geometric mean of `numerator` over that of `denominator`; Welch's t on the logs, both sides vary by launch.

    `launches` is the smaller count. None where either side is empty.
    """
    return _estimate([numerator, denominator], [1.0, -1.0])


def differs(comparison: Estimate, threshold: float = PRACTICAL_DIFFERENCE) -> bool | None:
    """True when the ratio's whole interval lies beyond 1 by `threshold`; None where there is no interval."""
    if comparison.low is None or comparison.high is None:
        return None
    return comparison.low > 1 + threshold or comparison.high < 1 / (1 + threshold)


@dataclass(frozen=True, slots=True)
class Difference:
    """Two of several trials: `one` and `other` are their places, `ratio` the first over the second, on its own.

    p_value   two-sided, of "the ratio lies within the practical threshold of 1"; None without an interval
    adjusted  the same for the whole table, by Holm's procedure
    shown     adjusted <= 0.05
    """

    one: int
    other: int
    ratio: Estimate
    p_value: float | None
    adjusted: float | None
    shown: bool | None


def differences(rates: Sequence[Sequence[float]], threshold: float = PRACTICAL_DIFFERENCE) -> list[Difference]:
    """Every trial against every other, in order of place, launches per trial given; no trial may be empty.

    A single pair is shown exactly when `differs` says so. In a table of m pairs, 5 % of a table's honest ties would
    be claimed m times over: Holm's step-down procedure keeps the chance of any false claim in the table at 5 %.
    """
    pairs = list(itertools.combinations(range(len(rates)), 2))
    ratios = [_of_two(rates[one], rates[other]) for one, other in pairs]
    p_values = [_p_value(rates[one], rates[other], threshold) for one, other in pairs]
    judged = iter(holm([p_value for p_value in p_values if p_value is not None]))
    adjusted = [None if p_value is None else next(judged) for p_value in p_values]
    return [
        Difference(*pair, found, p_value, of_table, None if of_table is None else of_table <= 1 - CONFIDENCE)
        for pair, found, p_value, of_table in zip(pairs, ratios, p_values, adjusted, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order (Holm, Scand. J. Statistics 6, 1979): the i-th smallest of m, counted
    from 0, times m - i, none below the one before it, none above 1.

    >>> holm([0.03, 0.01, 0.02])
    [0.04, 0.03, 0.04]
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = running
    return adjusted


def relative_difference(given: float, expected: float) -> float:
    """|given - expected| / |expected|; of an expected 0, |given|.

    >>> relative_difference(2.5, 2.0)
    0.25
    """
    return abs(given - expected) / (abs(expected) or 1.0)


def logarithms(values: Sequence[float]) -> Floats:
    """Of rates or times, axis (launch). Raises ValueError for what is none."""
    if any(not math.isfinite(value) or value <= 0 for value in values):
        raise ValueError(f"rates must be finite and positive, got {list(values)}")
    return np.log(np.asarray(values, np.float64))


def _of_two(one: Sequence[float], other: Sequence[float]) -> Estimate:
    found = ratio(one, other)
    if found is None:
        raise ValueError("a trial without a launch cannot be compared")
    return found


def _p_value(one: Sequence[float], other: Sequence[float], threshold: float) -> float | None:
    """Twice the smaller tail beyond the nearer edge of the band 1 / (1 + threshold) to 1 + threshold."""
    if min(len(one), len(other)) < LAUNCHES_FOR_INTERVAL:
        return None
    groups, edge = [logarithms(one), logarithms(other)], math.log1p(threshold)
    tails = [contrast(groups, signs).tail(edge) for signs in ([1.0, -1.0], [-1.0, 1.0])]
    return min(1.0, 2 * float(min(tails)))


def _estimate(groups: Sequence[Sequence[float]], signs: Sequence[float]) -> Estimate | None:
    launches = min(len(group) for group in groups)
    logs = [logarithms(group) for group in groups]
    if launches == 0:
        return None
    if launches < LAUNCHES_FOR_INTERVAL:
        point = sum(sign * float(np.mean(group)) for sign, group in zip(signs, logs, strict=True))
        return Estimate(math.exp(point), None, None, launches)
    found = contrast(logs, signs)
    low, high = found.bound((1 - CONFIDENCE) / 2), found.bound((1 + CONFIDENCE) / 2)
    return Estimate(math.exp(found.point), math.exp(low), math.exp(high), launches)

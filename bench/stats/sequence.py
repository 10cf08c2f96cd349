"""Along time: when a launch has warmed up, when a study has launches enough, whether the machine drifted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.stats.estimates import CONFIDENCE, LAUNCHES_FOR_INTERVAL, Contrast, Estimate, logarithms, over_launches


@dataclass(frozen=True, slots=True)
class Settled:
    """So many `windows` at the start do not count. `in_time` False: they had not settled before the ceiling."""

    windows: int
    in_time: bool


def settled(durations: Sequence[float], floor: int = 1, ceiling: int | None = None) -> Settled:
    """Where warm-up ends, by the marginal standard error rule (MSER; White, Simulation 69, 1997).

    Of all cuts d from `floor` to `ceiling` (None: half of the windows) the one that minimises the squared standard
    error of the mean of what is left, sum((x - mean)^2) / (n - d)^2: cutting slow windows lowers the spread, cutting
    good ones costs windows. The earliest on a tie. A minimum at the ceiling says that even there it was falling.
    `durations` are the job's windows in order, the first one included, of equal steps; logarithms are used, so the
    unit does not matter. Fewer than four windows cannot tell: the floor.
    """
    count = len(durations)
    last = min(count // 2, count // 2 if ceiling is None else ceiling)
    if count < 4 or last <= floor:
        return Settled(min(floor, count), count >= 4)
    logs = logarithms(durations)
    errors = [float(np.var(logs[cut:])) / (count - cut) for cut in range(floor, last + 1)]
    best = floor + int(np.argmin(np.round(errors, 15)))
    return Settled(best, best < last)


def half_width(found: Estimate) -> float | None:
    """Relative half-width of the interval, sqrt(high / low) - 1; None without an interval.

    >>> half_width(Estimate(2.0, 1.0, 4.0, 3))
    1.0
    """
    return None if found.low is None or found.high is None else math.sqrt(found.high / found.low) - 1


Stopping = Literal["go on", "target", "budget"]


def stopping(values: Sequence[float], target: float, fewest: int, most: int) -> Stopping:
    """Whether a trial has launches enough: `values` are its launches' rates so far, in order.

    "target"  from `fewest` launches on (at least three), when the interval's relative half-width is at most `target`
    "budget"  at `most` launches
    Looking again after every launch stops more often when the launches happen to agree, so that the interval of a
    stopped trial covers less than 95 %: docs/statistics.md has the measured cost, by `fewest`.
    """
    found = over_launches(values)
    width = half_width(found) if found else None
    if width is not None and len(values) >= max(fewest, LAUNCHES_FOR_INTERVAL) and width <= target:
        return "target"
    return "budget" if len(values) >= most else "go on"


def drift(at_s: Sequence[float], values: Sequence[float]) -> Estimate | None:
    """A sentinel trial repeated through the study: its rate at the last time over that at the first.

    Ordinary least squares of log rate on time; point exp(slope x span), interval by Student's t with n - 2 degrees
    of freedom from three launches at different times on. `differs` says whether it counts. None of nothing.
    """
    logs, times = logarithms(values), np.asarray(at_s, np.float64)
    if len(values) == 0:
        return None
    span = float(np.ptp(times))
    if span == 0:
        return Estimate(1.0, None, None, len(values))
    centred = times - times.mean()
    square = float(centred @ centred)
    slope = float(centred @ logs) / square
    if len(values) < LAUNCHES_FOR_INTERVAL:
        return Estimate(math.exp(slope * span), None, None, len(values))
    left = logs - logs.mean() - slope * centred
    freedom = float(len(values) - 2)
    error = math.sqrt(float(left @ left) / freedom / square) * span
    found = Contrast(np.asarray(slope * span), np.asarray(error), np.asarray(freedom))
    low, high = found.bound((1 - CONFIDENCE) / 2), found.bound((1 + CONFIDENCE) / 2)
    return Estimate(math.exp(slope * span), math.exp(low), math.exp(high), len(values))

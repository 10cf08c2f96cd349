"""Where the time of a step goes, from one bare device to all ranks. Differences of means: the parts add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimates import CONFIDENCE, LAUNCHES_FOR_INTERVAL, Estimate, contrast

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """Milliseconds per step, one value a launch; launches of `full`, `waited` and `local` are the same ones.

    bare     one device without a wrapper, without the wait for input; None: not run
    solo     one rank with the wrapper, likewise; None: not run, or no wrapper is at work in it
    local    the slowest of all ranks, without an exchange and without the wait for input
    full     the whole job's
    waited   the longest wait for input among the ranks, in the full steps
    wrapped  the wrapper is at work in local steps too
    """

    bare: Sequence[float] | None
    solo: Sequence[float] | None
    local: Sequence[float]
    full: Sequence[float]
    waited: Sequence[float]
    wrapped: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Milliseconds per step, and the same as a share of the full step, 0 to 1. Noise may make either negative."""

    ms: Estimate
    share: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """full = bare + lost; lost = wrapper + contention + waited + exposed, exactly.

    bare        None: not known, and with it `lost`, `wrapper` and `contention`; then full = local + waited + exposed
    wrapper     None: not known; it is then in `exposed`, or where local steps keep it in `contention`
    """

    bare: Estimate | None
    local: Estimate
    full: Estimate
    lost: Part | None
    wrapper: Part | None
    contention: Part | None
    waited: Part
    exposed: Part


def ladder(rungs: Rungs) -> Ladder:
    """The parts of what is lost against one bare device that never waits for input:

    wrapper = solo - bare; waited as measured; and
    contention = local - bare, exposed = full - waited - local - wrapper,
    or where local steps keep the wrapper (`wrapped`): contention = local - solo, exposed = full - waited - local.
    Either way the sum is full - bare. Means are arithmetic, over launches; intervals are Welch's, the three kinds of
    launches being independent while what one launch measured is not.
    """
    full, waited, local = _of_launch(rungs)
    bare = None if rungs.bare is None else np.asarray(rungs.bare, np.float64)
    solo = None if rungs.solo is None or bare is None else np.asarray(rungs.solo, np.float64)
    below = solo if rungs.wrapped and solo is not None else bare
    nothing = np.zeros_like(full)
    wrapper = [] if solo is None or bare is None else [(solo, 1.0), (bare, -1.0)]
    taken = [] if rungs.wrapped else [(group, -sign) for group, sign in wrapper]
    return Ladder(
        bare=None if bare is None else _estimate([(bare, 1.0)]),
        local=_estimate([(local, 1.0)]),
        full=_estimate([(full, 1.0)]),
        lost=None if bare is None else _part([(bare, -1.0)], full, full),
        wrapper=_part(wrapper, nothing, full) if wrapper else None,
        contention=None if below is None else _part([(below, -1.0)], local, full),
        waited=_part([], waited, full),
        exposed=_part(taken, full - waited - local, full),
    )


def hidden_share(exposed: Sequence[float], standalone: Sequence[float]) -> Estimate | None:
    """1 - exposed / standalone, of means over the same launches: how much of the exchange hides behind other work.

    None where nothing was timed alone. Below 0: the exchange costs more in the step than alone.
    """
    if not standalone or len(exposed) != len(standalone) or min(standalone) <= 0:
        return None
    shown, alone = np.asarray(exposed, np.float64), np.asarray(standalone, np.float64)
    return _estimate([(1.0 - _linear(shown, alone), 1.0)])


def _of_launch(rungs: Rungs) -> tuple[Floats, Floats, Floats]:
    given = (rungs.full, rungs.waited, rungs.local)
    if len({len(each) for each in given}) != 1 or not rungs.full or rungs.bare == [] or rungs.solo == []:
        raise ValueError("every rung needs a launch, and full, waited and local the same ones")
    full, waited, local = (np.asarray(each, np.float64) for each in given)
    return full, waited, local


def _part(terms: Sequence[tuple[Floats, float]], of_launch: Floats, full: Floats) -> Part:
    """`of_launch` and `full` come from the same launches, `terms` from others."""
    value = float(np.mean(of_launch)) + sum(sign * float(np.mean(group)) for group, sign in terms)
    total = float(np.mean(full))
    # A ratio of means to first order: its numerator less the ratio times its denominator, over the denominator.
    moved = (of_launch - value / total * (full - total)) / total
    return Part(
        _estimate([(of_launch, 1.0), *terms]), _estimate([(moved, 1.0), *[(group / total, s) for group, s in terms]])
    )


def _linear(numerator: Floats, denominator: Floats) -> Floats:
    """Values whose mean is the ratio of the means, and which vary as it does."""
    ratio, mean = float(np.mean(numerator) / np.mean(denominator)), float(np.mean(denominator))
    linear: Floats = ratio + (numerator - ratio * denominator) / mean
    return linear


def _estimate(terms: Sequence[tuple[Floats, float]]) -> Estimate:
    groups, signs = [group for group, _ in terms], [sign for _, sign in terms]
    launches = min(len(group) for group in groups)
    point = sum(sign * float(np.mean(group)) for group, sign in terms)
    if launches < LAUNCHES_FOR_INTERVAL:
        return Estimate(point, None, None, launches)
    found = contrast(groups, signs)
    low, high = found.bound((1 - CONFIDENCE) / 2), found.bound((1 + CONFIDENCE) / 2)
    return Estimate(point, float(low), float(high), launches)

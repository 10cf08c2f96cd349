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
    """Milliseconds per step, one value a launch; launches of `full`, `ready` and `local` are the same ones.

    bare     one device without a wrapper, without the wait for input; None: not run
    solo     one rank with the wrapper, likewise; None: not run, or no wrapper is at work in it
    local    without an exchange: of the rank with most to do, without its wait for input
    ready    the same steps with it: of the rank that is ready last
    full     the whole job's
    wrapped  the wrapper is at work in local steps too
    """

    bare: Sequence[float] | None
    solo: Sequence[float] | None
    local: Sequence[float]
    ready: Sequence[float]
    full: Sequence[float]
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

    wrapper = solo - bare, contention = local - bare, waited = ready - local, exposed = full - ready - wrapper;
    or where local steps keep the wrapper (`wrapped`): contention = local - solo, exposed = full - ready.
    Either way the sum is full - bare. What is taken from `full` is a step of the same ranks with all but the exchange,
    so that ranks which wait and ranks which compute long need not be the same ones. Means are arithmetic, over
    launches, and so the parts add up; intervals are Welch's, the three kinds of launches being independent while what
    one launch measured is not.
    """
    full, ready, local = _of_launch(rungs)
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
        waited=_part([], ready - local, full),
        exposed=_part(taken, full - ready, full),
    )


def hidden_share(rungs: Rungs, standalone: Sequence[float]) -> Estimate | None:
    """1 - exposed / standalone, means over launches: how much of the exchange hides behind other work. `standalone`: of
    the launches of `rungs.full`, ms per step.

    None where nothing was timed alone. Below 0: the exchange costs more in the step than alone.
    """
    full, ready, _ = _of_launch(rungs)
    if len(standalone) != len(full) or min(standalone) <= 0:
        return None
    alone = np.asarray(standalone, np.float64)
    mean = float(np.mean(alone))
    wrapper = 0.0
    terms: list[tuple[Floats, float]] = []
    if rungs.solo is not None and rungs.bare is not None and not rungs.wrapped:
        solo, bare = np.asarray(rungs.solo, np.float64), np.asarray(rungs.bare, np.float64)
        wrapper = float(np.mean(solo) - np.mean(bare))
        terms = [(solo / mean, 1.0), (bare / mean, -1.0)]
    # To first order, as in _part; the wrapper's own spread comes with its launches.
    share = (float(np.mean(full - ready)) - wrapper) / mean
    moved = 1.0 - (full - ready - share * (alone - mean)) / mean
    return _estimate([(moved, 1.0), *terms])


def mean(values: Sequence[float]) -> Estimate | None:
    """Arithmetic, over launches, with Student's t interval: what adds up beside the parts of a ladder. None of none."""
    return _estimate([(np.asarray(values, np.float64), 1.0)]) if values else None


def _of_launch(rungs: Rungs) -> tuple[Floats, Floats, Floats]:
    given = (rungs.full, rungs.ready, rungs.local)
    if len({len(each) for each in given}) != 1 or not rungs.full or rungs.bare == [] or rungs.solo == []:
        raise ValueError("every rung needs a launch, and full, ready and local the same ones")
    full, ready, local = (np.asarray(each, np.float64) for each in given)
    return full, ready, local


def _part(terms: Sequence[tuple[Floats, float]], of_launch: Floats, full: Floats) -> Part:
    """`of_launch` and `full` come from the same launches, `terms` from others."""
    value = float(np.mean(of_launch)) + sum(sign * float(np.mean(group)) for group, sign in terms)
    total = float(np.mean(full))
    # A ratio of means to first order: its numerator less the ratio times its denominator, over the denominator.
    moved = (of_launch - value / total * (full - total)) / total
    return Part(
        _estimate([(of_launch, 1.0), *terms]), _estimate([(moved, 1.0), *[(group / total, s) for group, s in terms]])
    )


def _estimate(terms: Sequence[tuple[Floats, float]]) -> Estimate:
    groups, signs = [group for group, _ in terms], [sign for _, sign in terms]
    launches = min(len(group) for group in groups)
    point = sum(sign * float(np.mean(group)) for group, sign in terms)
    if launches < LAUNCHES_FOR_INTERVAL:
        return Estimate(point, None, None, launches)
    found = contrast(groups, signs)
    low, high = found.bound((1 - CONFIDENCE) / 2), found.bound((1 + CONFIDENCE) / 2)
    return Estimate(point, float(low), float(high), launches)

"""How well each trial learned, on data it did not train on, and which faster trial learned worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench import stats
from bench.records import Evaluation, Trial, TrialResult
from bench.stats import PRACTICAL_DIFFERENCE, Estimate
from reports import compare
from reports.text import counted, interval, number

# A metric lower by more than this, on its scale of 0 to 1, is worse learning.
METRIC_DIFFERENCE = 0.005
_ROUNDING = 1e-9
# Trials that agree in these are measured with the same yardstick, whatever else they do: precision, batch, optimizer.
_YARDSTICK = (
    "workload.task", "workload.model", "workload.data", "workload.validation", "workload.vocabulary",
    "workload.sequence_length", "workload.seed", "quality.samples",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Of the last evaluation, medians over launches; of the target, over the launches that reached it.

    value, loss         metric and loss on the validation data; `loss` None where one is not finite
    target              None: the study sets none
    reached             launches that reached the target
    steps_to_target, samples_to_target, seconds_to_target: of the first evaluation that reached it; the seconds are
                        training time without evaluations. None unless every launch reached it
    not_reached         what stands in their place
    curves              per launch its evaluations, in order of step
    """

    metric: str
    value: float
    loss: float | None
    steps: float
    samples: float
    target: float | None
    reached: int
    steps_to_target: float | None
    samples_to_target: float | None
    seconds_to_target: Estimate | None
    not_reached: str | None
    curves: tuple[tuple[Evaluation, ...], ...]


def quality(result: TrialResult) -> Quality | None:
    """None where nothing was evaluated."""
    curves = [tuple(repeat.evaluations) for repeat in result.repeats if repeat.evaluations]
    if not curves:
        return None
    last = [curve[-1] for curve in curves]
    losses = [found.loss for found in last if found.loss is not None]
    target = result.trial.quality.target or None
    hits = [hit for curve in curves if (hit := _hit(curve))]
    every = len(hits) == len(result.repeats)
    return Quality(
        metric=last[0].metric,
        value=median(found.value for found in last),
        loss=median(losses) if len(losses) == len(last) else None,
        steps=median(found.step for found in last),
        samples=median(found.samples for found in last),
        target=target,
        reached=len(hits),
        steps_to_target=median(hit.step for hit in hits) if every else None,
        samples_to_target=median(hit.samples for hit in hits) if every else None,
        seconds_to_target=stats.over_launches([hit.train_ns / 1e9 for hit in hits]) if every else None,
        not_reached=_not_reached(curves, len(result.repeats)) if target and not every else None,
        curves=tuple(curves),
    )


def _hit(curve: Sequence[Evaluation]) -> Evaluation | None:
    """The first evaluation that reached the target."""
    return next((found for found in curve if found.reached), None)


def without_interval(found: Quality | None) -> Quality | None:
    """For a quick run, which is too short to speak of intervals."""
    if found is None or found.seconds_to_target is None:
        return found
    return replace(found, seconds_to_target=replace(found.seconds_to_target, low=None, high=None))


def _not_reached(curves: Sequence[Sequence[Evaluation]], launches: int) -> str:
    """With the shortest time for which it was tried in vain."""
    tried = [curve[-1].train_ns / 1e9 for curve in curves if not _hit(curve)]
    within = f" in {number(min(tried), 3)} s" if tried else ""
    missed = launches - sum(_hit(curve) is not None for curve in curves)
    whose = "" if missed == launches else f" by {missed} of {counted(launches, 'launch', 'launches')}"
    return f"not reached{within}{whose}"


# ---- between trials ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Learner:
    """A trial that has both a speed and a quality. `rates` in samples per second, one per launch."""

    label: str
    trial: Trial
    rates: Sequence[float]
    quality: Quality


def cautions(learners: Sequence[Learner]) -> list[str]:
    """A sentence for each trial that is faster than another and learns worse: against the best learner among those."""
    found = []
    for one in learners:
        rivals = [other for other in learners if _same_yardstick(one.trial, other.trial) and _is_faster(one, other)]
        said = [(other, clause) for other in rivals if (clause := _worse(one.quality, other.quality))]
        if said:
            other, clause = max(said, key=lambda pair: _rank(pair[0]))
            times = number(_times(one, other), 3)
            found.append(f"{one.label} has {times} times the samples per second of {other.label}, but {clause}.")
    return found


def _same_yardstick(one: Trial, other: Trial) -> bool:
    return compare.key(one, _YARDSTICK) == compare.key(other, _YARDSTICK)


def _is_faster(one: Learner, other: Learner) -> bool:
    """Where there are launches enough to show it, it is shown."""
    found = stats.ratio(one.rates, other.rates)
    return found is not None and found.point > 1 + PRACTICAL_DIFFERENCE and stats.differs(found) is not False


def _times(one: Learner, other: Learner) -> float:
    found = stats.ratio(one.rates, other.rates)
    return found.point if found else 0.0


def _rank(learner: Learner) -> tuple[float, float]:
    seconds = learner.quality.seconds_to_target
    return (0.0 if seconds is None else 1 / seconds.point, learner.quality.value)


def _worse(one: Quality, other: Quality) -> str | None:
    """How `one` learns worse than `other`, as a clause; None where it does not.

    Trials that stop at their target are not held against each other by how far past it they happened to be.
    """
    theirs = other.seconds_to_target
    if one.target is None or one.target != other.target or theirs is None:
        return _lower(one, other)
    goal = f"{one.metric} {one.target:g}"
    if one.seconds_to_target is None:
        return f"{goal} is {one.not_reached}; the other reaches it in {number(theirs.point, 3)} s of training"
    return _slower(one, one.seconds_to_target, other, theirs)


def _slower(one: Quality, own: Estimate, other: Quality, theirs: Estimate) -> str | None:
    ratio = stats.ratio(_seconds(one), _seconds(other))
    bounded = own.low is not None and theirs.low is not None
    if ratio is None or ratio.point <= 1 + PRACTICAL_DIFFERENCE or (bounded and not stats.differs(ratio)):
        return None
    around = f"95 % interval {interval(ratio, digits=3)}" if bounded else "no interval"
    return (
        f"takes {number(ratio.point, 3)} times ({around}) as long to {one.metric} {one.target:g}: "
        f"{number(own.point, 3)} s of training, the other {number(theirs.point, 3)} s"
    )


def _lower(one: Quality, other: Quality) -> str | None:
    if one.seconds_to_target is not None or other.value - one.value <= METRIC_DIFFERENCE + _ROUNDING:
        return None
    return (
        f"learns worse: {one.metric} {number(one.value, 3)} after {one.samples:,.0f} samples, "
        f"the other {number(other.value, 3)} after {other.samples:,.0f}"
    )


def _seconds(found: Quality) -> list[float]:
    return [hit.train_ns / 1e9 for curve in found.curves if (hit := _hit(curve))]

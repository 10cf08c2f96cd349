"""What two stacks made of the same work: their losses, first gradients and updates, one beside the other."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import gates, stats, tolerances
from bench.gates.curves import Curve, across_precisions
from bench.gates.groups import grouped, reference_of, work_key
from bench.gates.outcome import fails, holds, unknown
from bench.gates.report import RankReport, is_programmed
from bench.records import Assignment, GateOutcome, Rehearsal, Trial, Worst
from bench.verification import GRADIENTS, WEIGHTS

GATES = ("same losses", "same gradients", "same updates")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rehearsed:
    """One trial's launch under verify, complete. `folder` holds the tensors that rank 0 left."""

    assignment: Assignment
    folder: Path
    reports: list[RankReport]
    rehearsals: list[Rehearsal]

    @property
    def trial(self) -> Trial:
        return self.assignment.trial

    @property
    def trial_id(self) -> str:
        return self.assignment.trial_id

    @property
    def heads(self) -> list[str]:
        return self.reports[0].losses[0].heads

    @property
    def skipped(self) -> int:
        """Updates left out because a gradient was not finite."""
        return self.reports[0].facts.skipped_steps or 0

    @property
    def curve(self) -> Curve:
        losses = gates.step_losses(self.reports)
        return Curve(trial_id=self.trial_id, trial=self.trial, launches=[losses], skipped=self.skipped)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Loss numerators of every replica, axes (step, replica, head); not a number where not finite."""
        return np.concatenate([np.array(each.shares, np.float64) for each in self.rehearsals], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One trial beside another. `reference`: its id, the trial's own where it is what the others are compared with."""

    reference: str | None = None
    losses: Worst | None = None
    gradients: Worst | None = None
    updates: Worst | None = None
    gates: tuple[GateOutcome, ...] = ()


# ---- whom to compare with ---------------------------------------------------------------------------------------


def between(rehearsed: Sequence[Rehearsed]) -> dict[str, Compared]:
    """By trial id: each trial against the one of its group with which most others agree; losses across precisions."""
    found: dict[str, Compared] = {}
    for group in grouped(rehearsed, work_key):
        found |= _of_group(group)
    for outcome in across_precisions([each.curve for each in rehearsed]):
        compared = found[outcome.trial_id or ""]
        found[outcome.trial_id or ""] = replace(compared, gates=(*compared.gates, outcome))
    return found


def _of_group(group: Sequence[Rehearsed]) -> dict[str, Compared]:
    why_not = _why_not(group)
    if why_not is not None:
        outcomes = tuple(unknown(gate, f"equality not shown: {why_not}") for gate in GATES)
        return {each.trial_id: Compared(gates=outcomes) for each in group}
    compare = functools.cache(compare_two)

    def agrees(given: Rehearsed, reference: Rehearsed) -> GateOutcome:
        right = given is reference or all(worst.excess <= 1 for worst in compare(given, reference))
        return holds("", "") if right else fails("", "")

    reference, against = reference_of(group, agrees)
    believed = [each for each, outcome in zip(group, against, strict=True) if outcome.holds]
    found: dict[str, Compared] = {}
    for each in group:
        if each is reference:
            count = sum(agrees(other, each).holds is True for other in group) - 1
            shown = tuple(holds(gate, f"{count} other trial(s) agree with it") for gate in GATES)
            found[each.trial_id] = Compared(reference=each.trial_id, gates=shown)
        else:
            other = _nearest(each, group if reference is None else believed)
            found[each.trial_id] = _beside(each, other, compare(each, other), believed=reference is not None)
    return found


def _nearest(given: Rehearsed, others: Sequence[Rehearsed]) -> Rehearsed:
    """The first other one, if possible of as many replicas, so that their shares of the loss can be compared.

    Where nobody agrees with anybody, each is shown beside one other like this, and none is believed.
    """
    others = [other for other in others if other is not given]
    return next((other for other in others if other.trial.replicas == given.trial.replicas), others[0])


def _why_not(group: Sequence[Rehearsed]) -> str | None:
    trial = group[0].trial
    if trial.workload.dropout > 0:
        return "dropout draws other numbers in every stack"
    if is_programmed(trial):
        return "nothing is trained"
    return "no other stack did the same work" if len(group) == 1 else None


def _beside(given: Rehearsed, other: Rehearsed, found: tuple[Worst, Worst, Worst], believed: bool) -> Compared:
    outcomes = [_outcome(gate, given, other, worst) for gate, worst in zip(GATES, found, strict=True)]
    if not believed:
        said = "equality not shown: no other stack with the same work agrees"
        outcomes = [each if each.holds is False else unknown(each.gate, said) for each in outcomes]
    losses, gradients, updates = found
    return Compared(
        reference=other.trial_id, losses=losses, gradients=gradients, updates=updates, gates=tuple(outcomes)
    )


def _outcome(gate: str, given: Rehearsed, other: Rehearsed, worst: Worst) -> GateOutcome:
    whose = f"{other.trial.backend} at {other.trial.replicas} replica(s)"
    if worst.excess <= 1:
        apart = f"{worst.difference:.1e} apart at most, allowed {worst.allowed:.1e}"
        return holds(gate, f"{apart}, against {whose} ({worst.where})")
    apart = "not comparable" if worst.difference is None else f"{worst.difference:.1e} apart"
    values = f"{_number(worst.given)}, expected {_number(worst.expected)} as {whose}"
    sentence = f"{given.trial.backend}: {worst.where} is {values}: {apart}, allowed {worst.allowed:.1e}"
    if given.skipped != other.skipped:
        said = f"updates left out for the loss scale: {given.skipped}, and {other.skipped} of {other.trial.backend}"
        return unknown(gate, f"equality not shown: {sentence}; {said}")
    return fails(gate, sentence)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.9g}"


# ---- two trials -------------------------------------------------------------------------------------------------


def compare_two(given: Rehearsed, reference: Rehearsed) -> tuple[Worst, Worst, Worst]:
    """Losses, gradients of the first step, updates: of each the worst."""
    return losses(given, reference), gradients(given, reference), updates(given, reference)


def losses(given: Rehearsed, reference: Rehearsed) -> Worst:
    """The worst step's loss, or a replica's share of it where both have as many replicas."""
    own, expected = (gates.step_losses(each.reports) for each in (given, reference))
    allowed = tolerances.losses(given.trial, reference.trial, expected, abs(given.skipped - reference.skipped))
    found = [
        _apart(f"the loss of step {step}", own[step], expected[step], allowed[step]) for step in range(len(expected))
    ]
    if given.trial.replicas == reference.trial.replicas:
        found += _shares(given, reference, allowed)
    return max(found, key=lambda worst: worst.excess)


def _shares(given: Rehearsed, reference: Rehearsed, allowed: Sequence[float]) -> Iterator[Worst]:
    own, expected = given.shares, reference.shares
    for step, replica, head in np.ndindex(*own.shape):
        rank, local = divmod(replica, given.assignment.local_replicas)
        whose = f"rank {rank}" + (f", replica {local}" if given.assignment.local_replicas > 1 else "")
        where = f"the {given.heads[head]} loss of {whose} at step {step}"
        most = allowed[step] + tolerances.share(given.trial, step)
        yield _apart(where, float(own[step, replica, head]), float(expected[step, replica, head]), most)


def _apart(where: str, given: float | None, expected: float | None, allowed: float) -> Worst:
    known = [value if value is not None and math.isfinite(value) else None for value in (given, expected)]
    difference = None if known[0] is None or known[1] is None else stats.relative_difference(known[0], known[1])
    return Worst(where=where, given=known[0], expected=known[1], difference=difference, allowed=allowed)


def gradients(given: Rehearsed, reference: Rehearsed) -> Worst:
    """The worst tensor of the first step's gradients, as the optimizers saw them."""
    trial, head_norm = given.trial, _head_norm(reference)
    with _opened(given.folder / GRADIENTS) as own, _opened(reference.folder / GRADIENTS) as expected:

        def one(name: str) -> Worst:
            pair = own.get_tensor(name), expected.get_tensor(name)
            weight = tolerances.key_weight_of(name)
            if weight is not None:
                norm = _norm(expected.get_tensor(weight))
                return _of_zero(name, *pair, norm, tolerances.zero_gradient(trial, pair[0].size, norm))
            return _of_tensor(name, *pair, tolerances.gradient(trial, name, pair[0].size, _norm(pair[1]), head_norm))

        return _worst_of(one, own, expected)


def updates(given: Rehearsed, reference: Rehearsed) -> Worst:
    """The worst tensor of the updates: weights after all steps minus the initial ones."""
    trial, steps, head_norm = given.trial, given.assignment.verify_steps, _head_norm(reference)
    initial = Path(given.assignment.checkpoint) / "model.safetensors"
    with (
        _opened(given.folder / WEIGHTS) as own,
        _opened(reference.folder / WEIGHTS) as expected,
        _opened(given.folder / GRADIENTS) as own_slopes,
        _opened(reference.folder / GRADIENTS) as slopes,
        _opened(initial) as start,
    ):

        def move(weights: Any, name: str) -> NDArray[np.float64]:
            return np.asarray(weights.get_tensor(name), np.float64) - np.asarray(start.get_tensor(name), np.float64)

        def one(name: str) -> Worst:
            pair = move(own, name), move(expected, name)
            weight = tolerances.key_weight_of(name)
            if weight is None:
                slope = own_slopes.get_tensor(name), slopes.get_tensor(name)
                allowed = tolerances.gradient(trial, name, pair[0].size, _norm(slope[1]), head_norm)
                error = tolerances.repeated_error(allowed, relative(*slope))
                moved = _moved(pair[1], slope[1], _norm(start.get_tensor(name)))
                return _of_tensor(name, *pair, tolerances.update(trial, name, steps, error, moved))
            if trial.optimizer.name == "sgd":
                norm = _norm(move(expected, weight))
                return _of_zero(name, *pair, norm, tolerances.zero_gradient(trial, pair[0].size, norm) * steps)
            # Adaptive optimizers make rounding as large as any update: only its largest size is known.
            largest = tolerances.largest_move(trial.optimizer, steps) * math.sqrt(pair[0].size)
            return _of_zero(name, *pair, largest, 1.0)

        return _worst_of(one, own, expected)


def _moved(update: NDArray[Any], gradient: NDArray[Any], weight_norm: float) -> tolerances.Moved:
    """Elements that only decay, of words that were not seen, move by less than a twentieth of the largest move."""
    size = np.abs(update)
    elements = int(np.count_nonzero(size > 0.05 * size.max(initial=0.0)))
    return tolerances.Moved(elements, _norm(gradient) / math.sqrt(gradient.size), weight_norm, _norm(update))


def _opened(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, framework="np")


def _worst_of(one: Callable[[str], Worst], own: Any, expected: Any) -> Worst:
    """Of all tensors; one that only one side has cannot be compared."""
    odd = sorted(set(own.keys()) ^ set(expected.keys()))
    if odd:
        return _worst(odd[0], math.nan, math.nan, math.nan, 0.0)
    return max(map(one, own.keys()), key=lambda worst: worst.excess)


def _head_norm(reference: Rehearsed) -> float | None:
    name = tolerances.head_bias(reference.trial)
    if name is None:
        return None
    with _opened(reference.folder / GRADIENTS) as gradients:
        return _norm(gradients.get_tensor(name))


def _of_tensor(name: str, given: NDArray[Any], expected: NDArray[Any], allowed: float) -> Worst:
    return _worst(name, _norm(given), _norm(expected), relative(given, expected), allowed)


def _of_zero(name: str, given: NDArray[Any], expected: NDArray[Any], scale: float, allowed: float) -> Worst:
    """Of a tensor whose gradient is zero by mathematics: its size, relative to `scale`."""
    return _worst(name, _norm(given), _norm(expected), _norm(given) / scale if scale else 0.0, allowed)


def _worst(name: str, given: float, expected: float, difference: float, allowed: float) -> Worst:
    numbers = [number if math.isfinite(number) else None for number in (given, expected, difference)]
    return Worst(where=name, given=numbers[0], expected=numbers[1], difference=numbers[2], allowed=allowed)


def _norm(values: NDArray[Any]) -> float:
    return float(np.linalg.norm(np.asarray(values, np.float64)))


def relative(given: NDArray[Any], expected: NDArray[Any]) -> float:
    """Norm of the difference over the expected norm; infinite where the shapes differ, or what should be 0 is not."""
    if given.shape != expected.shape:
        return math.inf
    apart, norm = _norm(np.asarray(given, np.float64) - expected), _norm(expected)
    return apart / norm if norm else (math.inf if apart else 0.0)

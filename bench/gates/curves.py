"""Gates between trials over their losses: step by step, within one precision and across several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import stats, tolerances
from bench.gates.groups import grouped, of_group, precision_key, study_key
from bench.gates.outcome import fails, holds, unknown
from bench.records import GateOutcome, Trial

# The reports ask for these two by name before they compare speeds.
SAME_LOSSES = "same losses"
ACROSS_PRECISIONS = "same losses across precisions"
# So many updates left out move the losses of the compared steps a little; more of them excuse anything.
MOST_BEHIND = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The losses of one trial. `launches`: per launch and step, None where not finite.

    skipped   updates that the first launch says it left out because a gradient was not finite
    """

    trial_id: str
    trial: Trial
    launches: Sequence[Sequence[float | None]]
    skipped: int


def same_losses(curves: Sequence[Curve]) -> list[GateOutcome]:
    """Of trials with the same work in the same precision."""
    return of_group(SAME_LOSSES, curves, lambda given, reference: _agree(SAME_LOSSES, given, reference))


def across_precisions(curves: Sequence[Curve]) -> list[GateOutcome]:
    """Of trials with the same work in several precisions, within the bound of the lower one; nothing of the others.

    Where several are equally believed, the most exact one is what the others are compared with.
    """
    outcomes: list[GateOutcome] = []
    for group in grouped(curves, lambda trial: (study_key(trial), trial.timing)):
        if len({precision_key(curve.trial) for curve in group}) > 1:
            exact_first = sorted(group, key=lambda curve: tolerances.roundoff(curve.trial))
            outcomes += of_group(
                ACROSS_PRECISIONS, exact_first, lambda given, other: _agree(ACROSS_PRECISIONS, given, other)
            )
    return outcomes


def _agree(gate: str, given: Curve, reference: Curve) -> GateOutcome:
    if given.trial.workload.dropout > 0:
        return unknown(gate, "equality not shown: dropout draws other numbers in every stack", given.trial_id)
    expected = reference.launches[0]
    allowed = tolerances.losses(given.trial, reference.trial, expected, abs(given.skipped - reference.skipped))
    worst, whose = 0.0, _name(reference, gate)
    for launch, losses in enumerate(given.launches):
        for step, (loss, wanted) in enumerate(zip(losses, expected, strict=False)):
            if loss is None or wanted is None:
                return fails(gate, f"step {step} of repeat {launch} has no finite loss", given.trial_id)
            difference = stats.relative_difference(loss, wanted)
            if difference > allowed[step]:
                sentence = (
                    f"{_name(given, gate)} has loss {loss:.9g} at step {step} of repeat {launch}, "
                    f"{whose} {wanted:.9g}: {difference:.1e} apart, allowed {allowed[step]:.0e}"
                )
                return _beyond(gate, sentence, given, reference)
            worst = max(worst, difference)
    evidence = f"within {worst:.1e} over {len(expected)} steps"
    unexcused = tolerances.losses(given.trial, reference.trial, expected)[-1] if expected else 0.0
    if abs(given.skipped - reference.skipped) > MOST_BEHIND and worst > unexcused:
        return _beyond(gate, f"{evidence}, which the updates left out may have done", given, reference)
    return holds(gate, f"{evidence}, against {whose} at {reference.trial.replicas} replica(s)", given.trial_id)


def _beyond(gate: str, sentence: str, given: Curve, reference: Curve) -> GateOutcome:
    """A fault, unless the two say themselves that they have not made the same updates."""
    if given.skipped == reference.skipped:
        return fails(gate, sentence, given.trial_id)
    said = f"updates left out for the loss scale: {given.skipped}, and {reference.skipped} of {reference.trial.backend}"
    return unknown(gate, f"equality not shown: {sentence}; {said}", given.trial_id)


def _name(curve: Curve, gate: str) -> str:
    """The backend; across precisions with its own."""
    compute, wire = precision_key(curve.trial)
    return curve.trial.backend if gate == SAME_LOSSES else f"{curve.trial.backend} in {compute} on a {wire} wire"

"""Gates of one launch under `paceline verify`: the exchange's mean, each rank's data, learning, restoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import tolerances
from bench.gates.losses import global_loss
from bench.gates.outcome import fails, holds, unknown
from bench.gates.report import is_programmed
from bench.records import GateOutcome, PlantedTensor, Rehearsal, Trial


def averaged(trial: Trial, rehearsals: Sequence[Rehearsal], trained: Mapping[str, int] | None) -> GateOutcome:
    """Replica r of N planted r + 1 in every gradient: the mean, (N + 1) / 2, came back in every element of each."""
    if trial.replicas == 1:
        return unknown("average", "one replica: nothing is averaged")
    mean = (trial.replicas + 1) / 2
    allowed = tolerances.planted(trial) * mean
    for rank, rehearsal in enumerate(rehearsals):
        missing = sorted(set(trained or ()) - {tensor.name for tensor in rehearsal.planted})
        if missing:
            return fails("average", f"rank {rank}: {missing[0]} did not come back from the exchange")
        for tensor in rehearsal.planted:
            if not _within(tensor, mean, allowed):
                given = " to ".join(f"{value:g}" if value is not None else "not finite" for value in _ends(tensor))
                gave = f"replica r of {trial.replicas} gave r + 1"
                return fails(
                    "average",
                    f"rank {rank}, replica {tensor.replica}: {tensor.name} came back from the exchange as {given}, "
                    f"expected {mean:g} ({gave})",
                )
    count = len(rehearsals[0].planted)
    return holds(
        "average", f"planted gradients of {trial.replicas} replicas came back as their mean in {count} tensors"
    )


def _ends(tensor: PlantedTensor) -> list[float | None]:
    return [tensor.least] if tensor.least == tensor.largest else [tensor.least, tensor.largest]


def _within(tensor: PlantedTensor, mean: float, allowed: float) -> bool:
    return all(value is not None and abs(value - mean) <= allowed for value in (tensor.least, tensor.largest))


def own_data(rehearsals: Sequence[Rehearsal], expected: Sequence[Sequence[int]]) -> GateOutcome:
    """Every rank was fed its own part of every step's batch. `expected`: digests by rank and step, from the corpus."""
    for rank, rehearsal in enumerate(rehearsals):
        for step, (given, wanted) in enumerate(zip(rehearsal.digests, expected[rank], strict=True)):
            if given != wanted:
                whose = [other for other, of_rank in enumerate(expected) if of_rank[step] == given]
                saw = f"rank {whose[0]}'s data" if whose else f"data with digest {given:016x}"
                return fails("own data", f"rank {rank} was fed {saw} at step {step}, expected digest {wanted:016x}")
    return holds("own data", f"each rank was fed its part of the corpus at each of {len(expected[0])} steps")


def learns(trial: Trial, rehearsals: Sequence[Rehearsal], weights: Sequence[float]) -> GateOutcome:
    """On one batch, repeated, the loss falls: the mean of its second half is below that of its first.

    `weights`: that batch's global weights, per head.
    """
    steps = len(rehearsals[0].repeated)
    if is_programmed(trial) or not any(trial.optimizer.learning_rate_at(step) for step in range(steps)):
        return unknown("learns", "nothing is trained, or the rate is 0")
    values = [global_loss([each.repeated[step] for each in rehearsals], weights) for step in range(steps)]
    known = [value for value in values if value is not None]
    if len(known) < steps:
        return fails("learns", f"the loss of a repeated batch is not finite at repetition {values.index(None)}")
    half = steps // 2
    before, after = sum(known[:half]) / half, sum(known[half:]) / (steps - half)
    said = f"the loss of a repeated batch went from {known[0]:.6g} to {known[-1]:.6g} in {steps} steps"
    return holds("learns", said) if after < before else fails("learns", f"{said}, expected to fall")


def restored(rehearsals: Sequence[Rehearsal]) -> GateOutcome:
    """A restore brought every weight back, bit by bit."""
    for rank, rehearsal in enumerate(rehearsals):
        if rehearsal.not_restored:
            return fails("restore", f"rank {rank}: {rehearsal.not_restored[0]} is not as it was at the snapshot")
    return holds("restore", "every weight bitwise as at the snapshot")

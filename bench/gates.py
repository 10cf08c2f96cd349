"""Checks that must hold before a speed may be shown. Each says what it saw, whether it holds or not.

Gates of one launch look at its ranks; gates between trials compare what different stacks did with the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import catalog, stats
from bench.records import Assignment, DataDigest, Facts, GateOutcome, StepLosses, Trial, TrialResult, Weights, Window

# float32, no dropout, same global batch. Two stacks at one world size sum in different orders inside a kernel;
# two world sizes also split the batch differently. Measured over 20 steps of BERT-tiny: 3e-7 and 4e-6.
SAME_WORLD_TOLERANCE = 1e-5
OTHER_WORLD_TOLERANCE = 1e-4
COMPARED_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """What one rank left behind, complete."""

    rank: int
    windows: list[Window]
    losses: list[StepLosses]
    data: DataDigest
    weights: Weights
    facts: Facts


# ---- one launch -------------------------------------------------------------------------------------------------


def of_launch(assignment: Assignment, reports: Sequence[RankReport]) -> list[GateOutcome]:
    """All gates of one launch, in the order in which a reader would ask."""
    return [
        same_parameters(reports),
        asked_threads(assignment, reports),
        exchanged_once(reports),
        seen_weights(reports),
        finite_loss(reports),
        same_weights(reports),
    ]


def same_parameters(reports: Sequence[RankReport]) -> GateOutcome:
    """Every rank trains the same number of elements."""
    counts = {report.rank: report.facts.parameter_elements for report in reports}
    expected = counts[reports[0].rank]
    for rank, count in counts.items():
        if count != expected:
            return _fails("parameters", f"rank {rank} trains {count:,} elements, rank {reports[0].rank} {expected:,}")
    return _holds("parameters", f"{expected:,} trained elements on every rank")


def asked_threads(assignment: Assignment, reports: Sequence[RankReport]) -> GateOutcome:
    """Every rank is set to the threads of its replicas: a stack with more would only look fast.

    What a framework reports is its setting (TensorFlow) or its pool (PyTorch), not threads seen at work.
    """
    expected = assignment.trial.threads_per_replica * assignment.local_replicas
    for report in reports:
        if report.facts.threads is None:
            return _unknown("threads", f"rank {report.rank} cannot tell its threads")
        if report.facts.threads != expected:
            return _fails("threads", f"rank {report.rank} has {report.facts.threads} threads, asked were {expected}")
    return _holds("threads", f"{expected} per rank, as the frameworks report their own setting")


def exchanged_once(reports: Sequence[RankReport]) -> GateOutcome:
    """A full step's all-reduce, as issued, holds as many elements as the model has: none left out, none sent twice."""
    for report in reports:
        given, expected = report.facts.exchange_elements, report.facts.parameter_elements
        if given is None:
            return _unknown("exchange", "no exchange, or none that can be observed")
        if given != expected:
            return _fails("exchange", f"rank {report.rank} exchanges {given:,} elements a step, it trains {expected:,}")
    return _holds("exchange", f"{reports[0].facts.exchange_elements:,} elements a step, as many as are trained")


def seen_weights(reports: Sequence[RankReport]) -> GateOutcome:
    """The loss weights (masked or labelled tokens) that the backends summed are those of the data, at every step.

    Fails when a rank was fed, or used, something else than its share of the global batch.
    """
    steps = 0
    for parts in zip(*(report.losses for report in reports), strict=True):
        for step, expected in enumerate(parts[0].global_weights):
            seen = [sum(part.weights[step][head] for part in parts) for head in range(len(expected))]
            steps += 1
            for head, name in enumerate(parts[0].heads):
                if seen[head] != expected[head]:
                    where = f"window {parts[0].window}, step {step}"
                    given = f"the ranks' {name} weights add up to {seen[head]:g}"
                    return _fails("data", f"{where}: {given}, the global batch has {expected[head]:g}")
    return _holds("data", f"the ranks' loss weights add up to the global batch's at each of {steps} steps")


def finite_loss(reports: Sequence[RankReport]) -> GateOutcome:
    """No step's loss is infinite or not a number, on any rank."""
    step = 0
    for parts in zip(*(report.losses for report in reports), strict=True):
        for index in range(len(parts[0].numerators)):
            for report, part in zip(reports, parts, strict=True):
                if None in part.numerators[index]:
                    return _fails("finite loss", f"the loss of rank {report.rank} is not finite at step {step}")
            step += 1
    return _holds("finite loss", f"finite at all {step} steps")


def same_weights(reports: Sequence[RankReport]) -> GateOutcome:
    """After the last step every tensor is bitwise the same on all ranks and replicas: the exchange reached everyone."""
    copies = [(report.rank, tensor) for report in reports for tensor in report.weights.tensors]
    expected = {tensor.name: tensor for rank, tensor in reversed(copies)}
    replicas = len({(rank, tensor.replica) for rank, tensor in copies} | {(report.rank, 0) for report in reports})
    if replicas < 2:
        return GateOutcome(gate="weights", holds=None, sentence="one replica: nothing to compare")
    for rank, tensor in copies:
        first = expected[tensor.name]
        if tensor.sha256 != first.sha256:
            return _fails(
                "weights",
                f"{tensor.name} differs on rank {rank}, replica {tensor.replica}: norm {tensor.norm:.9g}, "
                f"expected {first.norm:.9g} as on rank 0; the exchange did not reach it",
            )
    names = {name: sum(tensor.name == name for _, tensor in copies) for name in expected}
    for name, count in names.items():
        if count != replicas:
            return _fails("weights", f"{name} was found on {count} of {replicas} replicas")
    return _holds("weights", f"{len(expected)} tensors bitwise equal on {replicas} replicas")


def step_losses(reports: Sequence[RankReport]) -> list[float | None]:
    """Global loss per step: over heads, the ranks' numerators added, divided by the global weight. None: not finite."""
    losses: list[float | None] = []
    for parts in zip(*(report.losses for report in reports), strict=True):
        for step, weights in enumerate(parts[0].global_weights):
            terms = [[part.numerators[step][head] for part in parts] for head in range(len(weights))]
            known = [[value for value in of_ranks if value is not None] for of_ranks in terms]
            total = sum(sum(values) / weight for values, weight in zip(known, weights, strict=True) if weight)
            losses.append(total if known == terms else None)
    return losses


Check = Callable[[TrialResult, TrialResult], GateOutcome]

# ---- between trials ---------------------------------------------------------------------------------------------


def between(results: Sequence[TrialResult]) -> list[GateOutcome]:
    """One outcome per gate and trial that ran, each against the trial of its group with which most others agree.

    So one wrong stack is named by two right ones, whichever comes first. Where nobody agrees, nobody is believed.
    """
    ran = [result for result in results if result.status == "ok" and result.repeats]
    checks = (
        ("same model", _model_key, _same_model),
        ("same data", _data_key, _same_data),
        ("same losses", _loss_key, _same_losses),
    )
    outcomes: list[GateOutcome] = []
    for gate, key, check in checks:
        groups: dict[object, list[TrialResult]] = {}
        for result in ran:
            groups.setdefault(key(result.trial), []).append(result)
        for group in groups.values():
            outcomes += _of_group(gate, group, check)
    return outcomes


def _of_group(gate: str, group: Sequence[TrialResult], check: Check) -> list[GateOutcome]:
    own = [check(result, result) for result in group]
    if len(group) == 1 or own[0].holds is None:
        alone = _unknown(gate, "not shown: no other trial did the same work", group[0].trial_id)
        return [alone] if len(group) == 1 and own[0].holds is True else own
    against = {reference.trial_id: [check(result, reference) for result in group] for reference in group}
    reference = max(group, key=lambda each: sum(outcome.holds is True for outcome in against[each.trial_id]))
    outcomes = against[reference.trial_id]
    if sum(outcome.holds is True for outcome in outcomes) > 1:
        return [outcome for outcome in outcomes if outcome.trial_id != reference.trial_id or outcome.holds is False]
    return [
        outcome
        if outcome.holds is False
        else _fails(gate, "no other trial with the same work agrees", outcome.trial_id)
        for outcome in outcomes
    ]


def _same_model(result: TrialResult, reference: TrialResult) -> GateOutcome:
    given, expected = (one.repeats[0].facts[0].parameter_elements for one in (result, reference))
    if given != expected:
        sentence = f"{result.trial.backend} trains {given:,} elements, {reference.trial.backend} {expected:,}"
        return _fails("same model", sentence, result.trial_id)
    return _against("same model", f"{given:,} trained elements", result, reference)


def _same_data(result: TrialResult, reference: TrialResult) -> GateOutcome:
    expected = reference.repeats[0]
    for repeat in result.repeats:
        if (repeat.data_samples, repeat.data_digest) != (expected.data_samples, expected.data_digest):
            sentence = (
                f"repeat {repeat.repeat} of {result.trial.backend} was fed {repeat.data_samples} samples with digest "
                f"{repeat.data_digest}, {reference.trial.backend} {expected.data_samples} with {expected.data_digest}"
            )
            return _fails("same data", sentence, result.trial_id)
    return _against("same data", f"{expected.data_samples:,} samples, digest {expected.data_digest}", result, reference)


def _same_losses(result: TrialResult, reference: TrialResult) -> GateOutcome:
    if result.trial.compute != "float32" or result.trial.workload.dropout > 0:
        return _unknown("same losses", "equality not shown: only float32 without dropout is compared", result.trial_id)
    same_world = reference.trial.replicas == result.trial.replicas
    tolerance = SAME_WORLD_TOLERANCE if same_world else OTHER_WORLD_TOLERANCE
    expected = reference.repeats[0].losses[:COMPARED_STEPS]
    worst = 0.0
    for repeat in result.repeats:
        for step, (loss, wanted) in enumerate(zip(repeat.losses, expected, strict=False)):
            if loss is None or wanted is None:
                return _fails(
                    "same losses", f"step {step} of repeat {repeat.repeat} has no finite loss", result.trial_id
                )
            difference = stats.relative_difference(loss, wanted)
            if difference > tolerance:
                sentence = (
                    f"{result.trial.backend} has loss {loss:.9g} at step {step} of repeat {repeat.repeat}, "
                    f"{reference.trial.backend} {wanted:.9g}: {difference:.1e} apart, allowed {tolerance:.0e}"
                )
                return _fails("same losses", sentence, result.trial_id)
            worst = max(worst, difference)
    return _against("same losses", f"within {worst:.1e} over {len(expected)} steps", result, reference)


def _model_key(trial: Trial) -> object:
    return trial.workload.model, trial.workload.task, _is_programmed(trial)


def _data_key(trial: Trial) -> object:
    workload = {name: getattr(trial.workload, name) for name in trial.workload.__struct_fields__}
    del workload["batch_per_replica"], workload["dropout"]
    return tuple(workload.items()), trial.global_batch, trial.timing


def _loss_key(trial: Trial) -> object:
    return _data_key(trial), trial.workload.dropout, trial.optimizer, trial.compute, trial.wire, _is_programmed(trial)


def _is_programmed(trial: Trial) -> bool:
    """A backend without a framework trains nothing: it is compared with its like only."""
    return catalog.entry(trial.backend).framework == "none"


def _against(gate: str, evidence: str, result: TrialResult, reference: TrialResult) -> GateOutcome:
    sentence = f"{evidence}, against {reference.trial.backend} at {reference.trial.replicas} replica(s)"
    return GateOutcome(gate=gate, holds=True, sentence=sentence, trial_id=result.trial_id)


def _holds(gate: str, sentence: str) -> GateOutcome:
    return GateOutcome(gate=gate, holds=True, sentence=sentence)


def _fails(gate: str, sentence: str, trial_id: str | None = None) -> GateOutcome:
    return GateOutcome(gate=gate, holds=False, sentence=sentence, trial_id=trial_id)


def _unknown(gate: str, sentence: str, trial_id: str | None = None) -> GateOutcome:
    return GateOutcome(gate=gate, holds=None, sentence=sentence, trial_id=trial_id)


def first_failure(outcomes: Sequence[GateOutcome]) -> str | None:
    """The sentence of the first gate that does not hold, with its name."""
    return next((f"gate {outcome.gate!r}: {outcome.sentence}" for outcome in outcomes if outcome.holds is False), None)

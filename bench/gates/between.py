"""Gates between the trials of a run: what different stacks did with the same work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.gates.curves import Curve, across_precisions, same_losses
from bench.gates.groups import data_key, grouped, model_key, of_group, work_key
from bench.gates.outcome import fails, holds, unknown
from bench.records import GateOutcome, Trial, TrialResult

COMPARED_STEPS = 20


def between(results: Sequence[TrialResult]) -> list[GateOutcome]:
    """One outcome per gate and trial that ran, each against the trial of its group with which most others agree."""
    ran = [result for result in results if result.status == "ok" and result.repeats]
    checks: tuple[tuple[str, Callable[[Trial], object], Callable[[TrialResult, TrialResult], GateOutcome]], ...] = (
        ("same model", model_key, _same_model),
        ("same data", _run_key, _same_data),
    )
    outcomes: list[GateOutcome] = []
    for gate, key, check in checks:
        for group in grouped(ran, key):
            outcomes += of_group(gate, group, check)
    curves = [_curve(result) for result in ran]
    for alike in grouped(curves, lambda trial: (work_key(trial), trial.timing)):
        outcomes += same_losses(alike)
    return outcomes + across_precisions(curves)


def _curve(result: TrialResult) -> Curve:
    skipped = result.repeats[0].facts[0].skipped_steps or 0
    launches = [repeat.losses[:COMPARED_STEPS] for repeat in result.repeats]
    return Curve(trial_id=result.trial_id, trial=result.trial, launches=launches, skipped=skipped)


def _run_key(trial: Trial) -> object:
    return data_key(trial), trial.timing, trial.quality


def _same_model(result: TrialResult, reference: TrialResult) -> GateOutcome:
    given, expected = (one.repeats[0].facts[0].parameter_elements for one in (result, reference))
    if given != expected:
        sentence = f"{result.trial.backend} trains {given:,} elements, {reference.trial.backend} {expected:,}"
        return fails("same model", sentence, result.trial_id)
    return _against("same model", f"{given:,} trained elements", result, reference)


def _same_data(result: TrialResult, reference: TrialResult) -> GateOutcome:
    expected = reference.repeats[0]
    for repeat in result.repeats:
        if result.trial.quality.target and repeat.data_samples != expected.data_samples:
            return unknown(
                "same data", "not shown: the target was reached after another number of steps", result.trial_id
            )
        if (repeat.data_samples, repeat.data_digest) != (expected.data_samples, expected.data_digest):
            sentence = (
                f"repeat {repeat.repeat} of {result.trial.backend} was fed {repeat.data_samples} samples with digest "
                f"{repeat.data_digest}, {reference.trial.backend} {expected.data_samples} with {expected.data_digest}"
            )
            return fails("same data", sentence, result.trial_id)
    return _against("same data", f"{expected.data_samples:,} samples, digest {expected.data_digest}", result, reference)


def _against(gate: str, evidence: str, result: TrialResult, reference: TrialResult) -> GateOutcome:
    sentence = f"{evidence}, against {reference.trial.backend} at {reference.trial.replicas} replica(s)"
    return holds(gate, sentence, result.trial_id)

"""Gates of one launch: the hyper-parameters that act on each tensor, and the loss scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.gates.outcome import fails, holds, unknown
from bench.gates.report import RankReport, is_programmed, steps
from bench.records import GateOutcome, Optimizer, TensorSettings, Trial
from bench.workload.models import LAYER_NORM_EPSILON

# A setting held in a float32 variable is off by half a unit in the last place, 6e-8 of itself; products by a few.
SETTING_TOLERANCE = 1e-6
GELU = "tanh"
# What torch.optim.Adafactor takes unless told otherwise; a trial does not choose them.
ADAFACTOR = {"beta_2_decay": -0.8, "variance_epsilon": 1e-15, "scale_epsilon": 1e-3, "clip_threshold": 1.0}
BEFORE_GELU = (".intermediate.dense.weight", "cls.predictions.transform.dense.weight")

Value = float | str | None


def asked_settings(trial: Trial, reports: Sequence[RankReport], trained: dict[str, int] | None) -> GateOutcome:
    """Per tensor, as read from the live optimizer and model after the last step: what the trial says.

    `trained`: the tensors that must have settings; None: whatever has.
    """
    if is_programmed(trial):
        return unknown("settings", "nothing is trained")
    for report in reports:
        last = trial.optimizer.learning_rate_at(steps(report) - 1)
        tensors = report.settings.tensors
        missing = sorted(set(trained or ()) - {tensor.name for tensor in tensors})
        if missing:
            return fails("settings", f"rank {report.rank}: {missing[0]} has no settings")
        for tensor in tensors:
            wrong = _wrong(tensor, expected_settings(trial.optimizer, tensor.name, last))
            if wrong:
                return fails("settings", f"rank {report.rank}: {tensor.name} has {wrong}")
    return holds("settings", f"as asked on each of {len(reports[0].settings.tensors)} tensors of every rank")


def expected_settings(optimizer: Optimizer, name: str, learning_rate: float) -> dict[str, Value]:
    """By field of TensorSettings, those that this optimizer and this tensor have."""
    normalises = name.endswith("LayerNorm.weight")
    expected: dict[str, Value] = {
        "learning_rate": learning_rate,
        "weight_decay": 0.0 if normalises or name.endswith("bias") else optimizer.weight_decay,
        "clip_norm": optimizer.clip_norm,
    }
    if optimizer.name in ("adamw", "lamb"):
        expected |= {"beta_1": optimizer.beta_1, "beta_2": optimizer.beta_2, "epsilon": optimizer.epsilon}
    if optimizer.name == "sgd":
        expected["momentum"] = optimizer.momentum
    if optimizer.name == "adafactor":
        expected |= ADAFACTOR
    if normalises:
        expected["layer_norm_epsilon"] = LAYER_NORM_EPSILON
    if name.endswith(BEFORE_GELU):
        expected["activation"] = GELU
    return expected


def _wrong(given: TensorSettings, expected: dict[str, Value]) -> str:
    """Each setting that is not as expected; nothing where all are."""
    pairs = [(field, getattr(given, field), wanted) for field, wanted in expected.items()]
    return "; ".join(
        f"{field} {'unknown' if value is None else value}, expected {wanted}"
        for field, value, wanted in pairs
        if not _equal(value, wanted)
    )


def _equal(given: Value, expected: Value) -> bool:
    if isinstance(given, str) or isinstance(expected, str) or given is None or expected is None:
        return given == expected
    return math.isclose(given, expected, rel_tol=SETTING_TOLERANCE, abs_tol=0.0)


def sound_loss_scale(trial: Trial, reports: Sequence[RankReport]) -> GateOutcome:
    """float16: all ranks have one scale, which `skipped` halvings and the doublings there was time for can explain."""
    first = reports[0].facts
    if trial.compute != "float16":
        odd = next((report for report in reports if report.facts.loss_scale is not None), None)
        if odd is not None:
            return fails(
                "loss scale", f"rank {odd.rank} scales by {odd.facts.loss_scale:g}, {trial.compute} has no scale"
            )
        return unknown("loss scale", f"{trial.compute} has none")
    for report in reports:
        given = (report.facts.loss_scale, report.facts.skipped_steps)
        if None in given:
            return fails("loss scale", f"rank {report.rank} does not tell its scale and skipped steps")
        if given != (first.loss_scale, first.skipped_steps):
            expected = f"expected {first.loss_scale} after {first.skipped_steps} as rank {reports[0].rank}"
            return fails("loss scale", f"rank {report.rank} has {given[0]} after {given[1]} skipped steps, {expected}")
    return _explained(trial, reports[0])


def _explained(trial: Trial, report: RankReport) -> GateOutcome:
    """The scale is the initial one, halved for each skipped step and doubled for each run of growth before the last.

    Whether the last step was skipped itself is not told: one halving more or less is both right.
    """
    scale, skipped = report.facts.loss_scale or 0.0, report.facts.skipped_steps or 0
    growths = (steps(report) - skipped) // trial.loss_scale.growth_steps
    # A scale of 1 cannot overflow where float32 does not: more halvings than that are no search for a scale.
    most = math.ceil(math.log2(max(2.0, trial.loss_scale.initial))) + 1 + 2 * growths
    if skipped > most:
        found = f"rank {report.rank} left out {skipped} of {steps(report)} updates"
        return fails("loss scale", f"{found}, at most {most} can be the search for a scale")
    powers = math.log2(scale / trial.loss_scale.initial) if scale > 0 else math.nan
    if not (powers.is_integer() and -skipped <= powers <= growths - max(0, skipped - 1)):
        asked = f"asked were {trial.loss_scale.initial:g} at first and {skipped} skipped steps"
        return fails("loss scale", f"rank {report.rank} has {scale:g} after {steps(report)} steps, {asked}")
    return holds("loss scale", f"{scale:g} after {steps(report)} steps, {skipped} of them skipped, on every rank")

"""What a trial asks for, checked before anything starts; every error names the study's line."""

from __future__ import annotations

from bench.errors import UserError
from bench.records import Trial
from bench.strict import KeyPath
from bench.workload.models import model_config
from bench.yaml_source import Source


def check_trial(source: Source, trial: Trial) -> None:
    """The model is known, its positions suffice, the data files exist, no setting lacks what it needs.

    Raises UserError.
    """
    _check_settings(source, trial)
    try:
        model_config(trial.workload)
    except UserError as error:
        key = "sequence_length" if str(error).startswith("workload.sequence_length") else "model"
        raise source.error(written_at(source, f"workload.{key}"), str(error)) from None
    if (trial.workload.data, trial.workload.validation) != ("builtin", "held_out"):
        from bench.workload.inputs import training_input, validation_input  # not needed for built-in data

        try:
            training_input(trial.workload)
            validation_input(trial.workload)
        except (UserError, OSError, ValueError) as error:
            key = "validation" if str(error).startswith("workload.validation") else "data"
            raise source.error(written_at(source, f"workload.{key}"), str(error)) from None


def written_at(source: Source, key: str) -> KeyPath:
    """Where the file has `key`, as in "workload.data": as an axis or in its section."""
    axis = ("matrix", key)
    return axis if axis in source.lines else tuple(key.split("."))


def _check_settings(source: Source, trial: Trial) -> None:
    optimizer, quality = trial.optimizer, trial.quality
    if 0 < optimizer.decay_steps <= optimizer.warmup_steps:
        raise source.error(
            written_at(source, "optimizer.decay_steps"),
            f"optimizer.decay_steps is {optimizer.decay_steps}, the step at which the rate is 0; "
            f"expected more than optimizer.warmup_steps {optimizer.warmup_steps}",
        )
    if quality.target > 0 and quality.samples == 0:
        raise source.error(
            written_at(source, "quality.target"),
            f"quality.target is {quality.target}, but nothing is evaluated; give quality.samples above 0",
        )

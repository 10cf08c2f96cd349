"""What a trial asks for, checked before anything starts; every error names the study's line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.errors import UserError
from bench.quoting import clipped, quoted
from bench.records import Trial
from bench.strict import KeyPath
from bench.workload.models import ModelConfig, model_config
from bench.yaml_source import Source


def check_trial(source: Source, trial: Trial) -> None:
    """The model is known, its positions suffice, the data files exist, no setting lacks what it needs.

    Raises UserError.
    """
    _check_settings(source, trial)
    workload = trial.workload
    with _at(source, trial, "model", "sequence_length"):
        _check_size(workload.model, model_config(workload))
    if workload.vocabulary != "trained":
        from bench.workload.vocabulary import vocabulary_file  # not needed for built-in data, nor is what follows

        with _at(source, trial, "vocabulary"):
            vocabulary_file(workload.vocabulary)
    if (workload.data, workload.validation) != ("builtin", "held_out"):
        from bench.workload.inputs import training_input, validation_input

        with _at(source, trial, "data", "validation"):
            training_input(workload)
            validation_input(workload)


def _check_size(name: str, config: ModelConfig) -> None:
    """The initial weights are made in this machine's memory. Raises UserError where they, biases aside, do not fit."""
    import psutil

    hidden = config.hidden_size
    embedded = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    layer = 4 * hidden**2 + 2 * hidden * config.intermediate_size
    needed, there = 4 * (embedded * hidden + config.num_hidden_layers * layer), psutil.virtual_memory().total
    if needed > there:
        raise UserError(
            f"the weights of model {name!r} are {quoted(needed)} bytes, and this machine's memory has {there}: "
            "its config.json asks for too many or too large layers"
        )


@contextmanager
def _at(source: Source, trial: Trial, key: str, other: str | None = None) -> Iterator[None]:
    """What goes wrong inside is said of that key of the workload, or of the other one where it names that."""
    try:
        yield
    except (UserError, OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~somebody has no home
        reason = getattr(error, "strerror", None) or str(error)
        given = quoted(getattr(trial.workload, key))
        said = clipped(reason, 600) if isinstance(error, UserError) else f"workload.{key} is {given}: {reason}"
        found = other if other is not None and said.startswith(f"workload.{other}") else key
        raise source.error(written_at(source, f"workload.{found}"), said) from None


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

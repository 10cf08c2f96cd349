"""The contract's formulas, in float64, by (replica, name) of a tensor; and batches made of other batches."""

from __future__ import annotations

import numpy as np

from bench.protocols import Batch
from bench.records import Trial

Values = dict[tuple[int, str], np.ndarray]


def decay_of(name: str, trial: Trial) -> float:
    """Decoupled weight decay: none on biases and LayerNorm weights."""
    return 0.0 if name.endswith("bias") or "LayerNorm" in name else trial.optimizer.weight_decay


def adamw_step(weight: np.ndarray, gradient: np.ndarray, name: str, trial: Trial) -> np.ndarray:
    """The first step of Loshchilov and Hutter's AdamW: with bias correction, m = g and v = g * g."""
    settings, g = trial.optimizer, gradient.astype(np.float64)
    kept = weight.astype(np.float64) * (1 - settings.learning_rate * decay_of(name, trial))
    return kept - settings.learning_rate * g / (np.abs(g) + settings.epsilon)


def sgd_step(weight: np.ndarray, velocity: np.ndarray, name: str, trial: Trial) -> np.ndarray:
    settings = trial.optimizer
    kept = weight.astype(np.float64) * (1 - settings.learning_rate * decay_of(name, trial))
    return kept - settings.learning_rate * velocity.astype(np.float64)


def largest_deviation(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.max(np.abs(left.astype(np.float64) - right.astype(np.float64))))


def relative_errors(values: Values, expected: Values) -> dict[str, float]:
    """Per tensor name, the worst replica: norm of the difference over the norm of what was expected.

    Some gradients vanish in exact arithmetic (a key's bias shifts all scores alike), so no norm counts as less than
    1e-4 of all tensors together.
    """
    wide = {key: value.astype(np.float64) for key, value in expected.items()}
    whole = float(np.sqrt(sum(np.sum(value**2) for value in wide.values())))
    errors: dict[str, float] = {}
    for key, value in values.items():
        scale = max(float(np.linalg.norm(wide[key])), 1e-4 * whole)
        error = float(np.linalg.norm(value.astype(np.float64) - wide[key])) / scale
        errors[key[1]] = max(errors.get(key[1], 0.0), error)
    return errors


def split(batch: Batch) -> Batch:
    """The same samples as two microbatches of half the size."""

    def halves(array: np.ndarray) -> np.ndarray:
        _, replicas, samples, *rest = array.shape
        return np.ascontiguousarray(array.reshape(replicas, 2, samples // 2, *rest).swapaxes(0, 1))

    return remade(batch, {name: halves(array) for name, array in batch.arrays.items()})


def remade(batch: Batch, arrays: dict[str, np.ndarray]) -> Batch:
    return Batch(
        step=batch.step,
        arrays=arrays,
        global_weights=batch.global_weights,
        samples=batch.samples,
        tokens_real=batch.tokens_real,
        tokens_padded=batch.tokens_padded,
    )

"""How far two stacks may differ that do the same arithmetic in another order: derived in docs/equality.md.

Bounds are relative, a multiple of the unit roundoff of what was computed and exchanged; the multiples were fixed on
BERT-tiny and BERT-mini against float64, at 3 to 10 times what is seen.
"""

from __future__ import annotations

import math

from bench.records import Optimizer, Trial
from bench.workload.models import model_config

# Half the distance from 1 to the next number.
ROUNDOFF = {"float32": 2.0**-24, "tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# Half the distance between two float16 numbers next to 0: what a small gradient loses on the wire.
FLOAT16_FLOOR = 2.0**-25

DEPTH_FACTOR = 32.0
OTHER_WORLD_FACTOR = 4.0
LOW_LOSS_FACTOR = 1.0
STORED_UPDATES = 5e-5
LOW_UPDATES_FACTOR = 4.0
WIRE_FACTOR = 4.0
CANCELLATION_FACTOR = 2.0
ZERO_FACTOR = 4.0
MOST_FLOAT32_LOSS = 1e-5

# Of the sentence-level head, whose gradients are sums over the few samples of a batch; each with its bias.
SENTENCE_HEADS = {"pretraining": "cls.seq_relationship", "classification": "classifier"}


def losses(trial: Trial, reference: Trial, steps: int, change: float = 0.0) -> float:
    """Of a step's loss, or of a replica's part of it: averages over many tokens, whose roundings cancel.

    `change`: of the loss since the first step, relative: it is as uncertain as the updates that brought it about.
    """
    drift = math.sqrt(max(1.0, steps / 10))
    allowed = min(_depth(trial) * ROUNDOFF["float32"] * drift, MOST_FLOAT32_LOSS)
    if trial.replicas != reference.replicas:
        allowed *= OTHER_WORLD_FACTOR
    low = max(_compute(trial), _wire(trial))
    low = low if low > ROUNDOFF["float32"] else 0.0
    return allowed + LOW_LOSS_FACTOR * low * drift + (STORED_UPDATES + LOW_UPDATES_FACTOR * low) * abs(change)


def gradient(trial: Trial, name: str, size: int, norm: float, head_norm: float | None) -> float:
    """Of a tensor's gradient in the first step, whose own norm is `norm`.

    `head_norm`: of the gradient of the sentence-level head's bias, None where the task has no such head.
    """
    allowed = _depth(trial) * _compute(trial) + _exchange(trial, size, norm)
    return allowed + _cancellation(trial, name, head_norm)


def zero_gradient(trial: Trial, size: int, weight_norm: float) -> float:
    """Of a gradient that is zero by mathematics, relative to that of the weight beside it, whose norm is given."""
    return ZERO_FACTOR * _compute(trial) + _exchange(trial, size, weight_norm)


def update(trial: Trial, name: str, steps: int, of_gradient: float, sizes: tuple[float, float, float]) -> float:
    """Of a tensor's update over all steps. `of_gradient`: what `gradient` allows it.

    sizes: root mean square of the first gradient, norm of the weight, norm of the update. Stored in float32, a weight
    is rounded twice a step, once for its decay and once for its update.
    """
    rms, weight_norm, norm = sizes
    stored = 2 * steps * ROUNDOFF["float32"] * weight_norm / norm if norm else 0.0
    if trial.optimizer.name == "sgd":
        return of_gradient * 2 * steps + stored
    return of_gradient + _near_zero(trial.optimizer, name, rms, of_gradient) / steps + stored


def _near_zero(optimizer: Optimizer, name: str, rms: float, error: float) -> float:
    """What g / (|g| + epsilon) makes of elements near 0, in the first step. `error` and the result: relative norms.

    With a density of 0.4 / rms at 0, the elements within epsilon have a slope up to 1 / epsilon, which gives
    0.5 error sqrt(rms / epsilon); and no element moves by more than 2, which gives sqrt(3.2 error).
    """
    most = math.sqrt(3.2 * error)
    if optimizer.name == "adafactor":  # its epsilon is 1e-15; matrices are divided by the size of rows and columns
        return most if name.endswith(("bias", "LayerNorm.weight")) else 0.0
    return min(most, 0.5 * error * math.sqrt(rms / optimizer.epsilon))


def planted(trial: Trial) -> float:
    """Of the mean of 1 to N, when N replicas exchange them.

    Exact where N is a power of two and the sum N (N + 1) / 2 fits the significand: no step of the sum or the
    division rounds. Else each of N terms, N - 1 sums and the division rounds once at most.
    """
    count, roundoff = trial.replicas, ROUNDOFF[trial.wire]
    exact = count & (count - 1) == 0 and count * (count + 1) / 2 <= 1 / roundoff
    return 0.0 if exact else 2 * count * roundoff


def key_weight_of(name: str) -> str | None:
    """The weight of the same layer where `name` is the bias of an attention's keys, else None.

    A key bias b adds q.b to all scores of query q alike, and the softmax does not change when all its inputs are
    shifted alike: its gradient is zero, and what a stack computes is rounding.
    """
    stem = name.removesuffix(".attention.self.key.bias")
    return f"{stem}.attention.self.key.weight" if stem != name else None


def largest_move(optimizer: Optimizer, steps: int) -> float:
    """What `steps` updates can move an element by at most, whatever its gradients: of adaptive optimizers only.

    With m and v the weighted means of g and g^2, Cauchy and Schwarz give
    |m| / sqrt(v) <= sqrt(sum w_i^2 / v_i), w_i and v_i the weights of step i in m and in v.
    """
    total = 0.0
    for last in range(steps):
        first = [optimizer.beta_1 ** (last - step) for step in range(last + 1)]
        second = [optimizer.beta_2 ** (last - step) for step in range(last + 1)]
        ratio = sum((w / sum(first)) ** 2 / (v / sum(second)) for w, v in zip(first, second, strict=True))
        total += optimizer.learning_rate_at(last) * math.sqrt(ratio)
    return total


def head_bias(trial: Trial) -> str | None:
    """The bias of the sentence-level head: its gradient is the sum over samples of (probability - label)."""
    head = SENTENCE_HEADS.get(trial.workload.task)
    return None if head is None else f"{head}.bias"


def _depth(trial: Trial) -> float:
    """Roundings of the layers add up like a random walk."""
    return DEPTH_FACTOR * math.sqrt(model_config(trial.workload).num_hidden_layers)


def _compute(trial: Trial) -> float:
    return ROUNDOFF[trial.compute]


def _wire(trial: Trial) -> float:
    return ROUNDOFF[trial.wire] if trial.replicas > 1 else ROUNDOFF["float32"]


def _exchange(trial: Trial, size: int, norm: float) -> float:
    """Each replica's part is rounded to the wire's dtype, and so is each partial sum; float16 has a floor as well."""
    if trial.wire == "float32" or trial.replicas == 1:
        return 0.0
    floor = FLOAT16_FLOOR * math.sqrt(size) / norm if trial.wire == "float16" and norm else 0.0
    return WIRE_FACTOR * math.sqrt(trial.replicas) * (_wire(trial) + floor)


def _cancellation(trial: Trial, name: str, head_norm: float | None) -> float:
    """Of the tensors behind the sentence-level head, where the samples of opposite labels nearly cancel.

    The terms' norms add up to sqrt(2) at most (a probability vector minus a one-hot one, averaged), their sum has the
    norm of the head bias' gradient: the ratio is the condition number of the sum.
    """
    head = SENTENCE_HEADS.get(trial.workload.task)
    if head is None or not name.startswith((head, "bert.pooler.")) or not head_norm:
        return 0.0
    return CANCELLATION_FACTOR * max(_compute(trial), _wire(trial)) * math.sqrt(2) / head_norm

"""How far two stacks may differ that do the same arithmetic in another order: derived in docs/equality.md.

Bounds are relative, a multiple of the unit roundoff of what was computed and exchanged; the multiples were fixed on
BERT-tiny and BERT-mini against float64, at 3 to 10 times what is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from bench import stats
from bench.records import Optimizer, Trial
from bench.workload.models import model_config

# Half the distance from 1 to the next number.
ROUNDOFF = {"float32": 2.0**-24, "tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# Half the distance between two float16 numbers next to 0: what a small gradient loses on the wire.
FLOAT16_FLOOR = 2.0**-25

DEPTH_FACTOR = 32.0
OTHER_WORLD_FACTOR = 4.0
LOW_DEPTH_FACTOR = 4.0
LOW_ATTENTION_FACTOR = 6.0
LOW_LOSS_FACTOR = 0.15
MOVES_FACTOR = 300.0
SHARE_FACTOR = 1.0
SHARE_MOVES_FACTOR = 3000.0
STORED_UPDATES = 5e-5
LOW_UPDATES_FACTOR = 1.0
SGD_UPDATES_FACTOR = 4.0
WIRE_FACTOR = 2.0
CANCELLATION_FACTOR = 1.0
ZERO_FACTOR = 3.0
LOW_ZERO_FACTOR = 1.0
SUMMED_FACTOR = 2.0
MOST_SUMMED = 0.3  # beyond it a gradient that is missing could pass
MOST_FLOAT32_LOSS = 1e-5

# Of the sentence-level head, whose gradients are sums over the few samples of a batch; each with its bias.
SENTENCE_HEADS = {"pretraining": "cls.seq_relationship", "classification": "classifier"}


def losses(trial: Trial, reference: Trial, expected: Sequence[float | None], behind: int = 0) -> list[float]:
    """Per step: of the loss, an average over many tokens, whose roundings cancel.

    expected   the reference's. What it has changed since the first step is as uncertain as the updates behind it
    behind     so many updates more were left out by one of the two, as it says itself
    """
    growth = math.sqrt(max(1.0, len(expected) / 10))
    base = min(_depth(trial) * ROUNDOFF["float32"], MOST_FLOAT32_LOSS / growth)
    if trial.replicas != reference.replicas:
        base *= OTHER_WORLD_FACTOR
    computed, low = (max(map(_low, map(of, (trial, reference)))) for of in (_compute, roundoff))
    base += LOW_LOSS_FACTOR * computed
    by_updates = STORED_UPDATES + _updates_factor(trial.optimizer) * low
    changes = _changes(expected)
    return [
        base * math.sqrt(max(1.0, (step + 1) / 10))
        + by_updates * change
        + MOVES_FACTOR * low * _walked(trial.optimizer, step)
        + _missed(behind, step) * changes[-1]
        for step, change in enumerate(changes)
    ]


def share(trial: Trial, step: int) -> float:
    """Of a replica's part of one head's loss, beyond what is allowed the loss: it may be of a few samples only."""
    return (SHARE_FACTOR + SHARE_MOVES_FACTOR * _walked(trial.optimizer, step)) * _low(roundoff(trial))


def _walked(optimizer: Optimizer, step: int) -> float:
    """How far rounding alone has moved an element before `step`: an adaptive optimizer makes steps of the full rate of
    it where the gradient is nothing else, as on the sentence level."""
    if optimizer.name == "sgd":
        return 0.0
    return math.sqrt(sum(optimizer.learning_rate_at(before) ** 2 for before in range(step)))


def _changes(losses: Sequence[float | None]) -> list[float]:
    """Per step the largest relative change of the loss until then."""
    first = losses[0] if losses else None
    apart = [0.0 if loss is None or first is None else stats.relative_difference(first, loss) for loss in losses]
    return list(accumulate(apart, max))


def _low(roundoff: float) -> float:
    return roundoff if roundoff > ROUNDOFF["float32"] else 0.0


def _updates_factor(optimizer: Optimizer) -> float:
    return SGD_UPDATES_FACTOR if optimizer.name == "sgd" else LOW_UPDATES_FACTOR


def _missed(behind: int, step: int) -> float:
    """The share of all that is learnt that a run learns later when it is `behind` updates behind another.

    k / t of it in the mean, where learning slows down; under a linear warm-up, where progress goes with t^2, 2 k / t;
    and twice as much of a batch that the missed one was good for.
    """
    return min(1.0, 4 * behind / step) if step else 0.0


def roundoff(trial: Trial) -> float:
    """Of what is computed and exchanged, the larger."""
    return max(_compute(trial), _wire(trial))


def gradient(trial: Trial, name: str, size: int, norm: float, head_norm: float | None) -> float:
    """Of a tensor's gradient in the first step, whose own norm is `norm`.

    `head_norm`: of the gradient of the sentence-level head's bias, None where the task has no such head.
    """
    allowed = _products(trial, name) + _exchange(trial, size, norm)
    return allowed + _cancellation(trial, name, head_norm)


def zero_gradient(trial: Trial, size: int, weight_norm: float) -> float:
    """Of a gradient that is zero by mathematics, relative to that of the weight beside it, whose norm is given."""
    factor = LOW_ZERO_FACTOR if _low(_compute(trial)) else ZERO_FACTOR
    return factor * _compute(trial) + _exchange(trial, size, weight_norm)


def repeated_error(allowed: float, seen: float) -> float:
    """Of the gradients of later steps, when the first one was allowed and seen to be so far off.

    What was seen says more than what is allowed, but of one step only, and other batches cancel more: five times as
    much is taken, and half of what is allowed at least. More than what is allowed is a fault, and excuses nothing.
    """
    return max(5 * min(seen, allowed), allowed / 2)


class Moved(NamedTuple):
    """One tensor in training. `elements` that moved; `slope`: root mean square of its first gradient; norms."""

    elements: int
    slope: float
    weight_norm: float
    update_norm: float


def update(trial: Trial, name: str, steps: int, error: float, moved: Moved) -> float:
    """Of a tensor's update over all steps, when its gradients are off by `error` (repeated_error).

    Stored in float32, a weight is rounded twice a step, once for its decay and once for its update, by u / sqrt(3) in
    the mean square: a random walk in each of two stacks.
    """
    walk = 2 * math.sqrt(steps) * ROUNDOFF["float32"]
    stored = walk * moved.weight_norm / moved.update_norm if moved.update_norm else 0.0
    if trial.optimizer.name == "sgd":
        return error * math.sqrt(steps) + stored
    return error + _near_zero(trial.optimizer, name, moved, error) / _steps_walked(trial.optimizer, steps) + stored


def _near_zero(optimizer: Optimizer, name: str, moved: Moved, error: float) -> float:
    """What g / (|g| + epsilon) makes of elements near 0, in the first step. `error` and the result: relative norms.

    With a density of 0.4 / slope at 0, the elements within epsilon have a slope up to 1 / epsilon, which gives
    0.5 error sqrt(slope / epsilon). No element moves by more than 2: of n, 0.8 error n are expected to be so near that
    their sign may change, 3 standard deviations and 3 more in a small tensor.
    """
    expected = 0.8 * error * moved.elements
    most = 2 * math.sqrt((expected + 3 * math.sqrt(expected) + 3) / max(1, moved.elements))
    if optimizer.name == "adafactor":  # its epsilon is 1e-15; matrices are divided by the size of rows and columns
        return most if name.endswith(("bias", "LayerNorm.weight")) else 0.0
    return min(most, 0.5 * error * math.sqrt(moved.slope / optimizer.epsilon))


def _steps_walked(optimizer: Optimizer, steps: int) -> float:
    """How far an element gets in so many steps of random sign, in lengths of the first one that moves it."""
    rates = [optimizer.learning_rate_at(step) for step in range(steps)]
    first = next((rate for rate in rates if rate), 1.0)
    return max(1.0, math.sqrt(sum(rate**2 for rate in rates)) / first)


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


def _depth(trial: Trial, factor: float = DEPTH_FACTOR) -> float:
    """Roundings of the layers add up like a random walk."""
    return factor * math.sqrt(model_config(trial.workload).num_hidden_layers)


def _products(trial: Trial, name: str) -> float:
    """Of the gradients of one replica. In 16 bits only what a product returns is rounded, not each of its terms."""
    roundoff = _compute(trial)
    if trial.compute == "float32":
        return _depth(trial) * roundoff
    attention = ".attention.self.query." in name or ".attention.self.key." in name
    allowed = _depth(trial, LOW_ATTENTION_FACTOR if attention else LOW_DEPTH_FACTOR) * roundoff
    return allowed + _summed(trial, name)


def _summed(trial: Trial, name: str) -> float:
    """Of sums over n tokens that a framework makes in bfloat16 itself (TensorFlow, of the biases of dense layers).

    Terms of random sign add up to sqrt(k) of one after k of them, and each partial sum is rounded: relative to the
    whole, the root of the sum of k / n, times u.
    """
    summed = name.endswith(("dense.bias", "classifier.bias")) or name.startswith("cls.predictions.transform.LayerNorm")
    if trial.compute != "bfloat16" or not summed:
        return 0.0
    work = trial.workload
    tokens = work.batch_per_replica * work.sequence_length / work.accumulation
    return min(MOST_SUMMED, SUMMED_FACTOR * _compute(trial) * math.sqrt(tokens))


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

"""Optimizers that update exactly as PyTorch's do, on Keras' variables, with TensorFlow's fused kernels where they fit.

Keras' own are not used: their formulas differ (the epsilon of Adam, the momentum of SGD under a changing rate, the
decay of LAMB, the second moments of Adafactor), and under tf.distribute their `apply` all-reduces the gradients,
whatever was exchanged before. Here each replica updates its own copies, by raw operations on their handles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backends._tensorflow_keras import tf
from backends._tensorflow_weights import Binding
from bench import records

Shapes = Mapping[str, tuple[int, ...]]


def read(variable: Any) -> Any:
    """The value of this replica's copy."""
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


def assign(variable: Any, value: Any) -> None:
    """To this replica's copy."""
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)


class Optimizer:
    """State and hyper-parameters, for the variables in the order of `bindings`. Create it inside the strategy's scope.

    learning_rate   float64; a step assigns it
    steps           updates so far, int64
    decays          per tensor: the decay that its update applies
    """

    kernel = "elementwise operations"
    beta_1: float | None = None
    beta_2: float | None = None
    epsilon: float | None = None
    momentum: float | None = None
    beta_2_decay: float | None = None
    variance_epsilon: float | None = None
    scale_epsilon: float | None = None
    clip_threshold: float | None = None

    def __init__(self, wanted: records.Optimizer, bindings: Sequence[Binding]) -> None:
        self.learning_rate = tf.Variable(wanted.learning_rate, trainable=False, dtype=tf.float64, name="learning_rate")
        self.steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps")
        self.decays = [wanted.weight_decay if binding.decays else 0.0 for binding in bindings]
        self.slots: list[list[Any]] = [[] for _ in bindings]

    @property
    def variables(self) -> list[Any]:
        return [self.learning_rate, self.steps, *(slot for slots in self.slots for slot in slots)]

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """One update of this replica's copies. `variables`: Keras', in the order of the bindings."""
        step, rate = read(self.steps) + 1, read(self.learning_rate)
        # In float64: at t = 1 the float32 error of 1 - 0.999^t would be 1e-5.
        scalars = self.scalars(tf.cast(step, tf.float64), rate)
        for index, (gradient, variable) in enumerate(zip(gradients, variables, strict=True)):
            self.update(index, variable.value, gradient, scalars)
        assign(self.steps, step)

    def scalars(self, step: Any, rate: Any) -> dict[str, Any]:
        """What all tensors share, as float32. `step` counts from 1."""
        return {"rate": tf.cast(rate, tf.float32), "rate_64": rate}

    def update(self, index: int, variable: Any, gradient: Any, scalars: Mapping[str, Any]) -> None:
        """Of one tensor."""
        raise NotImplementedError

    def decay(self, index: int, variable: Any, scalars: Mapping[str, Any]) -> None:
        """Decoupled: w <- w (1 - rate decay), rounded as PyTorch rounds it."""
        if self.decays[index]:
            kept = tf.cast(1.0 - scalars["rate_64"] * self.decays[index], tf.float32)
            assign(variable, read(variable) * kept)

    def add_slots(self, index: int, *shapes: Sequence[int]) -> None:
        """Zeros."""
        self.slots[index] += [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes]


class AdamW(Optimizer):
    """AdamW with PyTorch's epsilon, which is added after the bias correction.

    PyTorch: p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps). Multiplied through by sqrt(1 - b2^t) this
    is the kernel's p -= alpha * m / (sqrt(v) + eps_t) with
    alpha = lr * sqrt(1 - b2^t) / (1 - b1^t) and eps_t = eps * sqrt(1 - b2^t).
    Keras' Adam uses eps for eps_t (the "epsilon hat" of Kingma and Ba, arXiv:1412.6980, section 2).
    """

    kernel = "ResourceApplyAdam"
    beta_1: float
    beta_2: float
    epsilon: float

    def __init__(self, wanted: records.Optimizer, bindings: Sequence[Binding]) -> None:
        super().__init__(wanted, bindings)
        self.beta_1, self.beta_2, self.epsilon = wanted.beta_1, wanted.beta_2, wanted.epsilon
        for index, binding in enumerate(bindings):
            self.add_slots(index, binding.variable.shape, binding.variable.shape)

    def corrections(self, step: Any) -> tuple[Any, Any]:
        """1 - b1^t and 1 - b2^t in float64, of the betas as the kernel has them, in float32: its own 1 - 0.999 is as
        far off and must cancel."""
        betas = (float(np.float32(beta)) for beta in (self.beta_1, self.beta_2))
        first, second = (1.0 - tf.pow(tf.constant(beta, tf.float64), step) for beta in betas)
        return first, second

    def scalars(self, step: Any, rate: Any) -> dict[str, Any]:
        first, second = self.corrections(step)
        return {
            "rate_64": rate,
            "alpha": tf.cast(rate * tf.sqrt(second) / first, tf.float32),
            "epsilon": tf.cast(self.epsilon * tf.sqrt(second), tf.float32),
        }

    def update(self, index: int, variable: Any, gradient: Any, scalars: Mapping[str, Any]) -> None:
        self.decay(index, variable, scalars)
        first, second = self.slots[index]
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=0.0,  # the kernel's own correction, in float32, is left out
            beta2_power=0.0,
            lr=scalars["alpha"],
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=scalars["epsilon"],
            grad=gradient,
        )


class Lamb(AdamW):
    """LAMB, You et al., arXiv:1904.00962, algorithm 2 with phi = identity; the decay is part of the update.

    r = mhat / (sqrt(vhat) + eps) + decay w;  w -= lr |w| / |r| r, the ratio being 1 where a norm is 0.
    """

    kernel = Optimizer.kernel

    def scalars(self, step: Any, rate: Any) -> dict[str, Any]:
        first, second = self.corrections(step)
        corrections = {"first": tf.cast(first, tf.float32), "second": tf.cast(second, tf.float32)}
        return {**Optimizer.scalars(self, step, rate), **corrections}

    def update(self, index: int, variable: Any, gradient: Any, scalars: Mapping[str, Any]) -> None:
        weight = read(variable)
        # As the corrections have them, in float32.
        beta_1, beta_2 = np.float32(self.beta_1), np.float32(self.beta_2)
        momentum, velocity = self.slots[index]
        first = read(momentum) * beta_1 + gradient * (1 - beta_1)
        second = read(velocity) * beta_2 + tf.square(gradient) * (1 - beta_2)
        assign(momentum, first)
        assign(velocity, second)
        direction = (first / scalars["first"]) / (tf.sqrt(second / scalars["second"]) + self.epsilon)
        if self.decays[index]:
            direction += self.decays[index] * weight
        norms = tf.norm(weight), tf.norm(direction)
        trust = tf.where((norms[0] > 0) & (norms[1] > 0), norms[0] / norms[1], 1.0)
        assign(variable, weight - scalars["rate"] * trust * direction)


class Adafactor(Optimizer):
    """torch.optim.Adafactor with its defaults: beta2_decay -0.8, eps (1e-15, 1e-3), d 1, no first moment.

    Factored over the two axes of the checkpoint's tensor: Keras splits some of them in two.
    """

    beta_2_decay: float = -0.8
    variance_epsilon: float = 1e-15
    scale_epsilon: float = 1e-3
    clip_threshold: float = 1.0

    def __init__(self, wanted: records.Optimizer, bindings: Sequence[Binding], shapes: Shapes) -> None:
        super().__init__(wanted, bindings)
        self.shapes = [
            shapes[each.name][::-1] if each.transposed else shapes[each.name] for each in bindings
        ]  # as flattened from Keras', without a copy
        for index, shape in enumerate(self.shapes):
            factors = [(*shape[:-1], 1), (1, shape[-1])] if len(shape) == 2 else [shape]
            self.add_slots(index, *factors)

    def scalars(self, step: Any, rate: Any) -> dict[str, Any]:
        return {
            **super().scalars(step, rate),
            "fresh": tf.cast(tf.pow(step, self.beta_2_decay), tf.float32),
            "relative": tf.cast(tf.minimum(rate, 1.0 / tf.sqrt(step)), tf.float32),
        }

    def update(self, index: int, variable: Any, gradient: Any, scalars: Mapping[str, Any]) -> None:
        weight = read(variable)
        alpha = tf.maximum(self.scale_epsilon, _root_mean_square(weight)) * scalars["relative"]
        flat = tf.reshape(gradient, self.shapes[index])
        variance = self._variance(index, tf.square(flat), scalars["fresh"])
        step = tf.math.rsqrt(tf.maximum(variance, self.variance_epsilon**2)) * flat
        step *= alpha / tf.maximum(1.0, _root_mean_square(step) / self.clip_threshold)
        if self.decays[index]:
            weight *= tf.cast(1.0 - scalars["rate_64"] * self.decays[index], tf.float32)
        assign(variable, weight - tf.reshape(step, weight.shape))

    def _variance(self, index: int, squares: Any, fresh: Any) -> Any:
        """Moves the moving averages by the share `fresh`; the second moment that they stand for."""
        means = [squares]
        if len(self.slots[index]) == 2:
            means = [tf.reduce_mean(squares, axis, keepdims=True) for axis in (-1, -2)]
        moved = []
        for slot, mean in zip(self.slots[index], means, strict=True):
            old = read(slot)
            moved.append(old + fresh * (mean - old))
            assign(slot, moved[-1])
        if len(moved) == 1:
            return moved[0]
        rows, columns = moved
        return rows * columns / tf.maximum(tf.reduce_mean(rows), self.variance_epsilon)


class SGD(Optimizer):
    """PyTorch's: a = momentum * a + g; p -= lr * a. The decay is decoupled."""

    momentum: float

    def __init__(self, wanted: records.Optimizer, bindings: Sequence[Binding]) -> None:
        super().__init__(wanted, bindings)
        self.momentum = float(wanted.momentum)
        self.kernel = "ResourceApplyMomentum" if self.momentum else "ResourceApplyGradientDescent"
        for index, binding in enumerate(bindings if self.momentum else ()):
            self.add_slots(index, binding.variable.shape)

    def update(self, index: int, variable: Any, gradient: Any, scalars: Mapping[str, Any]) -> None:
        self.decay(index, variable, scalars)
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=scalars["rate"], delta=gradient)
            return
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=self.slots[index][0].handle,
            lr=scalars["rate"],
            grad=gradient,
            momentum=self.momentum,
        )


def build_optimizer(wanted: records.Optimizer, bindings: Sequence[Binding], shapes: Shapes | None = None) -> Optimizer:
    """`shapes`: of the checkpoint's tensors, which Adafactor needs. Call inside the strategy's scope."""
    if wanted.name == "adafactor":
        return Adafactor(wanted, bindings, shapes or {})
    return {"adamw": AdamW, "lamb": Lamb, "sgd": SGD}[wanted.name](wanted, bindings)


def clipped(gradients: Sequence[Any], clip_norm: float) -> list[Any]:
    """As torch.nn.utils.clip_grad_norm_: times min(1, clip_norm / (norm over all + 1e-6)). 0: unchanged."""
    if not clip_norm:
        return list(gradients)
    norm = tf.linalg.global_norm(gradients)
    factor = tf.minimum(1.0, clip_norm / (norm + 1e-6))
    return [gradient * factor for gradient in gradients]


def own_settings(optimizer: Optimizer) -> dict[str, float | None]:
    """What this optimizer has of its own, under the names of records.TensorSettings; what it has not is None."""
    names = ("beta_1", "beta_2", "epsilon", "momentum")
    of_adafactor = ("beta_2_decay", "variance_epsilon", "scale_epsilon", "clip_threshold")
    return {name: getattr(optimizer, name) for name in (*names, *of_adafactor)}


def optimizer_settings(optimizer: Optimizer, bindings: Sequence[Binding]) -> dict[str, Any]:
    """Read from the live optimizer."""
    kept = [decay for each, decay in zip(bindings, optimizer.decays, strict=True) if not each.decays]
    return {
        "optimizer": type(optimizer).__name__,
        **own_settings(optimizer),
        "weight_decay": max(optimizer.decays, default=0.0),
        "weight_decay_bias_and_layer_norm": max(kept, default=0.0),
        "decayed_tensors": sum(decay != 0 for decay in optimizer.decays),
        "undecayed_tensors": sum(decay == 0 for decay in optimizer.decays),
        "update_kernel": optimizer.kernel,
    }


def _root_mean_square(value: Any) -> Any:
    return tf.sqrt(tf.reduce_mean(tf.square(value)))

"""Optimizers that update exactly as PyTorch's do, on Keras' variables, with TensorFlow's fused kernels.

Keras' own `apply` all-reduces gradients under tf.distribute (a sum), whatever was done before. Here the exchange
belongs to the backend: `_backend_update_step` is replaced, and each replica updates its own copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backends._tensorflow_keras import keras, tf
from backends._tensorflow_weights import Binding
from bench.records import Optimizer


class AdamW(keras.optimizers.Adam):  # type: ignore[misc]
    """AdamW with PyTorch's epsilon, which is added after the bias correction.

    PyTorch: p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps). Multiplied through by sqrt(1 - b2^t) this
    is the kernel's p -= alpha * m / (sqrt(v) + eps_t) with
    alpha = lr * sqrt(1 - b2^t) / (1 - b1^t) and eps_t = eps * sqrt(1 - b2^t).
    Keras' Adam uses eps for eps_t (the "epsilon hat" of Kingma and Ba, arXiv:1412.6980, section 2).
    """

    kernel = "ResourceApplyAdam"

    def _backend_update_step(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        # In float64, since at t = 1 the float32 error of 1 - 0.999^t would be 1e-5; of the betas as the kernel has
        # them, in float32, since its 1 - 0.999 is as far off and must cancel.
        step = tf.cast(self.iterations.value + 1, tf.float64)
        betas = (float(np.float32(beta)) for beta in (self.beta_1, self.beta_2))
        first, second = (1.0 - tf.pow(tf.constant(beta, tf.float64), step) for beta in betas)
        alpha = tf.cast(tf.cast(learning_rate, tf.float64) * tf.sqrt(second) / first, tf.float32)
        epsilon = tf.cast(self.epsilon * tf.sqrt(second), tf.float32)
        for gradient, variable in zip(gradients, variables, strict=True):
            index = self._get_variable_index(variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=self._momentums[index].value.handle,
                v=self._velocities[index].value.handle,
                beta1_power=0.0,  # the kernel's own correction, in float32, is left out
                beta2_power=0.0,
                lr=alpha,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=epsilon,
                grad=gradient,
            )


class SGD(keras.optimizers.SGD):  # type: ignore[misc]
    """SGD, with momentum a = momentum * a - lr * g; p += a: PyTorch's, for a constant learning rate."""

    @property
    def kernel(self) -> str:
        return "ResourceApplyKerasMomentum" if self.momentum else "ResourceApplyGradientDescent"

    def _backend_update_step(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        rate = tf.cast(learning_rate, tf.float32)
        for gradient, variable in zip(gradients, variables, strict=True):
            if self.momentum:
                tf.raw_ops.ResourceApplyKerasMomentum(
                    var=variable.value.handle,
                    accum=self.momentums[self._get_variable_index(variable)].value.handle,
                    lr=rate,
                    grad=gradient,
                    momentum=self.momentum,
                )
            else:
                tf.raw_ops.ResourceApplyGradientDescent(var=variable.value.handle, alpha=rate, delta=gradient)


def build_optimizer(wanted: Optimizer, bindings: list[Binding]) -> Any:
    """The optimizer with its slots, for the variables in the order of `bindings`. Call inside the strategy's scope."""
    # None, not 0.0: Keras would multiply every weight by zero and subtract.
    decay = wanted.weight_decay or None
    if wanted.name == "adamw":
        optimizer = AdamW(
            wanted.learning_rate, wanted.beta_1, wanted.beta_2, wanted.epsilon, weight_decay=decay, name="adamw"
        )
    else:
        optimizer = SGD(wanted.learning_rate, float(wanted.momentum), weight_decay=decay, name="sgd")
    optimizer.exclude_from_weight_decay(var_list=[each.variable for each in bindings if not each.decays])
    optimizer.build([each.variable for each in bindings])
    return optimizer


def optimizer_settings(optimizer: Any, bindings: list[Binding]) -> dict[str, str | bool | int | float | None]:
    """Read from the live optimizer, under the names of records.Optimizer; those it has not are None."""
    decay = 0.0 if optimizer.weight_decay is None else float(optimizer.weight_decay)
    decayed = [bool(decay) and optimizer._use_weight_decay(each.variable) for each in bindings]
    kept = [applied for each, applied in zip(bindings, decayed, strict=True) if not each.decays]
    adam = isinstance(optimizer, AdamW)
    return {
        "optimizer": type(optimizer).__name__,
        # A float32 variable: its shortest decimal, so that 1e-4 is not 9.999999747378752e-05.
        "learning_rate": float(str(optimizer.learning_rate.numpy())),
        "beta_1": optimizer.beta_1 if adam else None,
        "beta_2": optimizer.beta_2 if adam else None,
        "epsilon": optimizer.epsilon if adam else None,
        "momentum": None if adam else optimizer.momentum,
        "weight_decay": decay,
        "weight_decay_bias_and_layer_norm": decay if any(kept) else 0.0,
        "decayed_tensors": sum(decayed),
        "undecayed_tensors": len(bindings) - sum(decayed),
        "update_kernel": optimizer.kernel,
    }

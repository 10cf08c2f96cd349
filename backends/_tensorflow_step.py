"""The parts of a step that the graph is made of: forward and backward over the microbatches, and the update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backends._tensorflow_keras import tf
from backends._tensorflow_model import Bert
from backends._tensorflow_optimizer import Optimizer, assign, clipped
from backends._tensorflow_scale import DynamicScale
from backends._tensorflow_weights import Binding


@dataclass(frozen=True, eq=False)  # tf.function keeps what it traces by identity
class Backward:
    """Forward and backward pass of one replica. `replicas`: of the whole world."""

    model: Bert
    bindings: Sequence[Binding]
    replicas: int

    def __call__(self, arrays: Any, global_weights: Any, scale: Any = None) -> Any:
        """Sums over the microbatches, the first axis of `arrays`: report (2, heads), and dense gradients.

        `scale`: of the loss, for the gradients; the report is without it. None: 1.
        """
        count = arrays["input_ids"].shape[0]
        total = self._microbatch(arrays, 0, global_weights, scale)
        if count == 1:
            return total

        def add(index: Any, total: Any) -> Any:
            own = self._microbatch(arrays, index, global_weights, scale)
            return index + 1, tf.nest.map_structure(tf.add, total, own)

        return tf.while_loop(lambda index, _: index < count, add, (tf.constant(1), total), parallel_iterations=1)[1]

    def _microbatch(self, arrays: Any, index: Any, global_weights: Any, scale: Any) -> Any:
        inputs = {name: array[index] for name, array in arrays.items()}
        with tf.GradientTape() as tape:
            numerators, weights = self.model.losses(inputs)
            # Sums over the global weight would need an exchange that adds; the exchange averages over the replicas.
            scaled = [
                tf.math.divide_no_nan(sum_, weight) for sum_, weight in zip(numerators, global_weights, strict=True)
            ]
            loss = tf.add_n(scaled) * float(self.replicas)
            if scale is not None:
                loss *= scale
        gradients = tape.gradient(loss, [binding.variable.value for binding in self.bindings])
        # Embeddings give IndexedSlices, which an exchange would gather instead of reduce.
        return tf.stack([tf.stack(numerators), tf.stack(weights)]), [tf.convert_to_tensor(each) for each in gradients]


@dataclass(frozen=True, eq=False)  # tf.function keeps what it traces by identity
class Update:
    """From the exchanged gradients to the weights of one replica. `scale`: of float16 compute, else None."""

    optimizer: Optimizer
    bindings: Sequence[Binding]
    clip_norm: float
    scale: DynamicScale | None

    def __call__(self, gradients: Sequence[Any], rate: Any) -> list[Any]:
        """Sets the learning rate (float64), updates; the gradients as the optimizer saw them."""
        assign(self.optimizer.learning_rate, rate)
        if self.scale is None:
            seen = clipped(gradients, self.clip_norm)
            self._apply(seen)
            return seen
        unscaled = self.scale.unscaled(gradients)
        seen = clipped(unscaled, self.clip_norm)
        self.scale.guard(unscaled, lambda: self._apply(seen))
        return seen

    def _apply(self, gradients: Sequence[Any]) -> None:
        self.optimizer.apply(gradients, [binding.variable for binding in self.bindings])

    @property
    def variables(self) -> list[Any]:
        """All that an update may change, apart from the weights."""
        return [*self.optimizer.variables, *(self.scale.variables if self.scale is not None else ())]

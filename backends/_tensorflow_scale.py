"""Dynamic loss scaling, as torch.amp.GradScaler does it, inside the graph: no value is read on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backends._tensorflow_keras import tf
from backends._tensorflow_optimizer import assign, read
from bench.records import LossScale

GROWTH, BACKOFF = 2.0, 0.5


class DynamicScale:
    """Of float16 compute. Each replica holds its own copy; they stay equal, because an exchange spreads what is not
    finite. Create it inside the strategy's scope.

    used     the scale of the last step
    good     steps in a row whose gradients were all finite, since the scale last changed
    skipped  updates left out
    """

    def __init__(self, wanted: LossScale) -> None:
        self.growth_steps = wanted.growth_steps
        self.scale = tf.Variable(wanted.initial, trainable=False, dtype=tf.float32)
        self.used = tf.Variable(wanted.initial, trainable=False, dtype=tf.float32)
        self.good = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.skipped = tf.Variable(0, trainable=False, dtype=tf.int64)

    @property
    def variables(self) -> list[Any]:
        return [self.scale, self.used, self.good, self.skipped]

    def begin(self) -> Any:
        """The scale of this step."""
        scale = read(self.scale)
        assign(self.used, scale)
        return scale

    def unscaled(self, gradients: Sequence[Any]) -> list[Any]:
        inverse = 1.0 / read(self.used)
        return [gradient * inverse for gradient in gradients]

    def guard(self, gradients: Sequence[Any], update: Callable[[], None]) -> None:
        """Calls `update` where all unscaled gradients are finite, and moves the scale."""
        finite = tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]))

        def accept() -> Any:
            update()
            good = read(self.good) + 1
            grown = read(self.scale) * GROWTH
            grows = (good == self.growth_steps) & tf.math.is_finite(grown)
            assign(self.scale, tf.where(grows, grown, read(self.scale)))
            assign(self.good, tf.where(good == self.growth_steps, tf.zeros_like(good), good))
            return tf.constant(0)

        def leave_out() -> Any:
            assign(self.scale, read(self.scale) * BACKOFF)
            assign(self.good, tf.zeros((), tf.int64))
            assign(self.skipped, read(self.skipped) + 1)
            return tf.constant(0)

        tf.cond(finite, accept, leave_out)

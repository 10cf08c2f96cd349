"""The devices of a TensorFlow rank: which they are, and how fast the first one is alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from backends._placement import place, visible_part
from backends._tensorflow_keras import tf
from bench.errors import TrialError
from bench.protocols import Accelerator, Exercise, Marks, World

PROBE_SIZE = {"GPU": 8192, "CPU": 1024}
PROBE_COPY_ELEMENTS = {"GPU": 1 << 28, "CPU": 1 << 24}
DTYPES = {"float16": tf.float16, "bfloat16": tf.bfloat16}


class Devices:
    """What every TensorFlow backend tells of its devices. TensorFlow has no events that could be laid between the steps
    without changing its graph: nothing is marked."""

    _sharing = 1  # ranks of this host on this rank's GPU

    def accelerators(self) -> Sequence[Accelerator]:
        """The GPUs that TensorFlow may use, by the names that their driver gives. It tells no UUID."""
        physical = tf.config.list_physical_devices("GPU")
        found = []
        for gpu in tf.config.get_visible_devices("GPU"):
            ordinal = physical.index(gpu)
            found.append(Accelerator(ordinal, device_name(gpu), visible_part(ordinal), self._sharing))
        return found

    def marks(self) -> Sequence[Marks]:
        return ()

    def exercise(self, compute: str) -> Exercise | None:
        kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
        size, dtype = PROBE_SIZE[kind], DTYPES.get(compute, tf.float32)
        try:
            with tf.device(f"/{kind}:0"):
                left, right = tf.ones((size, size), dtype), tf.ones((size, size), dtype)
                source = tf.ones(PROBE_COPY_ELEMENTS[kind])
                tf.matmul(left, right)
                tf.raw_ops.DeepCopy(x=source)
        except tf.errors.ResourceExhaustedError:
            return None

        def multiply() -> None:
            tf.matmul(left, right)

        def copy() -> None:
            tf.raw_ops.DeepCopy(x=source)  # assigning and tf.identity move nothing

        return Exercise(multiply, size, copy, 4 * PROBE_COPY_ELEMENTS[kind])

    def use_own_gpu(self, world: World) -> None:
        """Hides all GPUs but this rank's. Raises TrialError when there are GPUs, but too few."""
        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            placed = place(world, [visible_part(ordinal) for ordinal in range(len(gpus))])
            self._sharing = placed.ranks
            tf.config.set_visible_devices(gpus[placed.ordinal], "GPU")


def device_name(gpu: Any) -> str:
    """As the driver calls it, "NVIDIA H200"; "unknown" where TensorFlow does not tell."""
    return str(tf.config.experimental.get_device_details(gpu).get("device_name", "unknown"))


@contextmanager
def memory_named(samples: int) -> Iterator[None]:
    """Raises TrialError, the sentence of the row, where a step finds no memory."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        said = [line.strip() for line in str(error).splitlines() if "OOM" in line or "memory" in line.lower()]
        reason = said[0] if said else "no reason given"
        raise TrialError(f"out of memory with {samples} samples a step: {reason}") from error

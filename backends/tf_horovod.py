"""TensorFlow with Horovod, over Gloo, MPI or NCCL as Horovod was built and started."""

from __future__ import annotations

from typing import Any

import horovod

from backends._horovod import requested_knobs
from backends._tensorflow import TensorFlowBackend, use_own_gpu
from backends._tensorflow_keras import tf
from bench.errors import TrialError
from bench.protocols import Backend as Protocol

import horovod.tensorflow as hvd  # isort: skip (it imports Keras, whose framework must have been chosen before)

COMPRESSIONS = {"float32": hvd.Compression.none, "float16": hvd.Compression.fp16}


class Backend(TensorFlowBackend):
    """One all-reduce per gradient, the operation that DistributedGradientTape places after the backward pass.

    Each starts when its own gradient is ready: Horovod's thread fuses and reduces while the backward pass goes on.
    (Compiled the gradients come all at once, and nothing overlaps.) DistributedOptimizer is not used: with
    Keras 3 it leaves the ranks unsynchronised. One rank alone exchanges nothing, as with the tape.
    """

    local_step = "no all-reduce operation is in its graph; Horovod's background thread keeps its cycle"
    fuses_later = True

    def join(self) -> None:
        if self.world.local_replicas != 1:
            raise TrialError(f"a Horovod rank holds one replica, not {self.world.local_replicas}")
        hvd.init()
        place, expected = (hvd.rank(), hvd.size()), (self.world.rank, self.world.size)
        if place != expected:
            raise TrialError(
                f"Horovod is rank {place[0]} of {place[1]} where {expected[0]} of {expected[1]} was started"
            )
        use_own_gpu(self.world.local_rank)

    def barrier(self) -> None:
        self.fence()
        # Horovod's TensorFlow front end has no barrier; nobody leaves this before all have entered.
        hvd.allreduce(tf.zeros(1), op=hvd.Sum, name="barrier").numpy()

    def leave(self) -> None:
        if hvd.is_initialized():
            hvd.shutdown()

    def wrap(self) -> None:
        if self.trial.wire not in COMPRESSIONS:
            raise TrialError(f"Horovod exchanges {' or '.join(COMPRESSIONS)}, not {self.trial.wire}")
        hvd.broadcast_variables([binding.variable.value for binding in self.bindings], root_rank=0)

    def exchange(self, gradients: list[Any]) -> list[Any]:
        if hvd.size() == 1:
            return gradients
        compression = COMPRESSIONS[self.trial.wire]
        return [
            hvd.allreduce(gradient, op=hvd.Average, name=binding.name, compression=compression)
            for gradient, binding in zip(gradients, self.bindings, strict=True)
        ]

    def algorithm(self) -> tuple[str, str]:
        if self.world.size == 1:
            return "none", "one rank: nothing is exchanged"
        if tf.config.list_logical_devices("GPU") and hvd.nccl_built():
            return "unknown", "NCCL chooses for each size; not observed"
        if hvd.gloo_enabled():
            return "ring", "Gloo's all-reduce, as Horovod calls it, has one algorithm for all sizes: a segmented ring"
        return "unknown", "the MPI library chooses for each size; not observed"

    def versions(self) -> dict[str, str]:
        return {"horovod": horovod.__version__}

    def wrapper_settings(self) -> dict[str, str | bool | int | float | None]:
        return {
            "communication": "gloo" if hvd.gloo_enabled() else "mpi",
            "nccl_built": bool(hvd.nccl_built()),
            "overlaps_backward": self.world.size > 1 and not self.trial.compile,
            **requested_knobs(),
        }


_CONFORMS: type[Protocol] = Backend

"""TensorFlow with Horovod, over Gloo, MPI or NCCL as Horovod was built and started."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import horovod

from backends import _nccl as nccl
from backends._horovod import GLOO_RING, collective_algorithm, requested_knobs
from backends._horovod_mpi import mpi_algorithm
from backends._horovod_timeline import allow_timeline, with_timeline
from backends._tensorflow import TensorFlowBackend
from backends._tensorflow_collective import Operation
from backends._tensorflow_keras import tf
from bench.errors import TrialError
from bench.protocols import Backend as Protocol
from bench.protocols import Timeline
from bench.records import CollectiveRequest

import horovod.tensorflow as hvd  # isort: skip (it imports Keras, whose framework must have been chosen before)

COMPRESSIONS = {"float32": hvd.Compression.none, "float16": hvd.Compression.fp16}
# (tensor, name) to one operation.
CALLS: dict[str, Callable[[Any, str], Any]] = {
    "all_reduce": lambda tensor, name: hvd.allreduce(tensor, name=name, op=hvd.Sum),
    "all_gather": lambda tensor, name: hvd.allgather(tensor, name=name),
    "reduce_scatter": lambda tensor, name: hvd.reducescatter(tensor, name=name, op=hvd.Sum),
    "broadcast": lambda tensor, name: hvd.broadcast(tensor, root_rank=0, name=name),
}


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
        allow_timeline(self.world)
        if self._on_nccl():
            nccl.listen()
        hvd.init()
        place, expected = (hvd.rank(), hvd.size()), (self.world.rank, self.world.size)
        if place != expected:
            raise TrialError(
                f"Horovod is rank {place[0]} of {place[1]} where {expected[0]} of {expected[1]} was started"
            )
        self.use_own_gpu(self.world)

    def barrier(self) -> None:
        self.fence()
        # Horovod's TensorFlow front end has no barrier; nobody leaves this before all have entered.
        hvd.allreduce(tf.zeros(1), op=hvd.Sum, name="barrier").numpy()

    def leave(self) -> None:
        if hvd.is_initialized():
            hvd.shutdown()
        nccl.forget()

    def _on_nccl(self) -> bool:
        return bool(tf.config.list_physical_devices("GPU") and hvd.nccl_built() and self.world.size > 1)

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

    def operation(self, request: CollectiveRequest) -> Operation:
        call, ran = CALLS[request.collective], collective_algorithm(request, self.algorithm())

        def apply(tensors: list[Any]) -> list[Any]:
            # A name that comes back with another length is negotiated anew: Horovod remembers each by its name.
            stem = f"{request.collective}.{request.dtype}"
            return [call(tensor, f"{stem}.{number}.{tensor.shape[0]}") for number, tensor in enumerate(tensors)]

        return Operation(apply, lambda graph: ran)

    def trace(self) -> AbstractContextManager[Timeline]:
        return with_timeline(super().trace(), hvd)

    def algorithm(self) -> tuple[str, str]:
        if self.world.size == 1:
            return "none", "one rank: nothing is exchanged"
        if self._on_nccl():
            return nccl.heard(self.world)[:2]
        if hvd.gloo_enabled():
            return "ring", GLOO_RING
        return mpi_algorithm()

    def versions(self) -> dict[str, str]:
        of_nccl = nccl.heard(self.world).version if self._on_nccl() else None
        return {"horovod": horovod.__version__, **({"nccl": of_nccl} if of_nccl else {})}

    def wrapper_settings(self) -> dict[str, str | bool | int | float | None]:
        return {
            "communication": "gloo" if hvd.gloo_enabled() else "mpi",
            "nccl_built": bool(hvd.nccl_built()),
            "overlaps_backward": self.world.size > 1 and not self.trial.compiled,
            **requested_knobs(),
        }


_CONFORMS: type[Protocol] = Backend

"""PyTorch with Horovod's DistributedOptimizer, over Gloo, MPI or NCCL as Horovod was built and started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import horovod
import horovod.torch as hvd
from horovod.torch import mpi_ops

from backends import _nccl as nccl
from backends._horovod import GLOO_RING, collective_algorithm, requested_knobs
from backends._horovod_mpi import mpi_algorithm
from backends._horovod_timeline import allow_timeline, with_timeline
from backends._torch import TorchBackend
from backends._torch_collective import Operation
from backends._torch_observation import Issued, tally
from bench.errors import TrialError
from bench.protocols import Backend as Protocol
from bench.protocols import Timeline
from bench.records import CollectiveRequest

COMPRESSIONS = {"float32": hvd.Compression.none, "float16": hvd.Compression.fp16}
# (input, result, name) to the handle of one operation. In place the input's values are in the result.
CALLS: dict[str, Callable[[Any, Any, str], Any]] = {
    "all_reduce": lambda own, result, name: hvd.allreduce_async_(result, name=name, op=hvd.Sum),
    "all_gather": lambda own, result, name: hvd.allgather_async(own, name=name),
    "reduce_scatter": lambda own, result, name: hvd.reducescatter_async(own, name=name, op=hvd.Sum),
    "broadcast": lambda own, result, name: hvd.broadcast_async_(result, root_rank=0, name=name),
}


class Backend(TorchBackend):
    """Gradients are averaged one tensor at a time, fused by Horovod's own thread while the backward pass runs.

    One rank alone registers no hooks: it is no baseline for the wrapper.
    """

    wires = tuple(COMPRESSIONS)
    local_step = "Horovod's hooks and its synchronize are left out; its background thread keeps its cycle"

    # ---- the ranks ----------------------------------------------------------------------------------------------

    def join(self) -> None:
        allow_timeline(self.world)
        if self._on_nccl():
            nccl.listen()
        hvd.init()
        place, expected = (hvd.rank(), hvd.size()), (self.world.rank, self.world.size)
        if place != expected:
            raise TrialError(
                f"Horovod is rank {place[0]} of {place[1]} where {expected[0]} of {expected[1]} was started"
            )

    def barrier(self) -> None:
        self.fence()
        hvd.barrier()

    def leave(self) -> None:
        if hvd.is_initialized():
            hvd.shutdown()
        nccl.forget()

    def _on_nccl(self) -> bool:
        return bool(self.device.type == "cuda" and hvd.nccl_built() and self.world.size > 1)

    # ---- the exchange -------------------------------------------------------------------------------------------

    def wrap(self) -> None:
        # Without the tied decoder, which named_parameters leaves out: every tensor is exchanged once.
        parameters = list(self.model.named_parameters())
        hvd.broadcast_parameters(dict(parameters), root_rank=0)
        self.optimizer = hvd.DistributedOptimizer(
            self.optimizer, named_parameters=parameters, compression=COMPRESSIONS[self.trial.wire]
        )

    def await_exchange(self) -> None:
        self.optimizer.synchronize()

    def apply(self) -> None:
        with self.optimizer.skip_synchronize():
            super().apply()

    @contextmanager
    def observe_exchange(self) -> Iterator[None]:
        with _issued() as issued:
            yield
        self.exchanged = tally(issued, list(self.model.named_parameters()), [])

    def operation(self, request: CollectiveRequest) -> Operation:
        call = CALLS[request.collective]

        def issue(number: int, own: Any, result: Any) -> Callable[[], Any]:
            # A name that comes back with another length is negotiated anew: Horovod remembers each by its name.
            handle = call(own, result, f"{request.collective}.{request.dtype}.{number}.{own.numel()}")
            return lambda: hvd.synchronize(handle)

        return Operation(issue, *collective_algorithm(request, self.algorithm()))

    def trace(self) -> AbstractContextManager[Timeline]:
        return with_timeline(super().trace(), hvd)

    # ---- facts --------------------------------------------------------------------------------------------------

    def algorithm(self) -> tuple[str, str]:
        if self.world.size == 1:
            return "none", "one rank: Horovod registers no hooks"
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
            "allreduces_issued": sum(tensor.count for tensor in self.exchanged) if True in self._seen else None,
            **requested_knobs(),
        }


@contextmanager
def _issued() -> Iterator[list[Issued]]:
    """Within it, the list receives each tensor that is given to Horovod's core to be reduced or gathered."""
    issued: list[Issued] = []
    index_bytes: dict[str, int] = {}
    kept = mpi_ops._allreduce_async, mpi_ops._grouped_allreduce_async, mpi_ops._allgather_async
    reduce, reduce_group, gather = kept

    def note_reduce(tensor: Any, output: Any, name: str | None, *rest: Any) -> Any:
        issued.append(Issued.of(tensor, name))
        return reduce(tensor, output, name, *rest)

    def note_group(tensors: Any, outputs: Any, name: str | None, *rest: Any) -> Any:
        issued.extend(Issued.of(tensor) for tensor in tensors)
        return reduce_group(tensors, outputs, name, *rest)

    def note_gather(tensor: Any, output: Any, name: str | None, *rest: Any) -> Any:
        # A sparse gradient goes as NAME.indices and then NAME.values.
        whole, _, part = (name or "").rpartition(".")
        if part == "indices":
            index_bytes[whole] = tensor.nbytes
        else:
            gathered = Issued.of(tensor, whole if part == "values" else name, dense=False)
            issued.append(gathered._replace(bytes=gathered.bytes + index_bytes.get(whole, 0)))
        return gather(tensor, output, name, *rest)

    mpi_ops._allreduce_async, mpi_ops._grouped_allreduce_async, mpi_ops._allgather_async = (
        note_reduce,
        note_group,
        note_gather,
    )
    try:
        yield issued
    finally:
        mpi_ops._allreduce_async, mpi_ops._grouped_allreduce_async, mpi_ops._allgather_async = kept


_CONFORMS: type[Protocol] = Backend

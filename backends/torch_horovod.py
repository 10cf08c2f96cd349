"""PyTorch with Horovod's DistributedOptimizer, over Gloo, MPI or NCCL as Horovod was built and started."""

from __future__ import annotations

from typing import Any

import horovod
import horovod.torch as hvd

from backends._horovod import requested_knobs
from backends._torch import TorchBackend
from bench.errors import TrialError
from bench.protocols import Backend as Protocol
from bench.protocols import Batch


class Backend(TorchBackend):
    """Gradients are averaged one tensor at a time, fused by Horovod's own thread while the backward pass runs.

    One rank alone registers no hooks: it is no baseline for the wrapper.
    """

    local_step = "Horovod's hooks and its synchronize are left out; its background thread keeps its cycle"

    def __init__(self) -> None:
        super().__init__()
        self._issued: list[tuple[int, int, str]] | None = None

    # ---- the ranks ----------------------------------------------------------------------------------------------

    def join(self) -> None:
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

    # ---- the exchange -------------------------------------------------------------------------------------------

    def wrap(self) -> None:
        # Without the tied decoder, which named_parameters leaves out: every tensor is exchanged once.
        parameters = list(self.model.named_parameters())
        self._issued = None
        hvd.broadcast_parameters(dict(parameters), root_rank=0)
        self.optimizer = hvd.DistributedOptimizer(self.optimizer, named_parameters=parameters)

    def step(self, batch: Batch, exchange: bool) -> None:
        if exchange and self._issued is None:
            self._observe_step(batch)
        else:
            super().step(batch, exchange)

    def _observe_step(self, batch: Batch) -> None:
        """The first full step, unmeasured: notes each all-reduce that the optimizer really issues."""
        self._issued = []
        issue, noted = self.optimizer._allreduce_grad_async, self._issued

        def note(parameter: Any) -> Any:
            gradient = parameter.grad
            noted.append((gradient.numel(), gradient.nbytes, str(gradient.dtype).removeprefix("torch.")))
            return issue(parameter)

        self.optimizer._allreduce_grad_async = note
        try:
            super().step(batch, True)
        finally:
            del self.optimizer._allreduce_grad_async

    def update(self, exchange: bool) -> None:
        if exchange:
            self.optimizer.step()
        else:
            with self.optimizer.skip_synchronize():
                self.optimizer.step()

    # ---- facts --------------------------------------------------------------------------------------------------

    def exchanged(self) -> tuple[int | None, int | None, int | None, str | None]:
        """Buckets are None: Horovod's thread fuses tensors as they come, and tells nobody how."""
        if not self._issued:
            return None, None, None, None
        dtypes = {dtype for _, _, dtype in self._issued}
        elements, bytes_ = (sum(column) for column in list(zip(*self._issued, strict=True))[:2])
        return None, elements, bytes_, ",".join(sorted(dtypes))

    def algorithm(self) -> tuple[str, str]:
        if self.world.size == 1:
            return "none", "one rank: Horovod registers no hooks"
        if self.device.type == "cuda" and hvd.nccl_built():
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
            "allreduces_issued": len(self._issued) if self._issued is not None else None,
            **requested_knobs(),
        }


_CONFORMS: type[Protocol] = Backend

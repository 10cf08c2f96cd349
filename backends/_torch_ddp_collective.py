"""Collective operations of torch.distributed's own group, and our own all-reduces beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import distributed

from backends._collective import refused
from backends._nccl import forced
from backends._torch_allreduce_hook import CODE, Exchange
from backends._torch_collective import Operation
from bench.records import CollectiveRequest

GLOO_RING = "Gloo's all-reduce, as PyTorch calls it, has one algorithm for all sizes: a segmented ring"

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "all_reduce": lambda own, result: distributed.all_reduce(result, async_op=True),
    "all_gather": lambda own, result: distributed.all_gather_into_tensor(result, own, async_op=True),
    "reduce_scatter": lambda own, result: distributed.reduce_scatter_tensor(result, own, async_op=True),
    "broadcast": lambda own, result: distributed.broadcast(result, src=0, async_op=True),
}


class GroupOperations:
    """Of the default process group. An all-reduce of our own keeps its connections for the next request."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Exchange] = {}

    def of(self, request: CollectiveRequest) -> Operation:
        """Raises TrialError for what there is not."""
        if request.algorithm in ("auto", _forced(request.collective)):
            return _library(request)
        if request.collective != "all_reduce" or request.algorithm not in CODE:
            raise refused("torch.distributed", request, f"{', '.join(CODE)} are for all-reduce, and all else is auto")
        if request.algorithm not in self._exchanges:
            self._exchanges[request.algorithm] = Exchange(request.algorithm)
        return _ours(request.algorithm, self._exchanges[request.algorithm])

    def stop(self) -> None:
        """Before the default group is destroyed."""
        for exchange in self._exchanges.values():
            exchange.stop()
        self._exchanges.clear()


def _library(request: CollectiveRequest) -> Operation:
    call = CALLS[request.collective]

    def issue(number: int, own: Any, result: Any) -> Callable[[], Any]:
        work = call(own, result)

        def wait() -> Any:
            work.wait()
            return result

        return wait

    return Operation(issue, *group_algorithm(request.collective))


def group_algorithm(collective: str) -> tuple[str, str]:
    """(name, evidence) of what the default group's library runs by itself."""
    library = distributed.get_backend()
    if distributed.get_world_size() == 1:
        return "none", "one rank: the operation has nobody to exchange with"
    if (library, collective) == ("gloo", "all_reduce"):
        return "ring", GLOO_RING
    name = _forced(collective)
    if name is not None:
        return name, "NCCL_ALGO has forced it since the ranks were started"
    return "unknown", f"{library} chooses by itself, and is not observed"


def _forced(collective: str) -> str | None:
    return forced() if (distributed.get_backend(), collective) == ("nccl", "all_reduce") else None


def _ours(algorithm: str, exchange: Exchange) -> Operation:
    def issue(number: int, own: Any, result: Any) -> Callable[[], Any]:
        done: Callable[[], Any] = exchange.add(result).wait
        return done

    if distributed.get_world_size() == 1:
        return Operation(issue, *group_algorithm("all_reduce"))
    return Operation(
        issue, algorithm, f"{CODE[algorithm]} over point-to-point sends of Gloo: backends/_torch_allreduce.py"
    )

"""One collective operation of a PyTorch backend, alone: its tensors are ready, and one call issues them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from backends._collective import expected, given
from bench.protocols import World
from bench.records import CollectiveRequest

IN_PLACE = ("all_reduce", "broadcast")
COPIED = "; it works in place: in the time is a copy of the input to where the result will be"


class Operation(NamedTuple):
    """How a backend does what is requested.

    issue   (number of the tensor in the request, input, result) starts it; what it returns waits for the end and
            returns the result, which need not be the tensor given. In place: the result holds the input
    """

    issue: Callable[[int, Any, Any], Callable[[], Any]]
    algorithm: str
    evidence: str


class Collective:
    """A prepared request: every tensor is issued before the first is waited for."""

    def __init__(
        self, request: CollectiveRequest, elements: Sequence[int], operation: Operation, world: World, device: Any
    ) -> None:
        self.elements, self.algorithm, self.evidence = elements, operation.algorithm, operation.evidence
        self._request, self._operation, self._world = request, operation, world
        self._in_place = request.collective in IN_PLACE
        if self._in_place:
            self.evidence += COPIED
        place, dtype = (world.rank, world.size), getattr(torch, request.dtype)
        times = world.size if request.collective == "all_gather" else 1
        self._given = [torch.from_numpy(given(request, each, *place)).to(device, dtype) for each in elements]
        self._results = [torch.zeros(times * each, dtype=dtype, device=device) for each in elements]

    def run(self) -> None:
        waiting = []
        for number, (own, result) in enumerate(zip(self._given, self._results, strict=True)):
            if self._in_place:
                result.copy_(own)
            waiting.append(self._operation.issue(number, own, result))
        self._results = [wait() for wait in waiting]

    def exact(self) -> bool:
        place = self._world.rank, self._world.size
        return all(
            torch.equal(result.float().cpu(), torch.from_numpy(expected(self._request, each, *place)))
            for each, result in zip(self.elements, self._results, strict=True)
        )

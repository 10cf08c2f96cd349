"""Every collective operation of a backend, alone, in every dtype of the wire and by every algorithm."""

from __future__ import annotations

import itertools
from typing import get_args

from ranks import Seen

from bench.errors import TrialError
from bench.protocols import Backend
from bench.records import Algorithm, Collective, CollectiveRequest, Wire

# One element, fewer and more than there are ranks, and a length that no number of ranks divides.
ELEMENTS = [1, 2, 1009]


def collectives(backend: Backend, built: bool = True) -> Seen:
    """By "collective dtype algorithm": what came of it. Where it is built, with its own gradients too."""
    requests = [
        CollectiveRequest(collective=collective, elements=ELEMENTS, dtype=dtype)
        for collective, dtype in itertools.product(get_args(Collective), get_args(Wire))
    ]
    requests += [CollectiveRequest(elements=ELEMENTS, algorithm=name) for name in get_args(Algorithm) if name != "auto"]
    requests += [CollectiveRequest(), CollectiveRequest(dtype="float16")] if built else []
    # After a reduce-scatter Horovod reduces ten times slower for as long as it runs.
    requests.sort(key=lambda request: request.collective == "reduce_scatter")
    return {
        f"{'own ' * (not each.elements)}{each.collective} {each.dtype} {each.algorithm}": one(backend, each)
        for each in requests
    }


def one(backend: Backend, request: CollectiveRequest) -> Seen:
    """A request, run twice: it must find the same inputs again."""
    try:
        prepared = backend.collective(request)
    except TrialError as error:
        return {"refused": str(error)}
    early = prepared.exact()
    exact = []
    for _ in range(2):
        backend.barrier()
        prepared.run()
        backend.fence()
        exact.append(prepared.exact())
    return {
        "early": early,
        "exact": exact,
        "elements": list(prepared.elements),
        "algorithm": prepared.algorithm,
        "evidence": prepared.evidence,
    }

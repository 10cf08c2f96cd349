"""What goes into a collective operation that is timed alone, and what must come out: no framework, numpy only.

Rank r gives small integers that differ from rank to rank and from element to element. Any sum over ranks is at most
252, and so exact in every dtype and order: bfloat16 holds all integers up to 256.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.errors import TrialError
from bench.records import CollectiveRequest, ExchangedTensor

LARGEST = 7
GIVERS = 36  # of an element, where there are so many ranks; the others give 0

Values = NDArray[np.float32]


def given(request: CollectiveRequest, elements: int, rank: int, ranks: int) -> Values:
    """What `rank` gives; for a reduce-scatter a part for each rank, one after the other."""
    return _own(elements * (ranks if request.collective == "reduce_scatter" else 1), rank, ranks)


def expected(request: CollectiveRequest, elements: int, rank: int, ranks: int) -> Values:
    """What `rank` must end with. A broadcast is rank 0's."""
    if request.collective == "broadcast":
        return _own(elements, 0, ranks)
    if request.collective == "all_gather":
        return np.concatenate([_own(elements, each, ranks) for each in range(ranks)])
    if request.collective == "reduce_scatter":
        return _sums(elements * ranks, ranks)[rank * elements :][:elements]
    return _sums(elements, ranks)


def _own(elements: int, rank: int, ranks: int) -> Values:
    """Element i: (i + turn) % 7 + 1, where turn = (rank - i) % ranks is below GIVERS, else 0."""
    place = np.arange(min(elements, LARGEST * ranks))  # it repeats
    turn = (rank - place) % ranks
    return np.resize(np.where(turn < GIVERS, (place + turn) % LARGEST + 1, 0).astype(np.float32), elements)


def _sums(elements: int, ranks: int) -> Values:
    """Over all ranks: every turn comes once."""
    place = np.arange(min(elements, LARGEST))[:, None]
    turns = np.arange(min(ranks, GIVERS))
    return np.resize(((place + turns) % LARGEST + 1).sum(axis=1).astype(np.float32), elements)


def refused(who: str, request: CollectiveRequest, because: str) -> TrialError:
    """The error of what cannot be selected."""
    what = f"{request.collective.replace('_', '-')} {request.dtype}"
    by = "" if request.algorithm == "auto" else f" by {request.algorithm}"
    return TrialError(f"{who} cannot {what}{by}, because {because}")


def own_elements(exchanged: Sequence[ExchangedTensor]) -> list[int]:
    """Of the tensors of one full step's exchange, in their order. Raises TrialError before one, and for one rank."""
    if not exchanged:
        raise TrialError("no full step has been made that exchanges anything: its gradients are not known")
    return [tensor.elements for tensor in exchanged for _ in range(tensor.count)]

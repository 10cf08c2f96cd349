"""What was exchanged, and what was timed of it alone: part of the file format; import it from bench.records."""

from __future__ import annotations

from typing import Literal

import msgspec

from bench.trial import Algorithm, Record, Wire

# In the order of a sweep. After a reduce-scatter Horovod 0.28.1 reduces ten times slower for as long as it runs.
Collective = Literal["all_reduce", "all_gather", "broadcast", "reduce_scatter"]
ITEM_BYTES: dict[Wire, int] = {"float32": 4, "float16": 2, "bfloat16": 2}


class ExchangedTensor(Record, frozen=True, kw_only=True):
    """One gradient, as it entered the exchange of one full step.

    `count`: how often it did. `bytes` of one time, in `dtype`. `dense`: all-reduced whole, not gathered as
    (indices, values).
    """

    name: str
    count: int
    elements: int
    dtype: str
    bytes: int
    dense: bool


class Exchange(Record, frozen=True, kw_only=True, tag="exchange"):
    """Every tensor of one full step's exchange on this rank; empty where nothing is exchanged."""

    tensors: list[ExchangedTensor]


class CollectiveRequest(Record, frozen=True, kw_only=True):
    """One operation to be timed alone.

    elements   per tensor, as nccl-tests counts them for one rank (bench.collectives.operation_bytes): of the tensor
               that a rank gives, for a reduce-scatter of the part that it receives. Several are issued one after
               another without waiting, as a step issues its buckets. Empty: the gradients of the trial's own step, in
               the order and in the buckets in which it exchanges them (after `build` and one full step only)
    """

    collective: Collective = "all_reduce"
    elements: list[int] = msgspec.field(default_factory=list)
    dtype: Wire = "float32"
    algorithm: Algorithm = "auto"


class CollectiveTimes(Record, frozen=True, kw_only=True, tag="collective"):
    """One request on one rank. `duration_ns`: per reading, of `operations` times the whole request, between two fences
    after a barrier.

    elements   as they were exchanged, also where the request left them to the backend
    algorithm  that ran, with its evidence
    exact      every element of the last result is what it must be; None: not checked
    reason     why it cannot be selected here, as one clause; all else is then empty
    """

    request: CollectiveRequest
    elements: list[int]
    algorithm: str
    evidence: str
    operations: int
    duration_ns: list[int]
    exact: bool | None
    reason: str | None = None

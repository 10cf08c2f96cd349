"""The seam: the harness owns the loop and the clock, a backend owns the framework.

The harness never asks which backend it has. A difference that matters is a member here or a column of the
table in `backends/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.records import CollectiveRequest, ExchangedTensor, Facts, TensorSettings, Trial

Array = NDArray[Any]


class Rendezvous(Protocol):
    """Small named texts that all ranks of a launch can see; for addresses, not for data."""

    def publish(self, name: str, text: str) -> None: ...

    def wait_for(self, name: str) -> str:
        """Blocks until `name` is published. Raises TrialError after the start deadline."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """This rank's place. `size` ranks, each with `local_replicas` model copies on its own devices.

    address             of this host, reachable from the other ranks (127.0.0.1 when all share one host)
    network_interface   to bind to, None: any
    rendezvous_port     0: any free one
    traced              `Backend.trace` will be called: prepare what must be prepared before the ranks join
    share_devices       several ranks may be placed on one GPU
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    local_replicas: int
    launcher: str
    address: str
    network_interface: str | None
    rendezvous_port: int
    rendezvous: Rendezvous
    traced: bool = False
    share_devices: bool = False

    @property
    def replicas(self) -> int:
        return self.size * self.local_replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step's share of one rank.

    arrays: axes (microbatch, local replica, sample, ...), C-contiguous. Names and last axes:
      all tasks     input_ids, token_type_ids, attention_mask   int32 (token)
      pretraining   masked_positions, masked_ids  int32 (prediction); masked_weights  float32 (prediction), 0 or 1;
                    next_sentence_labels  int32, no last axis
      ner           labels  int32 (token); label_weights  float32 (token), 1 on the first piece of a word, else 0
      classification  labels  int32, no last axis
      packed_places int32 (token), only where the workload is packed: row x length + the place where this token is
                    computed, rows x length where it is padding
    global_weights: per head ("mlm" and "nsp", "ner", or "classification"), the weight sum of the whole step over all
      ranks, replicas and microbatches. The loss is sum over heads of (sum of weighted losses / global weight); a
      backend whose exchange averages over N replicas therefore scales its local loss by N.
    samples, tokens_real, tokens_padded: of this rank's share.
    """

    step: int
    arrays: Mapping[str, Array]
    global_weights: Mapping[str, float]
    samples: int
    tokens_real: int
    tokens_padded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Since the last call: float64, axes (step, local replica, head), summed over microbatches.

    numerators: sums of weighted token (or sample) losses. weights: the sums of the weights actually used.
    """

    heads: tuple[str, ...]
    numerators: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTensor:
    """`name` as in the Hugging Face checkpoint, `value` in its shape and orientation (torch's, not Keras')."""

    name: str
    replica: int
    value: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What the model makes of one batch, without dropout. `classes`: per head the most likely one, int32, axes
    (sample, prediction) for "mlm", (sample, token) for "ner", (sample) for the others. The rest as in Losses,
    for the whole batch: axis (head).
    """

    heads: tuple[str, ...]
    numerators: NDArray[np.float64]
    weights: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.int32]]


class Accelerator(NamedTuple):
    """A GPU that this rank uses, as the framework names it.

    ordinal  among those that CUDA_VISIBLE_DEVICES leaves; the management library counts all of the host
    uuid     as the driver writes it: "GPU-..." or "MIG-..."; None: the framework does not tell
    ranks    of this host that were placed on it
    """

    ordinal: int
    name: str
    uuid: str | None = None
    ranks: int = 1


class Marks(NamedTuple):
    """What one device says of the last window: each step's time on its own clock and that of the step's phases (see
    DeviceWindow), and the largest allocation within."""

    step_ns: tuple[int, ...]
    allocated_bytes: int | None
    phase_ns: Mapping[str, tuple[int, ...]] = MappingProxyType({})


class Exercise(NamedTuple):
    """What shows how fast the device is alone; both enqueue: a square product of `size` rows in the asked precision,
    and a copy of `copied_bytes` within its memory."""

    multiply: Callable[[], None]
    size: int
    copy: Callable[[], None]
    copied_bytes: int


class Span(NamedTuple):
    """Something that this rank did, on its host's monotonic clock (bench.clock).

    kind     "communication" while gradients are exchanged; "compute" for the framework's operations on the device, on a
             CPU those of its host threads; "other" for anything else
    thread   where it ran, for people
    """

    kind: str
    name: str
    thread: str
    start_ns: int
    duration_ns: int


@dataclass(slots=True, kw_only=True)
class Timeline:
    """What tools saw of the steps within `Backend.trace`.

    source          which tools, and what is communication for them: one sentence
    sees_exchange   False: on this rank nothing tells when gradients are exchanged
    spans           there when the context has been left
    """

    source: str
    sees_exchange: bool = True
    spans: list[Span] = field(default_factory=list)


class PreparedCollective(Protocol):
    """One request, with its tensors on the device and whatever the framework traces or allocates already done.

    elements   per tensor, as they are exchanged
    algorithm, evidence   what runs, and how that is known
    """

    @property
    def elements(self) -> Sequence[int]: ...

    @property
    def algorithm(self) -> str: ...

    @property
    def evidence(self) -> str: ...

    def run(self) -> None:
        """Enqueues the request once, on the same inputs every time. No host sync beyond the operation's own."""
        ...

    def exact(self) -> bool:
        """After a fence: whether every element of this rank's last result is what it must be. Inputs are small
        integers, so that sums are exact in every dtype and order."""
        ...


class Backend(Protocol):
    """Calls arrive in this order; `stop` also after a failed call of any other."""

    def start(self, world: World) -> None:
        """Joins the ranks. Returns when the group is usable."""
        ...

    def build(self, trial: Trial, checkpoint: Path) -> None:
        """Model (weights from `checkpoint`), optimizer and step, the same on every rank and replica."""
        ...

    def step(self, batch: Batch, exchange: bool) -> None:
        """Zero gradients, forward, loss, backward, exchange, update. Enqueues; no host sync, no printing.

        `exchange` False leaves out the gradient all-reduce and nothing else; it is constant within a window.
        """
        ...

    def accelerators(self) -> Sequence[Accelerator]:
        """The GPUs of this rank, after `start`; none where it computes on the CPU."""
        ...

    def marks(self) -> Sequence[Marks]:
        """Per accelerator, of the steps since the last call. Read after a fence; empty where nothing was marked."""
        ...

    def exercise(self, compute: str) -> Exercise | None:
        """Legal after `build`. None where there is no device to test, or no memory left for it."""
        ...

    def fence(self) -> None:
        """Returns when this rank's device has finished everything submitted."""
        ...

    def barrier(self) -> None:
        """Returns when every rank has called it."""
        ...

    def losses(self) -> Losses:
        """Read after a fence; forgets what it returned."""
        ...

    def tensors(self, kind: str) -> Iterator[NamedTensor]:
        """`kind` "weight": current values, float32, one entry per tensor and local replica. "gradient": as the
        optimizer saw them in the last step."""
        ...

    def planted(self, values: Sequence[float]) -> Iterator[NamedTensor]:
        """One exchange, as a full step makes it, of gradients whose elements all are values[local replica]; no
        update. Yields what the exchange returned, float32, per tensor and local replica."""
        ...

    def evaluate(self, batch: Batch) -> Predictions:
        """Local replica 0 on the samples of a batch with one local replica: no dropout, no exchange, no trace.
        The other ranks are not called."""
        ...

    def snapshot(self) -> None:
        """Remembers weights, optimizer state, loss scale and random state."""
        ...

    def restore(self) -> None:
        """Back to the snapshot, exactly, so that local windows leave no trace."""
        ...

    def collective(self, request: CollectiveRequest) -> PreparedCollective:
        """Legal after `start`; where `request.elements` is empty, after `build` and one full step. All ranks prepare
        and run the same requests in the same order. Raises TrialError where this backend cannot select it."""
        ...

    def trace(self) -> AbstractContextManager[Timeline]:
        """Of the steps within, which end with a fence. Legal after one full step; every rank enters and leaves."""
        ...

    def facts(self) -> Facts:
        """Effective settings, read from the live objects after at least one step."""
        ...

    def exchanges(self) -> Sequence[ExchangedTensor]:
        """What one full step exchanges, as issued, per tensor; empty before one, and where nothing is exchanged."""
        ...

    def tensor_settings(self) -> Sequence[TensorSettings]:
        """Per trained tensor, from the live optimizer and model, after at least one step."""
        ...

    def stop(self) -> None:
        """Leaves the group and frees the devices. May be called twice."""
        ...

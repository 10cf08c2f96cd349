"""No framework: programmed times. Every member of the seam with nothing in its way: read this before writing a backend.

Options of the trial, in milliseconds; a list gives one value per replica:
  step_ms       forward, backward and update of one step
  wrapper_ms    what a wrapper adds, in every mode but bare
  contention_ms what each of several ranks adds to the others' steps
  exchange_ms   the all-reduce of a step; given, a full step waits for the slowest rank
  overlap_ms    so much of the exchange is hidden behind the backward pass
  latency_ms, ms_per_mib   a collective timed alone: so long, and so much per 2**20 bytes of one rank's tensors
  late_ms, late_every   rank 0 takes so much longer in every such step: a transient straggler
  build_ms      how long `build` takes
  own_up        true: facts say by how much the machine made a step longer than programmed, on average
  synchronous   true: the host waits for each step, as on a CPU; else it works ahead until the fence
  fault         raise, exit, segv, hang, memory or nan: what goes wrong, for tests of those who must notice
  fault_at      when: "build", "stop" or a step's number (0 if not given)
  fault_rank    on which rank; on all if not given
"""

from __future__ import annotations

import math
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bench.clock import SYSTEM_CLOCK, Clock, SystemClock
from bench.errors import TrialError
from bench.protocols import (
    Accelerator,
    Batch,
    Exercise,
    Losses,
    Marks,
    NamedTensor,
    Predictions,
    Span,
    Timeline,
    World,
)
from bench.records import ITEM_BYTES, CollectiveRequest, ExchangedTensor, Facts, TensorSettings, Trial

NS_PER_MS = 1_000_000
LABELS = {"mlm": "masked_ids", "nsp": "next_sentence_labels", "ner": "labels", "classification": "labels"}


class Programmed:
    """Models a device with a queue: `step` enqueues and returns, `fence` sleeps until the queue has run dry.

    So an overslept fence costs once per window, not once per step, and a programmed 10 ms is 10 ms.
    """

    wrapped = True

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._peers: list[socket.socket] = []
        self._ready_ns = 0
        self._losses: list[tuple[list[float], list[float]]] = []
        self._timeline: Timeline | None = None
        self._heads: tuple[str, ...] = ()
        self._options: Mapping[str, str | bool | int | float | list[float]] = {}

    def start(self, world: World) -> None:
        self._world = world
        if world.size > 1:
            self._peers = _star(world)

    def build(self, trial: Trial, checkpoint: Path) -> None:
        self._trial, self._options, self._step = trial, trial.options, 0
        self._fault("build")
        self._weight = np.zeros(1, np.float32)
        self._clock.sleep_ns(int(self._option_ms("build_ms") * NS_PER_MS))

    def step(self, batch: Batch, exchange: bool) -> None:
        nan = self._fault(batch.step)
        self._step = batch.step
        self._note(batch.step, exchange)
        self._enqueue(self._step_ms(batch.step, exchange))
        if self._options.get("synchronous"):
            self.fence()
        self._heads = tuple(batch.global_weights)
        weights = [_weight(head, batch) for head in self._heads]
        self._losses.append(([math.nan if nan else 0.0] * len(self._heads), weights))

    def accelerators(self) -> Sequence[Accelerator]:
        return ()

    def marks(self) -> Sequence[Marks]:
        return ()

    def exercise(self, compute: str) -> Exercise | None:
        """There is no device to be tried."""
        return None

    def fence(self) -> None:
        left_ns = self._ready_ns - self._clock()
        if left_ns > 0:
            self._clock.sleep_ns(left_ns)

    def barrier(self) -> None:
        """Everyone tells rank 0; rank 0 answers when all have."""
        for peer in self._peers if self._world.rank == 0 else []:
            _receive(peer)
        for peer in self._peers:
            peer.sendall(b".")
        if self._world.rank != 0:
            for peer in self._peers:
                _receive(peer)

    def losses(self) -> Losses:
        taken, self._losses = self._losses, []
        shape = (len(taken), 1, len(self._heads))
        return Losses(
            heads=self._heads,
            numerators=np.array([numerators for numerators, _ in taken], np.float64).reshape(shape),
            weights=np.array([weights for _, weights in taken], np.float64).reshape(shape),
        )

    def tensors(self, kind: str) -> Iterator[NamedTensor]:
        yield NamedTensor(name="null.weight", replica=0, value=self._weight)

    def planted(self, values: Sequence[float]) -> Iterator[NamedTensor]:
        yield NamedTensor(name="null.weight", replica=0, value=np.full(1, (1 + self._world.replicas) / 2, np.float32))

    def evaluate(self, batch: Batch) -> Predictions:
        """Every word, tag and label is class 0."""
        classes = {head: np.zeros_like(batch.arrays[LABELS[head]][0, 0], np.int32) for head in batch.global_weights}
        weights = np.array([_weight(head, batch) for head in classes])
        return Predictions(heads=tuple(classes), numerators=np.zeros(len(classes)), weights=weights, classes=classes)

    def snapshot(self) -> None:
        self._kept = self._weight.copy()

    def restore(self) -> None:
        self._weight[:] = self._kept

    def collective(self, request: CollectiveRequest) -> _Programmed:
        if request.elements:
            mebibytes = sum(request.elements) * ITEM_BYTES[request.dtype] / 2**20
            took_ms = self._option_ms("latency_ms") + mebibytes * self._option_ms("ms_per_mib")
        else:
            took_ms = self._option_ms("exchange_ms")
        return _Programmed(request.elements or [self._weight.size], partial(self._enqueue, took_ms))

    def _enqueue(self, took_ms: float) -> None:
        self._ready_ns = max(self._ready_ns, self._clock()) + round(took_ms * NS_PER_MS)

    @contextmanager
    def trace(self) -> Iterator[Timeline]:
        self._timeline = Timeline(source="the programmed times")
        try:
            yield self._timeline
        finally:
            self._timeline = None

    def _note(self, step: int, exchange: bool) -> None:
        """The programmed spans of the step that is enqueued next: the exchange ends when the step does."""
        if self._timeline is None:
            return
        begins_ns = max(self._ready_ns, self._clock())
        own_ms, step_ms = self._own_ms(step, self._world.rank), self._step_ms(step, exchange)
        self._timeline.spans.append(Span("compute", "step", "device", begins_ns, round(own_ms * NS_PER_MS)))
        if exchange and self._world.size > 1:
            took_ms = self._option_ms("exchange_ms")
            sent_ns = begins_ns + round((step_ms - took_ms) * NS_PER_MS)
            self._timeline.spans.append(
                Span("communication", "exchange", "network", sent_ns, round(took_ms * NS_PER_MS))
            )

    def facts(self) -> Facts:
        return Facts(
            parameter_elements=self._weight.size,
            compute_dtype=self._trial.compute,
            wire_dtype=None,
            exchange_elements=None,
            exchange_bytes=None,
            buckets=None,
            algorithm="none",
            algorithm_evidence="null exchanges nothing",
            devices=["programmed"],
            threads=None,
            versions={"numpy": np.__version__},
            settings={"step_ms": self._option_ms("step_ms"), **self._overslept()},
        )

    def _overslept(self) -> dict[str, float]:
        """Milliseconds per step."""
        if not (self._options.get("own_up") and isinstance(self._clock, SystemClock)):
            return {}
        return {"overslept_ms": self._clock.overslept_ns / NS_PER_MS / (self._step + 1)}

    def exchanges(self) -> Sequence[ExchangedTensor]:
        return []

    def tensor_settings(self) -> Sequence[TensorSettings]:
        rate, decay = self._trial.optimizer.learning_rate_at(self._step), self._trial.optimizer.weight_decay
        return [TensorSettings(name="null.weight", learning_rate=rate, weight_decay=decay)]

    def stop(self) -> None:
        self._fault("stop")
        for peer in self._peers:
            peer.close()
        self._peers = []

    def _fault(self, at: int | str) -> bool:
        """Does what the trial asks for here; True: the loss of this step is not a number."""
        fault, rank = self._options.get("fault"), self._options.get("fault_rank", self._world.rank)
        if fault is None or rank != self._world.rank or at != self._options.get("fault_at", 0):
            return False
        if fault == "raise":
            raise RuntimeError(f"null was told to fail at {at if isinstance(at, str) else f'step {at}'}")
        if fault == "memory":
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
            self._weight = np.zeros(1 << 31, np.float32)
        if fault == "exit":
            os._exit(0)
        if fault == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "hang":
            time.sleep(86_400)
        return fault == "nan"

    def _step_ms(self, step: int, exchange: bool) -> float:
        """A full step ends when the slowest rank is ready and what no rank hides of the exchange is done."""
        if not exchange or "exchange_ms" not in self._options or self._world.size == 1:
            return self._own_ms(step, self._world.rank)
        ranks = range(self._world.size)
        hidden_ms = min(self._option_ms("overlap_ms"), self._option_ms("exchange_ms"))
        return max(self._own_ms(step, rank) for rank in ranks) + self._option_ms("exchange_ms") - hidden_ms

    def _own_ms(self, step: int, rank: int) -> float:
        several = self._world.size > 1
        every = int(self._option_ms("late_every"))
        late = several and rank == 0 and every > 0 and step % every == 0
        return (
            self._option_ms("step_ms", rank)
            + self.wrapped * self._option_ms("wrapper_ms", rank)
            + several * self._option_ms("contention_ms", rank)
            + late * self._option_ms("late_ms", rank)
        )

    def _option_ms(self, name: str, rank: int | None = None) -> float:
        """The option's value for a rank, this one if none is given; 0 without the option."""
        value = self._options.get(name, 0.0)
        if isinstance(value, list):
            return float(value[(self._world.rank if rank is None else rank) % len(value)])
        return float(value)


@dataclass(frozen=True, slots=True)
class _Programmed:
    """A collective that takes its time and moves nothing."""

    elements: Sequence[int]
    run: Callable[[], None]
    algorithm: str = "none"
    evidence: str = "null exchanges nothing"

    def exact(self) -> bool:
        return True


def _weight(head: str, batch: Batch) -> float:
    """Sum of the loss weights of this rank's share, as a real backend would use them."""
    weights = {"mlm": "masked_weights", "ner": "label_weights"}.get(head)
    return float(batch.arrays[LABELS[head]].size if weights is None else batch.arrays[weights].sum())


def _star(world: World) -> list[socket.socket]:
    """Rank 0: a connection to every other rank. Others: one to rank 0."""
    if world.rank != 0:
        host, _, port = world.rendezvous.wait_for("null").rpartition(":")
        return [socket.create_connection((host, int(port)))]
    try:
        listening = socket.create_server((world.address, world.rendezvous_port))
    except OSError as error:
        raise TrialError(
            f"rendezvous port {world.rendezvous_port} on {socket.gethostname()} cannot be used ({error.strerror}); "
            "choose another `rendezvous_port`, or 0 for any free one"
        ) from None
    with listening as server:
        world.rendezvous.publish("null", f"{world.address}:{server.getsockname()[1]}")
        return [server.accept()[0] for _ in range(world.size - 1)]


def _receive(peer: socket.socket) -> None:
    if not peer.recv(1):
        raise ConnectionError("another rank has gone")

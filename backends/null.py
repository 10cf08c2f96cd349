"""No framework: programmed step times. The test double of the harness, and the template to copy for a new backend.

Options of the trial:
  step_ms       how long a step takes; a list gives one value per replica
  build_ms      how long `build` takes
  fail_at_step  this step raises; with `fail_rank` on that rank only
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench import protocols
from bench.errors import TrialError
from bench.protocols import Batch, Losses, NamedTensor, World
from bench.records import Facts, Trial

NS_PER_MS = 1_000_000


class Backend:
    """Models a device with a queue: `step` enqueues and returns, `fence` sleeps until the queue has run dry.

    So an overslept fence costs once per window, not once per step, and a programmed 10 ms is 10 ms.
    """

    def __init__(
        self, clock: Callable[[], int] = time.perf_counter_ns, sleep_ns: Callable[[int], None] | None = None
    ) -> None:
        self._clock = clock
        self._sleep_ns = sleep_ns or (lambda duration_ns: time.sleep(duration_ns / 1e9))
        self._peers: list[socket.socket] = []
        self._ready_ns = 0
        self._losses: list[tuple[list[float], list[float]]] = []
        self._heads: tuple[str, ...] = ()

    def start(self, world: World) -> None:
        self._world = world
        if world.size > 1:
            self._peers = _star(world)

    def build(self, trial: Trial, checkpoint: Path) -> None:
        self._options = trial.options
        self._weight = np.zeros(1, np.float32)
        self._sleep_ns(int(self._option_ms("build_ms") * NS_PER_MS))

    def step(self, batch: Batch, exchange: bool) -> None:
        fail_rank = self._options.get("fail_rank", self._world.rank)
        if batch.step == self._options.get("fail_at_step") and fail_rank == self._world.rank:
            raise RuntimeError(f"null was told to fail at step {batch.step}")
        self._ready_ns = max(self._ready_ns, self._clock()) + int(self._option_ms("step_ms") * NS_PER_MS)
        self._heads = tuple(batch.global_weights)
        weights = [_weight(head, batch) for head in self._heads]
        self._losses.append(([0.0] * len(self._heads), weights))

    def fence(self) -> None:
        left_ns = self._ready_ns - self._clock()
        if left_ns > 0:
            self._sleep_ns(left_ns)

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

    def snapshot(self) -> None:
        self._kept = self._weight.copy()

    def restore(self) -> None:
        self._weight[:] = self._kept

    def facts(self) -> Facts:
        return Facts(
            parameter_elements=self._weight.size,
            compute_dtype="float32",
            wire_dtype=None,
            exchange_elements=None,
            exchange_bytes=None,
            buckets=None,
            algorithm="none",
            algorithm_evidence="null exchanges nothing",
            devices=["programmed"],
            threads=None,
            versions={"numpy": np.__version__},
            settings={"step_ms": self._option_ms("step_ms")},
        )

    def stop(self) -> None:
        for peer in self._peers:
            peer.close()
        self._peers = []

    def _option_ms(self, name: str) -> float:
        """The option's value for this rank, 0 where it is not given."""
        value = self._options.get(name, 0.0)
        if isinstance(value, list):
            return float(value[self._world.rank % len(value)])
        return float(value)


def _weight(head: str, batch: Batch) -> float:
    """Sum of the loss weights of this rank's share, as a real backend would use them."""
    if head == "nsp":
        return float(batch.arrays["next_sentence_labels"].size)
    return float(batch.arrays["masked_weights" if head == "mlm" else "label_weights"].sum())


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


_CONFORMS: type[protocols.Backend] = Backend

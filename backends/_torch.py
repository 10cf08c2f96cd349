"""What every PyTorch backend does: one replica per rank, on its own device. Wrappers override the exchange."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backends._collective import own_elements, refused
from backends._placement import Place, require_gpu
from backends._torch_collective import Collective, Operation
from backends._torch_compile import Compiler
from backends._torch_device import StepMarks, accelerators, exercise, out_of_memory, own_device, set_threads
from backends._torch_facts import collect_facts, tensor_settings
from backends._torch_network import Network, load_model, microbatches
from backends._torch_observation import dense_outputs
from backends._torch_optimizer import add_gradients, build_optimizer, clip, set_learning_rate
from backends._torch_precision import NoScaling, build_scaling, select_precision
from backends._torch_preset import PRESETS, Tuning, records_graphs
from backends._torch_snapshot import Snapshot
from backends._torch_trace import traced_steps
from bench.errors import TrialError
from bench.protocols import Accelerator, Batch, Exercise, Losses, Marks, NamedTensor, Predictions, Timeline, World
from bench.records import CollectiveRequest, ExchangedTensor, Facts, TensorSettings, Trial


class TorchBackend:
    """One device, no wrapper. A wrapper overrides `join`, `wrap`, `apply`, `barrier`, `leave` and its facts.

    A local step runs the inner network and takes its gradients with torch.autograd.grad, so that no wrapper's hook
    can fire; all else is the same.
    """

    wires: tuple[str, ...] = ("float32",)
    local_step = "same as a full step: there is no exchange"

    world: World
    trial: Trial
    tuning: Tuning
    device: Any
    placed: Place | None  # None on the CPU
    marked: StepMarks
    model: Any
    network: Network
    optimizer: Any
    wrapped: Any
    scaling: NoScaling
    compiler: Compiler | None
    recorded: bool

    def __init__(self) -> None:
        self._forget()

    # ---- the ranks ----------------------------------------------------------------------------------------------

    def start(self, world: World) -> None:
        if world.local_replicas != 1:
            raise TrialError(f"a PyTorch rank holds one replica, not {world.local_replicas}")
        self.world = world
        self.device, self.placed = own_device(world)
        self.join()

    def join(self) -> None:
        """Joins the ranks; self.world and self.device are set."""
        if self.world.size != 1:
            raise TrialError(f"this backend has no exchange and runs as 1 rank, not {self.world.size}")

    def accelerators(self) -> Sequence[Accelerator]:
        return accelerators(self.device, self.placed)

    def marks(self) -> Sequence[Marks]:
        return self.marked.take()

    def exercise(self, compute: str) -> Exercise | None:
        return exercise(self.device, compute)

    def fence(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def barrier(self) -> None:
        self.fence()

    def stop(self) -> None:
        self._forget()
        for name in ("wrapped", "network", "optimizer", "model", "scaling", "compiler"):
            self.__dict__.pop(name, None)
        self.leave()

    def _forget(self) -> None:
        self._sums: list[Any] = []
        self._snapshot: Snapshot | None = None
        self._seen: set[bool] = set()
        self.dense_dtypes: set[str] = set()
        self.exchanged: list[ExchangedTensor] = []

    def leave(self) -> None:
        """Leaves the group; called more than once, and also when `join` failed."""

    # ---- the step -----------------------------------------------------------------------------------------------

    def build(self, trial: Trial, checkpoint: Path) -> None:
        if trial.wire not in self.wires:
            raise TrialError(f"{trial.backend} exchanges {' or '.join(self.wires)}, not {trial.wire}")
        require_gpu(trial, self.device.type == "cuda", f"PyTorch {torch.__version__}")
        self._forget()
        self.trial, self.tuning = trial, PRESETS[trial.preset]
        set_threads(trial.threads_per_replica)
        self.model = load_model(trial.workload.task, checkpoint).to(self.device)
        self.network = Network(self.model, trial.workload.task, select_precision(trial.compute, self.device))
        self.recorded = records_graphs(trial, self.device)
        self.marked = StepMarks.of(self.device, self.recorded)
        self.compiler = Compiler(self.device, self.recorded) if trial.compiled else None
        if self.compiler is not None:
            self.network.compile_training(self.compiler)
        self.optimizer = build_optimizer(trial.optimizer, self.model.named_parameters(), self.tuning.fused)
        self.scaling = build_scaling(trial.compute, trial.loss_scale, self.device)
        self.wrapped = self.network
        self.wrap()
        # Each replica drops its own units; everything before this line is the same on all of them.
        torch.manual_seed(trial.workload.seed * 1_000_003 + self.world.rank)

    def wrap(self) -> None:
        """Sets self.wrapped, called in full steps, and may replace self.optimizer."""

    def step(self, batch: Batch, exchange: bool) -> None:
        self.marked.begin()
        try:
            if exchange in self._seen:
                self._step(batch, exchange)
            else:
                self._seen.add(exchange)
                self._observe_step(batch, exchange)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(self.device, batch.samples) from error
        self.marked.end()

    def _observe_step(self, batch: Batch, exchange: bool) -> None:
        """The first of its kind, unmeasured; nothing of the observation is left in the next one."""
        with ExitStack() as observation:
            if self.compiler is None:
                observation.enter_context(dense_outputs(self.model, self.dense_dtypes))
            if exchange:
                observation.enter_context(self.observe_exchange())
            self._step(batch, exchange)

    def observe_exchange(self) -> AbstractContextManager[Any]:
        """Sets self.exchanged from what the step within issues."""
        return nullcontext()

    def _step(self, batch: Batch, exchange: bool) -> None:
        self.optimizer.zero_grad()
        scales = self._scales(batch)
        *earlier, last = microbatches(batch.arrays, self.device, self.tuning.pinned)
        sums = [self._accumulate(inputs, scales, kept=self.recorded) for inputs in earlier]
        if exchange:
            loss, last_sums = self.wrapped(last, scales)
            self.marked.passed("forward")
            self.scaling.scaled(loss).backward()
            self.await_exchange()
            self.marked.passed("backward")
        else:
            last_sums = self._accumulate(last, scales)
        self._update(batch.step)
        self._sums.append(sum(sums, last_sums))

    def await_exchange(self) -> None:
        """Called after each backward pass with an exchange; gradients are averages from here on."""

    def _update(self, step: int) -> None:
        set_learning_rate(self.optimizer, self.trial.optimizer.learning_rate_at(step))
        self.scaling.unscale(self.optimizer)
        clip(self.optimizer)
        self.apply()

    def apply(self) -> None:
        """Applies the gradients as they are, without an exchange."""
        self.scaling.apply(self.optimizer)

    def _scales(self, batch: Batch) -> tuple[float, ...]:
        # Sums over the global weight would need an exchange that adds; the exchange averages over the replicas.
        weights = (batch.global_weights[head.name] for head in self.network.heads)
        return tuple(self.world.replicas / weight if weight else 0.0 for weight in weights)

    def _accumulate(self, inputs: dict[str, Any], scales: tuple[float, ...], kept: bool = False) -> Any:
        """Adds this microbatch's own gradients to .grad, by no hook; returns its sums."""
        loss, sums = self.local_loss(inputs, scales)
        self.marked.passed("forward")
        parameters = list(self.model.parameters())
        add_gradients(parameters, torch.autograd.grad(self.scaling.scaled(loss), parameters), kept)
        self.marked.passed("backward")
        return sums

    def local_loss(self, inputs: dict[str, Any], scales: tuple[float, ...]) -> tuple[Any, Any]:
        """As self.wrapped, without the wrapper."""
        return self.network(inputs, scales)  # type: ignore[no-any-return]

    # ---- what it did --------------------------------------------------------------------------------------------

    def losses(self) -> Losses:
        heads = tuple(head.name for head in self.network.heads)
        values = np.zeros((0, 2, len(heads)))
        if self._sums:
            values = torch.stack(self._sums).double().cpu().numpy()
        self._sums = []
        return Losses(heads=heads, numerators=values[:, None, 0], weights=values[:, None, 1])

    def tensors(self, kind: str) -> Iterator[NamedTensor]:
        if kind not in ("weight", "gradient"):
            raise ValueError(f"tensors are of kind 'weight' or 'gradient', not {kind!r}")
        for name, parameter in self.model.named_parameters():
            tensor = parameter if kind == "weight" else parameter.grad
            if tensor is None:
                raise TrialError(f"{name} has no gradient: no step has run, or the loss does not depend on it")
            value = tensor.detach().to_dense().float().cpu().numpy().copy()
            yield NamedTensor(name=name, replica=0, value=value)

    def planted(self, values: Sequence[float]) -> Iterator[NamedTensor]:
        self.optimizer.zero_grad()
        loss, _ = self.wrapped(None, (values[0],))
        loss.backward()
        self.await_exchange()
        found = list(self.tensors("gradient"))
        self.optimizer.zero_grad()
        return iter(found)

    def evaluate(self, batch: Batch) -> Predictions:
        self.model.eval()
        try:
            with torch.no_grad():
                parts = [self.network.predict(inputs) for inputs in microbatches(batch.arrays, self.device)]
        finally:
            self.model.train()
        heads = tuple(head.name for head in self.network.heads)
        numerators, weights = torch.stack([sums for sums, _ in parts]).double().sum(dim=0).cpu().numpy()
        classes = [torch.cat(each).int().cpu().numpy() for each in zip(*[each for _, each in parts], strict=True)]
        return Predictions(
            heads=heads, numerators=numerators, weights=weights, classes=dict(zip(heads, classes, strict=True))
        )

    def snapshot(self) -> None:
        self._snapshot = None  # the old one's memory first
        self._snapshot = Snapshot(self.optimizer, self.scaling, self.device)

    def restore(self) -> None:
        if self._snapshot is None:
            raise TrialError("restore before snapshot")
        self._snapshot.restore()

    def trace(self) -> AbstractContextManager[Timeline]:
        return traced_steps(self.device)

    # ---- operations alone ---------------------------------------------------------------------------------------

    def collective(self, request: CollectiveRequest) -> Collective:
        operation = self.operation(request)
        elements = request.elements or self.exchange_elements()
        return Collective(request, elements, operation, self.world, self.device)

    def operation(self, request: CollectiveRequest) -> Operation:
        """How it is done here. Raises TrialError where it cannot be selected."""
        raise refused("one device without a wrapper", request, "it has nobody to exchange with")

    def exchange_elements(self) -> list[int]:
        """Of each tensor that the step exchanges, in its order."""
        return own_elements(self.exchanged)

    # ---- facts --------------------------------------------------------------------------------------------------

    def facts(self) -> Facts:
        return collect_facts(self)

    def exchanges(self) -> Sequence[ExchangedTensor]:
        return self.exchanged

    def tensor_settings(self) -> Sequence[TensorSettings]:
        return tensor_settings(self.model, self.optimizer)

    def buckets(self) -> int | None:
        """All-reduces of one full step; None where there is none or nobody tells."""
        return None

    def algorithm(self) -> tuple[str, str]:
        """(name, evidence)."""
        return "none", "one device, nothing is exchanged"

    def versions(self) -> dict[str, str]:
        """Of the wrapper's own libraries."""
        return {}

    def wrapper_settings(self) -> dict[str, str | bool | int | float | None]:
        """Read from the live wrapper."""
        return {}

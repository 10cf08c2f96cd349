"""What every PyTorch backend does: one replica per rank, on its own device. Wrappers override the exchange."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from backends._torch_network import HEADS, Network, dropout_settings, gelu_kind, load_model, microbatches
from backends._torch_optimizer import Snapshot, build_optimizer, optimizer_settings
from bench.errors import TrialError
from bench.protocols import Batch, Losses, NamedTensor, World
from bench.records import Facts, Trial


class TorchBackend:
    """One device, no wrapper. A wrapper overrides `join`, `wrap`, `update`, `barrier`, `leave` and its facts.

    A local step runs the inner network and takes its gradients with torch.autograd.grad, so that no wrapper's hook
    can fire; all else is the same.
    """

    local_step = "same as a full step: there is no exchange"

    world: World
    trial: Trial
    device: Any
    model: Any
    network: Any
    optimizer: Any
    wrapped: Any

    def __init__(self) -> None:
        self._sums: list[Any] = []
        self._snapshot: Snapshot | None = None

    # ---- the ranks ----------------------------------------------------------------------------------------------

    def start(self, world: World) -> None:
        if world.local_replicas != 1:
            raise TrialError(f"a PyTorch rank holds one replica, not {world.local_replicas}")
        self.world = world
        self.device = _device(world.local_rank)
        self.join()

    def join(self) -> None:
        """Joins the ranks; self.world and self.device are set."""
        if self.world.size != 1:
            raise TrialError(f"this backend has no exchange and runs as 1 rank, not {self.world.size}")

    def fence(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def barrier(self) -> None:
        self.fence()

    def stop(self) -> None:
        self._forget()
        for name in ("wrapped", "network", "optimizer", "model"):
            self.__dict__.pop(name, None)
        self.leave()

    def _forget(self) -> None:
        self._sums, self._snapshot = [], None

    def leave(self) -> None:
        """Leaves the group; called more than once, and also when `join` failed."""

    # ---- the step -----------------------------------------------------------------------------------------------

    def build(self, trial: Trial, checkpoint: Path) -> None:
        _refuse_unsupported(trial)
        self._forget()
        self.trial = trial
        _set_threads(trial.threads_per_replica)
        task = trial.workload.task
        self.model = load_model(task, checkpoint).to(self.device)
        self.network = Network(self.model, task)
        self.optimizer = build_optimizer(trial.optimizer, self.model.named_parameters())
        self.wrapped = self.network
        self.wrap()
        # Each replica drops its own units; everything before this line is the same on all of them.
        torch.manual_seed(trial.workload.seed * 1_000_003 + self.world.rank)

    def wrap(self) -> None:
        """Sets self.wrapped, called in full steps, and may replace self.optimizer."""

    def step(self, batch: Batch, exchange: bool) -> None:
        self.optimizer.zero_grad()
        scales = self._scales(batch)
        *earlier, last = microbatches(batch.arrays, self.device)
        sums = [self._accumulate(inputs, scales) for inputs in earlier]
        if exchange:
            loss, last_sums = self.wrapped(last, scales)
            loss.backward()
        else:
            last_sums = self._accumulate(last, scales)
        self.update(exchange)
        self._sums.append(sum(sums, last_sums))

    def update(self, exchange: bool) -> None:
        """Applies the gradients; where the wrapper exchanges in the optimizer, only if `exchange`."""
        self.optimizer.step()

    def _scales(self, batch: Batch) -> tuple[float, ...]:
        # Sums over the global weight would need an exchange that adds; the exchange averages over the replicas.
        weights = (batch.global_weights[head] for head in HEADS[self.trial.workload.task])
        return tuple(self.world.replicas / weight if weight else 0.0 for weight in weights)

    def _accumulate(self, inputs: dict[str, Any], scales: tuple[float, ...]) -> Any:
        """Adds this microbatch's own gradients to .grad without a hook; returns its sums."""
        loss, sums = self.network(inputs, scales)
        parameters = list(self.model.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad.add_(gradient)
        return sums

    # ---- what it did --------------------------------------------------------------------------------------------

    def losses(self) -> Losses:
        heads = HEADS[self.trial.workload.task]
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
            value = tensor.detach().float().cpu().numpy().copy()
            yield NamedTensor(name=name, replica=0, value=value)

    def snapshot(self) -> None:
        self._snapshot = Snapshot(self.optimizer, self.device)

    def restore(self) -> None:
        if self._snapshot is None:
            raise TrialError("restore before snapshot")
        self._snapshot.restore()

    # ---- facts --------------------------------------------------------------------------------------------------

    def facts(self) -> Facts:
        buckets, elements, bytes_, wire = self.exchanged()
        algorithm, evidence = self.algorithm()
        return Facts(
            parameter_elements=sum(parameter.numel() for parameter in self.model.parameters()),
            compute_dtype=_short(next(self.model.parameters()).dtype),
            wire_dtype=wire,
            exchange_elements=elements,
            exchange_bytes=bytes_,
            buckets=buckets,
            algorithm=algorithm,
            algorithm_evidence=evidence,
            devices=[_device_name(self.device)],
            threads=torch.get_num_threads(),
            versions={"torch": str(torch.__version__), "transformers": transformers.__version__, **self.versions()},
            settings={
                **optimizer_settings(self.optimizer),
                **dropout_settings(self.model),
                "gelu": gelu_kind(self.model),
                "attention": self.model.config._attn_implementation,
                "inter_op_threads": torch.get_num_interop_threads(),
                "float32_matmul_precision": torch.get_float32_matmul_precision(),
                "jit_compile": False,
                "local_step": self.local_step,
                **self.wrapper_settings(),
            },
        )

    def exchanged(self) -> tuple[int | None, int | None, int | None, str | None]:
        """(buckets, elements, bytes, dtype) of one full step's exchange, as observed."""
        return None, None, None, None

    def algorithm(self) -> tuple[str, str]:
        """(name, evidence)."""
        return "none", "one device, nothing is exchanged"

    def versions(self) -> dict[str, str]:
        """Of the wrapper's own libraries."""
        return {}

    def wrapper_settings(self) -> dict[str, str | bool | int | float | None]:
        """Read from the live wrapper."""
        return {}


def _device(local_rank: int) -> Any:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise TrialError(f"local rank {local_rank} has no GPU of its own: {torch.cuda.device_count()} on this host")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _device_name(device: Any) -> str:
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def _refuse_unsupported(trial: Trial) -> None:
    """Raises TrialError for what would otherwise be ignored in silence."""
    if trial.compute != "float32" or trial.wire != "float32":
        raise TrialError(f"{trial.backend} computes and exchanges float32 only, not {trial.compute} / {trial.wire}")
    if trial.jit_compile:
        raise TrialError(f"{trial.backend} runs eagerly: jit_compile must be false")


def _set_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    # PyTorch allows this once per process, before any inter-op work.
    if torch.get_num_interop_threads() != threads:
        torch.set_num_interop_threads(threads)


def _short(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")

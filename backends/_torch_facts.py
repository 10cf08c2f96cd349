"""What a PyTorch backend says of itself, read from its live model, optimizer and wrapper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
import transformers

from backends._torch_compile import replayed_graphs
from backends._torch_device import device_name, device_versions
from backends._torch_network import Network
from backends._torch_precision import NoScaling, float32_products
from backends._torch_preset import Tuning
from bench.records import ExchangedTensor, Facts, TensorSettings

Settings = dict[str, str | bool | int | float | None]


class Describable(Protocol):
    """The part of TorchBackend that facts are read from."""

    device: Any
    model: Any
    network: Network
    optimizer: Any
    scaling: NoScaling
    tuning: Tuning
    compiler: Any
    recorded: bool
    dense_dtypes: set[str]
    local_step: str

    def exchanges(self) -> Sequence[ExchangedTensor]: ...
    def buckets(self) -> int | None: ...
    def algorithm(self) -> tuple[str, str]: ...
    def versions(self) -> dict[str, str]: ...
    def wrapper_settings(self) -> Settings: ...


def collect_facts(backend: Describable) -> Facts:
    """Call after at least one step; what is exchanged is unknown before a full one."""
    exchanged = backend.exchanges()
    algorithm, evidence = backend.algorithm()
    loss_scale, skipped_steps = backend.scaling.read()
    return Facts(
        parameter_elements=sum(parameter.numel() for parameter in backend.model.parameters()),
        compute_dtype=_compute_dtype(backend),
        wire_dtype=",".join(sorted({tensor.dtype for tensor in exchanged})) or None,
        exchange_elements=sum(tensor.count * tensor.elements for tensor in exchanged) or None,
        exchange_bytes=sum(tensor.count * tensor.bytes for tensor in exchanged) or None,
        buckets=backend.buckets(),
        algorithm=algorithm,
        algorithm_evidence=evidence,
        devices=[device_name(backend.device)],
        threads=torch.get_num_threads(),
        versions={**device_versions(backend.device), "transformers": transformers.__version__, **backend.versions()},
        settings={
            **optimizer_settings(backend.optimizer),
            **_dropout_settings(backend.model),
            "gelu": gelu_kind(backend.model.bert.encoder.layer[0].intermediate.intermediate_act_fn),
            "attention": backend.model.config._attn_implementation,
            "inter_op_threads": torch.get_num_interop_threads(),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "compile": backend.compiler is not None and backend.compiler.graphs > 0,
            "packed": backend.network.packed,
            "cuda_graphs": replayed_graphs(backend.device) if backend.recorded else 0,
            "pinned_input": backend.tuning.pinned and backend.device.type == "cuda",
            "local_step": backend.local_step,
            **backend.wrapper_settings(),
        },
        loss_scale=loss_scale,
        skipped_steps=skipped_steps,
    )


def _compute_dtype(backend: Describable) -> str:
    """Of what the dense layers returned in the first step, or return in the graphs that were compiled."""
    dtypes = backend.dense_dtypes if backend.compiler is None else backend.compiler.dense_dtypes
    float32 = float32_products(backend.device)
    return ",".join(sorted(float32 if dtype == "float32" else dtype for dtype in dtypes)) or "unknown"


def optimizer_settings(optimizer: Any) -> Settings:
    """Read from the live optimizer; the decay of a group is what its `step` applies."""
    decayed, kept = optimizer.param_groups
    return {
        # Horovod derives a class of the same name from the optimizer that it wraps.
        "optimizer": type(optimizer).__name__,
        "learning_rate": decayed["lr"],
        **_of_optimizer(decayed),
        "weight_decay": _decay(decayed),
        "weight_decay_bias_and_layer_norm": _decay(kept),
        "clip_norm": decayed["clip_norm"],
        "decayed_tensors": len(decayed["params"]),
        "undecayed_tensors": len(kept["params"]),
        "foreach": decayed.get("foreach"),
        "fused": decayed.get("fused"),
    }


def tensor_settings(model: Any, optimizer: Any) -> list[TensorSettings]:
    """In the order of the model's parameters, each from the optimizer's group that holds it."""
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    epsilons = {f"{name}.weight": module.eps for name, module in _modules(model, torch.nn.LayerNorm)}
    activations = dict(_activations(model))
    found = []
    for name, parameter in model.named_parameters():
        group = groups[id(parameter)]
        found.append(
            TensorSettings(
                name=name,
                learning_rate=group["lr"],
                weight_decay=_decay(group),
                clip_norm=group["clip_norm"],
                layer_norm_epsilon=epsilons.get(name),
                activation=activations.get(name),
                **_of_optimizer(group),
            )
        )
    return found


def _decay(group: dict[str, Any]) -> float:
    return float(group.get("decoupled_decay", group["weight_decay"]))


def _of_optimizer(group: dict[str, Any]) -> dict[str, float | None]:
    """What this optimizer has of its own, under the names of TensorSettings. Adafactor has two epsilons."""
    beta_1, beta_2 = group.get("betas", (None, None))
    epsilon = group.get("eps")
    of_variance, of_scale = epsilon if isinstance(epsilon, tuple) else (None, None)
    return {
        "beta_1": beta_1,
        "beta_2": beta_2,
        "epsilon": None if isinstance(epsilon, tuple) else epsilon,
        "momentum": group.get("momentum"),
        "beta_2_decay": group.get("beta2_decay"),
        "variance_epsilon": of_variance,
        "scale_epsilon": of_scale,
        "clip_threshold": group.get("d"),
    }


def _modules(model: Any, kind: type) -> Iterator[tuple[str, Any]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, kind))


def _activations(model: Any) -> Iterator[tuple[str, str]]:
    """Weight of a dense layer, and the GELU that follows it."""
    for name, module in model.named_modules():
        for attribute in ("intermediate_act_fn", "transform_act_fn"):
            if hasattr(module, attribute):
                yield f"{name}.dense.weight", gelu_kind(getattr(module, attribute))


def gelu_kind(activation: Any) -> str:
    """ "tanh" or "erf": which GELU the live activation computes, by its value at 1; else its class name."""
    with torch.no_grad():
        value = float(activation(torch.ones(1, dtype=torch.float64)))
    known = {"tanh": 0.8411919906082768, "erf": 0.8413447460685429}
    return next((kind for kind, at_one in known.items() if abs(value - at_one) < 1e-7), type(activation).__name__)


def _dropout_settings(model: Any) -> dict[str, float]:
    """Probabilities of the live modules: the largest of the dropout layers, and that of the attention weights."""
    layers = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    attention = model.bert.encoder.layer[0].attention.self.dropout
    return {"dropout": float(max(layers)), "attention_dropout": float(attention.p)}

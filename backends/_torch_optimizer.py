"""The optimizer of a trial in PyTorch, what it really uses, and a copy of all state that a step changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from bench.records import Optimizer


class DecoupledSGD(torch.optim.SGD):  # type: ignore[misc]
    """SGD with decoupled decay: w <- w - lr * decay * w - lr * momentum buffer.

    torch.optim.SGD adds its decay to the gradient, and so to the momentum buffer. The group key
    `decoupled_decay` takes its place; `weight_decay` stays 0.
    """

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for group in self.param_groups:
            if group["decoupled_decay"]:
                torch._foreach_mul_(group["params"], 1 - group["lr"] * group["decoupled_decay"])
        return super().step(closure)


def build_optimizer(settings: Optimizer, parameters: Iterable[tuple[str, Any]]) -> Any:
    """AdamW or SGD over two groups: first the tensors that decay, then the biases and LayerNorm weights."""
    groups: tuple[list[Any], list[Any]] = ([], [])
    for name, parameter in parameters:
        groups[0 if decays(name) else 1].append(parameter)
    decayed, kept = groups
    if settings.name == "sgd":
        return DecoupledSGD(
            [
                {"params": decayed, "decoupled_decay": settings.weight_decay},
                {"params": kept, "decoupled_decay": 0.0},
            ],
            lr=settings.learning_rate,
            momentum=settings.momentum,
        )
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": kept, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(settings.beta_1, settings.beta_2),
        eps=settings.epsilon,
    )


def decays(name: str) -> bool:
    """True for every tensor except biases and LayerNorm weights."""
    return not (name.endswith("bias") or "LayerNorm" in name)


def optimizer_settings(optimizer: Any) -> dict[str, str | bool | int | float | None]:
    """Read from the live optimizer; the decay of a group is what its `step` applies."""
    decayed, kept = optimizer.param_groups
    key = "decoupled_decay" if "decoupled_decay" in decayed else "weight_decay"
    beta_1, beta_2 = decayed.get("betas", (None, None))
    return {
        # Horovod derives a class of the same name from the optimizer that it wraps.
        "optimizer": type(optimizer).__name__,
        "learning_rate": decayed["lr"],
        "beta_1": beta_1,
        "beta_2": beta_2,
        "epsilon": decayed.get("eps"),
        "momentum": decayed.get("momentum"),
        "weight_decay": decayed[key],
        "weight_decay_bias_and_layer_norm": kept[key],
        "decayed_tensors": len(decayed["params"]),
        "undecayed_tensors": len(kept["params"]),
        "foreach": decayed["foreach"],
        "fused": decayed["fused"],
    }


class Snapshot:
    """Weights, optimizer state and random state at one moment; `restore` brings them back bit by bit, in place."""

    def __init__(self, optimizer: Any, device: Any) -> None:
        self._optimizer = optimizer
        self._device = device
        self._weights = [(parameter, parameter.detach().clone()) for parameter in _parameters(optimizer)]
        self._state = {
            parameter: {key: _copy(value) for key, value in state.items()}
            for parameter, state in optimizer.state.items()
        }
        self._random = torch.get_rng_state()
        self._device_random = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def restore(self) -> None:
        """Leaves the snapshot usable for another restore."""
        for parameter, saved in self._weights:
            parameter.copy_(saved)
        live = self._optimizer.state
        for parameter in [parameter for parameter in live if parameter not in self._state]:
            del live[parameter]
        for parameter, saved in self._state.items():
            for key, value in saved.items():
                live[parameter][key] = _put(live[parameter].get(key), value)
        torch.set_rng_state(self._random)
        if self._device_random is not None:
            torch.cuda.set_rng_state(self._device_random, self._device)


def _parameters(optimizer: Any) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _put(live: Any, saved: Any) -> Any:
    """In place where both are tensors, so that a local window moves no memory about."""
    if isinstance(live, torch.Tensor) and isinstance(saved, torch.Tensor):
        return live.copy_(saved)
    return _copy(saved)

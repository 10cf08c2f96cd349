"""The optimizer of a trial in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


class Lamb(torch.optim.Optimizer):  # type: ignore[misc]
    """You et al., arXiv:1904.00962, algorithm 2, with phi the identity: Adam's direction plus decay, of a length that
    is `lr` times the tensor's own norm.

    r = mhat / (sqrt(vhat) + eps) + weight_decay * w; w <- w - lr * |w| / |r| * r, where a norm is 0: w - lr * r.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                updates = self._directions(group, weights)
                torch._foreach_mul_(updates, _trust(weights, updates))
                torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def _directions(self, group: dict[str, Any], weights: list[Any]) -> list[Any]:
        """r of each tensor; moves the moments on."""
        states = [self._moments(weight) for weight in weights]
        first, second = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        gradients = [weight.grad for weight in weights]
        beta_1, beta_2 = group["betas"]
        torch._foreach_lerp_(first, gradients, 1 - beta_1)
        torch._foreach_mul_(second, beta_2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta_2)
        steps = states[0]["step"]
        roots = torch._foreach_div(second, 1 - beta_2**steps)
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        directions: list[Any] = list(torch._foreach_div(first, 1 - beta_1**steps))
        torch._foreach_div_(directions, roots)
        if group["weight_decay"]:
            torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
        return directions

    def _moments(self, weight: Any) -> dict[str, Any]:
        state: dict[str, Any] = self.state[weight]
        if not state:
            state |= {"step": 0, "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
        state["step"] += 1
        return state


def _trust(weights: list[Any], updates: list[Any]) -> list[Any]:
    """|w| / |r| per tensor on its device, 1 where one of them is 0."""
    weight_norms, update_norms = norms(weights), norms(updates)
    both = (weight_norms > 0) & (update_norms > 0)
    return list(torch.where(both, weight_norms / update_norms, 1.0).unbind())


def norms(tensors: Sequence[Any]) -> Any:
    """L2 norm of each tensor, as one vector on their device.

    PyTorch's own norm adds one number after the other in float32 on the CPU: over 30,522 x 128 numbers it is 1e-4
    off, over 30,522 x 1,024 it is 2e-3. By rows and then pairwise, as `sum` does it, it is within 1e-6.
    """
    if tensors[0].is_cuda:
        return torch.stack(torch._foreach_norm(tensors))
    rows = [torch.linalg.vector_norm(each, dim=-1) if each.dim() > 1 else each for each in tensors]
    return torch.stack([each.square().sum() for each in rows]).sqrt()


def add_gradients(parameters: Sequence[Any], gradients: Sequence[Any], kept: bool) -> None:
    """To .grad. `kept`: as copies, which the next microbatch's CUDA graph cannot overwrite."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter.grad is None:
            parameter.grad = gradient.clone() if kept else gradient
        else:
            parameter.grad.add_(gradient)


def clip(optimizer: Any) -> None:
    """As torch.nn.utils.clip_grad_norm_: gradients times min(1, limit / (norm + 1e-6)), the norm over all of them.

    The limit is each group's own `clip_norm`; 0: unchanged.
    """
    groups = [[parameter.grad for parameter in group["params"]] for group in optimizer.param_groups]
    limits = [group["clip_norm"] for group in optimizer.param_groups]
    if not any(limits):
        return
    norm = norms([gradient for gradients in groups for gradient in gradients]).norm()
    for gradients, limit in zip(groups, limits, strict=True):
        if limit:
            torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))


def build_optimizer(settings: Optimizer, parameters: Iterable[tuple[str, Any]], fused: bool = False) -> Any:
    """Over two groups: first the tensors that decay, then the biases and LayerNorm weights. `fused`: the whole update
    as one kernel, where the optimizer has one."""
    groups: tuple[list[Any], list[Any]] = ([], [])
    for name, parameter in parameters:
        groups[0 if decays(name) else 1].append(parameter)
    key = "decoupled_decay" if settings.name == "sgd" else "weight_decay"
    decayed, kept = (
        {"params": each, key: decay, "clip_norm": settings.clip_norm}
        for each, decay in zip(groups, (settings.weight_decay, 0.0), strict=True)
    )
    own = _OWN[settings.name](settings) | ({"fused": True} if fused and settings.name in HAVE_FUSED else {})
    return _CLASSES[settings.name]([decayed, kept], lr=settings.learning_rate, **own)


def _adam_settings(settings: Optimizer) -> dict[str, Any]:
    return {"betas": (settings.beta_1, settings.beta_2), "eps": settings.epsilon}


HAVE_FUSED = ("adamw", "sgd")
_CLASSES = {"adamw": torch.optim.AdamW, "sgd": DecoupledSGD, "lamb": Lamb, "adafactor": torch.optim.Adafactor}
_OWN: dict[str, Callable[[Optimizer], dict[str, Any]]] = {
    "adamw": _adam_settings,
    "lamb": _adam_settings,
    "sgd": lambda settings: {"momentum": settings.momentum},
    "adafactor": lambda _: {"beta2_decay": -0.8, "eps": (1e-15, 1e-3), "d": 1.0},
}


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Of all tensors, from the next update on."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def decays(name: str) -> bool:
    """True for every tensor except biases and LayerNorm weights."""
    return not (name.endswith("bias") or "LayerNorm" in name)

"""Compute precision in PyTorch: what the products are computed in, and the loss scale of float16."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from bench.errors import TrialError
from bench.records import Compute, LossScale

_AUTOCAST = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def select_precision(compute: Compute, device: Any) -> Callable[[], AbstractContextManager[Any]]:
    """Sets this process' float32 products, and returns what gives the context of a forward pass.

    Raises TrialError where the device has no tf32.
    """
    if compute == "tf32" and not _has_tf32(device):
        raise TrialError(f"tf32 is a precision of NVIDIA GPUs from compute capability 8.0 on, and {device} is none")
    torch.set_float32_matmul_precision("high" if compute == "tf32" else "highest")
    dtype = _AUTOCAST.get(compute)
    return nullcontext if dtype is None else lambda: torch.autocast(device.type, dtype)


def float32_products(device: Any) -> str:
    """ "tf32" or "float32": what this process computes float32 products in, on this device."""
    return "tf32" if _has_tf32(device) and torch.get_float32_matmul_precision() != "highest" else "float32"


def _has_tf32(device: Any) -> bool:
    return bool(device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0))


class NoScaling:
    """Of every precision but float16: each step is applied."""

    def scaled(self, loss: Any) -> Any:
        return loss

    def unscale(self, optimizer: Any) -> None:
        """Divides the gradients by the scale, and looks whether all are finite."""

    def apply(self, optimizer: Any) -> None:
        """The update, unless a gradient was not finite."""
        optimizer.step()

    def snapshot(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        """Back to `state`, of snapshot."""

    def read(self) -> tuple[float | None, int | None]:
        """(scale of the last step, updates left out so far); None: this precision has none. Waits for the device."""
        return None, None


class DynamicScaling(NoScaling):
    """torch.amp.GradScaler. `apply` waits for the device, as PyTorch does it, to learn whether to update."""

    def __init__(self, settings: LossScale, device: Any) -> None:
        self._scaler = torch.amp.GradScaler(
            device.type, init_scale=settings.initial, growth_interval=settings.growth_steps
        )
        self._one = torch.ones((), device=device)
        self._last = self._scale()
        self._skipped = torch.zeros((), dtype=torch.int64, device=device)

    def _scale(self) -> Any:
        """A tensor of its own on the device."""
        return self._scaler.scale(self._one)

    def scaled(self, loss: Any) -> Any:
        return self._scaler.scale(loss)

    def unscale(self, optimizer: Any) -> None:
        self._scaler.unscale_(optimizer)

    def apply(self, optimizer: Any) -> None:
        self._last = self._scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        # It tells nobody that it left an update out, but only then the scale falls.
        self._skipped += self._scale() < self._last

    def snapshot(self) -> Any:
        return self._scaler.state_dict(), self._last, self._skipped.clone()

    def restore(self, state: Any) -> None:
        scaler, self._last, skipped = state
        self._scaler.load_state_dict(scaler)
        self._skipped.copy_(skipped)

    def read(self) -> tuple[float | None, int | None]:
        return float(self._last), int(self._skipped)


def build_scaling(compute: Compute, settings: LossScale, device: Any) -> NoScaling:
    """The loss scale of float16, nothing for the others."""
    return DynamicScaling(settings, device) if compute == "float16" else NoScaling()

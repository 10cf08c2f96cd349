"""A copy of all state that a step changes."""

from __future__ import annotations

from typing import Any

import torch

from backends._torch_precision import NoScaling


class Snapshot:
    """Weights, optimizer state, loss scale and random state at one moment; `restore` brings them back bit by bit."""

    def __init__(self, optimizer: Any, scaling: NoScaling, device: Any) -> None:
        self._optimizer, self._scaling, self._device = optimizer, scaling, device
        self._weights = [(parameter, parameter.detach().clone()) for parameter in _parameters(optimizer)]
        self._state = {
            parameter: {key: _copy(value) for key, value in state.items()}
            for parameter, state in optimizer.state.items()
        }
        self._scale = scaling.snapshot()
        self._random = torch.get_rng_state()
        self._device_random = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def restore(self) -> None:
        """In place; leaves the snapshot usable for another restore."""
        for parameter, saved in self._weights:
            parameter.copy_(saved)
        live = self._optimizer.state
        for parameter in [parameter for parameter in live if parameter not in self._state]:
            del live[parameter]
        for parameter, saved in self._state.items():
            for key, value in saved.items():
                live[parameter][key] = _put(live[parameter].get(key), value)
        self._scaling.restore(self._scale)
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

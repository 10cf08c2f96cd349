"""One mapping between the checkpoint's tensors and Keras' variables, used for loading and for reading back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import TrialError
from bench.protocols import Array


@dataclass(frozen=True, slots=True)
class Binding:
    """One trained tensor.

    transposed: the checkpoint has (out, in), Keras (in, out), where attention splits `out` or `in` by heads. The
    split axes are adjacent, so that flattening to two axes and transposing is exact in both directions.
    layer: the live layer that uses it, given for the weights of dense layers and of LayerNorms.
    """

    name: str
    variable: Any
    transposed: bool = False
    layer: Any = None

    def to_keras(self, value: Array) -> Array:
        """Orientation and shape of the Keras variable. Raises TrialError when the value does not fit."""
        shape = tuple(self.variable.shape)
        if value.size != int(np.prod(shape)) or not self._same_ends(value.shape, shape):
            raise TrialError(f"checkpoint tensor {self.name} has shape {value.shape}, the model needs {shape}")
        return (value.T if self.transposed else value).reshape(shape)

    def _same_ends(self, given: tuple[int, ...], shape: tuple[int, ...]) -> bool:
        if self.transposed:  # one of the two sides is not split
            return len(given) == 2 and (given[1] == shape[0] or given[0] == shape[-1])
        return len(given) == 1 or given == shape

    def to_checkpoint(self, value: Array, shape: tuple[int, ...]) -> Array:
        """`shape`: that of the checkpoint's tensor. The result is contiguous."""
        turned = value.reshape(shape[::-1]).T if self.transposed else value.reshape(shape)
        return np.ascontiguousarray(turned)

    @property
    def decays(self) -> bool:
        return not (self.name.endswith(".bias") or self.name.endswith("LayerNorm.weight"))


def load(bindings: Iterable[Binding], path: Path) -> dict[str, tuple[int, ...]]:
    """Assigns every tensor of the file, and returns their shapes. Raises TrialError unless the names are the same."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    by_name = {binding.name: binding for binding in bindings}
    if by_name.keys() != tensors.keys():
        missing, left = sorted(by_name.keys() - tensors.keys()), sorted(tensors.keys() - by_name.keys())
        raise TrialError(f"{path} does not fit the model: missing {missing}, left over {left}")
    for name, binding in by_name.items():
        binding.variable.assign(binding.to_keras(tensors[name]))
    return {name: tensor.shape for name, tensor in tensors.items()}


def dense(name: str, layer: Any) -> Iterator[Binding]:
    """Of a Keras Dense or EinsumDense."""
    yield Binding(f"{name}.weight", layer.kernel, transposed=True, layer=layer)
    yield Binding(f"{name}.bias", layer.bias)


def layer_norm(name: str, layer: Any) -> Iterator[Binding]:
    """Of a Keras LayerNormalization that belongs to `name`."""
    yield Binding(f"{name}.LayerNorm.weight", layer.gamma, layer=layer)
    yield Binding(f"{name}.LayerNorm.bias", layer.beta)


def block(name: str, block: Any) -> Iterator[Binding]:
    """Of one layer of keras_hub's encoder."""
    attention = block._self_attention_layer
    yield from dense(f"{name}.attention.self.query", attention.query_dense)
    yield from dense(f"{name}.attention.self.key", attention.key_dense)
    yield from dense(f"{name}.attention.self.value", attention.value_dense)
    yield from dense(f"{name}.attention.output.dense", attention.output_dense)
    yield from layer_norm(f"{name}.attention.output", block._self_attention_layer_norm)
    yield from dense(f"{name}.intermediate.dense", block._feedforward_intermediate_dense)
    yield from dense(f"{name}.output.dense", block._feedforward_output_dense)
    yield from layer_norm(f"{name}.output", block._feedforward_layer_norm)

"""Weights of a local Hugging Face folder, under the names that the checkpoint uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError

HEADS = ("cls.", "classifier.", "bert.pooler.")
OTHER_FORMATS = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.safetensors.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
)


def weights_file(folder: Path) -> Path | None:
    """model.safetensors of `folder`; None when it has a configuration only. Raises UserError for other formats."""
    path = folder / "model.safetensors"
    if path.is_file():
        return path
    for name in OTHER_FORMATS:
        if (folder / name).is_file():
            raise UserError(
                f"{folder} has its weights in {name}; only one model.safetensors is read (pickled files can run code): "
                f"convert it with transformers' model.save_pretrained(folder)"
            )
    return None


def checkpoint_name(given: str) -> str:
    """The name used here for a tensor's name in a file, which may lack `bert.` or spell LayerNorm as TensorFlow did."""
    name = given.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    if name == "cls.predictions.decoder.bias":
        return "cls.predictions.bias"
    if name.startswith(("embeddings.", "encoder.", "pooler.")):
        return f"bert.{name}"
    return name


def read_pretrained(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Those tensors of `shapes` that the file has, as float32. Heads may be missing, the encoder may not.

    Raises UserError for a file that is no safetensors file, a missing encoder tensor, another shape, a value that
    is not finite.
    """
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, NDArray[np.float32]] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            names = {checkpoint_name(given): given for given in file.keys()}  # noqa: SIM118 (not a mapping)
            for name, shape in shapes.items():
                if name in names:
                    tensors[name] = _checked(path, names[name], file.get_tensor(names[name]), shape)
    except (SafetensorError, TypeError) as error:
        raise UserError(f"{path} cannot be read as float32 or float16 safetensors: {error}") from None
    for name in shapes:
        if name not in tensors and not name.startswith(HEADS):
            raise UserError(f"{path} has no tensor {name}, which its config.json asks for")
    return tensors


def _checked(path: Path, given: str, value: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if value.shape != shape:
        raise UserError(f"{path}: tensor {given} has shape {value.shape}, the model needs {shape}")
    if value.dtype.kind != "f" and value.dtype.name != "bfloat16":
        raise UserError(f"{path}: tensor {given} has type {value.dtype}, allowed are floating-point types")
    value = np.ascontiguousarray(value, np.float32)
    if not np.isfinite(value).all():
        raise UserError(f"{path}: tensor {given} has values that are not finite")
    return value

"""BERT's sizes, and the size of a local Hugging Face folder."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any

import msgspec

from bench.errors import UserError
from bench.records import Record, Workload
from bench.workload.labels import LabelSet

ACTIVATION = "gelu_pytorch_tanh"
LAYER_NORM_EPSILON = 1e-12
MIN_SEQUENCE_LENGTH = 8

Count = Annotated[int, msgspec.Meta(gt=0)]
Scale = Annotated[float, msgspec.Meta(gt=0, le=1)]


class ModelConfig(Record, frozen=True, kw_only=True):
    """The shape of one BERT, in the field names of Hugging Face's config.json.

    `hidden_act` and `layer_norm_eps` are the same for all: BERT in keras_hub has no other, and all backends must
    train the same function.
    """

    vocab_size: Count = 30_522
    hidden_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    intermediate_size: Count
    max_position_embeddings: Count = 512
    type_vocab_size: Count = 2
    layer_norm_eps: Scale = LAYER_NORM_EPSILON
    initializer_range: Scale = 0.02
    hidden_act: str = ACTIVATION


def _size(layers: int, hidden: int, heads: int, intermediate: int) -> ModelConfig:
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, intermediate_size=intermediate
    )


SIZES: dict[str, ModelConfig] = {
    "tiny": _size(2, 128, 2, 512),
    "mini": _size(4, 256, 4, 1024),
    "small": _size(4, 512, 8, 2048),
    "medium": _size(8, 512, 8, 2048),
    "base": _size(12, 768, 12, 3072),
    "large": _size(24, 1024, 16, 4096),
}


def model_config(workload: Workload) -> ModelConfig:
    """The size named by `workload.model`, or that of the local folder of this name. Raises UserError.

    Sizes come first: a folder called `tiny` is reached as `./tiny`.
    """
    config = SIZES.get(workload.model)
    if config is None:
        config = _folder_config(model_folder(workload))
    length, positions = workload.sequence_length, config.max_position_embeddings
    if not MIN_SEQUENCE_LENGTH <= length <= positions:
        raise UserError(
            f"workload.sequence_length is {length}; "
            f"model {workload.model!r} allows {MIN_SEQUENCE_LENGTH} to {positions}"
        )
    if workload.task == "pretraining" and config.type_vocab_size < 2:
        raise UserError(
            f"model {workload.model!r} has type_vocab_size {config.type_vocab_size}; pre-training on pairs needs 2"
        )
    return config


def model_labels(workload: Workload) -> LabelSet | None:
    """What the classes of a local folder's model are called, in order; None where it does not say. Raises UserError.

    The names LABEL_0, LABEL_1, ... say nothing.
    """
    if workload.model in SIZES or workload.task == "pretraining":
        return None
    path = model_folder(workload) / "config.json"
    given = _read_json(path).get("id2label")
    if not given:
        return None
    try:
        names = {int(index): str(name) for index, name in given.items()}
        labels = tuple(names[index] for index in range(len(names)))
    except (AttributeError, KeyError, ValueError):
        raise UserError(f"{path}: id2label must map the numbers from 0 to one label each") from None
    if labels == tuple(f"LABEL_{index}" for index in range(len(labels))):
        return None
    return LabelSet(f"the labels of the model {workload.model} (id2label in its config.json)", labels)


def model_folder(workload: Workload) -> Path:
    """The local Hugging Face folder that `workload.model` names. Raises UserError when there is none."""
    folder = Path(workload.model).expanduser()
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise UserError(f"workload.model: the folder {folder} has no config.json, so it is no Hugging Face model")
    close = difflib.get_close_matches(workload.model, SIZES, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise UserError(
        f"workload.model is {workload.model!r}{hint}; allowed are {', '.join(SIZES)}, "
        f"or a local Hugging Face folder with config.json (nothing is downloaded)"
    )


def _folder_config(folder: Path) -> ModelConfig:
    """Reads config.json; every GELU becomes the tanh form, which all backends have."""
    path = folder / "config.json"
    given = _read_json(path)
    if given.get("model_type", "bert") != "bert":
        raise UserError(f"{path} has model_type {given['model_type']!r}; only 'bert' is supported")
    known = {name: given[name] for name in ModelConfig.__struct_fields__ if name in given}
    try:
        config = msgspec.convert({**known, "hidden_act": ACTIVATION}, ModelConfig)
    except msgspec.ValidationError as error:
        raise UserError(f"{path} does not describe a BERT: {error}") from None
    _refuse_other_functions(path, given, config)
    return config


def _read_json(path: Path) -> dict[str, Any]:
    try:
        given = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise UserError(f"{path} holds a {type(given).__name__}; expected the settings of a model")
    return given


def _refuse_other_functions(path: Path, given: dict[str, Any], config: ModelConfig) -> None:
    """Raises UserError for what not every backend computes alike."""
    activation = given.get("hidden_act", ACTIVATION)
    if activation not in ("gelu", "gelu_new", ACTIVATION):
        raise UserError(f"{path} has hidden_act {activation!r}; allowed are gelu, gelu_new and {ACTIVATION}")
    if config.layer_norm_eps != LAYER_NORM_EPSILON:
        raise UserError(f"{path} has layer_norm_eps {config.layer_norm_eps}; only {LAYER_NORM_EPSILON} is supported")
    positions = given.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise UserError(f"{path} has position_embedding_type {positions!r}; only 'absolute' is supported")
    if config.hidden_size % config.num_attention_heads:
        raise UserError(
            f"{path} has hidden_size {config.hidden_size}, which its {config.num_attention_heads} heads do not divide"
        )

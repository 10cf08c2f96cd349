"""One initial checkpoint for all backends, in Hugging Face layout: config.json and model.safetensors.

Weights are normal(0, initializer_range), biases 0, LayerNorm weights 1, as in BERT. Each tensor is a function of
the seed and its own name, so that a model with another head has the same encoder.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.records import Task, Workload
from bench.workload.models import SIZES, ModelConfig, model_config, model_folder
from bench.workload.pretrained import read_pretrained, weights_file
from bench.workload.staging import file_digest, publish

CODE_VERSION = 1

# In transformers.
ARCHITECTURES: dict[Task, str] = {
    "pretraining": "BertForPreTraining",
    "ner": "BertForTokenClassification",
    "classification": "BertForSequenceClassification",
}

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(config: ModelConfig, task: Task, num_labels: int) -> Shapes:
    """Names and shapes of the tensors of the task's ARCHITECTURES, in checkpoint order.

    Dense weights are (out, in). The masked-LM decoder is tied to the word embeddings and therefore not listed.
    """
    hidden = config.hidden_size
    shapes: Shapes = {
        "bert.embeddings.word_embeddings.weight": (config.vocab_size, hidden),
        "bert.embeddings.position_embeddings.weight": (config.max_position_embeddings, hidden),
        "bert.embeddings.token_type_embeddings.weight": (config.type_vocab_size, hidden),
        **_layer_norm("bert.embeddings", hidden),
    }
    for layer in range(config.num_hidden_layers):
        shapes |= _layer(f"bert.encoder.layer.{layer}", hidden, config.intermediate_size)
    if task == "ner":
        return shapes | _dense("classifier", num_labels, hidden)
    shapes |= _dense("bert.pooler.dense", hidden, hidden)
    if task == "classification":
        return shapes | _dense("classifier", num_labels, hidden)
    return (
        shapes
        | {"cls.predictions.bias": (config.vocab_size,)}
        | _dense("cls.predictions.transform.dense", hidden, hidden)
        | _layer_norm("cls.predictions.transform", hidden)
        | _dense("cls.seq_relationship", 2, hidden)
    )


def _dense(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _layer_norm(name: str, hidden: int) -> Shapes:
    return {f"{name}.LayerNorm.weight": (hidden,), f"{name}.LayerNorm.bias": (hidden,)}


def _layer(name: str, hidden: int, intermediate: int) -> Shapes:
    return (
        _dense(f"{name}.attention.self.query", hidden, hidden)
        | _dense(f"{name}.attention.self.key", hidden, hidden)
        | _dense(f"{name}.attention.self.value", hidden, hidden)
        | _dense(f"{name}.attention.output.dense", hidden, hidden)
        | _layer_norm(f"{name}.attention.output", hidden)
        | _dense(f"{name}.intermediate.dense", intermediate, hidden)
        | _dense(f"{name}.output.dense", hidden, intermediate)
        | _layer_norm(f"{name}.output", hidden)
    )


def initial_tensor(name: str, shape: tuple[int, ...], seed: int, scale: float) -> NDArray[np.float32]:
    """The untrained value of one tensor: a function of the arguments alone. `scale` is the standard deviation."""
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    if name.endswith("LayerNorm.weight"):
        return np.ones(shape, np.float32)
    key = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest(), "little")
    values = np.random.Generator(np.random.PCG64(key)).standard_normal(shape, np.float32)
    values *= np.float32(scale)
    return values


def prepare(workload: Workload, labels: tuple[str, ...], cache: Path) -> Path:
    """The folder of the initial checkpoint, written unless it is there. `labels` in index order, none for pre-training.

    The word embeddings have model rows, however few the vocabulary uses. Raises UserError.
    """
    config = model_config(workload)
    source = None if workload.model in SIZES else model_folder(workload)
    weights = None if source is None else weights_file(source)
    given = None if weights is None else file_digest(weights)
    written = msgspec.json.encode(_hugging_face_config(config, workload, labels))
    key = hashlib.sha256(msgspec.json.encode([CODE_VERSION, written, config, workload.seed, given]))
    folder = cache / "checkpoints" / key.hexdigest()[:32]

    def fill(staged: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        shapes = tensor_shapes(config, workload.task, len(labels))
        tensors = {} if weights is None else read_pretrained(weights, shapes)
        for name, shape in shapes.items():
            if name not in tensors:
                tensors[name] = initial_tensor(name, shape, workload.seed, config.initializer_range)
        try:
            save_file(tensors, staged / "model.safetensors", metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk, say
            raise OSError(str(error)) from None
        (staged / "config.json").write_bytes(msgspec.json.format(written, indent=2))

    if workload.task != "pretraining" and not labels:
        raise UserError(f"a checkpoint for {workload.task} needs at least one label, and the data has none")
    return publish(folder, fill)


def _hugging_face_config(config: ModelConfig, workload: Workload, labels: tuple[str, ...]) -> dict[str, Any]:
    """The content of config.json.

    `pad_token_id` is null: with a number, PyTorch drops the gradient of that embedding row and Keras does not;
    no padded token reaches a loss, so nothing else depends on it.
    """
    written: dict[str, Any] = {
        "architectures": [ARCHITECTURES[workload.task]],
        "model_type": "bert",
        **msgspec.to_builtins(config),
        "attention_probs_dropout_prob": workload.dropout,
        "hidden_dropout_prob": workload.dropout,
        "classifier_dropout": workload.dropout,
        "pad_token_id": None,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    if workload.task == "classification":
        written["problem_type"] = "single_label_classification"
    if labels:
        written["id2label"] = {str(index): label for index, label in enumerate(labels)}
        written["label2id"] = {label: index for index, label in enumerate(labels)}
    return written

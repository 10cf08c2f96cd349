"""BERT in PyTorch: the model from a checkpoint folder, and its loss as sums over what this replica sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.nn import functional

from bench.errors import TrialError
from bench.protocols import Array
from bench.records import Task

HEADS: dict[Task, tuple[str, ...]] = {"pretraining": ("mlm", "nsp"), "ner": ("ner",)}
MODELS: dict[Task, str] = {"pretraining": "BertForPreTraining", "ner": "BertForTokenClassification"}

# cross_entropy and gather want 64-bit indices; embeddings take the batch's own 32-bit ones.
_INDICES = ("masked_positions", "masked_ids", "next_sentence_labels", "labels")


def load_model(task: Task, checkpoint: Path) -> Any:
    """The Hugging Face model with the weights of `checkpoint`, in training mode, on the CPU, in float32.

    Raises TrialError when a tensor is missing, left over or of another shape.
    """
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    model, report = getattr(transformers, MODELS[task]).from_pretrained(
        checkpoint,
        local_files_only=True,
        use_safetensors=True,
        attn_implementation="sdpa",
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # reported below, with the names
    )
    wrong = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if wrong:
        raise TrialError(f"{checkpoint} does not fit {MODELS[task]}: {wrong}")
    # With a padding index PyTorch drops that row's gradient, which no other framework does.
    model.bert.embeddings.word_embeddings.padding_idx = None
    return model.train()


def microbatches(arrays: Mapping[str, Array], device: Any) -> Iterator[dict[str, Any]]:
    """The tensors of replica 0, one mapping per microbatch, without the first two axes; on the CPU no copy."""
    for index in range(len(arrays["input_ids"])):
        yield {name: _tensor(name, array[index, 0], device) for name, array in arrays.items()}


def _tensor(name: str, array: Array, device: Any) -> Any:
    # PyTorch has no read-only tensors: memory-mapped arrays are copied, all others are shared.
    tensor = torch.from_numpy(array if array.flags.writeable else np.array(array))
    return tensor.to(device, torch.int64 if name in _INDICES else tensor.dtype, non_blocking=True)


class Network(torch.nn.Module):  # type: ignore[misc]
    """Inputs of one microbatch to (loss, sums).

    loss: scalar, sum over heads of scale * sum of weighted losses. sums: (2, heads), numerators above weights,
    detached; they stay on the device.
    """

    def __init__(self, model: Any, task: Task) -> None:
        super().__init__()
        self.model = model
        self._sums = self._pretraining if task == "pretraining" else self._ner

    def forward(self, inputs: Mapping[str, Any], scales: tuple[float, ...]) -> tuple[Any, Any]:
        # A mask with four axes goes straight to the attention kernel; one with two is inspected on the host first.
        outputs = self.model.bert(
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"].bool()[:, None, None, :],
            token_type_ids=inputs["token_type_ids"],
        )
        numerators, weights = self._sums(outputs, inputs)
        loss = sum(scale * numerator for scale, numerator in zip(scales, numerators, strict=True))
        return loss, torch.stack([torch.stack(numerators), torch.stack(weights)]).detach()

    def _pretraining(self, outputs: Any, inputs: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        hidden, positions, weights = outputs.last_hidden_state, inputs["masked_positions"], inputs["masked_weights"]
        index = positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        scores = self.model.cls.predictions(hidden.gather(1, index))
        next_sentence_scores = self.model.cls.seq_relationship(outputs.pooler_output)
        next_sentence_labels = inputs["next_sentence_labels"]
        return (
            [
                _weighted_loss(scores, inputs["masked_ids"], weights),
                functional.cross_entropy(next_sentence_scores, next_sentence_labels, reduction="sum"),
            ],
            [weights.sum(), torch.ones_like(next_sentence_labels, dtype=weights.dtype).sum()],
        )

    def _ner(self, outputs: Any, inputs: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        scores = self.model.classifier(self.model.dropout(outputs.last_hidden_state))
        weights = inputs["label_weights"]
        return [_weighted_loss(scores, inputs["labels"], weights)], [weights.sum()]


def _weighted_loss(scores: Any, labels: Any, weights: Any) -> Any:
    losses = functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")
    return (losses * weights.flatten()).sum()


def gelu_kind(model: Any) -> str:
    """ "tanh" or "erf": which GELU the live activation computes, by its value at 1; else its class name."""
    activation = model.bert.encoder.layer[0].intermediate.intermediate_act_fn
    with torch.no_grad():
        value = float(activation(torch.ones(1, dtype=torch.float64)))
    known = {"tanh": 0.8411919906082768, "erf": 0.8413447460685429}
    return next((kind for kind, at_one in known.items() if abs(value - at_one) < 1e-7), type(activation).__name__)


def dropout_settings(model: Any) -> dict[str, float]:
    """Probabilities of the live modules: the largest of the dropout layers, and that of the attention weights."""
    layers = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    attention = model.bert.encoder.layer[0].attention.self.dropout
    return {"dropout": float(max(layers)), "attention_dropout": float(attention.p)}

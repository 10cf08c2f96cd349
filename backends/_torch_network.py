"""BERT in PyTorch: the model from a checkpoint folder, and its loss as sums over what this replica sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from torch.nn import functional

from backends._torch_compile import Compiler
from bench.errors import TrialError
from bench.protocols import Array
from bench.records import Task


class Head(NamedTuple):
    """A loss of a task: the batch arrays of its labels and of their weights, None where each label weighs 1."""

    name: str
    labels: str
    weights: str | None


HEADS: dict[Task, tuple[Head, ...]] = {
    "pretraining": (Head("mlm", "masked_ids", "masked_weights"), Head("nsp", "next_sentence_labels", None)),
    "ner": (Head("ner", "labels", "label_weights"),),
    "classification": (Head("classification", "labels", None),),
}
MODELS: dict[Task, str] = {
    "pretraining": "BertForPreTraining",
    "ner": "BertForTokenClassification",
    "classification": "BertForSequenceClassification",
}

PLACES = "packed_places"  # of bench.protocols.Batch
ROWS = "packed_rows"  # of one microbatch: a number, for the shapes

# cross_entropy and gather want 64-bit indices; embeddings take the batch's own 32-bit ones.
_INDICES = ("masked_positions", "masked_ids", "next_sentence_labels", "labels", PLACES)


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


def microbatches(arrays: Mapping[str, Array], device: Any, pinned: bool = False) -> Iterator[dict[str, Any]]:
    """The tensors of replica 0, one mapping per microbatch, without the first two axes; on the CPU no copy.

    `pinned`: from page-locked memory, which only a GPU has a use for. From other memory the host waits for each copy.
    """
    pinned = pinned and device.type == "cuda"
    for index in range(len(arrays["input_ids"])):
        made = {name: _tensor(name, array[index, 0], device, pinned) for name, array in arrays.items()}
        if PLACES in arrays:
            places = arrays[PLACES][index, 0]
            made[ROWS] = -(-int(places.max()) // places.shape[-1])
        yield made


def _tensor(name: str, array: Array, device: Any, pinned: bool) -> Any:
    # PyTorch has no read-only tensors: memory-mapped arrays are copied, all others are shared.
    tensor = torch.from_numpy(array if array.flags.writeable else np.array(array))
    if pinned:
        tensor = tensor.pin_memory()
    # In this order: PyTorch would convert on the host, into memory that is not page-locked.
    return tensor.to(device, non_blocking=True).to(torch.int64 if name in _INDICES else tensor.dtype)


class Network(torch.nn.Module):  # type: ignore[misc]
    """The loss of one microbatch. `precision` gives the context in which the dense products are computed."""

    def __init__(self, model: Any, task: Task, precision: Callable[[], AbstractContextManager[Any]]) -> None:
        super().__init__()
        self.model = model
        self.heads = HEADS[task]
        self.packed = False  # in the last forward pass
        self._precision = precision
        self._scores = {
            "pretraining": self._pretraining,
            "ner": self._ner,
            "classification": self._classification,
        }[task]
        self._train = self.losses

    def compile_training(self, compiler: Compiler) -> None:
        """From now on, by torch.compile; predictions stay eager."""
        self._train = compiler.compiled(self.losses)

    def forward(self, inputs: Mapping[str, Any] | None, scales: tuple[float, ...]) -> tuple[Any, Any]:
        """(loss, sums): scalar, the sum over heads of scale * sum of weighted losses; and (2, heads), numerators
        above weights, detached, which stay on the device.

        Without inputs the loss is the sum of all weights times the one scale: its gradient is the scale, everywhere.
        """
        if inputs is None:
            (scale,) = scales
            return sum(parameter.sum() * scale for parameter in self.model.parameters()), None
        self.packed = PLACES in inputs
        with self._precision():
            numerators, weights = self._train(inputs)
        loss = sum(scale * numerator for scale, numerator in zip(scales, numerators, strict=True))
        return loss, _stacked(numerators, weights)

    def predict(self, inputs: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """Sums as of forward, and the most likely class per head. Call it in evaluation mode, without gradients."""
        with self._precision():
            scores = self._scores(inputs)
        return _stacked(*self._weighted(scores, inputs)), [each.argmax(dim=-1) for each in scores]

    def losses(self, inputs: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        """Per head the sum of weighted losses and the sum of the weights, in float32."""
        return self._weighted(self._scores(inputs), inputs)

    def _weighted(self, scores: list[Any], inputs: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        pairs = [
            _weighted_loss(each, inputs[head.labels], inputs[head.weights] if head.weights else None)
            for head, each in zip(self.heads, scores, strict=True)
        ]
        return [numerator for numerator, _ in pairs], [weight for _, weight in pairs]

    def _encode(self, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """(hidden, pooled): the last layer's output with axes (row, place, unit), and the pooler's per sample, None
        where the model has none."""
        if PLACES in inputs:
            return self._encode_packed(inputs)
        # A mask with four axes goes straight to the attention kernel; one with two is inspected on the host first.
        outputs = self.model.bert(
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"].bool()[:, None, None, :],
            token_type_ids=inputs["token_type_ids"],
        )
        return outputs.last_hidden_state, outputs.pooler_output

    def _encode_packed(self, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Samples share rows. Each attends to its own tokens, whose positions begin anew; what is nobody's attends to
        itself, so that its softmax is defined."""
        places, rows = inputs[PLACES], inputs[ROWS]
        samples, length = places.shape

        def laid_out(values: Any) -> Any:
            """From (sample, token) to (row, place); padding goes one past the end, and falls away."""
            empty = values.new_zeros(rows * length + 1)
            return empty.scatter(0, places.flatten(), values.flatten())[:-1].view(rows, length)

        tokens, numbers = (torch.arange(count, device=places.device) for count in (length, samples))
        owners = laid_out((numbers + 1)[:, None].expand(-1, length))
        hidden = self.model.bert(
            laid_out(inputs["input_ids"]),
            attention_mask=(owners[:, :, None] == owners[:, None, :])[:, None],
            token_type_ids=laid_out(inputs["token_type_ids"]),
            position_ids=laid_out(tokens.expand(samples, -1)),
        ).last_hidden_state
        if self.model.bert.pooler is None:
            return hidden, None
        return hidden, self.model.bert.pooler(hidden.flatten(0, 1)[places[:, :1]])

    def _pretraining(self, inputs: Mapping[str, Any]) -> list[Any]:
        hidden, pooled = self._encode(inputs)
        if PLACES in inputs:
            masked = hidden.flatten(0, 1)[inputs[PLACES].gather(1, inputs["masked_positions"])]
        else:
            masked = hidden.gather(1, inputs["masked_positions"].unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        return [self.model.cls.predictions(masked), self.model.cls.seq_relationship(pooled)]

    def _ner(self, inputs: Mapping[str, Any]) -> list[Any]:
        hidden, _ = self._encode(inputs)
        scores = self.model.classifier(self.model.dropout(hidden))
        if PLACES in inputs:
            # Padding takes any place's scores: its labels weigh nothing.
            scores = scores.flatten(0, 1)[inputs[PLACES].clamp(max=inputs[ROWS] * scores.shape[1] - 1)]
        return [scores]

    def _classification(self, inputs: Mapping[str, Any]) -> list[Any]:
        return [self.model.classifier(self.model.dropout(self._encode(inputs)[1]))]


def _weighted_loss(scores: Any, labels: Any, weights: Any | None) -> tuple[Any, Any]:
    """(numerator, weight). The scores' last axis is the class."""
    flat_scores, flat_labels = scores.flatten(0, -2).float(), labels.flatten()
    if weights is None:
        numerator = functional.cross_entropy(flat_scores, flat_labels, reduction="sum")
        return numerator, torch.ones_like(flat_labels, dtype=torch.float32).sum()
    losses = functional.cross_entropy(flat_scores, flat_labels, reduction="none")
    return (losses * weights.flatten()).sum(), weights.sum()


def _stacked(numerators: list[Any], weights: list[Any]) -> Any:
    return torch.stack([torch.stack(numerators), torch.stack(weights)]).detach()

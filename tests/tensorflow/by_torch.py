"""The same training by transformers and torch.optim, LAMB by the formulas of its paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers
from given import LABELS, OPTIMIZERS, SAMPLES, STEPS, TRAINED, UPDATES, Arrays, Seen, batch, decays, gradients
from torch.nn import functional

from bench.protocols import Batch
from bench.records import Optimizer

MODELS = {
    "pretraining": transformers.BertForPreTraining,
    "ner": transformers.BertForTokenClassification,
    "classification": transformers.BertForSequenceClassification,
}


def reference(plan: Seen) -> Seen:
    torch.set_num_threads(1)
    seen: Seen = {}
    for name, (optimizer, task) in TRAINED.items():
        model = load(plan[task], task)
        update = updater(model, OPTIMIZERS[optimizer])
        seen[f"{name} classes"] = classes(model, batch(task, 0))
        seen[f"{name} losses"] = np.array([trained(model, update, batch(task, step)) for step in range(STEPS)])
        seen[f"{name} parameters"] = sum(parameter.numel() for parameter in model.parameters())
    seen["updated"] = {name: updated(plan, wanted) for name, wanted in UPDATES.items()}
    return seen


def load(folder: str, task: str) -> Any:
    return MODELS[task].from_pretrained(folder, local_files_only=True, attn_implementation="eager").train()


def scores(model: Any, given: Batch) -> list[tuple[Any, Any, Any]]:
    """Per head: logits (item, class), labels and weights (item)."""
    inputs = {name: torch.from_numpy(array[0, 0]).long() for name, array in given.arrays.items()}
    outputs = model(**{name: inputs[name] for name in ("input_ids", "token_type_ids", "attention_mask")})
    if "masked_ids" in inputs:
        rows = torch.arange(SAMPLES)[:, None]
        masked = outputs.prediction_logits[rows, inputs["masked_positions"]].flatten(0, 1)
        following = inputs["next_sentence_labels"]
        return [
            (masked, inputs["masked_ids"].flatten(), inputs["masked_weights"].flatten()),
            (outputs.seq_relationship_logits, following, torch.ones(len(following))),
        ]
    labels = inputs["labels"].flatten()
    weights = inputs["label_weights"].flatten() if "label_weights" in inputs else torch.ones(len(labels))
    return [(outputs.logits.reshape(-1, LABELS), labels, weights)]


def classes(model: Any, given: Batch) -> list[np.ndarray]:
    with torch.no_grad():
        return [logits.argmax(-1).numpy() for logits, _, _ in scores(model, given)]


def trained(model: Any, update: Callable[[int], None], given: Batch) -> float:
    """The loss of one step."""
    model.zero_grad()
    heads = zip(scores(model, given), given.global_weights.values(), strict=True)
    loss = sum(
        (functional.cross_entropy(logits, labels, reduction="none") * weights).sum() / total
        for (logits, labels, weights), total in heads
    )
    loss.backward()
    update(given.step)
    return float(loss)


def updated(plan: Seen, wanted: Optimizer) -> Arrays:
    """The weights after three updates by given gradients."""
    model = load(plan["pretraining"], "pretraining")
    update = lamb(model, wanted) if wanted.name == "lamb" else updater(model, wanted)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for step in range(3):
        for name, gradient in gradients(shapes, step).items():
            model.get_parameter(name).grad = torch.from_numpy(gradient)
        update(step)
    return {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}


def updater(model: Any, wanted: Optimizer) -> Callable[[int], None]:
    """Sets the rate, clips, updates. Decay is decoupled, also for SGD, whose own decay in torch is not."""
    named = list(model.named_parameters())
    groups = [[value for name, value in named if decays(name) is kind] for kind in (True, False)]
    decay = 0.0 if wanted.name == "sgd" else wanted.weight_decay
    settings = [{"params": groups[0], "weight_decay": decay}, {"params": groups[1], "weight_decay": 0.0}]
    optimizer: Any
    if wanted.name == "adamw":
        betas = (wanted.beta_1, wanted.beta_2)
        optimizer = torch.optim.AdamW(settings, lr=1.0, betas=betas, eps=wanted.epsilon)
    elif wanted.name == "adafactor":
        optimizer = torch.optim.Adafactor(settings, lr=1.0, beta2_decay=-0.8, eps=(1e-15, 1e-3), d=1.0)
    else:
        optimizer = torch.optim.SGD(settings, lr=1.0, momentum=wanted.momentum)

    def update(step: int) -> None:
        rate = wanted.learning_rate_at(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        if wanted.clip_norm:
            clip(model, wanted.clip_norm)
        if wanted.name == "sgd":
            with torch.no_grad():
                for value in groups[0]:
                    value.mul_(1 - rate * wanted.weight_decay)
        optimizer.step()

    return update


def clip(model: Any, clip_norm: float) -> None:
    """As torch.nn.utils.clip_grad_norm_, whose float32 sum over all elements is wrong by 1e-4 for this model."""
    given = [parameter.grad for parameter in model.parameters()]
    norm = float(torch.stack([gradient.double().square().sum() for gradient in given]).sum().sqrt())
    for gradient in given:
        gradient.mul_(min(1.0, clip_norm / (norm + 1e-6)))


def lamb(model: Any, wanted: Optimizer) -> Callable[[int], None]:
    """You et al., arXiv:1904.00962, algorithm 2 with phi = identity, in float64."""
    weights = {name: value.detach().numpy().astype(np.float64) for name, value in model.named_parameters()}
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}

    def update(step: int) -> None:
        if wanted.clip_norm:
            clip(model, wanted.clip_norm)
        for name, parameter in model.named_parameters():
            gradient, weight = parameter.grad.numpy().astype(np.float64), weights[name]
            first[name] += (1 - wanted.beta_1) * (gradient - first[name])
            second[name] += (1 - wanted.beta_2) * (gradient**2 - second[name])
            mean = first[name] / (1 - wanted.beta_1 ** (step + 1))
            root = np.sqrt(second[name] / (1 - wanted.beta_2 ** (step + 1)))
            ratio = mean / (root + wanted.epsilon) + (wanted.weight_decay if decays(name) else 0.0) * weight
            norms = np.linalg.norm(weight), np.linalg.norm(ratio)
            trust = norms[0] / norms[1] if min(norms) > 0 else 1.0
            weight -= wanted.learning_rate_at(step) * trust * ratio
            parameter.data = torch.from_numpy(weight.astype(np.float32))

    return update

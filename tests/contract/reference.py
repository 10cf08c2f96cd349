"""What a rank must see, by hand: `python -P reference.py PLAN.json OUT.npz`. One process, float64, no backend.

PLAN.json: a list of [task, data, checkpoint, workload of the global batch]. Takes another way than the backends: the
whole batch at once, scores at every position, and a mask that picks. Keys of OUT.npz:
  TASK|global|NAME           gradient of the global batch at the initial weights
  TASK|REPLICAS|REPLICA|NAME of one replica's own share, times the replicas, as before an averaging exchange
  TASK|losses|HEAD, TASK|classes|HEAD   sum of weighted losses, and the most likely classes
  torch|NAME|STEP            a weight after steps of torch.optim, see `optimizers`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import transformers

from bench.records import Workload
from bench.workload.batches import Batches

MODELS = {
    "pretraining": transformers.BertForPreTraining,
    "ner": transformers.BertForTokenClassification,
    "classification": transformers.BertForSequenceClassification,
}
Arrays = dict[str, np.ndarray]


def heads(task: str, outputs: Any, arrays: Arrays) -> dict[str, tuple[Any, np.ndarray, np.ndarray]]:
    """Per head: (scores, labels, weights), the last axis of the scores being the classes."""
    if task != "pretraining":
        labels = arrays["labels"]
        return {task: (outputs.logits, labels, arrays.get("label_weights", np.ones(labels.shape)))}
    rows = np.arange(len(arrays["masked_positions"]))[:, None]
    scores = outputs.prediction_logits[rows, arrays["masked_positions"]]
    following = arrays["next_sentence_labels"]
    return {
        "mlm": (scores, arrays["masked_ids"], arrays["masked_weights"]),
        "nsp": (outputs.seq_relationship_logits, following, np.ones(following.shape)),
    }


def losses(task: str, model: Any, arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Per head: the sum of weighted losses with its graph, and the most likely classes. `arrays`: (sample, ...)."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    outputs = model(**{name: torch.from_numpy(np.array(arrays[name])).long() for name in names})
    found, classes = {}, {}
    for head, (scores, labels, weights) in heads(task, outputs, arrays).items():
        logarithms = torch.log_softmax(scores, dim=-1)
        picked = torch.gather(logarithms, -1, torch.from_numpy(np.array(labels)).long()[..., None])[..., 0]
        found[head] = -(picked * torch.from_numpy(np.array(weights, np.float64))).sum()
        classes[head] = scores.argmax(dim=-1).numpy()
    return found, classes


def gradients(task: str, model: Any, arrays: Arrays, weights: dict[str, float]) -> Arrays:
    """Of the sum over heads of loss sum / global weight."""
    found, _ = losses(task, model, arrays)
    model.zero_grad()
    sum(loss / weights[head] for head, loss in found.items()).backward()
    return {name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters()}


def of_task(task: str, data: str, checkpoint: str, workload: Workload) -> Arrays:
    """All keys of one task."""
    batch = Batches(Path(data), workload, 0, 1, 1).batch(0)
    arrays = {name: array[0, 0] for name, array in batch.arrays.items()}
    weights = dict(batch.global_weights)
    model = MODELS[task].from_pretrained(
        checkpoint, local_files_only=True, attn_implementation="eager", dtype=torch.float64
    )
    model.eval().bert.embeddings.word_embeddings.padding_idx = None
    sums, classes = losses(task, model, arrays)
    found = {f"{task}|losses|{head}": value.detach().numpy() for head, value in sums.items()}
    found |= {f"{task}|classes|{head}": value for head, value in classes.items()}
    for replicas in (1, 2):
        share = workload.batch_per_replica // replicas
        for replica in range(replicas):
            own = {name: array[replica * share : (replica + 1) * share] for name, array in arrays.items()}
            for name, gradient in gradients(task, model, own, weights).items():
                found[f"{task}|{replicas}|{replica}|{name}"] = gradient * replicas
                if replicas == 1:
                    found[f"{task}|global|{name}"] = gradient
    return found


def optimizers() -> Arrays:
    """Three steps of torch.optim on numbers that test_arithmetic.py makes in the same way."""
    generator = np.random.default_rng(7)
    weights = {name: generator.standard_normal(shape) for name, shape in (("dense", (3, 4)), ("also_dense", (4,)))}
    found: Arrays = {f"torch|start|{name}": value for name, value in weights.items()}
    given = {
        step: {name: generator.standard_normal(value.shape) for name, value in weights.items()} for step in (0, 1, 2)
    }
    found |= {f"torch|gradient {step}|{name}": value for step, each in given.items() for name, value in each.items()}
    kinds = {
        "adamw": lambda each: torch.optim.AdamW(each, lr=0.01, betas=(0.9, 0.999), eps=1e-3, weight_decay=0.1),
        "sgd": lambda each: torch.optim.SGD(each, lr=0.01, momentum=0.9),
        "adafactor": lambda each: torch.optim.Adafactor(each, lr=0.01, eps=(1e-15, 1e-3), weight_decay=0.1),
    }
    for kind, make in kinds.items():
        live = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in weights.items()}
        optimizer = make(list(live.values()))
        for step, each in given.items():
            for name, value in each.items():
                live[name].grad = torch.tensor(value)
            torch.nn.utils.clip_grad_norm_(live.values(), 2.0)
            optimizer.step()
            found |= {f"torch|{kind} {step}|{name}": value.detach().numpy().copy() for name, value in live.items()}
    return found


def main(plan: Path, out: Path) -> None:
    found = optimizers()
    for task, data, checkpoint, workload in json.loads(plan.read_text()):
        found |= of_task(task, data, checkpoint, msgspec.convert(workload, Workload))
    np.savez(out, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

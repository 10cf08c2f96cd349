"""One process, one framework: `python -P child.py SIDE FOLDER`. Reads FOLDER/plan.json, writes FOLDER/SIDE-RANK.pickle.

SIDE is one of the functions below: `bare`, `mirrored`, `horovod` run a backend, `reference` runs transformers and
torch.optim on the same checkpoint and the same batches.
"""

from __future__ import annotations

import json
import pickle
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.protocols import Backend, Batch, World
from bench.records import Optimizer, Trial, Workload

VOCABULARY, LABELS = 30_522, 5
SAMPLES, TOKENS, PREDICTIONS = 4, 32, 6
STEPS = 20
OPTIMIZERS = {
    "adamw": Optimizer(),
    "sgd": Optimizer(name="sgd", learning_rate=0.1, weight_decay=0.1, momentum=0.9),
    "plain_sgd": Optimizer(name="sgd", learning_rate=0.1, weight_decay=0.0),
    # Large enough to show where it is added.
    "large_epsilon": Optimizer(learning_rate=1e-2, weight_decay=0.1, epsilon=1e-3),
}

Seen = dict[str, Any]
Arrays = dict[str, np.ndarray]


def batch(task: str, step: int, replicas: int = 1) -> Batch:
    """Random, and a function of the arguments alone. Some positions are padded, some weights 0."""
    generator = np.random.default_rng([step, task == "ner"])
    axes = (1, replicas, SAMPLES)
    lengths = generator.integers(TOKENS // 2, TOKENS, axes)
    arrays: Arrays = {
        "input_ids": generator.integers(0, VOCABULARY, (*axes, TOKENS), np.int32),
        "token_type_ids": generator.integers(0, 2, (*axes, TOKENS), np.int32),
        "attention_mask": (np.arange(TOKENS) < lengths[..., None]).astype(np.int32),
    }
    if task == "ner":
        arrays["labels"] = generator.integers(0, LABELS, (*axes, TOKENS), np.int32)
        arrays["label_weights"] = (generator.random((*axes, TOKENS)) < 0.6).astype(np.float32)
        weights = {"ner": float(arrays["label_weights"].sum())}
    else:
        arrays["masked_positions"] = generator.integers(0, TOKENS // 2, (*axes, PREDICTIONS), np.int32)
        arrays["masked_ids"] = generator.integers(0, VOCABULARY, (*axes, PREDICTIONS), np.int32)
        arrays["masked_weights"] = (generator.random((*axes, PREDICTIONS)) < 0.8).astype(np.float32)
        arrays["next_sentence_labels"] = generator.integers(0, 2, axes, np.int32)
        weights = {"mlm": float(arrays["masked_weights"].sum()), "nsp": float(replicas * SAMPLES)}
    return Batch(step=step, arrays=arrays, global_weights=weights, samples=SAMPLES, tokens_real=0, tokens_padded=0)


def joint(given: Batch) -> Batch:
    """All replicas' samples as one replica's."""
    arrays = {name: array.reshape(1, 1, -1, *array.shape[3:]) for name, array in given.arrays.items()}
    return Batch(**{**{name: getattr(given, name) for name in Batch.__slots__}, "arrays": arrays})


def gradients(shapes: dict[str, tuple[int, ...]], step: int) -> Arrays:
    """Of sizes from 1e-6 to 1, so that epsilon matters for some and not for others."""

    def one(name: str, shape: tuple[int, ...]) -> np.ndarray:
        generator = np.random.default_rng([step, zlib.crc32(name.encode())])
        return (generator.standard_normal(shape) * 10 ** generator.uniform(-6, 0, shape)).astype(np.float32)

    return {name: one(name, shape) for name, shape in shapes.items()}


def world(rank: int, size: int, local_replicas: int) -> World:
    return World(
        rank=rank,
        size=size,
        local_rank=rank,
        local_size=size,
        local_replicas=local_replicas,
        launcher="local",
        address="127.0.0.1",
        network_interface=None,
        rendezvous_port=0,
        rendezvous=None,  # type: ignore[arg-type]
    )


def trial(backend: str, optimizer: str, task: str = "pretraining", **changes: Any) -> Trial:
    work = Workload(task=task, sequence_length=TOKENS, batch_per_replica=SAMPLES, dropout=changes.pop("dropout", 0.0))
    return Trial(backend=backend, workload=work, optimizer=OPTIMIZERS[optimizer], **changes)


def values(backend: Backend, kind: str) -> dict[tuple[int, str], np.ndarray]:
    return {(tensor.replica, tensor.name): tensor.value.copy() for tensor in backend.tensors(kind)}


# ---- the backends -----------------------------------------------------------------------------------------------


def bare(plan: Seen) -> Seen:
    from backends.tf_bare import Backend as Bare

    backend = Bare()
    backend.start(world(0, 1, 1))
    seen: Seen = {}
    for name, task in (("adamw", "pretraining"), ("sgd", "pretraining"), ("ner", "ner")):
        backend.build(trial("tf_bare", "adamw" if name == "ner" else name, task), Path(plan[task]))
        seen[f"{name} start"] = {tensor: value for (_, tensor), value in values(backend, "weight").items()}
        for step in range(STEPS):
            backend.step(batch(task, step), True)
        backend.fence()
        losses = backend.losses()
        scales = [[batch(task, step).global_weights[head] for head in losses.heads] for step in range(STEPS)]
        seen[f"{name} losses"] = (losses.numerators[:, 0] / scales).sum(-1)
        seen[f"{name} facts"] = backend.facts()
        seen[f"{name} variables"] = len({id(binding.variable) for binding in backend.bindings})
        seen[f"{name} traces"] = backend._functions[True].experimental_get_tracing_count()
    backend.build(trial("tf_bare", "plain_sgd"), Path(plan["pretraining"]))
    backend.step(joint(batch("pretraining", 0, replicas=2)), True)
    seen["joint gradient"] = values(backend, "gradient")
    backend.build(trial("tf_bare", "large_epsilon", dropout=0.25), Path(plan["pretraining"]))
    seen["updated"] = updated(backend)
    backend.step(batch("pretraining", 0), True)
    backend.optimizer.learning_rate = 0.5
    backend.optimizer.epsilon = 0.125
    seen["changed facts"] = backend.facts()
    backend.stop()
    return seen


def updated(backend: Any) -> Arrays:
    """The weights after three updates with given gradients."""
    from backends._tensorflow_keras import tf

    variables = [binding.variable for binding in backend.bindings]
    apply = tf.function(lambda given: backend.optimizer.apply(given, variables), autograph=False)
    for step in range(3):
        given = gradients(backend.shapes, step)
        apply([tf.constant(binding.to_keras(given[binding.name])) for binding in backend.bindings])
    return {tensor.name: tensor.value for tensor in backend.tensors("weight")}


def mirrored(plan: Seen) -> Seen:
    from backends.tf_mirrored import Backend as Mirrored

    return exchanging(Mirrored, world(0, 1, 2), plan)


def horovod(plan: Seen) -> Seen:
    import os

    from backends.tf_horovod import Backend as Horovod

    return exchanging(Horovod, world(int(os.environ["HOROVOD_RANK"]), 2, 1), plan)


def exchanging(kind: type[Any], place: World, plan: Seen) -> Seen:
    """A local and a full step of SGD from the same weights, and what reached the exchange."""
    from backends._tensorflow_facts import communication
    from backends._tensorflow_keras import tf

    reached: list[str] = []

    class Observed(kind):  # type: ignore[misc]
        def exchange(self, given: list[Any]) -> list[Any]:
            reached.extend(type(each).__name__ for each in given)
            return super().exchange(given)  # type: ignore[no-any-return]

    backend = Observed()
    backend.start(place)
    backend.build(trial(kind.__module__, "plain_sgd", replicas=2), Path(plan["pretraining"]))
    both = batch("pretraining", 0, replicas=2)
    first = place.rank * place.local_replicas
    own = {name: array[:, first : first + place.local_replicas] for name, array in both.arrays.items()}
    share = Batch(**{**{name: getattr(both, name) for name in Batch.__slots__}, "arrays": own})
    seen: Seen = {"start": values(backend, "weight")}
    backend.snapshot()
    for name, exchange in (("local", False), ("full", True)):
        backend.step(share, exchange)
        backend.fence()
        seen[f"{name} gradient"], seen[name] = values(backend, "gradient"), values(backend, "weight")
        seen[f"{name} communication"] = communication(backend.graphs[exchange])
        backend.restore()
    inputs = {name: tf.constant(array[0, 0]) for name, array in own.items()}
    with tf.GradientTape() as tape:
        loss = tf.add_n(backend.model.losses(inputs)[0])
    embeddings = backend.model.encoder.get_layer("segment_embedding").embeddings.value
    seen["unconverted"] = type(tape.gradient(loss, embeddings)).__name__
    seen["reached"], seen["facts"] = reached, backend.facts()
    backend.stop()
    return seen


# ---- the reference ----------------------------------------------------------------------------------------------


def reference(plan: Seen) -> Seen:
    import torch

    torch.set_num_threads(1)
    seen: Seen = {}
    for name, task in (("adamw", "pretraining"), ("sgd", "pretraining"), ("ner", "ner")):
        model = load(plan[task], task)
        steps = optimizer_steps(model, OPTIMIZERS["adamw" if name == "ner" else name])
        seen[f"{name} losses"] = np.array([trained(model, steps, batch(task, step)) for step in range(STEPS)])
        seen[f"{name} parameters"] = sum(parameter.numel() for parameter in model.parameters())
    model = load(plan["pretraining"], "pretraining")
    steps = optimizer_steps(model, OPTIMIZERS["large_epsilon"])
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for step in range(3):
        for name, gradient in gradients(shapes, step).items():
            model.get_parameter(name).grad = torch.from_numpy(gradient)
        next(steps)
    seen["updated"] = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    return seen


def load(folder: str, task: str) -> Any:
    import transformers

    kind = transformers.BertForPreTraining if task == "pretraining" else transformers.BertForTokenClassification
    return kind.from_pretrained(folder, local_files_only=True, attn_implementation="eager").train()


def trained(model: Any, steps: Iterator[None], given: Batch) -> float:
    import torch
    from torch.nn import functional

    inputs = {name: torch.from_numpy(array[0, 0]).long() for name, array in given.arrays.items()}
    model.zero_grad()
    outputs = model(**{name: inputs[name] for name in ("input_ids", "token_type_ids", "attention_mask")})
    if "labels" in inputs:
        losses = functional.cross_entropy(outputs.logits.flatten(0, 1), inputs["labels"].flatten(), reduction="none")
        loss = (losses * inputs["label_weights"].flatten()).sum() / given.global_weights["ner"]
    else:
        rows = torch.arange(SAMPLES)[:, None]
        scores = outputs.prediction_logits[rows, inputs["masked_positions"]].flatten(0, 1)
        losses = functional.cross_entropy(scores, inputs["masked_ids"].flatten(), reduction="none")
        masked = (losses * inputs["masked_weights"].flatten()).sum()
        following = functional.cross_entropy(
            outputs.seq_relationship_logits, inputs["next_sentence_labels"], reduction="sum"
        )
        loss = masked / given.global_weights["mlm"] + following / given.global_weights["nsp"]
    loss.backward()
    next(steps)
    return float(loss)


def optimizer_steps(model: Any, wanted: Optimizer) -> Iterator[None]:
    """Each `next` is one update. Decay is decoupled, also for SGD, whose own decay in torch is not."""
    import torch

    named = list(model.named_parameters())
    kept = [value for name, value in named if name.endswith("bias") or "LayerNorm" in name]
    decayed = [value for name, value in named if not (name.endswith("bias") or "LayerNorm" in name)]
    optimizer: Any
    if wanted.name == "adamw":
        groups = [{"params": decayed, "weight_decay": wanted.weight_decay}, {"params": kept, "weight_decay": 0.0}]
        betas = (wanted.beta_1, wanted.beta_2)
        optimizer = torch.optim.AdamW(groups, lr=wanted.learning_rate, betas=betas, eps=wanted.epsilon)
    else:
        optimizer = torch.optim.SGD([*decayed, *kept], lr=wanted.learning_rate, momentum=wanted.momentum)
    while True:
        if wanted.name == "sgd":
            with torch.no_grad():
                for value in decayed:
                    value.mul_(1 - wanted.learning_rate * wanted.weight_decay)
        optimizer.step()
        yield


SIDES = {"bare": bare, "mirrored": mirrored, "horovod": horovod, "reference": reference}


def main(side: str, folder: Path) -> None:
    import os

    seen = SIDES[side](json.loads((folder / "plan.json").read_text()))
    out = folder / f"{side}-{os.environ.get('HOROVOD_RANK', '0')}.pickle"
    out.write_bytes(pickle.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

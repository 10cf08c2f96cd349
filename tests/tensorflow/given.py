"""What a side is given: trials and batches. Functions of their arguments alone; no framework."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.protocols import Batch, World
from bench.records import Optimizer, Trial, Workload

VOCABULARY = 30_522
SAMPLES, TOKENS, PREDICTIONS = 4, 32, 6
# The first one's rate changes at every step, and no gradient is long enough to be clipped.
OPTIMIZERS = {
    "adamw": Optimizer(warmup_steps=2, decay_steps=6, clip_norm=1e6),
    "plain_sgd": Optimizer(name="sgd", learning_rate=0.1, weight_decay=0.0),
}

Seen = dict[str, Any]
Arrays = dict[str, np.ndarray]


def batch(step: int, replicas: int) -> Batch:
    """Random sentences with masked words. Some positions are padded, some weights 0."""
    generator = np.random.default_rng(step)
    axes = (1, replicas, SAMPLES)
    lengths = generator.integers(TOKENS // 2, TOKENS, axes)
    arrays: Arrays = {
        "input_ids": generator.integers(0, VOCABULARY, (*axes, TOKENS), np.int32),
        "token_type_ids": generator.integers(0, 2, (*axes, TOKENS), np.int32),
        "attention_mask": (np.arange(TOKENS) < lengths[..., None]).astype(np.int32),
        "masked_positions": generator.integers(0, TOKENS // 2, (*axes, PREDICTIONS), np.int32),
        "masked_ids": generator.integers(0, VOCABULARY, (*axes, PREDICTIONS), np.int32),
        "masked_weights": (generator.random((*axes, PREDICTIONS)) < 0.8).astype(np.float32),
        "next_sentence_labels": generator.integers(0, 2, axes, np.int32),
    }
    weights = {"mlm": float(arrays["masked_weights"].sum()), "nsp": float(replicas * SAMPLES)}
    return Batch(step=step, arrays=arrays, global_weights=weights, samples=SAMPLES, tokens_real=0, tokens_padded=0)


def remade(given: Batch, **changes: Any) -> Batch:
    """The same batch but for the fields in `changes`."""
    return Batch(**{**{name: getattr(given, name) for name in Batch.__slots__}, **changes})


def joint(given: Batch) -> Batch:
    """All replicas' samples as one replica's."""
    return remade(
        given, arrays={name: array.reshape(1, 1, -1, *array.shape[3:]) for name, array in given.arrays.items()}
    )


def in_two(given: Batch) -> Batch:
    """Two microbatches."""
    axes = {name: (1, array.shape[1], 2, array.shape[2] // 2) for name, array in given.arrays.items()}
    split = {name: array.reshape(*axes[name], *array.shape[3:]) for name, array in given.arrays.items()}
    return remade(
        given, arrays={name: np.ascontiguousarray(np.moveaxis(array[0], 1, 0)) for name, array in split.items()}
    )


def share(given: Batch, place: World) -> Batch:
    """This rank's replicas of a batch of all."""
    first = place.rank * place.local_replicas
    own = {name: array[:, first : first + place.local_replicas] for name, array in given.arrays.items()}
    return remade(given, arrays=own)


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
    work = Workload(task=task, sequence_length=TOKENS, batch_per_replica=SAMPLES, dropout=0.0)
    return Trial(backend=backend, workload=work, optimizer=OPTIMIZERS[optimizer], **changes)

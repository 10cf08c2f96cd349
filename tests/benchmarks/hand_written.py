"""The same training step as a person would write it for one job: no seam, no records, the batch ready beforehand.

What the harness measures is compared with these loops (tests/benchmarks/overhead.py). Each function returns
`step()`; the wrapper is the one that the backend uses, on a model of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def torch_ddp(checkpoint: Path, arrays: dict[str, Any], weights: dict[str, float], replicas: int) -> Callable[[], None]:
    """PyTorch; the process group exists already."""
    import torch
    from torch.nn.functional import cross_entropy
    from torch.nn.parallel import DistributedDataParallel
    from transformers import BertForPreTraining

    bert = BertForPreTraining.from_pretrained(checkpoint, local_files_only=True, attn_implementation="sdpa").train()
    batch = {name: torch.from_numpy(array[0, 0].copy()) for name, array in arrays.items()}
    batch = {name: each if each.is_floating_point() else each.long() for name, each in batch.items()}

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self) -> Any:
            mask = batch["attention_mask"].bool()[:, None, None, :]
            out = bert.bert(batch["input_ids"], attention_mask=mask, token_type_ids=batch["token_type_ids"])
            hidden = out.last_hidden_state
            index = batch["masked_positions"].unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
            scores = bert.cls.predictions(hidden.gather(1, index)).flatten(0, 1)
            masked = cross_entropy(scores, batch["masked_ids"].flatten(), reduction="none")
            masked = (masked * batch["masked_weights"].flatten()).sum() / weights["mlm"]
            following = bert.cls.seq_relationship(out.pooler_output)
            next_loss = cross_entropy(following, batch["next_sentence_labels"], reduction="sum") / weights["nsp"]
            return (masked + next_loss) * replicas

    model = DistributedDataParallel(Loss(), broadcast_buffers=False)
    decayed = [each for name, each in bert.named_parameters() if not ("bias" in name or "LayerNorm" in name)]
    others = [each for name, each in bert.named_parameters() if "bias" in name or "LayerNorm" in name]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, eps=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        model().backward()
        optimizer.step()

    return step


def tf_horovod(
    checkpoint: Path, arrays: dict[str, Any], weights: dict[str, float], replicas: int
) -> Callable[[], None]:
    """TensorFlow; Horovod is initialised already. The tape as Horovod documents it."""
    import horovod.tensorflow as hvd
    import keras
    import keras_hub
    import tensorflow as tf

    from backends._tensorflow_optimizer import build_optimizer
    from backends._tensorflow_weights import Binding
    from bench.records import Optimizer

    config = json.loads((checkpoint / "config.json").read_text())
    hidden = config["hidden_size"]
    encoder = keras_hub.models.BertBackbone(
        vocabulary_size=config["vocab_size"], num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"], hidden_dim=hidden, intermediate_dim=config["intermediate_size"],
        dropout=0.0,
    )  # fmt: skip
    transform = keras.layers.Dense(hidden, activation="gelu")
    norm = keras.layers.LayerNormalization(epsilon=1e-12)
    following = keras.layers.Dense(2)
    for layer in (transform, norm, following):
        layer.build((None, hidden))
    bias = keras.Variable(tf.zeros(config["vocab_size"]))
    variables = [each for part in (encoder, transform, norm, following) for each in part.trainable_variables] + [bias]
    # The same step means the same update kernel: Keras' own AdamW would make this loop slower and the harness look good.
    kept = ("bias", "gamma", "beta")
    named = [Binding("its.bias" if each.name in kept else "its.weight", each) for each in variables]
    optimizer = build_optimizer(Optimizer(), named)
    batch = {name: tf.constant(array[0, 0]) for name, array in arrays.items()}
    embeddings = encoder.get_layer("token_embedding").embeddings

    @tf.function(autograph=False, jit_compile=False)
    def train(batch: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            names = {"input_ids": "token_ids", "token_type_ids": "segment_ids", "attention_mask": "padding_mask"}
            out = encoder({theirs: batch[ours] for ours, theirs in names.items()}, training=True)
            masked = tf.reshape(
                tf.gather(out["sequence_output"], batch["masked_positions"], batch_dims=1), (-1, hidden)
            )
            scores = tf.matmul(norm(transform(masked)), embeddings.value, transpose_b=True) + bias.value
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.reshape(batch["masked_ids"], (-1,)), scores)
            masked_loss = tf.reduce_sum(losses * tf.reshape(batch["masked_weights"], (-1,))) / weights["mlm"]
            choice = tf.nn.sparse_softmax_cross_entropy_with_logits(
                batch["next_sentence_labels"], following(out["pooled_output"])
            )
            loss = (masked_loss + tf.reduce_sum(choice) / weights["nsp"]) * float(replicas)
        tape = hvd.DistributedGradientTape(tape, sparse_as_dense=True)
        optimizer.apply(tape.gradient(loss, [each.value for each in variables]), variables)
        return loss

    def step() -> None:
        train(batch)  # an argument: as constants of the graph, parts of the batch would be computed only once

    return step


LOOPS = {"torch_ddp": torch_ddp, "tf_horovod": tf_horovod}

"""Gradients by hand: `python -P reference.py DATA CHECKPOINT WORKLOAD_JSON OUT.npz`. One process, float64, no backend.

Takes another way than the backends: the whole batch at once, scores at every position, and a mask that picks.
Keys: `global|NAME`; for 2 replicas each one's own share `2|REPLICA|NAME`, scaled by 2 as before an averaging
exchange; for 1 replica `1|0|NAME`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import transformers

from bench.records import Workload
from bench.workload.batches import Batches


def gradients(model: Any, arrays: dict[str, np.ndarray], weights: dict[str, float]) -> dict[str, np.ndarray]:
    """`arrays`: (sample, ...). Loss = masked-LM sum / weight + next-sentence sum / weight."""
    tensors = {name: torch.from_numpy(np.array(array)).long() for name, array in arrays.items()}
    outputs = model(
        input_ids=tensors["input_ids"],
        attention_mask=tensors["attention_mask"],
        token_type_ids=tensors["token_type_ids"],
    )
    logarithms = torch.log_softmax(outputs.prediction_logits, dim=-1)
    samples, predictions = np.nonzero(arrays["masked_weights"])
    positions, tokens = (arrays[name][samples, predictions] for name in ("masked_positions", "masked_ids"))
    mlm = -logarithms[samples, positions, tokens].sum()
    next_sentence = torch.log_softmax(outputs.seq_relationship_logits, dim=-1)
    nsp = -sum(next_sentence[sample, label] for sample, label in enumerate(arrays["next_sentence_labels"]))
    model.zero_grad()
    (mlm / weights["mlm"] + nsp / weights["nsp"]).backward()
    return {name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters()}


def main(data: str, checkpoint: str, workload_json: str, out: str) -> None:
    workload = msgspec.json.decode(workload_json, type=Workload)
    batch = Batches(Path(data), workload, 0, 1, 1).batch(0)
    arrays = {name: array[0, 0] for name, array in batch.arrays.items()}
    weights = dict(batch.global_weights)
    model = transformers.BertForPreTraining.from_pretrained(
        checkpoint, local_files_only=True, attn_implementation="eager", dtype=torch.float64
    ).train()
    model.bert.embeddings.word_embeddings.padding_idx = None
    found: dict[str, np.ndarray] = {}
    for replicas in (1, 2):
        share = workload.batch_per_replica // replicas
        for replica in range(replicas):
            own = {name: array[replica * share : (replica + 1) * share] for name, array in arrays.items()}
            for name, gradient in gradients(model, own, weights).items():
                found[f"{replicas}|{replica}|{name}"] = gradient * replicas
                if replicas == 1:
                    found[f"global|{name}"] = gradient
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])

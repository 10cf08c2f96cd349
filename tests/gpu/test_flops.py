"""Operations of a step: by hand, by PyTorch's own counter over the real model, and what of them is not padding."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.protocols import Batch
from bench.records import Task, Workload
from bench.workload import checkpoint
from bench.workload.flops import Amounts, Flops, Shape, executed, useful

SAMPLES, TOKENS, PREDICTIONS = 4, 16, 3
SMALL = {
    "model_type": "bert", "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 32,
}  # fmt: skip
LABELS: dict[Task, tuple[str, ...]] = {"pretraining": (), "ner": ("O", "B-a", "I-a"), "classification": ("x", "y")}


def batch(task: Task, lengths: list[int] | None = None) -> Batch:
    """One microbatch of one replica; `lengths` of the samples, full ones if none are given."""
    generator, axes = np.random.default_rng(1), (1, 1, SAMPLES, TOKENS)
    real = np.arange(TOKENS) < np.array(lengths or [TOKENS] * SAMPLES)[:, None]
    ids = generator.integers(0, 300, axes, np.int32)
    arrays: dict[str, Any] = {
        "input_ids": ids, "token_type_ids": np.zeros(axes, np.int32),
        "attention_mask": real.astype(np.int32).reshape(axes),
    }  # fmt: skip
    if task == "pretraining":
        chosen = (1, 1, SAMPLES, PREDICTIONS)
        weights = np.ones(chosen, np.float32)
        weights[..., -1] = 0.0 if lengths else 1.0
        arrays |= {
            "masked_positions": np.zeros(chosen, np.int32), "masked_ids": np.ones(chosen, np.int32),
            "masked_weights": weights, "next_sentence_labels": np.zeros((1, 1, SAMPLES), np.int32),
        }  # fmt: skip
    elif task == "ner":
        arrays |= {"labels": np.zeros(axes, np.int32), "label_weights": np.ones(axes, np.float32)}
    else:
        arrays |= {"labels": np.zeros((1, 1, SAMPLES), np.int32)}
    return Batch(step=0, arrays=arrays, global_weights={}, samples=SAMPLES, tokens_real=0, tokens_padded=0)


def test_a_step_of_bert_large_is_what_a_reader_computes_by_hand() -> None:
    """One sample of 512 tokens and 77 predictions, layer by layer: 8 x 512 x 1024^2 = 4.29 GFLOP of projections,
    4 x 512^2 x 1024 = 1.07 of attention, 4 x 512 x 1024 x 4096 = 8.59 of feed-forward; heads 4.98. Times 3."""
    shape = Shape("pretraining", 24, 1024, 4096, 30_522, 0)
    layer = 4_294_967_296 + 1_073_741_824 + 8_589_934_592
    heads = 2 * 77 * 1024 * (1024 + 30_522) + 2 * 1024 * 1026
    assert shape.forward(Amounts(samples=1, tokens=512, pairs=512**2, predictions=77)) == 24 * layer + heads
    assert 24 * layer + heads == 339_984_228_352


def test_padding_is_executed_and_not_useful() -> None:
    found = batch("pretraining", [16, 8, 4, 2])
    assert executed(found) == Amounts(samples=4, tokens=64, pairs=4 * 256, predictions=12)
    assert useful(found) == Amounts(samples=4, tokens=30, pairs=256 + 64 + 16 + 4, predictions=8)
    flops = Shape("pretraining", 1, 2, 8, 10, 0).training(found)
    # tokens x (8 x 4 + 4 x 2 x 8) + pairs x 4 x 2 + predictions x 2 x 2 x 12 + samples x 2 x 2 x 4, times 3
    assert flops == Flops(
        executed=3 * (64 * 96 + 1024 * 8 + 12 * 48 + 64), useful=3 * (30 * 96 + 340 * 8 + 8 * 48 + 64)
    )


@pytest.mark.parametrize("task", ["pretraining", "ner", "classification"])
def test_the_formula_is_exactly_what_pytorch_counts_in_the_real_model_forward_and_backward(
    task: Task, tmp_path: Path
) -> None:
    """With attention written out as products, which its counter sees in every build."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from torch.utils.flop_counter import FlopCounterMode

    from backends._torch_network import Network, load_model, microbatches

    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    folder = checkpoint.prepare(
        Workload(task=task, model=str(tmp_path), sequence_length=TOKENS), LABELS[task], tmp_path
    )
    model = load_model(task, folder)
    model.set_attn_implementation("eager")
    fed = batch(task)
    (inputs,) = microbatches(fed.arrays, torch.device("cpu"))
    with FlopCounterMode(display=False) as counted:
        loss, _ = Network(model, task, nullcontext)(inputs, (1.0, 1.0) if task == "pretraining" else (1.0,))
        loss.backward()
    assert counted.get_total_flops() == Shape.of_checkpoint(folder, task).training(fed).executed

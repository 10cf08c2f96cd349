"""Samples that share rows are the same work: their data, their losses and gradients, and an honest count of tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import study
from bench.records import Task, Trial, Workload
from bench.workload import checkpoint, packing
from bench.workload.batches import Batches
from bench.workload.flops import executed, useful

Make = Callable[..., Batches]
SMALL = {
    "model_type": "bert", "vocab_size": 30_522, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip


def workload(task: Task, **changes: Any) -> Workload:
    return Workload(task=task, sequence_length=64, batch_per_replica=16, packed=True, **changes)


def padded(work: Workload) -> Workload:
    return msgspec.structs.replace(work, packed=False)


def test_samples_fill_rows_longest_first_and_none_is_split_or_overlaps() -> None:
    mask = (np.arange(8) < np.array([[3], [6], [2], [5]])).astype(np.int32)
    # 6 and 2 fill the first row, 5 and 3 the second; 16 is one past the end.
    assert packing.place(mask, 0).tolist() == [
        [13, 14, 15, 16, 16, 16, 16, 16],
        [0, 1, 2, 3, 4, 5, 16, 16],
        [6, 7, 16, 16, 16, 16, 16, 16],
        [8, 9, 10, 11, 12, 16, 16, 16],
    ]
    assert packing.place(mask, 3).max() == 24  # another row, empty, so that shapes stay


def test_samples_that_fill_their_rows_stay_where_they_are() -> None:
    places = packing.place(np.ones((3, 4), np.int32), 0)
    assert places.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert packing.num_rows(places) == 3


@pytest.mark.parametrize("task", ["pretraining", "ner", "classification"])
def test_a_packed_batch_is_the_same_data_in_fewer_tokens(batches: Make, task: Task) -> None:
    work = workload(task, accumulation=2)
    packed, plain = batches(work, 1, 1, 2), batches(padded(work), 1, 1, 2)
    shapes = set()
    for step in range(40):
        one, other = packed.batch(step), plain.batch(step)
        places = one.arrays[packing.PLACES]
        assert places.shape == (2, 1, 8, 64)
        assert {name for name in one.arrays if name not in other.arrays} == {packing.PLACES}
        assert packed.digest(one) == plain.digest(other)
        assert (one.samples, one.tokens_real, one.global_weights) == (
            other.samples, other.tokens_real, other.global_weights,
        )  # fmt: skip
        rows = [packing.num_rows(own) for replicas in places for own in replicas]
        assert one.tokens_padded == 64 * sum(rows) <= other.tokens_padded == 16 * 64
        used = [own[own < rows[index] * 64] for index, own in enumerate(places[:, 0])]
        assert [len(np.unique(each)) for each in used] == [len(each) for each in used]
        assert sum(map(len, used)) == one.tokens_real
        shapes |= set(rows)
        assert useful(one) == useful(other)
        whole = executed(other)
        assert executed(one) == whole._replace(tokens=64 * sum(rows), pairs=64 * 64 * sum(rows))
    assert len(shapes) <= 2
    if task == "ner":
        assert one.tokens_padded < 0.6 * other.tokens_padded


@pytest.mark.parametrize("task", ["pretraining", "ner", "classification"])
def test_packed_rows_have_the_losses_and_gradients_of_the_padded_batch(
    batches: Make, prepared: Any, task: Task, tmp_path: Path
) -> None:
    """1e-5 is the bound of float32 losses. A sample that saw its neighbour would be off by more than a hundredth."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from backends._torch_network import Network, load_model, microbatches

    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    work = workload(task)
    labels = prepared(work).labels
    folder = checkpoint.prepare(msgspec.structs.replace(work, model=str(tmp_path)), labels, tmp_path)
    model = load_model(task, folder)
    seen: list[tuple[Any, Any, dict[str, Any]]] = []
    for each in (work, padded(work)):
        (inputs,) = microbatches(batches(each).batch(3).arrays, torch.device("cpu"))
        network = Network(model, task, nullcontext)
        model.zero_grad()
        loss, sums = network(inputs, (1.0,) * len(network.heads))
        loss.backward()
        assert network.packed is each.packed
        gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        seen.append((loss.detach(), sums, gradients))
    (loss, sums, gradients), (other_loss, other_sums, other_gradients) = seen
    torch.testing.assert_close(loss, other_loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(sums, other_sums, rtol=1e-5, atol=0)
    scale = max(float(each.abs().max()) for each in other_gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, other_gradients[name], rtol=0, atol=1e-5 * scale, msg=name)


def test_a_backend_that_cannot_pack_is_a_row_with_its_reason_and_pads_no_longer_in_silence(tmp_path: Path) -> None:
    (tmp_path / "packed.yaml").write_text(
        "workload: {task: ner, packed: true}\nlauncher: local\nreplicas: 1\nbare: false\n"
        "matrix: {backend: [tf_mirrored, 'null']}\n"
    )
    found = study.load(tmp_path / "packed.yaml")
    assert found.trials == []
    assert [row.reason for row in found.rejected] == [
        f"{name} computes each sample in a row of its own and cannot pack them" for name in ("tf_mirrored", "null")
    ]


def test_a_trial_that_does_not_pack_keeps_the_id_it_had_before_there_was_a_choice() -> None:
    assert "packed" not in Trial(backend="null").content()["workload"]
    assert Trial(backend="null", workload=Workload(packed=True)).id != Trial(backend="null").id

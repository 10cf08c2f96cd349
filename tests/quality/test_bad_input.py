"""Data, batches and weights that cannot be trained on: one sentence, before any launch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bench import study
from bench.errors import UserError
from bench.launch.commands import Cluster
from bench.records import Workload
from bench.run import Observer, begin
from bench.workload import checkpoint

CONFIG = {
    "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "vocab_size": 100, "max_position_embeddings": 16, "hidden_act": "gelu",
}  # fmt: skip
TAGS = ("O", "B-LOC", "I-LOC")


def write_model(folder: Path, labels: tuple[str, ...] = (), **values: float) -> None:
    """A small BERT; with `values`, weights whose tensor of that name (dots as __) has one such value."""
    folder.mkdir()
    named = {"id2label": {str(number): label for number, label in enumerate(labels)}} if labels else {}
    (folder / "config.json").write_text(json.dumps({**CONFIG, **named}))
    if not values:
        return
    made = checkpoint.prepare(Workload(model=str(folder), sequence_length=16), (), folder.parent / "made")
    tensors: dict[str, np.ndarray[Any, Any]] = dict(load_file(made / "model.safetensors"))
    for name, value in values.items():
        tensors[name.replace("__", ".")].reshape(-1)[-1] = value
    save_file(tensors, folder / "model.safetensors")


def refusal(folder: Path, text: str) -> str:
    """The sentence with which `paceline run` ends (tests/harness/test_run.py: exit 2), without the folder's name."""
    (folder / "study.yaml").write_text(f"name: check\nlauncher: local\n{text}")
    with pytest.raises(UserError) as error:
        begin(study.load(folder / "study.yaml"), folder / "runs", False, Cluster(), Observer())
    assert list((folder / "runs").glob("check-*")) == []
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    write_model(tmp_path / "model", bert__encoder__layer__0__output__dense__bias=value)
    assert refusal(tmp_path, "backend: 'null'\nworkload: {model: ./model, sequence_length: 16}\n").endswith(
        "model/model.safetensors: tensor bert.encoder.layer.0.output.dense.bias has values that are not finite"
    )


def test_a_label_that_the_model_lacks_is_named_with_those_it_has(tmp_path: Path) -> None:
    write_model(tmp_path / "model", labels=TAGS)
    (tmp_path / "a.conll").write_text("Oslo B-LOC\n\nis O\nAnna B-PER\n")
    text = "backend: 'null'\nworkload: {task: ner, model: ./model, data: a.conll, sequence_length: 16}\n"
    assert refusal(tmp_path, text).endswith(
        "a.conll:4: the label 'B-PER' is none of the labels of the model model (id2label in its config.json), "
        "which are O, B-LOC, I-LOC"
    )


def test_builtin_data_is_held_to_the_labels_of_the_model_too(tmp_path: Path) -> None:
    write_model(tmp_path / "model", labels=("good", "bad"))
    text = "backend: 'null'\nworkload: {task: classification, model: ./model, sequence_length: 16}\n"
    assert "builtin: the label 'business' is none of the labels of the model" in refusal(tmp_path, text)


def test_a_validation_label_that_the_training_data_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("label\ttext\na\tone\nb\ttwo\n")
    (tmp_path / "dev.tsv").write_text("label\ttext\na\tone\nc\ttwo\n")
    text = (
        "backend: 'null'\nworkload: {task: classification, data: train.tsv, sequence_length: 16}\n"
        "quality: {samples: 2}\n"
    )
    assert refusal(tmp_path, text).endswith(
        "dev.tsv:3: the label 'c' is none of the labels of the training data, which are a, b"
    )


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("workload: {sequence_length: 600}\n", "study.yaml:4: workload.sequence_length is 600; model 'tiny' allows 8 to 512"),
        ("workload:\n  batch_per_replica: 8\n  accumulation: 3\n", "study.yaml:6: a batch of 8 per replica does not divide into workload.accumulation 3 microbatches"),
        ("workload: {batch_per_replica: 8}\nmatrix:\n  workload.accumulation: [2, 3]\n", "study.yaml:6: a batch of 8 per replica does not divide into workload.accumulation 3 microbatches"),
        ("replicas: 3\nworkload:\n  global_batch: 8\n", "study.yaml:6: the global batch of 8 does not divide among 3 replicas"),
        ("workload:\n  global_batch: 8\n  accumulation: 3\n", "study.yaml:5: a batch of 4 per replica does not divide into workload.accumulation 3 microbatches"),
        ("workload:\n  validation: none.txt\n", "study.yaml:5: workload.validation is 'none.txt': there is no such file; allowed are 'held_out', a path or a glob"),
        ("optimizer: {warmup_steps: 10, decay_steps: 10}\n", "study.yaml:4: optimizer.decay_steps is 10, the step at which the rate is 0; expected more than optimizer.warmup_steps 10"),
        ("quality: {target: 0.5}\n", "study.yaml:4: quality.target is 0.5, but nothing is evaluated; give quality.samples above 0"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_honoured_is_refused_with_its_line(tmp_path: Path, more: str, sentence: str) -> None:
    assert refusal(tmp_path, f"backend: 'null'\n{more}").endswith(sentence)


def test_a_global_batch_that_some_replicas_divide_loses_only_the_others_rows(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        "launcher: local\nworkload: {global_batch: 8, accumulation: 2}\nmatrix: {backend: ['null'], replicas: [2, 3, 8]}\n"
    )
    found = study.load(tmp_path / "study.yaml")
    assert [(trial.replicas, trial.workload.batch_per_replica) for trial in found.trials] == [(2, 4)]
    assert [row.reason for row in found.rejected] == [
        "the global batch of 8 does not divide among 3 replicas",
        "a batch of 1 per replica does not divide into workload.accumulation 2 microbatches",
    ]

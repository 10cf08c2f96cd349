from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bench.errors import UserError
from bench.records import Task, Workload
from bench.workload.checkpoint import ARCHITECTURES, initial_tensor, prepare, tensor_shapes
from bench.workload.models import SIZES

LABELS = ("O", "B-PER", "I-PER")
NER = Workload(task="ner", model="tiny", dropout=0.1)
SMALL = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "vocab_size": 50,
    "max_position_embeddings": 16,
}


def folder_with(folder: Path, tensors: dict[str, np.ndarray[Any, Any]] | None, **changes: Any) -> Workload:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**SMALL, **changes}))
    if tensors is not None:
        save_file(tensors, folder / "model.safetensors")
    return Workload(model=str(folder), sequence_length=16)


def small_tensors(cache: Path, folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All tensors of a small pre-training BERT, initialised with a seed that the tests do not use."""
    workload = folder_with(folder, None)
    made = prepare(Workload(model=workload.model, sequence_length=16, seed=99), (), cache)
    return dict(load_file(made / "model.safetensors"))


@pytest.mark.parametrize("task", ["pretraining", "ner", "classification"])
def test_transformers_loads_every_tensor_and_misses_none(cache: Path, task: Task) -> None:
    pytest.importorskip("torch", reason="needs the torch extra")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers", reason="needs the torch extra")
        workload, name = Workload(task=task, model="tiny", dropout=0.1), ARCHITECTURES[task]
        folder = prepare(workload, () if task == "pretraining" else LABELS, cache)
        model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert {key: list(value) for key, value in info.items()} == {
        "missing_keys": [],
        "unexpected_keys": [],
        "mismatched_keys": [],
        "error_msgs": [],
    }
    expected = tensor_shapes(SIZES["tiny"], workload.task, len(LABELS))
    assert {key: tuple(value.shape) for key, value in model.named_parameters()} == expected
    if task == "pretraining":
        assert sum(value.numel() for value in model.parameters()) == 4_433_468
        assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    else:
        assert (model.config.num_labels, model.dropout.p) == (3, 0.1)


def test_the_configuration_states_what_the_backends_must_build(cache: Path) -> None:
    config = json.loads((prepare(NER, LABELS, cache) / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"]
    assert config["id2label"] == {"0": "O", "1": "B-PER", "2": "I-PER"}
    assert config["label2id"] == {"O": 0, "B-PER": 1, "I-PER": 2}
    assert "problem_type" not in config
    assert (config["hidden_dropout_prob"], config["attention_probs_dropout_prob"]) == (0.1, 0.1)
    assert (config["hidden_act"], config["vocab_size"], config["pad_token_id"]) == ("gelu_pytorch_tanh", 30_522, None)


def test_the_configuration_of_a_classification_says_that_each_text_has_one_label(cache: Path) -> None:
    workload = Workload(task="classification")
    config = json.loads((prepare(workload, ("bad", "good"), cache) / "config.json").read_text())
    assert (config["architectures"], config["problem_type"], config["id2label"]) == (
        ["BertForSequenceClassification"], "single_label_classification", {"0": "bad", "1": "good"},
    )  # fmt: skip


def test_weights_are_normal_biases_zero_and_layer_norms_one(cache: Path) -> None:
    tensors = load_file(prepare(Workload(), (), cache) / "model.safetensors")
    assert {value.dtype.name for value in tensors.values()} == {"float32"}
    embeddings = tensors["bert.embeddings.word_embeddings.weight"]
    assert abs(float(embeddings.std()) - 0.02) < 1e-4
    assert abs(float(embeddings.mean())) < 1e-4
    for name, value in tensors.items():
        if name.endswith("bias"):
            assert not value.any(), name
        elif name.endswith("LayerNorm.weight"):
            assert (value == 1).all(), name
        else:
            assert 0.018 < value.std() < 0.022, name


def test_a_tensor_depends_on_seed_and_name_alone(cache: Path) -> None:
    pretraining = load_file(prepare(Workload(), (), cache) / "model.safetensors")
    ner = load_file(prepare(NER, LABELS, cache) / "model.safetensors")
    other = load_file(prepare(Workload(seed=2), (), cache) / "model.safetensors")
    name = "bert.encoder.layer.1.output.dense.weight"
    assert np.array_equal(pretraining[name], ner[name])
    assert not np.array_equal(pretraining[name], other[name])
    assert not np.array_equal(pretraining[name], pretraining[name.replace("layer.1", "layer.0")])


def test_the_drawn_values_are_those_of_the_first_version() -> None:
    """Results of different installations are comparable only while this holds: raise CODE_VERSION if it must change."""
    value = initial_tensor("classifier.weight", (2, 2), 1, 0.02)
    assert value.ravel().tolist() == pytest.approx([0.01901397, -0.00012179054, -0.006106697, 0.018911729], rel=1e-6)


def test_what_changes_the_content_changes_the_folder(cache: Path) -> None:
    folders = {
        prepare(workload, labels, cache)
        for workload, labels in [
            (Workload(), ()),
            (Workload(seed=2), ()),
            (Workload(dropout=0.1), ()),
            (NER, LABELS),
            (NER, ("O", "B-LOC", "I-LOC")),
        ]
    }
    assert len(folders) == 5
    assert prepare(Workload(batch_per_replica=99), (), cache) in folders


def test_pretrained_weights_are_used_under_all_their_spellings(cache: Path, tmp_path: Path) -> None:
    tensors = small_tensors(cache, tmp_path / "from")
    spelt = {
        name.removeprefix("bert.")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta")
        .replace("cls.predictions.bias", "cls.predictions.decoder.bias"): value + 1
        for name, value in tensors.items()
    }
    made = load_file(prepare(folder_with(tmp_path / "given", spelt), (), cache) / "model.safetensors")
    assert set(made) == set(tensors)
    for name, value in tensors.items():
        assert np.array_equal(made[name], value + 1), name


def test_a_missing_head_is_initialised_and_a_missing_encoder_tensor_refused(cache: Path, tmp_path: Path) -> None:
    tensors = small_tensors(cache, tmp_path / "from")
    encoder = {name: value for name, value in tensors.items() if name.startswith(("bert.embeddings", "bert.encoder"))}
    workload = folder_with(tmp_path / "encoder", encoder)
    made = load_file(prepare(workload, (), cache) / "model.safetensors")
    name = "cls.predictions.transform.dense.weight"
    assert np.array_equal(made[name], initial_tensor(name, (8, 8), workload.seed, 0.02))
    del encoder["bert.encoder.layer.0.output.dense.bias"]
    with pytest.raises(UserError, match=r"has no tensor bert\.encoder\.layer\.0\.output\.dense\.bias"):
        prepare(folder_with(tmp_path / "less", encoder), (), cache)


def test_half_precision_weights_become_float32(cache: Path, tmp_path: Path) -> None:
    tensors = {name: value.astype(np.float16) for name, value in small_tensors(cache, tmp_path / "from").items()}
    made = load_file(prepare(folder_with(tmp_path / "half", tensors), (), cache) / "model.safetensors")
    name = "bert.pooler.dense.weight"
    assert made[name].dtype == np.float32
    assert np.array_equal(made[name], tensors[name].astype(np.float32))


def test_changed_weights_in_the_same_folder_are_noticed(cache: Path, tmp_path: Path) -> None:
    tensors = small_tensors(cache, tmp_path / "from")
    first = prepare(folder_with(tmp_path / "given", tensors), (), cache)
    tensors["bert.pooler.dense.weight"] += 1
    assert prepare(folder_with(tmp_path / "given", tensors), (), cache) != first


def test_a_tensor_that_does_not_fit_is_named_with_both_shapes(cache: Path, tmp_path: Path) -> None:
    tensors = small_tensors(cache, tmp_path / "from")
    tensors["bert.pooler.dense.weight"] = np.zeros((8, 9), np.float32)
    with pytest.raises(UserError, match=r"bert\.pooler\.dense\.weight has shape \(8, 9\), the model needs \(8, 8\)"):
        prepare(folder_with(tmp_path / "given", tensors), (), cache)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.full(8, np.nan, np.float32), r"tensor bert\.pooler\.dense\.bias has values that are not finite"),
        (np.full(8, np.inf, np.float16), r"tensor bert\.pooler\.dense\.bias has values that are not finite"),
        (np.zeros(8, np.int64), r"tensor bert\.pooler\.dense\.bias has type int64, allowed are floating-point types"),
    ],
)
def test_a_tensor_that_holds_no_weights_is_named(
    cache: Path, tmp_path: Path, value: np.ndarray[Any, Any], sentence: str
) -> None:
    tensors = small_tensors(cache, tmp_path / "from")
    tensors["bert.pooler.dense.bias"] = value
    with pytest.raises(UserError, match=sentence):
        prepare(folder_with(tmp_path / "given", tensors), (), cache)


def test_a_refused_folder_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    workload = folder_with(tmp_path / "given", {"bert.pooler.dense.bias": np.zeros(8, np.float32)})
    with pytest.raises(UserError):
        prepare(workload, (), tmp_path / "own")
    assert list((tmp_path / "own" / "checkpoints").iterdir()) == []


def test_pickled_weights_alone_are_refused_with_the_remedy(cache: Path, tmp_path: Path) -> None:
    workload = folder_with(tmp_path / "given", None)
    (tmp_path / "given" / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(UserError, match=r"weights in pytorch_model\.bin; .* convert it with transformers"):
        prepare(workload, (), cache)


def test_a_broken_weights_file_is_refused(cache: Path, tmp_path: Path) -> None:
    workload = folder_with(tmp_path / "given", None)
    (tmp_path / "given" / "model.safetensors").write_bytes(b"no such format")
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read as float32 or float16 safetensors"):
        prepare(workload, (), cache)


def test_a_task_with_labels_is_refused_without_any(cache: Path) -> None:
    with pytest.raises(UserError, match="needs at least one label"):
        prepare(NER, (), cache)

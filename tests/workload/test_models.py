from __future__ import annotations

import json
from math import prod
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.records import Workload
from bench.workload.checkpoint import tensor_shapes
from bench.workload.models import SIZES, model_config

BERT = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 1000,
    "max_position_embeddings": 40,
    "an_unknown_key": [1],
}


def write_config(folder: Path, **changes: object) -> Workload:
    content = {key: value for key, value in {**BERT, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(content))
    return Workload(model=str(folder), sequence_length=32)


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("tiny", 4_433_468),
        ("mini", 11_267_900),
        ("small", 29_058_876),
        ("medium", 41_668_412),
        ("base", 110_106_428),
        ("large", 336_226_108),
    ],
)
def test_a_pretraining_bert_has_its_known_number_of_parameters(size: str, parameters: int) -> None:
    assert sum(map(prod, tensor_shapes(SIZES[size], "pretraining", 0).values())) == parameters


def test_a_folder_gives_its_own_size_and_the_tanh_gelu(tmp_path: Path) -> None:
    config = model_config(write_config(tmp_path))
    assert (config.hidden_size, config.num_attention_heads, config.vocab_size) == (64, 4, 1000)
    assert (config.max_position_embeddings, config.hidden_act) == (40, "gelu_pytorch_tanh")


def test_a_misspelt_size_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UserError) as error:
        model_config(Workload(model="tinny"))
    assert str(error.value) == (
        "workload.model is 'tinny' (did you mean 'tiny'?); allowed are tiny, mini, small, medium, base, large, "
        "or a local Hugging Face folder with config.json (nothing is downloaded)"
    )


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config\.json, so it is no Hugging Face model"):
        model_config(Workload(model=str(tmp_path)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "roberta"}, "has model_type 'roberta'; only 'bert' is supported"),
        ({"hidden_act": "relu"}, "has hidden_act 'relu'; allowed are gelu, gelu_new and gelu_pytorch_tanh"),
        ({"layer_norm_eps": 1e-5}, "has layer_norm_eps 1e-05; only 1e-12 is supported"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'; only 'absolute'"),
        ({"hidden_size": 66}, "has hidden_size 66, which its 4 heads do not divide"),
        ({"hidden_size": "64"}, r"does not describe a BERT: Expected `int`, got `str` - at `\$\.hidden_size`"),
        ({"hidden_size": 0}, "does not describe a BERT: Expected `int` >= 1"),
        ({"hidden_size": None}, "does not describe a BERT: Object missing required field `hidden_size`"),
        ({"type_vocab_size": 1}, "type_vocab_size 1; pre-training on pairs needs 2"),
        ({"max_position_embeddings": 16}, "sequence_length is 32; model .* allows 8 to 16"),
    ],
)
def test_a_folder_that_not_every_backend_can_train_is_refused(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        model_config(write_config(tmp_path, **changes))


def test_a_configuration_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is no JSON"):
        model_config(Workload(model=str(tmp_path)))


@pytest.mark.parametrize("length", [7, 513])
def test_a_sequence_that_the_model_cannot_hold_is_refused(length: int) -> None:
    with pytest.raises(UserError, match=f"sequence_length is {length}; model 'tiny' allows 8 to 512"):
        model_config(Workload(sequence_length=length))

"""Keras' BERT and our optimizer against transformers and torch.optim, from one checkpoint and the same batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow

TINY_PARAMETERS = 4_433_468
RELATIVE = 1e-5


@pytest.fixture(scope="session")
def bare(sides: Any) -> dict[str, Any]:
    return sides("bare")[0]  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def reference(sides: Any) -> dict[str, Any]:
    return sides("reference")[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["adamw", "sgd", "ner"])
def test_twenty_steps_have_the_losses_of_transformers(
    name: str, bare: dict[str, Any], reference: dict[str, Any]
) -> None:
    expected = reference[f"{name} losses"]

    assert len(expected) == 20
    np.testing.assert_allclose(bare[f"{name} losses"], expected, rtol=RELATIVE)


def test_an_update_of_adamw_is_that_of_torch_also_where_epsilon_matters(
    bare: dict[str, Any], reference: dict[str, Any]
) -> None:
    start = bare["adamw start"]
    largest = max(np.abs(value - start[name]).max() for name, value in reference["updated"].items())

    assert bare["updated"].keys() == reference["updated"].keys()
    assert largest > 1e-2
    for name, value in reference["updated"].items():
        np.testing.assert_allclose(bare["updated"][name], value, rtol=4e-7, atol=4e-8, err_msg=name)


@pytest.mark.parametrize(("name", "task"), [("adamw", "pretraining"), ("ner", "ner")])
def test_every_checkpoint_tensor_has_one_variable_and_comes_back_bit_by_bit(
    name: str, task: str, bare: dict[str, Any], folders: dict[str, str]
) -> None:
    tensors = load_file(f"{folders[task]}/model.safetensors")
    read = bare[f"{name} start"]

    assert read.keys() == tensors.keys()
    assert bare[f"{name} variables"] == len(tensors)
    assert [tensor for tensor in tensors if read[tensor].tobytes() != tensors[tensor].tobytes()] == []


def test_bert_tiny_has_as_many_parameters_as_in_torch(bare: dict[str, Any], reference: dict[str, Any]) -> None:
    assert bare["adamw facts"].parameter_elements == TINY_PARAMETERS
    assert reference["adamw parameters"] == TINY_PARAMETERS
    assert bare["ner facts"].parameter_elements == reference["ner parameters"]


@pytest.mark.parametrize("name", ["adamw", "sgd", "ner"])
def test_other_batches_and_global_weights_do_not_trace_the_step_again(name: str, bare: dict[str, Any]) -> None:
    assert bare[f"{name} traces"] == 1


def test_facts_are_those_of_the_live_objects(bare: dict[str, Any]) -> None:
    settings, changed = bare["adamw facts"].settings, bare["changed facts"].settings

    assert (settings["learning_rate"], settings["epsilon"], settings["weight_decay"]) == (1e-4, 1e-6, 0.01)
    assert (settings["dropout"], settings["attention_dropout"], settings["gelu"]) == (0.0, 0.0, "tanh")
    assert (settings["decayed_tensors"], settings["undecayed_tensors"]) == (18, 28)
    assert (changed["learning_rate"], changed["epsilon"]) == (0.5, 0.125)
    assert (changed["dropout"], changed["attention_dropout"]) == (0.25, 0.25)


def test_one_device_exchanges_nothing(bare: dict[str, Any]) -> None:
    facts = bare["adamw facts"]

    assert (facts.exchange_elements, facts.exchange_bytes, facts.wire_dtype, facts.buckets) == (None,) * 4
    assert facts.algorithm == "none"

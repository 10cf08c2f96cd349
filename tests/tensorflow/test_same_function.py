"""Keras' BERT and our optimizers against transformers and torch.optim, from one checkpoint and the same batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow

TINY_PARAMETERS = 4_433_468
RELATIVE = 1e-5
TRAINED = ["adamw", "sgd", "ner", "classification"]


@pytest.fixture(scope="session")
def bare(sides: Any) -> dict[str, Any]:
    return sides("bare")[0]  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def reference(sides: Any) -> dict[str, Any]:
    return sides("reference")[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", TRAINED)
def test_twenty_steps_have_the_losses_of_transformers(
    name: str, bare: dict[str, Any], reference: dict[str, Any]
) -> None:
    expected = reference[f"{name} losses"]

    assert len(expected) == 20
    np.testing.assert_allclose(bare[f"{name} losses"], expected, rtol=RELATIVE)


@pytest.mark.parametrize(
    ("name", "moved"), [("adamw", 2e-2), ("sgd", 2e-2), ("lamb", 4e-2), ("adafactor", 3e-2), ("clipped_lamb", 5e-2)]
)
def test_updates_under_a_changing_rate_are_those_of_torch_or_of_the_paper(
    name: str, moved: float, bare: dict[str, Any], reference: dict[str, Any]
) -> None:
    start, updated, expected = bare["adamw start"], bare["updated"][name], reference["updated"][name]
    largest = max(np.abs(value - start[tensor]).max() for tensor, value in expected.items())

    assert updated.keys() == expected.keys()
    assert largest > moved
    for tensor, value in expected.items():
        np.testing.assert_allclose(updated[tensor], value, rtol=4e-7, atol=2e-5 * moved, err_msg=tensor)


@pytest.mark.parametrize("name", TRAINED)
def test_predictions_are_those_of_transformers_and_their_losses_those_of_the_first_step(
    name: str, bare: dict[str, Any], reference: dict[str, Any]
) -> None:
    predicted, (numerators, weights) = bare[f"{name} predicted"], bare[f"{name} first"]
    shapes = {"mlm": (4, 6), "nsp": (4,), "ner": (4, 32), "classification": (4,)}

    np.testing.assert_allclose(predicted.numerators, numerators, rtol=1e-6)
    np.testing.assert_array_equal(predicted.weights, weights)
    for head, expected in zip(predicted.heads, reference[f"{name} classes"], strict=True):
        assert (predicted.classes[head].shape, predicted.classes[head].dtype) == (shapes[head], np.int32)
        np.testing.assert_array_equal(predicted.classes[head].ravel(), expected)


def test_an_evaluation_drops_nothing(bare: dict[str, Any]) -> None:
    first, second = bare["predicted with dropout"]

    np.testing.assert_array_equal(first.numerators, second.numerators)


def test_a_compiled_float16_step_in_two_microbatches_has_the_gradients_of_the_whole_batch(
    bare: dict[str, Any],
) -> None:
    compiled, joint = bare["compiled"], bare["joint gradient"]
    whole = np.sqrt(sum(np.sum(value.astype(np.float64) ** 2) for value in joint.values()))

    for name, value in joint.items():
        error = np.linalg.norm(compiled["gradient"][name].astype(np.float64) - value)
        # Between one and a few roundings of float16, 2^-11.
        assert error <= 4 * 2**-11 * max(float(np.linalg.norm(value)), 1e-3 * whole), name
    assert max(np.abs(compiled["gradient"][name] - value).max() for name, value in joint.items()) > 1e-6
    assert (compiled["facts"].compute_dtype, compiled["facts"].loss_scale) == ("float16", 1024.0)
    assert compiled["facts"].skipped_steps == 0
    assert bare["adamw facts"].compute_dtype == "float32"
    assert (bare["adamw facts"].loss_scale, bare["adamw facts"].skipped_steps) == (None, None)


@pytest.mark.parametrize(
    ("name", "task"), [("adamw", "pretraining"), ("ner", "ner"), ("classification", "classification")]
)
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
    for task in ("ner", "classification"):
        assert bare[f"{task} facts"].parameter_elements == reference[f"{task} parameters"]


@pytest.mark.parametrize("name", TRAINED)
def test_other_batches_global_weights_and_rates_do_not_trace_the_step_again(name: str, bare: dict[str, Any]) -> None:
    assert bare[f"{name} traces"] == 1


def test_facts_are_those_of_the_live_objects(bare: dict[str, Any]) -> None:
    settings, changed = bare["adamw facts"].settings, bare["changed facts"].settings

    # The rate of step 19: warm-up over 5 steps, then a linear fall to 0 at step 30.
    assert settings["learning_rate"] == pytest.approx(1e-4 * 11 / 25, rel=1e-15)
    assert (settings["epsilon"], settings["weight_decay"], settings["clip_norm"]) == (1e-6, 0.01, 1.0)
    assert (settings["dropout"], settings["attention_dropout"], settings["gelu"]) == (0.0, 0.0, "tanh")
    assert (settings["decayed_tensors"], settings["undecayed_tensors"]) == (18, 28)
    assert (changed["learning_rate"], changed["epsilon"]) == (0.5, None)
    assert (changed["dropout"], changed["attention_dropout"]) == (0.25, 0.25)


def test_settings_per_tensor_are_those_of_the_live_objects(bare: dict[str, Any]) -> None:
    tensors = {each.name: each for each in bare["adamw tensors"]}
    activations = {name: each.activation for name, each in tensors.items() if each.activation}
    epsilons = {name: each.layer_norm_epsilon for name, each in tensors.items() if each.layer_norm_epsilon}
    changed = bare["changed tensors"]

    assert tensors.keys() == bare["adamw start"].keys()
    assert {each.learning_rate for each in tensors.values()} == {1e-4 * 11 / 25}
    assert {(each.beta_1, each.beta_2, each.epsilon, each.momentum) for each in tensors.values()} == {
        (0.9, 0.999, 1e-6, None)
    }
    assert tensors["bert.pooler.dense.weight"].weight_decay == 0.01
    assert tensors["bert.pooler.dense.bias"].weight_decay == 0.0
    assert tensors["bert.embeddings.LayerNorm.weight"].weight_decay == 0.0
    assert activations == dict.fromkeys(
        [
            "bert.encoder.layer.0.intermediate.dense.weight",
            "bert.encoder.layer.1.intermediate.dense.weight",
            "cls.predictions.transform.dense.weight",
        ],
        "tanh",
    )
    assert (len(epsilons), set(epsilons.values())) == (6, {1e-12})
    assert {each.momentum for each in bare["sgd tensors"]} == {0.9}
    assert {each.learning_rate for each in changed} == {0.5}
    assert [each.weight_decay for each in changed[:2]] == [0.125, 0.0]
    assert (changed[3].name, changed[3].layer_norm_epsilon) == ("bert.embeddings.LayerNorm.weight", 0.25)


def test_one_device_exchanges_nothing(bare: dict[str, Any]) -> None:
    facts = bare["adamw facts"]

    assert (facts.exchange_elements, facts.exchange_bytes, facts.wire_dtype, facts.buckets) == (None,) * 4
    assert facts.algorithm == "none"
    assert bare["adamw exchanges"] == []
    assert {float(each.value.min()) for each in bare["adamw planted"]} == {3.0}

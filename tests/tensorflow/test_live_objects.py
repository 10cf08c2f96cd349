"""Keras' BERT on one device: loaded as it was stored, traced once, and what it says of itself is what it has.

That it computes and learns what the others do is shown by tests/contract and tests/parity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow

TINY_PARAMETERS = 4_433_468
# Of step 3: after warm-up over 2 steps, a linear fall to 0 at step 6.
RATE = 1e-4 * 3 / 4


@pytest.fixture(scope="session")
def bare(sides: Any) -> dict[str, Any]:
    return sides("bare")[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("task", ["pretraining", "ner", "classification"])
def test_every_checkpoint_tensor_has_one_variable_and_comes_back_bit_by_bit(
    task: str, bare: dict[str, Any], folders: dict[str, str]
) -> None:
    tensors = load_file(f"{folders[task]}/model.safetensors")
    read = bare["loaded"][task]["weights"]

    assert read.keys() == tensors.keys()
    assert bare["loaded"][task]["variables"] == len(tensors)
    assert [tensor for tensor in tensors if read[tensor].tobytes() != tensors[tensor].tobytes()] == []
    assert bare["loaded"][task]["parameters"] == sum(tensor.size for tensor in tensors.values())


def test_a_compiled_float16_step_in_two_microbatches_has_the_gradients_of_the_whole_batch(
    bare: dict[str, Any],
) -> None:
    compiled, joint = bare["compiled"], bare["gradient"]
    whole = np.sqrt(sum(np.sum(value.astype(np.float64) ** 2) for value in joint.values()))

    for name, value in joint.items():
        error = np.linalg.norm(compiled["gradient"][name].astype(np.float64) - value)
        # Between one and a few roundings of float16, 2^-11.
        assert error <= 4 * 2**-11 * max(float(np.linalg.norm(value)), 1e-3 * whole), name
    assert max(np.abs(compiled["gradient"][name] - value).max() for name, value in joint.items()) > 1e-6
    assert (compiled["facts"].compute_dtype, compiled["facts"].loss_scale) == ("float16", 1024.0)
    assert compiled["facts"].skipped_steps == 0


def test_other_batches_global_weights_and_rates_do_not_trace_the_step_again(bare: dict[str, Any]) -> None:
    assert bare["traces"] == 1


def test_facts_are_those_of_the_live_objects(bare: dict[str, Any]) -> None:
    settings, changed = bare["facts"].settings, bare["changed facts"].settings

    assert settings["learning_rate"] == pytest.approx(RATE, rel=1e-15)
    assert (settings["epsilon"], settings["weight_decay"], settings["clip_norm"]) == (1e-6, 0.01, 1e6)
    assert (settings["dropout"], settings["attention_dropout"], settings["gelu"]) == (0.0, 0.0, "tanh")
    assert (settings["decayed_tensors"], settings["undecayed_tensors"]) == (18, 28)
    assert changed["learning_rate"] == 0.5
    assert bare["facts"].parameter_elements == TINY_PARAMETERS


def test_settings_per_tensor_are_those_of_the_live_objects(bare: dict[str, Any]) -> None:
    tensors = {each.name: each for each in bare["tensors"]}
    activations = {name: each.activation for name, each in tensors.items() if each.activation}
    epsilons = {name: each.layer_norm_epsilon for name, each in tensors.items() if each.layer_norm_epsilon}
    changed = bare["changed tensors"]

    assert tensors.keys() == bare["loaded"]["pretraining"]["weights"].keys()
    assert [each.learning_rate for each in tensors.values()] == [pytest.approx(RATE, rel=1e-15)] * 46
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
    assert {each.learning_rate for each in changed} == {0.5}
    assert [each.weight_decay for each in changed[:2]] == [0.125, 0.01]
    assert (changed[3].name, changed[3].layer_norm_epsilon) == ("bert.embeddings.LayerNorm.weight", 0.25)

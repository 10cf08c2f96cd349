"""Each way to do other work than the others, done to a real backend in real processes, is caught by name.

A sentence names backend, rank and tensor, what was expected and what was received. The two sound stacks that every
faulty one stands beside pass all gates (conftest).
"""

from __future__ import annotations

from typing import Any

import pytest

from bench import agreement

pytestmark = pytest.mark.slow

TENSOR = "bert.encoder.layer.1.attention.self.query.weight"


def test_no_exchange(failures: Any) -> None:
    found = failures("no exchange")
    assert found["exchange"] == "torch_ddp: rank 0 exchanged nothing, expected 46 tensors"
    assert found["average"].startswith("torch_ddp: rank 0, replica 0: bert.embeddings.word_embeddings.weight came back")
    assert "from the exchange as 1, expected 1.5" in found["average"]
    assert "word_embeddings.weight differs on rank 1, replica 0" in found["weights"]
    assert {"same losses", "same gradients", "same updates"} <= found.keys()


def test_an_exchange_that_adds_and_does_not_average(failures: Any) -> None:
    """AdamW all but hides it: the weights are equal on both ranks, and the loss is 1e-4 off after ten steps."""
    found = failures("sum")
    assert "came back from the exchange as 3, expected 1.5" in found["average"]
    assert "1.0e+00 apart" in found["same gradients"]
    assert "weights" not in found


def test_a_tree_asked_for_and_gloos_ring_run(failures: Any) -> None:
    """The work is the same: only what ran tells."""
    assert failures("other all-reduce") == {
        "all-reduce": "torch_ddp: rank 0 ran none, asked was tree (our own all-reduce was asked for, and its hook has "
        "sent nothing)"
    }


def test_one_rank_fed_another_ranks_data(failures: Any) -> None:
    found = failures("fed other data")
    assert found["own data"].startswith("torch_ddp: rank 1 was fed rank 0's data at step 0, expected digest ")
    assert "loss of rank 1 at step" in found["same losses"]


def test_one_rank_that_uses_other_data_than_it_is_fed(failures: Any) -> None:
    """Its digests are right: its share of the loss gives it away."""
    found = failures("used other data")
    assert "own data" not in found
    assert "loss of rank 1 at step" in found["same losses"]


@pytest.mark.parametrize(("fault", "value"), [("epsilon", "1e-06"), ("small epsilon", "2e-12")])
def test_one_layers_layer_norm_epsilon(failures: Any, fault: str, value: str) -> None:
    """Too small a change for the loss, and the second for anything: only what is read back shows it."""
    found = failures(fault)
    assert found.pop("settings") == (
        "torch_ddp: rank 0: bert.encoder.layer.1.output.LayerNorm.weight has "
        f"layer_norm_epsilon {value}, expected 1e-12"
    )
    assert "same losses" not in found
    assert fault == "epsilon" or found == {}


@pytest.mark.parametrize("fault", ["gelu", "hidden gelu"])
def test_one_layers_gelu(failures: Any, fault: str) -> None:
    """The loss does not show it, the gradients of this layer do."""
    found = failures(fault)
    assert found["settings"] == (
        "torch_ddp: rank 0: bert.encoder.layer.1.intermediate.dense.weight has activation erf, expected tanh"
    )
    assert "bert.encoder.layer.1.intermediate.dense" in found["same gradients"]
    assert "same losses" not in found


def test_one_tensor_without_its_weight_decay(failures: Any) -> None:
    found = failures("no decay")
    assert found["settings"] == f"torch_ddp: rank 0: {TENSOR} has weight_decay 0.0, expected 0.01"
    assert TENSOR in found["same updates"]
    assert "same losses" not in found


def test_a_tenth_more_weight_decay(failures: Any) -> None:
    found = failures("more decay")
    assert found["settings"].endswith("word_embeddings.weight has weight_decay 0.011000000000000001, expected 0.01")
    assert "same losses" not in found


def test_one_tensor_that_decays_more_than_its_settings_say(failures: Any) -> None:
    found = failures("hidden decay")
    assert list(found) == ["same updates"]
    assert TENSOR in found["same updates"]


def test_a_sparse_embedding_gradient(failures: Any) -> None:
    assert failures("sparse")["exchange"] == (
        "torch_ddp: rank 0: bert.embeddings.token_type_embeddings.weight was gathered as a sparse gradient, "
        "expected a dense all-reduce"
    )


def test_one_tensor_left_out_of_the_broadcast(failures: Any) -> None:
    found = failures("left out of broadcast")
    assert found["weights"].startswith(f"torch_ddp: {TENSOR} differs on rank 1, replica 0: norm ")


def test_a_loss_divided_by_the_microbatches(failures: Any) -> None:
    """AdamW, which divides by the gradient's own size, all but hides it: the gradients are half as large."""
    assert "5.0e-01 apart" in failures("mean of means")["same gradients"]


def test_float16_requested_and_float32_run(failures: Any) -> None:
    assert failures("float32")["precision"] == "torch_ddp: rank 0 computed in float32, asked was float16"


def test_another_clip_norm(failures: Any) -> None:
    sentence = failures("clip norm")["settings"]
    assert sentence == ("torch_ddp: rank 0: bert.embeddings.word_embeddings.weight has clip_norm 0.55, expected 0.5")


def test_each_constant_of_adafactor(failures: Any) -> None:
    assert failures("adafactor")["settings"] == (
        "torch_ddp: rank 0: bert.embeddings.word_embeddings.weight has beta_2_decay -0.7, expected -0.8; "
        "variance_epsilon 1e-12, expected 1e-15; scale_epsilon 0.002, expected 0.001; "
        "clip_threshold 2.0, expected 1.0"
    )


def test_a_float16_step_left_out_in_silence(failures: Any) -> None:
    """No other stack computes in float16 here: the two in float32 show it."""
    found = failures("skipped in silence")
    assert list(found) == ["same losses across precisions"]
    assert found["same losses across precisions"].startswith("torch_ddp in float16 on a float32 wire has loss ")
    assert "at step 3 of repeat 0" in found["same losses across precisions"]


def test_a_bfloat16_loss_that_is_a_little_wrong(failures: Any) -> None:
    found = failures("wrong loss")
    assert list(found) == ["same losses across precisions"]
    assert "torch_ddp in bfloat16 on a float32 wire has loss" in found["same losses across precisions"]
    assert "at step 0 of repeat 0" in found["same losses across precisions"]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_sound_stack_in_a_lower_precision_is_within_its_bound(sabotage: Any, failures: Any, precision: str) -> None:
    found = sabotage.verified(sabotage.torch[f"sound {precision}"])
    assert {gate.gate: gate.sentence for gate in found.gates if gate.holds is False} == {}
    (across,) = [gate for gate in found.gates if gate.gate == "same losses across precisions"]
    assert across.holds is True


def test_first_gradients_are_those_of_the_first_step_that_float16_does_not_leave_out(
    sabotage: Any, failures: Any
) -> None:
    """Else there would be none to compare; and a run behind the others shows no equality, and is no fault."""
    behind = sabotage.torch["sound overflow"]
    assert behind.skipped >= 1
    assert agreement.gradients(behind, sabotage.torch["sound buckets"]).excess <= 1
    across = {gate.gate: gate.holds for gate in sabotage.verified(behind).gates}["same losses across precisions"]
    assert across is not False


def test_tensorflow_with_a_sparse_gradient_and_another_gelu(tf_failures: Any) -> None:
    found = tf_failures("tf_horovod", "tf sparse and gelu")
    assert found["exchange"] == (
        "tf_horovod: rank 0: bert.embeddings.token_type_embeddings.weight was gathered as a sparse gradient, "
        "expected a dense all-reduce"
    )
    assert found["settings"] == (
        "tf_horovod: rank 0: bert.encoder.layer.1.intermediate.dense.weight has activation erf, expected tanh"
    )


def test_mirrored_replicas_that_exchange_nothing(tf_failures: Any) -> None:
    found = tf_failures("tf_mirrored", "tf no exchange")
    assert found["exchange"] == "tf_mirrored: rank 0 exchanged nothing, expected 46 tensors"
    assert (
        "rank 0, replica 0: bert.embeddings.word_embeddings.weight came back from the exchange as 1" in found["average"]
    )
    assert "differs on rank 0, replica 1" in found["weights"]

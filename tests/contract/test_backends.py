"""What every backend with a framework must do, whatever it is called. One launch per cell serves all tests of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from backends import BACKENDS

STEPS = 20

pytestmark = pytest.mark.slow


def per_replica(ranks: list[dict[str, Any]], name: str) -> list[str]:
    """Digests of all replicas of all ranks."""
    return [digest for rank in ranks for digest in rank[name]]


# ---- the same model ----------------------------------------------------------------------------------------------


def test_it_trains_every_tensor_of_the_checkpoint_and_no_other(seen: Any, launches: Any) -> None:
    _, checkpoint = launches.prepared("pretraining", 0.0)
    with safe_open(Path(checkpoint) / "model.safetensors", framework="np") as file:
        expected = sorted([name, file.get_slice(name).get_shape()] for name in file.keys())  # noqa: SIM118
    for rank in seen.of("adamw"):
        assert rank["tensors"] == expected
        assert rank["weight_dtypes"] == ["float32"]


def test_it_counts_the_parameters_of_bert_tiny(seen: Any) -> None:
    assert {rank["facts"]["parameter_elements"] for rank in seen.of("adamw")} == {4_433_468}


def test_without_a_pooler_it_counts_those_of_token_classification(seen: Any, launches: Any) -> None:
    _, checkpoint = launches.prepared("ner", 0.0)
    with safe_open(Path(checkpoint) / "model.safetensors", framework="np") as file:
        expected = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    assert {rank["facts"]["parameter_elements"] for rank in seen.of("ner")} == {expected}


def test_the_weights_it_used_are_those_of_the_data(seen: Any) -> None:
    for scenario in ("adamw", "ner"):
        ranks = [rank["rest"] for rank in seen.of(scenario)]
        used = sum(np.sum(rank["weights"], axis=1) for rank in ranks)
        assert used.tolist() == ranks[0]["global_weights"]


# ---- the same gradients and updates ------------------------------------------------------------------------------


def total(errors: dict[str, float]) -> float:
    return float(np.sqrt(np.mean(np.square(list(errors.values())))))


@pytest.mark.parametrize("which", ["gradient_errors", "local_gradient_errors"])
def test_gradients_are_those_made_by_hand(seen: Any, which: str) -> None:
    """Full steps: of the global batch. Local steps: of the replica's own share.

    A single tensor may be off by more: the two labels' terms of the next-sentence head cancel nearly, and so float32
    keeps fewer digits of their sum.
    """
    for rank in seen.of("adamw"):
        errors = rank[which]
        if errors is None:
            pytest.skip("PyTorch is not installed: no gradients made by hand")
        assert len(errors) == 46
        assert total(errors) < 1e-5
        assert max(errors.values()) < 1e-4


def test_two_microbatches_give_the_gradient_of_one_batch(seen: Any) -> None:
    for rank in seen.of("adamw"):
        assert len(rank["split_gradient_errors"]) == 46
        assert max(rank["split_gradient_errors"].values()) < 1e-4


def test_sgd_with_momentum_and_decoupled_decay_follows_the_formula(seen: Any) -> None:
    """First w - lr * decay * w - lr * g, where g is the mean gradient; rounding of weights near 1 allows 6e-8."""
    for rank in seen.of("sgd"):
        assert rank["largest_update"] > 1e-2
        assert rank["first_update_error"] < 1.3e-7
        assert rank["second_update_error"] < 1.3e-7


def test_adamw_follows_the_formula(seen: Any) -> None:
    """With epsilon beside sqrt(v / (1 - beta_2)), not inside; the largest weights are 1, a step is 1e-4."""
    for rank in seen.of("adamw"):
        assert rank["formula_error"] < 1.3e-7


def test_the_loss_falls_on_a_repeated_batch(seen: Any, global_losses: Any) -> None:
    losses = global_losses([rank["repeated"] for rank in seen.of("sgd")])
    assert len(losses) == STEPS
    assert 10.5 < losses[0] < 11.5  # ln(30522) + ln(2) = 11.02, for weights that know nothing
    assert losses[-1] < 0.5 * losses[0]


# ---- the exchange ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["adamw", "ner"])
def test_full_steps_leave_the_same_bits_on_all_replicas(seen: Any, cell: tuple[str, int], scenario: str) -> None:
    digests = per_replica(seen.of(scenario), "digests")
    assert len(digests) == cell[1]
    assert len(set(digests)) == 1


def test_local_steps_on_different_data_leave_different_weights(seen_pair: Any) -> None:
    detours = [rank["detour"] for rank in seen_pair.of("adamw")]
    assert len(set(per_replica(detours, "apart_digests"))) == 2


def test_a_restore_after_local_steps_brings_everything_back(seen: Any) -> None:
    for rank in seen.of("adamw"):
        detour = rank["detour"]
        assert detour["restored"] == detour["before"] != detour["apart_digests"]
        assert detour["again"]["numerators"] == detour["straight"]["numerators"]
        assert detour["again_digests"] == detour["straight_digests"] != detour["before"]


def test_facts_tell_the_bytes_that_cross_the_network(seen: Any, cell: tuple[str, int]) -> None:
    """A ring over N ranks sends 2 (N - 1) / N times the gradients per rank; with 2 ranks any algorithm does."""
    if not seen.private_network:
        pytest.skip("a private network namespace is not allowed here, and other traffic would be counted")
    ranks = seen.of("adamw")
    for rank in ranks:
        full, local, facts = rank["detour"]["again"], rank["detour"]["apart"], rank["facts"]
        if len(ranks) == 1:
            assert full["received_bytes"] < 1e6
        else:
            assert full["received_bytes"] / 3 == pytest.approx(2 * facts["exchange_bytes"], rel=0.02)
        assert local["received_bytes"] / 3 < 4e5  # 1 % of a full step's


def test_every_parameter_is_exchanged_once(seen: Any, cell: tuple[str, int]) -> None:
    for rank in seen.of("adamw"):
        facts = rank["facts"]
        if cell[1] == 1 and facts["exchange_elements"] is None:
            continue
        assert facts["exchange_elements"] == 4_433_468
        assert facts["exchange_bytes"] == 17_733_872
        assert facts["wire_dtype"] == "float32"


# ---- chance ------------------------------------------------------------------------------------------------------


def test_the_same_seed_drops_the_same_units_after_a_rebuild_and_after_a_restore(seen_dropping: Any) -> None:
    for rank in seen_dropping.of("dropout"):
        assert rank["rebuilt"]["numerators"] == rank["restored"]["numerators"] == rank["trained"]["numerators"]
        assert rank["rebuilt_digests"] == rank["restored_digests"] == rank["digests"]


def test_dropout_changes_the_loss(seen_dropping: Any, global_losses: Any) -> None:
    with_dropout = global_losses([rank["trained"] for rank in seen_dropping.of("dropout")])
    without = global_losses([rank["first"] for rank in seen_dropping.of("adamw")])
    assert abs(with_dropout[0] - without[0]) > 1e-5


def test_each_replica_drops_its_own_units(seen_pair: Any) -> None:
    steps = np.concatenate([np.array(rank["same_data"]["numerators"]) for rank in seen_pair.of("dropout")], axis=1)
    assert steps.shape == (2, 2, 2)  # step, replica, head
    assert (steps[0, 0] != steps[0, 1]).all()


# ---- what it says of itself --------------------------------------------------------------------------------------


def test_facts_are_read_from_the_live_objects(seen: Any, cell: tuple[str, int]) -> None:
    local_replicas = cell[1] if BACKENDS[cell[0]].local_replicas else 1
    for rank in seen.of("adamw"):
        facts = rank["facts"]
        assert facts["compute_dtype"] == "float32"
        assert facts["threads"] == local_replicas
        assert len(facts["devices"]) == local_replicas
        assert facts["algorithm_evidence"]
        assert facts["versions"]
        settings = facts["settings"]
        assert settings["learning_rate"] == pytest.approx(1e-4, rel=1e-6)
        assert (settings["beta_1"], settings["beta_2"]) == pytest.approx((0.9, 0.999), rel=1e-6)
        assert settings["epsilon"] == pytest.approx(1e-6, rel=1e-6)
        assert settings["weight_decay"] == pytest.approx(0.01, rel=1e-6)
        assert settings["weight_decay_bias_and_layer_norm"] == 0.0
        assert (settings["decayed_tensors"], settings["undecayed_tensors"]) == (18, 28)
        assert (settings["gelu"], settings["dropout"], settings["attention_dropout"]) == ("tanh", 0.0, 0.0)
        assert settings["jit_compile"] is False


def test_facts_of_a_rebuilt_backend_are_of_its_last_model(seen_pair: Any) -> None:
    for rank in seen_pair.of("ner"):
        assert rank["facts"]["exchange_elements"] == rank["facts"]["parameter_elements"] < 4_433_468


def test_facts_follow_the_trial(seen: Any) -> None:
    for rank in seen.of("sgd"):
        settings = rank["facts"]["settings"]
        assert (settings["learning_rate"], settings["momentum"]) == pytest.approx((0.1, 0.9))
        assert settings["weight_decay"] == pytest.approx(0.1)


def test_facts_tell_the_live_dropout(seen_dropping: Any) -> None:
    for rank in seen_dropping.of("dropout"):
        settings = rank["facts"]["settings"]
        assert (settings["dropout"], settings["attention_dropout"]) == pytest.approx((0.1, 0.1))


def test_one_framework_is_loaded(seen: Any, cell: tuple[str, int]) -> None:
    expected = {"torch": ["torch"], "tensorflow": ["keras", "keras_hub", "tensorflow"]}[BACKENDS[cell[0]].framework]
    seen.of("adamw")
    assert [rank["frameworks"] for rank in seen.ranks] == [expected] * len(seen.ranks)


# ---- the end -----------------------------------------------------------------------------------------------------


def test_bad_input_is_raised_and_then_stop_leaves_no_process(seen: Any) -> None:
    assert all(rank["raised"] for rank in seen.of("bad_input"))
    assert all(rank["stopped_twice"] for rank in seen.ranks)
    assert seen.left == []


OTHERS = [
    (name, launcher)
    for name, row in BACKENDS.items()
    for launcher in row.launchers
    if launcher in ("torchrun", "mpirun") and row.wrapper != "none" and not row.local_replicas
]


@pytest.mark.parametrize(("backend", "launcher"), OTHERS)
def test_every_launcher_trains_the_same(
    launches: Any, launch_refusal: Any, global_losses: Any, backend: str, launcher: str
) -> None:
    reason = launch_refusal(backend, launcher)
    if reason is not None:
        pytest.skip(reason)
    under_it, usual = launches.get(backend, 2, launcher, ("few",)), launches.get(backend, 2)
    ranks = [rank["trained"] for rank in under_it.of("few")]
    assert [rank["launcher"] for rank in under_it.ranks] == [launcher] * 2
    first = global_losses([rank["first"] for rank in usual.of("adamw")])
    rest = global_losses([rank["rest"] for rank in usual.of("adamw")])
    assert global_losses(ranks) == pytest.approx([*first, *rest[:2]], rel=1e-6)
    assert len(set(per_replica(under_it.of("few"), "digests"))) == 1
    assert under_it.left == []

"""What every backend with a framework must do, whatever it is called. One launch per cell serves all tests of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import bounds
import numpy as np
import plans
import pytest
from safetensors import safe_open

from backends import BACKENDS

pytestmark = pytest.mark.slow

TRAINED = ("adamw", "sgd", "classification", "ner")
ELEMENTS = 4_433_468


def per_replica(ranks: list[dict[str, Any]], name: str) -> list[str]:
    """Digests of all replicas of all ranks."""
    return [digest for rank in ranks for digest in rank[name]]


def stored(launches: Any, scenario: str) -> dict[str, list[int]]:
    """Name to shape of every tensor of the checkpoint."""
    _, checkpoint = launches.prepared(scenario)
    with safe_open(Path(checkpoint) / "model.safetensors", framework="np") as file:
        return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def curve(global_losses: Any, ranks: list[dict[str, Any]], *parts: str) -> list[float]:
    """Global losses of several trainings, one after the other."""
    return [loss for part in parts for loss in global_losses([rank[part] for rank in ranks])]


# ---- the same model ----------------------------------------------------------------------------------------------


def test_it_trains_every_tensor_of_the_checkpoint_and_no_other(seen: Any, cell: Any, launches: Any) -> None:
    expected = sorted([name, shape] for name, shape in stored(launches, "adamw").items())
    for rank in seen.of("adamw"):
        local_replicas = sorted({replica for replica, _, _ in rank["shapes"]})
        for replica in local_replicas:
            assert [[name, shape] for each, name, shape in rank["shapes"] if each == replica] == expected
        assert rank["weight_dtypes"] == ["float32"]


def test_it_counts_the_parameters_of_bert_tiny(seen: Any, cell: Any) -> None:
    assert {rank["facts"]["parameter_elements"] for rank in seen.of("adamw")} == {ELEMENTS}


@pytest.mark.parametrize("scenario", ["classification", "ner"])
def test_with_another_head_it_counts_those_of_the_checkpoint(
    seen: Any, whole: Any, launches: Any, scenario: str
) -> None:
    expected = sum(math.prod(shape) for shape in stored(launches, scenario).values())
    assert {rank["facts"]["parameter_elements"] for rank in seen.of(scenario)} == {expected}


@pytest.mark.parametrize("scenario", TRAINED)
def test_the_weights_it_used_are_those_of_the_data(seen: Any, whole: Any, scenario: str) -> None:
    ranks = [rank["second"] for rank in seen.of(scenario)]
    used = sum(np.sum(rank["weights"], axis=1) for rank in ranks)
    assert used.tolist() == ranks[0]["global_weights"]


# ---- the same gradients and updates ------------------------------------------------------------------------------


def total(errors: dict[str, float]) -> float:
    return float(np.sqrt(np.mean(np.square(list(errors.values())))))


def check_gradients(errors: dict[str, float] | None, tensors: int, bound: float) -> None:
    if errors is None:
        pytest.skip("PyTorch is not installed: no gradients made by hand")
    assert len(errors) == tensors
    assert total(errors) < bound
    assert max(errors.values()) < bounds.GRADIENT


def test_gradients_are_those_made_by_hand(seen: Any, cell: Any) -> None:
    """Of the global batch, on every replica."""
    for rank in seen.of("adamw"):
        check_gradients(rank["gradient_errors"], 46, bounds.GRADIENTS)


def test_clipped_gradients_are_those_made_by_hand(seen: Any, whole: Any) -> None:
    """Clipped after the exchange, by the norm over all tensors."""
    for rank in seen.of("classification"):
        check_gradients(rank["gradient_errors"], 41, bounds.CANCELLING_GRADIENTS)


def test_the_gradients_of_a_local_step_are_those_of_the_replicas_own_share(seen: Any, whole: Any) -> None:
    """Clipped too, by the norm of the replica's own gradients."""
    for rank in seen.of("classification"):
        check_gradients(rank["local_gradient_errors"], 41, bounds.CANCELLING_GRADIENTS)


def test_a_local_step_moves_each_replica_by_its_own_gradient(seen: Any, whole: Any) -> None:
    for rank in seen.of("classification"):
        assert rank["local_update_error"][0] < bounds.UPDATE["lamb"], rank["local_update_error"]


def test_the_gradients_to_be_clipped_are_longer_than_the_limit(launches: Any) -> None:
    """Else clipping is not tried."""
    if launches.reference is None:
        pytest.skip("PyTorch is not installed: no gradients made by hand")
    limit = plans.SCENARIOS["classification"].optimizer.clip_norm
    with np.load(launches.reference) as reference:
        for share in ("global", "2|0", "2|1"):
            names = [name for name in reference if name.startswith(f"classification|{share}|")]
            assert math.sqrt(sum(np.sum(reference[name] ** 2) for name in names)) > 2 * limit


def test_microbatches_give_the_gradient_and_the_losses_of_one_batch(seen: Any, whole: Any, global_losses: Any) -> None:
    """Two on one replica, four on each of two."""
    ranks = seen.of("adamw")
    for rank in ranks:
        assert len(rank["parts_errors"]) == 46
        assert max(rank["parts_errors"].values()) < bounds.GRADIENT
    in_parts = curve(global_losses, [rank["parts"] for rank in ranks], "first", "rest")
    together = curve(global_losses, ranks, "first", "second", "rest")
    assert in_parts == pytest.approx(together[:3], rel=bounds.LOSS)


@pytest.mark.parametrize("scenario", TRAINED)
def test_the_first_two_updates_follow_the_optimizers_formula(seen: Any, whole: Any, scenario: str) -> None:
    """AdamW; SGD with momentum; LAMB with clipping, in its warm-up; Adafactor. See arithmetic.Rule."""
    bound = bounds.UPDATE[plans.SCENARIOS[scenario].optimizer.name]
    for rank in seen.of(scenario):
        assert rank["largest_update"] > 100 * bound
        errors = rank["update_errors"]
        assert max(error for error, _ in errors) < bound, errors


def test_a_wrapper_of_one_replica_updates_by_the_formula_too(seen: Any, cell: Any) -> None:
    for rank in seen.of("adamw"):
        assert max(error for error, _ in rank["update_errors"]) < bounds.UPDATE["adamw"], rank["update_errors"]


def test_a_rate_of_0_moves_nothing(seen: Any, whole: Any) -> None:
    """After the end of the decay."""
    for rank in seen.of("classification"):
        assert rank["rate_0_leaves_the_weights"] is True
        assert rank["last_rates"] == [0.0]


def test_the_loss_falls_on_a_repeated_batch(seen: Any, whole: Any, global_losses: Any) -> None:
    losses = global_losses([rank["repeated"] for rank in seen.of("sgd")])
    assert len(losses) == 20
    assert 10.5 < losses[0] < 11.5  # ln(30522) + ln(2) = 11.02, for weights that know nothing
    assert losses[-1] < 0.5 * losses[0]


# ---- evaluation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "part", "heads"),
    [
        ("sgd", "watched", ["mlm", "nsp"]),
        ("classification", "evaluated", ["classification"]),
        ("ner", "evaluated", ["ner"]),
    ],
)
def test_an_evaluation_is_the_one_made_by_hand(
    seen: Any, whole: Any, launches: Any, scenario: str, part: str, heads: list[str]
) -> None:
    """Of the global batch at the initial weights, on rank 0; "sgd" has dropout, which must not act here."""
    if launches.reference is None:
        pytest.skip("PyTorch is not installed: no evaluation made by hand")
    found, *others = [rank[part] for rank in seen.of(scenario)]
    found = found["first"] if part == "watched" else found
    assert (found["heads"], found["dtypes"]) == (heads, ["int32"])
    assert all(other is None or other["first"] is None for other in others)
    task = plans.SCENARIOS[scenario].task
    with np.load(launches.reference) as reference:
        losses = [float(reference[f"{task}|losses|{head}"]) for head in heads]
        assert found["numerators"] == pytest.approx(losses, rel=1e-6)
        for head in heads:
            expected = reference[f"{task}|classes|{head}"]
            assert np.shape(found["classes"][head]) == expected.shape
            # two scores out of 30,522 may be as good as equal
            assert np.mean(np.array(found["classes"][head]) == expected) > 0.98


def test_an_evaluation_is_the_loss_of_the_next_step(seen: Any, whole: Any) -> None:
    """After training: the weights it sees are the live ones, and all that changes is who computes which samples."""
    ranks = seen.of("ner")
    following = sum(np.sum(rank["next"]["numerators"], axis=(0, 1)) for rank in ranks)
    evaluated = ranks[0]["before_the_next"]
    assert evaluated["numerators"] == pytest.approx(following.tolist(), rel=bounds.LOSS)
    assert [evaluated["weights"]] == ranks[0]["next"]["global_weights"]


def test_an_evaluation_leaves_no_trace(seen: Any, whole: Any) -> None:
    """Not in the weights, not in what is dropped next."""
    for rank in seen.of("sgd"):
        assert rank["watched"]["numerators"] == rank["trained"]["numerators"]
        assert rank["watched"]["digests"] == rank["digests"]


# ---- the exchange ------------------------------------------------------------------------------------------------


def test_a_planted_gradient_comes_back_as_the_mean(seen: Any, cell: Any) -> None:
    """Replica r plants r + 1 in every element of every tensor; nothing is updated, before any step has been made."""
    for rank in seen.of("adamw"):
        mean = {1: 1.0, 2: 1.5}[cell[1]]
        assert (rank["planted"]["least"], rank["planted"]["greatest"]) == (mean, mean)
        assert rank["planted"]["tensors"] == rank["shapes"]
        assert rank["planted"]["dtypes"] == ["float32"]
        assert rank["planting_leaves_the_weights"] is True


@pytest.mark.parametrize("scenario", TRAINED)
def test_full_steps_leave_the_same_bits_on_all_replicas(seen: Any, whole: Any, scenario: str) -> None:
    digests = per_replica(seen.of(scenario), "digests")
    assert len(digests) == whole[1]
    assert len(set(digests)) == 1


def test_local_steps_on_different_data_leave_different_weights(seen: Any, pair: Any) -> None:
    detours = [rank["detour"] for rank in seen.of("classification")]
    assert len(set(per_replica(detours, "apart_digests"))) == 2


def test_a_restore_after_local_steps_brings_everything_back(seen: Any, whole: Any) -> None:
    for rank in seen.of("classification"):
        detour = rank["detour"]
        assert detour["restored"] == detour["before"] != detour["apart_digests"]
        assert detour["again"]["numerators"] == detour["straight"]["numerators"]
        assert detour["again_digests"] == detour["straight_digests"] != detour["before"]


def test_facts_tell_the_bytes_that_cross_the_network(seen: Any, pair: Any) -> None:
    """A ring over N ranks sends 2 (N - 1) / N times the gradients per rank; with 2 ranks any algorithm does.

    Once per step, in however many microbatches; and not in a local step: there idle chatter is allowed.
    """
    if not seen.private_network:
        pytest.skip("a private network namespace is not allowed here, and other traffic would be counted")
    ranks = seen.of("classification")
    for rank, in_parts in zip(ranks, seen.of("adamw"), strict=True):
        full, local, facts = rank["detour"]["again"], rank["detour"]["apart"], rank["facts"]
        assert local["received_bytes"] / 3 < 4e5
        if len(ranks) == 1:
            assert full["received_bytes"] < 1e6
        else:
            assert full["received_bytes"] / 3 == pytest.approx(2 * facts["exchange_bytes"], rel=0.02, abs=4e5)
            crossed = in_parts["parts"]["rest"]["received_bytes"] / 2
            assert crossed == pytest.approx(2 * in_parts["facts"]["exchange_bytes"], rel=0.02)


@pytest.mark.parametrize("scenario", ["adamw", "classification", "ner"])
def test_every_tensor_is_exchanged_once_dense_and_whole(seen: Any, pair: Any, launches: Any, scenario: str) -> None:
    expected = {
        name: {
            "count": 1,
            "elements": math.prod(shape),
            "dtype": "float32",
            "bytes": 4 * math.prod(shape),
            "dense": True,
        }
        for name, shape in stored(launches, scenario).items()
    }
    for rank in seen.of(scenario):
        assert {each.pop("name"): each for each in map(dict, rank["exchanges"])} == expected
        assert len(rank["exchanges"]) == len(expected)
        facts = rank["facts"]
        assert facts["wire_dtype"] == "float32"
        assert facts["exchange_elements"] == sum(each["elements"] for each in expected.values())
        assert facts["exchange_bytes"] == sum(each["bytes"] for each in expected.values())


def test_before_a_full_step_and_on_one_device_nothing_is_exchanged(seen: Any, cell: Any) -> None:
    for rank in seen.of("adamw"):
        assert rank["exchanges_before_a_step"] == 0
        if BACKENDS[cell[0]].max_replicas == 1:
            assert rank["exchanges"] == []
            assert rank["facts"]["exchange_elements"] is rank["facts"]["wire_dtype"] is None


# ---- chance ------------------------------------------------------------------------------------------------------


def test_the_same_seed_drops_the_same_units_after_a_rebuild_and_after_a_restore(seen: Any, whole: Any) -> None:
    for rank in seen.of("sgd"):
        assert rank["rebuilt"]["numerators"] == rank["trained"]["numerators"]
        assert rank["rebuilt_digests"] == rank["digests"]
        assert rank["repeated"]["numerators"][0] == rank["trained"]["numerators"][0]


def test_dropout_changes_the_loss(seen: Any, whole: Any, global_losses: Any) -> None:
    with_dropout = global_losses([rank["trained"] for rank in seen.of("sgd")])
    without = global_losses([rank["first"] for rank in seen.of("adamw")])
    assert abs(with_dropout[0] - without[0]) > 1e-5


def test_each_replica_drops_its_own_units(seen: Any, pair: Any) -> None:
    steps = np.concatenate([np.array(rank["same_data"]["numerators"]) for rank in seen.of("sgd")], axis=1)
    assert steps.shape == (2, 2, 2)  # step, replica, head
    assert (steps[0, 0] != steps[0, 1]).all()


# ---- the launchers -----------------------------------------------------------------------------------------------


def test_one_framework_is_loaded(seen: Any, cell: Any) -> None:
    expected = {"torch": ["torch"], "tensorflow": ["keras", "keras_hub", "tensorflow"]}[BACKENDS[cell[0]].framework]
    seen.of("adamw")
    assert [rank["frameworks"] for rank in seen.ranks] == [expected] * len(seen.ranks)


def test_bad_input_is_raised_and_then_stop_leaves_no_process(seen: Any, whole: Any) -> None:
    assert all(rank["raised"] for rank in seen.of("bad_input"))
    assert all(rank["stopped_twice"] for rank in seen.ranks)
    assert seen.returncode == 0
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
    scenario, _ = plans.UNDER.get((backend, launcher), plans.FEW)
    under_it, usual = launches.under(backend, launcher), launches.get(backend, 2)
    ranks = [rank["trained"] for rank in under_it.of(scenario)]
    assert [rank["launcher"] for rank in under_it.ranks] == [launcher] * 2
    expected = curve(global_losses, usual.of("adamw"), "first", "second", "rest")[:3]
    assert global_losses(ranks) == pytest.approx(expected, rel=1e-6)
    assert len(set(per_replica(under_it.of(scenario), "digests"))) == 1
    assert under_it.left == []

"""Full and local steps of SGD without momentum, which shows what an adaptive optimizer would hide."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

TINY_PARAMETERS = 4_433_468
NER_PARAMETERS = 4_370_053
RATE = 0.1
EXCHANGING = ["mirrored", "horovod"]
OPERATIONS = {"mirrored": ("CollectiveReduceV2",), "horovod": ("HorovodAllreduce",)}

Values = dict[tuple[int, str], np.ndarray]


def replicas(seen: list[dict[str, Any]], key: str) -> list[dict[str, np.ndarray]]:
    """By replica of the whole world, then by name."""
    found: list[dict[str, np.ndarray]] = []
    for rank in seen:
        local = sorted({replica for replica, _ in rank[key]})
        found += [{name: value for (own, name), value in rank[key].items() if own == replica} for replica in local]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_a_full_step_moves_every_replica_by_the_mean_gradient(side: str, sides: Any) -> None:
    seen = sides(side)
    start = replicas(seen, "start")[0]
    gradients = replicas(seen, "local gradient")

    assert len(gradients) == 2
    for after in replicas(seen, "full"):
        for name, weight in start.items():
            mean = (gradients[0][name].astype(np.float64) + gradients[1][name]) / 2
            np.testing.assert_allclose(after[name], weight - RATE * mean, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_the_exchanged_gradient_is_that_of_the_whole_batch_on_one_device(side: str, sides: Any) -> None:
    (joint,) = replicas(sides("bare"), "joint gradient")
    whole = np.sqrt(sum(np.sum(value.astype(np.float64) ** 2) for value in joint.values()))

    for gradient in replicas(sides(side), "full gradient"):
        for name, value in joint.items():
            error = np.linalg.norm(gradient[name].astype(np.float64) - value)
            assert error <= 1e-5 * max(float(np.linalg.norm(value)), 1e-3 * whole), name


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_a_local_step_moves_each_replica_by_its_own_gradient(side: str, sides: Any) -> None:
    seen = sides(side)
    start, gradients = replicas(seen, "start")[0], replicas(seen, "local gradient")
    name = "bert.embeddings.word_embeddings.weight"

    assert np.abs(gradients[0][name] - gradients[1][name]).max() > 1e-3
    for after, gradient in zip(replicas(seen, "local"), gradients, strict=True):
        for name, weight in start.items():
            expected = weight - RATE * gradient[name].astype(np.float64)
            np.testing.assert_allclose(after[name], expected, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_every_parameter_is_exchanged_once_and_only_by_all_reduces(side: str, sides: Any) -> None:
    for rank in sides(side):
        full, local = rank["full communication"], rank["local communication"]

        assert full.kinds == OPERATIONS[side]
        assert full.dtypes == ("float32",)
        assert full.elements == TINY_PARAMETERS * (2 if side == "mirrored" else 1)
        assert (local.operations, local.elements) == (0, 0)
        assert (rank["facts"].exchange_elements, rank["facts"].exchange_bytes) == (TINY_PARAMETERS, 17_733_872)
        assert rank["facts"].algorithm == "ring"


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_indexed_slices_never_reach_the_exchange(side: str, sides: Any) -> None:
    for rank in sides(side):
        assert rank["unconverted"] == "IndexedSlices"
        assert len(rank["reached"]) == 46 * (2 if side == "mirrored" else 1)
        assert "IndexedSlices" not in rank["reached"]


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_every_tensor_is_seen_to_be_exchanged_once_dense_and_by_its_name(side: str, sides: Any) -> None:
    for rank in sides(side):
        (names,) = {frozenset(values) for values in replicas([rank], "start")}
        seen = rank["exchanges"]

        assert rank["exchanges before"] == []
        assert {each.name for each in seen} == names
        assert {(each.count, each.dtype, each.dense) for each in seen} == {(1, "float32", True)}
        assert (len(seen), sum(each.elements for each in seen), sum(each.bytes for each in seen)) == (
            46,
            TINY_PARAMETERS,
            4 * TINY_PARAMETERS,
        )


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_a_tensor_exchanged_twice_left_out_sparse_or_alien_is_seen_as_that(side: str, sides: Any) -> None:
    for rank in sides(side):
        twice, sparse, left_out, _ = rank["dishonest"]["names"]
        seen = {each.name: (each.count, each.elements, each.dense) for each in rank["dishonest"]["tensors"]}

        assert seen.pop(twice) == (2, 65_536, True)
        assert seen.pop(sparse) == (1, 256, False)
        assert left_out not in seen
        assert {(name.rpartition("/")[2], found) for name, found in seen.items()} == {("Exp", (1, 128, True))}


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_planted_gradients_come_back_as_their_mean_and_update_nothing(side: str, sides: Any) -> None:
    for rank in sides(side):
        planted = rank["planted"]

        assert len(planted) == 46 * (2 if side == "mirrored" else 1)
        assert {(float(each.value.min()), float(each.value.max())) for each in planted} == {(2.5, 2.5)}
        assert sum(each.value.size for each in planted if each.replica == 0) == TINY_PARAMETERS


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_one_rank_alone_evaluates_what_one_device_does(side: str, sides: Any) -> None:
    (expected,) = (rank["adamw predicted"] for rank in sides("bare"))
    first, *others = sides(side)

    np.testing.assert_allclose(first["predicted"].numerators, expected.numerators, rtol=1e-6)
    assert [rank["predicted"] for rank in others] == [None] * len(others)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("side", "wire", "sent"), [("mirrored", "bfloat16", 0.10009765625), ("horovod", "float16", 0.0999755859375)]
)
def test_the_wire_has_its_own_precision_and_the_optimizer_float32(
    side: str, wire: str, sent: float, sides: Any
) -> None:
    for rank in sides(side):
        scaled = rank["scaled"]
        facts = scaled["facts"]

        assert (facts.compute_dtype, facts.wire_dtype, facts.exchange_bytes) == ("float16", wire, 2 * NER_PARAMETERS)
        assert {(each.count, each.dtype, each.dense) for each in scaled["exchanges"]} == {(1, wire, True)}
        assert {(float(each.value.min()), each.value.dtype.name) for each in scaled["planted"]} == {(sent, "float32")}


@pytest.mark.slow
@pytest.mark.parametrize("side", EXCHANGING)
def test_a_gradient_that_overflows_on_one_replica_leaves_the_update_out_on_all(side: str, sides: Any) -> None:
    seen = [rank["scaled"] for rank in sides(side)]
    count = 2 // len(seen)

    for rank in seen:
        moments = {name: rank[name] for name in ("one", "two", "overflow", "after", "restored")}
        assert {name: each["scale"] for name, each in moments.items()} == {
            "one": [1024.0] * count,
            "two": [2048.0] * count,
            "overflow": [1024.0] * count,
            "after": [1024.0] * count,
            "restored": [2048.0] * count,
        }
        assert [moments[name]["used"][0] for name in ("two", "overflow", "after")] == [1024.0, 2048.0, 1024.0]
        assert [moments[name]["skipped"][0] for name in moments] == [0, 0, 1, 1, 0]
        assert [moments[name]["steps"][0] for name in moments] == [1, 2, 2, 3, 2]
        assert (rank["facts"].loss_scale, rank["facts"].skipped_steps) == (1024.0, 0)
    digests = {
        name: {digest for rank in seen for digest in rank[name]["digests"]} for name in ("two", "overflow", "after")
    }
    assert [len(each) for each in digests.values()] == [1, 1, 1]
    assert digests["two"] == digests["overflow"] != digests["after"]
    assert {digest for rank in seen for digest in rank["restored"]["digests"]} == digests["two"]


def test_the_table_of_backends_imports_no_tensorflow() -> None:
    code = "import sys, backends; print(sorted({'tensorflow', 'keras', 'keras_hub', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"

"""Full and local steps of SGD without momentum, which shows what an adaptive optimizer would hide."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

TINY_PARAMETERS = 4_433_468
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


def test_the_table_of_backends_imports_no_tensorflow() -> None:
    code = "import sys, backends; print(sorted({'tensorflow', 'keras', 'keras_hub', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"

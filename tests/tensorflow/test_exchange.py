"""What is in the graphs of a full and of a local step, and what an exchange that is not what it should be looks like.

That its result is the mean, in every precision and on every replica, is shown by tests/contract.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

TINY_PARAMETERS = 4_433_468
OPERATIONS = {"mirrored": ("CollectiveReduceV2",), "horovod": ("HorovodAllreduce",)}
wrappers = pytest.mark.parametrize("side", list(OPERATIONS))


@pytest.mark.slow
@wrappers
def test_every_parameter_is_exchanged_once_and_only_by_all_reduces(side: str, sides: Any) -> None:
    for rank in sides(side):
        full, local = rank["full"], rank["local"]

        assert full.kinds == OPERATIONS[side]
        assert full.dtypes == ("float32",)
        assert full.elements == TINY_PARAMETERS * (2 if side == "mirrored" else 1)
        assert (local.operations, local.elements) == (0, 0)
        assert (rank["facts"].exchange_elements, rank["facts"].exchange_bytes) == (TINY_PARAMETERS, 17_733_872)
        assert rank["facts"].algorithm == "ring"


@pytest.mark.slow
@wrappers
def test_indexed_slices_never_reach_the_exchange(side: str, sides: Any) -> None:
    for rank in sides(side):
        assert rank["unconverted"] == "IndexedSlices"
        assert len(rank["reached"]) == 46 * (2 if side == "mirrored" else 1)
        assert "IndexedSlices" not in rank["reached"]


@pytest.mark.slow
@wrappers
def test_a_tensor_exchanged_twice_left_out_sparse_or_alien_is_seen_as_that(side: str, sides: Any) -> None:
    for rank in sides(side):
        twice, sparse, left_out, _ = rank["dishonest"]["names"]
        seen = {each.name: (each.count, each.elements, each.dense) for each in rank["dishonest"]["tensors"]}

        assert seen.pop(twice) == (2, 65_536, True)
        assert seen.pop(sparse) == (1, 256, False)
        assert left_out not in seen
        assert {(name.rpartition("/")[2], found) for name, found in seen.items()} == {("Exp", (1, 128, True))}


def test_the_table_of_backends_imports_no_tensorflow() -> None:
    code = "import sys, backends; print(sorted({'tensorflow', 'keras', 'keras_hub', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"

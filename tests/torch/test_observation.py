"""What a PyTorch backend tells of itself is what it did: shown with backends that do something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

EMBEDDINGS, BIAS = "bert.embeddings.word_embeddings.weight", "classifier.bias"
EMBEDDING_ELEMENTS = 300 * 32
TENSORS = 39
# Ids of 4 x 16 tokens of one rank; each sends a row of 32 float32 and a 64-bit index.
SPARSE_ROWS = 64

Sides = Callable[[str], list[dict[str, Any]]]
wrappers = pytest.mark.parametrize("side", ["ddp", "horovod"])


def by_name(exchanged: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {tensor["name"]: tensor for tensor in exchanged}
    assert len(found) == len(exchanged)
    return found


@wrappers
def test_an_honest_step_exchanges_every_tensor_once_and_dense(sides: Sides, side: str) -> None:
    for rank in sides(side):
        assert rank["before"] == []
        honest = by_name(rank["honest"])
        assert len(honest) == TENSORS
        assert {(each["count"], each["dtype"], each["dense"]) for each in honest.values()} == {(1, "float32", True)}
        assert honest[EMBEDDINGS]["elements"] == EMBEDDING_ELEMENTS
        assert honest[EMBEDDINGS]["bytes"] == 4 * EMBEDDING_ELEMENTS


@wrappers
def test_nothing_of_the_observation_is_left_in_the_next_step(sides: Sides, side: str) -> None:
    for rank in sides(side):
        assert rank["left_behind"] == []
        assert not rank.get("patched")
        assert rank["second_step"] == rank["honest"]


@wrappers
def test_a_sparse_gradient_shows(sides: Sides, side: str) -> None:
    for rank in sides(side):
        sparse = by_name(rank["sparse"])
        assert {name for name, each in sparse.items() if not each["dense"]} == {EMBEDDINGS}
        assert sparse[EMBEDDINGS]["elements"] == SPARSE_ROWS * 32
        assert sparse[EMBEDDINGS]["bytes"] == SPARSE_ROWS * (32 * 4 + 8)
        assert len(sparse) == TENSORS


@wrappers
def test_a_tensor_that_is_exchanged_twice_shows(sides: Sides, side: str) -> None:
    for rank in sides(side):
        counts = {each["name"]: each["count"] for each in rank["twice"]}
        assert len(counts) == TENSORS
        assert {name: count for name, count in counts.items() if count != 1} == {BIAS: 2}


def test_a_tensor_that_is_left_out_shows(sides: Sides) -> None:
    for rank in sides("ddp"):
        honest, found = by_name(rank["honest"]), by_name(rank["left_out"])
        assert set(honest) - set(found) == {BIAS}
        assert set(found) <= set(honest)


def test_full_and_local_steps_run_the_same_graphs_cut_at_the_buckets(sides: Sides) -> None:
    """Compiled as one graph the backward pass would end before the exchange begins."""
    for rank in sides("ddp"):
        first, *later = rank["graphs"]
        assert first == 2
        assert later == [first, first]


@wrappers
def test_a_compiled_step_of_a_wrapped_model_has_the_losses_of_the_eager_one(sides: Sides, side: str) -> None:
    """Through Inductor, under DDP (cut at its buckets) and under Horovod; 1e-5 is the bound of float32 losses."""
    for rank in sides(side):
        assert len(set(rank["curves"]["eager"])) == 3
        assert rank["curves"]["compiled"] == pytest.approx(rank["curves"]["eager"], rel=1e-5)
        assert (rank["curves"]["graphs"], rank["curves"]["told"]) == (2 if side == "ddp" else 1, True)


def test_the_tuned_preset_changes_how_a_step_runs_and_not_what_it_trains(sides: Sides) -> None:
    """Compiled up to Inductor, fused AdamW, gradients as views of DDP's buckets, a static graph: read back, and the
    same losses, exchange and planted mean as of the plain one, also after local steps and with microbatches."""
    for rank in sides("ddp"):
        plain, tuned = rank["presets"]["plain"], rank["presets"]["tuned"]
        assert plain["settings"] == {
            "fused": None, "compile": False, "gradient_as_bucket_view": False, "static_graph": False,
            "attention": "sdpa", "pinned_input": False,
        }  # fmt: skip
        assert tuned["settings"] == plain["settings"] | {
            "fused": True, "compile": True, "gradient_as_bucket_view": True, "static_graph": True,
        }  # fmt: skip
        assert len(set(plain["losses"])) >= 5
        assert tuned["losses"] == pytest.approx(plain["losses"], rel=1e-5)
        assert tuned["exchange"] == plain["exchange"]
        assert plain["exchange"][1:] == [TENSORS, True]
        assert tuned["again"] == plain["again"] == [1] * TENSORS
        assert tuned["planted"] == plain["planted"] == [1.5, 1.5]


def test_graphs_that_overwrite_what_they_returned_leave_losses_and_exchange_as_they_are(sides: Sides) -> None:
    """As CUDA graphs do it: a gradient of an earlier microbatch that was not copied would be lost."""
    for rank in sides("ddp"):
        tuned, recorded = rank["presets"]["tuned"], rank["presets"]["recorded"]
        assert recorded["losses"] == pytest.approx(tuned["losses"], rel=1e-5)
        assert {**recorded, "losses": None} == {**tuned, "losses": None}


@pytest.mark.parametrize(
    ("what", "dtype"),
    [
        ("bfloat16", "bfloat16"),
        ("float16", "float16"),
        ("bfloat16 compiled", "bfloat16"),
        ("not bfloat16", "float32"),
        ("not bfloat16 compiled", "float32"),
        ("nearly bfloat16", "bfloat16,float32"),
    ],
)
def test_the_compute_precision_is_that_of_what_the_dense_layers_returned(sides: Sides, what: str, dtype: str) -> None:
    (rank,) = sides("bare")
    assert rank[what] == dtype


def test_norms_do_not_lose_digits_with_the_size_of_a_tensor(sides: Sides) -> None:
    """torch.nn.utils.clip_grad_norm_ is 1e-4 off here."""
    (rank,) = sides("bare")
    assert max(rank["clipped"]["errors"]) < 1e-6
    assert rank["clipped"]["untouched"] is True
    assert rank["clipped"]["norm"] == pytest.approx(0.5, rel=1e-6)


def test_what_cannot_be_had_is_refused_in_one_sentence(sides: Sides) -> None:
    (rank,) = sides("bare")
    assert rank["tf32"] == "tf32 is a precision of NVIDIA GPUs from compute capability 8.0 on, and cpu is none"
    assert rank["no compiler"] == "`compile` needs a C++ compiler on the CPU: neither CXX nor g++ can be run"


def test_a_batch_that_finds_no_memory_is_one_sentence_with_its_size(sides: Sides) -> None:
    (rank,) = sides("bare")
    assert rank["too large"] == "out of memory with 4 samples a step"


def test_every_step_passes_its_phases_in_order(sides: Sides) -> None:
    (rank,) = sides("bare")
    in_order = ["", "forward", "backward", "forward", "backward", "update"]
    assert rank["phases"] == {"full": in_order, "local": in_order}


def test_ddp_refuses_buckets_at_which_torch_compile_cannot_cut(sides: Sides) -> None:
    for rank in sides("ddp"):
        assert rank["small_buckets"] == "with `compile` bucket_cap_mb must be at least 1, not 0.5"


def test_horovod_refuses_bfloat16_on_the_wire(sides: Sides) -> None:
    for rank in sides("horovod"):
        assert rank["bfloat16"] == "torch_horovod exchanges float32 or float16, not bfloat16"

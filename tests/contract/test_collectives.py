"""Every collective operation alone, in every backend: what it must give at 1, 2 and 3 replicas, or why there is none."""

from __future__ import annotations

from typing import Any

import bounds
import numpy as np
import plans
import pytest

from backends import BACKENDS
from backends._collective import expected, given
from bench.records import CollectiveRequest

WRAPPERS = [name for name, row in BACKENDS.items() if row.framework != "none" and row.max_replicas != 1]
DTYPES = ("float32", "float16", "bfloat16")
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "broadcast")
HOROVOD = "Horovod cannot {} bfloat16, because its messages have no such type"
MIRRORED = "MirroredStrategy cannot {} {}, because a replica can all-reduce and all-gather, and nothing else"
NO_BFLOAT16 = {f"{each} bfloat16 auto": HOROVOD.format(each.replace("_", "-")) for each in COLLECTIVES}
# By backend: what it cannot do, and the sentence.
REFUSED: dict[str, dict[str, str]] = {
    "torch_ddp": {},
    "torch_horovod": NO_BFLOAT16,
    "tf_horovod": NO_BFLOAT16,
    "tf_mirrored": {
        "all_gather bfloat16 auto": "MirroredStrategy cannot all-gather bfloat16, because TensorFlow's gathering "
        "operation does not take that type",
        **{
            f"{each} {dtype} auto": MIRRORED.format(each.replace("_", "-"), dtype)
            for each in ("reduce_scatter", "broadcast")
            for dtype in DTYPES
        },
    },
}
GLOO_RING = ("torch_ddp", "torch_horovod", "tf_horovod")


def check(ranks: list[dict[str, Any]], backend: str) -> None:
    """All that is not refused is exact, twice over, on every rank, and was not so before it ran."""
    for rank in ranks:
        for name in (f"{collective} {dtype} auto" for collective in COLLECTIVES for dtype in DTYPES):
            seen = rank[name]
            if name in REFUSED[backend]:
                assert seen == {"refused": REFUSED[backend][name]}
            else:
                assert (seen["early"], seen["exact"], seen["elements"]) == (False, [True, True], [1, 2, 1009]), name
                assert seen["evidence"]


@pytest.mark.slow
def test_results_are_exact_in_every_dtype_and_what_is_missing_is_refused(seen: Any, cell: Any) -> None:
    ranks = seen.of("collectives")
    if BACKENDS[cell[0]].max_replicas == 1:
        (only,) = ranks
        assert {each["refused"].split(", because ")[1] for each in only.values()} == {"it has nobody to exchange with"}
    else:
        check(ranks, cell[0])


@pytest.mark.slow
@pytest.mark.parametrize("backend", WRAPPERS)
def test_three_replicas_exchange_exactly_without_a_build(launches: Any, launch_refusal: Any, backend: str) -> None:
    reason = launch_refusal(backend, "horovodrun")
    if reason is not None:
        pytest.skip(reason)
    launch = launches.get(backend, 3, None, plans.with_three(backend))
    check(launch.of("collectives"), backend)
    assert (launch.returncode, launch.left) == (0, [])


@pytest.mark.slow
def test_every_algorithm_of_ddp_gives_the_same_sums_and_the_same_bits_on_all_ranks(
    launches: Any, launch_refusal: Any, global_losses: Any
) -> None:
    """Three ranks plant 1e8, 1 and -1e8, of which float32 keeps the 1 only where it is added last: a ring adds each
    third of a bucket in another order, the others all of it in one.
    """
    reason = launch_refusal("torch_ddp", "horovodrun")
    if reason is not None:
        pytest.skip(reason)
    ranks = launches.get("torch_ddp", 3, None, plans.with_three("torch_ddp")).of("algorithms")
    left = {"auto": [0.0, 0.333], "ring": [0.0, 0.333], "tree": [0.0], "halving_doubling": [0.0]}
    assert [list(rank) for rank in ranks] == [list(left)] * 3
    losses = global_losses([rank["auto"]["trained"] for rank in ranks])
    for name, of_name in left.items():
        seen = [rank[name] for rank in ranks]
        assert {rank["facts"]["algorithm"] for rank in seen} == {"ring" if name == "auto" else name}
        assert {rank["facts"]["algorithm_evidence"].startswith("our ") for rank in seen} == {name != "auto"}
        assert all(max(rank["errors"].values()) < bounds.GRADIENTS for rank in seen)
        assert global_losses([rank["trained"] for rank in seen]) == pytest.approx(losses, rel=bounds.LOSS)
        assert len({rank["digests"][0] for rank in seen}) == 1
        assert [rank["left"] for rank in seen] == [pytest.approx(of_name, abs=1e-6)] * 3
        assert {(each["count"], each["dense"]) for each in seen[0]["exchanges"]} == {(1, True)}
        assert sum(each["elements"] for each in seen[0]["exchanges"]) == 4_433_468


@pytest.mark.slow
def test_the_gradients_of_the_step_are_exchanged_in_its_own_order_and_buckets(seen: Any, pair: Any) -> None:
    for rank, trained in zip(seen.of("collectives"), seen.of("adamw"), strict=True):
        for dtype in ("float32", "float16"):
            own = rank[f"own all_reduce {dtype} auto"]
            assert own["exact"] == [True, True]
            assert own["elements"] == (
                [262_332, 4_171_136] if pair[0] == "torch_ddp" else [each["elements"] for each in trained["exchanges"]]
            )
            assert sum(own["elements"]) == 4_433_468


@pytest.mark.slow
def test_the_algorithm_is_the_one_that_runs_or_is_refused(seen: Any, pair: Any) -> None:
    """What is not there is never replaced."""
    ours = ("ring", "tree", "halving_doubling") if pair[0] == "torch_ddp" else ()
    for rank in seen.of("collectives"):
        found = {name.split()[-1]: each for name, each in rank.items() if name.startswith("all_reduce float32")}
        assert found.pop("auto")["algorithm"] == "ring"
        for name, each in found.items():
            if name in ours:
                assert (each["algorithm"], each["exact"]) == (name, [True, True])
                assert each["evidence"].startswith("our ")
            elif name == "ring" and pair[0] in GLOO_RING:
                assert each["algorithm"] == "ring"
            else:
                assert f" by {name}, because " in each["refused"]


@pytest.mark.parametrize("ranks", [1, 2, 3, 7, 8, 36, 37, 100])
def test_what_ranks_give_adds_up_to_what_is_expected_and_is_exact_in_bfloat16(ranks: int) -> None:
    request = CollectiveRequest(collective="reduce_scatter")
    whole = np.array([given(request, 11, rank, ranks) for rank in range(ranks)])
    assert whole.shape == (ranks, 11 * ranks)
    assert 1 <= whole.sum(axis=0).min() <= whole.sum(axis=0).max() <= 256
    parts = [expected(request, 11, rank, ranks) for rank in range(ranks)]
    assert np.array_equal(np.concatenate(parts), whole.sum(axis=0))
    for collective in ("all_reduce", "all_gather", "broadcast"):
        request = CollectiveRequest(collective=collective)
        gifts = [given(request, 11, rank, ranks) for rank in range(ranks)]
        wanted = {"all_reduce": sum(gifts), "all_gather": np.concatenate(gifts), "broadcast": gifts[0]}[collective]
        assert all(np.array_equal(expected(request, 11, rank, ranks), wanted) for rank in range(ranks))
        assert ranks == 1 or not np.array_equal(gifts[0], gifts[1])

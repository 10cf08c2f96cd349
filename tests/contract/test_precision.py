"""16 bits, on the wire and in the products: what is claimed is what happens, and it costs no more than it must."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import bounds
import numpy as np
import plans
import pytest
from arithmetic import scales_of

from backends import BACKENDS

pytestmark = pytest.mark.slow

ELEMENTS = 4_433_468


def curve(global_losses: Any, ranks: list[dict[str, Any]], *parts: str) -> list[float]:
    return [loss for part in parts for loss in global_losses([rank[part] for rank in ranks])]


def check_planted(planted: dict[str, Any], wire: str) -> None:
    """0.1 and 0.2 on two replicas. No mean of numbers in 16 bits is within 1e-5 of 0.15; all are within 2 u."""
    deviations = [abs(planted[end] / 0.15 - 1) for end in ("least", "greatest")]
    allowed = {"float32": (0.0, 1.3e-7), "float16": (1e-5, 1e-3), "bfloat16": (1e-5, 8e-3)}[wire]
    assert allowed[0] <= min(deviations) <= max(deviations) <= allowed[1]


# ---- the wire ----------------------------------------------------------------------------------------------------


def test_float16_on_the_wire_is_what_is_exchanged(seen: Any, wired: Any) -> None:
    for rank in seen.of("wire"):
        facts = rank["facts"]
        assert (facts["compute_dtype"], facts["wire_dtype"]) == ("float32", "float16")
        assert (facts["exchange_elements"], facts["exchange_bytes"]) == (ELEMENTS, 2 * ELEMENTS)
        assert {(each["dtype"], each["count"], each["dense"]) for each in rank["exchanges"]} == {("float16", 1, True)}
        assert sum(each["bytes"] for each in rank["exchanges"]) == 2 * ELEMENTS
        check_planted(rank["planted"], "float16")
        assert rank["planted"]["dtypes"] == ["float32"]


def test_float16_on_the_wire_halves_the_bytes_that_cross(seen: Any, wired: Any) -> None:
    ranks = seen.of("wire")
    if not seen.private_network:
        pytest.skip("a private network namespace is not allowed here, and other traffic would be counted")
    expected = 2 * 2 * ELEMENTS if len(ranks) == 2 else 0  # the replicas of one process use no network
    for rank in ranks:
        assert rank["rest"]["received_bytes"] / 3 == pytest.approx(expected, rel=0.02, abs=1e5)


def test_gradients_that_crossed_in_float16_are_those_made_by_hand(seen: Any, wired: Any) -> None:
    """Rounded before, in and after the sum; and what is below 6e-8 is lost."""
    for rank in seen.of("wire"):
        if rank["gradient_errors"] is None:
            pytest.skip("PyTorch is not installed: no gradients made by hand")
        assert len(rank["gradient_errors"]) == 46
        assert 1e-5 < max(rank["gradient_errors"].values()) < bounds.FLOAT16_WIRE_GRADIENT


@pytest.mark.parametrize("scenario", ["wire", "bfloat16"])
def test_all_replicas_keep_the_same_bits(seen: Any, wired: Any, scenario: str) -> None:
    digests = [digest for rank in seen.of(scenario) for digest in rank["digests"]]
    assert len(digests) == 2
    assert len(set(digests)) == 1


# ---- bfloat16 ----------------------------------------------------------------------------------------------------


def test_bfloat16_is_what_the_products_and_the_wire_have(seen: Any, halved: Any) -> None:
    wire = "bfloat16" if "bfloat16" in BACKENDS[halved[0]].wire else "float32"
    for rank in seen.of("bfloat16"):
        facts = rank["facts"]
        assert facts["compute_dtype"] == "bfloat16"
        assert rank["weight_dtypes"] == ["float32"]
        assert facts.get("loss_scale") is facts.get("skipped_steps") is None
        if halved[1] == 2:
            assert facts["wire_dtype"] == wire
            assert {each["dtype"] for each in rank["exchanges"]} == {wire}
            check_planted(rank["planted"], wire)


def test_bfloat16_loses_no_more_than_its_bound(seen: Any, halved: Any, global_losses: Any) -> None:
    """Against the same steps in float32. The losses of the last of them differ, else float32 was run."""
    low = curve(global_losses, seen.of("bfloat16"), "first", "rest")
    exact = curve(global_losses, seen.of("adamw"), "first", "second", "rest")
    differences = np.abs(np.array(low) / np.array(exact) - 1)
    assert 1e-6 < max(differences) < bounds.BFLOAT16_LOSS, differences


# ---- float16 -----------------------------------------------------------------------------------------------------


def test_float16_is_what_the_products_have(seen: Any, scaled: Any) -> None:
    for rank in seen.of("float16"):
        assert rank["facts"]["compute_dtype"] == "float16"


def test_a_step_that_overflows_is_left_out_and_halves_the_scale(seen: Any, scaled: Any) -> None:
    """All scales follow from which steps were left out, as those of torch.amp.GradScaler do."""
    wanted = plans.SCENARIOS["float16"].loss_scale
    for rank in seen.of("float16"):
        history = rank["history"]
        counted = [0, *[step["skipped_steps"] for step in history]]
        skipped = [after > before for before, after in pairwise(counted)]
        assert skipped[0] is True
        assert not all(skipped)
        assert [step["scale"] for step in history] == scales_of(wanted, skipped)[:-1]
        # growing brings it back to an overflow, so that a later step is left out as well
        assert sum(skipped) > skipped.index(False)
        assert set(np.diff(counted)) == {0, 1}


def test_the_weights_stay_when_a_step_is_left_out_and_only_then(seen: Any, scaled: Any) -> None:
    for rank in seen.of("float16"):
        history = rank["history"]
        for before, after in pairwise(history):
            left_out = after["skipped_steps"] > before["skipped_steps"]
            assert (after["digests"] == before["digests"]) is left_out


def test_all_ranks_leave_out_the_same_steps(seen: Any, scaled: Any) -> None:
    ranks = seen.of("float16")
    for steps in zip(*[rank["history"] for rank in ranks], strict=True):
        assert len({(step["scale"], step["skipped_steps"]) for step in steps}) == 1
        assert len({digest for step in steps for digest in step["digests"]}) == 1


def test_a_gradient_that_overflows_on_one_replica_leaves_the_update_out_on_all(seen: Any, scaled: Any) -> None:
    """The last replica's loss was 1e30 times too large in a step that is else not left out."""
    for rank in seen.of("float16"):
        moments = rank["one_overflows"]
        before, good, overflow, following = (moments[name] for name in ("before", "good", "overflow", "next"))
        assert good["skipped_steps"] == before["skipped_steps"]
        assert (overflow["scale"], overflow["skipped_steps"]) == (good["scale"], before["skipped_steps"] + 1)
        assert overflow["digests"] == before["digests"] != good["digests"]
        assert (following["scale"], following["skipped_steps"]) == (good["scale"] / 2, overflow["skipped_steps"])


def test_the_first_update_is_the_optimizers_first_step_with_unscaled_gradients(seen: Any, scaled: Any) -> None:
    """However many were left out before it."""
    for rank in seen.of("float16"):
        assert rank["first_update"]["error"][0] < bounds.UPDATE["adamw"], rank["first_update"]["error"]
        errors = rank["first_update"]["gradient_errors"]
        if errors is not None:
            assert 1e-5 < max(errors.values()) < bounds.FLOAT16_GRADIENT, errors


def test_the_losses_are_told_without_the_scale(seen: Any, scaled: Any, global_losses: Any) -> None:
    ranks = seen.of("float16")
    first = global_losses([rank["history"][0]["trained"] for rank in ranks])
    exact = global_losses([rank["first"] for rank in seen.of("adamw")])
    assert abs(first[0] / exact[0] - 1) < bounds.FLOAT16_LOSS


def test_the_loss_falls_in_float16(seen: Any, scaled: Any, global_losses: Any) -> None:
    ranks = seen.of("float16")
    losses = [
        global_losses([rank["history"][step]["trained"] for rank in ranks])[0]
        for step in (0, len(ranks[0]["history"]) - 1)
    ]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[1] < losses[0] - 0.05


def test_a_restore_brings_back_the_loss_scale(seen: Any, scaled: Any) -> None:
    for rank in seen.of("float16"):
        straight, again = rank["straight"], rank["again"]
        assert [step["scale"] for step in again] == [step["scale"] for step in straight]
        assert [step["digests"] for step in again] == [step["digests"] for step in straight]
        assert [step["trained"]["numerators"] for step in again] == [step["trained"]["numerators"] for step in straight]


# ---- compiled ----------------------------------------------------------------------------------------------------


def test_a_compiled_step_has_the_same_losses(seen: Any, compiled_cell: Any, global_losses: Any) -> None:
    ranks, exchanged = seen.of("compiled"), 46 if compiled_cell[1] == 2 else 0
    losses = curve(global_losses, ranks, "first")
    assert losses == pytest.approx(
        curve(global_losses, seen.of("adamw"), "first", "second", "rest")[:3], rel=bounds.LOSS
    )
    for rank in ranks:
        assert rank["facts"]["settings"]["compile"] is True
        assert rank["facts"]["compute_dtype"] == "float32"
        assert [(each["count"], each["dense"]) for each in rank["exchanges"]] == [(1, True)] * exchanged
    assert len({digest for rank in ranks for digest in rank["digests"]}) == 1

"""Equal work before speed: on the same global batches every backend has the same losses, step by step.

The first steps of BERT-tiny in the launches of tests/contract: on one replica and on two, bare and wrapped.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import bounds
import numpy as np
import pytest

pytestmark = pytest.mark.slow

WITHOUT_DROPOUT = ("adamw", "classification", "ner")


def largest_spread(curves: dict[str, list[float]]) -> float:
    """Over all steps, the largest relative difference of any two curves."""
    steps = np.array(list(curves.values()))
    return float(np.max((steps.max(axis=0) - steps.min(axis=0)) / steps.min(axis=0)))


@pytest.mark.parametrize("scenario", WITHOUT_DROPOUT)
def test_any_two_backends_have_the_same_losses_on_one_replica_and_on_two(curves: Any, scenario: str) -> None:
    found = curves(scenario, "first", "second", "rest")
    assert len(found) >= 6
    assert {len(curve) for curve in found.values()} == {8}
    assert largest_spread(found) < bounds.LOSS, found


def test_any_two_backends_learn_alike_in_bfloat16(curves: Any) -> None:
    found = curves("bfloat16", "first", "rest")
    assert largest_spread(found) < bounds.BFLOAT16_LOSS, found


def test_any_two_backends_learn_alike_in_float16(launches: Any, cells_of: Any, global_losses: Any) -> None:
    """The loss on one batch after each update; which steps were left out before it may differ by a rounding."""
    curves = {}
    for cell in cells_of("float16"):
        histories = [rank["history"] for rank in launches.get(*cell).of("float16")]
        losses: dict[int, float] = {}
        for step, of_ranks in enumerate(zip(*histories, strict=True)):
            updates = step - (histories[0][step - 1]["skipped_steps"] if step else 0)
            losses.setdefault(updates, global_losses([each["trained"] for each in of_ranks])[0])
        curves[f"{cell[0]}-{cell[1]}"] = [losses[updates] for updates in range(5)]
    assert len(curves) == 4
    assert largest_spread(curves) < bounds.FLOAT16_LOSS, curves


@pytest.mark.parametrize("scenario", WITHOUT_DROPOUT)
def test_the_losses_change_from_step_to_step(curves: Any, scenario: str) -> None:
    """Else equality would show nothing."""
    for curve in curves(scenario, "first", "second", "rest").values():
        assert all(abs(after - before) > 1e-4 for before, after in pairwise(curve))

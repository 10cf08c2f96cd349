"""Equal work before speed: on the same global batches every backend has the same losses, step by step.

20 float32 steps of AdamW without dropout, 8 samples in all, on real text and real named entities where this checkout
has them beside it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from backends import BACKENDS

pytestmark = pytest.mark.slow

WITH_FRAMEWORK = [name for name, row in BACKENDS.items() if row.framework != "none"]
WRAPPED = [name for name in WITH_FRAMEWORK if BACKENDS[name].max_replicas is None]


def largest_spread(curves: list[list[float]]) -> float:
    """Over all steps, the largest relative difference of any two curves."""
    steps = np.array(curves)
    return float(np.max((steps.max(axis=0) - steps.min(axis=0)) / steps.min(axis=0)))


def test_any_two_backends_have_the_same_losses(losses: Any, replicas: int, scenario: str) -> None:
    names = [name for name in WITH_FRAMEWORK if replicas == 1 or name in WRAPPED]
    curves = {name: losses(name, replicas, scenario) for name in names}
    assert {len(curve) for curve in curves.values()} == {20}
    assert largest_spread(list(curves.values())) < 1e-5, curves


@pytest.mark.parametrize("backend", WRAPPED)
def test_one_replica_and_two_have_the_same_losses(losses: Any, backend: str, scenario: str) -> None:
    one, two = (losses(backend, replicas, scenario) for replicas in (1, 2))
    assert largest_spread([one, two]) < 1e-4


def test_the_losses_change_from_step_to_step(losses: Any, scenario: str) -> None:
    """Else equality would show nothing."""
    curve = losses(WITH_FRAMEWORK[0], 1, scenario)
    assert all(abs(after - before) > 1e-4 for before, after in pairwise(curve))

"""50 steps of AdamW in float32 on two replicas: the same losses at each, the same updates of each tensor.

BERT-mini on real text and real named entities where this checkout has them beside it; BERT-tiny with fewer words on the
sentences to classify that come with the project.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import bounds
import numpy as np
import plans
import pytest

pytestmark = pytest.mark.slow

STEPS = 50


@pytest.mark.parametrize("scenario", plans.FIFTY)
def test_any_two_backends_have_the_same_losses_over_fifty_steps(fifty: Any, global_losses: Any, scenario: str) -> None:
    curves = {
        backend: global_losses([rank["trained"] for rank in ranks]) for backend, (ranks, _) in fifty(scenario).items()
    }
    assert len(curves) == 4
    assert {len(curve) for curve in curves.values()} == {STEPS}
    steps = np.array(list(curves.values()))
    assert np.max(steps.max(axis=0) / steps.min(axis=0) - 1) < bounds.LOSS, curves
    for curve in curves.values():
        assert sum(abs(after - before) > 1e-4 for before, after in pairwise(curve)) > 40


@pytest.mark.parametrize("scenario", plans.FIFTY)
def test_any_two_backends_have_updated_each_tensor_alike(fifty: Any, scenario: str) -> None:
    """Weights after 50 steps minus the initial ones: norm of the difference over the norm."""
    files = {backend: np.load(path) for backend, (_, path) in fifty(scenario).items()}
    reference, *others = files.values()
    names = [name for name in reference if not name.endswith("attention.self.key.bias")]
    assert len(names) >= 39
    for other in others:
        assert sorted(other) == sorted(reference)
        errors = {
            name: float(np.linalg.norm(other[name] - reference[name]) / np.linalg.norm(reference[name]))
            for name in names
        }
        worst = max(errors, key=lambda name: errors[name])
        assert errors[worst] < bounds.UPDATES_OVER_50_STEPS, (worst, errors[worst])


@pytest.mark.parametrize("scenario", plans.FIFTY)
def test_all_replicas_keep_the_same_bits_over_fifty_steps(fifty: Any, scenario: str) -> None:
    for ranks, _ in fifty(scenario).values():
        digests = [digest for rank in ranks for digest in rank["digests"]]
        assert len(digests) == 2
        assert len(set(digests)) == 1

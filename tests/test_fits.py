"""The fitted curves' least squares against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from bench.stats.scaling import _fit


@pytest.mark.parametrize("parts", [2, 3])
def test_no_choice_of_parts_fits_better_than_the_one_taken(parts: int) -> None:
    random = np.random.default_rng(parts)
    zeros = 0
    for _ in range(300):
        design = random.normal(size=(random.integers(parts, 7), parts))
        times = random.uniform(0.5, 20, len(design))
        found = _fit(list(design.T), times.tolist())
        expected, _ = optimize.nnls(design / times[:, None], np.ones(len(design)))
        assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)
        zeros += sum(value == 0 for value in found)
    assert zeros > 100  # the bound was at work

"""Every backend learns the same: entities of real text, found in sentences that none of them trained on.

Where this checkout has no such text beside it, in the sentences that come with the project. How `paceline run` does it,
until a target is reached: tests/quality/test_learning.py.
"""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_ner_has_the_same_score_in_every_backend(launches: Any, cells_of: Any) -> None:
    found = {backend: launches.get(backend, replicas).of("learning")[0] for backend, replicas in cells_of("learning")}
    assert len(found) == 4
    scores, losses = [[rank[name] for rank in found.values()] for name in ("f1", "loss")]
    assert min(scores) > 0, found
    assert max(scores) - min(scores) <= 0.005, found
    assert max(losses) - min(losses) < 1e-3, found

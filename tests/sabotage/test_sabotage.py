"""Each way to be faster by doing other work, done to a real backend in real processes, is caught by name."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

TENSOR = "bert.encoder.layer.1.attention.self.query.weight"


def test_no_exchange_is_caught(failures: Any) -> None:
    found = failures("no exchange")
    assert "rank 0, replica 0: bert." in found["average"]
    assert "came back from the exchange as 1, expected 1.5" in found["average"]
    assert found["exchange"] == "torch_ddp: rank 0: exchanged nothing"

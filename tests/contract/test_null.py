"""The backend without a framework keeps to the same calls and shapes."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("replicas", [1, 2])
def test_null_answers_every_call_with_the_shapes_of_the_protocol(launches: Any, replicas: int) -> None:
    launch = launches.get("null", replicas)
    ranks = launch.of("protocol_only")
    assert len(ranks) == replicas
    for rank in ranks:
        assert rank["trained"]["heads"] == ["mlm", "nsp"]
        assert rank["trained"]["numerators"] == [[[0.0, 0.0]], [[0.0, 0.0]]]  # (step, local replica, head)
        assert len(rank["local"]["weights"]) == 1
        assert rank["facts"]["algorithm"] == "none"
        assert rank["exchanges"] == []
        assert (rank["planted"]["least"], rank["planted"]["greatest"]) == {1: (1.0, 1.0), 2: (1.5, 1.5)}[replicas]
        assert {each["name"] for each in rank["settings"]} == {"null.weight"}
        assert rank["evaluated"] is None or rank["evaluated"]["classes"]["nsp"] == [0] * 8
    assert len({digest for rank in ranks for digest in rank["digests"]}) == 1
    assert [rank["frameworks"] for rank in launch.ranks] == [[]] * replicas
    assert launch.left == []

"""Our own all-reduces, over real ranks and Gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench import catalog

ROOT = Path(__file__).resolve().parents[2]
SIZES = (1, 2, 3, 5, 8)
GROUPS = {"sums": SIZES, "hook": (1, 2, 3), "order": (4,)}
TIMEOUT_S = 200.0

pytestmark = pytest.mark.skipif(
    catalog.why_not_installed("torch_bare") is not None, reason=f"no framework: {catalog.why_not_installed('torch_bare')}"
)  # fmt: skip


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, list[Any]]]:
    """By scenario and size of the group, what each rank of it saw."""
    folder = tmp_path_factory.mktemp("groups")
    groups = [f"{scenario}-{size}" for scenario, sizes in GROUPS.items() for size in sizes]
    argv = [sys.executable, "-P", str(Path(__file__).parent / "ranks.py"), str(folder), *groups]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, said = started.communicate(timeout=TIMEOUT_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)  # ranks that wait for each other outlive the one that forked them
    assert started.returncode == 0, said[-4000:]
    return {
        scenario: {
            size: [json.loads((folder / f"{scenario}-{size}-{rank}.json").read_text()) for rank in range(size)]
            for size in sizes
        }
        for scenario, sizes in GROUPS.items()
    }


@pytest.fixture
def sums(seen: Any) -> dict[int, list[Any]]:
    return seen["sums"]  # type: ignore[no-any-return]


@pytest.fixture
def hook(seen: Any) -> dict[int, list[Any]]:
    return seen["hook"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("size", SIZES)
def test_small_integers_are_summed_exactly_at_any_length_and_dtype(sums: dict[int, list[Any]], size: int) -> None:
    assert len(sums[size][0]) == 3 * 8 * 3
    assert [name for rank in sums[size] for name, exact, _ in rank if not exact] == []


@pytest.mark.parametrize("size", SIZES)
def test_all_ranks_end_with_the_same_bits(sums: dict[int, list[Any]], size: int) -> None:
    first, *others = sums[size]
    assert all(other == first for other in others)


def test_the_order_of_the_additions_and_the_messages_are_as_documented(seen: Any) -> None:
    # 1e8 + 1 is 1e8 in float32: what is left of 1e8, 1, -1e8, 1 tells who was added to whom.
    ranks = seen["order"][4]
    assert [rank["ring"] for rank in ranks] == [[[1.0, 0.0, 1.0, 0.0], 6, 24]] * 4
    assert [rank["tree"] for rank in ranks] == [
        [[0.0] * 4, 2, 32], [[0.0] * 4, 1, 16], [[0.0] * 4, 2, 32], [[0.0] * 4, 1, 16],
    ]  # fmt: skip
    assert [rank["halving_doubling"] for rank in ranks] == [[[0.0] * 4, 4, 24]] * 4


@pytest.mark.parametrize(
    ("algorithm", "wire", "tolerance"),
    [
        ("ring", "float32", 1e-6),
        ("tree", "float32", 1e-6),
        ("halving_doubling", "float32", 1e-6),
        ("ring", "float16", 2e-3),
        ("ring", "bfloat16", 2e-2),
    ],
)
@pytest.mark.parametrize(("size", "mean"), [(1, 1.0), (2, 1.5), (3, 2.0)])
def test_the_hook_averages_every_bucket_of_every_step(
    hook: dict[int, list[Any]], size: int, mean: float, algorithm: str, wire: str, tolerance: float
) -> None:
    expected = [[[(number + 1 + step) * mean] * 2 for number in range(6)] for step in range(3)]
    for rank in hook[size]:
        seen = rank[f"{algorithm} torch.{wire}"]
        assert all(
            given == pytest.approx(wanted, rel=tolerance)
            for step_given, step_wanted in zip(seen, expected, strict=True)
            for given, wanted in zip(step_given, step_wanted, strict=True)
        )


def test_the_hook_returns_before_the_other_ranks_have_come(hook: dict[int, list[Any]]) -> None:
    assert hook[2][0]["early"] is False
    assert [rank["late"] for rank in hook[2]] == [[1.5] * 5] * 2


def test_the_evidence_counts_what_was_sent(hook: dict[int, list[Any]]) -> None:
    assert hook[2][0]["evidence"] == (
        "our pipelined ring over point-to-point sends of Gloo: this rank has sent 2 messages, 20 bytes, "
        "in 1 all-reduces"
    )


def test_the_thread_of_the_hook_does_not_change_the_threads_of_the_training(hook: dict[int, list[Any]]) -> None:
    assert [rank["threads"] for rank in hook[2]] == [[2, 2], [2, 2]]

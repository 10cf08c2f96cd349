"""Step times, ranks and resources: their numbers by hand, and the same in the page."""

from __future__ import annotations

import doctest
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

import reports
from bench.records import Timing, Window
from bench.stats import Readiness
from reports import distribution_chart, ranks, windows
from reports.distribution_chart import thin
from reports.ladder import lateness
from tests.reports.build import Launch, launch_at, trial_result, window, write_run
from tests.reports.synthetic import Shape, large


def document(folder: Path) -> dict[str, Any]:
    return dict(json.loads(reports.render(folder, "json")))


def launch(step_ms: Sequence[float], warmup: int = 1, **changed: Any) -> Launch:
    """Two ranks, the second half as long in every window; windows of 5 steps."""
    of_ranks = [
        [window(at, 5 * ms * factor, 10, warmup=at < warmup) for at, ms in enumerate(step_ms)] for factor in (1.0, 0.5)
    ]
    return Launch(of_ranks, **changed)


# ---- step times -----------------------------------------------------------------------------------------------------


def test_quantiles_are_of_the_windows_that_count_of_each_launch_and_of_all_of_them(tmp_path: Path) -> None:
    made = [launch([900, 10, 20, 30, 40, 50]), launch([900, 900, 60, 70, 80, 90], warmup=2)]
    whole, first, second = document(write_run(tmp_path, [trial_result("torch_ddp", 2, made)]))["distributions"]
    names = (
        "launch",
        "windows",
        "warmup_windows",
        "outliers",
        "step_ms_min",
        "step_ms_p50",
        "step_ms_p95",
        "step_ms_max",
    )
    assert [first[name] for name in names] == [0, 5, 1, 0, 10, 30, None, 50]
    assert [second[name] for name in names] == [1, 4, 2, 0, 60, 75, None, 90]
    assert [whole[name] for name in names] == [None, 9, 3, 0, 10, 50, None, 90]
    assert {line["step_ms_p99"] for line in (whole, first, second)} == {None}


def test_the_numbers_of_all_launches_are_those_of_the_summary(tmp_path: Path) -> None:
    steady = [*[10.0 + at % 7 for at in range(99)], 80.0]
    found = document(write_run(tmp_path, [trial_result("torch_ddp", 2, [launch([50, *steady]), launch([50, 9, 11])])]))
    (row,), whole = found["rows"], found["distributions"][0]
    for own, of_row in (("p50", "median"), ("p95", "p95"), ("p99", "p99")):
        assert whole[f"step_ms_{own}"] == row[f"step_ms_{of_row}"]
    assert (whole["windows"], whole["outliers"]) == (row["windows"], row["outliers"]) == (102, 1)
    assert [line["step_ms_p99"] is None for line in found["distributions"]] == [False, False, True]


def test_thinning_keeps_the_least_and_the_greatest_wherever_they_are() -> None:
    values = np.random.default_rng(5).random(2000)
    for at, value in ((0, 9.0), (777, 8.0), (1999, -1.0)):
        values[at] = value
    kept = thin(values, 400)
    assert {0, 777, 1999} <= set(kept.tolist())
    assert 300 < len(kept) <= 400


def test_the_examples_in_the_docstrings_hold() -> None:
    for module in (distribution_chart, windows):
        found = doctest.testmod(module, extraglobs={"np": np})
        assert (found.attempted > 0, found.failed) == (True, 0)


# ---- ranks ----------------------------------------------------------------------------------------------------------


def many(ranks: int, late: dict[int, float]) -> Launch:
    """Eight windows of 20 ms a step, those of the ranks in `late` longer by a factor; four ranks a host."""
    of_ranks = [
        [window(0, 500, 1, warmup=True)]
        + [window(at, 100 * late.get(rank, 1.0) + rank * 1e-3, 1) for at in range(1, 9)]
        for rank in range(ranks)
    ]
    return Launch(of_ranks, hosts=[f"node-{rank // 4}" for rank in range(ranks)])


def test_few_ranks_are_told_one_by_one(tmp_path: Path) -> None:
    lines = document(write_run(tmp_path, [trial_result("torch_ddp", 3, [many(3, {1: 1.3})])]))["ranks"]
    assert [(line["first_rank"], line["last_rank"], line["hosts"]) for line in lines] == [
        (rank, rank, "node-0") for rank in range(3)
    ]
    assert [line["ms_median"] for line in lines] == [20.0, 26.0002, 20.0004]
    assert [(line["late_share_max"], line["chronic_ranks"], line["measured"]) for line in lines] == [
        (0, 0, "window"), (1, 1, "window"), (0, 0, "window"),
    ]  # fmt: skip


def test_of_many_ranks_groups_are_told_and_the_late_ones_by_rank_and_host(tmp_path: Path) -> None:
    write_run(tmp_path, [trial_result("torch_ddp", 200, [many(200, {7: 1.2, 131: 1.5})])])
    lines = document(tmp_path)["ranks"]
    groups, named = lines[:50], lines[50:]
    assert [(line["first_rank"], line["last_rank"]) for line in groups[:2]] == [(0, 3), (4, 7)]
    assert (groups[1]["ms_min"], groups[1]["ms_max"], groups[1]["chronic_ranks"]) == (20.0008, 24.0014, 1)
    assert (groups[-1]["last_rank"], groups[-1]["hosts"]) == (199, "node-49")
    assert [(line["first_rank"], line["hosts"], line["ms_median"]) for line in named] == [
        (131, "node-32", 30.0262), (7, "node-1", 24.0014),
    ]  # fmt: skip
    page = " ".join(str(reports.render(tmp_path, "html")).split())
    assert "rank 131 on node-32 is chronically late: 10 ms a step longer than the others, late in 100% of" in page
    assert (
        "Each bar is 4 ranks, from the least to the greatest, the dot their median; medians over 8 windows (n)" in page
    )


def test_of_hundreds_of_late_ranks_the_latest_are_named_and_the_others_counted() -> None:
    late = tuple(range(100))
    told = lateness(
        Readiness(
            ready_ms=(20.0,) * 200, skew_ms=3.0, late_share=(1.0,) * 200, windows=8, chronic=late, transient=0.0,
            late_ms=tuple(float(rank) for rank in range(200)),
        ),
        ["box"] * 200,
    )  # fmt: skip
    assert told.startswith("rank 99 on box is chronically late: 99 ms a step longer than the others")
    assert told.count(" on box") == 8
    assert "; and so are 92 more of 200 ranks; between" in told


def test_a_rank_that_is_now_and_then_late_like_all_others_is_not_marked(tmp_path: Path) -> None:
    strip = ranks.Strip(
        row=None,  # type: ignore[arg-type]
        measured="ready",
        readiness=Readiness(
            ready_ms=(20.0,) * 5, skew_ms=3.0, late_share=(0.15, 0.2, 0.15, 0.1, 0.4), windows=20, chronic=(), transient=1,
            late_ms=(0.0,) * 5,
        ),
        hosts=("box",) * 5,
    )  # fmt: skip
    assert strip.late == [4]


def test_a_rank_that_was_on_two_hosts_names_both(tmp_path: Path) -> None:
    moved = many(2, {})
    moved.hosts = ["node-0", "node-9"]
    lines = document(write_run(tmp_path, [trial_result("torch_ddp", 2, [many(2, {}), moved])]))["ranks"]
    assert [line["hosts"] for line in lines] == ["node-0", "node-0, node-9"]


# ---- resources ------------------------------------------------------------------------------------------------------


def using(at: int, rank: int, **changed: Any) -> Window:
    """A second of 5 steps: rank 0 on half a core, rank 1 on one; memory grows by the window."""
    return window(
        at, 1000, 10, warmup=at == 0, cpu_ns=500_000_000 * (1 + rank), rss_bytes=1_000_000 * (100 + at + 10 * rank),
        sent_bytes=5000 * (1 + rank), received_bytes=0, **changed,
    )  # fmt: skip


def test_resources_are_of_the_rank_with_most_and_of_the_median_rank_part_by_part(tmp_path: Path) -> None:
    of_ranks = [[using(at, rank) for at in range(5)] for rank in range(2)]
    lines = document(write_run(tmp_path, [trial_result("torch_ddp", 2, [Launch(of_ranks)])]))["resources"]
    assert [(line["kind"], line["first_window"], line["last_window"]) for line in lines] == [
        ("warm-up", 0, 0), *(("measured", at, at) for at in range(1, 5)),
    ]  # fmt: skip
    last = lines[-1]
    assert (last["cpu_cores_max"], last["cpu_cores_median"]) == (1.0, 0.75)
    assert (last["rss_bytes_max"], last["rss_bytes_median"]) == (114_000_000, 109_000_000)
    assert (last["sent_bytes_per_step_max"], last["received_bytes_per_step_max"]) == (2000, 0)


def test_many_launches_share_the_lines_and_no_peak_is_lost(tmp_path: Path) -> None:
    peak = [[using(at, 0) for at in range(9)]]
    peak[0][5] = structs.replace(peak[0][5], rss_bytes=9 * 10**9)
    made = [Launch([[using(at, 0) for at in range(9)]]) for _ in range(119)] + [Launch(peak)]
    lines = document(write_run(tmp_path, [trial_result("torch_bare", 1, made)]))["resources"]
    own = [line for line in lines if line["launch"] == 119]
    assert [(line["first_window"], line["last_window"]) for line in own] == [(0, 0), (1, 4), (5, 8)]
    assert own[-1]["rss_bytes_max"] == 9 * 10**9
    assert own[-1]["rss_bytes_median"] == 107_500_000  # of 106, 107, 108 million and the peak
    assert len(lines) == 360


def test_what_is_unknown_on_one_rank_is_unknown_and_the_page_says_so(tmp_path: Path) -> None:
    of_ranks = [[using(1, 0)], [structs.replace(using(1, 1), rss_bytes=None)]]
    write_run(tmp_path, [trial_result("torch_ddp", 2, [Launch(of_ranks)])])
    (line,) = document(tmp_path)["resources"]
    assert (line["rss_bytes_max"], line["rss_bytes_median"], line["cpu_cores_max"]) == (None, None, 1.0)
    assert (
        "memory (RSS), one rank: unknown; sent per step, one rank: 1.50 kB of the median rank, at most 2.00 kB."
        in str(reports.render(tmp_path, "html"))
    )


def test_local_windows_are_in_neither_and_their_ready_times_are_the_ranks(tmp_path: Path) -> None:
    timing = {"timing": Timing(windows=8, local_windows=True)}
    of_ranks = [
        [using(0, rank)]
        + [one for at in range(1, 9) for one in (using(at, rank), window(at, ms, 10, exchange=False, rss_bytes=10**12))]
        for rank, ms in enumerate((50.0, 60.0))
    ]
    found = document(write_run(tmp_path, [trial_result("torch_ddp", 2, [Launch(of_ranks)], trial=timing)]))
    assert [line["ms_median"] for line in found["ranks"]] == [10, 12]
    assert found["ranks"][0]["measured"] == "ready"
    assert max(line["rss_bytes_max"] for line in found["resources"]) < 10**9
    assert (found["distributions"][0]["windows"], found["distributions"][0]["step_ms_max"]) == (8, 200)


# ---- thousands of ranks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True])
def test_of_512_ranks_the_page_is_small_and_names_the_slow_one(tmp_path: Path, local: bool) -> None:
    folder = large(tmp_path, Shape(512, 200 // (1 + local), slow=77, local=local))
    page = str(reports.render(folder, "html"))
    assert len(page.encode()) < 600_000
    assert "rank 77 on node-9 is chronically late" in page
    assert 'data-tell="rank 77 on node-9: ' in page
    assert "device 0 | device 1 | " in page
    assert "device 15 | and 496 more" in page
    lines = [line for line in document(folder)["ranks"] if line["first_rank"] == line["last_rank"] == 77]
    assert [(line["hosts"], line["chronic_ranks"], line["measured"]) for line in lines] == [
        ("node-9", 1, "ready" if local else "window")
    ]


# ---- the page -------------------------------------------------------------------------------------------------------


def test_the_page_has_the_three_sections_where_a_trial_shows_a_speed_and_none_else(tmp_path: Path) -> None:
    page = str(reports.render(write_run(tmp_path / "some", [trial_result("torch_ddp", 2, [launch_at(100)])]), "html"))
    for name in ("distributions", "ranks", "resources"):
        assert f'<h2 id="{name}">' in page
        assert f'data-figure="{name.removesuffix("s") if name == "distributions" else name}-0"' in page
    assert "in the order of measuring. Per step: median 200 ms; no outlier in 2 windows." in page
    failed = trial_result("torch_ddp", 2, status="failed", reason="rank 1 hangs")
    page = str(reports.render(write_run(tmp_path / "none", [failed]), "html"))
    for name in ("distributions", "ranks", "resources"):
        assert f'<h2 id="{name}">' not in page


@pytest.mark.parametrize("windows", [1, 2])
def test_one_window_or_equal_ones_can_be_drawn(tmp_path: Path, windows: int) -> None:
    one = trial_result("torch_bare", 1, [launch_at(100, ranks=1, windows=windows)])
    assert "<svg" in str(reports.render(write_run(tmp_path, [one]), "html"))

"""The ladder in every document: parts by hand, what is not known, and who is late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import reports
from bench.records import CollectiveRequest, CollectiveTimes, Timing
from tests.reports.build import Launch, alone, facts, launch_at, trial_result, window, write_run

TIMING = {"timing": Timing(windows=8, local_windows=True)}
PLAIN = {"timing": Timing(windows=8)}
MS = 1_000_000


def launch(full_ms: float, local_ms: tuple[float, float], input_ms: float = 0.0, windows: int = 8) -> Launch:
    """Two ranks; windows of 5 steps, each twice: with the exchange and without."""

    def of_rank(own_ms: float) -> list[Any]:
        made = [window(0, 5 * full_ms, 10, warmup=True)]
        for index in range(1, windows + 1):
            made.append(window(index, 5 * full_ms, 10, input_wait_ns=round(5 * input_ms * MS)))
            made.append(
                window(index, 5 * (own_ms + input_ms), 10, exchange=False, input_wait_ns=round(5 * input_ms * MS))
            )
        return made

    local_step = {"local_step": "DDP's forward and its hooks are left out"}
    return Launch([of_rank(own_ms) for own_ms in local_ms], facts=[facts(settings=local_step)])


def one_rank(step_ms: float, **changed: Any) -> Launch:
    windows = [window(0, 5 * step_ms, 10, warmup=True)]
    windows += [window(index, 5 * step_ms, 10, input_wait_ns=0) for index in range(1, 9)]
    return Launch([windows], **changed)


def timed(duration_ms: float, **changed: Any) -> CollectiveTimes:
    given = {
        "request": CollectiveRequest(), "elements": [4], "algorithm": "ring", "evidence": "", "operations": 1,
        "duration_ns": [round(duration_ms * MS)] * 3, "exact": True,
    }  # fmt: skip
    return CollectiveTimes(**{**given, **changed})


def run(folder: Path, standalone: list[CollectiveTimes] | None = None, **changed: Any) -> Path:
    """bare 10, solo 11, local 14 of the slower rank, 2 waiting, full 20: 1 + 4 + 2 + 3 = 10."""
    from msgspec import structs

    full, made = trial_result(
        "torch_ddp", 2, [launch(20.0, (12.0, 14.0), 2.0) for _ in range(3)], trial=TIMING,
        **{"wrapped": ["solo", "full"], **changed},
    )  # fmt: skip
    if standalone is not None:
        full = structs.replace(full, repeats=[structs.replace(each, standalone=standalone) for each in full.repeats])
    trials = [
        trial_result("torch_bare", 1, [one_rank(10.0, facts=[alone()]) for _ in range(3)], trial=PLAIN),
        trial_result("torch_ddp", 1, [one_rank(11.0) for _ in range(3)], trial=PLAIN),
        (full, made),
    ]
    return write_run(folder, trials)


def document(folder: Path) -> dict[str, Any]:
    (climb,) = json.loads(reports.render(folder, "json"))["ladder"]
    return dict(climb)


def test_the_parts_are_those_that_a_reader_computes_by_hand(tmp_path: Path) -> None:
    climb = document(run(tmp_path, [timed(6.0), timed(5.0)]))
    names = ("bare", "wrapper", "contention", "input_wait", "exposed_communication", "full", "standalone")
    assert [climb[f"{name}_ms"] for name in names] == pytest.approx([10, 1, 4, 2, 3, 20, 6])
    assert climb["lost_share"] == pytest.approx(0.5)
    assert climb["hidden_share"] == pytest.approx(0.5)
    assert (climb["skew_ms"], climb["chronic_stragglers"], climb["ready_ms"]) == (2.0, [1], [14.0, 16.0])


def test_the_page_draws_the_waterfall_and_says_it_in_words(tmp_path: Path) -> None:
    page = str(reports.render(run(tmp_path, [timed(6.0), timed(6.0)]), "html"))
    assert "Where a step of torch_ddp goes, in milliseconds: bare 10.0; wrapper 1.00 (5.0 %)" in page
    assert "exposed communication 3.00 (15 %); full 20.0" in page
    assert "local steps: DDP&#39;s forward and its hooks are left out" in page
    assert "rank 1 on box is chronically late: 2 ms a step longer" in page


def test_the_terminal_adds_it_up(tmp_path: Path) -> None:
    text = " ".join(str(reports.render(run(tmp_path, [timed(6.0), timed(6.0)]), "text")).split())
    assert (
        "20.0 ms a step = bare 10.0 + wrapper 1.00 + contention 4.00 + input wait 2.00 + exposed communication 3.00; "
        "the exchange alone takes 6.00, 50 % hidden" in text
    )


def test_where_no_wrapper_is_at_work_alone_the_exchange_includes_it_and_the_page_says_so(tmp_path: Path) -> None:
    climb = document(run(tmp_path, wrapped=["full"]))
    assert climb["wrapper_ms"] is None
    assert climb["exposed_communication_ms"] == pytest.approx(4.0)
    assert any("exposed communication includes it" in note for note in climb["notes"])


@pytest.mark.parametrize(
    ("standalone", "reason"),
    [
        (None, "it was not timed"),
        ([timed(6.0), timed(6.0, exact=False)], "rank 1 received a wrong sum in launch 0"),
        ([timed(6.0), timed(6.0, reason="rank 1 cannot prepare it: MemoryError")], "rank 1 cannot prepare it: MemoryError"),
    ],
)  # fmt: skip
def test_an_exchange_that_was_not_timed_right_hides_nothing(tmp_path: Path, standalone: Any, reason: str) -> None:
    folder = run(tmp_path, standalone)
    climb = document(folder)
    assert (climb["standalone_ms"], climb["hidden_share"]) == (None, None)
    assert reason in str(reports.render(folder, "html"))


def test_microbatches_are_set_against_a_bare_run_with_as_many(tmp_path: Path) -> None:
    split = {"workload": {"accumulation": 4}}
    trials = [
        trial_result("torch_bare", 1, [one_rank(10.0, facts=[alone()])], trial=PLAIN),
        trial_result("torch_bare", 1, [one_rank(13.0, facts=[alone()])], trial={**PLAIN, **split}),
        trial_result("torch_ddp", 2, [launch(20.0, (14.0, 14.0))], trial={**TIMING, **split}, wrapped=["full"]),
    ]
    assert document(write_run(tmp_path, trials))["bare_ms"] == pytest.approx(13.0)


def test_a_trial_that_never_got_to_a_local_window_has_no_ladder(tmp_path: Path) -> None:
    write_run(tmp_path, [trial_result("torch_ddp", 2, [launch_at(100) for _ in range(3)], trial=TIMING)])
    (row,) = json.loads(reports.render(tmp_path, "json"))["rows"]
    assert (row["status"], json.loads(reports.render(tmp_path, "json"))["ladder"]) == ("ok", [])


def test_local_windows_do_not_part_one_replica_from_the_others(tmp_path: Path) -> None:
    whole = json.loads(reports.render(run(tmp_path), "json"))
    assert [(point["label"], point["replicas"], point["baseline_solo"]) for point in whole["scaling"]] == [
        ("torch_ddp", 1, "torch_ddp on one replica"), ("torch_ddp", 2, "torch_ddp on one replica"),
    ]  # fmt: skip
    assert [found["work"] for found in whole["verdicts"] if "local windows" in found["work"]] == []

"""How a run was measured: order and time of launches, drift, why it stopped, warm-up, tails and outliers."""

from __future__ import annotations

import json

import pytest

from reports import render, trust
from reports.launches import NO_SENTINEL, drift, launches
from reports.load import load
from reports.table import rows
from tests.reports.build import Launch, by_hand, launch_at, trial_result, window, write_run


def at(minute: int) -> str:
    return f"2026-01-02T03:{minute:02}:00Z"


def watched(folder, rates: list[float], **changed):
    """A sentinel launched every ten minutes, another trial between."""
    sentinel = trial_result("torch_ddp", 2, [launch_at(rate, started_utc=at(10 * n)) for n, rate in enumerate(rates)])
    other = trial_result("torch_horovod", 2, [launch_at(80, started_utc=at(5))])
    order = [(sentinel[0].trial_id, 0), (other[0].trial_id, 0)]
    order += [(sentinel[0].trial_id, repeat) for repeat in range(1, len(rates))]
    return write_run(folder, [sentinel, other], **{"sentinel": sentinel[0].trial_id, "order": order, **changed})


def drifted(folder):
    run = load(folder)
    return drift(run.result, launches(run.result, rows(run)))


def test_launches_stand_in_the_order_in_which_they_were_made(tmp_path):
    run = load(watched(tmp_path, [100, 100]))
    found = launches(run.result, rows(run))
    assert [(one.place, one.label, one.repeat, one.after_s, one.samples_per_second) for one in found] == [
        (1, "torch_ddp", 0, 0.0, pytest.approx(100)),
        (2, "torch_horovod", 0, 300.0, pytest.approx(80)),
        (3, "torch_ddp", 1, 600.0, pytest.approx(100)),
    ]
    exported = json.loads(render(tmp_path, "json"))["launches"]
    assert [(one["label"], one["after_s"], one["started_utc"]) for one in exported][1] == (
        "torch_horovod",
        300.0,
        at(5),
    )
    assert "All 3 launches in their order" in render(tmp_path, "html")


def test_a_launch_that_failed_or_has_no_readable_time_keeps_its_place_and_shows_no_speed(tmp_path):
    trial = trial_result("torch_ddp", 2, [launch_at(100), launch_at(100, error="rank 1 hangs", started_utc="once")])
    run = load(write_run(tmp_path, [trial]))
    found = launches(run.result, rows(run))
    assert [(one.samples_per_second, one.after_s, one.error) for one in found] == [
        (None, 0.0, None),
        (None, None, "rank 1 hangs"),
    ]


@pytest.mark.parametrize(
    ("rates", "sentence", "shown"),
    [
        (
            [100, 95, 90.25],
            "The machine drifted: torch_ddp had 0.902 times (95 % interval 0.902 to 0.903) the speed of the beginning "
            "at the end, over 3 launches in 1,200 s.",
            True,
        ),
        (
            [100, 110, 98],
            "No drift shown: torch_ddp had 0.980 times (95 % interval 0.209 to 4.601) the speed of the beginning at the "
            "end, over 3 launches in 1,200 s.",
            False,
        ),
        (
            [100, 90],
            "Drift of the machine is unknown: the sentinel torch_ddp has no interval, over 2 launches in 600 s; at "
            "least 3 are needed.",
            None,
        ),
    ],
)
def test_the_drift_of_the_sentinel_is_said_in_every_document(tmp_path, rates, sentence, shown):
    found = drifted(watched(tmp_path, rates))
    assert (found.sentence, found.shown) == (sentence, shown)
    assert json.loads(render(tmp_path, "json"))["drift"]["sentence"] == sentence
    for format in ("html", "md", "text"):
        assert sentence in " ".join(render(tmp_path, format).split())


def test_without_a_sentinel_or_its_speed_nothing_is_claimed(tmp_path):
    assert drifted(by_hand(tmp_path / "none")).sentence == NO_SENTINEL
    failed = trial_result("torch_ddp", 2, [launch_at(100)], status="failed", reason="rank 1 hangs")
    write_run(tmp_path / "failed", [failed], sentinel=failed[0].trial_id)
    assert drifted(tmp_path / "failed").sentence == "Drift of the machine is unknown: the sentinel has no speed."


def test_a_quick_run_claims_no_drift(tmp_path):
    found = drifted(watched(tmp_path, [100, 90, 80], quick=True))
    assert (found.found.low, found.shown) == (None, None)


def test_why_a_trial_got_no_further_launch_is_in_every_document(tmp_path):
    reason = "the interval's half-width is 1.8% after 5 launches, asked was 2.0%"
    trials = [
        trial_result("torch_ddp", 2, [launch_at(100)] * 5, stopped=reason),
        trial_result("torch_horovod", 2, [launch_at(100)] * 3),
    ]
    write_run(tmp_path, trials)
    text = " ".join(render(tmp_path, "text").split())
    assert f"torch_ddp \u00d72: no further launches: {reason}" in text
    assert "torch_horovod \u00d72: no further launches: 3 launches, as asked" in text
    assert f"no further launches: {reason}" in render(tmp_path, "md")
    assert "half-width is 1.8% after 5 launches" in render(tmp_path, "html")
    assert json.loads(render(tmp_path, "json"))["rows"][0]["stopped"] == reason


def test_launches_that_had_not_warmed_up_are_counted_in_every_document(tmp_path):
    told = [launch_at(100, warmup_windows=3), launch_at(100, warmup_windows=6, settled=False), launch_at(100)]
    write_run(tmp_path, [trial_result("torch_ddp", 2, told)])
    sentence = "no steady state seen: 1 of 3 launches may still have been warming up in the windows that count"
    for format in ("html", "md", "text"):
        assert sentence in " ".join(render(tmp_path, format).split())
    assert ">3, 6, 1<span" in render(tmp_path, "html")
    (row,) = json.loads(render(tmp_path, "json"))["rows"]
    assert (row["warmup_windows_most"], row["launches_unsettled"]) == (6, 1)


def test_p95_wants_twenty_windows(tmp_path):
    trials = [trial_result(name, 2, spread_over(windows)) for name, windows in (("torch_ddp", 20), ("tf_horovod", 19))]
    enough, few = (row.measured for row in rows(load(write_run(tmp_path, trials))))
    # of 20 values the 0.95 quantile lies 5 % of the way from the 19th to the 20th: 200 + 0.05 x 1800
    assert (enough.step_ms_p95, few.step_ms_p95) == (pytest.approx(290), None)


def spread_over(windows: int) -> list[Launch]:
    """Steps of 200 ms, and the last window ten times as slow."""
    slow = windows - 1
    return [Launch([[window(n, 10_000 if n == slow else 1000, 50) for n in range(windows)]])]


def test_p99_wants_a_hundred_windows_and_outliers_are_counted_and_kept(tmp_path):
    trials = [trial_result("torch_ddp", 2, spread_over(100)), trial_result("torch_horovod", 2, spread_over(99))]
    write_run(tmp_path, trials)
    many, few = (row.measured for row in rows(load(tmp_path)))
    # of 100 values the 0.99 quantile lies 1 % of the way from the 99th to the 100th: 200 + 0.01 x 1800
    assert (many.step_ms_p99, many.windows, many.outliers) == (pytest.approx(218), 100, 1)
    assert (few.step_ms_p99, few.windows, few.outliers) == (None, 99, 1)
    assert many.samples_per_second.point == pytest.approx(5000 / 109)  # the slow window is in it
    markdown = render(tmp_path, "md")
    assert "| 218.0 | 1 of 100 windows |" in markdown
    assert "| \u2013 (99 windows, 100 are needed) | 1 of 99 windows |" in markdown
    assert 'p99 <data value="" data-column="step_ms_p99">\u2013</data> (99 windows)' in render(tmp_path, "html")


def test_a_machine_is_called_the_same_only_where_a_drift_is_ruled_out(tmp_path):
    def state(*rates):
        run = load(watched(tmp_path, list(rates)))
        found = rows(run)
        checks = trust.checks(run.result, found, drift(run.result, launches(run.result, found)))
        return next(check.state for check in checks if check.question == "Did the machine stay the same?")

    level, noisy, falling = (100, 100.1, 100, 100.1), (100, 70, 110, 80), (100, 90, 81, 73)
    assert (state(*level), state(*noisy), state(*falling), state(100)) == ("good", "plain", "bad", "plain")

"""Scaling over replica counts on two cores, weak and strong apart. Launches made by hand are of 100 samples a window, so
the replica counts are divisors of 100."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from bench.records import Workload
from bench.stats import Estimate
from reports import chart, render, scaling_chart
from reports.load import load
from reports.scaling import Scaling, scalings
from reports.table import rows
from tests.reports.build import alone, launch_at, trial_result, write_run

NOISE = (0.99, 1.0, 1.01)


def batch(size: int) -> dict:
    return {"workload": Workload(batch_per_replica=size)}


def launches(rate: float, replicas: int, noise=NOISE) -> list:
    facts = {"facts": [alone()]} if replicas == 1 else {}
    return [launch_at(rate * part, ranks=replicas, **facts) for part in noise]


def weak(folder, rates: dict[str, dict[int, float]], bare: float | None = 50, noise=NOISE, **changed):
    """A batch of 8 per replica; the bare run at `bare` samples per second."""
    trials = [trial_result("torch_bare", 1, launches(bare, 1, noise), trial=batch(8))] if bare else []
    trials += [
        trial_result(backend, replicas, launches(rate, replicas, noise), trial=batch(8))
        for backend, of in rates.items()
        for replicas, rate in of.items()
    ]
    return write_run(folder, trials, **changed)


def strong(folder, rates: dict[int, float]):
    """A global batch of 12."""
    trials = [trial_result("torch_bare", 1, launches(50, 1), trial=batch(12))]
    trials += [
        trial_result("torch_ddp", size, launches(rate, size), trial=batch(12 // size)) for size, rate in rates.items()
    ]
    return write_run(folder, trials)


def found(folder) -> list[Scaling]:
    run = load(folder)
    return scalings(run, rows(run))


# Work of 160 ms a step, 2 (N - 1) messages of 5 ms and 20 / N ms: steps of 160, 190, 220 and 232 ms of 8 samples each.
RING = {1: 8 / 0.16, 2: 16 / 0.19, 4: 32 / 0.22, 5: 40 / 0.232}


def test_weak_and_strong_scaling_are_kept_apart_and_each_names_its_batch(tmp_path):
    (one,) = found(weak(tmp_path / "weak", {"torch_ddp": {1: 50, 2: 90}}))
    assert (one.kind, one.batch, one.title) == ("weak", 8, "Weak scaling: a batch of 8 per replica")
    (other,) = found(strong(tmp_path / "strong", {1: 50, 2: 80, 3: 100, 4: 120}))
    assert (other.kind, other.batch, other.title) == ("strong", 12, "Strong scaling: a batch of 12 for the whole job")


def test_a_matrix_of_batches_holds_both_kinds(tmp_path):
    trials = [
        trial_result("torch_ddp", replicas, launches(50 * replicas, replicas), trial=batch(size))
        for replicas in (1, 2)
        for size in (4, 8)
    ]
    write_run(tmp_path, trials)
    assert [(one.kind, one.batch) for one in found(tmp_path)] == [("weak", 4), ("weak", 8), ("strong", 8)]


def test_speed_up_and_efficiency_are_those_of_both_baselines_with_their_intervals(tmp_path):
    # 50/s bare, 40/s alone, 72/s on two: 1.44 and 72 % of bare, 1.8 and 90 % of itself
    (one,) = found(weak(tmp_path, {"torch_ddp": {1: 40, 2: 72}}))
    point = one.series[0].points[1]
    assert (point.bare.baseline, point.solo.baseline) == ("torch_bare", "torch_ddp on one replica")
    assert (point.bare.speed_up.point, point.bare.efficiency.point) == pytest.approx((1.44, 0.72))
    assert (point.solo.speed_up.point, point.solo.efficiency.point) == pytest.approx((1.80, 0.90))
    assert point.bare.efficiency.low == pytest.approx(point.bare.speed_up.low / 2)
    assert point.bare.efficiency.low < 0.72 < point.bare.efficiency.high


def test_a_baseline_against_itself_is_one_by_definition_and_not_by_estimate(tmp_path):
    """Launches that differ by a third would give 0.7 to 1.4 against their own like: an interval of nothing."""
    (one,) = found(weak(tmp_path, {"torch_ddp": {1: 40, 2: 72}}, noise=(0.8, 1.0, 1.2)))
    own = one.series[0].points[0].solo
    assert (own.speed_up, own.efficiency) == (Estimate(1.0, None, None, 3), Estimate(1.0, None, None, 3))
    assert own.suspect is None
    page = render(tmp_path, "html")
    assert '<td class="num" data-label="speed-up on itself alone">1.00<span class="sub">baseline</span></td>' in page
    assert "torch_ddp on 1: efficiency, % 100, baseline, n = 3" in page
    assert one.series[0].points[0].bare.speed_up.low is not None  # of which it is not the baseline


def test_strong_efficiency_is_the_single_time_over_n_times_the_time_of_n(tmp_path):
    # 12 samples: 240 ms alone, 120 ms on four: twice as fast, 50 %
    (one,) = found(strong(tmp_path, {1: 50, 4: 100}))
    gain = one.series[0].points[1].bare
    assert (gain.speed_up.point, gain.efficiency.point) == pytest.approx((2.0, 0.5))


def test_a_baseline_that_is_missing_or_has_no_speed_is_said(tmp_path):
    (one,) = found(weak(tmp_path, {"torch_ddp": {2: 90, 3: 120}}, bare=None))
    (series,) = one.series
    assert [(point.bare, point.solo) for point in series.points] == [(None, None)] * 2
    assert series.sentences[-2:] == [
        "against no bare run: no bare run to set it against",
        "against no run of its own on one replica: no run of one replica",
    ]
    assert one.baselines == []
    assert "no run of one replica" in render(tmp_path, "html")


def test_a_replica_count_without_a_speed_keeps_its_place(tmp_path):
    trials = [trial_result("torch_ddp", 1, launches(50, 1)), trial_result("torch_ddp", 2, launches(90, 2))]
    trials.append(trial_result("torch_ddp", 3, status="failed", reason="rank 2 hangs"))
    write_run(tmp_path, trials)
    (series,) = found(tmp_path)[0].series
    assert [row.trial.replicas for row in series.absent] == [3]
    assert "failed: rank 2 hangs" in render(tmp_path, "html")


def test_one_replica_count_is_no_scaling(tmp_path):
    assert found(weak(tmp_path, {"torch_ddp": {2: 90}, "torch_horovod": {2: 80}})) == []
    assert 'id="scaling"' not in render(tmp_path, "html")


@pytest.mark.parametrize(
    ("rates", "amdahl", "ring"),
    [
        ({1: 50, 2: None}, "Amdahl's curve needs 2 replica counts with a speed, there is 1", "there is 1"),
        (
            {1: 50, 2: 80},
            "Amdahl: 25 % of the time per sample does not shrink with replicas, at most 4.00 times one replica; "
            "within 0.0 % of every point, which with 2 points for 2 unknowns says nothing",
            "a latency-bandwidth curve needs 3 replica counts with a speed, there are 2",
        ),
        (
            {size: RING[size] for size in (1, 2, 4)},
            "Amdahl: 12 % of the time per sample does not shrink with replicas, at most 8.19 times one replica; "
            "within 3.6 % of every point",
            "latency-bandwidth: a step is 160 ms alone, 5.00 ms latency a message, 20.0 ms for all gradients; "
            "within 0.0 % of every point, which with 3 points for 3 unknowns says nothing",
        ),
        (
            RING,
            "Amdahl: 11 % of the time per sample does not shrink with replicas, at most 9.13 times one replica; "
            "within 4.0 % of every point",
            "latency-bandwidth: a step is 160 ms alone, 5.00 ms latency a message, 20.0 ms for all gradients; "
            "within 0.0 % of every point",
        ),
    ],
    ids=["one", "two", "three", "four"],
)
def test_the_words_beside_a_fit_say_what_so_few_points_are_worth(tmp_path, rates, amdahl, ring):
    trials = [trial_result("torch_ddp", size, launches(rate, size, (1,) * 3)) for size, rate in rates.items() if rate]
    trials += [trial_result("torch_ddp", 2, status="failed", reason="") for rate in rates.values() if rate is None]
    write_run(tmp_path, trials)
    words = found(tmp_path)[0].series[0].curves.words
    assert words[0] == amdahl
    assert words[1].endswith(ring)
    short = {3: "4", 4: "4, 5"}.get(len(rates))
    assert words[2:] == (
        (f"oversubscribed at {short}: there the curves explain the want of cores as well",) if short else ()
    )


def test_in_strong_scaling_the_work_of_the_fitted_step_is_divided(tmp_path):
    # 12 samples: 120 / N ms of work, 2 (N - 1) messages of 1 ms and 10 / N ms: steps of 120, 72 and 51 ms
    curves = found(strong(tmp_path, {1: 12 / 0.12, 2: 12 / 0.072, 4: 12 / 0.051}))[0].series[0].curves
    assert "a step is 120 ms alone, 1.00 ms latency a message, 10.0 ms for all gradients;" in curves.words[1]
    assert curves.amdahl.single == pytest.approx(10, rel=0.02)


def test_more_threads_than_cores_are_oversubscribed_wherever_the_number_stands(tmp_path):
    weak(tmp_path, {"torch_ddp": {1: 50, 2: 90, 4: 100}})
    clause = "4 replicas of 1 thread on 2 cores"
    assert [row.oversubscribed.clause if row.oversubscribed else None for row in rows(load(tmp_path))] == [
        None, None, None, clause,
    ]  # fmt: skip
    text = render(tmp_path, "text").splitlines()
    assert [text[at + 1] for at, line in enumerate(text) if line.startswith("torch_ddp \u00d74 ")] == [
        f"! oversubscribed: {clause}"
    ]
    (line,) = [line for line in render(tmp_path, "md").splitlines() if line.startswith("| torch_ddp | 4 | ok")]
    assert f"| oversubscribed: {clause} |" in line
    exported = json.loads(render(tmp_path, "json"))
    assert [row["oversubscribed"] for row in exported["rows"]] == [None, None, None, clause]
    assert [point["oversubscribed"] for point in exported["scaling"]] == [None, None, clause]
    html = render(tmp_path, "html")
    # the trust beside the verdict, the summary, both charts of speed with their numbers, the scaling table on each of
    # its two baselines
    assert f"Oversubscribed: torch_ddp \u00d74: {clause}." in html
    assert html.count("oversubscribed</span>") == 3
    assert html.count(f">{clause}</td>") == 1
    assert html.count("100.0 (oversubscribed)</text>") == 2
    assert html.count(">hollow: oversubscribed</text>") == 4


def test_replicas_on_other_hosts_have_other_cores(tmp_path):
    spread = [launch_at(100, ranks=4, hosts=["a", "a", "b", "b"]) for _ in range(3)]
    crowded = [launch_at(100, ranks=4, hosts=["a", "a", "a", "b"]) for _ in range(3)]
    trials = [trial_result("torch_ddp", 4, spread), trial_result("torch_horovod", 4, crowded)]
    write_run(tmp_path, trials)
    told = [row.oversubscribed.clause if row.oversubscribed else None for row in rows(load(tmp_path))]
    assert told == [None, "3 replicas of 1 thread on 2 cores"]


def test_above_one_hundred_percent_is_suspect_wherever_the_number_stands(tmp_path):
    weak(tmp_path, {"torch_ddp": {1: 50, 2: 110}})
    clause = "above 100 % of torch_bare: check that run and the work"
    assert f"! suspect: {clause}" in render(tmp_path, "text").splitlines()
    assert f"| suspect: {clause} |" in render(tmp_path, "md")
    exported = json.loads(render(tmp_path, "json"))
    assert [row["suspect"] for row in exported["rows"]] == [None, None, clause]
    assert (
        exported["scaling"][1]["suspect_solo"] == "above 100 % of torch_ddp on one replica: check that run and the work"
    )
    html = render(tmp_path, "html")
    assert html.count("suspect</span>") == 3
    assert f"Suspect: torch_ddp \u00d72: {clause}." in html
    assert html.count(">ringed: suspect</text>") == 4


def test_an_interval_that_holds_one_hundred_percent_is_not_suspect(tmp_path):
    weak(tmp_path, {"torch_ddp": {1: 50, 2: 102}}, noise=(0.9, 1.0, 1.1))
    assert [row.suspect for row in rows(load(tmp_path))] == [None] * 3


def test_a_quick_run_scales_without_intervals(tmp_path):
    weak(tmp_path, {"torch_ddp": {1: 50, 2: 90}}, quick=True)
    gain = found(tmp_path)[0].series[0].points[1].bare
    assert (gain.speed_up.low, gain.efficiency.high) == (None, None)


def test_every_backend_is_drawn_in_its_own_colour_with_bars_ideal_and_fits(tmp_path):
    weak(tmp_path, {"torch_ddp": RING, "torch_horovod": {1: 50, 2: 80, 4: 100}})
    run = load(tmp_path)
    found_rows = rows(run)
    (one,) = scalings(run, found_rows)
    colors = chart.colors(found_rows)
    drawn = scaling_chart.chart(one, "bare", colors).inline(10.0)
    assert drawn == scaling_chart.chart(one, "bare", colors).inline(10.0)
    assert drawn.count("var(--chart-1, #e69f00)") > 8 and drawn.count("var(--chart-2, #009e73)") > 8
    for label in ("torch_ddp", "torch_horovod", "ideal", "fitted: Amdahl", "fitted: latency-bandwidth"):
        assert f">{label}</text>" in drawn
    assert "torch_horovod: 100 % at 1, 80 % at 2" in ElementTree.fromstring(drawn).attrib["aria-label"]
    assert "stroke-dasharray" in drawn


def test_two_settings_of_one_backend_are_two_series(tmp_path):
    trials = [
        trial_result("torch_horovod", size, launches(50 * size, size), trial={"allreduce": name})
        for name in ("ring", "tree")
        for size in (1, 2)
    ]
    write_run(tmp_path, trials)
    assert [series.label for series in found(tmp_path)[0].series] == ["torch_horovod (ring)", "torch_horovod (tree)"]

from __future__ import annotations

import json
import math
import re
from collections import Counter

import pytest

from reports import curve, render
from reports.load import load
from reports.quality import cautions
from reports.table import rows
from reports.verdict import learners
from tests.reports.build import launch_at, learning, precisions, trial_result, write_run

ASKED = {"quality": {"samples": 64}}
AIMED = {"quality": {"samples": 64, "target": 0.5}}


def row_of(folder, launches, **changed):
    """Of one trial with these evaluations per launch."""
    made = [launch_at(100, evaluations=found) for found in launches]
    write_run(folder, [trial_result("torch_ddp", 2, made, trial=AIMED)], **changed)
    return rows(load(folder))[0]


def test_quality_is_the_median_of_the_last_values_and_the_mean_time_to_the_target(tmp_path):
    # 0.5 is reached after 3 evaluations of 1, 2 and 4 seconds each: 3, 6 and 12 s.
    found = row_of(
        tmp_path, [learning(0.1, 0.4, 0.5 + plus, every_s=s, target=0.5) for s, plus in ((1, 0), (2, 0.1), (4, 0.3))]
    ).quality
    assert (found.metric, found.value, found.loss) == ("mlm_accuracy", 0.6, 2.0)
    assert (found.steps_to_target, found.samples_to_target, found.reached) == (15, 300, 3)
    # ln 3, ln 6, ln 12: mean ln 6, deviation ln 2, t(0.975, 2) = 4.30265.
    half = math.exp(4.30265 * math.log(2) / math.sqrt(3))
    seconds = found.seconds_to_target
    assert seconds.point == pytest.approx(6)
    assert (seconds.low, seconds.high) == (pytest.approx(6 / half, 1e-4), pytest.approx(6 * half, 1e-4))


def test_a_target_that_a_launch_missed_gives_no_time_and_says_so(tmp_path):
    missed, hit = learning(0.1, 0.2, every_s=2.5), learning(0.5, target=0.5)
    found = row_of(tmp_path, [missed, missed]).quality
    assert (found.seconds_to_target, found.not_reached) == (None, "not reached in 5.00 s")
    found = row_of(tmp_path, [hit, missed, learning(0.1, 0.2, 0.3, every_s=2.5)]).quality
    assert (found.seconds_to_target, found.samples_to_target, found.reached) == (None, None, 1)
    assert found.not_reached == "not reached in 5.00 s by 2 of 3 launches"


def test_unknown_losses_and_quick_runs_claim_nothing(tmp_path):
    reached = learning(0.5, target=0.5)
    assert row_of(tmp_path, [learning(0.5, target=0.5, loss=None), reached]).quality.loss is None
    seconds = row_of(tmp_path, [reached] * 3, quick=True).quality.seconds_to_target
    assert (seconds.point, seconds.low, seconds.high) == (1.0, None, None)


def test_a_trial_without_a_speed_or_without_evaluations_shows_no_quality(tmp_path):
    trials = [
        trial_result("torch_ddp", 2, [launch_at(100)]),
        trial_result("tf_horovod", 2, [launch_at(100, evaluations=learning(0.4))], status="failed", reason="it died"),
    ]
    write_run(tmp_path, trials)
    assert [row.quality for row in rows(load(tmp_path))] == [None, None]
    page = render(tmp_path, "html")
    assert 'id="quality"' not in page
    assert json.loads(render(tmp_path, "json"))["evaluations"] == []


def said(folder, *trials) -> list[str]:
    """Cautions about trials of (backend, samples per second, evaluations of each launch, what was asked)."""
    made = [
        trial_result(name, 2, [launch_at(rate, evaluations=found) for found in launches], trial=asked)
        for name, rate, launches, asked in trials
    ]
    write_run(folder, made)
    return cautions(learners(rows(load(folder))))


def test_a_faster_trial_that_ends_lower_by_more_than_half_a_point_is_named(tmp_path):
    def pair(fast, slow):
        return said(
            tmp_path, ("torch_ddp", 100, [learning(0.1, fast)], ASKED), ("tf_horovod", 80, [learning(slow)], ASKED)
        )

    assert pair(0.500, 0.505) == []
    assert pair(0.505, 0.400) == []
    assert said(tmp_path, ("torch_ddp", 101, [learning(0.3)], ASKED), ("tf_horovod", 100, [learning(0.5)], ASKED)) == []
    assert pair(0.494, 0.500) == [
        "torch_ddp has 1.25 times the samples per second of tf_horovod, but learns worse: mlm_accuracy 0.494 after "
        "200 samples, the other 0.500 after 100."
    ]


def test_a_trial_that_is_not_shown_to_be_faster_is_not_called_faster(tmp_path):
    def pair(*rates):
        worse = [launch_at(rate, evaluations=learning(0.3)) for rate in rates]
        better = [launch_at(60, evaluations=learning(0.5)) for _ in rates]
        names = (("torch_ddp", worse), ("tf_horovod", better))
        write_run(tmp_path, [trial_result(name, 2, launches, trial=ASKED) for name, launches in names])
        return len(cautions(learners(rows(load(tmp_path)))))

    assert (pair(79, 80, 81), pair(50, 80, 120), pair(80)) == (1, 0, 1)


def test_a_bigger_batch_and_another_precision_stand_on_the_same_yardstick_and_another_seed_does_not(tmp_path):
    def pair(**changed):
        worse = ("torch_ddp", 100, [learning(0.3)], {**ASKED, **changed})
        return len(said(tmp_path, worse, ("torch_ddp", 80, [learning(0.5)], ASKED)))

    assert pair(workload={"batch_per_replica": 64}) == pair(compute="bfloat16") == pair(optimizer={"name": "sgd"}) == 1
    assert pair(workload={"seed": 2}) == pair(workload={"model": "mini"}) == 0


def test_a_faster_trial_that_takes_longer_to_the_target_is_named_unless_noise_explains_it(tmp_path):
    def pair(fast_s, slow_s):
        curves = [[learning(0.1, 0.5, every_s=each, target=0.5) for each in of] for of in (fast_s, slow_s)]
        return said(tmp_path, ("torch_ddp", 100, curves[0], AIMED), ("tf_horovod", 80, curves[1], AIMED))

    assert pair([3, 3, 3], [2, 2, 2]) == [
        "torch_ddp has 1.25 times the samples per second of tf_horovod, but takes 1.50 times "
        "(95 % interval 1.50 to 1.50) as long to mlm_accuracy 0.5: 6.00 s of training, the other 4.00 s."
    ]
    assert "(no interval)" in pair([3], [2])[0]
    assert pair([2, 3, 9], [2, 2, 2]) == []
    assert pair([2, 2, 2], [3, 3, 3]) == []


def test_past_the_target_a_trial_is_not_blamed_for_stopping_and_short_of_it_it_is(tmp_path):
    def pair(fast, slow):
        return said(tmp_path, ("torch_ddp", 100, [fast], AIMED), ("tf_horovod", 80, [slow], AIMED))

    assert pair(learning(0.50, target=0.5), learning(0.60, target=0.5)) == []
    assert pair(learning(0.50, target=0.5), learning(0.49)) == []
    assert pair(learning(0.1, 0.2, 0.499), learning(0.3, 0.5, target=0.5)) == [
        "torch_ddp has 1.25 times the samples per second of tf_horovod, but mlm_accuracy 0.5 is not reached in 3.00 s; "
        "the other reaches it in 2.00 s of training."
    ]


def test_every_document_shows_what_was_learned(tmp_path):
    precisions(tmp_path)
    caution = "but mlm_accuracy 0.5 is not reached in 6.00 s; the other reaches it in 3.00 s of training."
    text = " ".join(render(tmp_path, "text").split())
    assert (
        "torch_horovod: mlm_accuracy 0.5200, validation loss 2.000 after 400 samples; 0.500 reached in 4.00 s" in text
    )
    assert "0.500 not reached in 6.00 s" in text
    for format in ("text", "md", "html"):
        assert caution in " ".join(render(tmp_path, format).split())
    exported = json.loads(render(tmp_path, "json"))
    assert [sentence.endswith(caution) for sentence in exported["cautions"]] == [True]
    row = exported["rows"][1]
    assert (row["metric_value"], row["seconds_to_target"], row["samples_to_target"]) == (0.52, 4.0, 400.0)
    assert len(exported["evaluations"]) == 3 * (3 + 4 + 6)
    assert exported["evaluations"][0] == {
        "trial_id": exported["rows"][0]["trial_id"], "launch": 0, "steps": 5, "samples": 100, "train_s": 1.0,
        "metric": "mlm_accuracy", "value": 0.2, "validation_loss": 2.0, "reached": False,
    }  # fmt: skip


def test_the_curve_draws_every_launch_and_the_target(tmp_path):
    found = rows(load(precisions(tmp_path)))
    assert curve.metrics(found) == ["mlm_accuracy"]
    (figure,) = curve.figures(found, [])
    drawn = figure.chart.inline(10.0)
    assert drawn == figure.chart.inline(10.0)
    assert "target 0.5</text>" in drawn
    assert "torch_horovod \u00d72</text>" in drawn
    assert "torch_horovod \u00d72: 0.520 after 4.00 s" in re.search('aria-label="([^"]*)"', drawn).group(1)
    strokes = [stroke for stroke in re.findall("<path[^>]*>", drawn) if 'stroke-width="1.4"' in stroke]
    found = [
        (place, "dasharray" in stroke) for stroke in strokes for place in range(3) if f"--chart-{place}," in stroke
    ]
    # Three launches and the legend of each trial; the two of one backend share its colour.
    assert Counter(found) == {(0, False): 4, (1, False): 4, (0, True): 4}

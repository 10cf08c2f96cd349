from __future__ import annotations

import math

import msgspec
import pytest

from bench.records import GateOutcome, Workload
from reports.load import load
from reports.table import Row, rows
from reports.verdict import equality, headline, verdicts
from tests.reports.build import Launch, by_hand, launch_at, trial_result, window, write_run

BROKEN = GateOutcome(gate="weights", holds=False, sentence="torch_ddp rank 1 tensor x differs from rank 0")


def found(folder) -> dict[str, Row]:
    return {row.label: row for row in rows(load(folder))}


def sentences(folder) -> list[str]:
    run = load(folder)
    return [one.sentence for one in verdicts(run.result, rows(run))]


def three(rate: float, ranks: int = 2, **changed) -> list[Launch]:
    return [launch_at(rate, ranks, **changed) for _ in range(3)]


def test_speed_is_total_samples_over_the_slowest_ranks_time_without_warm_up(tmp_path):
    # 2 ranks x 50 samples in 1.0 s and 0.9 s, then in 3.0 s and 2.7 s: 200 samples in 4.0 s.
    ranks = [
        [window(0, 9000, 50, warmup=True), window(1, 1000, 50), window(2, 3000, 50)],
        [window(0, 9000, 50, warmup=True), window(1, 900, 50), window(2, 2700, 50)],
    ]
    write_run(tmp_path, [trial_result("torch_ddp", 2, [Launch(ranks)])])
    measured = found(tmp_path)["torch_ddp"].measured
    assert measured.launch_rates == (50.0,)
    assert measured.tokens_real_per_second.point == pytest.approx(3200)
    assert measured.tokens_padded_per_second.point == pytest.approx(6400)
    # Windows of 5 steps: 200 ms and 600 ms a step; the median lies between; p95 wants 20 windows.
    assert measured.step_ms_median == pytest.approx(400)
    assert measured.step_ms_p95 is None
    assert measured.skew_ms_median == pytest.approx(40)  # 100 ms and 300 ms a window of 5 steps
    assert measured.cpu_cores == pytest.approx(1.9)


def test_speed_over_launches_is_a_geometric_mean_with_students_interval(tmp_path):
    row = found(by_hand(tmp_path))["torch_horovod"]
    speed = row.measured.samples_per_second
    # ln 64, ln 80, ln 100: mean ln 80, deviation ln 1.25, t(0.975, 2) = 4.30265.
    half = math.exp(4.30265 * math.log(1.25) / math.sqrt(3))
    assert speed.point == pytest.approx(80)
    assert (speed.low, speed.high) == (pytest.approx(80 / half, 1e-4), pytest.approx(80 * half, 1e-4))
    assert row.efficiency.point == pytest.approx(0.8)
    assert row.baseline == found(tmp_path)["torch_bare"].trial_id


def test_below_three_launches_there_is_no_interval_and_the_row_says_why(tmp_path):
    write_run(tmp_path, [trial_result("torch_ddp", 2, [launch_at(100), launch_at(100)])])
    row = found(tmp_path)["torch_ddp"]
    assert row.measured.samples_per_second.low is None
    assert row.no_interval == "no interval: 2 launches; at least 3 are needed"


def test_a_quick_run_has_no_interval_whatever_its_launches(tmp_path):
    row = found(by_hand(tmp_path, quick=True))["torch_horovod"]
    assert (row.measured.samples_per_second.low, row.efficiency.low) == (None, None)
    assert row.measured.tokens_real_per_second.high is None
    assert row.no_interval == "no interval: a quick run"
    assert sentences(tmp_path) == ["No verdict: a quick run is too short to compare speeds."]


def test_local_windows_do_not_count_as_speed(tmp_path):
    ranks = [[window(1, 1000, 50), window(2, 100, 50, exchange=False)] for _ in range(2)]
    write_run(tmp_path, [trial_result("torch_ddp", 2, [Launch(ranks)])])
    assert found(tmp_path)["torch_ddp"].measured.launch_rates == (100.0,)


def test_failed_and_not_selectable_trials_keep_their_row_and_show_no_speed(tmp_path):
    table = found(by_hand(tmp_path))
    assert table["tf_horovod"].measured is None
    assert table["tf_horovod"].reason == "rank 1 was killed by signal 9 in phase windows"
    assert (table["tf_mirrored"].status, table["tf_mirrored"].launches) == ("not_selectable", 0)


def test_a_launch_with_an_error_withholds_the_speed_whatever_the_status_says(tmp_path):
    write_run(tmp_path, [trial_result("torch_ddp", 2, [launch_at(100), launch_at(100, error="rank 1 hangs")])])
    row = found(tmp_path)["torch_ddp"]
    assert (row.status, row.measured, row.reason) == ("failed", None, "launch 1: rank 1 hangs")


@pytest.mark.parametrize("place", ["launch", "trial", "run"])
def test_a_failed_gate_withholds_the_speed(tmp_path, place):
    ddp = trial_result("torch_ddp", 2, three(100, gates=[BROKEN] if place == "launch" else []))
    other = trial_result("torch_horovod", 2, three(80))
    of_run = {
        "launch": [],
        "trial": [msgspec.structs.replace(BROKEN, trial_id=ddp[0].trial_id)],
        "run": [BROKEN],
    }[place]
    write_run(tmp_path, [ddp, other], gates=of_run)
    table = found(tmp_path)
    assert (table["torch_ddp"].status, table["torch_ddp"].measured) == ("withheld", None)
    assert BROKEN.sentence in table["torch_ddp"].reason
    # A gate of the whole run that names no trial speaks about all of them.
    assert table["torch_horovod"].status == ("withheld" if place == "run" else "ok")
    assert equality(load(tmp_path).result).holds is False


def test_a_gate_that_could_not_be_applied_does_not_count_as_passed(tmp_path):
    open_gate = GateOutcome(gate="losses", holds=None, sentence="one backend only")
    trials = [trial_result("torch_ddp", 2, three(100, gates=[])), trial_result("torch_horovod", 2, three(50, gates=[]))]
    write_run(tmp_path, trials, gates=[open_gate])
    assert equality(load(tmp_path).result).holds is None
    assert sentences(tmp_path) == ["No verdict: no gate shows that the contenders did the same work."]


@pytest.mark.parametrize(
    ("ranks", "reason"),
    [
        ([[window(1, 10, 5), window(2, 10, 5)], [window(1, 10, 5)]], "some rank lacks a window"),
        ([[window(1, 10, 5)], [window(1, 10, 5, steps=6)]], "the ranks disagree on the steps"),
        ([[window(0, 10, 5, warmup=True)]], "no measured window"),
        ([[window(1, 0, 5)]], "without time, steps or samples"),
        ([[window(1, 10, 0)]], "without time, steps or samples"),
    ],
)
def test_windows_that_are_not_whole_withhold_the_speed(tmp_path, ranks, reason):
    write_run(tmp_path, [trial_result("torch_ddp", 2, [Launch(ranks)])])
    row = found(tmp_path)["torch_ddp"]
    assert (row.status, row.measured) == ("withheld", None)
    assert reason in row.reason


def test_a_baseline_of_other_work_is_refused_and_the_difference_named(tmp_path):
    bare = trial_result("torch_bare", 1, three(50, 1), trial={"threads_per_replica": 2})
    write_run(tmp_path, [bare, trial_result("torch_ddp", 2, three(100)), trial_result("tf_horovod", 2, three(100))])
    table = found(tmp_path)
    assert table["torch_ddp"].efficiency is None
    assert table["torch_ddp"].baseline_note == "the bare run of torch differs in threads_per_replica (1 and 2)"
    assert table["tf_horovod"].baseline_note == "no bare run to set it against"


def test_network_bytes_of_all_ranks_add_up(tmp_path):
    ranks = [[window(1, 1000, 50, sent_bytes=1000)], [window(1, 1000, 50, sent_bytes=900)]]
    write_run(tmp_path, [trial_result("torch_ddp", 2, [Launch(ranks)])])
    assert found(tmp_path)["torch_ddp"].measured.sent_bytes_per_step == 380  # 1,900 over 5 steps


def test_unknown_resources_stay_unknown(tmp_path):
    ranks = [[window(1, 1000, 50, rss_bytes=None, sent_bytes=None, received_bytes=None)]]
    write_run(tmp_path, [trial_result("torch_ddp", 2, [Launch(ranks, setup=[])])])
    measured = found(tmp_path)["torch_ddp"].measured
    assert (measured.rss_bytes, measured.sent_bytes_per_step, measured.setup_s) == (None, None, None)


def test_losses_are_set_against_the_first_trial_of_equal_work(tmp_path):
    ddp = trial_result("torch_ddp", 2, [launch_at(100, losses=[10.0, 8.0])])
    horovod = trial_result("torch_horovod", 2, [launch_at(80, losses=[10.0, 8.2]), launch_at(80, losses=[10.0, 8.0])])
    write_run(tmp_path, [ddp, horovod])
    table = found(tmp_path)
    assert table["torch_ddp"].loss_difference is None
    assert table["torch_horovod"].loss_difference == pytest.approx(0.025)
    assert table["torch_horovod"].loss_reference == ddp[0].trial_id


def test_the_verdict_names_the_fastest_only_when_its_interval_clears_two_percent(tmp_path):
    def judged(first, second):
        trials = [trial_result("torch_ddp", 2, [launch_at(rate) for rate in first]),
                  trial_result("torch_horovod", 2, [launch_at(rate) for rate in second])]  # fmt: skip
        write_run(tmp_path, trials)
        return sentences(tmp_path)

    assert judged((103, 103, 103), (100, 100, 100)) == [
        "torch_ddp is fastest: 1.03 times (95 % interval 1.03 to 1.03, 3 launches each) the samples per second of "
        "torch_horovod."
    ]
    assert judged((101, 101, 101), (100, 100, 100)) == [
        "torch_ddp is as fast as torch_horovod within 2 %: it measured 1.01 times (95 % interval 1.01 to 1.01, 3 "
        "launches each) the samples per second of torch_horovod."
    ]
    assert judged((100,), (50,)) == ["No verdict: 1 launch of each; at least 3 are needed."]
    assert judged((100, 100, 100), (50,)) == ["No verdict: too few launches of torch_horovod; at least 3 are needed."]


def test_large_type_holds_a_ratio_only_where_a_difference_is_shown(tmp_path):
    def large(**rates):
        trials = [trial_result(name, 2, [launch_at(rate) for rate in of]) for name, of in rates.items()]
        run = load(write_run(tmp_path, trials))
        (found,) = verdicts(run.result, rows(run))
        said = headline(found)
        return said and (said.large, said.small)

    noisy, level, behind = (64, 80, 100), (99.9, 100, 100.1), (50, 50, 50.1)
    assert large(torch_ddp=(100,) * 3, torch_horovod=(50,) * 3) == ("2.00\u00d7", "2.00 to 2.00")
    assert large(torch_ddp=(100,) * 3, torch_horovod=noisy) == ("Undecided", "from 28 % slower to 2.2 times as fast")
    assert large(torch_ddp=(100,) * 3, torch_horovod=level) == ("Equally fast", "1.00 to 1.00 times")
    three = large(torch_ddp=(100,) * 3, tf_horovod=behind, torch_horovod=level)
    assert three == ("Equally fast", "2 of 3 trials; 1.00 to 1.00 times")
    assert large(torch_ddp=(100,), torch_horovod=(50,)) is None


def test_trials_of_other_work_are_not_compared(tmp_path):
    ner = {"workload": {"task": "ner"}}
    trials = [
        trial_result("torch_ddp", 2, three(100)),
        trial_result("torch_horovod", 2, three(50)),
        trial_result("torch_ddp", 4, three(400)),
        trial_result("torch_ddp", 2, three(900), trial={"compute": "bfloat16"}),
    ]
    changed = msgspec.convert({**msgspec.to_builtins(trials[0][0].trial), **ner}, type(trials[0][0].trial))
    trials.append(trial_result("torch_ddp", 2, three(900)))
    trials[-1] = (msgspec.structs.replace(trials[-1][0], trial=changed, trial_id=changed.id), [])
    write_run(tmp_path, trials)
    assert [sentence.partition(":")[0] for sentence in sentences(tmp_path)] == [
        "torch_ddp (pretraining, compute float32) is fastest",
        "No verdict",  # across float32 and bfloat16
    ]


def test_labels_tell_trials_of_one_backend_apart(tmp_path):
    trials = [trial_result("torch_horovod", 2, three(100), trial={"allreduce": name}) for name in ("ring", "tree")]
    write_run(tmp_path, trials)
    assert list(found(tmp_path)) == ["torch_horovod (ring)", "torch_horovod (tree)"]


def test_the_fastest_is_named_only_when_it_clears_every_other_not_just_the_nearest(tmp_path):
    """The third stack is slower on average, but so noisy that its interval does not clear 1."""
    rates = {"torch_ddp": (100, 100, 100.1), "torch_horovod": (95, 95, 95.1), "tf_horovod": (70, 94, 120)}
    write_run(tmp_path, [trial_result(name, 2, [launch_at(rate) for rate in of]) for name, of in rates.items()])
    (sentence,) = sentences(tmp_path)
    assert sentence.startswith(
        "No fastest trial shown: torch_ddp has the highest mean, but is not shown to be faster than tf_horovod (3 "
        "launches each). torch_horovod is slower. Against tf_horovod it measured"
    )


def test_undecided_trials_are_not_said_to_be_alike_and_the_interval_is_told_in_plain_words(tmp_path):
    """The slower two differ from each other: only pairs with the first were looked at."""
    rates = {"tf_mirrored": (54.7, 67.7, 55.7), "torch_ddp": (58.8, 57.2, 54.3), "tf_horovod": (50.1, 50.0, 50.2)}
    write_run(tmp_path, [trial_result(name, 2, [launch_at(rate) for rate in of]) for name, of in rates.items()])
    assert sentences(tmp_path) == [
        "No fastest trial shown: tf_mirrored has the highest mean, but is not shown to be faster than any other (3 "
        "launches each). Against torch_ddp it measured 1.04 times the samples per second (95 % interval 0.80 to 1.35), "
        "too noisy to tell: anything from 20 % slower to 35 % faster fits. A difference counts only when the whole "
        "interval lies above 1.02 or below 0.98."
    ]


def test_without_equal_losses_there_is_no_verdict(tmp_path):
    write_run(tmp_path, [trial_result("torch_ddp", 2, three(100)), trial_result("tf_horovod", 2, three(50))], gates=[])
    assert sentences(tmp_path) == ["No verdict: no gate shows that the contenders did the same work."]


def test_strong_scaling_is_set_against_one_device_that_does_the_whole_batch(tmp_path):
    """A global batch of 16: 50/s on one device, 80/s on two replicas with 8 each: T(1) / (2 T(2)) = 80 / 100."""
    bare = trial_result("torch_bare", 1, three(50, 1), trial={"workload": Workload(batch_per_replica=16)})
    full = trial_result("torch_ddp", 2, three(80), trial={"workload": Workload(batch_per_replica=8)})
    write_run(tmp_path, [bare, full])
    assert found(tmp_path)["torch_ddp"].efficiency.point == pytest.approx(0.8)
